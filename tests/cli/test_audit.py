"""`whet audit`, as a person calls it."""

from __future__ import annotations

import json

import pytest

from whet.cli import main


def run(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main(["audit", *words])
    return ended.value.code, capsys.readouterr().out


def test_a_sound_task_exits_with_0_and_shows_a_table(capsys):
    code, out = run(capsys, "arithmetic", "--limit", "8")
    assert code == 0
    assert out.splitlines()[0] == "arithmetic: 8 examples"
    assert "no attack succeeds" in out


def test_a_careless_function_exits_with_1_and_names_what_wins(capsys, tmp_path):
    (tmp_path / "mine.py").write_text("def score(text, answer):\n    return float(answer in text)\n")
    code, out = run(capsys, f"{tmp_path}/mine.py:score", "--limit", "24", "--json", "verifier.isolation=none")
    found = json.loads(out)
    assert code == 1
    assert any(sentence.startswith("every number") for sentence in found["defects"])


def test_a_task_of_a_persons_own_is_audited_by_its_own_verifier(capsys, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from whet import Example, Task, verifier\n"
        "class Mine(Task):\n"
        "    def load(self, split):\n"
        "        return [Example(id=str(n), prompt=f'{n}+1=', answer=str(n + 1)) for n in range(40)]\n"
        "    def default_verifier(self):\n"
        "        return verifier('numeric')\n"
    )
    assert run(capsys, f"{tmp_path}/mine.py:Mine", "--limit", "8")[0] == 0
