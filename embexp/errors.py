"""The errors a person can act on: each message names the value, the place and the remedy."""


class EmbexpError(Exception):
    """A mistake in the input or the surroundings; commands print it in one sentence and exit with 2."""


class ConfigError(EmbexpError):
    """A configuration that cannot run: an unknown key, a wrong type, an impossible combination."""


class DataError(EmbexpError):
    """A file or folder whose content cannot be used; the message names file and line."""


class ModelError(EmbexpError):
    """A model that cannot be had, loaded or trained."""


class RetrievalError(EmbexpError):
    """An index that does not fit the model, is in use, or cannot be reached."""


class TrackingError(EmbexpError):
    """A tracking server or database that cannot be used."""


class SweepError(EmbexpError):
    """A sweep that cannot begin or go on: its space, its storage, or every one of its trials."""


class PrunedError(Exception):
    """No mistake: a sweep ends a training early, because others had done better by then."""
