"""Two electrodes: wire against reference is the command, and two concentrations make a reversal potential."""

from __future__ import annotations

import numpy as np
import pytest

from opsicm.cli.rigs import load_rig, prepare
from opsicm.core.errors import OutsideDomain
from opsicm.experiment.controls import ConstantCurrent
from opsicm.experiment.rig_file import PRESETS
from opsicm.instruments.roles import Rig
from opsicm.twin.circuit import nodes
from tests.fixtures.laboratory import Laboratory

TEXT = """\
opsicm: 1
title: pipette voltammogram
rig: twin/graphite
pipette: {bias_V: 0.7, fill_M: 1.0}
electrolyte: {salt_M: 0.5}
specimen: {parameters: graphite-li-ec-dec-proportional}
cell:
  - open_circuit: {for_s: 10}
"""
RIG = (PRESETS / "twin-calibration.yaml").read_text(encoding="utf-8")


def twin(laboratory: Laboratory, text: str = TEXT, rig: str = RIG) -> Rig:
    experiment = laboratory.experiment(text, rig)
    return prepare(experiment, load_rig(experiment, None), 1, lambda _: None).rig


def current_at(rig: Rig, volts: float) -> float:
    rig.amplifier.command(volts)
    return float(np.mean([rig.amplifier.read()[0] for _ in range(50)]))


def test_the_wire_stands_at_the_command_and_the_specimen_floats() -> None:
    assert nodes(3.0, 0.7, "two_electrode").electrode_against_reference == 0.7
    assert nodes(3.0, 0.7, "two_electrode").specimen == 3.0
    assert nodes(3.0, 0.7, "common").electrode_against_reference == pytest.approx(3.7)


@pytest.mark.parametrize(
    ("electrodes", "factor"),
    # U of V_rev = U ln(c_in/c_out), in RT/F: Newman & Balsara, chapter 12; t+ = 0.3, TDF = 1.3 in the default set.
    [("lithium", 2 * 0.7 * 1.3), ("silver_chloride", (1 - 0.6) * 1.3), ("anion", -0.6 * 1.3)],
)
def test_the_voltammogram_is_a_line_through_the_reversal_potential(
    laboratory: Laboratory, electrodes: str, factor: float
) -> None:
    rig = twin(laboratory, rig=RIG.replace("electrodes: silver_chloride", f"electrodes: {electrodes}"))
    volts = np.array([-0.7, 0.0, 0.7])
    currents = np.array([current_at(rig, v) for v in volts])
    slope, intercept = np.polyfit(volts, currents, 1)
    reversal = 8.314462618 * 298.15 / 96485.33212 * factor * np.log(2.0)
    assert -intercept / slope == pytest.approx(reversal, abs=2e-4)
    # kappa proportional to c: the log mean of the two concentrations, and R_geo of a 50 nm pipette.
    a, L, theta = 50e-9, 20e-6, np.radians(3.0)
    r_geo = L / (np.pi * a * (a + L * np.tan(theta))) + 1 / (4 * a)
    kappa = 0.62 * 0.5 / np.log(2.0)
    assert slope == pytest.approx(kappa / r_geo, rel=1e-3)


def test_a_fill_like_the_bath_has_no_reversal_potential(laboratory: Laboratory) -> None:
    rig = twin(laboratory, TEXT.replace(", fill_M: 1.0", ""))
    assert current_at(rig, 0.0) == pytest.approx(0.0, abs=2e-13)


def test_a_potentiostat_without_a_specimen_drives_nothing(laboratory: Laboratory) -> None:
    with pytest.raises(OutsideDomain, match="no specimen is connected"):
        twin(laboratory).potentiostat.apply(ConstantCurrent(1e-4), 0)
