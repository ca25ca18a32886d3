"""The reading commands: for people, and with --json for programs."""

import shutil

import pytest


@pytest.fixture
def root(tiny_run):
    return ("--runs-root", tiny_run.parent)


def test_runs_lists_every_run(whet, tiny_run, root):
    (row,) = whet("runs", *root, "--json").json
    assert (row["name"], row["state"], row["task"], row["step"]) == (
        tiny_run.name,
        "finished",
        "arithmetic",
        2,
    )
    assert tiny_run.name in whet("runs", *root).out


def test_the_runs_root_comes_from_the_environment(whet, tiny_run, monkeypatch):
    monkeypatch.setenv("WHET_RUNS", str(tiny_run.parent))
    assert [row["name"] for row in whet("runs", "--json").json] == [tiny_run.name]


def test_no_runs_are_an_empty_list(whet, tmp_path):
    assert whet("runs", "--runs-root", tmp_path, "--json").json == []
    assert "no runs in" in whet("runs", "--runs-root", tmp_path).out


def test_show_has_state_accuracy_metrics_checkpoints_and_rollouts(whet, root):
    facts = whet("show", "latest", *root, "--rollouts", "3", "--json").json
    assert (facts["state"], facts["why"]) == ("finished", "max_steps 2 reached")
    assert {time: e["n"] for time, e in facts["summary"]["eval"].items()} == {"before": 8, "after": 8}
    assert facts["checkpoints"] == ["step_000000", "step_000001", "step_000002"]
    assert sorted(facts["evaluations"]["arithmetic"]) == ["0", "2"]
    assert facts["metrics"]["completions/mean_length"] >= 1
    assert [r["step"] for r in facts["rollouts"]] == [2, 2, 2]


def test_show_tells_people_the_same(whet, tiny_run, root):
    out = whet("show", tiny_run).out
    assert f"{tiny_run.name}: finished (max_steps 2 reached)" in out
    assert "right answers, arithmetic test, 8 problems, with 95% intervals" in out
    assert "rollouts of step 2, with their rewards" in out


def test_show_of_a_checkpoint_has_the_metrics_and_rollouts_of_its_step(whet, root):
    facts = whet("show", "latest:1", *root, "--rollouts", "3", "--json").json
    assert facts["metrics"]["step"] == 1
    assert [r["step"] for r in facts["rollouts"]] == [1, 1, 1]
    assert "rollouts of step 1, with their rewards" in whet("show", "latest:1", *root).out


def test_show_of_the_checkpoint_before_the_first_step_has_nothing_that_was_trained(whet, root):
    facts = whet("show", "latest:0", *root, "--json").json
    assert ("reward/mean" in facts["metrics"], facts["rollouts"]) == (False, [])
    assert "checkpoints  step_000000" in whet("show", "latest:0", *root).out


def test_show_names_the_mean_of_every_part_of_the_reward(whet, own_run):
    rewards = '"reward/mean": 1.5, "reward/answer/mean": 1, "reward/form/mean": 0.5'
    (own_run / "logs/train_log.jsonl").write_text(f'{{"step": 2, "completions/mean_length": 1, {rewards}}}\n')
    lines = [line.split() for line in whet("show", own_run).out.splitlines()]
    start = lines.index(["reward/mean", "1.5"])
    assert lines[start + 1 : start + 3] == [["reward/answer/mean", "1"], ["reward/form/mean", "0.5"]]


def test_show_of_a_run_that_never_began_is_no_error(whet, tmp_path, tiny_run):
    (tmp_path / "young").mkdir()
    shutil.copy(tiny_run / "config.yaml", tmp_path / "young")
    facts = whet("show", "young", "--runs-root", tmp_path, "--json").json
    assert (facts["state"], facts["checkpoints"], facts["rollouts"]) == ("unknown", [], [])
    assert "checkpoints  none" in whet("show", "young", "--runs-root", tmp_path).out


def test_sample_gives_the_same_completions_for_the_same_seed(whet, root):
    command = ("sample", "latest", "1+2=", "--num-samples", "3", "--temperature", "0.7", "--seed", "5", *root)
    first = whet(*command, "--json").json
    assert whet(*command, "--json").json == first
    assert len(first["completions"]) == 3
    assert {len(c["token_ids"]) == len(c["logprobs"]) for c in first["completions"]} == {True}


