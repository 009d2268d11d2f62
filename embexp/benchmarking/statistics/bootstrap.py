"""Whether one system beats another: a paired bootstrap over source documents, and a verdict in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.statistics.randomisation import randomisation_p
from embexp.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

Verdict = Literal["WIN", "NO EVIDENCE", "REGRESSION"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Tuned minus untuned on one metric, with a 95% interval and a two-sided p-value.

    ``p`` belongs to the interval; ``randomisation_p`` is a second test's, None where it was not made.
    """

    metric: str
    delta: float
    interval: tuple[float, float]
    p: float
    queries: int
    clusters: int
    verdict: Verdict
    randomisation_p: float | None = None

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Comparison:
        """Return the comparison that a JSON object holds; keys of a later version are left out."""
        known = {each.name: record[each.name] for each in fields(cls) if each.name in record}
        return cls(**{**known, "interval": tuple(known["interval"])})


"""Bounds memory: this many drawn clusters are held at once (about 50 MB)."""


def half_means(sums: Floats, sizes: Floats, *, resamples: int, seed: int) -> tuple[Floats, Floats]:
    """Return the lower and the higher mean of each random division of the clusters into two.

    If clusters were as likely to lie above the true mean as below it, in mirror images, that mean would
    lie between the two with the same chance for each division, whatever the sizes of the clusters
    (Hartigan, Using Subsample Values as Typical Values, JASA 64, 1969). It is the randomisation test,
    turned into an interval.

    Args:
        sums: Each cluster's sum, shape (clusters,).
        sizes: Each cluster's number of questions, shape (clusters,).
        resamples: How many divisions to draw.
        seed: Seeds them.

    Returns:
        Two sorted arrays of shape (resamples,); a division that leaves one side empty bounds nothing.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    clusters = len(sums)
    total, count = sums.sum(), sizes.sum()
    block = max(1, CELLS_PER_BLOCK // clusters)
    lows, highs = [], []
    for start in range(0, resamples, block):
        one = _coins(rng, min(block, resamples - start), clusters)
        sum_one, size_one = one @ sums, one @ sizes
        divided = (size_one > 0) & (size_one < count)
        first = sum_one / np.where(divided, size_one, 1.0)
        second = (total - sum_one) / np.where(divided, count - size_one, 1.0)
        lows.append(np.where(divided, np.minimum(first, second), -np.inf))
        highs.append(np.where(divided, np.maximum(first, second), np.inf))
    return np.sort(np.concatenate(lows)), np.sort(np.concatenate(highs))


def _coins(rng: np.random.Generator, rows: int, columns: int) -> Floats:
    """Return zeros and ones of equal chance, shape (rows, columns), from 64 bits at a time."""
    import numpy as np

    words = rng.integers(0, 2**64 - 1, size=(rows, -(-columns // 64)), dtype=np.uint64, endpoint=True)
    return np.unpackbits(words.view(np.uint8), axis=1)[:, :columns].astype(np.float64)


FEWEST_CLUSTERS = 10
"""With fewer source documents than this no interval can be trusted, and the verdict is NO EVIDENCE."""
CELLS_PER_BLOCK = 2_000_000
"""Bounds memory: this many resampled clusters are held at once (about 50 MB)."""
NO_SPREAD = 1e-9
"""Rounding leaves errors of this size where there is no spread at all."""
WIDER = 1.1
"""Skewed data make the interval of half means too narrow: it is taken so much wider."""
LEAST_SPREAD = 4
"""A resample's error counts as at least the observed one divided by this. Where most questions differ by
the same amount, many small resamples hold nothing else; their error of 0 would make any interval infinite."""


def compare(
    base: Scores,
    tuned: Scores,
    *,
    metric: str = "ndcg@10",
    clusters: Mapping[str, str],
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare two systems on the same questions.

    The interval is what two have in common. The first is a symmetric studentised (bootstrap-t) one (Hall,
    The Bootstrap and Edgeworth Expansion, 1992, section 3.5). Whole clusters are drawn with replacement,
    since questions about one document rise and fall together; each resample's mean difference is divided
    by its own cluster-robust standard error, and the error of what was observed is the jackknife's
    (Cameron & Miller, J. Human Resources 50, 2015). That keeps its level with few and unequal clusters,
    where plain percentile intervals come out too narrow. Where a few large clusters decide, resamples
    without them have tiny errors, and it comes out far too wide: so the second, made of the means over
    random halves of the clusters (``half_means``) and a tenth wider than they make it, bounds it.
    docs/benchmarking.md has the measurements.

    Args:
        base: The untuned system's scores.
        tuned: The tuned system's scores, on the same questions.
        metric: The metric to compare.
        clusters: Query id -> source document.
        resamples: How many bootstrap resamples to draw.
        seed: Seeds them.

    Returns:
        Tuned minus base, with a 95% interval and a two-sided p that agree: p < 0.05 just where the
        interval leaves out 0, and with the p of a randomisation test beside them, which decides nothing.
        With fewer than 10 clusters the verdict is NO EVIDENCE whatever they say.

    Raises:
        DataError: The systems were not asked the same questions, or none at all.
        ConfigError: A system has no such metric, or the number of resamples is too small.
    """
    import numpy as np

    if resamples < 100:
        raise ConfigError(f"resamples={resamples}: a 95% interval needs 100 or more; 10000 is usual.")
    queries = _common_queries(base, tuned, metric)
    differences = np.array([tuned.per_query[q][metric] - base.per_query[q][metric] for q in queries])
    sums, sizes = _cluster_sums(differences, [clusters.get(query, query) for query in queries])
    delta = float(differences.mean())
    interval, p = _interval(sums, sizes, resamples=resamples, seed=seed)
    verdict: Verdict = "NO EVIDENCE"
    if len(sums) >= FEWEST_CLUSTERS and interval[0] > 0:
        verdict = "WIN"
    elif len(sums) >= FEWEST_CLUSTERS and interval[1] < 0:
        verdict = "REGRESSION"
    return Comparison(
        metric=metric,
        delta=delta,
        interval=interval,
        p=p,
        queries=len(queries),
        clusters=len(sums),
        verdict=verdict,
        randomisation_p=randomisation_p(sums, resamples=resamples, seed=seed),
    )


