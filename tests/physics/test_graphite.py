"""Graphite as a material: open-circuit curves, galleries, stages, swelling; and the flakes of a coating."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from opsicm.core.errors import OutsideDomain
from opsicm.experiment.data_files import read_curve
from opsicm.experiment.parameter_file import TABLES, parameter_set
from opsicm.experiment.yaml_file import yaml_document
from opsicm.physics.materials.material import mean_volume_change, volume_change_at
from opsicm.physics.materials.open_circuit import (
    gallery_curve,
    gallery_stoichiometry,
    ocp_and_slope,
    ocp_curve,
    open_circuit_potential,
    stoichiometry_at,
)
from opsicm.physics.parameters import Curve

GRAPHITE = parameter_set().values.material


def table(name: str, *columns: str) -> np.ndarray:
    """A table of the program as an array [rows, columns]."""
    leaf = yaml_document("table: none\n")
    return np.column_stack(list(read_curve(TABLES / f"{name}.csv", columns, leaf)[0].values()))


TABLES_OF_U = {
    name: table(name, "stoichiometry", "potential_V")
    for name in sorted(file.stem for file in TABLES.glob("*-ocp-*.csv"))
}
ECKER = TABLES_OF_U["graphite-ocp-ecker-2015"]
GALLERIES = table("graphite-galleries-verbrugge-2017", "standard_potential_V", "share", "width")
CURVES = {**{name: ocp_curve(*rows.T) for name, rows in TABLES_OF_U.items()}, "galleries": gallery_curve(GALLERIES)}
X = 1.0 / (1.0 + np.exp(-np.linspace(-12.0, 9.0, 4001)))


@pytest.mark.parametrize("name", CURVES)
def test_falls_everywhere(name: str) -> None:
    """An equilibrium that rises with lithium content would be unstable: dU/dx < 0, ends included."""
    values = np.array([ocp_and_slope(float(x), CURVES[name]) for x in X])
    assert (values[:, 1] < 0.0).all()
    assert (np.diff(values[:, 0]) < 0.0).all()


@pytest.mark.parametrize("name", CURVES)
def test_slope_is_the_derivative(name: str) -> None:
    """dU/dx against a central difference, away from the nodes by less than which the cubic changes piece."""
    for x in (1e-5, 1e-3, 0.0137, 0.08, 0.21, 0.37, 0.55, 0.81, 0.9971):
        h = 1e-6 * x * (1 - x)
        value = [ocp_and_slope(x + sign * h, CURVES[name])[0] for sign in (1, -1)]
        assert ocp_and_slope(x, CURVES[name])[1] == pytest.approx((value[0] - value[1]) / (2 * h), rel=2e-3)


@pytest.mark.parametrize("name", TABLES_OF_U)
def test_goes_through_the_measured_points(name: str) -> None:
    """Within 3 mV of every measured point between x = 0.002 and 0.99.

    Pooling moves a point by the table's noise: 1.6 mV in Ecker's digitised steps, 2.9 mV in Chen's rises of 5.9 mV.
    """
    x, u = TABLES_OF_U[name].T
    inside = (x > 0.002) & (x < 0.99)
    assert np.abs(open_circuit_potential(x[inside], CURVES[name]) - u[inside]).max() < 3e-3


def test_ecker_plateaus() -> None:
    """A row of Ecker's table above the dilute branch, and stages near 0.21, 0.12 and 0.085 V."""
    U = GRAPHITE.open_circuit_potential
    assert U(0.07878788) == pytest.approx(0.248466, abs=1e-4)
    assert U(0.4) == pytest.approx(0.12, abs=0.02)
    assert U(0.75) == pytest.approx(0.085, abs=0.01)


def capacity(curve: np.ndarray, potentials: np.ndarray) -> np.ndarray:
    """−dx/dU [1/V] at rest at each potential."""
    return np.array([-1.0 / ocp_and_slope(stoichiometry_at(float(U), curve), curve)[1] for U in potentials])


