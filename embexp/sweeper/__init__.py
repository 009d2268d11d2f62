"""Sweeps with Optuna: the space, the study that processes share, the trials, and the report."""

from embexp.sweeper.settings import Options, read_options
from embexp.sweeper.space import Space
from embexp.sweeper.stores import Store, store_at
from embexp.sweeper.study import Failure, SharedStudy, open_study
from embexp.sweeper.syntax import parse_space
from embexp.sweeper.trial import LiveTrial, live_trial

__all__ = [
    "Failure",
    "LiveTrial",
    "Options",
    "SharedStudy",
    "Space",
    "Store",
    "live_trial",
    "open_study",
    "parse_space",
    "read_options",
    "store_at",
]
