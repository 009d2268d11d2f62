"""The synthesis stage: the pairs that people judged, then those that the synthesis writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from embexp.data.passages import with_passages
from embexp.data.record_files import export_csv, export_parquet, read_jsonl, write_jsonl
from embexp.data.records import NEVER_TRAINED, Chunk, Pair
from embexp.errors import ConfigError, DataError, EmbexpError
from embexp.llm.llm import LLM
from embexp.models.encoder import SourceEmbedder
from embexp.pipeline.data import (
    CORPUS_FILES,
    Corpus,
    WrittenPairs,
    chunk_documents,
    usage_metrics,
    write_chunks,
)
from embexp.pipeline.experiment import Experiment
from embexp.retrieval.index import Index
from embexp.storage.files import atomic_write, remove_folder, write_json
from embexp.storage.manifest import write_manifest
from embexp.storage.stages import Stage
from embexp.synthesis.data_card import data_card
from embexp.tracking.provenance import provenance
from embexp.tracking.tracker import TrackedRun
from embexp.user_code import identity, yielded


def write_pairs(experiment: Experiment) -> WrittenPairs:
    """Gather judged and written pairs, or take them from the cache.

    Raises:
        DataError: The data set and the synthesis yield no pair.
        EmbexpError: The language model gave up; its answers are kept, and the next run continues there.
    """
    corpus = None if experiment.synthesis.invents_corpus else chunk_documents(experiment)
    inputs = (
        corpus.key if corpus else experiment.settings["chunker"],
        experiment.settings["synthesis"],
        identity(experiment.synthesis),
        identity(experiment.llm) if experiment.llm else None,
        *_source_of_context(experiment),
        experiment.seed,
    )
    with experiment.stages.stage("pairs", *inputs) as stage:
        done = stage.done
        if done is None:
            done = _invent(experiment, stage) if corpus is None else _write(experiment, corpus, stage)
            stage.finish(done, "pairs.jsonl", *(CORPUS_FILES if corpus is None else ()))
    return WrittenPairs(
        key=stage.key,
        path=stage.folder / "pairs.jsonl",
        corpus=corpus or Corpus(stage.key, stage.folder, done["documents"]),
        count=done["pairs"],
        report=done["report"],
        cached=stage.done is not None,
    )


def _source_of_context(experiment: Experiment) -> list[str]:
    """Return the digest of a retriever of the user's, which chooses what a language model reads."""
    source = experiment.settings["retriever"].get("_source_")
    return [source] if experiment.llm and source else []


def _write(experiment: Experiment, corpus: Corpus, stage: Stage) -> dict[str, Any]:
    chunks = corpus.chunks()
    with language_model(experiment) as llm:
        index = _context_index(experiment, chunks, stage.folder) if llm else None
        pairs = _judged_then_written(experiment, corpus, chunks, llm, index)
        count = _write_all(stage.folder / "pairs.jsonl", pairs)
        report = _report(experiment, llm)
    if not count:
        raise DataError(
            f"The data set {experiment.dataset.name} yields no pairs: choose synthesis=extractive, "
            "or a data set with labelled pairs."
        )
    return {"pairs": count, "report": report}


def _report(experiment: Experiment, llm: LLM | None) -> dict[str, Any]:
    """Return the synthesis's report, with the requests whose answers never arrived."""
    report: dict[str, Any] = dict(experiment.synthesis.report())
    if llm is None or "usage" not in report:
        return report
    usage = llm.usage()
    lost = {"unanswered": usage.unanswered, "unanswered_usd": round(usage.unanswered_usd, 6)}
    return {**report, "usage": {**report["usage"], **lost}}


def _write_all(path: Path, pairs: Iterator[Pair]) -> int:
    """Write pairs; if the language model gives up, keep those accepted so far beside ``path``.

    Raises:
        EmbexpError: The language model gave up; the message says where the accepted pairs are.
    """
    stopped: list[EmbexpError] = []

    def until_stopped() -> Iterator[Pair]:
        try:
            yield from pairs
        except (ConfigError, DataError):
            raise
        except EmbexpError as error:
            stopped.append(error)

    so_far = path.with_name("pairs.so_far.jsonl")
    count = write_jsonl(so_far, until_stopped())
    if stopped and not count:
        raise stopped[0]
    if stopped:
        raise EmbexpError(f"{stopped[0]} {count:,} pairs are accepted so far: {so_far}") from stopped[0]
    so_far.replace(path)
    return count


