"""Natural convection: the closure against the 2-D Boussinesq runs, and the sign of buoyancy in both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.core.constants import FARADAY
from opsicm.experiment.parameter_file import parameter_set
from opsicm.physics.cell.cell import Cell, Terms

Floats = NDArray[np.float64]
REFERENCE = np.load(Path(__file__).parent / "data" / "convection_reference.npz")
NOTE = json.loads(REFERENCE["provenance"].tobytes())
# As in the reference: constant D; an electrode without end, so that only salt limits.
SET = parameter_set().with_leaves(
    {"diffusivity_slope": 0.0, "loading": 10.0, "double_layer_capacitance": 0.0, "sei_rate": 0.0}
)


def diffusion_only(time: Floats, density: float) -> Floats:
    """Depletion at z = 0 of a deep bath, 2 N √(t/πD) with N = (1 − t⁺)|i|/F."""
    return np.asarray(0.7 * abs(density) / FARADAY * 2.0 * np.sqrt(time / (np.pi * 2.6e-10)))


def depletion(density: float, times: Floats, *, facing: str = "up", counter: str = "above", on: bool = True) -> Floats:
    """The closure's c₀ − c(0) at `times` [s]."""
    p = SET.with_leaves({"facing": facing, "counter": counter}).values
    cell = Cell(p, initial_potential=0.2, terms=Terms(convection=on), pore_cells=0)
    cell.set_current(density * p.area)
    answer = []
    for time in times:
        cell.advance(float(time) - cell.time)
        answer.append(1000.0 - float(cell.concentration(0.0)))
    return np.array(answer)


def onset(time: Floats, values: Floats, density: float) -> float:
    """First time at which depletion lies 5 % below diffusion's."""
    return float(time[np.argmax((values < 0.95 * diffusion_only(time, density)) & (time > 20.0))])


@pytest.mark.parametrize("milliamps", ["0.2", "0.4", "0.8", "1.2", "2.0"])
def test_onset_and_plateau(milliamps: str) -> None:
    """Within 20 % of the reference, over 0.2–2 mA/cm². The constants were read at 0.4; the other four are predicted."""
    density = -10.0 * float(milliamps)
    time, truth = REFERENCE[f"mA_cm2_{milliamps}_time_s"], REFERENCE[f"mA_cm2_{milliamps}_depletion"]
    mine = depletion(density, time)
    late = time > 0.5 * time[-1]
    assert onset(time, mine, density) == pytest.approx(onset(time, truth, density), rel=0.2)
    assert mine[late].mean() == pytest.approx(truth[late].mean(), rel=0.2)


def test_boundary_layer_thins_as_the_quarter_power() -> None:
    """δ = Δc D/(1.209 N) ∝ |i|^(−1/4) in the reference to ±0.05 of the exponent, and in the closure to ±0.01."""
    amps = np.array([2.0, 4.0, 8.0, 12.0, 20.0])
    reference = []
    for i in amps:
        time, truth = (REFERENCE[f"mA_cm2_{i / 10:.1f}_{column}"] for column in ("time_s", "depletion"))
        reference.append(truth[time > 0.5 * time[-1]].mean() / i)
    closure = [depletion(-i, np.array([3000.0]))[0] / i for i in amps[:4]]
    assert np.polyfit(np.log(amps), np.log(reference), 1)[0] == pytest.approx(-0.25, abs=0.07)
    assert np.polyfit(np.log(amps[:4]), np.log(closure), 1)[0] == pytest.approx(-0.25, abs=0.02)


def test_a_pulse_ends_before_the_onset() -> None:
    """120 s at 0.8 mA/cm² changes by less than 3 %."""
    with_flow, without = (depletion(-8.0, np.array([120.0]), on=on)[0] for on in (True, False))
    assert with_flow == pytest.approx(without, rel=0.03)


@pytest.mark.parametrize(
    ("density", "facing", "unstable"),
    [(-8.0, "up", True), (8.0, "up", False), (-8.0, "down", False), (8.0, "down", True)],
)
def test_sign_of_buoyancy(density: float, facing: str, unstable: bool) -> None:
    """Light liquid under heavy convects: lithiation facing up, delithiation facing down; the other two diffuse."""
    time = np.array([900.0])
    ratio = depletion(density, time, facing=facing)[0] / (np.sign(-density) * diffusion_only(time, density)[0])
    assert ratio < 0.7 if unstable else ratio == pytest.approx(1.0, abs=0.03)
    name = "mA_cm2_0.8" + ("_delithiation" if density > 0 else "") + ("_facing_down" if facing == "down" else "")
    at, truth = REFERENCE[name + "_time_s"], REFERENCE[name + "_depletion"]
    reference = abs(np.interp(900.0, at, truth)) / diffusion_only(time, density)[0]
    assert reference < 0.7 if unstable else reference == pytest.approx(1.0, abs=0.03)


def test_a_counter_at_the_side_stirs_its_own_half() -> None:
    """Delithiation facing up: stable with the counter above; at the side only the far half of the bath is stirred."""
    answers = {}
    for counter in ("above", "side"):
        p = SET.with_leaves({"counter": counter}).values
        cell = Cell(p, initial_potential=0.2, terms=Terms(convection=True), pore_cells=0)
        cell.set_current(4.0 * p.area)
        cell.advance(1800.0)
        answers[counter] = cell.concentration(np.array([1e-5, 4.9e-3]))
    assert answers["side"][0] == pytest.approx(answers["above"][0], rel=1e-3)
    assert answers["side"][1] > answers["above"][1] + 20.0


def test_salt_is_conserved_while_it_convects() -> None:
    """ΣVc to 1e-10 after an hour of lithiation with plumes at both walls."""
    p = SET.values
    cell = Cell(p, initial_potential=0.2, terms=Terms(convection=True))
    before = cell.salt_inventory
    cell.set_current(-8.0 * p.area)
    cell.advance(3600.0)
    assert cell.salt_inventory == pytest.approx(before, rel=1e-10)
