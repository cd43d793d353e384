"""Particles of several sizes: their classes, what they share, and a method of lines that knows nothing of the cell."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicHermiteSpline
from scipy.optimize import brentq

from opsicm.core.constants import FARADAY, GAS_CONSTANT
from opsicm.core.errors import OutsideDomain
from opsicm.experiment.parameter_file import parameter_set
from opsicm.physics.cell import kernel as k
from opsicm.physics.cell.cell import Cell, Terms, parameter_vector
from opsicm.physics.cell.parameters import CellParameters
from opsicm.physics.cell.sizes import RADIUS, SURFACE_SHARE, VOLUME_SHARE, size_classes
from opsicm.physics.cell.solve import bracketed_potential, solve_classes

Floats = NDArray[np.float64]
SET = parameter_set()
ONE_SIZE = {"particle_radius_spread": 0.0, "open_circuit_hysteresis": 0.0}
# A bath that neither drops nor depletes, no film: what is left is particles and their interface.
IDEAL: dict[str, float | str] = {
    "transference": 0.9999,
    "conductivity_1M": 1e6,
    "conductivity_curve": "proportional",
    "sei_rate": 0.0,
    "open_circuit_hysteresis": 0.0,
}

# The one-size cell as it was before classes and branches were there.
AFTER_THE_SWEEP = (
    -0.0013241838049747046,
    -30.931103039643137,
    0.11189921067732476,
    0.11546059622589139,
    0.02247309147769606,
)
AFTER_THE_CURRENT = (0.30497147669606756, 4.0, 0.06933193395057673, 0.06885767461665604, 0.013924163401740826)
AFTER_THE_REST = (0.275667827656165, 0.0693077908890998, 0.013919314670227544, 5.0079239999999094)


def parameters(**changes: float | str) -> CellParameters:
    """The default set in an ideal bath, with further changes in SI."""
    return SET.with_leaves({**IDEAL, **changes}).values


def of_classes(cell: Cell) -> Floats:
    """Mean x of every class [n]: by its shells, which the cell shows as one mean only."""
    shells = cell._x.shape[1] - k.PARTICLE_STATE
    return np.asarray(cell._x[:, :shells] @ cell._particle[0, :shells])


# -- The classes.


@pytest.mark.parametrize("spread", [0.1, 0.45, 0.8])
def test_classes_keep_volume_and_surface(spread: float) -> None:
    """Shares sum to 1; ⟨1/R⟩ = exp(σ²/2)/R₅₀ with any number of classes; ln R by volume has its mean and spread."""
    for count in (2, 5, 400):
        rows = size_classes(2e-6, spread, count)
        assert rows[:, VOLUME_SHARE:].sum(axis=0) == pytest.approx([1.0, 1.0], rel=1e-12)
        assert rows[:, VOLUME_SHARE] @ (2e-6 / rows[:, RADIUS]) == pytest.approx(np.exp(spread**2 / 2), rel=1e-12)
        assert (np.diff(rows[:, RADIUS]) > 0.0).all()
    logs = np.log(rows[:, RADIUS] / 2e-6)
    assert logs.mean() == pytest.approx(0.0, abs=2e-3)
    assert logs.std() == pytest.approx(spread, rel=0.01)
    assert rows[:, SURFACE_SHARE] == pytest.approx(np.exp(-logs) / np.exp(-logs).sum())


def test_the_span_of_a_data_sheet() -> None:
    """(D90 − D10)/D50 = 2 sinh(1.2816 σ): 1.0 and 1.5 are 0.38 and 0.54, between which the default lies."""
    logs = np.log(size_classes(1.0, 0.45, 4000)[:, RADIUS])
    low, high = np.exp(np.quantile(logs, [0.1, 0.9]))
    assert high - low == pytest.approx(2.0 * np.sinh(1.2816 * 0.45), rel=2e-3)
    ends = np.arcsinh(np.array([1.0, 1.5]) / 2.0) / 1.2816
    assert ends == pytest.approx([0.38, 0.54], abs=0.005)
    leaf = SET.leaves["particle_radius_spread"]
    assert leaf.interval is not None
    assert leaf.interval[0] < ends[0] < leaf.si < ends[1] < leaf.interval[1]


def test_a_negative_spread_is_refused() -> None:
    """By its name."""
    with pytest.raises(OutsideDomain, match=r"particle_radius_spread is -0\.1; it is not negative"):
        parameters(particle_radius_spread=-0.1)


# -- One size is what it was.


def test_one_size_is_the_cell_that_it_was() -> None:
    """Numbers of the cell before it knew sizes and branches, through a sweep, a current and a rest: to 1e-12."""
    p = SET.with_leaves({**ONE_SIZE, "open_circuit_dilute_below": 0.0}).values
    cell = Cell(p, initial_potential=0.3, terms=Terms(convection=True))
    cell.set_potential(0.3, -1e-3, 0.5)
    cell.record(1.0, 200)
    seen = (cell.potential, cell.current_density, cell.stoichiometry, cell.surface_stoichiometry, cell.volume_change)
    assert seen == pytest.approx(AFTER_THE_SWEEP, rel=1e-12)
    cell.set_current(2e-4)
    cell.record(2.0, 300)
    seen = (cell.potential, cell.current_density, cell.stoichiometry, cell.surface_stoichiometry, cell.volume_change)
    assert seen == pytest.approx(AFTER_THE_CURRENT, rel=1e-12)
    cell.set_open_circuit()
    cell.advance(50.0)
    at_rest = (cell.potential, cell.stoichiometry, cell.volume_change, cell.salt_inventory)
    assert at_rest == pytest.approx(AFTER_THE_REST, rel=1e-12)


def test_a_spread_that_vanishes_leaves_one_size() -> None:
    """During a pulse ψ and x at the surface differ from one size's as σ²: 4 times as much for twice the spread."""
    answers = []
    for spread in (0.0, 0.1, 0.2):
        cell = Cell(parameters(particle_radius_spread=spread), initial_potential=0.25, tolerance=0.02)
        cell.set_current(-2e-3)
        cell.advance(60.0)
        answers.append([cell.potential, cell.surface_stoichiometry - cell.stoichiometry])
    near, far = (np.abs(np.subtract(one, answers[0])) for one in answers[1:])
    assert far / near == pytest.approx(4.0, rel=0.1)