@pytest.mark.parametrize(
    ("name", "below", "peaks"),
    [("graphite-ocp-ecker-2015", 0.067, 4), ("graphite-ocp-ai-2020", 0.04, 1), ("graphite-ocp-chen-2020", 0.07, 5)],
)
def test_a_dilute_branch_has_no_peaks(name: str, below: float, peaks: int) -> None:
    """−dx/dU falls towards 1.7 V from the join on, where the table itself has maxima: of any table."""
    table = TABLES_OF_U[name].T
    join = table[:, table[0] <= below][:, -1]
    U = np.linspace(float(join[1]), 1.7, 400)
    smooth, knotty = (np.diff(capacity(ocp_curve(table[0], table[1], low), U)) for low in (below, 0.0))
    assert (smooth < 0.0).all()
    assert np.count_nonzero((knotty[:-1] > 0.0) & (knotty[1:] < 0.0)) == peaks


def test_a_dilute_branch_joins_the_table_and_leaves_the_rest_of_it() -> None:
    """Value and slope from both sides of the join; the rows above it bit for bit; moved as far as the source says."""
    plain, smooth = ocp_curve(*ECKER.T), ocp_curve(ECKER[:, 0], ECKER[:, 1], 0.067)
    np.testing.assert_array_equal(GRAPHITE.ocp, smooth)
    kept = plain[:, 0] > 0.06
    np.testing.assert_array_equal(smooth[-np.count_nonzero(kept) :], plain[kept])
    join = float(plain[kept][0, 0])
    assert join == pytest.approx(0.066667, abs=1e-6)
    for part in (0, 1):
        sides = [ocp_and_slope(join * (1.0 + side), smooth)[part] for side in (-1e-9, 1e-9)]
        assert sides[0] == pytest.approx(sides[1], rel=1e-6)
    x = np.linspace(0.0016, join, 2000)
    moved = np.abs(open_circuit_potential(x, smooth) - open_circuit_potential(x, plain))
    assert moved.max() == pytest.approx(0.070, abs=0.001)
    U = np.linspace(0.29, 1.43, 400)
    moved = np.abs(np.diff([[stoichiometry_at(float(u), curve) for u in U] for curve in (plain, smooth)], axis=0))
    assert moved.max() == pytest.approx(0.0026, abs=1e-4)


def test_a_dilute_branch_gives_back_the_law_that_made_its_points() -> None:
    """U = 0.3 − 0.2 L + 0.02 L², L = ln(x/0.06), sampled without noise: the same curve to 2 mV, down to 1 ‰."""
    x = np.concatenate([np.geomspace(1e-3, 0.06, 30), np.linspace(0.07, 0.9, 40)])
    L = np.log(x / 0.06)
    law = 0.3 - 0.2 * L + np.where(L < 0.0, 0.02 * L**2, 0.0)
    curve = ocp_curve(x, law, 0.0601)
    assert open_circuit_potential(x[:30], curve) == pytest.approx(law[:30], abs=2e-3)


def test_a_dilute_end_that_is_none_is_refused() -> None:
    """Below the table's own points, and where galleries leave nothing to replace."""
    with pytest.raises(
        OutsideDomain, match=r"open_circuit_dilute_below is 0\.002; the table has points from x = 0\.00152"
    ):
        ocp_curve(ECKER[:, 0], ECKER[:, 1], 0.002)
    galleries = parameter_set().with_leaves(
        {"open_circuit_potential": Curve("msmr", tuple(GALLERIES.T), ("V", "1", "1"))}
    )
    assert "open_circuit_dilute_below" not in galleries.leaves
    with pytest.raises(OutsideDomain, match="galleries are smooth down to x = 0"):
        _ = galleries.with_leaves({"open_circuit_dilute_below": 0.05}).values


@pytest.mark.parametrize("potential", [2.5, 1.7, 0.8, 0.21, 0.1, 0.0])
def test_rest_is_the_inverse(potential: float) -> None:
    """U(x(E)) = E to 1e-9 V, from the empty end to the full one."""
    x = GRAPHITE.stoichiometry_at(potential)
    assert GRAPHITE.open_circuit_potential(x) == pytest.approx(potential, abs=1e-9)


def test_no_rest_beyond_the_curve() -> None:
    """A potential that no stoichiometry has is refused with the span, and one beyond what is known of the material."""
    with pytest.raises(OutsideDomain, match="rest potential is -3 V; the open-circuit curve spans"):
        GRAPHITE.stoichiometry_at(-3.0)
    with pytest.raises(OutsideDomain, match=r"stoichiometry is 0 … 1"):
        GRAPHITE.open_circuit_potential([0.0, 1.0])
    part = replace(GRAPHITE, stoichiometry_range=(0.1, 0.9))
    assert part.stoichiometry_at(0.12) == GRAPHITE.stoichiometry_at(0.12)
    with pytest.raises(OutsideDomain, match=r"graphite would rest at x = 0\.001, .*known for x = 0\.1 … 0\.9"):
        part.stoichiometry_at(1.7)


