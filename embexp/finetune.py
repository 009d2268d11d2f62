"""``python -m embexp.finetune``: pairs become a fine-tuned model, and nothing more."""

from __future__ import annotations

from omegaconf import DictConfig

from embexp.config.build import build, flat_parameters, given_options, output_dir
from embexp.config.command import hydra_command
from embexp.config.processes import Returned
from embexp.sweeper.objective import trial_values
from embexp.sweeper.trial import live_trial, sweep_tags


@hydra_command("finetune")
def main(config: DictConfig) -> Returned:
    """Train on the training split, leave ``model/`` and return the best score on dev."""
    experiment, tracker = build(config)
    if (trial := live_trial()) is not None:
        return trial_values(trial, experiment, tracker)
    from embexp.pipeline.run import run_finetune
    from embexp.reporting.console import print_training

    tuned, registered = run_finetune(
        experiment, tracker, output_dir(), flat_parameters(config), tags=sweep_tags()
    )
    again = given_options("dataset", "model", "split", "chunker", "synthesis", "llm", "seed")
    print_training(
        tuned.training, metric=config.metric, folder=output_dir(), again=again, registered=registered
    )
    return tuned.training.best(config.metric)


if __name__ == "__main__":
    main()
