"""What was controlled when: simulated records of every kind of program, and currents that nobody controlled."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.analysis.cell.charge import charge_of
from opsicm.analysis.cell.control import constant_currents, controlled_parts
from opsicm.analysis.cell.plausibility import current_sign
from opsicm.analysis.cell.record_results import RecordExtras, record_looks, record_results
from opsicm.analysis.cell.unrecorded import digits_of, overloads, unrecorded
from opsicm.analysis.result import Result
from tests.fixtures.synthetic_cells import Record, Step, noisy, simulate

F64 = NDArray[np.float64]


def cycles(number: int, rate: float = 5e-3, low: float = 0.0, high: float = 1.0) -> list[Step]:
    return [Step("sweep", to=to, rate=rate) for _ in range(number) for to in (high, low)]


PROGRAMS = {
    "constant current": [Step("current", 3600, -1e-4)],
    "between rests": [Step("rest", 600), Step("current", 3600, -1e-4), Step("rest", 1800)],
    "cycles of charge": [Step("current", 9000, 2e-4, until=0.75), Step("current", 9000, -2e-4, until=0.15)] * 3,
    "charge and hold": [Step("current", 20000, 2e-4, until=0.72), Step("potential", 300, to=0.72)],
    "discharge and hold": [Step("rest", 300), Step("current", 20000, -2e-4, until=0.2), Step("potential", 300, to=0.2)],
    "titration": [Step("rest", 300)] + [Step("current", 300, -1e-3, rows=60), Step("rest", 1200, rows=60)] * 6,
    "levels": [Step("current", 300, level, rows=60) for level in (1e-4, 2e-4, 3e-4)],
    "voltammogram from rest": [
        Step("rest", 60, rows=30),
        *(Step("sweep", to=to, rate=5e-3) for to in (1.0, -0.2, 1.0, 0.4)),
    ],
    "three cycles": cycles(3),
    "two rates": cycles(2) + cycles(2, 20e-3),
    "linear sweep": [Step("sweep", to=1.0, rate=1e-3)],
    "linear sweep between rests": [Step("rest", 100), Step("sweep", to=1.0, rate=1e-3), Step("rest", 500)],
    "hold after a rest": [Step("rest", 60, rows=60), Step("potential", 1200, to=0.6, rows=400)],
    "staircase": [Step("rest", 60, rows=30)] + [Step("potential", 600, to=0.43 - 0.02 * k, rows=60) for k in range(8)],
    "sweep and hold": [
        Step("sweep", to=0.8, rate=5e-3),
        Step("potential", 600, to=0.8),
        Step("sweep", to=0.2, rate=5e-3),
    ],
    "current and voltammogram": [Step("current", 1800, -1e-4), Step("rest", 300, rows=30), *cycles(2)],
    "pulse and slow current": [
        Step("rest", 100, rows=20),
        Step("current", 10, -3e-2, rows=20),
        Step("rest", 300, rows=20),
        Step("current", 20000, -2e-5),
        Step("rest", 100, rows=10),
    ],
}
# Noise of the current as a share of it, of the potential [V], the last digit [A], a step's first row at its start.
QUALITIES = {
    "clean": (0.0, 0.0, 0.0, False),
    "clean, first row at once": (0.0, 0.0, 0.0, True),
    "1 %": (0.01, 1e-4, 0.0, False),
    "4 %": (0.04, 2e-4, 0.0, True),
}


def found(record: Record, sign: float = 1.0) -> list[tuple[str, int, int]]:
    parts = controlled_parts(record.t, record.potential, sign * record.current)
    return [(part.kind, part.first, part.stop) for part in parts]


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_part_is_what_was_programmed(name: str, quality: str, sign: float) -> None:
    of_current, of_potential, digits, shared = QUALITIES[quality]
    record = noisy(simulate(PROGRAMS[name], shared=shared), 3, of_current, of_potential, digits)
    parts = found(record, sign)
    assert [kind for kind, _, _ in parts] == [one.kind for one in record.truth]
    for (_, first, stop), one in zip(parts, record.truth, strict=True):
        assert abs(first - one.first) <= 2
        assert abs(stop - one.stop) <= 2


@pytest.mark.parametrize("name", ["between rests", "cycles of charge", "titration"])
def test_rows_that_the_potential_triggers_are_no_gaps(name: str) -> None:
    record = simulate(PROGRAMS[name], trigger=5e-3)
    assert not unrecorded(record.t, record.potential, record.current).any()
    assert [kind for kind, _, _ in found(record)] == [one.kind for one in record.truth]


@pytest.mark.parametrize("name", [n for n in PROGRAMS if n != "staircase"])
def test_charges_are_within_their_u(name: str) -> None:
    """Twenty records of each program under 2 % of noise: of 19 in 20 within 2 u, chance leaves 17 (one in 40)."""
    away = []
    for seed in range(20):
        record = noisy(simulate(PROGRAMS[name]), seed, 0.02, 1e-4)
        parts = controlled_parts(record.t, record.potential, record.current)
        for part, one in zip(parts, record.truth, strict=True):
            if one.kind != "rest":
                charge = charge_of(part, record.t, record.current)
                away.append(abs(charge.value - one.charge) / charge.u)
    assert np.mean(np.array(away) <= 2.0) >= 0.85
    assert max(away) < 4.0


def test_ten_per_cent_of_noise_leaves_a_constant_current_one() -> None:
    for seed in range(20):
        record = noisy(simulate(PROGRAMS["between rests"]), seed, 0.1, 1e-3)
        assert [kind for kind, _, _ in found(record)] == ["rest", "current", "rest"], seed


def test_what_changes_gradually_was_not_controlled() -> None:
    """A constant load, a constant power, a slow modulation of impedance: no capacity, no voltammogram."""
    t = np.arange(0.0, 36000.0, 30.0)
    q = 3e-4 * t
    e = 3.7 - 0.03 * q + 0.05 * np.exp(-q) - 0.8 * np.exp((q - 10.8) / 0.5)
    for current in (-e / 1e4, -1e-3 / e):
        results = record_results(t, e, current, lithium=False)
        assert [r.name for r in results if r.value is not None] == ["charge"]
        assert next(r.value for r in results) == pytest.approx(float(np.trapezoid(current, t)) / 3.6, rel=1e-3)


def supercapacitor(noise: float, hump: float = 0.1, delay: float = 1.0) -> tuple[F64, F64, F64]:
    """Three cycles of 50 mF at 20 mV/s from 0 to 1 V, with the delay of its resistance and a hump at 0.5 V."""
    t = np.arange(0.0, 300.0, 0.25)
    phase = t % 100.0
    up = phase < 50.0
    e = np.where(up, 0.02 * phase, 2.0 - 0.02 * phase)
    since = np.where(up, phase, phase - 50.0)
    size = 1e-3 * (1.0 - 2.0 * np.exp(-since / delay) + hump * np.exp(-0.5 * ((e - 0.5) / 0.08) ** 2))
    current = np.where(up, size, -size)
    return t, e, current * (1.0 + noise * np.random.default_rng(1).standard_normal(t.size))


def named(results: list[Result]) -> dict[str, Result]:
    return {result.label: result for result in results}


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
def test_a_supercapacitor_has_a_voltammogram(noise: float) -> None:
    results = named(record_results(*supercapacitor(noise), lithium=False))
    assert results["cycles"].value == pytest.approx(3.0, abs=0.01)
    assert results["scan_rate"].value == pytest.approx(20.0, rel=1e-3)
    assert not any(name.startswith("capacity") for name in results)


def test_scan_rates_of_one_record_are_all_listed() -> None:
    results = named(record_results(*_columns(simulate(PROGRAMS["two rates"])), lithium=False))
    assert results["scan_rate_1"].value == pytest.approx(5.0, rel=1e-3)
    assert results["scan_rate_2"].value == pytest.approx(20.0, rel=1e-3)


def _columns(record: Record) -> tuple[F64, F64, F64]:
    return record.t, record.potential, record.current


def test_loops_with_hours_between_are_not_integrated() -> None:
    block = np.arange(0.0, 60.0)
    t = np.concatenate([block + 7200.0 * k for k in range(4)])
    rng = np.random.default_rng(2)
    for rise in (0.06, 0.0):
        e = np.concatenate([0.5 + 1e-3 * block + rise * k for k in range(4)]) + 1e-5 * rng.standard_normal(t.size)
        results = named(record_results(t, e, np.full(t.size, 1e-3), lithium=False))
        charges = [results[f"capacity_anodic_{k}"].value or 0.0 for k in (1, 2, 3, 4)]
        assert charges == pytest.approx([59.0 * 1e-3 / 3.6] * 4, rel=1e-3)
        assert "not integrated" in results["plausibility_1"].reason


def test_an_overload_is_a_row_that_the_potential_knows_nothing_of() -> None:
    record = simulate(PROGRAMS["between rests"])
    current = record.current.copy()
    current[300] = 1.0
    assert np.flatnonzero(overloads(record.potential, current)).tolist() == [300]
    real = record.potential.copy()
    real[300] -= 5.0  # the ohmic drop of a current that flowed
    assert not overloads(real, current).any()
    fault = record.potential.copy()
    fault[250] = 10.0
    assert np.flatnonzero(overloads(fault, record.current)).tolist() == [250]


def test_lists_keep_the_largest_and_say_how_many_there_were() -> None:
    steps = [Step("potential", 100, to=0.43 - 0.01 * k, rows=30) for k in range(20)]
    results = [r for r in record_results(*_columns(simulate(steps)), lithium=False) if r.name == "charge_hold"]
    assert len(results) == 12
    assert results[0].flags["holds_in_all"] == 20
    assert "20 holds in all, the 12 largest listed" in results[0].method


def test_the_sign_of_a_current_is_told_by_its_effect() -> None:
    for name in ("cycles of charge", "three cycles", "voltammogram from rest"):
        record = simulate(PROGRAMS[name])
        for sign, says in ((1.0, "as defined"), (-1.0, "turned")):
            parts = controlled_parts(record.t, record.potential, sign * record.current)
            assert current_sign(record.potential, sign * record.current, parts) == says
    record = simulate(PROGRAMS["cycles of charge"])
    size = np.abs(record.current)
    assert current_sign(record.potential, size, controlled_parts(record.t, record.potential, size)) == "magnitude"
    looks = record_looks(record.t, record.potential, size)
    assert [look.kind for look in looks] == ["sign of the current"]
    assert "magnitude" in looks[0].text


def test_time_in_another_unit_is_told_by_the_clock_and_by_what_a_person_sets() -> None:
    record = noisy(simulate([Step("rest", 100), Step("current", 36000, -1e-5), Step("rest", 100)]), 1, 0.01, 1e-5)
    for factor, unit in ((1e3, "in ms"), (1.0 / 60.0, "in min"), (1.0 / 3600.0, "in h"), (60.0, "not in min")):
        extras = RecordExtras(clock=1.7e9 + record.t)
        (look,) = [
            one
            for one in record_looks(factor * record.t, record.potential, record.current, extras)
            if one.kind == "unit of time"
        ]
        assert unit in look.text
    assert record_looks(record.t, record.potential, record.current, RecordExtras(clock=1.7e9 + record.t)) == []
    even = np.arange(0.0, 36000.0, 20.0)
    e, i = 0.5 - 1e-5 * even, np.full(even.size, -1e-4)
    for scale, unit in ((1.0 / 60.0, "min"), (1.0 / 3600.0, "h"), (1e3, "ms")):
        (look,) = record_looks(scale * even, e, i)
        assert look.kind == "unit of time"
        assert unit in look.text
    assert record_looks(even, e, i) == []


def test_time_that_restarts_or_is_negative_is_said() -> None:
    t = np.concatenate((np.arange(0.0, 50.0), np.arange(0.0, 50.0)))
    e, i = np.linspace(0.5, 0.4, 100), np.full(100, -1e-4)
    assert [look.kind for look in record_looks(t, e, i)] == ["time restarts"]
    assert record_results(t, e, i)[0].outcome == "reversed axis"
    assert [look.kind for look in record_looks(np.arange(-50.0, 50.0), e, i)] == ["negative time"]


def test_the_instrument_s_counter_is_compared() -> None:
    record = simulate(PROGRAMS["cycles of charge"])
    own = np.append(0.0, np.cumsum(0.5 * (record.current[1:] + record.current[:-1]) * np.diff(record.t)))
    agreeing = RecordExtras(counters={"(Q-Qo)/C": own})
    assert record_looks(*_columns(record), agreeing) == []
    (first, *_) = record_results(*_columns(record), lithium=False, extras=agreeing)
    assert "the instrument's own counter" in first.method
    (look,) = record_looks(*_columns(record), RecordExtras(counters={"Q/mAh": 3.6 * own}))
    assert look.kind == "counter"
    assert "'Q/mAh'" in look.text
    total = np.append(0.0, np.cumsum(np.abs(0.5 * (record.current[1:] + record.current[:-1])) * np.diff(record.t)))
    assert "accumulated" in [
        look.kind for look in record_looks(*_columns(record), RecordExtras(counters={"Capacity": total}))
    ]


def test_digits_are_those_that_rows_repeat() -> None:
    slow = np.round(np.linspace(0.0, 0.05, 200), 3)
    assert digits_of(slow) == pytest.approx(1e-3)
    assert digits_of(np.linspace(0.0, 1.0, 101)) == 0.0  # a sweep of 10 mV to a row
    assert digits_of(np.repeat([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 50)) == 0.0  # levels of a program


@pytest.mark.parametrize("noise", [0.0, 0.003, 0.02])
@pytest.mark.parametrize("second", [1.0, 1.3, -1.0])
def test_a_controlled_current_has_a_part_for_each_level_and_none_for_noise(noise: float, second: float) -> None:
    """A potentiostat's microampere on 50 µA: of 2000 rows some lie 4 sigma from the next."""
    rng = np.random.default_rng(11)
    level = 5e-5 * np.where(np.arange(2000) < 700, 1.0, second)
    parts = constant_currents(level + 5e-5 * noise * rng.standard_normal(level.size), 0, level.size)
    assert [(a, b) for a, b, _ in parts] == ([(0, 2000)] if second == 1.0 else [(0, 700), (700, 2000)])
    assert [value for *_, value in parts] == pytest.approx([5e-5, 5e-5 * second][: len(parts)], rel=5e-3)


