"""Confidence intervals and paired tests over source documents: is one system better than another?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from embexp.benchmarking.metrics import MAIN_METRIC, Scores
from embexp.benchmarking.statistics.resampling import CELLS_PER_BLOCK, cluster_draws
from embexp.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

Verdict = Literal["WIN", "NO EVIDENCE", "REGRESSION"]
RULE = "It is WIN or REGRESSION if the whole 95% interval lies on one side of zero."
"""What ``_verdict`` decides, in words for the report."""

MIN_CLUSTERS = 10
"""With fewer source documents no interval can be trusted, and the verdict is NO EVIDENCE."""
SWAPS_PER_BLOCK = 1_000_000
"""Bounds memory of the randomisation test: this many swapped clusters are held at once (about 30 MB)."""
NO_SPREAD = 1e-9
"""Rounding leaves errors of this size where there is no spread at all."""
WIDENING = 1.1
"""Skewed data make the interval of half means too narrow: it is widened by this factor."""
LEAST_SPREAD = 4
"""A resample's error counts as at least the observed one divided by this. Where most questions differ by
the same amount, many small resamples hold nothing else; their error of 0 would make any interval infinite."""
NORMAL_QUANTILE = 1.96


@dataclass(frozen=True, slots=True)
class Comparison:
    """Tuned minus untuned on one metric, with a 95% interval and a two-sided p-value.

    ``p`` belongs to the interval; ``randomisation_p`` comes from a second test, None where it was not made.
    """

    metric: str
    delta: float
    interval: tuple[float, float]
    p: float
    queries: int
    clusters: int
    verdict: Verdict
    randomisation_p: float | None = None

    @property
    def better(self) -> bool:
        """Whether the verdict says that the second system is better than the base."""
        return self.verdict == "WIN"

    @property
    def worse(self) -> bool:
        """Whether the verdict says that the second system is worse than the base."""
        return self.verdict == "REGRESSION"


def compare(
    base: Scores,
    tuned: Scores,
    *,
    metric: str = MAIN_METRIC,
    clusters: Mapping[str, str],
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare two systems on the same questions.

    The interval is the intersection of two. The first is a symmetric studentised (bootstrap-t) one (Hall,
    The Bootstrap and Edgeworth Expansion, 1992, section 3.5). Whole clusters are drawn with replacement,
    since scores of questions about one document are correlated; each resample's mean difference is divided
    by its own cluster-robust standard error, and the observed error is the jackknife's (Cameron & Miller,
    J. Human Resources 50, 2015). That keeps its level with few and unequal clusters, where plain percentile
    intervals come out too narrow. Where a few large clusters decide, resamples without them have tiny
    errors, and it comes out far too wide: the second interval, from the means of random halves of the
    clusters (``_half_means``) and widened by a tenth, bounds it. docs/benchmarking.md has the measurements.

    Args:
        base: The untuned system's scores.
        tuned: The tuned system's scores, on the same questions.
        metric: The metric to compare.
        clusters: Query id -> source document; a query that is missing is its own cluster.
        resamples: How many bootstrap resamples to draw.
        seed: Seeds the resampling.

    Returns:
        Tuned minus base, with a 95% interval and a two-sided p that agree: p < 0.05 exactly where the
        interval excludes 0. The p of a randomisation test stands beside them and does not affect the
        verdict. With fewer than ``MIN_CLUSTERS`` clusters the verdict is always NO EVIDENCE.

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
    interval, p = _interval(sums, sizes, resamples=resamples, seed=seed)
    return Comparison(
        metric=metric,
        delta=float(differences.mean()),
        interval=interval,
        p=p,
        queries=len(queries),
        clusters=len(sums),
        verdict=_verdict(interval, clusters=len(sums)),
        randomisation_p=_randomisation_p(sums, resamples=resamples, seed=seed),
    )


def _verdict(interval: tuple[float, float], *, clusters: int) -> Verdict:
    if clusters >= MIN_CLUSTERS and interval[0] > 0:
        return "WIN"
    if clusters >= MIN_CLUSTERS and interval[1] < 0:
        return "REGRESSION"
    return "NO EVIDENCE"


def clustered_interval(values: Mapping[str, float], clusters: Mapping[str, str]) -> tuple[float, float]:
    """Return the 95% interval of one system's mean score, clipped to [0, 1].

    The standard error is the cluster-robust one, sqrt(G/(G−1) · Σ_g (Σ_{i∈g} (x_i − x̄))²) / n
    (Liang and Zeger 1986), since scores of questions about one document are correlated.

    Args:
        values: Query id -> value in [0, 1].
        clusters: Query id -> source document; a query that is missing is its own cluster.

    Returns:
        Lower and upper bound; (0, 1) for fewer than two clusters.
    """
    if not values:
        return 0.0, 1.0
    mean = math.fsum(values.values()) / len(values)
    sums: dict[str, float] = {}
    for query_id, value in values.items():
        cluster = clusters.get(query_id, query_id)
        sums[cluster] = sums.get(cluster, 0.0) + value - mean
    if len(sums) < 2:
        return 0.0, 1.0
    spread = math.fsum(total * total for total in sums.values())
    error = math.sqrt(len(sums) / (len(sums) - 1) * spread) / len(values)
    return max(mean - NORMAL_QUANTILE * error, 0.0), min(mean + NORMAL_QUANTILE * error, 1.0)


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
    lows, highs = _half_means(sums, sizes, resamples=resamples, seed=seed)
    # With k = resamples // 20, the k-th largest |t| bounds the interval exactly where p falls below 0.05;
    # so do the k-th half means, once their distance from delta is multiplied by WIDENING.
    k = resamples // 20
    reach = float(t[-k]) * error
    low = max(delta - reach, delta - WIDENING * (delta - float(lows[k - 1])), -1.0)
    high = min(delta + reach, delta + WIDENING * (float(highs[-k]) - delta), 1.0)
    edge = delta - delta / WIDENING
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

    clusters = len(sums)
    moments = np.stack([sizes, sums, sizes**2, sums * sizes, sums**2], axis=1)
    parts = []
    for times in cluster_draws(clusters, resamples=resamples, seed=seed):
        size, total, size2, cross, total2 = (times @ moments).T
        mean = total / size
        spread = np.maximum(total2 - 2 * mean * cross + mean**2 * size2, 0.0)
        error = np.sqrt(spread * clusters / (clusters - 1)) / size
        parts.append(np.abs(mean - delta) / np.maximum(error, least))
    return np.concatenate(parts)


def _half_means(sums: Floats, sizes: Floats, *, resamples: int, seed: int) -> tuple[Floats, Floats]:
    """Return the lower and the higher mean of each random division of the clusters into two.

    If each cluster's deviation from the true mean were as likely to have one sign as the other, the true
    mean would lie between the two with the same chance for each division, whatever the sizes of the
    clusters (Hartigan, Using Subsample Values as Typical Values, JASA 64, 1969). It is the randomisation
    test, turned into an interval.

    Args:
        sums: Each cluster's sum, shape (clusters,).
        sizes: Each cluster's number of questions, shape (clusters,).
        resamples: How many divisions to draw.
        seed: Seeds the draws.

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


def _randomisation_p(sums: Floats, *, resamples: int = 10_000, seed: int = 0) -> float:
    """Return the two-sided p of Fisher's paired randomisation test over whole clusters.

    If two systems were equally good, swapping their names on all questions of one document would
    change nothing but the sign of that document's difference (Smucker, Allan & Carterette, CIKM 2007,
    who swap question by question). p is the share of swaps whose difference is at least the observed one;
    where there are no more than ``resamples`` ways to swap, all of them are counted.

    Args:
        sums: Each cluster's sum of differences, shape (clusters,).
        resamples: The most random swaps to try.
        seed: Seeds them.

    Returns:
        p in (0, 1]; 1 where fewer than two clusters differ.
    """
    import numpy as np
    from scipy.stats import permutation_test

    changed = sums[np.abs(sums) > 0]  # a cluster without a difference looks the same when swapped
    if len(changed) < 2:
        return 1.0
    result = permutation_test(
        (changed, np.zeros_like(changed)),
        _total_difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, SWAPS_PER_BLOCK // len(changed)),
        random_state=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def _total_difference(tuned: Floats, base: Floats, axis: int) -> Floats:
    return (tuned - base).sum(axis=axis)  # type: ignore[no-any-return]
