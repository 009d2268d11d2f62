"""``python -m embexp.plan``: what a synthesis or a teacher will ask a language model, and its price."""

from __future__ import annotations

from omegaconf import DictConfig

from embexp.config.build import build
from embexp.config.command import hydra_command


@hydra_command("plan")
def main(config: DictConfig) -> None:
    """Print the plan of ``synthesis=`` and of a teacher with ``llm=``; no request is sent."""
    experiment, _ = build(config, needs_key=False, asks=())
    from embexp.pipeline.plan import plan_requests
    from embexp.reporting.console import print_plan

    print_plan(plan_requests(experiment))


if __name__ == "__main__":
    main()