def test_galleries_sum_to_the_curve() -> None:
    """The resampled curve gives back the galleries' closed form to 1e-5 in x where it has lithium; any material's."""
    U = np.linspace(0.07, 0.5, 50)
    x = [stoichiometry_at(float(u), CURVES["galleries"]) for u in U]
    assert x == pytest.approx(gallery_stoichiometry(U, GALLERIES), abs=1e-5)
    high = GALLERIES + np.array([3.8, 0.0, 0.0])
    x = [stoichiometry_at(float(u), gallery_curve(high)) for u in U + 3.8]
    assert x == pytest.approx(gallery_stoichiometry(U + 3.8, high), abs=1e-5)
    with pytest.raises(OutsideDomain, match="share X > 0"):
        gallery_curve(-GALLERIES)


def test_a_set_takes_galleries_in_place_of_a_table() -> None:
    """Three columns are galleries, two a measured curve."""
    leaf = Curve("msmr", tuple(GALLERIES.T), ("V", "1", "1"))
    material = parameter_set().with_leaves({"open_circuit_potential": leaf}).values.material
    np.testing.assert_array_equal(material.ocp, CURVES["galleries"])


def test_stages() -> None:
    """Fractions are non-negative, sum to 1, carry the lithium and the volume; pure at their own compositions."""
    x = np.linspace(0, 1, 1001)
    f = GRAPHITE.stage_fractions(x)
    compositions = np.array([x for _, x in GRAPHITE.stages])
    assert f.min() >= 0.0
    assert f.sum(axis=0) == pytest.approx(np.ones(1001))
    assert np.array([0, 0.12, 0.18, 0.24, 0.5, 1]) @ f == pytest.approx(x, abs=1e-12)
    assert GRAPHITE.volume_change(compositions) @ f == pytest.approx(GRAPHITE.volume_change(x))
    names = [name for name, _ in GRAPHITE.stages]
    assert names == ["1L", "4L", "3L", "2L", "2", "1"]
    assert GRAPHITE.stage_fractions(0.5)[names.index("2")] == 1.0
    with pytest.raises(OutsideDomain, match="it lies in 0–1"):
        GRAPHITE.stage_fractions(1.1)


def test_published_volumes() -> None:
    """2.41, 3.36, 4.37, 5.58 and 13.1 % at 0.12, 0.18, 0.24, 0.5 and 1; the compiled reader agrees."""
    x = np.array([0.0, 0.12, 0.18, 0.24, 0.5, 0.75, 1.0])
    percent = np.array([0.0, 2.41, 3.36, 4.37, 5.58, 9.34, 13.1])
    rows = GRAPHITE.swelling
    assert rows is not None
    assert 100 * GRAPHITE.volume_change(x) == pytest.approx(percent)
    assert [100 * volume_change_at(float(value), rows) for value in x] == pytest.approx(percent)
    assert 100 * mean_volume_change(x, np.full(7, 1 / 7), rows) == pytest.approx(percent.mean())
    assert [volume_change_at(beyond, rows) for beyond in (-0.1, 1.1)] == [0.0, 0.131]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"density": -1.0}, "solid_density is -1; it is positive"),
        ({"specific_capacity": 0.0}, "specific_capacity is 0; it is positive"),
        ({"stoichiometry_range": (0.9, 0.1)}, r"lowest_stoichiometry is 0\.9, highest 0\.1; .*within 0–1"),
        ({"swelling": np.array([[0.5, 0.0], [0.5, 0.1]])}, "swelling is 2 rows; .*x rising strictly"),
        ({"stages": (("2", 0.5), ("1", 0.4))}, "stages is .*rises within 0–1"),
    ],
)
def test_a_material_that_none_is_is_refused(changes: dict[str, object], says: str) -> None:
    """By the name of its key in a parameter set."""
    with pytest.raises(OutsideDomain, match=says):
        replace(GRAPHITE, **changes)  # type: ignore[arg-type]