def _judged_then_written(
    experiment: Experiment, corpus: Corpus, chunks: list[Chunk], llm: LLM | None, index: Index | None
) -> Iterator[Pair]:
    """Yield judged pairs first; written ones go to training if the data set has its own test split."""
    own_test = False
    dataset, synthesis = experiment.dataset, experiment.synthesis
    for pair in with_passages(yielded(dataset.labelled(), Pair, dataset, "labelled"), chunks):
        own_test = own_test or pair.split == "test"
        yield pair
    written = yielded(
        synthesis.pairs(chunks, corpus.headers(), llm=llm, index=index), Pair, synthesis, "pairs"
    )
    yield from (replace(pair, split="train") for pair in written) if own_test else written


def _invent(experiment: Experiment, stage: Stage) -> dict[str, Any]:
    """Write the pairs first; their passages become the corpus."""
    path = stage.folder / "pairs.jsonl"
    with language_model(experiment) as llm:
        count = _write_all(path, experiment.synthesis.pairs((), {}, llm=llm))
        report = _report(experiment, llm)
    documents = experiment.synthesis.documents(read_jsonl(path, Pair))
    held = write_chunks(experiment, documents, experiment.model.tokens(), stage.folder)
    return {"pairs": count, "documents": held, "report": report}


@contextmanager
def language_model(experiment: Experiment) -> Iterator[LLM | None]:
    """Open the configured language model with the journal that all runs share; yield None without one."""
    if experiment.llm is None:
        yield None
        return
    with experiment.llm.open(experiment.cache / "llm" / "journal.jsonl") as llm:
        yield llm


def _context_index(experiment: Experiment, chunks: list[Chunk], folder: Path) -> Index:
    """Index the chunks with the untuned model, for the context of prompts and the round-trip check."""
    embedder = SourceEmbedder(
        experiment.model, experiment.embeddings, name=f"untuned {experiment.dataset.name}", bf16=True
    )
    path = folder / "context"
    remove_folder(path)  # what an interrupted run left has no checksums; its vectors are cached
    return experiment.retriever.index(chunks, embedder, path=path)


def save_pairs(
    experiment: Experiment, written: WrittenPairs, run: TrackedRun, out_dir: Path, *, seconds: float
) -> dict[str, object]:
    """Write all pairs to ``out_dir/data`` with a data card, and the summary to synthesis.json.

    Held-out queries go to a file of their own, so that pairs.jsonl has only accepted pairs.

    Returns:
        The summary: target, accepted, rejected by reason, requests, usage, seconds, diversity.
    """
    folder = out_dir / "data"
    path = folder / "pairs.jsonl"
    names = ("dataset", "chunker", "synthesis", "llm")
    settings = {name: experiment.settings[name] for name in names}
    accepted = write_jsonl(path, _pairs(written, held_out=False))
    summary = _summary(experiment, written, accepted, seconds)
    commit = provenance().get("git_commit")
    write_manifest(path, records=accepted, settings=settings, commit=commit, usage=written.usage)
    if held_out := written.count - accepted:
        held_out_path = folder / "held_out.jsonl"
        write_jsonl(held_out_path, _pairs(written, held_out=True))
        write_manifest(held_out_path, records=held_out, settings=settings, commit=commit)
    export_csv(folder / "pairs.csv", read_jsonl(path, Pair))
    export_parquet(folder / "pairs.parquet", read_jsonl(path, Pair))
    card = data_card(read_jsonl(path, Pair), summary, title=_card_title(experiment), settings=settings)
    with atomic_write(folder / "README.md") as stream:
        stream.write(card)
    write_json(out_dir / "synthesis.json", summary)
    run.log_metrics({"pairs": float(accepted), **usage_metrics(written.usage), **_diversity_metrics(summary)})
    run.log_artifact(out_dir / "synthesis.json")
    run.log_artifact(folder / "README.md", folder="data")
    return summary


def _pairs(written: WrittenPairs, *, held_out: bool) -> Iterator[Pair]:
    pairs = read_jsonl(written.path, Pair)
    return (pair for pair in pairs if (pair.generator.kind in NEVER_TRAINED) == held_out)


def _card_title(experiment: Experiment) -> str:
    return f"Retrieval pairs: {experiment.dataset.name}, {experiment.names['synthesis']}"


def _summary(experiment: Experiment, written: WrittenPairs, accepted: int, seconds: float) -> dict[str, Any]:
    types = Counter(pair.query_type for pair in _pairs(written, held_out=False))
    return {
        "target": experiment.settings["synthesis"].get("target"),
        "rejected": {},
        "requests": 0,
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "usd": 0.0},
        **written.report,
        "accepted": accepted,
        "seconds": seconds,
        "documents": written.corpus.documents,
        "query_types": dict(types.most_common()),
        "cached": written.cached,
    }


def _diversity_metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    measured = summary.get("diversity", {})
    return {
        f"diversity/{name}": float(value)
        for name, value in measured.items()
        if isinstance(value, (int, float)) and name != "sample"
    }
