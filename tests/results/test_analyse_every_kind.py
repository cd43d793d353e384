"""One short run on the twin with a tower, a pipette sweep, a raster and a modulated place: `analyse` knows each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opsicm.cli.main import main

TEXT = """
opsicm: 1
title: one of each
rig: twin/graphite
pipette: {bias_V: 0.7}
cell:
  - hold: {potential_V: 0.2, for_s: 60}
probe:
  - tower: {low_um: 100, high_um: 600, speed_mm_s: 0.5, record_every_s: 0.02, trips: 2}
  - pipette_sweep: {from_V: -0.6, to_V: 0.7, rate_mV_s: 500, height_um: 100}
  - engage: {fall_nm_per_ms: 60, setpoint_pct: 2.0, step_um: 5}
  - repeat:
      times: 2
      steps:
        - hop: {at_um: [1, 1], amplitude_nm: 1000, fall_nm_per_ms: 60, setpoint_pct: 2.0, hops: 8}
  - raster: {center_um: [0, 0], size_um: [4, 4], pixels: [8, 8], amplitude_nm: 2000, fall_nm_per_ms: 60,
             setpoint_pct: 2.0}
  - modulate: {at_um: [0, 0], levels_V: [0.6, 0.7], dwell_ms: 5, blanking_ms: 1, amplitude_nm: 1000,
               fall_nm_per_ms: 60, setpoint_pct: 2.0, hops: 20}
envelope: {cell_V: [-0.05, 1.7], approach_um: 8}
record: {pipette_bias: full}
"""


def test_every_kind_of_step_has_its_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment = tmp_path / "each.yaml"
    experiment.write_text(TEXT)
    assert main(["run", str(experiment), "--out", str(tmp_path)]) == 0
    path = capsys.readouterr().out.strip().splitlines()[-1]
    assert main(["analyse", path, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    records = {record["name"]: record for record in told}
    assert len(records) == len(told)  # one name, one number: also of a step that hops in several segments
    assert len({(r["quantity"], str(r["of"]), r["index"]) for r in told}) == len(told)
    assert records["hops probe[2]"]["of"] == {"step": "probe[2]"}
    # An engagement is a hop and a coarse step, again and again: counted, and no series.
    assert records["hops probe[2]"]["value"] > 3
    assert "height_scatter probe[2]" not in records
    assert records["tower_ways"]["value"] == 4.0
    assert records["near_less_far_current_first"]["unit"] == "pA"
    # 150 MΩ from geometry and conductivity; the sweep is not told so.
    assert 50.0 < records["pipette_resistance"]["value"] < 500.0
    assert records["Sq after plane"]["value"] > 0.0
    assert records["conductance"]["value"] > 0.0
    for record in records.values():
        assert (record["value"] is None) == (record["outcome"] != "ok")
        assert record["value"] is not None or record["reason"]


SWEEPS = """
opsicm: 1
title: baths
rig: twin/calibration
pipette: {bias_V: 0.0, fill_M: 1.0}
electrolyte: {salt_M: 0.4}
cell:
  - open_circuit: {for_s: 6}
probe:
  - pipette_sweep: {from_V: -0.8, to_V: 0.8, rate_mV_s: 1000, height_um: 100}
vary:
  electrolyte.salt_M: [0.2, 0.35, 0.5]
envelope: {cell_V: [-0.1, 4.0], pipette_nA: 20}
record: {pipette_current: decimated, pipette_bias: decimated, z: off}
"""

MODULATED = """
opsicm: 1
title: modulated hops
rig: twin/graphite
pipette: {bias_V: 0.7, fill_M: 1.0}
electrolyte: {salt_M: 0.4}
cell:
  - open_circuit: {for_s: 2}
probe:
  - hop: {at_um: [0, 0], amplitude_nm: 2000, fall_nm_per_ms: 60, setpoint_pct: 2.0,
          modulate: {levels_V: [0.6, 0.7], dwell_ms: 5, blanking_ms: 1}, during: "cell[0]"}
envelope: {cell_V: [-0.05, 1.7], approach_um: 8}
"""


def test_modulated_hops_are_read_by_the_sweeps_of_other_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("baths", SWEEPS), ("modulated", MODULATED)):
        (tmp_path / f"{name}.yaml").write_text(text)
        assert main(["run", str(tmp_path / f"{name}.yaml"), "--out", str(tmp_path / name)]) == 0
    modulated = next((tmp_path / "modulated").iterdir())
    capsys.readouterr()
    assert main(["analyse", str(modulated), "--json"]) == 0
    alone = {record["name"]: record for record in json.loads(capsys.readouterr().out)}
    assert alone["conductance"]["value"] > 0.0
    assert alone["conductance"]["flags"] == {"without_fit": 0}
    assert alone["concentration"]["outcome"] == "no calibration"
    assert main(["analyse", *map(str, sorted((tmp_path / "baths").iterdir())), str(modulated), "--json"]) == 0
    together = {r["name"]: r for r in json.loads(capsys.readouterr().out) if r["run"] == "all"}
    found = together["concentration"]
    # A cell at rest: the bath as it was filled. The twin's pipette is the one that was calibrated.
    assert abs(found["value"] - 400.0) < 2.0 * found["u"]
    # Three baths leave the line one degree of freedom, by which its scatter counts 6.5 times (Student's t).
    assert found["u"] < 200.0
    assert together["concentration_sensitivity"]["value"] > 0.1
