"""To the Hugging Face Hub, only when asked."""

from __future__ import annotations

import re
from pathlib import Path

from whet import keys
from whet.errors import ConfigError, RunError
from whet.models.pretrained import hub_is_reachable

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_TOKEN = "HF_TOKEN"


class Hub:
    """A repository on the Hub that files are uploaded to."""

    def __init__(self, repository: str, public: bool = False) -> None:
        """Raises `ConfigError` for a bad name, without a token, or when the Hub cannot be reached."""
        self._repository = repository
        self._is_private = not public
        self._token = _token()
        if not _REPOSITORY.fullmatch(repository):
            raise ConfigError(f"--to-hub: expected OWNER/NAME, found {repository!r}")
        if self._token is None:
            raise ConfigError(
                f"--to-hub needs a token that may write: hf auth login, or {_TOKEN} in the environment or in .env"
            )
        if not hub_is_reachable():
            raise ConfigError(
                "--to-hub: the Hub cannot be reached from here. Export without it, and upload from elsewhere: "
                f"hf upload {repository} DIR"
            )

    def upload(self, directory: Path, force: bool = False) -> str:
        """Makes the repository and uploads a directory; returns its address.

        A repository that exists is written to with `force` only. Raises `RunError` with the Hub's own words.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        api = HfApi(token=self._token)
        try:
            api.create_repo(self._repository, private=self._is_private, exist_ok=force)
            api.upload_folder(
                repo_id=self._repository, folder_path=directory, commit_message="Exported by whet"
            )
        except (HfHubHTTPError, OSError) as error:
            raise RunError(
                f"{self._repository} was not uploaded: {keys.hide(str(error))}. The files are in {directory}; an "
                "existing repository is written to with --force"
            ) from error
        return f"https://huggingface.co/{self._repository}"


def _token() -> str | None:
    from huggingface_hub import get_token

    return keys.value(_TOKEN) or get_token()
