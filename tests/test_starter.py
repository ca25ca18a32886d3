"""What `whet init` writes: it trains at once, learns, and every command of its README is there."""

import json
import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from whet import cli, shipped
from whet.config import load_config
from whet.config_schema import schema_text
from whet.errors import ConfigError
from whet.starter import FILES, TEMPLATES, write_starter

ROWS = {
    name: [json.loads(x) for x in (TEMPLATES / name).read_text().splitlines()]
    for name in ("data.jsonl", "test.jsonl")
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_starter(tmp_path / "job")
    monkeypatch.chdir(tmp_path / "job")
    monkeypatch.delenv("WHET_RUNS", raising=False)
    return tmp_path / "job"


def test_every_template_is_written_and_the_schema_beside_them(tmp_path: Path) -> None:
    written = write_starter(tmp_path / "new" / "job")
    assert sorted(p.name for p in written) == sorted([*FILES, shipped.SCHEMA])
    assert {p.name for p in TEMPLATES.iterdir() if p.is_file()} == set(FILES)
    assert (tmp_path / "new/job" / shipped.SCHEMA).read_text() == schema_text()


def test_a_file_that_is_there_stops_it_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text("mine")
    (tmp_path / "other").write_text("mine")
    with pytest.raises(ConfigError) as caught:
        write_starter(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} has data.jsonl already, and nothing was written. "
        "Name another folder, or add --force to replace these files"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.jsonl", "other"]


def test_force_replaces_its_own_files_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text("mine")
    (tmp_path / "other").write_text("mine")
    write_starter(tmp_path, overwrite=True)
    assert (tmp_path / "other").read_text() == "mine"
    assert len((tmp_path / "data.jsonl").read_text().splitlines()) == 20


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "job").write_text("")
    with pytest.raises(ConfigError, match=r"job is a file; expected a folder"):
        write_starter(tmp_path / "job")


@pytest.mark.parametrize("name", ROWS)
def test_the_answers_are_true_and_the_demonstrations_say_them(name: str) -> None:
    for row in ROWS[name]:
        number = int(re.findall(r"\d+", row["prompt"])[0])
        assert row["answer"] == ("even" if number % 2 == 0 else "odd")
        assert row["demonstration"].removesuffix(".") == row["answer"]
    assert len(ROWS[name]) == len({row["prompt"] for row in ROWS[name]}) == 20


def test_no_test_row_is_trained_on() -> None:
    train, test = ({row["prompt"] for row in rows} for rows in ROWS.values())
    assert not train & test


def test_the_config_names_the_schema_that_lies_beside_it(folder: Path) -> None:
    first = (folder / "config.yaml").read_text().partition("\n")[0]
    assert (folder / first.removeprefix(shipped.EDITOR_LINE)).is_file()


def test_the_reward_gives_what_is_right_the_threshold_and_what_is_wrong_less(folder: Path) -> None:
    config = load_config(["config.yaml"])
    score = config.task.score
    example = config.task.examples("train")[0]
    wrong = "odd" if example.answer == "even" else "even"
    values = {
        text: score(example, text).value
        for text in (example.answer, f"{wrong}.", "", f"{example.answer} I say")
    }
    assert values == {example.answer: 1.2, f"{wrong}.": 0.2, "": 0.0, f"{example.answer} I say": 1.0}
    assert config.eval.threshold == 1.0


def test_the_section_for_a_pretrained_model_is_whole(folder: Path) -> None:
    lines = (folder / "config.yaml").read_text().splitlines()
    start = lines.index("# policy:")
    commented = "\n".join(line.removeprefix("# ") for line in lines[start : start + 4])
    section = yaml.safe_load(commented)
    assert section["policy"]["name"] == "huggingface"
    load_config(["config.yaml", section, {"warm_start": None}])


def commands() -> list[list[str]]:
    text = (TEMPLATES / "README.md").read_text()
    lines = [line for block in re.findall(r"```bash\n(.*?)```", text, re.S) for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def test_every_command_of_the_readme_exists_with_its_options() -> None:
    group = typer.main.get_command(cli._app())
    for verb, *arguments in (words[1:] for words in commands() if words[0] == "whet"):
        group.commands[verb].make_context(verb, arguments)  # type: ignore[attr-defined]


def test_the_dry_run_of_the_readme_finds_nothing_wrong(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["train", "config.yaml", "--dry-run"])
    assert (end.value.code or 0, capsys.readouterr().err) == (0, "")


@pytest.mark.slow
def test_it_learns_the_task_and_then_what_the_edited_reward_asks_for(folder: Path) -> None:
    from whet import train

    before = train("config.yaml", trackers=["jsonl"])
    accuracy = before.summary["eval"]
    assert accuracy["before"]["pass@1"] < 0.7 < 0.85 < accuracy["after"]["pass@1"]
    assert stops(before.path) < 0.4
    reward = folder / "my_reward.py"
    reward.write_text(reward.read_text().replace('# "full_stop"', '"full_stop"'))
    edited = folder / "edited.py"  # a file is run once per process; a new name is read anew
    edited.write_text(reward.read_text())
    after = train("config.yaml", trackers=["jsonl"], verifier="./edited.py:score")
    assert stops(after.path) > 0.9
    assert after.summary["eval"]["after"]["pass@1"] > 0.85


def stops(run: Path) -> float:
    """The share of completions that end in one full stop, over the last step."""
    rows = [json.loads(x) for x in (run / "logs/rollouts.jsonl").read_text().splitlines()]
    last = [row["text"].rstrip(".") + "." == row["text"] for row in rows if row["step"] == rows[-1]["step"]]
    return sum(last) / len(last)
