"""A general set beside the run's own questions: what tuning did to it, and what it bounds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embexp.benchmarking.forgetting import general_set
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk
from embexp.errors import DataError
from tests.pipeline.pipeline_settings import TINY

GENERAL = ["benchmark@forgetting=beir", "tracker=none"]


class General:
    """A benchmark of ``documents`` passages, each with two questions."""

    def __init__(self, documents: int) -> None:
        self.documents = documents

    def task(self, chunks, pairs, *, unit, scale=None):
        names = [f"d{at}" for at in range(self.documents)]
        return RetrievalTask(
            name="general",
            corpus=[Chunk(id=f"c-{name}", document_id=name, text=f"about {name}") for name in names],
            queries=[Query(f"q-{name}-{ask}", f"{ask} {name}", name) for name in names for ask in (1, 2)],
            qrels={f"q-{name}-{ask}": {name: 1} for name in names for ask in (1, 2)},
            unit="document",
        )


def test_what_bounds_the_delivery_and_what_is_told_in_the_end_share_no_document() -> None:
    found = general_set(General(900), unit="document", seed=0)
    guarded = {query.cluster for query in found.guard.queries}
    told = {query.cluster for query in found.final.queries}
    assert len(found.guard.queries) == 100
    assert not guarded & told
    assert len(told) == 450
    assert len(found.final.corpus) == 900
    assert len(found.guard.corpus) == len(guarded) + 500
    assert found.guard.qrels.keys() == {query.id for query in found.guard.queries}


def test_a_set_of_a_few_documents_is_too_small() -> None:
    with pytest.raises(DataError, match="asks about 3 documents"):
        general_set(General(3), unit="document", seed=0)


def test_a_run_says_what_it_did_to_a_general_set(run, kb: Path, beir: Path, tmp_path: Path) -> None:
    options = ["dataset=folder", f"dataset.path={kb}", f"forgetting.dataset.path={beir}", *GENERAL, *TINY]
    done = run("run", *options, "hydra.run.dir=X")
    assert done.code == 0, done.err
    outcome = json.loads((tmp_path / "X" / "outcome.json").read_text(encoding="utf-8"))
    found = outcome["forgetting"]
    before, after = (found["scores"][name]["ndcg@10"] for name in ("untuned", "tuned"))
    assert found["comparison"]["delta"] == pytest.approx(after - before)
    assert found["comparison"]["clusters"] == 9  # 18 documents are asked about, one half of them guards
    assert set(outcome["training"]["general"]) >= {"untuned", "tuned"}
    assert "Forgetting: ndcg@10 on beir" in done.out
    assert "Forgetting" in (tmp_path / "X" / "report.html").read_text(encoding="utf-8")
    again = run("run", *options, "hydra.run.dir=Y")
    assert again.code == 0, again.err
    assert json.loads((tmp_path / "Y" / "outcome.json").read_text(encoding="utf-8"))["forgetting"] == found


def test_the_run_s_own_questions_are_no_general_set(run) -> None:
    done = run("run", "experiment=tiny", "benchmark@forgetting=heldout")
    assert done.code == 2
    assert "choose a set with a corpus of its own" in done.err + done.out
