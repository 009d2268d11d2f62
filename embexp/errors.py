"""The errors that you can act on: each message names the value, where it stands and the remedy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from embexp.masking import masked_text


class EmbexpError(Exception):
    """A mistake in the input or the environment; commands print its message and exit with 2.

    Secrets in the message are masked, wherever it is shown or stored.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(masked_text(message))


class ConfigError(EmbexpError):
    """A configuration that cannot run: an unknown key, a wrong type, an impossible combination."""


class DataError(EmbexpError):
    """A file or folder whose content cannot be used; the message names file and line."""


class DamagedError(EmbexpError):
    """A file of the cache that is not as it was written."""


class ModelError(EmbexpError):
    """A model that cannot be found, loaded or trained."""


class RetrievalError(EmbexpError):
    """An index that does not fit the model, is in use, or cannot be reached."""


class TrackingError(EmbexpError):
    """A tracking server or database that cannot be used."""


class RunMissingError(TrackingError):
    """A run that the tracker does not have, or does not have any more."""


class SweepError(EmbexpError):
    """A sweep that cannot start or continue: its space, its storage, or every one of its trials."""


class PrunedError(Exception):
    """Not a mistake: the sweep stopped this training early, because other trials did better by then."""


@contextmanager
def exit_on_errors() -> Iterator[None]:
    """End with exit code 2 on Ctrl-C, and on an error that you can act on, whose message is printed."""
    try:
        yield
    except EmbexpError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(2)
