"""``python -m embexp.publish --run latest repo=NAME``: a run's model and card on the Hugging Face Hub."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from embexp.errors import exit_on_errors
from embexp.run_arguments import add_run_arguments


def main(arguments: Sequence[str] | None = None) -> None:
    """Publish the model of a past run, on the Hub, in a folder, or both."""
    options = parser().parse_args(arguments)
    with exit_on_errors():
        _publish(options)


def parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments, which completion in a shell reads, too."""
    made = argparse.ArgumentParser(prog="python -m embexp.publish", description=__doc__)
    made.add_argument("settings", nargs="*", help="repo=NAME, publish.folder=FOLDER, publish.private=false …")
    add_run_arguments(made)
    return made


def _publish(options: argparse.Namespace) -> None:
    """Do what the options say.

    Raises:
        EmbexpError: A setting, the run or the Hub prevents it.
    """
    from omegaconf import OmegaConf

    from embexp.api import load_run
    from embexp.config.build import component
    from embexp.config.command import prepare_libraries
    from embexp.config.publish_options import publication

    prepare_libraries()
    chosen = publication(options.settings)
    run = load_run(options.run, outputs=options.outputs, cache=options.cache, trust=options.trust)
    model, outcome = run.model_folder, run.outcome
    chosen.check(outcome)
    from embexp.publishing import origins, publish
    from embexp.publishing.shared_config import shared_config
    from embexp.reporting.console import short_path, standard_output

    values = OmegaConf.to_container(run.config, resolve=True)
    assert isinstance(values, dict)
    config = {str(key): value for key, value in values.items()}
    made_from = origins(chosen, outcome, config, component(run.config, "model"))
    repository = publish(
        chosen, model, outcome, made_from, translations=run.translations, config=shared_config(config)
    )
    out = standard_output()
    if chosen.folder is not None:
        out.print(f"Written to {short_path(Path(chosen.folder))}/", soft_wrap=True)
    if repository is not None:
        seen = "private" if repository.private else "public"
        out.print(f"Published at {repository.url} ({seen})", soft_wrap=True)
    for licence, key in made_from.remedies.items():
        out.print(f"The card says that {licence} is not stated: {key}=NAME names it.", soft_wrap=True)


if __name__ == "__main__":
    main()