# -- An independent solution: method of lines, explicit in its currents.


def lines(p: CellParameters, current: float, duration: float, rest: float, shells: int = 40) -> tuple[Floats, Floats]:
    """(ψ at the end of a current [A/m²] and of a rest, mean x of each class then) by BDF on the shells of all classes.

    The double layer makes ψ a state, so that Butler–Volmer is solved for its current: i = 2 i₀ sinh((ψ − U)/2V_T).
    """
    rows = size_classes(p.particle_radius, p.particle_radius_spread)
    count, V_T = len(rows), GAS_CONSTANT * p.electrolyte.temperature / FARADAY
    faces = np.sin(0.5 * np.pi * np.linspace(0.0, 1.0, shells + 1))
    volume, centres = np.diff(faces**3) / 3.0, 0.5 * (faces[1:] + faces[:-1])
    area = 3.0 * p.loading * p.active_fraction / p.material.density / rows[:, RADIUS] * rows[:, VOLUME_SHARE]
    capacity = p.areal_capacity * rows[:, VOLUME_SHARE]
    rate = p.particle_diffusivity / rows[:, RADIUS] ** 2
    curve = p.material.ocp
    U = CubicHermiteSpline(curve[:, 0], curve[:, 1], curve[:, 2])
    half = (1.0 - centres[-1]) / (centres[-1] - centres[-2])

    def slopes(applied: float, _time: float, y: Floats) -> Floats:
        x, psi = y[:-1].reshape(count, shells), y[-1]
        surface = x[:, -1] + half * (x[:, -1] - x[:, -2])
        exchange = 2.0 * p.exchange_current_density * np.sqrt(surface * (1.0 - surface))
        i = area * 2.0 * exchange * np.sinh((psi - U(surface)) / (2.0 * V_T))
        flux = np.zeros((count, shells + 1))
        flux[:, 1:-1] = rate[:, None] * faces[1:-1] ** 2 * np.diff(x, axis=1) / np.diff(centres)
        flux[:, -1] = -i / (3.0 * capacity)
        out = np.empty_like(y)
        out[:-1] = (np.diff(flux, axis=1) / volume).ravel()
        out[-1] = (applied - i.sum()) / (p.double_layer_capacitance * area.sum())
        return out

    size = count * shells + 1
    pattern = np.eye(size) + np.eye(size, k=1) + np.eye(size, k=-1)
    pattern[-1, :] = pattern[:, -1] = 1.0
    for j in range(count):
        pattern[(j + 1) * shells - 1, (j + 1) * shells - 2] = 1.0
    x0 = p.material.stoichiometry_at(0.2)
    y = np.append(np.full(size - 1, x0), 0.2)
    seen, means = [], []
    for applied, time in ((current, duration), (0.0, rest)):
        y = solve_ivp(
            partial(slopes, applied), (0.0, time), y, method="BDF", rtol=1e-6, atol=1e-8, jac_sparsity=pattern
        ).y[:, -1]
        seen.append(y[-1])
        means.append(3.0 * y[:-1].reshape(count, shells) @ volume)
    return np.array(seen), np.array(means)


