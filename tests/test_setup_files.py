"""The files that set whet up work on any machine and name none."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = (ROOT / "constraints.txt").read_text().splitlines()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_constraint_pins_one_version() -> None:
    wrong = [line for line in CONSTRAINTS if not re.match(r"[a-z0-9.-]+==[^\s;]+( ; .+)?$", line)]
    assert CONSTRAINTS
    assert wrong == []


def test_constraints_hold_no_address_and_no_file() -> None:
    assert [line for line in CONSTRAINTS if "://" in line or " @ " in line] == []


def test_constraints_leave_torch_and_what_only_its_builds_need_to_the_machine() -> None:
    assert [line for line in CONSTRAINTS if re.match(r"(torch|nvidia|cuda|triton|pytorch)\b", line)] == []


def test_every_direct_dependency_but_torch_and_vllm_is_pinned() -> None:
    groups = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    groups += PROJECT["dependency-groups"].values()
    wanted = {re.match(r"[A-Za-z0-9_.-]+", line).group().lower() for group in groups for line in group}  # type: ignore[union-attr]
    pinned = {line.partition("==")[0] for line in CONSTRAINTS}
    assert wanted - pinned == {"torch", "vllm"}  # vllm brings its own torch and transformers


def test_the_version_of_the_package_is_the_newest_release_of_the_changelog() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    if headings[0] == "Unreleased":
        headings = headings[1:]
    assert headings[0] == PROJECT["project"]["version"]


def test_sentences_of_the_changelog_are_short() -> None:
    text = re.sub(r"^[#-].*? ", "", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    sentences = re.split(r"[.:]\s|\n\n|\n(?=- )", text)
    assert [s for s in sentences if len(s.split()) > 25] == []


def test_the_lock_and_the_environments_stay_out_of_git() -> None:
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {"uv.lock", ".venv/", ".venv-peers/", ".venv-vllm/"} <= set(ignored)


def test_ci_checks_before_it_tests() -> None:
    commands = [line for line in (ROOT / ".ci/run").read_text().splitlines() if line.startswith("make ")]
    assert commands == ["make check", "make test"]


@pytest.mark.parametrize(
    "script",
    [".ci/run", "tools/setup.sh", "tools/setup_peers.sh", "tools/setup_vllm.sh", "tools/lock.sh"],
)
def test_scripts_parse_and_stop_at_the_first_error(script: str) -> None:
    assert "set -euo pipefail" in (ROOT / script).read_text()
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


@pytest.mark.parametrize(
    "target", ["demo", "test", "test-all", "test-peers", "check", "peers", "vllm", "test-vllm"]
)
def test_make_knows_the_target(target: str) -> None:
    shown = subprocess.run(
        ["make", "-C", str(ROOT), "-n", target], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
