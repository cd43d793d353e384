"""Parameter sets: into SI, through parents, and refused with a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsicm.core.errors import BadInput
from opsicm.experiment.parameter_file import Curve, Quantity, parameters_path, read_parameters

BASE = """\
opsicm_parameters: 1
title: graphite
graphite:
  density: {value: 1.56, unit: g/cm3, u: 0.02, status: literature, source: the maker}
  diffusivity: {value: 1e-10, unit: cm2/s, u: 5e-11, status: assumed, source: a guess}
  ocp: {table: ocp.csv, columns: [stoichiometry, potential_V], status: measured, source: our cell}
temperature: {value: 298.15, unit: K, u: 0.5, status: measured, source: the glovebox}
"""
TABLE = "# measured slowly\nstoichiometry, potential_V\n0, 1.2\n0.5, 0.12\n1, 0.01\n"

SPOILED: dict[str, tuple[str, str, int, tuple[str, ...]]] = {
    "unit": ("unit: g/cm3", "unit: g/cm4", 4, ("graphite.density.unit is 'g/cm4'", "known units are", "g/cm3")),
    "status": ("status: assumed", "status: guessed", 5, ("graphite.diffusivity.status", "measured, literature")),
    "no source": (", source: the maker", "", 4, ("graphite.density.source", "is missing")),
    "no uncertainty": ("u: 0.5, ", "", 7, ("temperature.u", "is missing")),
    "negative u": ("u: 0.5", "u: -0.5", 7, ("temperature.u is -0.5", "at least 0")),
    "a bare number": (
        "title: graphite\n",
        "title: graphite\ncapacity: 372\n",
        3,
        ("capacity is 372", "must be a leaf"),
    ),
    "value a text": ("value: 298.15", "value: warm", 7, ("temperature.value is 'warm'", "must be a number")),
    "no table": ("ocp.csv", "none.csv", 6, ("graphite.ocp.table is 'none.csv'", "no such file")),
    "one column": ("[stoichiometry, potential_V]", "[potential_V]", 6, ("graphite.ocp.columns", "at least 2")),
    "column twice": ("[stoichiometry,", "[potential_mV,", 6, ("graphite.ocp.columns[1]", "given twice")),
    "unknown key": ("source: our cell", "source: us, origin: x", 6, ("graphite.ocp.origin", "no such key")),
    "version": ("opsicm_parameters: 1", "opsicm_parameters: 2", 1, ("must be at most 1",)),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(BASE, encoding="utf-8")
    (tmp_path / "ocp.csv").write_text(TABLE, encoding="utf-8")
    return tmp_path


def test_leaves_in_si(folder: Path) -> None:
    leaves = read_parameters(folder / "base.yaml")
    assert list(leaves) == ["graphite.density", "graphite.diffusivity", "graphite.ocp", "temperature"]
    density = leaves["graphite.density"]
    assert isinstance(density, Quantity)
    assert (density.value, density.u) == pytest.approx((1560, 20))
    assert density.unit == "kg/m3"
    assert (density.status, density.source, density.line) == ("literature", "the maker", 4)
    ocp = leaves["graphite.ocp"]
    assert isinstance(ocp, Curve)
    assert ocp.columns == {"stoichiometry": (0, 0.5, 1), "potential": (1.2, 0.12, 0.01)}
    assert ocp.units == {"stoichiometry": "1", "potential": "V"}


def test_a_column_in_another_unit_comes_out_in_si(folder: Path) -> None:
    (folder / "base.yaml").write_text(BASE.replace("potential_V", "potential_mV"), encoding="utf-8")
    (folder / "ocp.csv").write_text("0, 1200\n1, 10\n", encoding="utf-8")
    ocp = read_parameters(folder / "base.yaml")["graphite.ocp"]
    assert isinstance(ocp, Curve)
    assert ocp.columns["potential"] == pytest.approx((1.2, 0.01))


def test_a_child_changes_a_leaf_and_keeps_the_rest(folder: Path) -> None:
    child = folder / "child.yaml"
    child.write_text(
        "parents: [base.yaml]\ngraphite:\n"
        "  density: {value: 2.2, unit: g/cm3, u: 0.1, status: measured, source: weighed}\n",
        encoding="utf-8",
    )
    leaves = read_parameters(child)
    density, temperature = leaves["graphite.density"], leaves["temperature"]
    assert isinstance(density, Quantity)
    assert density.value == pytest.approx(2200)
    assert (density.file, density.line) == (str(child), 3)
    assert temperature.file == str(folder / "base.yaml")


def test_a_circle_of_parents_is_refused(folder: Path) -> None:
    (folder / "one.yaml").write_text("parents: [two.yaml]\n", encoding="utf-8")
    (folder / "two.yaml").write_text("title: two\nparents: [base.yaml, one.yaml]\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"two.yaml:2: parents\[1\] is 'one.yaml'; is its own ancestor"):
        read_parameters(folder / "one.yaml")


def test_one_parent_by_two_ways_is_no_circle(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / f"{name}.yaml").write_text("parents: [base.yaml]\n", encoding="utf-8")
    (folder / "both.yaml").write_text("parents: [one.yaml, two.yaml]\n", encoding="utf-8")
    assert read_parameters(folder / "both.yaml") == read_parameters(folder / "base.yaml")


def test_a_missing_parent_is_refused_at_its_line(folder: Path) -> None:
    (folder / "child.yaml").write_text("title: c\nparents: [none.yaml]\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"child.yaml:2: parents\[0\] is 'none.yaml'; there is no such file"):
        read_parameters(folder / "child.yaml")
    with pytest.raises(BadInput, match="is no preset"):
        parameters_path("unobtainium")


@pytest.mark.parametrize("name", SPOILED)
def test_bad_parameter_set(name: str, folder: Path) -> None:
    old, new, line, words = SPOILED[name]
    assert BASE.count(old) == 1
    (folder / "base.yaml").write_text(BASE.replace(old, new), encoding="utf-8")
    with pytest.raises(BadInput) as refused:
        read_parameters(folder / "base.yaml")
    (problem,) = refused.value.problems
    assert problem.line == line, str(problem)
    for word in words:
        assert word in str(problem)


def test_two_bad_leaves_are_two_problems(folder: Path) -> None:
    text = BASE.replace("unit: K", "unit: C2").replace("status: assumed", "status: guessed")
    (folder / "base.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as refused:
        read_parameters(folder / "base.yaml")
    assert [problem.thing for problem in refused.value.problems] == ["graphite.diffusivity.status", "temperature.unit"]


@pytest.mark.parametrize("row", ["0.7, nan", "0.7", "0.7, 0.1, 3", "0.7, x"])
def test_a_bad_row_of_a_table_is_refused_at_its_line(folder: Path, row: str) -> None:
    (folder / "ocp.csv").write_text(TABLE + row + "\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"ocp.csv:6: the row is .*must hold 2 finite numbers"):
        read_parameters(folder / "base.yaml")
