"""Parameter sets: every number sourced; what is not physical is refused with its name, value and limit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from opsicm.core.constants import FARADAY
from opsicm.core.errors import BadInput, OutsideDomain
from opsicm.experiment.parameter_file import parameter_set, parameter_set_names
from opsicm.physics.cell.cell import Cell, CellStopped, Terms
from opsicm.physics.parameters import Curve, Leaf
from opsicm.physics.pipette.geometry import Pipette, geometric_resistance
from opsicm.physics.pipette.ion_current import conductance

SET = parameter_set()
TAKAHASHI = "graphite-li-ec-dec-takahashi"
CONVECTING = Terms(convection=True)


@pytest.mark.parametrize("name", parameter_set_names())
def test_every_leaf_is_sourced_and_every_set_runs(name: str) -> None:
    """Source, status and a known unit on each leaf; a cell of the set lithiates below its rest, graphite at 0.1 V."""
    chosen = parameter_set(name)
    assert all(leaf.source and leaf.status for leaf in chosen.leaves.values())
    assert {leaf.si_unit for leaf in chosen.leaves.values()} <= {
        "1",
        "m",
        "m2",
        "m2/s",
        "kg/m2",
        "kg/m3",
        "kg/mol",
        "mol/m3",
        "S/m",
        "A/m2",
        "C/kg",
        "C/m2",
        "Ohm m2",
        "F/m2",
        "Pa s",
        "K",
        "V",
        "s",
        "word",
        "curve",
        "stages",
    }
    p = chosen.values
    top, below = (1.7, 0.1) if p.material.name == "graphite" else (p.initial_potential, p.initial_potential - 0.1)
    cell = Cell(p, initial_potential=top)
    cell.set_potential(below)
    cell.advance(10.0)
    assert cell.current < 0.0


def test_arithmetic_of_the_paper() -> None:
    """28 µm × 1.56 g/cm³ × 0.97 × 372 mAh/g = 1.58 mAh/cm², so 0.4 mA/cm² is C/4; the printed loading has 2.3 times."""
    mAh_cm2 = SET.values.areal_capacity / 3.6e4
    assert mAh_cm2 == pytest.approx(1.58, abs=0.01)
    printed = parameter_set("graphite-li-ec-dec-printed-loading").values
    assert printed.areal_capacity / SET.values.areal_capacity == pytest.approx(10.2 / 4.37)
    assert printed.porosity == SET.values.porosity


def test_the_two_conductivities_part_only_away_from_one_molar() -> None:
    """0.62 S/m at 1 M in both; a maximum at 1.05 M in one, proportional in the other."""
    with_maximum = SET.values.electrolyte
    proportional = parameter_set("graphite-li-ec-dec-proportional").values.electrolyte
    c = np.linspace(100.0, 2000.0, 1901)
    assert with_maximum.conductivity(1000.0) == pytest.approx(0.62)
    assert c[np.argmax(with_maximum.conductivity(c))] == 1050.0
    assert proportional.conductivity(c) == pytest.approx(0.62 * c / 1000.0)


# Published points of the measured neighbours [M → mS/cm], read from the sources and not from the package's tables:
# Dualfoil 5.2 (LiClO4 in PC), doi 10.1149/2.0641503jes, doi 10.1016/S0013-4686(99)00431-4, the last two in CALiSol-23.
DIGLYME = {0.66: 8.9763, 0.86: 9.7418, 1.06: 9.9751, 1.10: 9.9947, 1.42: 8.9392, 1.82: 7.3939}
PUBLISHED = {
    "graphite-li-lipf6-ec-dec": {0.5023: 6.8095, 0.8009: 7.8429, 1.0: 7.8811, 1.2014: 7.4905, 1.5: 6.4049},
    "graphite-li-ec-diglyme": DIGLYME,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_measured_neighbour_conducts_as_published(name: str) -> None:
    """To the four digits of the tables; the leaves that repeat a number of the curve agree with it."""
    chosen = parameter_set(name)
    electrolyte = chosen.values.electrolyte
    for molar, measured in PUBLISHED[name].items():
        assert electrolyte.conductivity(1e3 * molar) == pytest.approx(0.1 * measured, rel=5e-4), molar


def test_west_s_perchlorate_is_the_fit_of_casteel_and_amis() -> None:
    """κ = κ_max (m/m_max)^a exp(b (m − m_max)² − a (m − m_max)/m_max), its numbers in Dualfoil 5.2; ideal, t⁺ 0.2."""
    p = parameter_set("graphite-li-pc").values.electrolyte
    c = np.linspace(100.0, 2500.0, 97)
    m = c / 1204.1
    fit = 0.542 * (m / 0.6616) ** 0.855 * np.exp(-0.08 * (m - 0.6616) ** 2 - 0.855 * (m - 0.6616) / 0.6616)
    assert p.conductivity(c) == pytest.approx(fit, rel=4e-3)
    assert p.conductivity_sensitivity(1000.0) == pytest.approx(-0.241, abs=0.005)
    assert (p.transference, p.tdf, float(p.diffusivity(400.0))) == (0.2, 1.0, 2.58e-10)


@pytest.mark.parametrize("name", [name for name in parameter_set_names() if "graphite" in name])
def test_every_conductivity_is_positive_and_has_one_maximum_at_most(name: str) -> None:
    """It rises with the salt and falls beyond its maximum; what a table's set repeats of the curve is the curve's."""
    chosen = parameter_set(name)
    electrolyte = chosen.values.electrolyte
    kappa = electrolyte.conductivity(np.arange(1.0, 3000.0))
    turns = np.flatnonzero(np.diff(np.sign(np.diff(kappa))) < 0)
    assert kappa.min() > 0.0
    assert (np.diff(kappa[: int(np.argmax(kappa))]) > 0.0).all()
    assert (np.diff(kappa[int(np.argmax(kappa)) :]) <= 0.0).all()
    assert turns.size <= 1
    assert electrolyte.conductivity(1000.0) == pytest.approx(chosen.leaves["conductivity_1M"].si, rel=2e-3)
    if turns.size:
        highest = chosen.leaves["conductivity_maximum_at"].si
        # A parabola through three points 0.2 M apart; joined smoothly they peak 17 mM higher.
        within = 20.0 if name == "graphite-li-lipf6-ec-dec" else 10.0
        assert float(np.argmax(kappa) + 1) == pytest.approx(highest, abs=within)


def test_the_interval_of_the_maximum_is_that_of_the_measured_slopes() -> None:
    """dlnκ/dlnc = 1 − c/c_max at 1 M from −0.24 to +0.1; the calibrated set lies outside, and says so."""
    assert SET.leaves["conductivity_maximum_at"].interval == (0.806, 1.11)
    slopes = [
        parameter_set(name).values.electrolyte.conductivity_sensitivity(1000.0)
        for name in ("graphite-li-pc", "graphite-li-lipf6-ec-dec", "graphite-li-ec-diglyme")
    ]
    assert slopes == pytest.approx([-0.241, -0.117, 0.077], abs=0.003)
    low, high = (1.0 - 1.0 / end for end in (0.806, 1.11))
    assert low - 0.01 < min(slopes)
    assert max(slopes) < high < parameter_set(TAKAHASHI).values.electrolyte.conductivity_sensitivity(1000.0)
    assert SET.leaves["transference"].interval == (0.2, 0.4)
    assert SET.leaves["conductivity_maximum_at"].range_si == pytest.approx((806.0, 1110.0))
    assert SET.leaves["conductivity_1M"].range_si == pytest.approx((0.52, 0.72))


def test_the_calibrated_set_says_what_calibrated_it() -> None:
    """Two leaves, each with the row of the paper in its source; all others are the default's."""
    chosen = parameter_set(TAKAHASHI)
    changed = {name: leaf for name, leaf in chosen.leaves.items() if leaf != SET.leaves[name]}
    numbers = {name: (leaf.si, leaf.status) for name, leaf in changed.items()}
    assert numbers == {"conductivity_maximum_at": (1500.0, "calibrated"), "swelling_factor": (0.89, "calibrated")}
    assert all(row in changed["conductivity_maximum_at"].source for row in ("E1'", "E11's last reversal"))
    assert "E9's halves of 4.11 and 1.78 %" in changed["swelling_factor"].source


