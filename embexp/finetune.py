"""``python -m embexp.finetune``: pairs become a fine-tuned model, and nothing more."""

from __future__ import annotations

from omegaconf import DictConfig

from embexp.config.build import build, check_trainable, output_dir, overrides_of
from embexp.config.command import hydra_command
from embexp.config.processes import Returned


@hydra_command("finetune")
def main(config: DictConfig) -> Returned:
    """Train on the training split, leave ``model/`` and return the selected weights' score on dev."""
    experiment, tracker = build(config, asks=["forgetting"])
    check_trainable(experiment)
    from embexp.pipeline.run import run_finetune
    from embexp.reporting.console import print_training
    from embexp.sweeper.trial import live_trial, sweep_tags, trial_values

    if (trial := live_trial()) is not None:
        return trial_values(trial, experiment, tracker)
    folder = output_dir()
    tuned, registered = run_finetune(experiment, tracker, folder, tags=sweep_tags())
    again = overrides_of("experiment", "dataset", "model", "split", "chunker", "synthesis", "llm", "seed")
    address = registered.address if registered else ""
    print_training(tuned.training, metric=config.metric, folder=folder, again=again, registered=address)
    return tuned.training.selected_score(config.metric)


if __name__ == "__main__":
    main()
