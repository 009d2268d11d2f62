"""``python -m embexp.synthesize``: documents become training pairs, and nothing more."""

from __future__ import annotations

from omegaconf import DictConfig

from embexp.config.build import build, output_dir, overrides_of
from embexp.config.command import hydra_command


@hydra_command("synthesize")
def main(config: DictConfig) -> None:
    """Write ``data/pairs.jsonl`` with its manifest, its exports, and synthesis.json."""
    experiment, tracker = build(config, asks=())
    from embexp.pipeline.run import run_synthesis
    from embexp.reporting.console import print_synthesis

    summary = run_synthesis(experiment, tracker, output_dir())
    again = overrides_of("dataset", "chunker", "synthesis", "llm", "model", "retriever", "seed")
    print_synthesis(summary, folder=output_dir(), again=again)


if __name__ == "__main__":
    main()