def test_a_voltammogram_gives_what_the_set_was_calibrated_by() -> None:
    """E9 in the cell alone, third cycle at 0.3 mV/s, 66 % compensated: halves of 4.11 and 1.78 %, their ratio 2.31.

    Within 5 %, the grid of 1 % in the compensation. The default set misses the ratio, with and without compensation;
    with 85 % its total is the paper's within 3 %.
    """
    first, second = _halves(TAKAHASHI, 0.66)
    assert first == pytest.approx(4.11, rel=0.05)
    assert second == pytest.approx(1.78, rel=0.05)
    assert first / second == pytest.approx(2.31, rel=0.05)
    for compensation, total in ((0.0, 3.27), (0.85, 6.07)):
        first, second = _halves("graphite-li-ec-dec", compensation)
        assert first + second == pytest.approx(total, abs=0.02)
        assert abs(first / second - 2.31) > 0.3


def test_enriched_salt_overtakes_the_ohmic_drop_near_the_sample_under_the_calibrated_set_alone() -> None:
    """E11 in the cell alone, third cycle at 0.5 mV/s: the current at 0.1 less that at 2.6 mm changes sign once more in
    reverse, at 0.45 V (the paper: +0.5 V). Under the default it stays negative up to there: κ hardly knows the salt.
    """
    calibrated, default = _near_less_far(TAKAHASHI, 0.62), _near_less_far("graphite-li-ec-dec", 0.0)
    assert calibrated(0.35) < 0.0 < calibrated(0.55)
    assert default(0.35) < default(0.55) < -0.1
    assert abs(calibrated(1.6)) < 0.1  # E: nearly uniform at the end
    assert calibrated(0.2) < -0.5


