"""Keys are found in the environment and in `.env`, and never shown."""

import logging
from pathlib import Path

import pytest

from whet import keys
from whet.errors import ConfigError

SECRET = "planted-0123456789"


@pytest.fixture
def env_file(tmp_path, monkeypatch):
    """Writes `.env` in the working directory; no key of the machine is seen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(keys, "_told", set())
    for name in ("WANDB_API_KEY", "WANDB_PROJECT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return lambda text: Path(".env").write_text(text, encoding="utf-8")


def test_a_key_is_read_from_the_file_as_dotenv_writes_it(env_file):
    env_file("# a comment\nexport WANDB_API_KEY='abc def'  # mine\nWANDB_PROJECT=${WANDB_API_KEY}s\n")
    assert keys.value("WANDB_API_KEY") == "abc def"
    assert keys.value("WANDB_PROJECT") == "abc defs"


def test_reading_the_file_leaves_the_environment_as_it_was(env_file, monkeypatch):
    import os

    env_file(f"WANDB_API_KEY={SECRET}\n")
    before = dict(os.environ)
    keys.value("WANDB_API_KEY")
    assert dict(os.environ) == before


def test_what_is_nowhere_or_empty_is_none(env_file, monkeypatch):
    assert keys.value("WANDB_API_KEY") is None
    env_file("WANDB_API_KEY=\n")
    monkeypatch.setenv("WANDB_PROJECT", "")
    assert (keys.value("WANDB_API_KEY"), keys.value("WANDB_PROJECT")) == (None, None)


def test_the_environment_wins_and_the_difference_is_said_once_without_the_values(
    env_file, monkeypatch, caplog
):
    env_file("WANDB_PROJECT=from-the-file\n")
    monkeypatch.setenv("WANDB_PROJECT", "from-outside")
    with caplog.at_level(logging.WARNING):
        assert [keys.value("WANDB_PROJECT") for _ in range(2)] == ["from-outside", "from-outside"]
    (said,) = caplog.messages
    assert said == "WANDB_PROJECT is set in the environment and differs in .env: the environment wins"
    assert keys.conflicts() == ["WANDB_PROJECT"]


def test_an_empty_variable_does_not_hide_the_file(env_file, monkeypatch):
    env_file("WANDB_PROJECT=mine\n")
    monkeypatch.setenv("WANDB_PROJECT", "")
    assert keys.value("WANDB_PROJECT") == "mine"


def test_two_different_values_of_one_key_are_refused_by_their_lines_and_not_shown(env_file):
    env_file(f"WANDB_API_KEY={SECRET}-1\n\n# another\nHF_TOKEN=x\n\nWANDB_API_KEY={SECRET}-2\n")
    with pytest.raises(ConfigError, match=r"\.env: lines 1 and 6 give WANDB_API_KEY different") as caught:
        keys.value("WANDB_API_KEY")
    assert SECRET not in str(caught.value)
    assert keys.value("HF_TOKEN") == "x"  # the others can still be read


def test_the_same_value_twice_is_no_conflict(env_file):
    env_file("HF_TOKEN=x\nHF_TOKEN=x\n")
    assert keys.value("HF_TOKEN") == "x"


def test_a_file_that_is_not_text_is_refused(env_file):
    Path(".env").write_bytes(b"HF_TOKEN=\xff\xfe\n")
    with pytest.raises(ConfigError, match="it is not UTF-8 text"):
        keys.value("HF_TOKEN")


def test_known_keys_and_logins_in_addresses_are_hidden_in_a_text(env_file, monkeypatch):
    env_file(f"WANDB_API_KEY={SECRET}\n")
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh")
    text = f"401 for {SECRET} and hf_abcdefgh at https://me:pw@host/x?a@b"
    assert keys.hide(text) == "401 for *** and *** at https://***@host/x?a@b"


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("wandb_api_key=abc", "wandb_api_key=***"),
        ("--hub-token=abc", "--hub-token=***"),
        ("batch.microbatch_tokens=24", "batch.microbatch_tokens=24"),
        ("policy.revision=0123456789abcdef0123456789abcdef01234567",) * 2,
        ("tokenizer=abc", "tokenizer=abc"),
    ],
)
def test_an_argument_that_is_called_a_key_loses_its_value(env_file, argument, shown):
    assert keys.hide_argument(argument) == shown


def test_a_text_that_holds_a_key_is_refused_by_its_name(env_file):
    env_file(f"HF_TOKEN={SECRET}\n")
    keys.refuse_in("policy: {model: x}", "the config")
    with pytest.raises(ConfigError, match="the config holds the value of HF_TOKEN") as caught:
        keys.refuse_in(f"policy: {{model: https://{SECRET}@host/x}}", "the config")
    assert SECRET not in str(caught.value)


def test_a_short_value_stands_in_innocent_text_too(env_file, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "x")
    keys.refuse_in("max_steps: 1", "the config")
    assert keys.hide("max_steps") == "max_steps"
