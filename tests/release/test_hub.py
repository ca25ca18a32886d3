"""The Hub is written to only when asked, privately, and never without a token."""

import huggingface_hub
import pytest

from whet.errors import ConfigError, RunError
from whet.release import hub
from whet.release.hub import Hub

TOKEN = "hf_secretsecretsecret"


@pytest.fixture
def api(monkeypatch, tmp_path):
    """A Hub that answers, and what it was asked for."""
    calls = []

    class Api:
        def __init__(self, token):
            calls.append(("token", token))

        def create_repo(self, name, private, exist_ok):
            calls.append(("create", name, private, exist_ok))

        def upload_folder(self, repo_id, folder_path, commit_message):
            calls.append(("upload", repo_id, folder_path))

    monkeypatch.chdir(tmp_path)  # away from any .env
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(hub, "hub_is_reachable", lambda: True)
    return calls


def test_a_new_repository_is_private_and_an_old_one_is_left_alone(api, tmp_path):
    assert Hub("me/mine").upload(tmp_path) == "https://huggingface.co/me/mine"
    assert api == [("token", TOKEN), ("create", "me/mine", True, False), ("upload", "me/mine", tmp_path)]


def test_public_and_force_are_said(api, tmp_path):
    Hub("me/mine", public=True).upload(tmp_path, force=True)
    assert ("create", "me/mine", False, True) in api


@pytest.mark.parametrize("name", ["mine", "me/mine/too", "", "me/m ine"])
def test_a_name_without_an_owner_is_refused(api, name):
    with pytest.raises(ConfigError, match="expected OWNER/NAME"):
        Hub(name)


def test_without_a_token_it_says_how_to_get_one(api, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(ConfigError, match=r"hf auth login, or HF_TOKEN in the environment or in .env"):
        Hub("me/mine")


def test_a_hub_that_cannot_be_reached_is_said_before_anything_is_written(api, monkeypatch):
    monkeypatch.setattr(hub, "hub_is_reachable", lambda: False)
    with pytest.raises(ConfigError, match="upload from elsewhere: hf upload me/mine DIR"):
        Hub("me/mine")


def test_an_error_of_the_hub_keeps_the_token_to_itself(api, monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise OSError(f"401 with {TOKEN}")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
    with pytest.raises(RunError) as caught:
        Hub("me/mine").upload(tmp_path)
    assert TOKEN not in str(caught.value)
    assert f"The files are in {tmp_path}" in str(caught.value)