def _near_less_far(name: str, compensation: float) -> Callable[[float], float]:
    """Pipette current at 0.1 less that at 2.6 mm [nA] against the potential [V] of the third reverse sweep of E11."""
    cell = Cell(parameter_set(name).with_leaves({"loading": 0.044}).values, initial_potential=1.7, terms=CONVECTING)
    for _ in range(3):
        for start, rate in ((1.7, -0.5e-3), (0.0, 0.5e-3)):
            cell.set_potential(start, rate, compensation)
            trace = cell.record(2.0, 1700, [0.1e-3, 2.6e-3])
    electrolyte = cell.parameters.electrolyte
    shape = geometric_resistance(Pipette(50e-9, cone_angle=np.radians(4.0)))
    G = conductance(shape, electrolyte.conductivity, 1000.0, trace.concentration)
    difference = 1e9 * (G * (0.7 - trace.ohmic_drop)) @ np.array([1.0, -1.0])
    swept = 1e-3 * np.arange(1, 1701)
    return lambda volts: float(np.interp(volts, swept, difference))


def _halves(name: str, compensation: float) -> tuple[float, float]:
    """Expansion [%] over the first and the second half of the charge of the third lithiation of E9."""
    cell = Cell(parameter_set(name).with_leaves({"loading": 0.044}).values, initial_potential=1.7, terms=CONVECTING)
    charge, height = np.empty(0), np.empty(0)
    for _ in range(3):
        branches = []
        for start, rate in ((1.7, -0.3e-3), (0.0, 0.3e-3)):
            cell.set_potential(start, rate, compensation)
            branches.append(cell.record(1.0, 5667))
        charge = np.concatenate([one.charge for one in branches])
        height = np.concatenate([one.expansion for one in branches])
    begin, end = int(np.argmax(charge[:5667])), int(np.argmin(charge))
    middle = begin + int(np.argmin(np.abs(charge[begin:end] - 0.5 * (charge[begin] + charge[end]))))
    to_percent = 100.0 / cell.parameters.thickness
    return to_percent * (height[middle] - height[begin]), to_percent * (height[end] - height[middle])


