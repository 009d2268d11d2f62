"""``python -m embexp.run``: the whole pipeline, from documents to a verdict."""

from __future__ import annotations

from omegaconf import DictConfig

from embexp.config.build import build, flat_parameters, output_dir
from embexp.config.command import hydra_command


@hydra_command
def main(config: DictConfig) -> float | None:
    """Run one experiment and return the tuned model's best score on dev, for sweeps."""
    experiment, tracker = build(config)
    from embexp.pipeline.run import run_experiment

    return run_experiment(experiment, tracker, output_dir(), flat_parameters(config))


if __name__ == "__main__":
    main()
