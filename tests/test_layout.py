"""The layout: the way imports point (CONTRIBUTING, "Layers"), no circles, one name for one thing, sizes, docstrings."""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from pathlib import Path

import pytest

import audiosae_steer

ROOT = "audiosae_steer"
PACKAGE = Path(audiosae_steer.__file__).parent
LAYERS = (
    ("errors",),
    ("io", "ops"),
    ("models", "sae"),
    ("data", "steering"),
    ("evaluate",),
    ("publishing",),
    ("training",),
    ("discover",),
    ("analyse",),
    ("explorer", "serve"),
    ("cli",),
    ("__main__",),
)
"""From the ground up. A package imports those of the lines above its own, and never its siblings on its line."""

RESERVED = {"analyse", "explorer", "serve"}
"""Packages that the design has a place for, counted beside the twelve that the root may hold."""

ONE_MEANING = {
    "fit": "a package's entry for fitting: gates to clips, and the stages of the pipeline that fit",
    "load": "reads one kind of thing from a file, a folder or the Hub",
    "registry": "the list of the modules beside it, in the order in which they are tried",
    "report": "the files for people to read that a package writes of its results: HTML or Markdown",
    "results": "what the package of that step returns",
    "run": "the whole of a demo or a benchmark, from its settings to its results",
    "settings": "what a long job is told, checked",
}
"""Names that several modules may bear, since they mean the same in every package.

A command (`cli/X.py`) bears the name of what it calls, and a package's `__init__` none of its own.
"""


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    parts = (ROOT, *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
PARTS = {name.split(".")[1] for name in FILES if "." in name}


def imports(source: str, module: str, known: set[str], is_package: bool = False) -> set[str]:
    """Modules of this package that `source` imports anywhere: within functions and for types alone, too."""
    here = module.split(".") if is_package else module.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            target = ".".join([*base, *((node.module or "").split(".") if node.module else [])])
            for alias in node.names:
                found.add(f"{target}.{alias.name}" if f"{target}.{alias.name}" in known else target)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == ROOT} - {module}


GRAPH = {
    name: imports(path.read_text(encoding="utf-8"), name, set(FILES), path.name == "__init__.py")
    for name, path in FILES.items()
}


