"""Samples: hops found in a raw trace, heights, sections and modes equal to a plain scatter, depletion recovered."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import curve_fit

from opsicm.analysis.approach.fit import NoFit
from opsicm.analysis.approach.template import hyperbola_template
from opsicm.analysis.approach.trace import TraceHops, find_hops
from opsicm.analysis.sections.binning import bin_sections, drift_free, heights_at_threshold, null_section
from opsicm.analysis.sections.raw_samples import Approaches, RawSamples
from opsicm.core.errors import OutsideDomain
from tests.fixtures.analytic_hops import C, made
from tests.fixtures.foreign_data import DATA
from tests.fixtures.raw_samples import digitised

F64 = NDArray[np.float64]
CURVES = DATA / "approach_curves"


def falls_of(found: TraceHops) -> Approaches:
    return Approaches(found.fall, found.stop + 1, found.reference, np.full(found.size, found.setpoint))


def found_in(current: F64, z: F64, setpoint: float | None = 0.02) -> TraceHops:
    found = find_hops(current, z, setpoint)
    assert isinstance(found, TraceHops)
    return found


def test_every_hop_of_an_analytic_trace_is_found() -> None:
    truth = made(12, surface=1e-7 * np.sin(np.arange(12.0)))
    found = found_in(truth.current, truth.z)
    assert found.size == 12
    # Noise of 0.07 % against a slope of 0.06 %/nm, first of many looks: a few nm early, never late.
    assert np.all(found.stop - truth.stop <= 3)
    assert np.median(found.stop - truth.stop) > -15
    assert np.max(np.abs(found.turn - truth.turn)) <= 8
    # The plateau ends where z has gone 2 % down: 40 nm at 0.3 nm a sample.
    assert np.all((found.fall - truth.fall >= 0) & (found.fall - truth.fall < 150))
    np.testing.assert_allclose(found.overshoot, 18e-9, atol=6e-9)
    np.testing.assert_allclose(found.reference, 3e-9 * (1 - C / 2e-6), rtol=2e-4)
    assert found.contact.all()


def test_the_setpoint_is_found_where_none_is_stated() -> None:
    truth = made(8)
    found = found_in(truth.current, truth.z, None)
    assert found.setpoint_estimated
    # It contains the overshoot of 18 nm: C/(C + 16.3 nm) is 4.1 %; the mean over the last 10 nm is a little less.
    assert 0.025 < found.setpoint < 0.045


def test_a_trace_that_starts_or_ends_during_an_approach() -> None:
    truth = made(6)
    cut = slice(int(truth.fall[0]) + 2000, int(truth.stop[5]) - 500)
    found = found_in(truth.current[cut], truth.z[cut])
    assert found.size == 5


@pytest.mark.parametrize(
    ("current", "z", "outcome"),
    [
        (np.full(200, np.nan), np.full(200, np.nan), "all NaN"),
        (np.ones(2), np.arange(2.0), "too few points"),
        (np.full(500, 2e-9), np.sin(np.arange(500.0) / 20), "constant current"),
        (np.arange(500.0), np.ones(500), "constant height"),
        (np.minimum(2 + np.sin(np.arange(500.0) / 20), 1.9), np.sin(np.arange(500.0) / 20), "saturated"),
        (np.linspace(2, 1, 500), np.linspace(1, 0, 500), "no hops"),
    ],
)
def test_bad_traces_have_named_outcomes(current: F64, z: F64, outcome: str) -> None:
    found = find_hops(current, z)
    assert isinstance(found, NoFit)
    assert found.outcome == outcome


def test_a_reversed_axis_is_named() -> None:
    truth = made(4)
    found = find_hops(truth.current, -truth.z)
    assert isinstance(found, NoFit)
    assert found.outcome == "reversed axis"


@pytest.mark.skipif(not CURVES.is_dir(), reason="not at hand: set OPSICM_DATA")
def test_real_approaches_in_one_trace_are_found_again() -> None:
    """Real curves one after another, each with a withdrawal drawn in: hops come back at their own lowest points."""
    z, current, ends = [], [], []
    n = 0
    for k in range(1, 11):
        text = (CURVES / f"scan01_07_{k}.ac").read_text("latin-1").replace(",", ".").splitlines()[1:]
        rows = np.array([[float(x) for x in line.split()] for line in text if line.strip()])
        rise = np.linspace(rows[-1, 0], rows[0, 0] + 0.01, 40)[1:]
        z += [rows[:, 0], rise]
        current += [rows[:, 2], np.full(rise.size, np.median(rows[:50, 2]))]
        ends.append(n + int(np.argmin(rows[:, 0])))
        n += rows.shape[0] + rise.size
    found = found_in(np.concatenate(current) * 1e-12, np.concatenate(z) * 1e-6, 0.0244)
    np.testing.assert_array_equal(found.turn, ends)
    # The instrument stopped at 102.5 % of the resistance; ours fires no later, and vibration may fire it earlier.
    assert np.all(found.stop <= found.turn)
    assert np.median(found.turn - found.stop) <= 3


def scatter_reference(
    s: RawSamples, approaches: Approaches, low: NDArray[np.int64], per_count: float, bins: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[int], list[int]]:
    """Plain NumPy: bincount of floor((count - low)·per_count), unique for the mode, argmax for the threshold."""
    sums, numbers = np.zeros((approaches.size, bins), np.int64), np.zeros((approaches.size, bins), np.int64)
    modes, crossed = [], []
    for h in range(approaches.size):
        i, z = (s.counts[approaches.begin[h] : approaches.end[h], c].astype(np.int64) for c in (0, 1))
        part = z[: max(1, z.size // 8)]
        first = int(np.argmax(part))
        threshold = np.floor(
            (approaches.reference[h] * (1 - approaches.setpoint[h]) - s.current_offset) / s.current_scale
        )
        below = np.flatnonzero(i <= threshold)
        crossed.append(int(below[0]) if below.size else -1)
        i, z = i[first:], z[first:]
        b = np.floor((z - low[h]) * per_count).astype(int)
        keep = (b >= 0) & (b < bins)
        np.add.at(sums[h], b[keep], i[keep])
        np.add.at(numbers[h], b[keep], 1)
        value, count = np.unique(i, return_counts=True)
        modes.append(int(value[np.argmax(count)]))
    return sums, numbers, modes, crossed


@pytest.mark.parametrize("setpoint", [0.02, 0.9])
def test_sections_modes_and_heights_equal_a_plain_scatter(setpoint: float) -> None:
    truth = made(9, surface=3e-7 * np.cos(np.arange(9.0)))
    s = digitised(truth.current, truth.z)
    approaches = Approaches(truth.fall - 5, truth.turn + 1, np.full(9, 3e-9), np.full(9, setpoint))
    width, bins = 7.3e-9, 200
    section = bin_sections(s, approaches, truth.surface + 0.1e-6, width, bins)
    low = s.height_count(truth.surface + 0.1e-6)
    sums, numbers, modes, crossed = scatter_reference(s, approaches, low, s.height_scale / width, bins)
    np.testing.assert_array_equal(section.number, numbers)
    expected = np.where(numbers > 0, sums / np.maximum(numbers, 1) * s.current_scale + s.current_offset, 0.0)
    np.testing.assert_allclose(section.current, expected, rtol=1e-15)
    np.testing.assert_array_equal(section.mode, s.si_current(np.array(modes)))
    heights, found = heights_at_threshold(s, approaches)
    assert found.tolist() == section.crossed.tolist() == [k >= 0 for k in crossed]
    for h, k in enumerate(crossed):
        expected_height = s.counts[approaches.begin[h] + k, 1] * s.height_scale + s.height_offset if k >= 0 else 0.0
        assert section.height[h] == heights[h] == expected_height
    total = numbers.sum(axis=1) + section.outside
    assert np.all(approaches.end - approaches.begin - total >= 0)
    assert np.all(approaches.end - approaches.begin - total < 60)


def test_what_a_section_refuses() -> None:
    truth = made(2)
    s = digitised(truth.current, truth.z)
    approaches = Approaches(truth.fall, truth.stop, np.full(2, 3e-9), np.full(2, 0.02))
    with pytest.raises(OutsideDomain, match="wider bins"):
        bin_sections(s, approaches, np.zeros(1), 1e-12, 10)
    with pytest.raises(OutsideDomain, match="negate the counts"):
        bin_sections(
            s,
            Approaches(approaches.begin, approaches.end, -approaches.reference, approaches.setpoint),
            np.zeros(1),
            1e-8,
            10,
        )
    none = Approaches(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    with pytest.raises(OutsideDomain, match="detect the hops"):
        bin_sections(s, none, np.zeros(1), 1e-8, 10)


def test_a_negative_bias_gives_the_section_of_the_positive_one() -> None:
    truth = made(6)
    s = digitised(truth.current, truth.z)
    approaches = Approaches(truth.fall, truth.turn + 1, np.full(6, 3e-9), np.full(6, 0.02))
    # The other bias, and a converter that counts down: the same currents, from the other end of the range.
    for counts, scale in ((-s.counts[:, 0] - 1, s.current_scale), (s.counts[:, 0], -s.current_scale)):
        offset = -s.current_offset if scale < 0.0 else s.current_scale - s.current_offset
        turned = RawSamples(
            np.column_stack((counts.astype(np.int16), s.counts[:, 1])),
            0,
            1,
            scale,
            offset,
            s.height_scale,
            s.height_offset,
        ).rising(-1.0)
        assert turned.current_scale > 0.0
        ours, theirs = (bin_sections(one, approaches, truth.surface, 1e-8, 150) for one in (turned, s))
        np.testing.assert_array_equal(ours.number, theirs.number)
        np.testing.assert_allclose(ours.current, theirs.current, atol=1e-6 * s.current_scale)
        np.testing.assert_allclose(ours.mode, theirs.mode, atol=1e-6 * s.current_scale)
        np.testing.assert_array_equal(ours.height, theirs.height)


def test_counts_that_rise_already_are_not_copied() -> None:
    s = digitised(np.array([1.0, 2.0]), np.array([0.0, 1.0]))
    assert np.shares_memory(s.rising().words, s.counts)
    lowest = RawSamples(np.array([[-32768, 0], [32767, 1]], np.int16), 0, 1, 1.0, 0.0, 1.0, 0.0).rising(-1.0)
    np.testing.assert_array_equal(lowest.si_current(lowest.counts[:, 0]), [32768.0, -32767.0])


def test_a_depletion_is_recovered_under_a_common_transient() -> None:
    """20 pA over 270 nm below a transient of 0.35 nA in 128 hops: amplitude within 5 % after mode and null."""
    truth = made(128, noise=3e-12, transient=0.35e-9, depletion=20e-12)
    s = digitised(truth.current, truth.z)
    approaches = falls_of(found_in(truth.current, truth.z))
    section = bin_sections(s, approaches, np.array([50e-9]), 10e-9, 190)
    null = null_section(section, hyperbola_template(C), section.mode, truth.surface, 3e-12)
    profile = np.nanmean(drift_free(section, approaches, 3e-12) - null, axis=0)
    d = section.bottom[0] + section.centres

    def model(x: F64, amplitude: float, extent: float, rest: float) -> F64:
        return np.asarray(-amplitude * np.exp(-x / extent) * x / (x + C) + rest)

    (amplitude, extent, rest), _ = curve_fit(model, d, profile, p0=(1e-11, 1e-7, 0.0))
    assert amplitude == pytest.approx(20e-12, rel=0.05)
    assert extent == pytest.approx(270e-9, rel=0.05)
    # What is left far away is the mode's own bias: a fraction of the noise.
    assert abs(rest) < 1.5e-12
    raw = np.nanmean(section.masked(section.current), axis=0)
    assert np.ptp([np.nanmean(row) for row in section.masked(section.current)]) > 0.25e-9
    assert raw.shape == profile.shape


def test_geometry_alone_is_not_called_depletion() -> None:
    truth = made(64, noise=3e-12)
    s = digitised(truth.current, truth.z)
    approaches = Approaches(truth.fall, truth.stop, np.full(64, 3e-9), np.full(64, 0.02))
    section = bin_sections(s, approaches, np.array([50e-9]), 10e-9, 190)
    null = null_section(section, hyperbola_template(C), np.full(64, 3e-9), truth.surface, 3e-12)
    less_mode = section.masked(section.current - section.mode[:, None])
    with_null = np.nanmean(less_mode - null, axis=0)
    without = np.nanmean(less_mode, axis=0)
    assert without[0] < -30e-12
    assert abs(with_null[0]) < 1.5e-12