def test_classes_follow_the_method_of_lines() -> None:
    """A current of 2C and a rest: ψ to 10 µV and the x of every class to 3e-4, while classes differ by 0.08 in x."""
    p = parameters(particle_radius_spread=0.6)
    truth, means = lines(p, -30.0, 500.0, 60.0)
    cell = Cell(p, initial_potential=0.2, pore_cells=0, shells=48, tolerance=5e-3)
    for current, time, psi, mean in zip((-30.0, 0.0), (500.0, 60.0), truth, means, strict=True):
        cell.set_current(current * p.area)
        cell.advance(time)
        assert cell.interface_potential == pytest.approx(psi, abs=1e-5)
        assert of_classes(cell) == pytest.approx(mean, abs=3e-4)
    assert np.ptp(means[0]) > 0.08


# -- What sizes share, and what they keep.


def test_a_slow_current_fills_all_sizes_alike() -> None:
    """At C/200 every class follows the same U(x): their x within 0.002, and ψ that of equilibrium within 1 mV."""
    p = parameters()
    cell = Cell(p, initial_potential=0.25)
    cell.set_current(-p.areal_capacity * p.area / (200 * 3600.0))
    cell.record(600.0, 60)
    assert np.ptp(of_classes(cell)) < 0.002
    assert cell.interface_potential == pytest.approx(
        float(p.material.open_circuit_potential(cell.stoichiometry)), abs=1e-3
    )


def test_at_rest_the_sizes_exchange_lithium_and_lose_none() -> None:
    """After a pulse the small particles hold more; an hour later all the same, on the way the mean has not moved."""
    p = parameters(double_layer_capacitance=0.0)
    cell = Cell(p, initial_potential=0.2)
    cell.set_current(-4e-3)
    cell.advance(100.0)
    mean, apart = cell.stoichiometry, np.ptp(of_classes(cell))
    cell.set_open_circuit()
    cell.advance(3600.0)
    assert apart > 0.05
    assert np.ptp(of_classes(cell)) < 0.02 * apart
    assert cell.stoichiometry == pytest.approx(mean, abs=1e-12)


def test_the_cliff_of_one_size_is_rounded() -> None:
    """At the end of a delithiation the current of one size falls off at once; a spread halves its steepest fall."""
    falls = []
    for spread in (0.0, 0.45):
        p = SET.with_leaves({"particle_radius_spread": spread}).values
        cell = Cell(p, initial_potential=0.1, terms=Terms(convection=True))
        cell.set_potential(0.1, 0.3e-3, 0.85)
        trace = cell.record(2.0, 1000)
        falls.append(-np.diff(trace.current).min())
    assert falls[1] < 0.65 * falls[0]