def upward(graph: dict[str, set[str]]) -> list[str]:
    """Imports that do not point down, and imports of the front door."""
    rank = {part: number for number, line in enumerate(LAYERS) for part in line}
    found = []
    for module, targets in graph.items():
        if module == ROOT:
            continue
        own = module.split(".")[1]
        for target in sorted(targets):
            if target == ROOT:
                found.append(f"{module} imports the front door")
                continue
            other = target.split(".")[1]
            if other != own and rank[other] >= rank[own]:
                found.append(f"{module} imports {target}")
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one node (Tarjan 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in number:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], number[target])
        if low[node] == number[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(stack[at:])
            del stack[at:]

    for node in graph:
        if node not in number:
            visit(node)
    return found


def siblings(graph: dict[str, set[str]]) -> dict[str, dict[str, set[str]]]:
    """For every package, which of its members import which of the others, whatever lies within them."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for module, targets in graph.items():
        for target in targets:
            one, other = module.split("."), target.split(".")
            shared = 0
            while shared < min(len(one), len(other)) and one[shared] == other[shared]:
                shared += 1
            if shared and shared < min(len(one), len(other)):
                found[".".join(one[:shared])][one[shared]].add(other[shared])
    return found


def test_every_part_has_a_layer() -> None:
    assert {part for line in LAYERS for part in line} >= PARTS


def test_imports_point_down() -> None:
    assert upward(GRAPH) == []


def test_no_circles_among_modules() -> None:
    assert circles(GRAPH) == []


@pytest.mark.parametrize("package", sorted(siblings(GRAPH)))
def test_no_circles_among_siblings(package: str) -> None:
    assert circles(siblings(GRAPH)[package]) == []


def test_the_root_holds_few_names() -> None:
    files = [path.name for path in PACKAGE.glob("*.py")]
    folders = {part for part in PARTS if f"{ROOT}.{part}" in FILES and (PACKAGE / part).is_dir()}
    assert sorted(files) == ["__init__.py", "__main__.py", "errors.py"]
    assert len(folders - RESERVED) <= 12


def test_no_module_bears_the_name_of_what_its_package_exports() -> None:
    """Importing `package.thing` would put the module in the place of the function."""
    clashes = []
    for package, path in FILES.items():
        if path.name != "__init__.py":
            continue
        names = {name.rpartition(".")[2] for name in FILES if name.rpartition(".")[0] == package}
        tree = ast.parse(path.read_text(encoding="utf-8"))
        exported = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.level or node.module != "__future__")
            for alias in node.names
        }
        exported |= {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        if package == ROOT:
            exported |= set(audiosae_steer.__all__)
        clashes += [f"{package}.{name}" for name in sorted(names & exported)]
    assert clashes == []


def test_no_two_modules_share_a_name_with_two_meanings() -> None:
    by_stem = defaultdict(list)
    for name, path in FILES.items():
        if path.name != "__init__.py" and name.split(".")[1] != "cli":
            by_stem[path.stem].append(name)
    shared = {stem: names for stem, names in by_stem.items() if len(names) > 1 and stem not in ONE_MEANING}
    assert shared == {}


LONG_FILES = {"io/tensors/pickle_reader.py"}
"""One interpreter, which is read as a whole."""
MANY_PARAMETERS = {
    "sae/autoencoder.py: SAE.__init__",
    "steering/steering.py: steer",
    "data/activations/collect.py: collect",
}
"""Exceptions to the rule of eight parameters: calls of the front door, whose keywords users type; a record of settings
would be one more name to import for each."""
RIDDLES = {"What", "Where", "Which", "How", "Whether", "Why", "Who", "When"}
"""Words that no docstring opens with: a noun or a verb does."""
DIALECT = ("nobody speaks", "whole or not at all", "of strangers", "filled up")
"""Phrases for which the field has terms: clips without speech, atomic, untrusted, padded."""


def functions(path: Path) -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Functions and methods of a file, by qualified name."""
    found = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found.append((prefix + child.name, child))
            visit(child, f"{prefix}{child.name}." if isinstance(child, ast.ClassDef) else prefix)

    visit(ast.parse(path.read_text(encoding="utf-8")), "")
    return found


def is_kernel(path: Path) -> bool:
    """Files whose functions are Triton's language, or operators of torch, which take tensors one by one."""
    return path.name.startswith("triton_") or path.name == "custom_ops.py"


def test_files_are_short() -> None:
    long = {name for path in FILES.values() if (name := path.relative_to(PACKAGE).as_posix()) not in LONG_FILES}
    assert [name for name in sorted(long) if (PACKAGE / name).read_text("utf-8").count("\n") > 350] == []


def test_functions_are_short_and_take_few_parameters() -> None:
    wrong = []
    for path in FILES.values():
        if is_kernel(path):
            continue
        for name, node in functions(path):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            parameters = [each.arg for each in given if each.arg not in ("self", "cls")]
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            name = f"{path.relative_to(PACKAGE).as_posix()}: {name}"
            if lines > 60 or (len(parameters) > 8 and name not in MANY_PARAMETERS):
                wrong.append(f"{name}: {lines} lines, {len(parameters)} parameters")
    assert wrong == []


@pytest.mark.parametrize("phrase", DIALECT)
def test_words_are_those_of_the_field(phrase: str) -> None:
    """In docstrings, comments, messages and templates."""
    files = [path for suffix in ("py", "md", "html") for path in PACKAGE.rglob(f"*.{suffix}")]
    texts = {path.relative_to(PACKAGE).as_posix(): " ".join(path.read_text("utf-8").split()) for path in files}
    assert [name for name, text in texts.items() if phrase in text.lower()] == []


def docstrings(source: str) -> list[tuple[int, str]]:
    """Docstrings of modules, classes, functions and, under an assignment, attributes; each with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", [])
        for before, statement in zip([None, *body], body, strict=False) if isinstance(body, list) else ():
            opens = before is None and isinstance(
                node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
            )
            if (
                (opens or isinstance(before, (ast.Assign, ast.AnnAssign)))
                and isinstance(statement, ast.Expr)
                and isinstance(statement.value, ast.Constant)
                and isinstance(statement.value.value, str)
            ):
                found.append((statement.lineno, inspect.cleandoc(statement.value.value)))
    return found


def riddles(source: str) -> list[int]:
    """Lines of docstrings that open with a word of RIDDLES."""
    return [line for line, text in docstrings(source) if text.split(" ")[0].strip("`:,.") in RIDDLES]


def test_docstrings_open_with_a_noun_or_a_verb() -> None:
    assert [f"{name}:{line}" for name, path in FILES.items() for line in riddles(path.read_text("utf-8"))] == []


@pytest.mark.parametrize(
    "code", ['"""{}"""', 'def f():\n    """{}"""', 'class A:\n    x: int\n    """{}"""', 'x = 1\n"""{}"""']
)
def test_a_docstring_that_is_a_riddle_is_seen(code: str) -> None:
    assert len(riddles(code.format("Whether it rains."))) == 1
    assert riddles(code.format("Rain.")) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from ..cli import app", ["audiosae_steer.ops.here imports audiosae_steer.cli.app"]),
        ("def f():\n    from ..sae.load import load_sae", ["audiosae_steer.ops.here imports audiosae_steer.sae.load"]),
        ("if TYPE_CHECKING:\n    from ..io import files", ["audiosae_steer.ops.here imports audiosae_steer.io.files"]),
        ("from .. import steer", ["audiosae_steer.ops.here imports the front door"]),
        ("import audiosae_steer.sae.load", ["audiosae_steer.ops.here imports audiosae_steer.sae.load"]),
        ("from ..errors import SteeringError\nfrom . import eager\nimport torch", []),
    ],
)
def test_an_upward_import_is_seen(source: str, expected: list[str]) -> None:
    name = f"{ROOT}.ops.here"
    assert upward({name: imports(source, name, {*FILES, name})}) == expected


def test_a_circle_is_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
