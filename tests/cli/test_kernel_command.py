"""`opsicm kernel`: labelled numbers, a record, a figure, and refusals on the exit code."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from opsicm.cli import kernel as kernel_command
from opsicm.cli.main import main
from opsicm.physics.pipette import tip_field as tip_table
from opsicm.physics.tables import load_table

RUN = CliRunner()


def test_show_prints_labelled_numbers_and_draws(tmp_path: Path) -> None:
    figure = tmp_path / "kernel.png"
    shown = RUN.invoke(
        kernel_command.app, ["show", "--radius-nm", "50", "--wall", "1.5", "--cone-deg", "3", "--figure", str(figure)]
    )
    assert shown.exit_code == 0, shown.output
    assert "shank 20 µm" in shown.output
    assert "98 %" in shown.output
    assert figure.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_show_json_has_the_stable_keys() -> None:
    shown = RUN.invoke(kernel_command.app, ["show", "--json"])
    (record,) = json.loads(shown.output)
    assert record["distance_98_nm"] == pytest.approx(33.66, abs=0.05)
    assert record["length_um"] == 20.0
    assert record["edge_10_90_nm"] == pytest.approx(148.5, abs=1.0)
    assert record["height_noise_nm_per_1e-4"] == pytest.approx(1e-4 / record["slope_per_nm"], rel=1e-6)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--wall", "1.0", ("is 1;", "above 1")),
        ("--wall", "0.8", ("0.8", "above 1")),
        ("--cone-deg", "0", ("0°", "between 0° and 90°")),
        ("--radius-nm", "nan", ("nan", "above 0 m")),
        ("--cone-deg", "40", ("40°", "1.0° to 20.0°")),
        ("--kappa", "0", ("conductivity", "above 0 S/m")),
    ],
)
def test_bad_geometry_exits_2_with_value_and_limit(
    capsys: pytest.CaptureFixture[str], option: str, value: str, words: tuple[str, ...]
) -> None:
    assert main(["kernel", "show", "--json", option, value]) == 2
    said = capsys.readouterr()
    for word in words:
        assert word in said.err


def test_build_writes_what_the_package_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the 140 columns, computed anew in a process of its own, equals the shipped one to 1e-5 (round-off)."""
    all_of_them = tip_table.geometries()
    chosen = [all_of_them[77]]
    monkeypatch.setattr(tip_table, "geometries", lambda: chosen)
    columns: list[tip_table.Column] = []

    def keep(values: Iterable[tip_table.Column], done: object) -> dict[str, tip_table.F64]:
        del done
        columns.extend(values)
        return {}

    monkeypatch.setattr(tip_table, "build", keep)
    built = RUN.invoke(kernel_command.app, ["build", "--out", str(tmp_path / "t.npz"), "--workers", "1"])
    assert built.exit_code == 0, built.output
    table = load_table("tip_field")
    for column, index in zip(columns, (77,), strict=True):
        wall, cone = divmod(index, table["cone_angle"].size)
        assert column[0] == pytest.approx(table["access"][wall, cone], abs=1e-7)
        np.testing.assert_allclose(column[1], table["log_dR_d"][wall, cone], atol=1e-5)