def _common_queries(base: Scores, tuned: Scores, metric: str) -> list[str]:
    if base.per_query.keys() != tuned.per_query.keys():
        odd = sorted(base.per_query.keys() ^ tuned.per_query.keys())
        raise DataError(
            f"{base.system} and {tuned.system} were not asked the same questions ({len(odd)} differ, such as "
            f"{odd[0]!r}): score both on one task."
        )
    if not base.per_query:
        raise DataError(
            f"{base.system} and {tuned.system} were asked no question: there is nothing to compare."
        )
    for scores in (base, tuned):
        if metric not in scores.mean:
            raise ConfigError(f"{scores.system} has no {metric}: choose from {', '.join(scores.mean)}.")
    return sorted(base.per_query)


def _cluster_sums(differences: Floats, names: list[str]) -> tuple[Floats, Floats]:
    """Return each cluster's sum of differences and its number of questions."""
    import numpy as np

    order = {name: at for at, name in enumerate(sorted(set(names)))}
    labels = np.array([order[name] for name in names], dtype=np.int64)
    sums = np.bincount(labels, weights=differences).astype(np.float64)
    return sums, np.bincount(labels).astype(np.float64)


def _interval(sums: Floats, sizes: Floats, *, resamples: int, seed: int) -> tuple[tuple[float, float], float]:
    """Return the 95% interval of the mean difference, within [-1, 1], and the p-value that goes with it."""
    import numpy as np

    if len(sums) < 2:
        return (-1.0, 1.0), 1.0
    delta = float(sums.sum() / sizes.sum())
    error = _jackknife_error(sums, sizes, delta)
    if error < NO_SPREAD:  # every question differs by the same amount: there is nothing to resample
        return (delta, delta), 1.0 if abs(delta) < NO_SPREAD else 1 / (resamples + 1)
    t = np.sort(_resampled_t(sums, sizes, delta, error / LEAST_SPREAD, resamples=resamples, seed=seed))
    lows, highs = half_means(sums, sizes, resamples=resamples, seed=seed)
    # With k = resamples // 20, the k-th largest |t| bounds the interval just where p falls under 0.05;
    # so do the k-th of the half means, once they are as much farther from delta as WIDER says.
    k = resamples // 20
    reach = float(t[-k]) * error
    low = max(delta - reach, delta - WIDER * (delta - float(lows[k - 1])), -1.0)
    high = min(delta + reach, delta + WIDER * (float(highs[-k]) - delta), 1.0)
    edge = delta - delta / WIDER
    beyond = min(
        (t >= abs(delta) / error).sum(), (lows <= edge).sum() if delta > 0 else (highs >= edge).sum()
    )
    return (low, high), (1 + int(beyond)) / (resamples + 1)


def _jackknife_error(sums: Floats, sizes: Floats, mean: float) -> float:
    """Return the standard error √((C-1)/C · Σ((s - m·n) / (1 - n/N))²) / N: each cluster left out once."""
    import numpy as np

    count, total = len(sums), sizes.sum()
    left_out = (sums - mean * sizes) / (1 - sizes / total)
    return float(np.sqrt((count - 1) / count * (left_out**2).sum()) / total)


def _resampled_t(
    sums: Floats, sizes: Floats, delta: float, least: float, *, resamples: int, seed: int
) -> Floats:
    """Return |mean* - delta| / max(error*, least) of each resample, a block of resamples at a time.

    The error of a resample is the cluster-robust √(C/(C-1) · Σ(s - m·n)²) / N; expanding the square
    leaves sums over clusters, so that one matrix product gives a whole block of them.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    clusters = len(sums)
    moments = np.stack([sizes, sums, sizes**2, sums * sizes, sums**2], axis=1)
    block = max(1, CELLS_PER_BLOCK // clusters)
    found = []
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        drawn = rng.integers(0, clusters, size=(count, clusters)) + clusters * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * clusters).reshape(count, clusters)
        size, total, size2, cross, total2 = (times @ moments).T
        mean = total / size
        spread = np.maximum(total2 - 2 * mean * cross + mean**2 * size2, 0.0)
        error = np.sqrt(spread * clusters / (clusters - 1)) / size
        found.append(np.abs(mean - delta) / np.maximum(error, least))
    return np.concatenate(found)
