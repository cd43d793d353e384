"""Parameter sets: every number sourced; what is not physical is refused with its name, value and limit."""

from __future__ import annotations

import numpy as np
import pytest

from opsicm.core.constants import FARADAY
from opsicm.core.errors import BadInput, OutsideDomain
from opsicm.experiment.parameter_file import parameter_set, parameter_set_names
from opsicm.physics.cell.cell import Cell, CellStopped
from opsicm.physics.parameters import Curve, Leaf

SET = parameter_set()


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
    assert p.electrolyte.conductivity([0.0, 100.0, 1000.0, 2900.0]) == pytest.approx([0.0, 0.15, 0.7, 0.5])
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
