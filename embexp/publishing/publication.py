"""What is published of a run: its model, a card for strangers, and its outcome without paths."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from embexp.errors import ConfigError, ModelError
from embexp.models.folder import SHARED_PASSAGES
from embexp.publishing.hub import Repository, check_name, push
from embexp.reporting.outcome import Outcome
from embexp.reporting.report import Origins, write_model_card
from embexp.reporting.verdict import headline
from embexp.storage.files import copy_folder, space_checked

OUTCOME = "outcome.json"
_PUBLISHED = (OUTCOME, "README.md")
"""What a folder holds that may be replaced; a run's own folder has no README.md."""


@dataclass(frozen=True, kw_only=True)
class Publication:
    """Where a run's model goes, and what its card says that the run does not know.

    Args:
        repo: The repository on the Hub, as ``OWNER/NAME``, or ``NAME`` in the account of the token; None
            pushes nothing.
        folder: A folder that gets the same files; None writes none.
        private: Whether only you, or your organisation, sees the repository.
        force: Publish in spite of the verdict REGRESSION.
        license: The licence of the tuned model, as the Hub names it; None is the base model's.
        base_model: The base model's name on the Hub; None is where the run had it from.
        base_license: The licence of the base model; None is what its card says.
        data_license: The licence of the documents and questions of the training.
    """

    repo: str | None = None
    folder: str | None = None
    private: bool = True
    force: bool = False
    license: str | None = None
    base_model: str | None = None
    base_license: str | None = None
    data_license: str | None = None

    def check(self, outcome: Outcome) -> None:
        """Refuse what is not to be published, before a file is copied or the Hub is asked.

        Args:
            outcome: The result of the run.

        Raises:
            ConfigError: There is nowhere to publish, or ``repo`` is no name of a repository.
            ModelError: The verdict is REGRESSION, or the folder holds something else.
        """
        if not self.repo and not self.folder:
            raise ConfigError(
                "There is nowhere to publish: give repo=NAME for a repository on the Hugging Face Hub, "
                "publish.folder=FOLDER for a folder, or both."
            )
        if self.repo is not None:
            check_name(self.repo)
        if outcome.comparison and outcome.comparison.worse and not self.force:
            raise ModelError(
                f"Nothing is published. {headline(outcome)} Train it differently, or set publish.force=true "
                "to publish it with this verdict on its card."
            )
        if self.folder is not None:
            _check_target(Path(self.folder).expanduser())


def publish(
    publication: Publication,
    model: Path,
    outcome: Outcome,
    origins: Origins,
    *,
    translations: Path | None = None,
    config: str = "",
) -> Repository | None:
    """Write the folder, push it, or both; either is complete, or as it was before.

    Args:
        publication: Where to; ``check`` has passed.
        model: The folder of the run's model.
        outcome: The result of the run.
        origins: What the model was made from.
        translations: The word translations of the run's retriever, which are published, too; None for none.
        config: The run's configuration as YAML, without secrets and paths.

    Returns:
        The repository on the Hub; None without ``repo``.

    Raises:
        EmbexpError: The disk is full or not writable, or the Hub refuses or cannot be reached.
    """
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "published"
        with space_checked(folder):
            shutil.copytree(model, folder, ignore=shutil.ignore_patterns(SHARED_PASSAGES))
            if translations is not None:
                shutil.copy(translations, folder)
        outcome.model_copy(update={"model_dir": "."}).write(folder / OUTCOME)
        write_model_card(folder, outcome, config=config, origins=origins)
        if publication.folder is not None:
            copy_folder(folder, Path(publication.folder).expanduser())
        if publication.repo is None:
            return None
        return push(folder, publication.repo, private=publication.private, message=headline(outcome))


def _check_target(target: Path) -> None:
    """Refuse to replace a folder that holds anything but a published model.

    Raises:
        ModelError: It does.
    """
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists() and not all((target / name).is_file() for name in _PUBLISHED):
        raise ModelError(
            f"publish.folder is {target}, which exists and is no published model "
            f"(no {' and '.join(_PUBLISHED)}): give another folder."
        )