def test_sample_is_greedy_when_asked(whet, root):
    command = ("sample", "latest:1", "1+2=", "--greedy", *root, "--max-completion-length", "2", "--json")
    found = [whet(*command, "--seed", seed).json["completions"] for seed in ("1", "2")]
    assert found[0] == found[1]
    assert len(found[0][0]["token_ids"]) <= 2


def test_sample_says_which_completions_were_cut(whet, root):
    command = ("sample", "latest", "1+2=", "--num-samples", "6", "--max-completion-length", "1")
    lines = whet(*command, *root).out.splitlines()
    assert len(lines) == 6
    assert any(line.endswith("   (cut after 1 tokens)") for line in lines)


def test_a_task_with_turns_says_how_many(whet):
    out = whet("tasks", "guess_number", "num_train=5", "num_test=3").out
    assert out.startswith("guess_number: 5 examples to train on, 3 to test on; up to 3 turns\n")
    assert "its rewards of a single turn\n" in out
    assert whet("tasks", "guess_number", "--json").json["turns"] == {"max_turns": 3, "role": "user"}


def test_tasks_are_listed_with_what_they_are_about(whet):
    found = {row["name"]: row["about"] for row in whet("tasks", "--json").json}
    assert {"arithmetic", "gsm8k", "jsonl"} <= found.keys()
    assert all(found.values())
    assert whet("tasks").out.splitlines()[0].startswith("arithmetic")


def test_a_task_shows_an_example_and_its_rewards(whet):
    facts = whet("tasks", "arithmetic", "max_operand=9", "task.num_train=5", "num_test=3", "--json").json
    assert facts["examples"] == {"train": 5, "test": 3}
    assert {kind: score["value"] for kind, score in facts["scores"].items()} == {
        "gold": 1,
        "wrong": 0,
        "empty": 0,
    }
    left, right = facts["example"]["prompt"].rstrip("=").split("+")
    assert facts["scores"]["gold"]["text"] == str(int(left) + int(right))
    assert facts["scores"]["wrong"]["text"] != facts["scores"]["gold"]["text"]


def test_a_task_tells_people_its_settings(whet):
    out = whet("tasks", "arithmetic", "max_operand=9", "num_train=5", "num_test=3").out
    assert "arithmetic: 5 examples to train on, 3 to test on" in out
    assert "  max_operand    9\n" in out
    assert "Take the first rows of each split only." in out


def test_a_task_from_a_file_of_rows(whet, tmp_path):
    rows = [f'{{"question": "{n}?", "answer": "{n + 1}"}}' for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    settings = (f"path={tmp_path}/rows.jsonl", "prompt=question", "verifier=numeric")
    facts = whet("tasks", "jsonl", *settings, "--json").json
    assert sum(facts["examples"].values()) == 40
    assert facts["scores"]["gold"]["value"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "latest:9"), "has no checkpoint '9'. Checkpoints there: 0, 1, 2"),
        (("show", "nothing"), "there is no run 'nothing'. Newest in "),
        (("sample", "latest:9", "1+2="), "has no checkpoint '9'. Checkpoints there: 0, 1, 2"),
        (("sample", "latest", "what?"), "no token for"),
        (("eval", "latest:9"), "has no checkpoint '9'. Checkpoints there: 0, 1, 2"),
        (("eval", "latest", "num_sample=3"), "eval.num_sample is not a setting"),
        (
            ("eval", "latest", "--subset-frac", "2"),
            "eval.subset_frac: expected a number > 0.0 and <= 1.0, found 2",
        ),
        (("eval", "latest", "--task", "arithmetics"), "Did you mean arithmetic?"),
        (("eval", "latest", "more"), "'more' is not a setting: write key=value"),
        (
            ("resume", "latest:1", "--from-step", "2"),
            "names the checkpoint 1 and --from-step 2: give one of them",
        ),
    ],
)
def test_a_mistake_ends_with_its_message_and_code_2(whet, root, arguments, message):
    ended = whet(*arguments, *root)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: ")
    assert message in ended.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tasks", "arithmetics"), "Did you mean arithmetic?"),
        (("tasks", "arithmetic", "num_trian=3"), "arithmetic: num_trian is not a setting"),
        (("tasks", "jsonl", "path=nowhere.jsonl", "verifier=exact"), "nowhere.jsonl"),
        (("tasks", "arithmetic", "more"), "'more' is not a setting"),
    ],
)
def test_a_mistake_in_a_task_is_named(whet, arguments, message):
    ended = whet(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
