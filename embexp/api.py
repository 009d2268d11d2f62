"""embexp from Python, for notebooks and scripts: compose a configuration, run it, load a run and search it.

Everything heavy is imported when it is needed, so that ``import embexp`` stays quick.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.errors import DataError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from embexp.benchmarking.task import RetrievalTask
    from embexp.data.records import Chunk
    from embexp.models.encoder import SourceEmbedder
    from embexp.models.sources import ModelSource
    from embexp.reporting.outcome import Outcome
    from embexp.retrieval.index import Index, Retriever


def compose_config(*overrides: str, config_dir: str | Path | None = None) -> DictConfig:
    """Compose and check a configuration without running anything, as ``--cfg job`` does.

    Args:
        overrides: Overrides as on the command line: ``"model=tiny"``, ``"trainer.epochs=3"``.
        config_dir: A folder with options of your own, as ``--config-dir`` names it.

    Returns:
        The configuration with every value resolved.

    Raises:
        ConfigError: A key, an option or a value is wrong; the message names the nearest valid one.
    """
    from hydra import compose
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf, open_dict

    from embexp.config.build import expand_models, leave_out_foreign_presets
    from embexp.config.check import check
    from embexp.config.schema import drop_null_options

    with _hydra(overrides, config_dir) as arguments:
        config = compose("config", arguments, return_hydra_config=True)
        before = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(deepcopy(config))  # paths.root reads the working directory from it
        try:
            with open_dict(config):
                del config["hydra"]
            OmegaConf.to_container(config, resolve=True)  # its errors name the key, those of resolve do not
            OmegaConf.resolve(config)
            drop_null_options(config)
            expand_models(config)
            leave_out_foreign_presets(config)
        finally:
            HydraConfig.instance().cfg = before
        check(config)
        return config


def run_experiment(*overrides: str, config_dir: str | Path | None = None) -> Outcome:
    """Run a whole experiment, as ``python -m embexp.run`` does, and return its outcome.

    The run leaves the same files as the command, in ``outputs/DATE/TIME`` or where ``hydra.run.dir=…`` says;
    finished stages come from the cache.

    Args:
        overrides: Overrides as on the command line: ``"experiment=tiny"``, ``"loss=cosent"``.
        config_dir: A folder with options of your own, as ``--config-dir`` names it.

    Raises:
        EmbexpError: The configuration is wrong, or something in the input or the environment stops the run.
    """
    from hydra.core.global_hydra import GlobalHydra

    from embexp.config.build import build_run, output_dir
    from embexp.config.command import prepare_libraries
    from embexp.finetuning.cpu import prepare_torch
    from embexp.user_code import users_mistake

    def job(config: DictConfig) -> Outcome | Exception:
        try:
            experiment, tracker = build_run(config)
            from embexp.pipeline.run import run_experiment as run_pipeline

            return run_pipeline(experiment, tracker, output_dir())
        except Exception as error:  # noqa: BLE001 raised again below; Hydra would print it as well
            return users_mistake(error) or error

    prepare_libraries()
    prepare_torch()
    with _log_handlers_restored(), _hydra(overrides, config_dir) as arguments:
        hydra: Any = GlobalHydra.instance().hydra  # started by _hydra
        result: Outcome | Exception = hydra.run("config", job, arguments).return_value
    if isinstance(result, Exception):
        raise result
    return result


@contextmanager
def _hydra(overrides: Sequence[str], config_dir: str | Path | None) -> Iterator[list[str]]:
    """Start Hydra as a command does, yield the overrides for it, and explain its errors as a command does."""
    from hydra import initialize_config_dir

    from embexp.config.explain import USER_MISTAKES, explain, unset_component
    from embexp.config.overrides import hydra_override, in_quotes
    from embexp.config.schema import register
    from embexp.package import conf_dir

    folders = [conf_dir(), *([Path(config_dir).resolve()] if config_dir else [])]
    arguments = [hydra_override(override) for override in overrides]
    arguments += [f"hydra.searchpath=[{in_quotes(f'file://{folder}')}]" for folder in folders[1:]]
    register()
    try:
        with initialize_config_dir(str(folders[0]), version_base="1.3", job_name="run"):
            yield arguments
    except USER_MISTAKES as error:
        raise explain(error, arguments, folders) from error
    except AssertionError as error:
        raise unset_component(error, arguments) or error from error


@contextmanager
def _log_handlers_restored() -> Iterator[None]:
    """Give the root logger its handlers back afterwards; a run has its own, which mask secrets."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    factory = logging.getLogRecordFactory()
    try:
        yield
    finally:
        for handler in set(root.handlers) - set(handlers):
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.setLogRecordFactory(factory)


