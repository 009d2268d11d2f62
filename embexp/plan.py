"""``python -m embexp.plan``: what a synthesis will ask, cost and take, before any of it is spent."""

from __future__ import annotations

from omegaconf import DictConfig

from embexp.config.build import build
from embexp.config.command import hydra_command


@hydra_command("plan")
def main(config: DictConfig) -> None:
    """Print requests, tokens, price and time of ``synthesis=`` with ``llm=``; nothing is asked."""
    experiment, _ = build(config, needs_key=False)
    from embexp.pipeline.synthesize import plan_synthesis
    from embexp.reporting.console import print_plan

    print_plan(plan_synthesis(experiment))


if __name__ == "__main__":
    main()
