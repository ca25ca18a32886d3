"""What the pages say is run: Python, commands, configs, links and tables.

The blocks of a page run in their order, in one namespace and one directory. A block of Python or YAML whose first
line is a file name in a comment is that file. A job is made small, so that it takes a part of a second: the directory
holds a file `arithmetic`, which comes before the shipped config of that name, and `whet train` gets `SMALL` beside its
arguments. A block of `output` is what the Python before it prints.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import runpy
import shlex
import sys
import tomllib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
import typer
import yaml

from whet import cli, registry
from whet.config import Config, load_config
from whet.errors import SettingWarning
from whet.sweeps.definition import define

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix() for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
)
TINY = {
    "max_steps": 2,
    "save_every": 1,
    "num_threads": 1,
    "trackers": ["jsonl"],
    "task": {"name": "arithmetic", "min_operand": 10, "num_train": 60, "num_test": 8},
    "policy": {
        "name": "from_scratch",
        "num_layers": 1,
        "num_heads": 2,
        "width": 16,
        "context_length": 32,
    },
    "batch": {"prompts_per_step": 2, "num_generations": 4},
    "sampling": {"max_prompt_length": 16, "max_completion_length": 6},
    "optimizer": {"learning_rate": 1e-3},
    "warm_start": {"steps": 2, "batch_size": 8},
}
SMALL = [
    "max_steps=2",
    "num_threads=1",
    "trackers=[jsonl]",
    "batch.prompts_per_step=2",
    "batch.num_generations=4",
    "eval.limit=4",
]
TOO_LONG = re.compile(r"^(sweep|serve|merge) |--all-steps|--steps|^(sft|train) gsm8k")
"""Commands that start processes of their own, do not end, or need a larger model: they are parsed, and not run."""


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    text: str
    line: int
    """Where its text begins."""

    @property
    def file(self) -> str | None:
        """The file that the block is, named by its first line."""
        named = re.match(r"# (\w+\.(?:py|yaml))\n", self.text)
        return named[1] if named else None


def blocks_of(page: str) -> Iterator[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(found[1], found[2], text.count("\n", 0, found.start(2)) + 1)


def prose_of(page: str) -> str:
    return re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.M | re.S)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WHET_RUNS", raising=False)
    (tmp_path / "arithmetic").write_text(yaml.safe_dump(TINY), encoding="utf-8")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/gsm8k").symlink_to(ROOT / "tests/fixtures/gsm8k")
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_works(page: str, directory: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "page"}
    printed = ""
    for block in blocks_of(page):
        if block.file:
            (directory / block.file).write_text(block.text, encoding="utf-8")
        if block.language == "yaml":
            check_config(block)
        elif block.language == "python" and not block.file:
            source = "\n" * (block.line - 1) + block.text  # a traceback shows the line of the page
            with contextlib.redirect_stdout(io.StringIO()) as caught:
                exec(compile(source, ROOT / page, "exec"), namespace)
            printed = caught.getvalue()
        elif block.language == "output":
            assert printed == block.text, f"{page}, line {block.line}"
        elif block.language == "bash":
            for line in block.text.splitlines():
                run_line(shlex.split(line, comments=True))


def check_config(block: Block) -> None:
    """A whole config validates as it is, a part of one together with the tiny job."""
    values = yaml.safe_load(block.text)
    is_whole = {"task", "policy"} <= values.keys()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SettingWarning)
        load_config([values] if is_whole else [whole_without(values), values])


def whole_without(values: dict[str, Any]) -> dict[str, Any]:
    """The tiny job, less the plug-in sections that the values choose themselves."""
    chosen = {k for k, v in values.items() if isinstance(v, dict) and "name" in v}
    return {k: v for k, v in TINY.items() if k not in chosen}


def run_line(words: list[str]) -> None:
    if not words:
        return
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
    elif words[0] == "cd":
        os.chdir(words[1])  # the fixture goes back
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file(), words
        if words[1] == "examples/tiny_checkpoint.py":
            with mock.patch.object(sys, "argv", words[1:]):
                runpy.run_path(str(ROOT / words[1]), run_name="__main__")
    elif words[0] == "whet":
        whet(words[1:])


def whet(words: list[str]) -> None:
    """Runs a command in this process; one that would take long is parsed, and its config loaded."""
    if TOO_LONG.search(" ".join(words)):
        group = typer.main.get_command(cli._app())
        parsed = group.commands[words[0]].make_context(words[0], words[1:]).params  # type: ignore[attr-defined]
        if words[0] in ("train", "sft"):
            load_train(words[1:])
        if words[0] == "sweep":
            configs, settings = split_settings(parsed["config"])
            define(configs, parsed["grid"] or [], settings)
        return
    if words[0] == "train":
        load_train(words[1:])
        words += SMALL + ["warm_start.steps=2"] * (load_train(words[1:]).warm_start is not None)
    with warnings.catch_warnings(), pytest.raises(SystemExit) as end:
        cli.main(words)
    assert not end.value.code, words


def load_train(words: list[str]) -> Config:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SettingWarning)
        return load_config(*split_settings([word for word in words if not word.startswith("-")]))


def split_settings(words: list[str]) -> tuple[list[str], list[str]]:
    """Configs, and single settings."""
    return [w for w in words if "=" not in w], [w for w in words if "=" in w]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(target)
    assert broken == []


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def rows_of(page: str, heading: str) -> dict[str, list[str]]:
    """The cells of the table after a text, by the code in their first cell."""
    table = (ROOT / page).read_text(encoding="utf-8").partition(heading)[2]
    rows = re.search(r"(?:^\|.*\n)+", table, re.MULTILINE)
    assert rows is not None
    cells = [row.strip("| ").split(" | ") for row in rows[0].splitlines()[2:]]
    return {first.split("`")[1]: others for first, *others in cells}


def test_the_readme_lists_every_algorithm_with_its_file_and_the_paper_of_its_docstring() -> None:
    rows = rows_of("README.md", "## Algorithms")
    assert sorted(rows) == registry.names("algorithms")
    for name, (file, paper) in rows.items():
        source = (ROOT / f"src/whet/algorithms/{name}.py").read_text(encoding="utf-8")
        assert f"src/whet/algorithms/{name}.py" in file
        numbers = re.findall(r"\d{4}\.\d{5}|10\.1007/\w+", paper)
        assert all(number in source for number in numbers), name
        assert numbers or name == "bnpo"  # the one that has no paper


def test_the_page_on_algorithms_has_a_section_for_each() -> None:
    headings = re.findall(r"^### `(\w+)`", (ROOT / "docs/algorithms.md").read_text(), re.MULTILINE)
    assert sorted(headings) == registry.names("algorithms")


def test_the_configuration_page_is_that_of_the_settings_classes() -> None:
    module = load_tool("config_reference")
    page = module.PAGE.read_text(encoding="utf-8")
    assert page == module.page(page), "run: python tools/config_reference.py"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_no_number_that_is_still_to_be_measured(page: str) -> None:
    assert "TODO-NUMBER" not in (ROOT / page).read_text(encoding="utf-8")


def load_tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_for_users_of_other_tools_is_that_of_the_table_behind_the_hints() -> None:
    module = load_tool("coming_from")
    page = module.PAGE.read_text(encoding="utf-8")
    assert page == module.page(page), "run: python tools/coming_from.py"


def test_every_extra_is_in_the_table_of_the_page_on_installing() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rows = rows_of("docs/install.md", "## Extras")
    assert {name: set(re.findall(r"`([\w-]+)`", cells[0])) for name, cells in rows.items()} == {
        name: {re.split(r"[<>=\[;~! ]", package)[0] for package in packages}
        for name, packages in project["optional-dependencies"].items()
    }


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([\w/]+\.md)\)", index))
    assert {p.removeprefix("docs/") for p in PAGES if p.startswith("docs/")} - {"README.md"} == linked
