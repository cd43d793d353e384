"""Approaches with whatever was recorded beside them; traces that break, clog, saturate or spike; their truth known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.analysis.approach.results import approach_results
from opsicm.analysis.approach.trace import trace_results
from opsicm.analysis.result import Result
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve
from opsicm.results.evidence import Evidence
from opsicm.results.findings import finding_of
from opsicm.results.third_party import analyse_file

F64 = NDArray[np.float64]
BULK, REACH, STEP, RATE = 5e-9, 2e-9, 12.5e-9, 4000.0
HIGH, LOW = 5e-6, 100e-9


def down(high: float, low: float, step: float = STEP) -> F64:
    return np.arange(high, low, -step)


def up(low: float, high: float, step: float = 3.0 * STEP) -> F64:
    return np.arange(low, high, step)


def hops(count: int) -> F64:
    one = np.concatenate((np.full(20, 1.165e-6), down(1.165e-6, 0.165e-6), up(0.165e-6, 1.165e-6)))
    return np.tile(one, count)


def analysed(z: F64, folder: Path, setpoint: float | None = None, noise: float = 5e-4) -> list[Result]:
    current = BULK / (1.0 + REACH / z) * (1.0 + noise * np.random.default_rng(0).standard_normal(z.size))
    table = np.column_stack((np.arange(z.size) / RATE, 1e9 * current, 1e6 * z))
    path = folder / "record.txt"
    np.savetxt(path, table, header="t/s\tI/nA\tz/um", comments="", delimiter="\t", fmt="%.8g")
    return analyse_file(path, None, setpoint)


def named(results: list[Result]) -> dict[str, Result]:
    return {result.label: result for result in results}


APPROACH = down(HIGH, LOW)
AFTERWARDS = {
    "backstep": up(LOW, LOW + 0.3e-6, STEP),
    "one row after a jump": np.array([2.1e-6]),
    "backstep in coarse steps": np.arange(0.5e-6, 2.2e-6, 0.4e-6),
    "withdrawal": up(LOW, HIGH, STEP),
    "slow withdrawal": up(LOW, HIGH, STEP / 10.0),
    "fast withdrawal": up(LOW, HIGH, STEP * 10.0),
    "rest and backstep": np.concatenate((np.full(60, LOW), up(LOW, 0.5e-6))),
}


@pytest.mark.parametrize("what", AFTERWARDS)
def test_the_stop_is_the_lowest_z_whatever_comes_after(what: str, tmp_path: Path) -> None:
    alone = named(analysed(APPROACH, tmp_path))
    found = named(analysed(np.concatenate((APPROACH, AFTERWARDS[what])), tmp_path))
    height, distance = found["height at the stop"], found["distance at the stop"]
    assert height.value == pytest.approx(1e9 * float(APPROACH[-1]), abs=1e-3)
    assert distance.value == pytest.approx(alone["distance at the stop"].value or 0.0, abs=0.2 * (distance.u or 0.0))
    assert distance.value == pytest.approx(1e9 * float(APPROACH[-1]), abs=3.0 * (distance.u or 0.0))


def test_a_withdrawal_before_and_several_approaches_are_kept_apart(tmp_path: Path) -> None:
    first = named(analysed(np.concatenate((up(LOW, HIGH), APPROACH)), tmp_path))
    assert first["height at the stop"].value == pytest.approx(1e9 * float(APPROACH[-1]), abs=1e-3)
    two = named(analysed(np.concatenate((APPROACH, up(LOW, HIGH), APPROACH)), tmp_path))
    assert two["curve 2: height at the stop"].value == pytest.approx(1e9 * float(APPROACH[-1]), abs=1e-3)
    three = named(analysed(np.tile(APPROACH, 3), tmp_path))
    assert three["curve 3: distance at the stop"].outcome == "ok"
    assert three["median distance at the stop"].value == pytest.approx(100.0, abs=10.0)


@pytest.mark.parametrize(
    ("record", "count", "approaches"),
    [
        (np.concatenate((down(30e-6, 1.165e-6), hops(12))), 12, 1),
        (np.concatenate((down(30e-6, 0.165e-6), up(0.165e-6, 1.165e-6), hops(12))), 12, 1),
        (np.concatenate((down(30e-6, 1.165e-6), hops(12), up(1.165e-6, 30e-6))), 12, 1),
        (np.tile(np.concatenate((down(30e-6, 1.165e-6), hops(12), up(1.165e-6, 30e-6))), 2), 24, 2),
        (hops(12), 12, 0),
    ],
    ids=["rest between", "contact first", "withdrawn at the end", "twice", "hops alone"],
)
def test_an_approach_followed_by_hops_is_an_approach_and_hops(
    record: F64, count: int, approaches: int, tmp_path: Path
) -> None:
    results = analysed(record, tmp_path, 0.01)
    found = named(results)
    assert found["hops"].value == count
    assert found["height_at_stop"].value == pytest.approx(169.0, abs=10.0)
    assert found["height_scatter"].value == pytest.approx(3.0, abs=6.0)
    assert found["height_scatter"].u
    distances = [r for r in results if r.name == "distance at the stop"]
    assert len(distances) == approaches
    ends = {round(r.value or 0.0) for r in results if r.name == "height at the stop"}
    assert ends <= {1165, 1177, 165}


def test_what_the_hyperbola_does_not_follow_is_in_u() -> None:
    """A finite-element curve, whose hyperbola is 10 to 30 nm off: at most two u away."""
    curve = approach_curve(Pipette())
    for lowest in (20e-9, 35e-9, 100e-9):
        z = np.arange(2e-6, lowest, -10e-9)
        noise = 1e-4 * np.random.default_rng(1).standard_normal(z.size)
        found = named(approach_results(z, 1e-9 * (curve.relative_current(z) + noise)))["surface position"]
        assert found.value is not None
        assert found.u is not None
        assert abs(found.value) < 2.0 * found.u
        assert "in u" in found.method


# Traces of hops whose tip changes.

COUNT, PLATEAU, PER_SECOND, FALL, SETPOINT = 120, 200, 20_000.0, 30e-6, 0.02
K = np.arange(COUNT)


def trace(
    reference: F64,
    noise: float = 2e-12,
    limit: float | None = None,
    plateau_spikes: bool = False,
    fall_spikes: bool = False,
    noise_of_z: float = 0.0,
) -> tuple[F64, F64, F64]:
    """(t, current, z) of hops with these references [A]: I = I0/(1 + C/z), C = 3 nm, 1 µm down at 30 nm/ms."""
    rng = np.random.default_rng(7)
    lowest = 3e-9 * (1.0 - SETPOINT) / SETPOINT - FALL * 0.6e-3
    fall = 1e-6 - FALL / PER_SECOND * np.arange(1, round((1e-6 - lowest) / FALL * PER_SECOND) + 1)
    rise = np.arange(fall[-1], 1e-6, 4.0 * FALL / PER_SECOND)[1:]
    one = np.concatenate((np.full(PLATEAU, 1e-6), fall, rise))
    z = np.tile(one, reference.size)
    current = np.repeat(reference, one.size) / (1.0 + 3e-9 / z) + noise * rng.standard_normal(z.size)
    starts = one.size * np.arange(reference.size)
    if plateau_spikes:
        current[starts[::3] + PLATEAU - 20] *= 9.0
    if fall_spikes:
        current[starts[1::3] + PLATEAU + 150] *= 0.9
    if limit is not None:
        current = np.minimum(current, limit)
    z = z + noise_of_z * rng.standard_normal(z.size)
    return np.arange(z.size) / PER_SECOND, current, z


def results_of(*args: F64, **kwargs: float | bool) -> list[Result]:
    t, current, z = trace(*args, **kwargs)  # type: ignore[arg-type]
    return trace_results(current, z, t, SETPOINT)


STEADY = np.full(COUNT, 1e-9)


@pytest.mark.parametrize(("ratio", "word"), [(2.2, "broke"), (0.3, "clogged")])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_tip_that_breaks_or_clogs_half_way_is_two_states(ratio: float, word: str, sign: float) -> None:
    results = results_of(sign * 1e-9 * np.where(K < 60, 1.0, ratio))
    found = named(results)
    assert results[0].name == "reference_jump"
    assert found["reference_jump"].value == pytest.approx(ratio, rel=2e-3)
    assert found["reference_jump"].flags["hop"] == 61
    time = found["reference_jump_time"]
    assert time.value == pytest.approx(60.5 * (found["hop_period"].value or 0.0) * 1e-3, abs=0.05)
    for state, reference in ((1, 997.0), (2, 997.0 * ratio)):
        level = found[f"reference_current_state_{state}"]
        assert level.value == pytest.approx(sign * reference, abs=0.5)
        assert level.u is not None
        assert level.u < 0.2
    assert "reference_current" not in found
    sentence = finding_of(Evidence(tuple(results))).sentences[0]
    assert "at hop 61" in sentence
    assert word in sentence
    assert "not averaged" in sentence


def test_a_drift_is_one_state_and_its_level_says_so() -> None:
    for reference in (1e-9 * (1.0 + 0.2 * K / COUNT), 1e-9 * (1.0 - 0.5 * np.clip((K - 30) / 60.0, 0.0, 1.0))):
        results = results_of(reference)
        found = named(results)
        assert "reference_jump" not in found
        drift, level = found["reference_drift"], found["reference_current"]
        assert level.u is not None
        assert drift.value is not None
        assert level.u > 0.05 * abs(drift.value) / 100.0 * 1000.0
        assert any("its median describes neither" in s for s in finding_of(Evidence(tuple(results))).sentences)


def test_spikes_are_neither_a_stop_nor_a_reference() -> None:
    plain = named(results_of(STEADY))
    for spiked in (results_of(STEADY, plateau_spikes=True), results_of(STEADY, fall_spikes=True)):
        found = named(spiked)
        assert "reference_jump" not in found
        for name in ("height_at_stop", "overshoot", "overshoot_time", "reference_current", "height_scatter"):
            u = plain[name].u
            assert u is not None
            assert found[name].value == pytest.approx(plain[name].value or 0.0, abs=u)


def test_overshoot_is_in_nanometres_and_milliseconds() -> None:
    found = named(results_of(STEADY))
    length, time = found["overshoot"], found["overshoot_time"]
    assert (length.unit, time.unit) == ("nm", "ms")
    # The pipette goes on at 30 nm/ms.
    assert length.value == pytest.approx(30.0 * (time.value or 0.0), abs=1.5 + 3.0 * (length.u or 0.0))


def test_saturation_is_said_from_the_first_saturated_hop() -> None:
    results = results_of(1e-9 * np.where(K < 60, 1.0, 2.2), limit=1.5e-9)
    found = named(results)
    assert found["hops"].flags["first_saturated_hop"] == 61
    assert found["hops"].flags["saturated_hops"] == 60
    assert found["height_scatter_state_2"].outcome == "saturated"
    assert found["reference_current_state_1"].value == pytest.approx(997.0, abs=0.5)
    assert any("From hop 61 on" in s for s in finding_of(Evidence(tuple(results))).sentences)
    (every,) = results_of(STEADY, limit=0.99e-9)
    assert every.outcome == "saturated"


def test_a_folder_of_curves_and_a_current_alone_are_looked_through_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    z = np.arange(3e-6, 60e-9, -20e-9)
    for k in range(1, 21):
        ohm = 100.0 if k <= 12 else 60.0
        R = ohm * (1.0 + 2e-9 / z) * (1.0 + 3e-4 * rng.standard_normal(z.size))
        rows = "".join(f"{1e6 * a:.4f}\t{b:.4f}\t{1e5 / b:.3f}\r\n" for a, b in zip(z, R, strict=True))
        (tmp_path / f"scan_{k}.ac").write_text("Z-Pos[um]|R[MOhm]|I[pA]\r\n" + rows.replace(".", ","))
    results = analyse_file(tmp_path)
    found = named(results)
    assert results[0].name == "resistance_jump"
    assert results[0].flags["curve"] == 13
    assert results[0].value == pytest.approx(0.6, abs=0.005)
    assert found["median pipette resistance_state_1"].value == pytest.approx(100.0, abs=0.5)
    assert found["median pipette resistance_state_2"].value == pytest.approx(60.0, abs=0.5)
    assert "broke" in finding_of(Evidence(tuple(results))).sentences[0]
    t = np.arange(0.0, 50.0, 1e-2)
    current = 1e3 * np.where(t < 30.0, 1.0, 0.4) + rng.standard_normal(t.size)
    path = tmp_path / "current.txt"
    np.savetxt(path, np.column_stack((t, current)), header="t/s\tI/pA", comments="", delimiter="\t")
    found = named(analyse_file(path))
    assert found["current_jump"].value == pytest.approx(0.4, abs=0.002)
    assert found["current_jump_time"].value == pytest.approx(30.0, abs=0.02)
    assert found["pipette_current_state_2"].value == pytest.approx(400.0, abs=0.3)
