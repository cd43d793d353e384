"""What the twin's instruments show of slow noise: Allan deviation of a parked current, wander of the height of hops."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from opsicm.cli.rigs import load_rig, prepare
from opsicm.instruments.roles import Rig
from tests.fixtures.laboratory import RIG, Laboratory
from tests.fixtures.rig_contract import plan

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
