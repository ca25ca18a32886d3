"""What a policy is sent, by the command line and from Python, on a run of a tiny chat model."""

from pathlib import Path

import pytest

import whet as library
from checkpoints import tiny_checkpoint
from whet.errors import ConfigError

CONFIG = {
    "max_steps": 1,
    "num_threads": 1,
    "save_every": 0,
    "trackers": ["jsonl"],
    "task": {"name": "arithmetic", "num_train": 8, "num_test": 2},
    "prompt": {"system": "Be brief."},
    "batch": {"prompts_per_step": 2, "num_generations": 2},
    "sampling": {"max_prompt_length": 64, "max_completion_length": 4},
    "eval": {"at_start": False, "at_end": False},
}
SMALL = ("num_train=8", "num_test=2")
BRIEF = "<|im_start|>system\nBe brief.<|im_end|>\n"
HEAD, TAIL = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def chat_run(tmp_path_factory) -> Path:
    """A run of one step of a tiny Qwen2, whose prompts have a system message."""
    policy = {"name": "huggingface", "model": str(tiny_checkpoint("qwen2"))}
    return library.train({**CONFIG, "policy": policy, "runs_root": str(tmp_path_factory.mktemp("runs"))}).path


@pytest.fixture
def sent(monkeypatch) -> list[str]:
    """The prompts that engines get, spelled."""
    from whet.engines.native import NativeEngine

    spelled, generate = [], NativeEngine.generate

    def spy(self, requests, *rest, **named):
        requests = list(requests)
        spelled.extend(self._policy.tokenizer.spell(r.prompt_ids) for r in requests)
        return generate(self, requests, *rest, **named)

    monkeypatch.setattr(NativeEngine, "generate", spy)
    return spelled


def test_the_prompt_of_a_model_by_path_is_shown_with_its_special_tokens(whet):
    command = ("tasks", "arithmetic", *SMALL, "--policy", tiny_checkpoint("qwen2"))
    facts = whet(*command, "--json").json
    shown, asked = facts["prompt"], facts["example"]["prompt"]
    assert (shown["chat"], shown["text"]) == (True, HEAD + asked + TAIL)
    assert "".join(token["text"] for token in shown["tokens"]) == shown["text"]
    out = whet(*command).out
    assert f"the prompt as the policy gets it: a conversation, {shown['length']} tokens" in out
    assert f"  | {HEAD}  | {asked}<|im_end|>\n  | <|im_start|>assistant\n" in out
    assert r"1:'<|im_start|>'" in out
    assert "  a completion ends with 0:'<|endoftext|>', 2:'<|im_end|>'\n" in out


def test_prompt_settings_stand_among_those_of_the_task(whet):
    command = ("tasks", "arithmetic", *SMALL, "--policy", tiny_checkpoint("qwen3"), "--json")
    thinking = "prompt.chat_template_kwargs={enable_thinking: false}"
    shown = whet(*command, "prompt.system=Be brief.", thinking).json["prompt"]
    assert shown["text"].startswith(BRIEF)
    assert shown["text"].endswith("<think>\n\n</think>\n\n")
    assert whet(*command, "prompt.chat=false").json["prompt"]["chat"] is False


def test_a_run_shows_its_own_prompt_settings_and_takes_others(whet, chat_run):
    command = ("tasks", "arithmetic", *SMALL, "--policy", "latest", "--runs-root", chat_run.parent, "--json")
    assert whet(*command).json["prompt"]["text"].startswith(BRIEF + HEAD)
    assert whet(*command, "prompt.system=null").json["prompt"]["text"].startswith(HEAD)


def test_a_run_from_scratch_and_a_new_policy_show_plain_text(whet, tiny_run):
    for policy in (f"{tiny_run.name}:1", "from_scratch"):
        command = ("tasks", "arithmetic", *SMALL, "--policy", policy, "--runs-root", tiny_run.parent)
        shown = whet(*command, "--json").json
        assert shown["prompt"]["text"] == shown["example"]["prompt"]
        assert shown["prompt"]["chat"] is False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("prompt.chat=false",), "prompt.chat=false says how a policy gets the prompt: name one with --policy"),
        (("--policy", "nothing"), "there is no run 'nothing'. Newest in runs: none. A policy is a run, the directory"),
        (("--policy", "./nothing"), "there is no directory ./nothing"),
        (("--policy", "from_scratch", "prompt.chatt=true"), "prompt.chatt is not a setting of prompt"),
        (("--policy", "from_scratch", "prompt.chat=yes"), "prompt.chat: expected one of 'auto', true, false"),
        (("--policy", "from_scratch", "prompt.chat=true"), "prompt.chat is true, and the tokenizer has no chat"),
    ],
    ids=["no policy", "no run", "no directory", "unknown", "value", "no template"],
)  # fmt: skip
def test_what_cannot_be_shown_is_an_error(whet, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    ended = whet("tasks", "arithmetic", *SMALL, *words)
    assert ended.code == 2
    assert message in ended.err


def test_the_same_prompt_is_shown_in_python():
    task = library.task("arithmetic", num_train=8, num_test=2)
    shown = library.show_prompt(task, str(tiny_checkpoint("qwen2")), system="Be brief.")
    assert shown["text"] == BRIEF + HEAD + task.examples("train")[0].prompt + TAIL


def test_sample_writes_the_prompt_as_the_run_did_or_raw_or_with_another_system_message(whet, chat_run, sent):
    command = ("sample", "latest", "1+2=", "--runs-root", chat_run.parent)
    for more in ((), ("--raw",), ("--system", "Be long.")):
        assert whet(*command, *more).code == 0
    assert sent == [
        BRIEF + HEAD + "1+2=" + TAIL,
        "1+2=",
        BRIEF.replace("brief", "long") + HEAD + "1+2=" + TAIL,
    ]


def test_a_system_message_for_a_policy_without_conversations_is_an_error(whet, tiny_run):
    ended = whet("sample", tiny_run, "1+2=", "--system", "Be long.")
    assert (ended.code, ended.out) == (2, "")
    assert "the tokenizer has no chat template" in ended.err


def test_an_empty_prompt_is_said_to_be_empty(whet, tiny_run):
    ended = whet("sample", tiny_run, "")
    assert (ended.code, ended.err) == (
        2, "error: prompt 0 is empty: the first token needs one before it; write a text\n",
    )  # fmt: skip


def test_a_conversation_may_be_asked_alone_or_among_others(chat_run, sent):
    policy = library.load_policy(chat_run)
    talk = [
        {"role": "user", "content": "1+2="},
        {"role": "assistant", "content": "3"},
        {"role": "user", "content": "And 2+2="},
    ]
    assert policy.generate(talk) == policy.generate([talk])
    both = policy.generate(["1+2=", talk], num_samples=2)
    assert [[a.prompt for a in samples] for samples in both] == [["1+2="] * 2, ["And 2+2="] * 2]
    written = f"{BRIEF}{HEAD}1+2={TAIL}3<|im_end|>\n{HEAD}And 2+2={TAIL}"
    assert sent == [written, written, BRIEF + HEAD + "1+2=" + TAIL, written]


def test_a_raw_conversation_is_an_error(chat_run):
    with pytest.raises(ConfigError, match="raw prompts are texts"):
        library.load_policy(chat_run).generate([{"role": "user", "content": "1+2="}], raw=True)
