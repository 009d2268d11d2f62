"""A bad command line ends with one sentence that names the key and the nearest valid one."""

from __future__ import annotations

import time

import pytest
from hydra.errors import MissingConfigException

from embexp.api import compose_config
from embexp.config.explain import explain
from embexp.errors import ConfigError
from embexp.package import conf_dir

CASES = {
    "misspelt group": (["losss=mnrl"], "losss is not a key of the configuration: did you mean 'loss'?"),
    "misspelt key": (["sead=1"], "sead is not a key of the configuration: did you mean 'seed'?"),
    "misspelt option": (["model=minilmm"], "model=minilmm is not an option of model: did you mean 'minilm'?"),
    "misspelt key of a component": (
        ["trainer.epoch=2"],
        "trainer.epoch is not an option of trainer: did you mean 'epochs'?",
    ),
    "added key of a component": (
        ["+trainer.epoch=2"],
        "trainer.epoch is not an option of trainer: did you mean 'epochs'?",
    ),
    "wrong type at the root": (["seed=abc"], "seed: Value 'abc' of type 'str' could not be converted"),
    "a space": (
        ["hparams=tiny"],
        "hparams=tiny sweeps trainer.learning_rate, ",
    ),
    "a recipe of several runs": (
        ["experiment=loss_comparison"],
        "sweeps loss, which takes several runs",
    ),
    "a path that does not exist": (
        ["dataset=folder", "dataset.path=~/no (such)=#ü", "hydra.run.dir=o (1)=#ü", "tracker=none"],
        "~/no (such)=#ü does not exist",
    ),
    "a repetition from a pickle": (["--experimental-rerun", "config.pickle"], "embexp writes none"),
    "wrong type in a component": (["trainer.batch_size=many"], "trainer.batch_size is 'many'"),
    "a path that is missing": (
        ["dataset=folder"],
        "dataset.path has no value: give it one, as in dataset.path=…",
    ),
    "no override at all": (["loss=[mnrl"], "'loss=[mnrl' is not an override: write key=value"),
    "a class that does not exist": (
        ["loss._target_=embexp.nowhere.Loss"],
        "loss._target_ is 'embexp.nowhere.Loss'",
    ),
    "a synthesis without its language model": (["synthesis=rag"], "choose one, as in llm=groq"),
    "a name in place of a synthesis": (
        ["synthesis.written=rag"],
        "synthesis.written is 'rag', which is no synthesis: choose synthesis=extractive_and_rag",
    ),
    "a mistake in a component of a component": (
        [
            "synthesis=extractive_and_rag",
            "~synthesis.written.mix",
            "+synthesis.written.mix={}",
            "llm=llamacpp",
        ],
        "synthesis.written.mix is empty: give",
    ),
    "a synthesis that adds a language model's": (
        ["synthesis=extractive_and_rag"],
        "choose one, as in llm=groq",
    ),
    "a language model without its key": (
        ["synthesis=rag", "llm=groq", "llm.api_key_env=NO_SUCH_KEY"],
        "NO_SUCH_KEY",
    ),
    "synthetic training without synthesis": (
        ["dataset=beir", "dataset.path=x", "dataset.train=synthetic"],
        "add synthesis=extractive",
    ),
    "an unknown metric": (["metric=ndgc@10"], "There is no metric 'ndgc@10': did you mean ndcg@10?"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_one_sentence_and_exit_code_2(case: str, command) -> None:
    arguments, sentence = CASES[case]
    start = time.monotonic()
    done = command("run", *arguments)
    seconds = time.monotonic() - start
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "++" not in done.stderr
    assert seconds < 60  # nothing was downloaded or loaded; the speed itself is measured in benchmarks/


COMPOSED = {
    "wrong type for Hydra": (
        ["hydra.job.chdir=perhaps"],
        "hydra.job.chdir: Value 'perhaps' is not a",
    ),
    "several values": (["loss=mnrl,gist"], "add -m to run each of them"),
    "several options": (["loss=[mnrl,gist]"], "chooses 2 options, and a run has one loss"),
    "a key of what is not chosen": (
        ["suite.tasks=[x]"],
        "suite.tasks needs an option of suite",
    ),
    "an added key at the root": (["+sed=1"], "sed is not a key of the configuration: did you mean 'seed'?"),
    "an added key that exists": (["+trainer.epochs=2"], "trainer.epochs exists already: leave out the +"),
    "a removed key": (["~seed"], "synthesis.seed: Interpolation key 'seed' not found."),
    "a removed component": (["~loss"], "loss is null, and every run needs one: choose an option"),
    "a component that is null": (["model=null"], "model is null, and every run needs one"),
    "a value that refers to nothing": (["metric=${mertic}"], "metric: Interpolation key 'mertic' not found"),
    "an environment variable that is not set": (["trainer.epochs=${oc.env:NO_SUCH}"], "'NO_SUCH' not found"),
    "a key that is none": (["größe=3"], "'größe' in 'größe=3' cannot be a key"),
    "a word": (["docs/"], "'docs/' is not an override: write key=value"),
}


@pytest.mark.parametrize("case", COMPOSED)
def test_a_mistake_is_one_sentence_in_python_too(case: str) -> None:
    overrides, sentence = COMPOSED[case]
    with pytest.raises(ConfigError) as raised:
        compose_config(*overrides)
    assert sentence in str(raised.value)
    assert "++" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["run", "synthesize", "finetune", "benchmark", "search"])
def test_every_command_explains_itself(name: str, command) -> None:
    done = command(name, "--help")
    assert done.returncode == 0
    assert "embexp" in done.stdout


@pytest.mark.parametrize(("wanted", "shown"), [("0", False), ("1", True)])
def test_a_traceback_is_shown_on_request(wanted: str, shown: bool, command) -> None:
    arguments = ["dataset=folder", "dataset.path=nowhere", "tracker=none", "model=tiny"]
    done = command("run", *arguments, HYDRA_FULL_ERROR=wanted)
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert ("Traceback" in done.stderr) == shown


@pytest.mark.parametrize("name", ["run", "finetune", "plan"])
def test_help_names_its_own_command(name: str, command) -> None:
    assert f"python -m embexp.{name} [GROUP=OPTION" in command(name, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-m", "--cfg", "job"], "Only one of --run, --multirun, --cfg"),
        (["--config-dir", "nowhere"], "name a folder that holds options as GROUP/OPTION.yaml"),
    ],
)
def test_impossible_flags_are_a_user_s_error(arguments: list[str], sentence: str, command) -> None:
    done = command("run", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr


def test_a_pipe_that_closes_early_is_no_error(tmp_path) -> None:
    import subprocess
    import sys

    shell = f"{sys.executable} -m embexp.run --help | head -1"
    done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr


@pytest.mark.parametrize(
    ("launcher", "extra"), [("joblib", "launchers"), ("submitit_slurm", "launchers"), ("ray", "ray")]
)
def test_a_launcher_that_is_not_installed_names_its_extra(launcher: str, extra: str) -> None:
    error = MissingConfigException(
        "Could not load", missing_cfg_file=f"hydra/launcher/{launcher}", options=["basic", "cores"]
    )
    assert f'pip install "embexp[{extra}]"' in str(explain(error, [], [conf_dir()]))