@dataclass(frozen=True)
class SearchResult:
    """A chunk that a model retrieves for a question, with its similarity."""

    chunk: Chunk
    score: float


class Run:
    """A finished run: its outcome, its configuration, and search with its models and its retriever.

    Args:
        folder: The run's folder.
        trust: Whether its configuration may name classes that are not embexp's own.
    """

    def __init__(self, folder: Path, *, trust: bool = False) -> None:
        self.folder = folder
        self._trust = trust

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @cached_property
    def outcome(self) -> Outcome:
        """The numbers of the run, as in outcome.json."""
        from embexp.reporting.outcome import Outcome

        return Outcome.read(self.folder / "outcome.json")

    @cached_property
    def config(self) -> DictConfig:
        """The resolved configuration of the run, with secrets masked.

        Raises:
            DataError: The file is not a configuration.
            ConfigError: It names a class that is not embexp's own, and the run is not trusted.
        """
        from omegaconf import DictConfig, OmegaConf
        from yaml import YAMLError

        from embexp.config.trust import refuse_foreign_targets

        path = self.folder / ".hydra" / "config.yaml"
        try:
            config = OmegaConf.load(path)
        except (YAMLError, UnicodeDecodeError, OSError) as error:
            first = str(error).partition("\n")[0]
            raise DataError(f"{path} cannot be read as YAML ({first}): restore it, or run again.") from error
        if not isinstance(config, DictConfig):
            raise DataError(f"{path} is not a mapping of keys to values.")
        if not self._trust:
            refuse_foreign_targets(config, path)
        return config

    @property
    def model_folder(self) -> Path:
        """The folder of the tuned model.

        Raises:
            DataError: The run left no model.
        """
        _require(self.folder, "model")
        return self.folder / "model"

    @cached_property
    def task(self) -> RetrievalTask:
        """The run's test questions with the corpus and the judgments, as its benchmark asked them.

        Raises:
            DataError: The run's files do not give the questions that it asked.
        """
        from embexp.benchmarking.score_files import read_judgments, read_queries
        from embexp.config.build import component
        from embexp.config.check import check
        from embexp.data.record_files import read_jsonl
        from embexp.data.records import Chunk, Pair
        from embexp.data.splitting import Splits

        data = self.folder / "data"
        _require(self.folder, "data/chunks.jsonl", "data/test.jsonl", "queries.jsonl")
        check(self.config)
        chunks = list(read_jsonl(data / "chunks.jsonl", Chunk))
        train, dev, test = (
            list(read_jsonl(data / f"{name}.jsonl", Pair)) for name in ("train", "dev", "test")
        )
        splits = Splits(train, dev, test)
        invented = component(self.config, "synthesis").invents_corpus
        unit = "document" if invented else component(self.config, "dataset").unit
        task: RetrievalTask = component(self.config, "benchmark").task(
            chunks, splits.test, unit=unit, scale=splits.label_scale()
        )
        if task.judge_depth is not None:
            _require(self.folder, "judgments.jsonl")
            qrels = read_judgments(self.folder / "judgments.jsonl")
            asked = [query for query in task.queries if query.id in qrels]
            task = replace(task, queries=asked, qrels=qrels, judge_depth=None)
        if {query.id for query in task.queries} != {
            q.id for q in read_queries(self.folder / "queries.jsonl")
        }:
            raise DataError(
                f"{self.folder} does not give the test questions that the run asked, as its data or its "
                "benchmark's files have changed since: run it again."
            )
        return task

    def search(self, question: str, *, k: int = 5) -> dict[str, list[SearchResult]]:
        """Search the run's corpus with both models, and with the retriever that the run chose.

        Models and indexes stay loaded, so that a second question is answered quickly.

        Args:
            question: What to search for.
            k: How many results to return.

        Returns:
            The k best chunks of each system, best first, under ``"untuned"``, ``"tuned"`` and, where the
            retriever differs from both, ``"retriever"``; ``served`` names the one to serve.

        Raises:
            EmbexpError: The question is empty, or a model or the index of the run cannot be used.
        """
        if not question.strip():
            raise DataError('The question is empty: type one, as in "how do I …?"')
        chunks, indexes = self._searchable
        return {
            system: [SearchResult(chunks[hit.id], hit.score) for hit in index.search([question], k=k)[0]]
            for system, index in indexes.items()
        }

    def truncation_of(self, question: str) -> list[str]:
        """Return a sentence for each model that does not read a question to its end; none where both do.

        Raises:
            EmbexpError: A model of the run cannot be used.
        """
        readers: dict[tuple[int, int], list[str]] = {}
        for model, source in self._sources.items():
            tokens = source.tokens()
            (length,), limit = tokens.count([question]), tokens.query_limit
            if length > limit:
                readers.setdefault((length, limit), []).append(model)
        return [
            f"Truncated: the question has {length:,} tokens, and the {' and the '.join(models)} model "
            f"{'read' if len(models) > 1 else 'reads'} the first {limit:,}: "
            f"{(length - limit) / length:.0%} of it is lost. Ask a shorter question, "
            "or tune a model that reads longer texts."
            for (length, limit), models in readers.items()
        ]

    def no_answer(self, question: str) -> str:
        """Return a sentence where the documents probably do not answer a question; empty otherwise.

        The best cosine of the run's model is compared with the score threshold that the run recommends.

        Raises:
            EmbexpError: A model or the index of the run cannot be used.
        """
        from embexp.reporting.threshold import below_threshold

        found = self.outcome.score_threshold
        if found is None or found.threshold is None:
            return ""
        (hits,) = self._vectors_of(found.model).search([question], k=1)
        return below_threshold(found, hits[0].score) if hits else ""

    def _vectors_of(self, model: str) -> Index:
        """Return an index that scores by the cosine of one of the models."""
        from embexp.config.build import component
        from embexp.retrieval.serving import dense_retriever

        chunks, indexes = self._searchable
        own: Retriever = component(self.config, "retriever")
        dense = dense_retriever(own)
        if dense == own:
            return indexes[model]
        return dense.index(list(chunks.values()), self.embedders[model], path=self.folder / "index")

    @property
    def served(self) -> str | None:
        """The system of ``search`` to serve, as dev chose it; None for a run that chose none."""
        chosen = self.outcome.retriever
        if chosen is None:
            return None
        return "retriever" if "retriever" in self._systems else chosen.model

    @property
    def translations(self) -> Path | None:
        """The file of word translations that the run's retriever uses; None where it uses none.

        Raises:
            DataError: The file is missing.
        """
        from embexp.pipeline.translations import TRANSLATIONS

        if self.outcome.retriever is None or not self.outcome.retriever.translated:
            return None
        _require(self.folder, TRANSLATIONS)
        return self.folder / TRANSLATIONS

    @cached_property
    def _systems(self) -> dict[str, tuple[str, Retriever]]:
        """The name of the model and the retriever of each system that is searched."""
        from embexp.config.build import component
        from embexp.config.check import check
        from embexp.retrieval.serving import with_bm25

        check(self.config)
        own: Retriever = component(self.config, "retriever")
        systems = {"untuned": ("untuned", own), "tuned": ("tuned", own)}
        if chosen := self.outcome.retriever:
            file = self.translations
            words = str(file) if file else None
            served = with_bm25(
                own,
                chosen.weight,
                adaptive=chosen.adaptive,
                translations=words,
                parts=chosen.part_words is not None,
            )
            if served != own:
                systems["retriever"] = (chosen.model, served)
        return systems

    @property
    def sources(self) -> dict[str, ModelSource]:
        """Where the ``untuned`` and the ``tuned`` model come from.

        Raises:
            DataError: The run left no model.
        """
        _require(self.folder, "model")
        return self._sources

    def questions(self, split: str) -> list[str]:
        """Return the distinct questions of ``train``, ``dev`` or ``test``.

        Raises:
            DataError: The run has no such file, or it cannot be read.
        """
        from embexp.data.record_files import read_jsonl
        from embexp.data.records import Pair

        name = f"data/{split}.jsonl"
        _require(self.folder, name)
        return list(dict.fromkeys(pair.query for pair in read_jsonl(self.folder / name, Pair)))

    @cached_property
    def _sources(self) -> dict[str, ModelSource]:
        """Where both models come from."""
        from embexp.config.build import component
        from embexp.models.adapted import tuned_model

        untuned: ModelSource = component(self.config, "model")
        return {"untuned": untuned, "tuned": tuned_model(self.folder / "model", untuned)}

    @cached_property
    def embedders(self) -> dict[str, SourceEmbedder]:
        """The models ``untuned`` and ``tuned``, which load when a text is not in the run's cache.

        Raises:
            EmbexpError: A model of the run cannot be used.
        """
        from embexp.models.embedding_cache import EmbeddingCache
        from embexp.models.encoder import SourceEmbedder

        cache = EmbeddingCache(Path(self.config.paths.cache) / "embeddings")
        return {
            system: SourceEmbedder(source, cache, name=f"{system} {self.outcome.dataset}")
            for system, source in self._sources.items()
        }

    @cached_property
    def _searchable(self) -> tuple[dict[str, Chunk], dict[str, Index]]:
        """The run's chunks by id, and an index of them for each system."""
        from embexp.data.record_files import read_jsonl
        from embexp.data.records import Chunk
        from embexp.retrieval.serving import refuse_other_models

        _require(self.folder, "data/chunks.jsonl", "model")
        systems, embedders, path = self._systems, self.embedders, self.folder / "index"
        chunks = list(read_jsonl(self.folder / "data" / "chunks.jsonl", Chunk))
        refuse_other_models(systems["untuned"][1], embedders.values(), path)
        indexes = {
            system: retriever.index(chunks, embedders[model], path=path)
            for system, (model, retriever) in systems.items()
        }
        return {chunk.id: chunk for chunk in chunks}, indexes