@pytest.mark.parametrize(
    ("leaf", "value", "says"),
    [
        ("transference", 1.2, r"transference is 1\.2; it lies in 0 ≤ t\+ < 1"),
        ("transference", -0.1, "transference is -0.1"),
        ("conductivity_1M", -0.6, "conductivity_curve is .* it is positive where there is salt"),
        ("diffusivity_1M", 0.0, "diffusivity_1M is 0 m²/s; it is positive"),
        ("concentration", 5000.0, "concentration is 5000 mol/m³; it lies in 0–3000"),
        ("porosity", 1.4, "porosity is 1.4; it lies between 0 and 1"),
        ("loading", -1.0, "loading is -1; it is positive"),
        ("viscosity", 0.0, "viscosity is 0; it is positive"),
        ("reference_height", 0.02, "reference_height is 20 mm; the bath is 5 mm deep"),
        ("facing", "sideways", "facing is 'sideways'; must be one of up, down"),
        ("conductivity_curve", "steep", "conductivity_curve is 'steep'"),
        (
            "open_circuit_potential",
            "nobody",
            r"open_circuit_potential is 'nobody'; must be a table with columns \[stoichiometry, potential_V\]",
        ),
        ("solid_density", 0.0, "solid_density is 0; it is positive"),
        ("specific_capacity", -1.0, "specific_capacity is -1; it is positive"),
        ("particle_radius", float("nan"), "particle_radius is not a number"),
    ],
)
def test_unphysical_numbers_are_refused(leaf: str, value: float | str, says: str) -> None:
    """By name, with value, limit and remedy, before anything runs."""
    with pytest.raises(OutsideDomain, match=says):
        _ = SET.with_leaves({leaf: value}).values


def test_rest_outside_the_curve_is_refused() -> None:
    """A cell cannot rest where graphite has no equilibrium."""
    with pytest.raises(OutsideDomain, match="rest potential is -3 V"):
        Cell(SET.values, initial_potential=-3.0)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    """A misspelt leaf or set does not pass in silence."""
    with pytest.raises(OutsideDomain, match="transferense; is no parameter of a set; did you mean transference"):
        SET.with_leaves({"transferense": 0.3})
    with pytest.raises(BadInput, match="'gold'; is no parameter set; sets are graphite-li-ec-dec"):
        parameter_set("gold")


def test_a_laboratory_brings_its_own_curves() -> None:
    """Curves as leaves, with the laboratory named as their source; a changed number is in SI."""
    kappa = Leaf(Curve("bench 7", ((200.0, 1000.0, 2000.0), (0.3, 0.7, 0.5))), "curve", None, "measured", "us")
    ocp = Curve("coin cell", ((0.01, 0.1, 0.5, 0.9, 0.98), (0.9, 0.22, 0.12, 0.085, 0.07)))
    p = SET.with_leaves(
        {"conductivity_curve": kappa, "open_circuit_potential": ocp, "thickness": 40e-6}, source="us"
    ).values
    assert p.electrolyte.conductivity([0.0, 200.0, 1000.0, 2900.0]) == pytest.approx([0.0, 0.3, 0.7, 0.5])
    assert p.thickness == 40e-6
    cell = Cell(p, initial_potential=0.5)
    cell.set_current(-1e-4)
    cell.advance(60.0)
    assert cell.charge == pytest.approx(-6e-3)


def test_a_leaf_says_where_it_comes_from() -> None:
    """No source, an unknown status or an unknown unit: refused."""
    with pytest.raises(OutsideDomain, match="source is empty"):
        Leaf(1.0, "m", None, "assumed", "")
    with pytest.raises(OutsideDomain, match="unit is 'furlong'"):
        Leaf(1.0, "furlong", None, "assumed", "us")
    with pytest.raises(OutsideDomain, match="a number is needed here"):
        _ = SET.leaves["facing"].si
    for interval, u in (((2.0, 3.0), None), ((3.0, 0.5), None), ((0.5, 3.0), 0.1)):
        with pytest.raises(OutsideDomain, match=r"interval is \[.* stands in place of u, its lower end first"):
            Leaf(1.0, "m", u, "assumed", "us", interval)
    unsorted = Leaf(Curve("bench 7", ((200.0, 100.0), (0.3, 0.7))), "curve", None, "measured", "us")
    with pytest.raises(OutsideDomain, match=r"conductivity_curve is 3 rows; concentration rises strictly; sort"):
        _ = SET.with_leaves({"conductivity_curve": unsorted}).values


