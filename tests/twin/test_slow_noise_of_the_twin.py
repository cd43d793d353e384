"""What the twin's instruments show of slow noise: Allan deviation of a parked current, wander of the height of hops."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from opsicm.cli.rigs import load_rig, prepare
from opsicm.experiment import rig_file as presets_of
from opsicm.experiment.controls import CellControl, ConstantCurrent, OpenCircuit, PotentialRamp
from opsicm.instruments.roles import CellReading, Rig
from opsicm.physics.slow_noise import ReferenceDrift, SlowNoise, random_walk_level
from opsicm.twin.trajectory import CellState
from tests.fixtures.laboratory import RIG, Laboratory
from tests.fixtures.rig_contract import plan

PRESETS = Path(presets_of.__file__).parents[1] / "presets"
TWO_ELECTRODES = """\
opsicm: 1
title: two electrodes in a bath
rig: twin/graphite
pipette: {bias_V: 0.7, fill_M: 1.0}
cell:
  - open_circuit: {for_s: 200}
probe:
  - park: {height_um: 100}
envelope: {cell_V: [-0.1, 4.0], pipette_nA: 20}
"""
QUIET = "noise: {amplifier_fA_rtHz: 15, height_nm: 0.3}"


def twin(laboratory: Laboratory, noise: str) -> Rig:
    experiment = laboratory.experiment(rig=RIG.replace(QUIET, f"noise: {{{noise}}}"))
    rig = prepare(experiment, load_rig(experiment, None), 1, lambda _: None).rig
    rig.coarse_stage.move_to(rig.hop_controller.start_height)
    rig.amplifier.command(0.7 - rig.potentiostat.read().potential)
    return rig


def read_each(rig: Rig, seconds: float, count: int) -> np.ndarray:
    """Readings of the amplifier [A], `seconds` apart, high above the surface."""
    rig.coarse_stage.move_to(1e-4)
    rig.clock.wait_until(rig.clock.now_ns() + 10**9)
    currents = []
    for _ in range(count):
        rig.clock.wait_until(rig.clock.now_ns() + round(seconds * 1e9))
        currents.append(rig.amplifier.read()[0])
    return np.array(currents)


def test_a_parked_current_flickers_as_stated(laboratory: Laboratory) -> None:
    """White noise of a reading is 6e-5 of the current: what is left over 2 s is the flicker, sqrt(2 ln 2) of its level.

    Points, not means: their differences have no filter, so the flicker's own spectrum is summed up to 20 Hz.
    """
    current = read_each(twin(laboratory, "pipette_flicker_ppm: 300"), 0.5, 400)
    assert np.std(read_each(twin(laboratory, "pipette_flicker_ppm: 0"), 0.5, 40)) / current[0] < 8e-5
    means = current.reshape(-1, 4).mean(axis=1) / current.mean()
    # 99 differences scatter by 8 %; a level low by √2, one-sided against two-sided, would be 29 % off.
    assert np.sqrt(0.5 * np.mean(np.diff(means) ** 2)) == pytest.approx(
        300e-6 * math.sqrt(2.0 * math.log(2.0)), rel=0.2
    )


def test_heights_of_hops_wander_with_what_holds_the_pipette(laboratory: Laboratory) -> None:
    """A surface at rest, and contacts that go down as far as the pipette's holder goes up: by 30 nm rms in a minute."""
    rig = twin(laboratory, "height_nm: 0, height_wander_nm: 30")
    world = rig.hop_controller.world  # type: ignore[attr-defined]
    heights, true = [], []
    minutes = 60 * 10**9 * np.arange(400)
    # 399 steps scatter by 4 %, and the octaves' sum is within 5 % of its law.
    assert np.std(np.diff(world.coarse_heights(minutes))) == pytest.approx(30e-9, rel=0.12)
    for segment in range(1, 7):
        hops = replace(plan(2), segment=segment)
        records = rig.hop_controller.run(hops, lambda: False).hops
        heights.append(records["z_stop"][-1])
        true.append(world.coarse_z(int(records["t_ns"][-1])))
        rig.clock.wait_until(rig.clock.now_ns() + 20 * 10**9)
    # Five steps over 20 s and more, of 17 nm each, are what the heights have to show beyond their noise.
    assert np.ptp(true) > 10e-9
    assert np.std(np.array(heights) + np.array(true)) < 1.5e-9  # the current's noise is 0.6 nm of a height


# -- the reference electrode ------------------------------------------------------------------------------------------

PER_S = 1e-5  # [V/s]: 36 mV/h, so that half a minute shows it


def states_of(rig: Rig, control: CellControl, seconds: float = 25.0) -> tuple[CellState, CellReading, float]:
    """(state, reading, pipette current without noise [A]) after so long under `control`, the command as it was."""
    world = rig.hop_controller.world  # type: ignore[attr-defined]
    rig.coarse_stage.move_to(1e-4)
    rig.clock.wait_until(10**9)
    rig.potentiostat.apply(control, 10**9)
    rig.clock.wait_until(10**9 + round(seconds * 1e9))
    state = world.state_at(world.now_ns)
    return state, rig.potentiostat.read(), world.bulk_current(state)


