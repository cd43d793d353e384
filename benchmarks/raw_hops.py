"""The samples of 128² hops in one pass: against memcpy, NumPy and pandas, in one run."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from timeit import default_timer
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.row import BenchRow
from opsicm.analysis.sections import binning as kernels
from opsicm.analysis.sections.binning import bin_sections
from opsicm.analysis.sections.raw_samples import Approaches, RawSamples

HOPS, SAMPLES, BINS, PART = 128 * 128, 7324, 200, 256
_ATTEMPTS = 5


def block(hops: int = PART) -> NDArray[np.int16]:
    """`hops` falls of 2000 nm at 30 nm/ms and 100 kS/s: current falls as a hyperbola, noise of 0.06 % and 0.2 nm."""
    rng = np.random.default_rng(1)
    d = np.linspace(2034.0, 34.0, SAMPLES)
    counts = np.empty((hops, SAMPLES, 2), np.int16)
    counts[:, :, 0] = np.rint(20_000 * d / (d + 0.7) + 12 * rng.standard_normal((hops, SAMPLES)))
    counts[:, :, 1] = np.rint(20 * (d - 1034.0) + 4 * rng.standard_normal((hops, SAMPLES)))
    return counts.reshape(-1, 2)


def best(work: Callable[[], Any], attempts: int = _ATTEMPTS) -> float:
    """Shortest of `attempts` runs [s]."""
    shortest = np.inf
    for _ in range(attempts):
        start = default_timer()
        work()
        shortest = min(shortest, default_timer() - start)
    return float(shortest)


def falls(hops: int) -> Approaches:
    """`hops` falls, one after another."""
    begin = SAMPLES * np.arange(hops, dtype=np.int64)
    return Approaches(begin, begin + SAMPLES, np.full(hops, 20_000.0), np.full(hops, 0.02))


def by_numpy(counts: NDArray[np.int16]) -> None:
    """The same three results with NumPy, hop by hop as one writes it."""
    for fall in counts.reshape(-1, SAMPLES, 2):
        current, z = fall[:, 0].astype(np.int64), fall[:, 1].astype(np.int64)
        bins = (z + 20_000) * BINS // 40_000
        inside = (bins >= 0) & (bins < BINS)
        np.bincount(bins[inside], current[inside], BINS) / np.maximum(np.bincount(bins[inside], minlength=BINS), 1)
        np.argmax(np.bincount(current + 32_768))
        np.argmax(current <= 19_600)


def by_pandas(counts: NDArray[np.int16]) -> None:
    """The same with pandas: groupby for the section, value_counts for the mode."""
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415  only this row needs it

    hop = np.repeat(np.arange(counts.shape[0] // SAMPLES), SAMPLES)
    table = pd.DataFrame({"hop": hop, "i": counts[:, 0], "z": counts[:, 1]})
    table["bin"] = (table["z"].astype(np.int64) + 20_000) * BINS // 40_000
    table.groupby(["hop", "bin"])["i"].mean()
    table.groupby("hop")["i"].agg(lambda i: i.value_counts().index[0])
    table[table["i"] <= 19_600].groupby("hop")["z"].first()


def row() -> list[BenchRow]:
    """Heights, and heights + sections + mode, on 120 M samples, as shares of memcpy of the bytes read."""
    part = block()
    counts = np.tile(part, (HOPS // PART, 1))
    target = np.empty_like(counts)
    samples = RawSamples(counts, 0, 1, 1.0, 0.0, 1.0, 0.0)
    every = falls(HOPS)
    threshold = np.full(HOPS, 19_600, np.int64)
    at = np.empty(HOPS, np.int64)

    def heights() -> None:
        kernels.threshold_samples(samples.words, every.begin, every.end, threshold, at)

    def whole() -> None:
        bin_sections(samples, every, np.array([-20_000.0]), 200.0, BINS)

    heights()
    whole()
    copy = best(lambda: np.copyto(target, counts))
    t_heights, t_whole = best(heights), best(whole)
    # Bytes up to each crossing: the scan ends there.
    read = float(np.sum(np.where(at >= 0, at - every.begin + 1, SAMPLES))) / counts.shape[0]
    t_numpy = best(lambda: by_numpy(part), 2) * HOPS / PART
    share, whole_share = 100.0 * read * copy / t_heights, 100.0 * copy / t_whole
    memcpy = f"memcpy of {counts.nbytes / 1e6:.0f} MB in {copy:.3f} s"
    goal = "heights ≥ 70 % of memcpy of the bytes actually read"
    all_goal = "heights + sections of 200 bins + raw mode ≥ 22 %, ≥ 10× NumPy, ≥ 50× pandas"
    time_per_sample = f"{t_whole / counts.shape[0] * 1e9:.2f} ns per sample"
    rows = [
        BenchRow("heights of 120 M samples", share, "% of memcpy", memcpy, f"{t_heights:.3f} s", goal, share >= 70.0),
        BenchRow(
            "heights, sections, mode",
            whole_share,
            "% of memcpy",
            memcpy,
            time_per_sample,
            all_goal,
            whole_share >= 22.0,
        ),
        BenchRow(
            "heights, sections, mode against NumPy",
            t_numpy / t_whole,
            "times",
            f"NumPy {t_numpy:.1f} s (from 256 hops)",
            time_per_sample,
            all_goal,
            t_numpy / t_whole >= 10.0,
        ),
    ]
    name = "heights, sections, mode against pandas"
    if find_spec("pandas") is None:
        return [
            *rows,
            BenchRow(name, 0.0, "times", "pandas", time_per_sample, all_goal, None, "pandas is not installed"),
        ]
    t_pandas = best(lambda: by_pandas(part), 1) * HOPS / PART
    ratio, peer = t_pandas / t_whole, f"pandas {t_pandas:.0f} s (from 256 hops)"
    return [*rows, BenchRow(name, ratio, "times", peer, time_per_sample, all_goal, ratio >= 50.0)]
