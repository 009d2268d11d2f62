"""A migration of 20,000 records that is killed three times ends complete; the old collection is intact."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.migrating.chroma_contents import contents, opened
from tests.migrating.killed_migration import DIMENSION, embedder

ROOT = Path(__file__).resolve().parents[2]
RECORDS, BATCH, SAMPLE, KILLS = 20_000, 256, 64, 3


def migrate(path: Path, log: Path, *kill: object) -> int:
    command = [sys.executable, "-m", "tests.migrating.killed_migration", str(path), str(log), *map(str, kill)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False, timeout=900).returncode


@pytest.mark.slow
def test_a_migration_that_is_killed_three_times_ends_complete(tmp_path: Path) -> None:
    path, log, drawn = tmp_path / "db", tmp_path / "log", random.Random(11)
    texts = [f"every {drawn.choice(['kettle', 'piano', 'garden'])} {n} needs oil" for n in range(RECORDS)]
    vectors = np.random.default_rng(0).standard_normal((RECORDS, DIMENSION)).astype(np.float32)
    with opened(path) as client:
        collection = client.create_collection("manual", embedding_function=None)
        for start in range(0, RECORDS, 5_000):
            rows = range(start, start + 5_000)
            collection.add(
                ids=[f"id{row}" for row in rows],
                embeddings=vectors[rows],
                documents=[texts[row] for row in rows],
                metadatas=[{"page": row} for row in rows],
            )
    before = contents(path)["manual"]

    for _ in range(KILLS):
        assert migrate(path, log, drawn.randint(3, 20), drawn.uniform(0, 0.2)) == -signal.SIGKILL
    assert migrate(path, log) == 0

    found = contents(path)
    old = next(name for name in found if name.startswith("manual-before-"))
    assert sorted(found) == sorted(["manual", old])
    assert found[old] == before
    new = found["manual"]
    assert {id: record[:2] for id, record in new.items()} == {id: record[:2] for id, record in before.items()}
    some = drawn.sample(sorted(new), 200)
    wanted = embedder(1).encode_passages([new[id][0] for id in some])
    np.testing.assert_allclose([new[id][2] for id in some], wanted, atol=1e-5)
    embedded = log.read_text(encoding="utf-8").splitlines()
    assert set(texts) <= set(embedded)
    # Each kill loses at most one batch; each command embeds one text to see whether the model differs.
    assert len(embedded) <= RECORDS + KILLS * BATCH + (KILLS + 1) + SAMPLE