@pytest.mark.parametrize("slope", [0.0, -8e-3])
def test_a_reference_that_drifts_is_a_program_that_drifts_the_other_way(laboratory: Laboratory, slope: float) -> None:
    """What is regulated against shows d too much: the interface follows the program less d, the reading the program."""
    begun = 1.0 * PER_S
    drifts = twin(laboratory, "reference_drift_mV_h: 36, amplifier_fA_rtHz: 15, height_nm: 0.3")
    state, reading, pipette = states_of(drifts, PotentialRamp(0.4, slope))
    other, other_reading, other_pipette = states_of(
        twin(laboratory, "amplifier_fA_rtHz: 15, height_nm: 0.3"), PotentialRamp(0.4 - begun, slope - PER_S)
    )
    d = 26.0 * PER_S
    assert state.reference_error == pytest.approx(d, rel=1e-9)
    assert state.set_point == pytest.approx(0.4 + 25.0 * slope, abs=1e-9)
    assert reading.potential - other_reading.potential == pytest.approx(d, abs=5e-5)  # noise of both, 11 µV rms each
    assert state.potential - d == pytest.approx(other.potential, abs=1e-7)
    # The knots of the drift cut the cell's steps elsewhere.
    assert state.current == pytest.approx(other.current, rel=1e-3, abs=1e-9)
    assert pipette == pytest.approx(other_pipette, rel=1e-5)


def test_a_cell_at_open_circuit_or_constant_current_does_not_see_its_reference(laboratory: Laboratory) -> None:
    for control in (OpenCircuit(), ConstantCurrent(-1e-5)):
        drifts, _, pipette = states_of(twin(laboratory, "reference_drift_mV_h: 36"), control)
        other, _, other_pipette = states_of(twin(laboratory, "reference_drift_mV_h: 0"), control)
        d = 26.0 * PER_S
        assert drifts.potential - other.potential == pytest.approx(d, rel=1e-4)
        assert drifts.current == pytest.approx(other.current, rel=1e-9, abs=1e-15)
        # The command, which was set at time 0, holds the wire against ground: the specimen's potential carries it.
        assert pipette == pytest.approx(other_pipette, rel=1e-9)


def test_with_two_electrodes_the_bias_is_short_by_what_the_reference_shows_too_much(laboratory: Laboratory) -> None:
    calibration = (PRESETS / "twin-calibration.yaml").read_text(encoding="utf-8")
    currents = []
    for rate in (0, 36):
        rig_text = calibration.replace("reference_wander_uV: 50", f"reference_drift_mV_h: {rate}")
        assert rig_text != calibration
        experiment = laboratory.experiment(TWO_ELECTRODES, rig_text)
        rig = prepare(experiment, load_rig(experiment, None), 1, lambda _: None).rig
        rig.amplifier.command(0.7)
        rig.clock.wait_until(100 * 10**9)
        world = rig.hop_controller.world  # type: ignore[attr-defined]
        currents.append(world.bulk_current(world.state_at(world.now_ns)))
    assert currents[1] / currents[0] - 1.0 == pytest.approx(-100.0 * PER_S / 0.7, rel=1e-6)


def test_a_walking_reference_is_the_same_however_time_is_cut(laboratory: Laboratory) -> None:
    """Half a minute at once and in uneven pieces; and at a knot, where the pieces meet, nothing jumps."""
    errors = []
    for piece in (30.0, 0.37):
        rig = twin(laboratory, "reference_wander_uV: 1000")
        world = rig.hop_controller.world  # type: ignore[attr-defined]
        rig.potentiostat.apply(PotentialRamp(0.4, -1e-3), 10**9)
        time = 0.0
        while time < 30.0:
            time = min(30.0, time + piece)
            rig.clock.wait_until(round(time * 1e9))
        errors.append(world.state_at(world.now_ns))
    assert abs(errors[0].reference_error) > 1e-5
    assert errors[0].reference_error == errors[1].reference_error
    assert errors[0].current == pytest.approx(errors[1].current, rel=1e-6)
    assert errors[0].potential == pytest.approx(errors[1].potential, abs=1e-9)


def test_a_reference_does_not_wait_for_a_run_that_is_resumed() -> None:
    whole = ReferenceDrift(PER_S, SlowNoise(0.0, random_walk_level(1e-4, 60.0), 1, 3))
    resumed = replace(whole, before_ns=123_456_789_000)
    for t_ns in (0, 5_000_000_000, 321_000_000_000):
        line, same = resumed.line(t_ns), whole.line(t_ns + 123_456_789_000)
        assert line.at(t_ns) == pytest.approx(same.at(t_ns + 123_456_789_000), abs=1e-15)
        assert line.since_ns <= t_ns < line.until_ns
        assert line.at(line.until_ns) == pytest.approx(resumed.line(line.until_ns).value, abs=1e-15)
