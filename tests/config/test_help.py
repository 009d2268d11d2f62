"""``--help`` is Hydra's own text, and is not slowed down by what no help needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from embexp.config.help import asks_for_help, help_text


def test_the_text_is_the_one_that_hydra_itself_prints(tmp_path: Path, command) -> None:
    (tmp_path / "empty").mkdir()  # with a further flag, Hydra answers
    arguments = ["--help", "experiment=tiny", "loss=cosent", "+note=x"]
    hydras = command("finetune", "--config-dir", "empty", *arguments).stdout
    assert "python -m embexp.finetune [GROUP=OPTION" in hydras
    assert "\nteacher: bi_encoder, cross_encoder" in hydras
    assert help_text("finetune", arguments) + "\n" == hydras


def test_a_mistake_beside_help_is_a_sentence(command) -> None:
    done = command("run", "--help", "model=minlm")
    assert done.returncode == 2
    assert "did you mean 'minilm'?" in done.stderr


def test_secrets_are_masked_in_help(command) -> None:
    done = command("run", "-h", "+note.api_key=fKq83hZ1")
    assert done.returncode == 0, done.stderr
    assert "fKq83hZ1" not in done.stdout
    assert "api_key: ****" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "ours"),
    [
        (["--help"], True),
        (["loss=cosent", "-h"], True),
        ([], False),
        (["loss=cosent"], False),
        (["--help", "--resolve"], False),
        (["--hydra-help"], False),
        (["--help", "--config-dir", "mine"], False),
    ],
)
def test_hydra_answers_where_a_further_flag_is_given(arguments: list[str], ours: bool) -> None:
    assert asks_for_help(arguments) is ours


def test_a_trainer_and_a_loss_import_no_teacher_and_no_language_model() -> None:
    code = (
        "import sys\n"
        "from embexp.finetuning import AutoFineTuner\n"
        "from embexp.finetuning.losses import Mnrl\n"
        "print(*sorted(name for name in sys.modules if name.startswith('embexp')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = done.stdout.split()
    assert "embexp.finetuning.auto" in names
    assert [name for name in names if name.endswith((".llm_ranker", ".llamacpp", ".query_likelihood"))] == []