def test_capacity_is_that_of_lithium_in_graphite() -> None:
    """372 mAh/g is F/(6 × 12.011 g/mol)."""
    assert SET.leaves["specific_capacity"].si == pytest.approx(FARADAY / (6 * 12.011e-3), rel=1e-3)


# -- Another material than graphite.


def test_lithium_cobalt_oxide_holds_swells_and_rests_as_published() -> None:
    """F/M; the lattice's a²c (about 2.816, 14.05 Å full; 2.808, 14.42 Å at x = ½; Reimers and Dahn 1992).

    That is +2.05 % for half the lithium taken out. Ai's straight line gives 1.82 %: the lattice's own curve is none.
    """
    p = parameter_set("lico2-li-ec-dec").values
    material = p.material
    mass = 6.94 + 58.933 + 2 * 15.999  # g/mol
    assert material.specific_capacity == pytest.approx(FARADAY / (mass * 1e-3), rel=1e-3)
    assert material.density == pytest.approx(
        3 * mass / 6.02214e23 / (2.816**2 * 14.05 * 0.75**0.5 * 1e-24) * 1e3, rel=2e-3
    )
    lattice = 2.808**2 * 14.42 / (2.816**2 * 14.05) - 1.0
    assert material.volume_change(0.5) - material.volume_change(1.0) == pytest.approx(lattice, rel=0.15)
    assert material.open_circuit_potential([0.5, 0.95]) == pytest.approx([4.1616, 3.8209], abs=2e-3)
    cell = Cell(p, initial_potential=3.9)
    before = cell.expansion
    cell.set_current(1e-4)
    cell.advance(3600.0)
    gained = cell.capacity * (material.stoichiometry_at(3.9) - cell.stoichiometry)
    assert gained == pytest.approx(0.36 - cell.double_layer_charge, rel=1e-9)
    assert cell.expansion > before  # it grows while it is delithiated


def test_a_cell_stops_where_its_material_is_not_known() -> None:
    """LiCoO2 below x = 0.4366, with the material's name; graphite has no such bound within 0–1."""
    cell = Cell(parameter_set("lico2-li-ec-dec").values, initial_potential=4.2)
    cell.set_potential(4.5)
    with pytest.raises(CellStopped, match=r"LiCoO2 full or empty \(its curve is known for x = 0\.4366 … 1\)"):
        cell.record(600.0, 100)
    graphite = Cell(SET.values, initial_potential=0.3)
    graphite.set_current(-3e-4)
    with pytest.raises(CellStopped, match="graphite full or empty at the particle surface"):
        graphite.advance(4 * 3600.0)


def test_without_a_swelling_curve_thickness_is_unknown_and_not_graphite_s() -> None:
    """NaN, in state and trace, unless the set says that the electrode does not swell."""
    curve = Curve("a cell", ((0.01, 0.1, 0.5, 0.9, 0.98), (0.9, 0.22, 0.12, 0.085, 0.07)))
    unknown = SET.with_leaves({"open_circuit_potential": curve})
    assert unknown.values.material.swelling is None
    cell = Cell(unknown.values, initial_potential=0.5)
    assert np.isnan(cell.expansion)
    cell.set_potential(0.1)
    trace = cell.record(1.0, 5)
    assert np.isnan(trace.expansion).all()
    assert np.isfinite(trace.current).all()
    still = Cell(unknown.with_leaves({"swelling_factor": 0.0}).values, initial_potential=0.5)
    still.set_potential(0.1)
    trace = still.record(1.0, 5)
    assert (trace.volume_change == 0.0).all()
    assert trace.expansion == pytest.approx(trace.irreversible)


def test_another_material_starts_from_nothing() -> None:
    """Its name alone is refused with all that it must state."""
    with pytest.raises(OutsideDomain, match=r"solid_density; .*inherits nothing of its parent's material") as refused:
        _ = SET.with_leaves({"material": "silicon"}).values
    missing = [problem.thing for problem in refused.value.problems]
    assert missing == ["open_circuit_potential", "solid_density", "specific_capacity"]
    assert SET.with_leaves({"material": "graphite"}).values.material.swelling is not None
