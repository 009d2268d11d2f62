"""How often the verdict errs on simulated differences, clustered by document: 1,000 cases of each kind.

    python benchmarks/calibration.py

Each case is tried without a true difference (how often is there a verdict?) and with one of 0.05 (how often
does the interval contain it?). The nominal rates are 5% and 95%, give or take 1.5 points. The peer is the
plain percentile bootstrap over documents.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable

import numpy as np

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.statistics.comparison import compare

EFFECT = 0.05
Draw = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]


def clustered(documents: int, most: int, *, skewed: bool) -> Draw:
    """Differences with a common part per document; from 1 to ``most`` questions per document."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        owners = np.repeat(np.arange(documents), rng.integers(1, most + 1, documents))
        shared = rng.exponential(0.1, documents) - 0.1 if skewed else rng.normal(0, 0.1, documents)
        return owners, shared[owners] + rng.normal(0, 0.15, len(owners))

    return draw


def uneven(documents: int, most: int) -> Draw:
    """Differences with a common part per document; few documents have most of the questions (Pareto)."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        sizes = np.clip(np.ceil(rng.pareto(0.8, documents)), 1, most).astype(int)
        owners = np.repeat(np.arange(documents), sizes)
        return owners, rng.normal(0, 0.1, documents)[owners] + rng.normal(0, 0.15, len(owners))

    return draw


def jumps(documents: int, most: int) -> Draw:
    """Differences that are mostly 0, with some jumps of either sign, clustered by document."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        owners = np.repeat(np.arange(documents), rng.integers(1, most + 1, documents))
        moved = rng.choice([-0.5, 0.0, 0.5], documents, p=[0.15, 0.7, 0.15])
        return owners, moved[owners] * rng.integers(0, 2, len(owners))

    return draw


KINDS: dict[str, Draw] = {
    "alone": clustered(200, 1, skewed=False),
    "clustered": clustered(77, 40, skewed=False),
    "skewed": clustered(100, 30, skewed=True),
    "jumps": jumps(200, 10),
    "few": clustered(20, 10, skewed=True),
    "uneven": uneven(100, 105),
}


def scores(system: str, values: np.ndarray) -> Scores:
    per_query = {f"q{at}": {"ndcg@10": float(value)} for at, value in enumerate(values)}
    return Scores(system, {"ndcg@10": float(values.mean())}, per_query)


def percentile(owners: np.ndarray, values: np.ndarray, rng: np.random.Generator, resamples: int) -> bool:
    """Return whether the plain percentile interval excludes 0."""
    sums, sizes = np.bincount(owners, values), np.bincount(owners)
    drawn = rng.integers(0, len(sums), (resamples, len(sums)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [0.025, 0.975])
    return bool(low > 0 or high < 0)


def measure(draw: Draw, *, cases: int, resamples: int) -> dict[str, float]:
    """Return the shares of false verdicts (ours, the randomisation test's, the peer's) and the coverage."""
    counts = {"false_verdicts": 0, "randomisation": 0, "percentile": 0, "coverage": 0}
    for case in range(cases):
        rng = np.random.default_rng([case, 7])
        owners, values = draw(rng)
        clusters = {f"q{at}": f"d{owner}" for at, owner in enumerate(owners)}
        base = scores("untuned", np.zeros(len(values)))
        options = {"clusters": clusters, "resamples": resamples, "seed": case}
        null = compare(base, scores("tuned", values), **options)
        moved = compare(base, scores("tuned", values + EFFECT), **options)
        counts["false_verdicts"] += null.verdict != "NO EVIDENCE"
        counts["randomisation"] += (null.randomisation_p or 1.0) < 0.05
        counts["percentile"] += percentile(owners, values, rng, resamples)
        counts["coverage"] += moved.interval[0] <= EFFECT <= moved.interval[1]
    return {name: round(count / cases, 4) for name, count in counts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    kinds = {
        name: measure(draw, cases=options.cases, resamples=options.resamples) for name, draw in KINDS.items()
    }
    for name, rates in kinds.items():
        print(name, rates)
    ours, peer = (
        max(abs(rates[key] - 0.05) for rates in kinds.values()) for key in ("false_verdicts", "percentile")
    )
    result = {
        "benchmark": "calibration",
        "ours": round(ours, 4),
        "peer": round(peer, 4),
        "ratio": round(peer / max(ours, 1e-4), 2),
        "unit": "largest distance from 5% false verdicts",
        "cases": options.cases,
        "rates": kinds,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
