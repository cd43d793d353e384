"""`opsicm parameters`: lists the sets, shows every leaf with its source, refuses with the file's line."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from opsicm.cli.parameters import app
from opsicm.physics.parameters import parameter_set, parameter_set_names

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


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "opsicm_parameters: 1\ntitle: bench 7\nparents: [graphite-li-ec-dec]\n"
        "transference: {value: 0.4, unit: '1', u: 0.05, status: measured, source: 'bench 7'}\n"
    )
    result = RUNNER.invoke(app, ["show", str(mine)])
    assert result.exit_code == 0, result.output
    assert "bench 7" in result.output
    mine.write_text(mine.read_text().replace("0.4", "1.4"))
    result = RUNNER.invoke(app, ["show", str(mine)])
    assert result.exit_code == 2
    assert "mine.yaml" in result.output
    assert "transference" in result.output
    assert "0 ≤ t+ < 1" in result.output


def test_an_unknown_set_is_refused_with_the_known_ones() -> None:
    result = RUNNER.invoke(app, ["show", "gold"])
    assert result.exit_code == 2
    assert "known: graphite-li-ec-dec" in result.output
