"""The plugin that Hydra loads; ``embexp.sweeper`` does the work."""

from __future__ import annotations

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class EmbexpOptunaSweeper(Sweeper):
    """Searches the space of ``hydra.sweeper.params`` with Optuna."""

    def __init__(self, **_: Any) -> None:
        """Accept the options; they are read from the composed configuration instead."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep the configuration and build the launcher that will run the trials."""
        self._config = config
        self._context = hydra_context
        self._launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep and return the winner's values by key."""
        from embexp.sweeper.sweep import run_sweep

        return run_sweep(self._config, self._context, self._launcher, arguments)
