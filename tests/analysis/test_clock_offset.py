"""Two clocks from the changes that both records show: known offsets come back within their u; else a named refusal."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.analysis.clock_offset import ClockOffset, NoOffset, clock_offset

F64 = NDArray[np.float64]


def pulses(t: F64) -> tuple[F64, F64]:
    """Three currents of unlike length and sign, in rests; potential with an ohmic drop."""
    current, charge = np.zeros_like(t), np.zeros_like(t)
    for begin, end, size in ((60.0, 180.0, -1e-4), (300.0, 500.0, 2e-4), (640.0, 700.0, -1e-4)):
        current[(t >= begin) & (t < end)] = size
        charge += size * (np.clip(t, begin, end) - begin)
    return 0.3 + 0.5 * charge + 100.0 * current, current


def voltammogram(t: F64) -> tuple[F64, F64]:
    """Triangles of 400 s with a peak, which begin in the middle of a sweep."""
    phase = (t + 130.0) % 400.0 / 400.0
    potential = 0.2 + 0.2 * np.abs(2.0 * phase - 1.0)
    current = 1e-4 * np.sign(phase - 0.5) + 1e-4 * np.exp(-(((potential - 0.3) / 0.03) ** 2))
    return np.asarray(potential), np.asarray(current)


def repeated(t: F64) -> tuple[F64, F64]:
    """A minute of current every two minutes, for ever."""
    current = np.asarray(-1e-4 * (t % 120.0 > 60.0))
    return np.asarray(0.3 + 100.0 * current), current


def rest(t: F64) -> tuple[F64, F64]:
    return np.full_like(t, 0.3), np.zeros_like(t)


def found(
    cell_of: object, offset: float, row: float, sample: float, drift: float = 0.0, length: float = 900.0, seed: int = 0
) -> ClockOffset | NoOffset:
    """The offset of two made records: the cell's has a row every `row` [s], the pipette's a sample every `sample`."""
    assert callable(cell_of)
    rng = np.random.default_rng(seed)
    cell_t = row * rng.uniform() + np.arange(0.0, length, row)
    potential, current = cell_of(cell_t)
    probe_t = np.arange(0.0, length - 100.0, sample)
    e, i = cell_of(probe_t * (1.0 + drift) + offset)
    # Slow drift of the conductance, response to potential and current, noise.
    signal = 1e-9 * (1.0 + 2e-3 * np.sin(probe_t / 300.0)) + 2e-10 * (e - 0.3) + 1e-7 * i
    signal = signal + 3e-12 * rng.normal(size=probe_t.size)
    cell = [potential + 1e-4 * rng.normal(size=cell_t.size), current + 1e-8 * rng.normal(size=cell_t.size)]
    return clock_offset(cell_t, cell, probe_t, [("pipette current", signal)])


@pytest.mark.parametrize("offset", [10.0, -37.3, 0.0, 85.0])
@pytest.mark.parametrize(("row", "sample"), [(1.0, 0.1), (0.5, 0.01), (5.0, 1.0), (1.0, 5.0)])
def test_a_known_offset_comes_back(offset: float, row: float, sample: float) -> None:
    answer = found(pulses, offset, row, sample)
    assert isinstance(answer, ClockOffset), answer
    assert answer.offset == pytest.approx(offset, abs=3.0 * answer.u)
    assert answer.u < 0.5 * max(row, sample) + 0.2
    assert answer.drift == 0.0
    assert answer.others == () or sample > 1.0  # rows so coarse leave a part of the record for a whole one


def test_its_u_is_that_of_its_scatter() -> None:
    """Over 24 records whose rows lie anywhere beside the steps: scatter over u within 0.4 and 2."""
    answers = [found(pulses, 10.0, 2.0, 0.2, seed=seed) for seed in range(24)]
    errors = np.array([(a.offset - 10.0) / a.u for a in answers if isinstance(a, ClockOffset)])
    assert errors.size == 24
    assert 0.3 < float(np.sqrt(np.mean(errors**2))) < 2.0


def test_a_drift_shows_in_a_long_record() -> None:
    def long(t: F64) -> tuple[F64, F64]:
        current = 1e-4 * ((t % 2700.0 > 900.0) * np.sign(np.sin(t**1.1 / 3000.0)))
        return np.asarray(0.3 + 100.0 * current), np.asarray(current)

    answer = found(long, 10.0, 1.0, 1.0, drift=200e-6, length=20_000.0)
    assert isinstance(answer, ClockOffset), answer
    assert answer.drift == pytest.approx(200e-6, abs=3.0 * answer.u_drift)
    assert 0.0 < answer.u_drift < 70e-6
    assert answer.offset == pytest.approx(10.0, abs=4.0 * answer.u)


def test_a_periodic_program_is_taken_where_the_records_overlap_and_says_so() -> None:
    answer = found(voltammogram, 10.0, 1.0, 0.1)
    assert isinstance(answer, ClockOffset), answer
    assert answer.offset == pytest.approx(10.0, abs=3.0 * answer.u)
    assert min(abs(abs(other - 10.0) - 400.0) for other in answer.others) < 5.0


def test_pulses_without_end_have_several_offsets() -> None:
    def within(t: F64) -> tuple[F64, F64]:
        return repeated(t)

    rng = np.random.default_rng(1)
    cell_t, probe_t = np.arange(0.0, 3000.0, 1.0), np.arange(0.0, 400.0, 0.5)
    signal = 1e-9 + 1e-7 * within(probe_t + 610.0)[1] + 3e-12 * rng.normal(size=probe_t.size)
    answer = clock_offset(cell_t, within(cell_t), probe_t, [("pipette current", signal)])
    assert isinstance(answer, NoOffset)
    assert answer.outcome == "several offsets"
    assert len(answer.candidates) > 1
    assert all(abs((c - 610.0 + 60.0) % 120.0 - 60.0) < 4.0 for c in answer.candidates)


@pytest.mark.parametrize("seed", range(6))
def test_nothing_in_common_is_a_refusal(seed: int) -> None:
    answer = found(rest, 10.0, 1.0, 0.1, seed=seed)
    assert isinstance(answer, NoOffset)
    assert answer.outcome == "no common change"


def test_a_drifting_pipette_beside_a_resting_cell_is_a_refusal() -> None:
    rng = np.random.default_rng(4)
    cell_t, probe_t = np.arange(0.0, 900.0, 1.0), np.arange(0.0, 800.0, 0.2)
    wander = np.cumsum(rng.normal(size=probe_t.size)) * 1e-13
    cell = [0.3 + 1e-4 * rng.normal(size=cell_t.size), 1e-8 * rng.normal(size=cell_t.size)]
    answer = clock_offset(cell_t, cell, probe_t, [("pipette current", 1e-9 + wander)])
    assert isinstance(answer, NoOffset), answer


def test_of_two_signals_the_better_one_is_taken() -> None:
    rng = np.random.default_rng(2)
    cell_t, probe_t = np.arange(0.0, 900.0, 1.0), np.arange(0.0, 800.0, 0.2)
    e, _ = pulses(probe_t + 10.0)
    noise = 1e-9 + 1e-11 * rng.normal(size=probe_t.size)
    answer = clock_offset(cell_t, pulses(cell_t), probe_t, [("pipette current", noise), ("pipette bias", 0.7 - e)])
    assert isinstance(answer, ClockOffset)
    assert answer.by == "pipette bias"
    assert answer.offset == pytest.approx(10.0, abs=3.0 * answer.u)


def test_records_too_short_to_overlap() -> None:
    t = np.arange(10.0)
    answer = clock_offset(t, pulses(t), t, [("pipette current", t)])
    assert isinstance(answer, NoOffset)
