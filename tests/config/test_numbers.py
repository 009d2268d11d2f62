"""Every number of every option in conf/ declares its range, and nothing outside of it is accepted."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from embexp.config.check import as_declared, check, check_component, check_launcher
from embexp.config.schema import COMPONENTS, LAUNCHER_NUMBERS, register
from embexp.errors import ConfigError, EmbexpError
from embexp.finetuning import SentenceTransformerFineTuner
from embexp.finetuning.losses import Mnrl
from embexp.package import conf_dir
from embexp.ranges import constructor_hints, interval_of, numbers_in
from embexp.sweeper.settings import read_options
from tests.documented_ranges import PAGE, with_ranges

register()
CONF = conf_dir()
TRIED = [-1, 0, math.nan, math.inf, -math.inf, 1e30, "", [], True]
NEEDED = {
    "dataset=folder": ["dataset.path=docs"],
    "dataset=pairs": ["dataset.path=pairs.jsonl"],
    "dataset=beir": ["dataset.path=scifact"],
    "dataset=hub": ["dataset.id=mteb/scifact"],
    "model=local": ["model.path=outputs/model"],
    "model=adapted": ["model.path=outputs/model"],
    "model=hub": ["model.id=BAAI/bge-m3"],
    "llm=openai_compatible": ["llm.model=qwen", "llm.base_url=http://localhost:8000/v1"],
    "model=openai_compatible": ["model.id=m", "model.base_url=http://localhost:1/v1"],
    "llm=replay": ["llm.path=journal.jsonl"],
    "synthesis=rag": ["llm=groq"],
    "synthesis=extractive_and_rag": ["llm=groq"],
    "synthesis=entries": ["llm=groq"],
    "benchmark=beir": ["benchmark.dataset.path=scifact"],
    "benchmark=hub": ["benchmark.dataset.id=mteb/scifact"],
    "benchmark=mteb": ["benchmark.id=SciFact"],
    "suite=mteb": ["suite.tasks=[STSBenchmark]"],
    "benchmark=queries": ["benchmark.questions.path=questions.jsonl"],
    "teacher=bi_encoder": ["loss=margin_mse"],
}
OPTIONS = [
    f"{group}={path.stem}"
    for group in (*COMPONENTS, "teacher")
    for path in sorted((CONF / group).glob("*.yaml"))
]


@functools.cache
def component(option: str) -> tuple[str, dict[str, Any]]:
    """The component of an option as the configuration has it, and its key; a test changes copies of it."""
    group, _, name = option.partition("=")
    place = "trainer.cross_encoder" if group == "teacher" else group
    choice = f"teacher@trainer.cross_encoder={name}" if group == "teacher" else option
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = ["paths.root=.", "paths.cache=outputs/cache", choice, *NEEDED.get(option, [])]
        config = compose("config", overrides=overrides)
    config = OmegaConf.to_container(config, resolve=True)
    for part in place.split("."):
        config = config[part]
    return place, config


def components(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to each component within a component, itself first."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield path
        for key, value in node.items():
            yield from components(value, (*path, key))


def at(node: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        node = node[key]
    return node


def numeric_settings(node: dict[str, Any]) -> Iterator[tuple[tuple[Any, ...], str, Any]]:
    for path in components(node):
        target = get_object(at(node, path)["_target_"])
        known = inspect.signature(target).parameters
        for key, hint in constructor_hints(target).items():
            if key in known and numbers_in(hint):
                yield path, key, hint


def sensible(value: Any, hint: Any) -> bool:
    """Whether a setting of this type may take this value: what the check ought to say, found out apart."""
    alternatives = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if isinstance(value, bool):
        return bool in alternatives
    if isinstance(value, str):
        return str in alternatives
    if isinstance(value, list):
        return any(get_origin(part) in (list, tuple, Sequence) for part in alternatives)
    for number in numbers_in(hint):
        if number not in alternatives:  # of a list or mapping
            continue
        ends = interval_of(number)
        low = ends.ge if ends.ge is not None else ends.gt
        high = ends.le if ends.le is not None else ends.lt
        inside = low <= value <= high and value not in (ends.gt, ends.lt)
        if inside and (get_args(number)[0] is float or float(value).is_integer()):
            return True
    return False


def refusal_of(node: dict[str, Any]) -> str:
    """The constructor's sentence against a component that has passed the check; empty if it can be built."""
    try:
        instantiate(as_declared(OmegaConf.create(node)), _convert_="all")
    except InstantiationException as error:
        if not isinstance(error.__cause__, EmbexpError):
            raise
        return str(error.__cause__)
    return ""


@pytest.mark.parametrize("option", OPTIONS)
def test_every_number_declares_both_ends_of_its_range(option: str) -> None:
    _, node = component(option)
    for path, key, hint in numeric_settings(node):
        for number in numbers_in(hint):
            ends = interval_of(number)
            where = f"{option}: {'.'.join(path)}.{key}"
            assert (ends.ge, ends.gt) != (None, None), where
            assert (ends.le, ends.lt) != (None, None), where


