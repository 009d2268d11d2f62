"""``python -m embexp.benchmark``: score a model, or compare it with a tuned one, and nothing more."""

from __future__ import annotations

from omegaconf import DictConfig

from embexp.config.build import build, output_dir
from embexp.config.command import hydra_command


@hydra_command("benchmark")
def main(config: DictConfig) -> None:
    """Score ``model=`` and, where it is given, ``model@tuned=`` on the test questions."""
    experiment, tracker = build(config)
    from embexp.pipeline.run import run_benchmark
    from embexp.reporting.console import print_outcome

    outcome = run_benchmark(experiment, tracker, output_dir())
    print_outcome(outcome, folder=output_dir())


if __name__ == "__main__":
    main()
