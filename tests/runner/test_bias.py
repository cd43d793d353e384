"""The bias: what is followed under iR compensation, what is refused, and what the signs page promises."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from opsicm.core.facts import MEANING
from opsicm.experiment.controls import PotentialRamp
from opsicm.instruments.roles import CellReading, Rig
from opsicm.instruments.wiring import SIGNS, command_for, tip_potential_of
from opsicm.runner.bias import BiasTracker
from tests.fixtures.laboratory import RIG, TEXT, Laboratory
from tests.fixtures.scripted import MemoryRecorder, run

PARKED = TEXT[: TEXT.index("probe:")] + "probe:\n  - park: {height_um: 10}\nenvelope: {cell_V: [-0.6, 2.0]}\n"
SIGNS_PAGE = Path(__file__).parents[2] / "docs/explanations/signs.md"


def signal(kept: MemoryRecorder) -> float:
    """Slope of the pipette current against the cell current [1]: the signal near the sample."""
    i, pipette = kept.column("current"), kept.column("pipette_current")
    return float(np.polyfit(i[2:], pipette[2:], 1)[0])


def test_following_the_set_value_would_erase_the_signal_near_the_sample(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 97 % compensation: the reference goes to -(E_set + f i R_u); the pipette at 10 µm sees i R_u of the bath.
    actual = signal(run(laboratory, PARKED))
    plain = BiasTracker.update

    def set_value(tracker: BiasTracker, reading: CellReading) -> None:
        plain(tracker, reading if reading.set_point is None else replace(reading, potential=reading.set_point))

    monkeypatch.setattr(BiasTracker, "update", set_value)
    wrong = signal(run(laboratory, PARKED.replace("cell_V: [-0.6, 2.0]", "cell_V: [-0.6, 2.0], bias_mV: 1000")))
    assert actual < 0.0, "lithiation (negative) raises the pipette current"
    assert abs(wrong) < 0.1 * abs(actual)


def test_a_bias_too_far_off_its_target_stops_the_run(laboratory: Laboratory) -> None:
    kept = run(laboratory, TEXT.replace("cell_V: [-0.6, 2.0]", "cell_V: [-0.6, 2.0], bias_mV: 0.01"))
    assert kept.ending is not None
    assert "mV off its target; envelope.bias_mV is 0.01" in str(kept.ending.error)


def test_a_bias_off_its_target_for_long_stops_a_run_that_does_not_hop(laboratory: Laboratory) -> None:
    kept = run(laboratory, PARKED.replace("cell_V: [-0.6, 2.0]", "cell_V: [-0.6, 2.0], bias_mV: 0.01"))
    assert kept.ending is not None
    assert "mV off its target; envelope.bias_mV is 0.01" in str(kept.ending.error)


@pytest.mark.parametrize(
    "probe",
    ["hop: {at_um: [0, 0], amplitude_nm: 2000, fall_nm_per_ms: 30, setpoint_pct: 2.0}", "park: {height_um: 10}"],
)
def test_a_cut_off_lets_the_potential_jump_and_no_hop_is_in_flight(laboratory: Laboratory, probe: str) -> None:
    """2 mA to 0.1 V, whose own drop is 280 mV: nobody knows the instant before; the current would hide the surface."""
    rest, notes = "  - rest: {for_s: 5}\n", []
    head = TEXT[: TEXT.index("specimen:")]
    # The potential recovers within 0.4 s: chance decides where in it a row falls, and whether that is beyond the limit.
    for mA in (1.85, 1.9, 1.95, 2.0, 2.05):
        current = f"  - constant_current: {{current_mA: -{mA}, until: {{potential_V: 0.1}}}}\n"
        text = f"{head}specimen: {{loading_mg_cm2: 4.4}}\ncell:\n{rest}{current}{rest}probe:\n  - {probe}\n"
        kept = run(laboratory, text)
        assert kept.ending is not None
        assert kept.ending.outcome == "completed", kept.ending.error
        assert np.max(np.diff(kept.column("potential"))) > 0.1, "it has jumped"
        notes += kept.kinds("quality")
        if probe.startswith("hop"):
            hops = kept.hops_of("probe[0]")
            assert hops.size > 50
            assert np.max(np.abs(hops["bias_residual"])) < 0.01
    if not probe.startswith("hop"):
        assert notes
        assert all("the cell's potential has jumped since the last reading" in note.data["message"] for note in notes)
        assert max(note.data["residual_V"] for note in notes) > 0.1


def test_the_range_of_the_command_is_checked_during_a_run(laboratory: Laboratory) -> None:
    def narrow(rig: Rig) -> None:
        type(rig.amplifier).command_range  # noqa: B018 - it is a property, and it is this one that is narrowed
        rig.amplifier._range = (0.35, 1.0)  # type: ignore[attr-defined]

    kept = run(laboratory, change=narrow)
    assert kept.ending is not None
    assert re.search(r"V_tip - E is 0\.3\d\d V; the amplifier reaches 0.35 … 1 V", str(kept.ending.error))


def test_the_signs_page_says_what_the_table_says(laboratory: Laboratory) -> None:
    page = SIGNS_PAGE.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([a-z][^|]*?) \| ([^|]*?) \|$", page, re.MULTILINE))
    assert "**negative lithiates**" in rows["cell current"]
    assert rows["cell potential"].replace("⁺", "+") == SIGNS["cell_potential"]
    assert rows["pipette current"] == SIGNS["pipette_current"].removeprefix("positive ")
    assert rows["z"] == SIGNS["z"].removeprefix("positive is ")
    assert MEANING["cell_current"][2] in SIGNS["cell_current"]
    # V_cmd = V_tip − E, and the wire at V_cmd + E.
    assert "V_cmd = V_tip − E" in page
    assert command_for(0.7, 1.7) == pytest.approx(0.7 - 1.7)
    assert tip_potential_of(-1.0, 1.7) == pytest.approx(-1.0 + 1.7)
    # "While lithiating … reads more current, the closer the more", and at once.
    steps = []
    for height in (10, 1000):
        cell = "  - rest: {for_s: 2}\n  - constant_current: {current_mA: -0.1, until: {for_s: 2}}\n"
        text = PARKED[: PARKED.index("cell:")] + f"cell:\n{cell}probe:\n  - park: {{height_um: {height}}}\n"
        kept = run(laboratory, text)
        t, current = kept.column("t_ns") * 1e-9, kept.column("pipette_current")
        steps.append(current[t > 2.2].mean() - current[(t > 0.8) & (t < 1.9)].mean())
    assert steps[0] > steps[1] > 0.0


def test_a_ramp_is_short_after_a_change_of_control(laboratory: Laboratory) -> None:
    seen: list[Rig] = []
    run(laboratory, PARKED.replace("rate_mV_s: 8", "rate_mV_s: 400"), change=seen.append)
    rig = seen[0]
    tracker = BiasTracker(rig.amplifier, rig.clock, 0.7, "common", 0.1)
    reading = rig.potentiostat.read()
    tracker.control_changed(PotentialRamp(reading.potential), rig.clock.now_ns())
    assert tracker.ramp_duration_ns == 100_000_000
    assert tracker.awaits_settled_reading()


def test_the_residual_of_a_late_reading_is_evaluated_at_its_own_time(laboratory: Laboratory) -> None:
    """At 400 mV/s a reading 80 ms late is 32 mV away from the present command, and the bias is right all the same."""
    text = PARKED.replace("rate_mV_s: 8", "rate_mV_s: 400").replace("ir_compensation_pct: 97", "ir_compensation_pct: 0")
    kept = run(laboratory, text, rig=RIG.replace("initial_V: 0.4", "initial_V: 0.4, latency_ms: 80"))
    assert kept.ending is not None
    assert kept.ending.outcome == "completed"
    residual = np.abs(kept.column("bias_residual"))[2:]
    assert residual.size > 10
    assert residual.max() < 2e-3


def test_a_clock_that_runs_fast_does_not_move_the_bias(laboratory: Laboratory) -> None:
    """2 % fast, the stamps are 0.1 s ahead after 5 s: taken at their word at 400 mV/s they would shift it by 40 mV."""
    text = PARKED.replace("rate_mV_s: 8", "rate_mV_s: 400").replace("ir_compensation_pct: 97", "ir_compensation_pct: 0")
    text += "twin: {faults: [{fault: clock_skew, at_s: 0, skew_ppm: 20000}]}\n"
    kept = run(laboratory, text)
    residual = np.abs(kept.column("bias_residual"))[2:]
    warnings = [fact for fact in kept.facts if fact.kind == "quality" and "runs fast" in str(fact.data)]
    assert len(warnings) == 1
    assert residual.max() < 2e-3


def test_two_readings_a_moment_apart_give_no_slope(laboratory: Laboratory) -> None:
    """Noise of 20 µV on readings 5 ms apart would be a ramp of 4 mV/s; 20 ms after the first there is a slope."""
    seen: list[Rig] = []
    run(laboratory, PARKED, change=seen.append)
    rig = seen[0]
    first = rig.potentiostat.read()
    commanded: list[float] = []
    plain = rig.amplifier.command

    def command(volts: float, slope: float = 0.0) -> None:
        commanded.append(slope)
        plain(volts, slope)

    rig.amplifier.command = command  # type: ignore[method-assign]
    tracker = BiasTracker(rig.amplifier, rig.clock, 0.7, "common", 0.1)
    for after_ms, potential in ((0, 0.4), (5, 0.40002), (20, 0.40004)):
        tracker.update(replace(first, t_ns=first.t_ns + after_ms * 1_000_000, potential=potential, cut_off=False))
    assert commanded[:2] == [0.0, 0.0]
    assert commanded[2] == pytest.approx(-2e-3)
