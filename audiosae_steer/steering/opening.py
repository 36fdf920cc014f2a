"""Thresholds of a steering's gates, which may be set while it is in force."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import GateError
from ..models.sites import Site
from .gates import Kind, Reader
from .hook import Hook
from .numbers import number

Threshold = float | Mapping[str, float]
"""Of the one gate of edits that there is; or of several, by their kind: {"clip": 2.2, "frame": 0.5}."""


def readers(hooks: Iterable[Hook]) -> dict[Kind, Reader]:
    """The gates, by their kind."""
    found: dict[Kind, Reader] = {}
    for hook in hooks:
        if hook.probe is not None:
            found["clip"] = hook.probe
        if hook.frame_probe is not None:
            found["frame"] = hook.frame_probe
        if hook.timestamp_probe is not None:
            found["timestamp"] = hook.timestamp_probe
    return found


def _main(gates: Mapping[Kind, Reader]) -> list[Kind]:
    """The gates of edits; the timestamp gate where it is the only one."""
    return [kind for kind in gates if kind != "timestamp" or len(gates) == 1]


def gate_sites(hooks: Mapping[Site, Hook]) -> dict[Site, tuple[Kind, ...]]:
    """Sites that gates read, in the order of a pass, with their kinds in the order in which they run there."""
    return {site: kinds for site, hook in hooks.items() if (kinds := tuple(readers([hook])))}


def threshold_of(hooks: Mapping[Site, Hook]) -> Threshold | None:
    """The threshold of the one gate; of several, by kind; None without a gate."""
    gates = readers(hooks.values())
    if len(_main(gates)) == 1:
        return gates[_main(gates)[0]].threshold
    return {kind: gate.threshold for kind, gate in gates.items()} or None


def set_threshold(hooks: Mapping[Site, Hook], value: Threshold, whose: str) -> None:
    """Set the threshold of the one gate, or of those that a mapping names.

    Raises:
        GateError: there is no gate, or none of that kind; or one number was given for several. Nothing is set then.
        SteeringError: not a finite number.
    """
    gates = readers(hooks.values())
    if not gates:
        raise GateError(
            f"{whose} has no gate whose threshold could be set: it edits every clip alike. Take a recipe with a gate, "
            "pass gate=, or set the strength"
        )
    if not isinstance(value, Mapping):
        if len(_main(gates)) > 1:
            now = ", ".join(f'"{kind}": {gate.threshold:g}' for kind, gate in gates.items())
            raise GateError(
                f"{whose} has a clip gate and a frame gate, whose scores are not on one scale: say which threshold is "
                f"meant, by a mapping such as {{{now}}}, which are those that it has"
            )
        value = {_main(gates)[0]: value}
    unknown = [kind for kind in value if kind not in gates]
    if unknown:
        raise GateError(f"{whose} has no {unknown[0]!r} gate to set a threshold of; it has: {', '.join(gates)}")
    hint = "a lower one opens the gate for more clips, a higher one for fewer"
    checked = {kind: number(given, "threshold", hint) for kind, given in value.items()}
    for kind, gate in gates.items():
        if kind in checked:
            gate.set_threshold(checked[kind])
