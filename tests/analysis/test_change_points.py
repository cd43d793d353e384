"""Change points: breaks are found where they are, drifts of every kind are none, and 100 000 values take a second."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from opsicm.analysis.hops.change_points import change_points, states
from opsicm.analysis.hops.state_changes import drift_result, level_result, state_change_results

F64 = NDArray[np.float64]
N = 120
K = np.arange(N, dtype=np.float64)


def white(seed: int, n: int = N) -> F64:
    return np.random.default_rng(seed).standard_normal(n)


def walk(seed: int) -> F64:
    return np.asarray(lfilter([1.0], [1.0, -0.99], white(seed)), dtype=np.float64)


DRIFTS: dict[str, Callable[[int], F64]] = {
    "white noise": lambda s: 100.0 + white(s),
    "linear": lambda s: 100.0 + 2.0 * K + white(s),
    "exponential": lambda s: 100.0 + 100.0 * np.exp(-K / 20.0) + white(s),
    "quick at first": lambda s: 100.0 + 100.0 * np.exp(-K / 5.0) + white(s),
    "wave": lambda s: 100.0 + 20.0 * np.sin(K / 15.0 + s) + white(s),
    "kink": lambda s: 100.0 - np.maximum(K - 50.0, 0.0) + white(s),
    "random walk": lambda s: 100.0 + walk(s),
    "correlated": lambda s: 100.0 + np.asarray(lfilter([1.0], [1.0, -0.9], white(s))),
    "spikes": lambda s: 100.0 + white(s) + 50.0 * (np.random.default_rng(s + 999).random(N) < 0.03),
}


@pytest.mark.parametrize("kind", DRIFTS)
def test_drift_noise_and_spikes_are_no_change(kind: str) -> None:
    """Of 60 series of each kind at most 2: a wave of 40 noises comes nearest to a passage between two levels."""
    assert sum(bool(change_points(DRIFTS[kind](seed))) for seed in range(60)) <= 2


@pytest.mark.parametrize("ratio", [2.2, 1.2, 0.8, 0.3])
@pytest.mark.parametrize("at", [3, 40, 60, 117])
def test_a_break_is_found_at_its_value_whatever_drifts(ratio: float, at: int) -> None:
    for seed in range(5):
        values = (100.0 + 0.1 * K + 0.2 * white(seed)) * np.where(at <= K, ratio, 1.0)
        (change,) = change_points(values)
        assert (change.start, change.index) == (at, at)
        assert change.ratio == pytest.approx(ratio, abs=0.03 * ratio)


def test_the_ratio_s_u_is_its_scatter() -> None:
    found = [change_points(100.0 * np.where(K < 60.0, 1.0, 1.5) + white(seed))[0] for seed in range(200)]
    scatter = float(np.std([c.ratio for c in found]))
    assert scatter == pytest.approx(float(np.mean([c.u_ratio for c in found])), rel=0.35)


def test_a_slow_clog_is_one_change_with_its_passage() -> None:
    for length, noise in ((5, 0.1), (12, 0.01), (12, 1.0)):
        values = 100.0 - 50.0 * np.clip((K - 60.0 + 0.5 * length) / length, 0.0, 1.0) + noise * white(1)
        (change,) = change_points(values)
        assert 60 - length <= change.start <= change.index <= 60 + length
        assert change.index - change.start >= length // 2
        assert change.ratio == pytest.approx(0.5, abs=4.0 * change.u_ratio + 1e-3)
        first, second = states(N, [change])
        assert np.median(values[first]) == pytest.approx(100.0, abs=1.0)
        assert np.median(values[second]) == pytest.approx(50.0, abs=1.0)


def test_several_changes_come_in_order_and_the_largest_are_kept() -> None:
    values = 100.0 + white(4, 3000) + 30.0 * (np.arange(3000) // 150 % 2)
    changes = change_points(values)
    assert [c.index for c in changes] == list(range(150, 3000, 150))
    results = state_change_results(changes, "reference_jump", "reference current", "hop", np.arange(3000.0))
    assert len(results) == 2 * 12
    assert results[0].flags["changes"] == 19
    assert results[1].unit == "s"


def test_a_quiet_state_does_not_make_noise_of_the_other_a_change() -> None:
    """A saturated amplifier has no noise: what scatters before it must not be judged by that."""
    for seed in range(20):
        values = np.where(K < 60.0, 100.0 + white(seed), 150.0)
        assert [c.index for c in change_points(values)] == [60]


def test_a_hundred_thousand_values_take_a_second() -> None:
    values = 100.0 + white(5, 100_000)
    values[50_000:] *= 0.9
    values[::997] += 40.0
    change_points(values[:2000])
    start = time.process_time()
    (change,) = change_points(values)
    assert time.process_time() - start < 1.0
    assert change.index == 50_000


def test_too_few_or_unknown_values_have_no_change() -> None:
    assert change_points(np.array([1.0, 1.0, 2.0, 2.0, 2.0])) == []
    assert change_points(np.array([1.0, np.nan] * 10)) == []


def test_the_level_of_a_drift_is_not_known_to_a_picoampere() -> None:
    falling = 1000.0 - 5.0 * K
    level = level_result("reference_current", falling, "pA", "hops", {})
    assert level.u is not None
    assert level.u > 20.0
    steady = level_result("reference_current", 1000.0 + white(1), "pA", "hops", {})
    assert steady.u is not None
    assert steady.u < 0.3
    (drift,) = drift_result("reference_drift", falling, "hops", {})
    assert drift.value == pytest.approx(100.0 * -540.0 / 702.5, rel=1e-3)
