"""The options of ``hydra/sweeper=embexp_optuna``. Hydra imports this file at every start: keep it light."""

# No "from __future__ import annotations": Hydra executes this file before it is in sys.modules, where a
# dataclass would look up its annotations.
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf


@dataclass
class EmbexpOptunaConf:
    """The keys of ``hydra.sweeper``; docs/sweeps.md explains them."""

    _target_: str = "hydra_plugins.embexp_optuna.sweeper.EmbexpOptunaSweeper"
    _recursive_: bool = False  # sampler and pruner are built when needed
    params: dict[str, Any] = field(default_factory=dict)
    conditional: dict[str, Any] = field(default_factory=dict)
    n_trials: int = 20
    objectives: list[str] = field(default_factory=lambda: ["quality"])
    direction: Any = None
    sampler: dict[str, Any] = field(default_factory=lambda: {"_target_": "optuna.samplers.TPESampler"})
    pruner: dict[str, Any] = field(default_factory=lambda: {"_target_": "optuna.pruners.MedianPruner"})
    seed: int | None = 0
    batch_size: int = 1
    retries: int = 2
    baseline: bool = True
    keep_models: bool = False
    winner: bool = True
    study_name: str | None = None
    storage: str | None = None
    folder: str = "outputs/sweeps"
    trial_slot: str | None = None  # set by the sweeper for each of its jobs; not meant for users


_OPTIONS = OmegaConf.structured(EmbexpOptunaConf)
for _name in ("sampler", "pruner"):
    # Open: an override may set any argument of Optuna's class, which no file of ours lists.
    OmegaConf.set_struct(_OPTIONS[_name], False)

ConfigStore.instance().store(group="hydra/sweeper", name="embexp_optuna", node=_OPTIONS, provider="embexp")