def load_run(
    folder: str | Path = "latest",
    *,
    outputs: str | Path = "outputs",
    cache: str | Path | None = None,
    trust: bool = False,
) -> Run:
    """Load a finished run.

    Args:
        folder: The run's folder, or ``"latest"`` for the newest run that left a model.
        outputs: A folder that ``"latest"`` searches.
        cache: The cache whose index of runs ``"latest"`` searches, too, for runs in other folders; None is
            ``cache`` in ``outputs``.
        trust: Whether the run's configuration may name classes that are not embexp's own, which are imported
            and called. Set it only for runs whose origin you trust.

    Raises:
        DataError: There is no such run, or it is not finished.
    """
    if folder == "latest":
        from embexp.storage.run_index import finished_runs

        found = finished_runs(Path(cache or Path(outputs) / "cache"), Path(outputs))
        latest = next((each for each in found if (each / "model").is_dir()), None)
        if latest is None:
            raise DataError(
                f"There is no finished run below {outputs}, nor in the index of its cache: start one with "
                "python -m embexp.run, or name a run's folder."
            )
        return Run(latest, trust=trust)
    _require(Path(folder), "outcome.json", ".hydra/config.yaml")
    return Run(Path(folder), trust=trust)


def _require(folder: Path, *names: str) -> None:
    for name in names:
        if not (folder / name).exists():
            raise DataError(
                f"{folder} is not a finished run (no {name}): name another folder, or use 'latest'."
            )
