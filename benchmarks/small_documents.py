"""A small knowledge base of invented words, and the settings of a run that computes for a second or two."""

from __future__ import annotations

import random
from pathlib import Path

SYLLABLES = ("ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "zo", "ka")
SETTINGS = [
    *("dataset=folder", "dataset.path=documents", "model.dimension=16", "model.layers=1"),
    *("trainer.evaluations=3", "trainer.max_tokens=64", "split.dev=0.3", "tracker=none"),
]
SMALL = ["experiment=tiny", *SETTINGS]
"""Arguments of ``embexp.run`` in a folder with ``documents``."""
WITHOUT_QUESTIONS = ["experiment=label_free", "model=tiny", *SETTINGS, "synthesis.target=1000"]
"""Arguments that train in two stages."""

LIBRARIES = [
    *("bm25s", "chromadb", "chromadb_rust_bindings", "datasets", "datasketch", "groq", "optuna"),
    *("py3langid", "pytrec_eval", "sentence_transformers", "Stemmer"),
    *("embexp.api", "embexp.config.command", "embexp.data.datasets.folder", "embexp.finetuning.callbacks"),
    *("embexp.finetuning.losses.mini_batches", "embexp.finetuning.training_loop", "embexp.llm.groq"),
    *("embexp.migrating", "embexp.pipeline.run", "embexp.sweeper.sweep"),
    *("embexp.synthesis.entries", "embexp.synthesis.extractive"),
]
"""What such a run, a synthesis, a sweep and a migration would load in most of their time."""
VARIABLES = {"OMP_NUM_THREADS": "1", "GROQ_API_KEY": "gsk_test"}
"""Environment variables for all of them."""


def write_documents(folder: Path, *, number: int = 24) -> None:
    """Write Markdown files with a title, a summary and two sections each; the same ones every time."""
    draw = random.Random(5)
    words = ["".join(draw.choices(SYLLABLES, k=draw.randint(2, 4))) for _ in range(300)]
    folder.mkdir(parents=True)
    for document in range(number):
        own = draw.sample(words, 12)

        def sentence(own: list[str] = own) -> str:
            return " ".join([*draw.sample(own, 5), *draw.sample(words, 3)]).capitalize() + "."

        parts = [f"# {' '.join(draw.sample(own, 3)).title()}", sentence()]
        for _ in range(2):
            parts += [f"## {' '.join(draw.sample(own, 2)).title()}", " ".join(sentence() for _ in range(3))]
        (folder / f"{document:03d}.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
