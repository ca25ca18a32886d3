"""Settings that are written as options or as YAML."""

import pytest


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--max_steps=5",),
            "--max_steps is not an option: a setting is written without dashes, max_steps=5",
        ),
        (
            ("--max-steps", "5"),
            "--max-steps is not an option: a setting is written without dashes, max_steps=5",
        ),
        (("--log_completions", "--quiet"), "written without dashes, log_completions=true"),
        (("--learning_rate=1e-4",), "written without dashes, optimizer.learning_rate=1e-4"),
        (("--batch.num_generations", "4"), "written without dashes, batch.num_generations=4"),
        (("--lr", "1e-4"), "written without dashes, optimizer.learning_rate=1e-4"),
        (("--bf16",), "written without dashes, as key=value; for bf16: policy.precision (auto, fp32 or bf16"),
        (("max_steps: 5",), "'max_steps: 5' is how a file says it; on the command line it is max_steps=5"),
        (("max_steps:", "5"), "'max_steps:' is how a file says it; on the command line it is max_steps=5"),
    ],
)
def test_a_setting_in_another_spelling_is_answered_with_whets(whet, words, message):
    ended = whet("train", "arithmetic", *words)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


def test_a_word_that_is_no_setting_is_left_to_the_parser(whet):
    ended = whet("train", "arithmetic", "--dryrun")
    assert (ended.code, "--dry-run" in ended.err) == (2, True)


def test_a_verb_without_settings_is_left_alone(whet):
    assert "is not an option: a setting" not in whet("show", "latest", "--max_steps=5").err


def test_a_verb_alone_is_left_to_the_parser(whet):
    ended = whet("train")
    assert (ended.code, "Missing argument" in ended.err) == (2, True)
