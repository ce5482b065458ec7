"""Commands, programs and settings in README and documentation: each is run, or checked and marked as only shown.

A bash block has a marker above it: the name that ``.ci/run`` takes it by, ``tutorial`` (run by
``test_tutorial.py``, ``test_line_tutorial.py`` and ``tests/cluster``), or ``shown: REASON`` where it cannot be run.
"""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from tests.documentation.code_blocks import PAGES, ROOT, Block, blocks
from uad_orchestrator.cli import app
from uad_orchestrator.project import load_project

COMPLETE = {
    "datasets": {"line7": {"layout": "folder", "root": "data/line7", "categories": ["housing"]}},
    "detectors": {"some": {"model": "vision_patchcore"}},
}
"""What a project file needs at least: laid below the samples that show a part of one."""
READ_BY = {
    "docs/how-to/cluster-runs.md": "tests/orchestration/dagster_instance/launchers/test_settings.py",
    "docs/how-to/onnx.md": "tests/export/onnx/test_writing.py",
    "docs/dagster-component.md": "tests/test_component.py",
    "docs/plugins.md": "tests/test_examples.py",
}
"""Pages whose blocks a test of their subject takes from the page: it needs a project, or a package, around them."""


def own_blocks(language: str) -> list[Block]:
    """The blocks of the other pages."""
    return [block for block in blocks(language) if block.page not in READ_BY]


@pytest.mark.parametrize(("page", "test"), READ_BY.items())
def test_a_page_is_read_by_the_test_of_its_subject(page: str, test: str) -> None:
    assert Path(page).name in (ROOT / test).read_text(encoding="utf-8")


@pytest.mark.parametrize("block", own_blocks("bash"), ids=str)
def test_a_command_is_run_or_says_why_not(block: Block) -> None:
    run_by_ci = re.findall(r"readme_command (\w+)", (ROOT / ".ci" / "run").read_text())
    if block.marker.startswith("shown: "):
        assert len(block.marker) > len("shown: because"), "say why it is only shown"
    elif block.marker == "tutorial":
        assert block.page in ("docs/tutorial.md", "docs/line-tutorial.md", "docs/cluster.md")
    else:
        assert block.page == "README.md" and block.marker in run_by_ci, "no one runs this"


@pytest.mark.parametrize("block", blocks("bash"), ids=str)
def test_a_command_has_options_that_there_are(block: Block) -> None:
    for arguments in uad_commands(block.code):
        command: Any = get_command(app)
        context = command.context_class(command, info_name="uad")
        words = list(arguments)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        command.make_parser(context).parse_args(words)


def uad_commands(code: str) -> Iterator[list[str]]:
    """The arguments of each ``uad`` in a piece of bash."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
        words.whitespace_split = True
        command: list[str] = []
        for word in [*words, ";"]:
            if word.strip("&|;<>"):
                command.append(word)
                continue
            if command and Path(command[0]).name == "uad":
                yield command[1:]
            command = []


def test_every_command_stands_on_its_page() -> None:
    def names(command: Any, words: tuple[str, ...] = ("uad",)) -> Iterator[str]:
        if not hasattr(command, "commands") and not command.hidden:
            yield " ".join(words)
        for name, inner in getattr(command, "commands", {}).items():
            yield from names(inner, (*words, name))

    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(uad [a-z ]+)` \|", page, re.MULTILINE)
    assert set(listed) == set(names(get_command(app)))
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize("block", own_blocks("python"), ids=str)
def test_a_program_imports_what_there_is(block: Block) -> None:
    compile(block.code, str(block), "exec")
    imported = re.findall(r"^from (uad_orchestrator[\w.]*) import (.+)$", block.code, re.MULTILINE)
    assert imported or block.marker.startswith("tutorial"), "a page's own program may need nothing of ours"
    for module, names in imported:
        public = importlib.import_module(module).__all__
        assert {name.strip() for name in names.split(",")} <= set(public)


@pytest.mark.parametrize("block", own_blocks("yaml"), ids=str)
def test_settings_are_valid(block: Block, tmp_path: Path) -> None:
    code = f"detectors:\n{block.code}" if block.code.startswith("  ") else block.code
    text = yaml.safe_dump(COMPLETE | yaml.safe_load(code))
    (tmp_path / "data" / "line7" / "housing").mkdir(parents=True)
    (tmp_path / "uad.yaml").write_text(text)
    assert load_project(tmp_path, allow_missing_files=True).detectors


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_are_short(page: Path) -> None:
    """In a table a row is a line."""
    lines = page.read_text(encoding="utf-8").splitlines()
    tables = page.name != "README.md"
    assert [line for line in lines if len(line) > 120 and not (tables and line.startswith("|"))] == []


def test_contributing_names_files_that_there_are() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:uad_orchestrator|tests|docs|benchmarks)/[\w/.]+)`", page))
    assert len(named) > 20
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    """On the site the strict build looks; here also what lies outside it, and README."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    assert [target for target in targets if "://" not in target and not (page.parent / target).exists()] == []