# -- The solver by itself.


def by_hand(p: CellParameters, x: Floats, psi: float, mode: float, value: float) -> tuple[Floats, ...]:
    """(classes, linear, state, control, parameters) of a step of 1 s from particles of even `x` [n] at `psi` [V]."""
    rows, numbers = p.sizes, parameter_vector(p, pores=False, tolerance=1.0)
    classes = np.zeros((len(rows), k.CLASS_SIZE))
    classes[:, k.OF_VOLUME], classes[:, k.OF_SURFACE] = rows[:, VOLUME_SHARE], rows[:, SURFACE_SHARE]
    classes[:, k.X_VALUE], classes[:, k.X_RESPONSE] = x, -1e-3
    classes[:, k.LOWEST], classes[:, k.HIGHEST] = (1.0 - 1e-10 - x) / -1e-3, (1e-10 - x) / -1e-3
    linear = np.zeros(40)
    linear[[2, 4]] = 1000.0
    state, control = np.zeros(k.STATE_SIZE), np.zeros(k.CONTROL_SIZE)
    state[k.INTERFACE] = state[k.POTENTIAL] = psi
    state[k.C_SPECIMEN] = 1000.0
    control[k.MODE], control[k.SET_VALUE] = mode, value
    return classes, linear, state, control, numbers


@pytest.mark.parametrize("potential", [0.05, 0.1, 0.3, 1.0])
def test_currents_of_the_classes_are_those_at_which_each_has_the_potential(potential: float) -> None:
    """Held without resistance: each class's own equation by bisection, through Newton and through the bracket alone."""
    p = parameters(double_layer_capacitance=0.0)
    x = np.array([0.3, 0.25, 0.2, 0.15, 0.1])
    V_T = GAS_CONSTANT * p.electrolyte.temperature / FARADAY

    def off(i: float, x0: float) -> float:
        here = x0 - 1e-3 * i
        exchange = 2.0 * p.exchange_current_density * p.internal_area * np.sqrt(here * (1.0 - here))
        U = float(p.material.open_circuit_potential(here))
        return U + float(2.0 * V_T * np.arcsinh(i / (2.0 * exchange))) - potential

    truth = [brentq(off, (1.0 - 1e-10 - x0) / -1e-3, (1e-10 - x0) / -1e-3, args=(x0,), xtol=1e-12) for x0 in x]
    for solve in (solve_classes, bracketed_potential):
        classes, linear, state, control, numbers = by_hand(p, x, 0.12, k.POTENTIOSTAT, potential)
        solve(1.0, classes, linear, state, control, numbers, p.material.ocp)
        assert classes[:, k.TRIAL] == pytest.approx(truth, rel=1e-8)


def test_a_class_that_is_empty_gives_way_to_the_others() -> None:
    """100 A/m² for a second out of particles of which the smallest hold 0.003: the rest pass it, none below x = 0."""
    p = parameters(double_layer_capacitance=0.0)
    x = np.array([0.003, 0.003, 0.3, 0.3, 0.3])
    classes, linear, state, control, numbers = by_hand(p, x, 0.12, k.GALVANOSTAT, 100.0)
    outcome, total, i, psi, *_ = solve_classes(1.0, classes, linear, state, control, numbers, p.material.ocp)
    assert outcome == k.OK
    assert total == pytest.approx(100.0, rel=1e-9)
    assert i == total
    assert (x - 1e-3 * classes[:, k.TRIAL] > 0.0).all()
    assert np.isfinite(psi)
    classes, linear, state, control, numbers = by_hand(p, x, 0.12, k.GALVANOSTAT, 1e4)
    outcome, *numbers_seen = solve_classes(1.0, classes, linear, state, control, numbers, p.material.ocp)
    assert outcome == k.STOICHIOMETRY
    assert np.isfinite(numbers_seen).all()
