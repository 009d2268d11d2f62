"""``python -m embexp.plan``: requests, tokens, price and time of a synthesis, before any is spent."""

from __future__ import annotations

from omegaconf import DictConfig

from embexp.config.build import build
from embexp.config.command import hydra_command


@hydra_command("plan")
def main(config: DictConfig) -> None:
    """Print the plan of ``synthesis=`` with ``llm=``; no request is sent."""
    experiment, _ = build(config, needs_key=False, asks=())
    from embexp.pipeline.synthesize import plan_synthesis
    from embexp.reporting.console import print_plan

    print_plan(plan_synthesis(experiment))


if __name__ == "__main__":
    main()
