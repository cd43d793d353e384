"""A probe that outputs drive: the currents of the twin's own loop, its lag and its noise."""

from __future__ import annotations

import numpy as np
import pytest

from opsicm.cli.rigs import prepare
from opsicm.experiment.file import experiment_from_text
from opsicm.experiment.rig_file import read_rig, rig_path
from opsicm.instruments.roles import Rig
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve
from opsicm.twin.devices import TwinScanner
from opsicm.twin.driven_probe import DrivenProbe
from tests.fixtures.ni_bench import EXPERIMENT

DT = 1e-5  # [s]
N = 20_000
BIAS = -0.5  # [V] over a cell at 1.2 V: 0.7 V against Li/Li+


@pytest.fixture
def rig() -> Rig:
    return prepare(experiment_from_text(EXPERIMENT), read_rig(rig_path("twin/graphite")), 1, lambda _: None).rig


def driven(rig: Rig) -> DrivenProbe:
    assert isinstance(rig.scanner, TwinScanner)
    return DrivenProbe(rig.scanner.probe, 1)


def test_the_current_is_the_approach_curves_at_every_height(rig: Rig) -> None:
    probe, curve = driven(rig), approach_curve(Pipette())
    far = None
    for gap in (2e-6, 200e-9, 34e-9, 20e-9):
        z = np.full(N, gap - 3e-6)  # the coarse stage stands 3 µm above a flat place at height 0
        current, height = probe.sample(z, np.full(N, BIAS), 0.0, 0.0, DT)
        settled = current[N // 2 :].mean()
        far = settled / float(curve.relative_current(np.array(gap))) if far is None else far
        assert settled / far == pytest.approx(float(curve.relative_current(np.array(gap))), rel=5e-4)
        assert height[N // 2 :].mean() == pytest.approx(gap - 3e-6, abs=5e-11)
    assert far == pytest.approx(3.6e-9, rel=0.02)
    assert probe.closest_gap == pytest.approx(20e-9, abs=1e-10)


def test_the_scanner_lags_by_its_low_pass_and_the_amplifier_by_its_own(rig: Rig) -> None:
    probe = driven(rig)
    z, bias = np.zeros(N), np.full(N, BIAS)
    probe.sample(z, bias, 0.0, 0.0, DT)
    _, height = probe.sample(np.full(N, 1e-6), bias, 0.0, 0.0, DT)
    assert height[20] == pytest.approx(1e-6 * (1 - np.exp(-21 * DT / 200e-6)), abs=2e-9)
    before, _ = probe.sample(z, bias, 0.0, 0.0, DT)
    after, _ = probe.sample(z, 2.0 * bias, 0.0, 0.0, DT)
    jump = after[-1] - before[-1]
    share = (after[4] - before[-1]) / jump
    assert share == pytest.approx(1 - np.exp(-5 * DT * 2 * np.pi * 5e3), abs=0.02)


def test_its_noise_is_that_of_the_twins_own_samples(rig: Rig) -> None:
    probe = driven(rig)
    current, height = probe.sample(np.zeros(N), np.full(N, BIAS), 0.0, 0.0, DT)
    assert height.std() == pytest.approx(0.3e-9, rel=0.05)
    # At another rate the same noise behind the same low-pass.
    faster, _ = probe.sample(np.zeros(N), np.full(N, BIAS), 0.0, 0.0, DT / 4)
    assert faster[1000:].std() == pytest.approx(current[1000:].std(), rel=0.1)
    assert 0.5e-12 < current[1000:].std() < 10e-12


def test_the_world_feels_what_is_driven(rig: Rig) -> None:
    probe = driven(rig)
    probe.sample(np.full(N, -1e-6), np.full(N, 0.25), 5e-6, -2e-6, DT)
    assert rig.scanner.read_z() == pytest.approx(-1e-6, abs=1e-10)
    assert rig.amplifier.read()[1] == 0.25
    assert isinstance(rig.scanner, TwinScanner)
    assert (rig.scanner.probe.world.x, rig.scanner.probe.world.y) == (5e-6, -2e-6)
    rig.coarse_stage.move_to(1e-3)  # draws the twin's own piezo up: not the one that outputs hold
    probe.sample(np.full(N, -1e-6), np.full(N, 0.25), 0.0, 0.0, DT)
    assert rig.scanner.read_z() == pytest.approx(-1e-6, abs=1e-10)
