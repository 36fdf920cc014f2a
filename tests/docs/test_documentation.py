"""The README and the documentation: short, parseable, and true of the package, its commands and its files."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import tomllib
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from packaging.specifiers import SpecifierSet

import audiosae_steer
from audiosae_steer import analyse, errors
from audiosae_steer.cli.app import app
from audiosae_steer.io import strict_json
from audiosae_steer.steering.edits import KINDS
from audiosae_steer.steering.recipes.load import load_recipe
from audiosae_steer.steering.recipes.schema import Recipe

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "analyse").glob("*.md")),
    *sorted((ROOT / "docs" / "guides").glob("*.md")),
    ROOT / "benchmarks" / "results" / "README.md",
    *sorted((ROOT / "checkpoints").glob("*/README.md")),
]
BLOCK = re.compile(r"^```(\S[^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *kinds: str) -> list[str]:
    """The contents of the fenced blocks of these kinds."""
    return [body for kind, body in BLOCK.findall(page.read_text(encoding="utf-8")) if kind.split()[0] in kinds]


def python_of(page: Path) -> list[str]:
    cells = [body for body in blocks(page, "{code-cell}") if not body.startswith("%%")]
    plain = ["\n".join(re.sub(r"^%run .*", "", line) for line in cell.splitlines()) for cell in cells]
    return blocks(page, "python") + plain


def commands(page: Path) -> list[list[str]]:
    """The words after `audiosae-steer` of each command in a page's shell blocks."""
    shell = blocks(page, "sh", "bash") + [body for body in blocks(page, "{code-cell}") if body.startswith("%%bash")]
    lines = "\n".join(shell).replace("\\\n", " ").splitlines()
    return [
        shlex.split(part.strip(), comments=True)[1:]
        for line in lines
        for part in line.split("&&")
        if part.strip().startswith("audiosae-steer ")
    ]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_python_parses(page: Path) -> None:
    if page.name == "CONTRIBUTING.md":
        pytest.skip("its blocks are quotations, which another test looks up")
    for code in python_of(page):
        ast.parse(code)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CONTRIBUTING.md"], ids=named)
def test_names_imported_from_the_package_exist(page: Path) -> None:
    trees = [ast.parse(code) for code in python_of(page)]
    lines = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    for line in lines:
        if (line.module or "").split(".")[0] == "audiosae_steer":
            module = importlib.import_module(line.module or "")
            assert {name.name for name in line.names if not hasattr(module, name.name)} == set(), line.module


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_and_their_options_exist(page: Path) -> None:
    for words in commands(page):
        command = typer.main.get_command(app)
        while hasattr(command, "commands"):
            usual = getattr(command, "default", None)
            if usual and (not words or words[0] not in command.commands):
                words = [usual, *words]
            while words[0].startswith("--"):
                words = words[1:]
            name, *words = words
            assert name in command.commands, f"audiosae-steer {name}"
            group, command = command, command.commands[name]
        passed = (
            group.commands.get(words[0]) if command.context_settings.get("ignore_unknown_options") and words else None
        )
        params = [*command.params, *(passed.params if passed is not None else ())]
        known = {option for parameter in params for option in (*parameter.opts, *parameter.secondary_opts)}
        used = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert used <= known | {"--help"}, f"audiosae-steer {command.name}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_to_files_resolve(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in LINK.findall(prose):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            # of the file itself: GitHub does not include another in it, as Sphinx does
            assert anchor in anchors(target), link


def test_the_recipe_to_copy_is_one() -> None:
    folder = ROOT / "checkpoints" / "whisper-tiny.en"
    (block,) = blocks(ROOT / "docs" / "recipes.md", "json")
    recipe = Recipe.model_validate(strict_json.parse(block.encode()))
    assert recipe.model.dims == load_recipe(folder / "no-false-speech.json").model.dims
    assert set(recipe.located(folder).load_saes()) == {"e4"}


def test_the_api_page_has_every_name_of_the_front_door() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    found = re.findall(r"^\.\. auto\w+:: (\w+)", text, re.MULTILINE)
    assert sorted(found) == sorted(audiosae_steer.__all__)


def test_the_api_page_of_the_analyses_has_every_name() -> None:
    text = (ROOT / "docs" / "analyse" / "api.md").read_text(encoding="utf-8")
    found = re.findall(r"^\.\. auto\w+:: (\w+)", text, re.MULTILINE)
    assert sorted(found) == sorted(analyse.__all__)
    assert [name for name in analyse.__all__ if not getattr(analyse, name).__doc__] == []


def test_every_analysis_has_a_page_that_the_index_lists() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for name in typer.main.get_command(app).commands["analyse"].commands:  # type: ignore[attr-defined]
        assert (ROOT / "docs" / "analyse" / f"{name}.md").is_file(), name
        assert f"\nanalyse/{name}\n" in index, name


def test_the_pages_of_edits_have_every_edit() -> None:
    for page in ("docs/edits.md", "README.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert {kind.__name__ for kind in KINDS.values() if f"`{kind.__name__}(" not in text} == set(), page


def test_there_is_room_for_an_edit_in_the_file_of_edits() -> None:
    """Contributing sends whoever adds one there, and the layout allows 350 lines."""
    assert (ROOT / "audiosae_steer" / "steering" / "edits.py").read_text(encoding="utf-8").count("\n") <= 300


def test_every_exception_and_warning_has_its_symptoms() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    raised = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert {name for name in raised if f"`{name}`" not in text} == set()


def test_quotations_of_the_source_are_its_own() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^<!-- (\S+) -->\n```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(quoted) == len(blocks(ROOT / "CONTRIBUTING.md", "python")) > 8
    for file, code in quoted:
        assert code in (ROOT / file).read_text(encoding="utf-8"), f"{file}: {code}"


def test_new_paths_in_the_changelog_are_modules() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `[\w.]+` \| (.*) \|$", text, re.MULTILINE)
    assert len(rows) > 50
    for row in rows:
        for path in re.findall(r"`([\w.]+)`", row):
            assert find_spec(f"audiosae_steer.{path}") is not None, path


def test_one_oldest_python_is_promised_and_the_pinned_packages_run_on_it() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    oldest = settings["project"]["requires-python"].removeprefix(">=")
    assert settings["tool"]["mypy"]["python_version"] == oldest
    assert settings["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    assert f"Programming Language :: Python :: {oldest}" in settings["project"]["classifiers"]
    assert f"with Python {oldest} or newer" in (ROOT / "README.md").read_text(encoding="utf-8")
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name, _, pinned = line.partition("#")[0].strip().partition("==")
        with suppress(metadata.PackageNotFoundError):
            if name and metadata.version(name).split("+")[0] == pinned:
                needed = metadata.metadata(name).get("Requires-Python", "")
                assert SpecifierSet(needed).contains(f"{oldest}.0"), f"{line} needs Python {needed}"


def test_ci_runs_the_commands_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    two = [line for block in blocks(ROOT / "README.md", "sh") for line in block.splitlines() if line.startswith("pip ")]
    assert len(two) == 2
    for line in two:
        assert line in script
