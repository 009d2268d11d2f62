"""The Hugging Face Hub: who the token belongs to, a repository, and one commit with all files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.errors import ConfigError, EmbexpError, ModelError
from embexp.models.sources import hub_network_error
from embexp.progress import without_bars

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

_TOKEN_PAGE = "https://huggingface.co/settings/tokens"


@dataclass(frozen=True)
class Repository:
    """A repository on the Hub.

    Attributes:
        url: Its page.
        private: Whether only its owners see it.
    """

    url: str
    private: bool


def check_name(repo: str) -> None:
    """Refuse what is no name of a repository.

    Args:
        repo: ``NAME`` or ``OWNER/NAME``.

    Raises:
        ConfigError: It is none.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ConfigError(
            f"repo is {repo!r}: give OWNER/NAME, or NAME for your own account, of letters, digits, '-', '_' "
            "and '.', as in repo=docs-search."
        ) from error


def push(folder: Path, repo: str, *, private: bool, message: str) -> Repository:
    """Push a folder to a repository, which is created if it is missing, in one commit.

    Args:
        folder: The files.
        repo: ``NAME`` in the token's own account, or ``OWNER/NAME``.
        private: Whether only its owners may see the repository.
        message: The commit's message.

    Raises:
        ConfigError: There is no token, or the repository is visible to others than was asked for.
        ModelError: The Hub refuses the token or the files, or cannot be reached; an existing repository is as
            it was before.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=_token())
    with _explained(repo, api.endpoint):
        repo = _in_own_namespace(api, repo)
    with _explained(repo, api.endpoint):
        _create(api, repo, private=private)
        with without_bars():
            api.upload_folder(repo_id=repo, folder_path=folder, commit_message=message.splitlines()[0][:200])
    return Repository(f"{api.endpoint}/{repo}", private)


def _token() -> str:
    """Return the token of HF_TOKEN, or of the file that ``hf auth login`` writes.

    Raises:
        ConfigError: There is none, or it holds a character that no token has.
    """
    from huggingface_hub import get_token

    token = get_token()
    if not token:
        raise ConfigError(
            f"There is no token for the Hugging Face Hub: create one that may write at {_TOKEN_PAGE}, then "
            "run hf auth login, or set HF_TOKEN; publish.folder=FOLDER without repo needs none."
        )
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ConfigError(
            "The token for the Hugging Face Hub (HF_TOKEN, or what hf auth login stored) holds a character "
            f"that no token has: copy it again from {_TOKEN_PAGE}."
        )
    return token


def _in_own_namespace(api: HfApi, repo: str) -> str:
    """Return the repository as OWNER/NAME, of an owner whom the token speaks for.

    Raises:
        ModelError: The owner is another.
    """
    user = api.whoami()
    own = [str(user["name"]), *(str(each["name"]) for each in user.get("orgs", []))]
    owner, slash, _ = repo.partition("/")
    if not slash:
        return f"{own[0]}/{repo}"
    if owner.lower() not in (name.lower() for name in own):
        raise ModelError(
            f"repo is {repo}, which is not yours: the token belongs to {own[0]}, and may write in "
            f"{', '.join(own)}. Publish under one of these, or use a token of the owner."
        )
    return repo


def _create(api: HfApi, repo: str, *, private: bool) -> None:
    """Create the repository, or make sure that an existing one is visible to whom it should be.

    Raises:
        ConfigError: It is visible to others.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        existing = api.repo_info(repo)
    except RepositoryNotFoundError:
        api.create_repo(repo, private=private)
        return
    if bool(existing.private) != private:
        now, wanted = ("private", "public") if existing.private else ("public", "private")
        raise ConfigError(
            f"{repo} exists and is {now}, and publish.private={str(private).lower()} asks for a {wanted} "
            f"repository: set publish.private={str(not private).lower()} to push to it as it is, or choose "
            "another name."
        )


@contextmanager
def _explained(repo: str, endpoint: str) -> Iterator[None]:
    """Turn what the Hub and its library raise into one sentence with the remedy."""
    from huggingface_hub import errors

    try:
        yield
    except EmbexpError:
        raise
    except errors.OfflineModeIsEnabled as error:
        raise ConfigError(
            "HF_HUB_OFFLINE is set, so nothing can be pushed: unset it, or write a folder with "
            "publish.folder=FOLDER alone."
        ) from error
    except errors.HfHubHTTPError as error:
        raise ModelError(_refusal(error, repo)) from error
    except (hub_network_error(), OSError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ModelError(
            f"The Hugging Face Hub at {endpoint} cannot be reached ({reason}): check the connection and "
            "HF_ENDPOINT, and run the same command again; publish.folder=FOLDER alone needs none."
        ) from error
    except (ValueError, RuntimeError) as error:  # what the library makes of refused metadata and uploads
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"The Hugging Face Hub does not take {repo}: {reason}") from error


def _refusal(error: HfHubHTTPError, repo: str) -> str:
    """Return what to do about an answer of the Hub that is an error."""
    status = error.response.status_code
    said = " ".join((error.server_message or str(error)).split())[:300]
    if status == 401:
        return (
            "The Hugging Face Hub refuses the token (HF_TOKEN, or what hf auth login stored): it is wrong, "
            f"expired or revoked. Create one that may write at {_TOKEN_PAGE}."
        )
    if status == 403:
        return (
            f"The Hugging Face Hub does not let this token write to {repo} ({said}): give it the right to "
            f"write at {_TOKEN_PAGE}, or publish under a name of your own."
        )
    if status == 429 or status >= 500:
        return f"The Hugging Face Hub answers HTTP {status} ({said}): run the same command again later."
    return f"The Hugging Face Hub does not take {repo} (HTTP {status}: {said})."
