"""``python -m embexp.run``: the whole pipeline, from documents to a verdict."""

from __future__ import annotations

from omegaconf import DictConfig

from embexp.config.build import build_run, output_dir
from embexp.config.command import hydra_command
from embexp.config.processes import Returned


@hydra_command("run")
def main(config: DictConfig) -> Returned:
    """Run one experiment and return the selected weights' score on dev; a sweep's trial only trains."""
    experiment, tracker = build_run(config)
    # Imported here because --help and a mistake in the configuration need none of it.
    from embexp.pipeline.run import run_experiment
    from embexp.reporting.console import print_outcome
    from embexp.sweeper.trial import live_trial, sweep_tags, trial_values

    if (trial := live_trial()) is not None:
        return trial_values(trial, experiment, tracker)
    outcome = run_experiment(experiment, tracker, output_dir(), tags=sweep_tags())
    print_outcome(outcome, folder=output_dir())
    return outcome.training.selected_score(config.metric) if outcome.training else None


if __name__ == "__main__":
    main()