@pytest.mark.parametrize("option", OPTIONS)
def test_values_without_sense_are_refused_by_key_and_all_others_can_be_built(option: str) -> None:
    place, node = component(option)
    for path, key, hint in numeric_settings(node):
        full = ".".join([place, *path, key])
        for value in TRIED:
            changed = OmegaConf.to_container(OmegaConf.create(node))
            at(changed, path)[key] = value
            if not sensible(value, hint):
                with pytest.raises(ConfigError) as error:
                    check_component(changed, place)
                assert str(error.value).startswith(f"{full} is "), (full, value, error.value)
                continue
            check_component(changed, place)
            refusal = refusal_of(changed)  # an impossible combination with another setting
            assert key in refusal or not refusal, (full, value, refusal)


def test_the_reference_shows_every_range_as_it_is_checked() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_ranges(page) == page, "run python -m tests.documented_ranges"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["seed=-1"], "seed is -1: give a whole number from 0 to 4,294,967,295."),
        (["seed=4294967296"], "seed is 4294967296: give a whole number from 0 to 4,294,967,295."),
        (["llm=groq", "++llm.extra_body={top_p: nan}"], "llm.extra_body.top_p: nan is no number"),
        (["llm=groq", "++llm.extra_body={stop: [a, inf]}"], "llm.extra_body.stop[1]: inf is no number"),
        (["dataset.name='a\0b'"], "dataset.name: the text holds a NUL character"),
        (["loss=matryoshka", "loss.loss.scale=0"], "loss.loss.scale is 0: give a number above 0"),
        (
            ["trainer.merge=[0.5,true]"],
            "trainer.merge is [0.5, True]: give a list of numbers above 0 and below",
        ),
        (
            ["dataset=pairs", "dataset.path=p", "dataset.label_values={a: true}"],
            "dataset.label_values is {'a': True}",
        ),
        (["trainer.epochs=two"], "trainer.epochs is 'two': give a whole number from 1 to 10,000, or auto."),
    ],
)
def test_a_value_without_sense_is_named_wherever_it_stands(overrides: list[str], sentence: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=["paths.root=.", "paths.cache=c", *overrides])
    with pytest.raises(ConfigError) as error:
        check(config)
    assert str(error.value).startswith(sentence)


def test_a_number_of_the_environment_reaches_its_component_as_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EPOCHS", "3")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(
            "config", overrides=["paths.root=.", "paths.cache=c", "trainer.epochs=${oc.env:EPOCHS}"]
        )
    check(config)
    assert instantiate(as_declared(config.trainer), _convert_="all").epochs == 3


def test_the_constructor_holds_the_same_ranges_for_those_who_call_it() -> None:
    with pytest.raises(ConfigError, match=r"loss\.scale is nan: give a number above 0 and at most 1,000,000"):
        Mnrl(scale=math.nan)
    with pytest.raises(ConfigError, match=r"trainer\.epochs is True: give a whole number"):
        SentenceTransformerFineTuner(epochs=True)


LAUNCHERS = sorted(path.stem for path in (CONF / "hydra" / "launcher").glob("*.yaml"))


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_numbers_of_a_launcher_are_checked_before_it_starts(name: str) -> None:
    package = {"cores": "joblib", "slurm": "submitit", "slurm_local": "submitit"}.get(name, "ray")
    pytest.importorskip(f"hydra_plugins.hydra_{package}_launcher")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=[f"hydra/launcher={name}"], return_hydra_config=True)
    node = OmegaConf.to_container(config.hydra.launcher)
    check_launcher(node)
    numbers = [path for path in leaves(node) if path[-1] in LAUNCHER_NUMBERS]
    assert numbers
    for path in numbers:
        hint = LAUNCHER_NUMBERS[path[-1]]
        for value in TRIED:
            changed = OmegaConf.to_container(OmegaConf.create(node))
            at(changed, path[:-1])[path[-1]] = value
            if sensible(value, hint):
                check_launcher(changed)
            else:
                with pytest.raises(ConfigError, match=rf"^hydra\.launcher\.{'.'.join(path)} is "):
                    check_launcher(changed)


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*path, key))
    else:
        yield path


@pytest.mark.parametrize("override", ["hydra.launcher.n_jobs=0", "hydra.launcher.batch_size=-1"])
def test_a_launcher_that_cannot_work_is_one_sentence(override: str, command: Any) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    done = command("run", "-m", "hydra/launcher=cores", override, "tracker=none", "seed=1,2")
    assert done.returncode == 2
    assert f"error: {override.partition('=')[0]} is " in done.stderr


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_trials", 0),
        ("n_trials", 1e30),
        ("batch_size", -1),
        ("retries", True),
        ("seed", -1),
        ("seed", 2**32),
    ],
)
def test_the_numbers_of_a_sweep_are_checked(key: str, value: Any) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=["hparams=tiny", "paths.root=."], return_hydra_config=True)
    node = OmegaConf.to_container(config.hydra.sweeper)
    with pytest.raises(ConfigError, match=rf"^hydra\.sweeper\.{key} is "):
        read_options(OmegaConf.create({**node, key: value}))