def test_a_clipped_voltammogram_is_something_to_look_at_and_a_flat_one_is_not() -> None:
    e = np.concatenate([np.linspace(0.0, 1.0, 400), np.linspace(1.0, 0.0, 400)])
    t = np.arange(800, dtype=np.float64)
    direction = np.where(np.arange(800) < 400, 1.0, -1.0)
    flat = 2e-5 * direction
    peaked = flat + 1e-4 * direction * np.exp(-(((e - 0.5) / 0.05) ** 2))
    kinds = [
        {look.kind for look in record_looks(t, e, current)} for current in (flat, peaked, np.clip(peaked, -8e-5, 8e-5))
    ]
    assert ["clipped current" in found for found in kinds] == [False, False, True]


def test_noise_on_a_flat_potential_is_no_magnitude() -> None:
    rng = np.random.default_rng(1)
    t = np.arange(300.0)
    looks = record_looks(t, 3.4 - 1e-5 * t + 4e-3 * rng.standard_normal(t.size), np.full(t.size, -1e-2))
    assert not any("sign" in look.kind for look in looks)


@pytest.mark.parametrize("rows", [1, 4, 5])
def test_an_overload_of_several_rows_is_left_out(rows: int) -> None:
    t = np.arange(0.0, 7200.0, 20.0)
    e = np.where(t < 3600.0, 1.0 - 0.5 * t / 3600.0, 0.5 + 0.5 * (t - 3600.0) / 3600.0)
    i = np.where(t < 3600.0, -5e-5, 5e-5)
    i[100 : 100 + rows] = 1e-2
    assert int(overloads(e, i).sum()) == rows
    found = {r.label: r for r in record_results(t, e, i, lithium=False)}
    assert found["capacity_cathodic_1"].value == pytest.approx(-0.05, abs=3.0 * (found["capacity_cathodic_1"].u or 0.0))
