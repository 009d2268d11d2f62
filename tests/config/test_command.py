"""A command composes what its arguments ask for and hands it to its task."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = """
from embexp.config.command import hydra_command

@hydra_command("run")
def main(config):
    print(type(config.model).__name__, config.model.name, config.seed)

main()
"""


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [([], "DictConfig minilm 0"), (["model=tiny", "seed=7"], "DictConfig tiny 7")],
    ids=["without arguments", "with overrides"],
)
def test_a_command_runs_what_its_arguments_compose(
    arguments: list[str], printed: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout.split("\n")[0]) == (0, printed), done.stderr
