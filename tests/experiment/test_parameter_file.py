"""Parameter sets: into SI, through parents, and refused with a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsicm.core.errors import BadInput
from opsicm.core.units import factor
from opsicm.experiment.parameter_file import (
    DEFAULT_SET,
    parameter_set,
    parameter_set_names,
    parameters_path,
    read_parameter_set,
    read_parameters,
)
from opsicm.physics.parameters import NAMES, Curve

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
    "u and interval": ("u: 0.5", "u: 0.5, interval: [290, 300]", 7, ("temperature.u", "no such key")),
    "interval without its value": (
        "u: 0.5",
        "interval: [300, 310]",
        7,
        ("temperature.interval is [300, 310]", "its lower end comes first, and 298.15 lies inside"),
    ),
    "interval backwards": ("u: 0.5", "interval: [310, 290]", 7, ("temperature.interval", "lower end comes first")),
    "interval of one": ("u: 0.5", "interval: [290]", 7, ("temperature.interval is [290]; has too few entries",)),
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
    assert density.leaf.u is not None
    assert (density.leaf.si, density.leaf.u * factor(density.leaf.unit)) == pytest.approx((1560, 20))
    assert density.leaf.si_unit == "kg/m3"
    assert (density.leaf.status, density.leaf.source, density.line) == ("literature", "the maker", 4)
    ocp = leaves["graphite.ocp"].leaf
    assert isinstance(ocp.value, Curve)
    assert ocp.value == Curve("ocp.csv", ((0, 0.5, 1), (1.2, 0.12, 0.01)), ("1", "V"))
    assert (ocp.unit, ocp.u, ocp.status, ocp.source) == ("curve", None, "measured", "our cell")


def test_a_column_in_another_unit_comes_out_in_si(folder: Path) -> None:
    (folder / "base.yaml").write_text(BASE.replace("potential_V", "potential_mV"), encoding="utf-8")
    (folder / "ocp.csv").write_text("0, 1200\n1, 10\n", encoding="utf-8")
    ocp = read_parameters(folder / "base.yaml")["graphite.ocp"].leaf.value
    assert isinstance(ocp, Curve)
    assert ocp.columns[1] == pytest.approx((1.2, 0.01))


def test_a_child_changes_a_leaf_and_keeps_the_rest(folder: Path) -> None:
    child = folder / "child.yaml"
    child.write_text(
        "parents: [base.yaml]\ngraphite:\n"
        "  density: {value: 2.2, unit: g/cm3, u: 0.1, status: measured, source: weighed}\n",
        encoding="utf-8",
    )
    leaves = read_parameters(child)
    density, temperature = leaves["graphite.density"], leaves["temperature"]
    assert density.leaf.si == pytest.approx(2200)
    assert (density.file, density.line) == (str(child), 3)
    assert temperature.file == str(folder / "base.yaml")


def test_words_stages_and_numbers_of_unstated_uncertainty(folder: Path) -> None:
    (folder / "base.yaml").write_text(
        "facing: {value: down, status: measured, source: seen}\n"
        'stages: {value: {2L: 0.24, "2": 0.5}, status: literature, source: a book}\n'
        "thickness: {value: 30, unit: um, u: unstated, status: assumed, source: us}\n"
        "counter: {value: side, unit: word, status: measured, source: as `parameters show --json` prints it}\n",
        encoding="utf-8",
    )
    facing, stages, thickness, counter = (stated.leaf for stated in read_parameters(folder / "base.yaml").values())
    assert (facing.value, counter.value, facing.unit, facing.u) == ("down", "side", "word", None)
    assert stages.value == (("2L", 0.24), ("2", 0.5))
    assert thickness.si == pytest.approx(30e-6)
    assert thickness.u is None


def test_an_interval_stands_in_place_of_an_uncertainty(folder: Path) -> None:
    text = "cone: {value: 290, unit: K, interval: [280, 300], status: calibrated, source: E5 of the paper}\n"
    (folder / "base.yaml").write_text(text, encoding="utf-8")
    (leaf,) = (stated.leaf for stated in read_parameters(folder / "base.yaml").values())
    assert (leaf.value, leaf.u, leaf.interval, leaf.status) == (290.0, None, (280.0, 300.0), "calibrated")


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


# -- Sets: what a file makes of the program's own, and another material.


MATERIAL = """\
title: our cathode
parents: [graphite-li-ec-dec]
material: {value: LiFePO4, status: literature, source: us}
open_circuit_potential:
  {table: ours.csv, columns: [stoichiometry, potential_mV], status: measured, source: our coin cell}
specific_capacity: {value: 170, unit: mAh/g, u: 1, status: literature, source: "F/M"}
solid_density: {value: 3.6, unit: g/cm3, u: 0.1, status: literature, source: a book}
initial_potential: {value: 3.4, unit: V, u: 0, status: assumed, source: us}
"""
SWELLING = """\
swelling: {table: volume.csv, columns: [stoichiometry, volume_change_pct], status: literature, source: a book}
stages: {value: {heterosite: 0, triphylite: 1}, status: literature, source: a book}
"""


def written(folder: Path, text: str) -> Path:
    (folder / "ours.csv").write_text("0.01, 3500\n0.1, 3430\n0.5, 3425\n0.9, 3420\n0.99, 3300\n", encoding="utf-8")
    (folder / "volume.csv").write_text("0, 0\n1, 6.8\n", encoding="utf-8")
    path = folder / "ours.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_default_set_names_all_that_a_set_may_say_except_a_narrower_range() -> None:
    assert NAMES - set(parameter_set().leaves) == {"lowest_stoichiometry", "highest_stoichiometry"}
    assert parameter_set_names()[0] == DEFAULT_SET
    assert not any(name.startswith("part-") for name in parameter_set_names())


def test_a_material_is_a_file(folder: Path) -> None:
    """Nothing of the program names LiFePO4: its curve, density, capacity, swelling and stages are the file's."""
    chosen = read_parameter_set(written(folder, MATERIAL + SWELLING))
    material = chosen.values.material
    assert (chosen.title, material.name, material.formula) == ("our cathode", "LiFePO4", "")
    assert material.open_circuit_potential(0.5) == pytest.approx(3.425, abs=1e-3)
    assert (material.density, material.specific_capacity) == pytest.approx((3600, 612000))
    assert material.volume_change([0, 0.5, 1]) == pytest.approx([0, 0.034, 0.068])
    assert material.stages == (("heterosite", 0.0), ("triphylite", 1.0))
    assert chosen.values.thickness == parameter_set().values.thickness


