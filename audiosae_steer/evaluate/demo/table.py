"""Table of a demo, for a terminal."""

from __future__ import annotations

from ...errors import printable
from ..metrics.wer import rate_interval
from .run import Demo, shortened


def print_demo(demo: Demo, *, filters: bool = False) -> None:
    """Print the text of each clip before and after, and the rates below it."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, emoji=False)
    table = Table(title=f"{demo.recipe.model.name}, {demo.recipe.name}", title_justify="left", show_lines=False)
    table.add_column("clip", no_wrap=True)
    table.add_column("unsteered")
    table.add_column("steered")
    order = {"nonspeech": 0, "speech": 1, None: 2}
    kind: str | None = "nonspeech"
    for result in sorted(demo.results, key=lambda r: order.get(r.clip.kind, 2)):
        if result.clip.kind != kind:
            table.add_section()
            kind = result.clip.kind
        after = shortened(result.after.text)
        if result.clip.kind == "nonspeech":
            colour = "green" if not result.after.text else "red"
        else:
            colour = "default" if result.after.text == result.before.text else "yellow"
        table.add_row(
            escape(result.clip.label),
            escape(shortened(result.before.text)) or "[dim](nothing)[/]",
            f"[{colour}]{escape(after) or '(nothing)'}[/]",
        )
    console.print(table)
    if demo.skipped:
        names = ", ".join(each.path.name for each in demo.skipped)
        console.print(f"left out: {escape(printable(names))}", soft_wrap=True)
    mode = "on" if filters else "off"
    if demo.text is not None:
        console.print(
            f"non-speech clips with text, Whisper's own filters {mode}: {demo.text.before} → "
            f"[bold]{escape(str(demo.text.after))}[/], {escape(str(demo.text))}",
            soft_wrap=True,
        )
    if demo.wer is not None:
        unsteered, steered, change = demo.wer
        low, high = rate_interval(unsteered)
        console.print(
            f"word error rate: {unsteered.rate:.1%} [dim]({low:.1%} to {high:.1%})[/] → [bold]{steered.rate:.1%}[/] "
            f"(change {100 * change.value:+.2f} points, {100 * change.low:+.2f} to {100 * change.high:+.2f})",
            soft_wrap=True,
        )
    time = demo.latency
    console.print(
        f"added latency: {time.share:.2%} of the encoder's time ({time.low:.2%} to {time.high:.2%})", soft_wrap=True
    )
    console.print(
        "[dim]intervals: 95 %, Wilson for shares, bootstrap over utterances for word errors[/]", soft_wrap=True
    )
