"""`opsicm parameters`: lists the sets, shows every leaf with its source, refuses with the file's line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from opsicm.cli.main import main
from opsicm.cli.parameters import app
from opsicm.experiment.parameter_file import parameter_set, parameter_set_names

RUNNER = CliRunner()


def test_list_names_every_set() -> None:
    result = RUNNER.invoke(app, ["list"])
    assert result.exit_code == 0
    assert all(name in result.output for name in parameter_set_names())
    records = json.loads(RUNNER.invoke(app, ["list", "--json"]).output)
    assert [record["default"] for record in records].count(True) == 1


def test_show_has_every_leaf_with_its_source() -> None:
    result = RUNNER.invoke(app, ["show", "graphite-li-ec-dec"])
    assert result.exit_code == 0
    for name, leaf in parameter_set().leaves.items():
        assert name in result.output
        assert leaf.source in result.output
    assert "1.58 mAh/cm2" in result.output
    records = json.loads(RUNNER.invoke(app, ["show", "--json"]).output)
    assert {record["name"] for record in records} == set(parameter_set().leaves)
    assert set(records[0]) == {"name", "value", "unit", "u", "status", "source"}
    (transference,) = (record for record in records if record["name"] == "transference")
    assert (transference["interval"], transference["u"]) == ([0.2, 0.4], None)
    assert "0.3 (0.2 … 0.4)" in result.output


def test_show_says_what_was_calibrated_and_what_the_pipette_feels_of_the_salt() -> None:
    shown = RUNNER.invoke(app, ["show", "graphite-li-ec-dec-takahashi"]).output
    assert "which this set cannot predict: conductivity_maximum_at, swelling_factor" in shown
    assert "conductivity 6.2 mS/cm at 1 M, greatest at 1.5 M; dlnκ/dlnc there +0.33: 1 % of salt" in shown
    proportional = RUNNER.invoke(app, ["show", "graphite-li-ec-dec-proportional"]).output
    assert (
        "without a maximum; dlnκ/dlnc there +1.00: 1 % of salt outside the pipette changes its current by +0.50 %"
        in (proportional)
    )
    assert "calibrated" not in proportional


def test_a_user_s_parameter_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own_set = tmp_path / "mine.yaml"
    own_set.write_text(
        "opsicm_parameters: 1\ntitle: bench 7\nparents: [graphite-li-ec-dec]\n"
        "transference: {value: 0.4, unit: '1', u: 0.05, status: measured, source: 'bench 7'}\n"
    )
    result = RUNNER.invoke(app, ["show", str(own_set)])
    assert result.exit_code == 0, result.output
    assert "bench 7" in result.output
    own_set.write_text(own_set.read_text().replace("0.4", "1.4"))
    assert main(["parameters", "show", str(own_set)]) == 2
    said = capsys.readouterr().err
    assert "mine.yaml" in said
    assert "transference" in said
    assert "0 ≤ t+ < 1" in said


def test_an_unknown_set_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parameters", "show", "gold"]) == 2
    assert "sets are graphite-li-ec-dec" in capsys.readouterr().err


def test_show_says_which_material_and_how_it_swells() -> None:
    """Graphite grows while it is lithiated, LiCoO2 shrinks; stages and curves are listed."""
    graphite = RUNNER.invoke(app, ["show"]).output
    assert "material graphite, LixC6 for x = 0 … 1" in graphite
    assert "lithiation of graphite changes its volume by +13.1 %" in graphite
    assert "stages 1L at x = 0, 4L at x = 0.12" in graphite
    oxide = RUNNER.invoke(app, ["show", "lico2-li-ec-dec"]).output
    assert "lithiation of LiCoO2 changes its volume by -2.05 %" in oxide
    assert "stages" not in oxide
    records = {r["name"]: r for r in json.loads(RUNNER.invoke(app, ["show", "--json"]).output)}
    assert records["open_circuit_potential"]["value"] == {"curve": "graphite-ocp-ecker-2015", "points": 41}
    assert records["stages"]["value"]["2L"] == 0.24