def test_another_material_inherits_nothing_of_its_parents_material(folder: Path) -> None:
    """It has no swelling rather than graphite's; and what a cell cannot do without is asked for."""
    material = read_parameter_set(written(folder, MATERIAL)).values.material
    assert material.swelling is None
    assert material.stages == ()
    lines = [line for line in MATERIAL.splitlines() if not line.startswith(("specific_capacity", "solid_density"))]
    with pytest.raises(BadInput, match="another material inherits nothing of its parent's material") as refused:
        read_parameter_set(written(folder, "\n".join(lines)))
    assert [problem.thing for problem in refused.value.problems] == ["solid_density", "specific_capacity"]


def test_an_open_circuit_table_alone_does_not_swell_like_graphite(folder: Path) -> None:
    """Without a name the table may be another material's; with the parent's name it is a better curve of the same."""
    lines = [line for line in MATERIAL.splitlines() if not line.startswith("material")]
    unnamed = read_parameter_set(written(folder, "\n".join(lines)))
    assert unnamed.values.material.swelling is None
    assert unnamed.values.material.stages == ()
    table = "{table: graphite-ocp-chen-2020, columns: [stoichiometry, potential_V], status: literature, source: Chen}"
    text = f"material: {{value: graphite, status: measured, source: us}}\nopen_circuit_potential: {table}\n"
    named = read_parameter_set(written(folder, text)).values.material
    assert named.volume_change(1.0) == pytest.approx(0.131)
    assert named.ocp[0, 0] == pytest.approx(0.0313, abs=1e-4)  # the program's own table, by its name


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("thicknes: {value: 1, unit: m, u: 0, status: assumed, source: us}", "thicknes; is no parameter of a set; did"),
        ("thickness: {value: 1, unit: V, u: 0, status: assumed, source: us}", "thickness is V; must be in units of m"),
        ("thickness: {value: thick, status: assumed, source: us}", "thickness is 'thick'; must be in units of m"),
        ("facing: {value: left, status: assumed, source: us}", "facing is 'left'; must be one of up, down"),
        ("stages: {value: {a: 0.5, b: 0.4}, status: assumed, source: us}", "stages is .*rises within 0–1"),
        ("porosity: {value: 2, unit: '1', u: 0, status: assumed, source: us}", "porosity is 2; it lies between 0"),
        (
            "swelling: {table: t.csv, columns: [stoichiometry, change_nm], status: assumed, source: us}",
            r"swelling is a table in \[1, m\]; must be a table with columns \[stoichiometry, volume_change\]",
        ),
        (
            "thickness: {table: t.csv, columns: [stoichiometry, change_nm], status: assumed, source: us}",
            "thickness is a table",
        ),
    ],
)
def test_a_leaf_of_another_kind_is_refused_at_its_line(folder: Path, line: str, says: str) -> None:
    (folder / "t.csv").write_text("0, 1\n1, 2\n", encoding="utf-8")
    with pytest.raises(BadInput, match=f"ours.yaml:2: {says}"):
        read_parameter_set(written(folder, f"parents: [{DEFAULT_SET}]\n{line}\n"))


def test_a_conductivity_is_a_table_of_any_units_of_its_kind(folder: Path) -> None:
    (folder / "kappa.csv").write_text("200, 3\n1000, 7\n2000, 5\n", encoding="utf-8")
    columns = "[concentration_mol, conductivity_mS_cm]"
    text = f"conductivity_curve: {{table: kappa.csv, columns: {columns}, status: measured, source: us}}\n"
    with pytest.raises(BadInput, match="concentration_M, conductivity_mS_cm"):
        read_parameter_set(written(folder, text))
    (folder / "kappa.csv").write_text("0.2, 3\n1, 7\n2, 5\n", encoding="utf-8")
    electrolyte = read_parameter_set(written(folder, text.replace("_mol", "_M"))).values.electrolyte
    assert electrolyte.conductivity([0.0, 200.0, 1000.0, 2900.0]) == pytest.approx([0.0, 0.3, 0.7, 0.5])


def test_a_file_is_found_from_where_it_is_named(folder: Path) -> None:
    written(folder, MATERIAL)
    assert parameter_set("ours.yaml", folder).values.material.name == "LiFePO4"
    with pytest.raises(BadInput, match=f"'gold'; is no parameter set; sets are {DEFAULT_SET}"):
        parameter_set("gold")


def test_a_leaf_without_its_uncertainty_is_told_in_words(tmp_path: Path) -> None:
    file = tmp_path / "dish.yaml"
    leaf = "reference_offset: {value: 1, unit: mm, status: assumed, source: mine}\n"
    file.write_text(f"opsicm_parameters: 1\ntitle: dish\nparents: [graphite-li-ec-dec]\n{leaf}", encoding="utf-8")
    with pytest.raises(BadInput, match=r"reference_offset\.u; is missing and a number needs it; add u: "):
        parameter_set(str(file))
