"""``python -m embexp.search "a question" --run latest``: untuned and tuned results side by side."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.errors import DataError, EmbexpError

if TYPE_CHECKING:
    from embexp.data.records import Chunk


def main(arguments: Sequence[str] | None = None) -> None:
    """Search the index of a past run with both of its models and print the results side by side."""
    options = _parser().parse_args(arguments)
    try:
        search(options.question, find_run(options.run, Path(options.outputs)), k=options.k)
    except EmbexpError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m embexp.search", description=__doc__)
    parser.add_argument("question", help="what to search for")
    parser.add_argument("--run", default="latest", help="a run's folder, or 'latest' (the default)")
    parser.add_argument("--outputs", default="outputs", help="where 'latest' looks for runs")
    parser.add_argument("-k", type=int, default=5, help="how many results to show (5)")
    return parser


def find_run(name: str, outputs: Path) -> Path:
    """Return the folder of a run.

    Raises:
        DataError: There is no such run, or it left no index.
    """
    if name == "latest":
        found = [path for path in outputs.rglob("outcome.json") if (path.parent / "model").is_dir()]
        if not found:
            raise DataError(
                f"No finished run stands below {outputs}: start one with python -m embexp.run, "
                "or name a run's folder with --run."
            )
        return max(found, key=lambda path: path.stat().st_mtime).parent
    folder = Path(name)
    for needed in ("outcome.json", ".hydra/config.yaml", "data/chunks.jsonl", "model"):
        if not (folder / needed).exists():
            raise DataError(f"{folder} is not a finished run (no {needed}): name one, or take --run latest.")
    return folder


def search(question: str, folder: Path, *, k: int) -> None:
    """Print the k best chunks of a run's corpus for ``question``, by its untuned and its tuned model.

    Raises:
        EmbexpError: The question is empty, or a model or the index of the run cannot be used.
    """
    if not question.strip():
        raise DataError('The question is empty: type one, as in python -m embexp.search "how do I …?"')
    from omegaconf import OmegaConf

    from embexp.config.check import check
    from embexp.data.record_files import read_jsonl
    from embexp.data.records import Chunk
    from embexp.reporting.console import print_side_by_side

    config = OmegaConf.load(folder / ".hydra" / "config.yaml")
    check(config)  # type: ignore[arg-type]
    chunks = list(read_jsonl(folder / "data" / "chunks.jsonl", Chunk))
    untuned, tuned = _search_both(question, config, chunks, folder, k)
    print_side_by_side(question, untuned, tuned)


def _search_both(
    question: str, config: Any, chunks: list[Chunk], folder: Path, k: int
) -> tuple[list[Chunk], list[Chunk]]:
    from hydra.utils import instantiate

    from embexp.models.embedding_cache import EmbeddingCache
    from embexp.models.encoder import SourceEmbedder
    from embexp.models.sources import LocalModel

    retriever = instantiate(config.retriever, _convert_="all")
    cache = EmbeddingCache(Path(config.paths.cache) / "embeddings")
    by_id = {chunk.id: chunk for chunk in chunks}
    found = []
    for source in (instantiate(config.model, _convert_="all"), LocalModel(path=str(folder / "model"))):
        index = retriever.index(chunks, SourceEmbedder(source, cache), path=folder / "index")
        found.append([by_id[hit.id] for hit in index.search([question], k=k)[0]])
    return found[0], found[1]


if __name__ == "__main__":
    main()
