"""Command-line options from the fields of settings classes: names, types, defaults and help are stated once, there."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from ..io.record_fields import own_first


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options that fill one settings object of a command; a field's metadata may hold its least value, `min`, and
    short names of its option, `short`.

    A command takes the object as its parameter `parameter`; `with_settings` puts an option for each field in its place.
    """

    defaults: Any
    """Frozen dataclass instance; its values are the options' defaults."""
    parameter: str = "settings"
    """Name of the command's parameter that gets the object."""
    hidden: Sequence[str] = ()
    """Fields without an option."""
    names: Mapping[str, str] | None = None
    """Option names that differ from the field's, without dashes in front: {"long_count": "long-files"}."""
    help: Mapping[str, str] | None = None
    """Help that differs from the first sentence of the field's docstring."""
    commas: Sequence[str] = ()
    """Fields of several values that are given as one word with commas, rather than by repeating the option."""
    none: Mapping[str, str | int] | None = None
    """Words or numbers that stand for None, where None is not the default: {"language": "auto"}."""

    def parameters(self) -> list[inspect.Parameter]:
        """Parameters of a typer command, one a field."""
        kind: Any = type(self.defaults)
        hints, told = get_type_hints(kind, include_extras=False), field_docs(kind)
        found = []
        for field in own_first(kind):
            if field.name in self.hidden:
                continue
            value = getattr(self.defaults, field.name)
            shown, default = self._shown(field.name, hints[field.name], value)
            words = (self.help or {}).get(field.name) or _first_sentence(told.get(field.name, ""))
            flag = (self.names or {}).get(field.name, field.name.replace("_", "-"))
            flags = [f"--{flag}/--no-{flag}" if shown is bool else f"--{flag}", *field.metadata.get("short", ())]
            least = field.metadata.get("min")
            known = () if field.name in self.commas else _choices(hints[field.name])
            option = typer.Option(*flags, help=words, min=least, callback=_one_of(known) if known else None)
            annotation: Any = Annotated[shown, option]
            found.append(
                inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            )
        return found

    def build(self, given: Mapping[str, Any]) -> Any:
        """The settings object of what was typed."""
        changes = {}
        for name, value in given.items():
            kept = getattr(self.defaults, name)
            if name in self.commas:
                value = tuple(word.strip() for word in value.split(",") if word.strip())
            elif value == (self.none or {}).get(name, object()):
                value = None
            elif isinstance(value, list):
                value = tuple(value)
            if not value and isinstance(kept, tuple) and name not in self.commas:  # not given at all
                continue
            changes[name] = value
        return replace(self.defaults, **changes)

    def _shown(self, name: str, hint: Any, value: Any) -> tuple[Any, Any]:
        """Type and default that typer shows."""
        if name in self.commas:
            return str, ",".join(value)
        word = (self.none or {}).get(name)
        if word is not None:
            return type(word), word if value is None else value
        inner = _without_none(hint)
        if get_origin(inner) in (tuple, Sequence, list) or inner in (tuple, list):
            item = _without_none(next((each for each in get_args(inner) if each is not Ellipsis), str))
            item = str if get_origin(item) is Literal else item
            return (list[item] | None), None  # type: ignore[valid-type]
        return hint, value


def _choices(hint: Any) -> tuple[str, ...]:
    """The values that an option which may be repeated takes; none where it takes any.

    typer has no lists of Literals, and so the option is one of words, which `_one_of` checks.
    """
    inner = _without_none(hint)
    if get_origin(inner) not in (tuple, Sequence, list):
        return ()
    item = _without_none(next((each for each in get_args(inner) if each is not Ellipsis), str))
    return get_args(item) if get_origin(item) is Literal else ()


def _one_of(known: Sequence[str]) -> Callable[[Any], Any]:
    def check(values: Any) -> Any:
        for value in values or ():
            if value not in known:
                raise typer.BadParameter(f"{value!r} is not one of {', '.join(map(repr, known))}.")
        return values

    return check


def with_settings(*groups: Options) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: a command's settings parameters, replaced by an option for each of their fields."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(command, eval_str=True)
        named = {group.parameter for group in groups}
        kept = [each for name, each in own.parameters.items() if name not in named]
        added = [each for group in groups for each in group.parameters()]
        taken = {each.name for each in kept}
        for each in added:
            if each.name in taken:
                raise TypeError(f"{command.__name__} would have two options {each.name}; hide one of them")
            taken.add(each.name)

        @functools.wraps(command)
        def run(**given: Any) -> Any:
            built = {}
            for group in groups:
                names = {each.name for each in group.parameters()}
                built[group.parameter] = group.build({name: given.pop(name) for name in names})
            return command(**given, **built)

        run.__signature__ = own.replace(  # type: ignore[attr-defined]
            parameters=[each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*kept, *added)]
        )
        run.__annotations__ = {each.name: each.annotation for each in (*kept, *added)} | {"return": None}
        return run

    return decorate


@functools.cache
def field_docs(kind: type[Any]) -> dict[str, str]:
    """Docstrings under the fields of a dataclass, by field; those of its bases, too."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if not is_dataclass(each):
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(each)))
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for field, doc in pairwise(body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(doc, ast.Expr)
                and isinstance(doc.value, ast.Constant)
            ):
                found[field.target.id] = " ".join(str(doc.value.value).split())
    return found


def _first_sentence(text: str) -> str:
    """Help as the commands have it: one sentence, lower case at the start, no full stop, no reStructuredText."""
    sentence = re.split(r"(?<=[^.])\.\s|\.$", text, maxsplit=1)[0].replace("`", "")
    name = sentence.split(" ")[0].endswith("'s") or not sentence[1:2].islower()  # Adam's, SAE
    return sentence if name else sentence[:1].lower() + sentence[1:]


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        return next(each for each in get_args(hint) if each is not NoneType)
    return hint
