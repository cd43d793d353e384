"""A material of the user's: checked and run from files alone, and refused where nobody has said how it swells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from opsicm.cli.main import main
from opsicm.record.reader import Run

TEXT = """\
opsicm: 1
title: a cathode
rig: twin/lico2
pipette: {bias_V: 0.7}
specimen: {parameters: ours.yaml, loading_mg_cm2: 0.05}
cell:
  - sweep: {from_V: 3.8, to_V: 4.1, rate_mV_s: 50, cycles: 1}
probe:
  - hop: {at_um: [0, 0], amplitude_nm: 2000, fall_nm_per_ms: 30, setpoint_pct: 2.0}
envelope: {cell_V: [2.5, 4.5], cell_mA: 20}
"""
LICO2 = """\
parents: [lico2-li-ec-dec]
open_circuit_potential:
  {table: lico2-ocp-rieger-2016, columns: [stoichiometry, potential_V], status: literature, source: Rieger 2016}
"""
STILL = 'swelling_factor: {value: 0, unit: "1", u: 0, status: assumed, source: left out}\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e.yaml").write_text(TEXT, encoding="utf-8")
    (tmp_path / "ours.yaml").write_text(LICO2, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_set_that_does_not_say_how_it_swells_is_refused_where_heights_are_found(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """At the line that names the set, with what to add; nothing is written."""
    assert main([command, "e.yaml"]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert (
        "e.yaml:5: specimen.parameters is 'ours.yaml'; does not state how LiCoO2 swells, and probe[0] finds" in message
    )
    assert "add swelling: {table: FILE.csv" in message
    assert "swelling_factor: {value: 0" in message
    assert {path.name for path in folder.iterdir()} == {"e.yaml", "ours.yaml"}


@pytest.mark.parametrize("probe", ["hop", "park"])
def test_swelling_is_left_out_where_the_set_says_so_or_no_height_is_found(folder: Path, probe: str) -> None:
    """Then the run goes through, with the surface where it was."""
    if probe == "hop":
        (folder / "ours.yaml").write_text(LICO2 + STILL, encoding="utf-8")
    else:
        before = TEXT.index("probe:")
        text = TEXT[:before] + "probe:\n  - park: {height_um: 20}\n" + TEXT[TEXT.index("envelope:") :]
        (folder / "e.yaml").write_text(text, encoding="utf-8")
    assert main(["check", "e.yaml"]) == 0
    assert main(["run", "e.yaml", "--out", "out"]) == 0
    (path,) = (folder / "out").glob("*/run.nxs")
    with Run(path) as run:
        assert run.outcome == "completed"
        if probe == "hop":
            heights = run.hops["z_stop"].values
            assert np.ptp(heights) < 20 * np.median(np.abs(np.diff(heights)))  # noise alone
        else:
            stated = run.parameters["set"]["leaves"]["swelling_factor"]
            assert (stated["value"], stated["source"]) == (0.0, "no swelling curve, and no step finds a height")


def test_lithium_cobalt_oxide_grows_while_it_is_delithiated(folder: Path) -> None:
    """Height against potential, found by hopping: up from 3.8 to 4.1 V, 0.62 × 28 µm × 0.0364 of the x that leaves."""
    (folder / "e.yaml").write_text(
        TEXT.replace("ours.yaml", "lico2-li-ec-dec").replace("mV_s: 50", "mV_s: 10"), encoding="utf-8"
    )
    assert main(["run", "e.yaml", "--out", "out", "--seed", "2"]) == 0
    (path,) = (folder / "out").glob("*/run.nxs")
    with Run(path) as run:
        z, charge = run.hops["z_stop"].values, run.cell["charge"].values
        mass = 0.05e-2 * 0.94 * 0.5e-4  # kg of LiCoO2: loading × active fraction × area
        capacity = mass * 273.8 * 3600.0
        expected = 28e-6 * 0.62 * 0.0363585 * (charge.max() - charge[0]) / capacity
        windows = np.median(
            np.lib.stride_tricks.sliding_window_view(z[1:], 15), axis=1
        )  # the first hop finds the place
        # A height has a noise of 0.7 nm and lags by half a window; the double layer's charge swells nothing.
        assert windows.max() - windows[0] == pytest.approx(expected, rel=0.05)
        assert expected > 20e-9
        assert run.parameters["set"]["leaves"]["material"]["value"] == "LiCoO2"
