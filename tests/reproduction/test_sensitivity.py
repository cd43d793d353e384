"""How rows follow the assumed numbers: the ends, the sign and size on one cheap row, what is kept, the figure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from opsicm.cli.main import main
from opsicm.core.errors import BadInput
from opsicm.experiment.parameter_file import parameter_set
from opsicm.figures.sensitivity import Bar, Tornado, tornado_view
from opsicm.figures.view import CurvePanel
from opsicm.reproduction import cases as cases_module
from opsicm.reproduction import sensitivity
from opsicm.reproduction.command import print_sensitivities
from opsicm.reproduction.paper import ROWS
from opsicm.reproduction.sensitivity import Effect, RowSensitivity, assumed, chosen_names, turned, variations
from opsicm.reproduction.variants import DEFAULT, TAKAHASHI

PULSE = """\
opsicm: 1
title: one pulse
rig: twin/demo  # no slow noise: the salt of one short pulse changes the current by less than a pipette wanders
pipette: {bias_V: 0.7}
specimen: {loading_mg_cm2: 4.4}
cell:
  - open_circuit: {for_s: 20}
  - constant_current: {current_mA_cm2: -0.8, until: {for_s: 60}}
  - open_circuit: {for_s: 60}
probe:
  - park: {height_um: 10}
envelope: {cell_V: [-1.0, 3.0], cell_mA: 50, pipette_nA: 100}
"""


def test_every_assumed_leaf_has_two_ends_or_is_named_as_not_varied() -> None:
    ends, without = assumed(DEFAULT)
    assert ends["transference"] == ("0.2", "0.4")
    assert ends["conductivity_maximum_at"] == ("0.806 M", "1.11 M")
    assert ends["conductivity_1M"] == ("0.52 S/m", "0.72 S/m")
    assert ends["facing"] == (None, "down")
    assert ends["disk_radius"] == (None, "3.99 mm")
    assert ends["film_resistance"] == (None, "20 Ohm cm2")  # its lower end is what the set has
    # Within the wall of a slab, an offset of the reference changes nothing; another wall it does not have.
    assert without == ("initial_potential", "reference_offset", "vessel_radius")
    # What was calibrated or comes from the paper is not assumed.
    assert not {"swelling_factor", "thickness", "sei_potential"} & set(ends)
    assert "conductivity_maximum_at" not in assumed(TAKAHASHI)[0]
    assert ends["ir_compensation_pct"] == (None, "85")
    assert assumed(TAKAHASHI)[0]["ir_compensation_pct"] == ("0", "85")


def test_a_name_without_a_range_is_refused() -> None:
    assert chosen_names("all", DEFAULT) == tuple(assumed(DEFAULT)[0])
    assert chosen_names("wall, transference", DEFAULT) == ("wall", "transference")
    with pytest.raises(
        BadInput, match="--sensitivity is initial_potential; has no range; those with a range are bath_"
    ):
        chosen_names("initial_potential", DEFAULT)
    with pytest.raises(BadInput, match="thickness; is no assumed number of the set"):
        chosen_names("thickness,wall", DEFAULT)


def test_a_changed_set_differs_in_one_number(tmp_path: Path) -> None:
    low, high = variations(DEFAULT, ["transference"], tmp_path)
    for one, value in ((low, 0.2), (high, 0.4)):
        changed = parameter_set(one.chosen.name)
        assert changed.values.electrolyte.transference == value
        differing = {name for name, leaf in changed.leaves.items() if leaf != parameter_set().leaves[name]}
        assert differing == {"transference"}
    (wide,) = variations(DEFAULT, ["disk_radius"], tmp_path)
    assert parameter_set(wide.chosen.name).values.disk_radius == pytest.approx(3.99e-3)
    (cone, _) = variations(DEFAULT, ["cone_deg"], tmp_path)
    assert (cone.chosen.name, cone.chosen.changes["pipette.cone_deg"]) == (DEFAULT.name, 3.0)


def test_rows_of_a_pulse_follow_what_they_must_and_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pulse depletes the salt, which comes back at rest: the current rises where κ rises with the salt, at a maximum
    above 1 M, and falls where it falls. How fast a potentiostat is moves nothing of a constant current."""
    folder = tmp_path / "experiments/short"
    folder.mkdir(parents=True)
    (folder / "e05_pulse.yaml").write_text(PULSE, encoding="utf-8")
    monkeypatch.setattr(cases_module, "EXPERIMENTS", tmp_path / "experiments")
    monkeypatch.setattr("opsicm.reproduction.command._WORKERS", 1)
    out = ["--only", "E5", "--out", str(tmp_path / "out"), "--json", str(tmp_path / "s.json")]
    assert main(["reproduce", "--sensitivity", "conductivity_maximum_at,response_time", *out]) == 0
    records = {one["id"]: one for one in json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))}
    rest = records["E5.rest"]
    strongest, weakest = rest["effects"]
    assert (strongest["name"], strongest["ends"]) == ("conductivity_maximum_at", ["0.806 M", "1.11 M"])
    below, above = strongest["here"]
    assert below < 0.0 < rest["here"] < above
    assert (weakest["name"], weakest["here"]) == ("response_time", [rest["here"], rest["here"]])
    assert "E5.step" not in records  # it chose the cone
    kept = sorted((tmp_path / "out/sensitivity").glob("*.json"))
    assert len(kept) == 5
    assert not list((tmp_path / "out/sensitivity").rglob("run.nxs"))
    assert (tmp_path / "out/figures/sensitivity_E5.png").is_file()
    assert "E5.rest  " in (said := capsys.readouterr().out)
    assert "conductivity_maximum_at 0.806 … 1.11 M: -" in said

    monkeypatch.setattr(sensitivity, "_rows_of", None)  # nothing is computed again
    assert main(["reproduce", "--sensitivity", "conductivity_maximum_at,response_time", *out]) == 0
    again = {one["id"]: one for one in json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))}
    assert again == records


def test_a_verdict_that_turns_is_told() -> None:
    row = next(row for row in ROWS if row.id == "E9.ten_hops")
    one = RowSensitivity(
        row, 0.5, 0.01, (Effect("wall", ("1.3", "1.72"), (0.52, 2.0)), Effect("tdf", ("1", "1.6"), (0.5, None)))
    )
    assert [(effect.name, k) for _, effect, k in turned([one])] == [("wall", 1)]
    assert one.record()["effects"][0]["verdicts"] == ["agrees", "disagrees"]
    assert one.effects[1].span(0.5) == 0.0


def test_a_compensation_that_cannot_reach_the_experiment_has_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The short E9 states its own 97 %: no bar of length 0, which would say that compensation does not matter."""
    monkeypatch.setattr(sensitivity, "_rows_of", lambda *_: {"E9.ratio": (0.8, 0.01)})
    run = (DEFAULT, ("E9",), ("ir_compensation_pct", "wall"), tmp_path, lambda: False, lambda *_: None)
    (row,) = sensitivity.sensitivities(*run, workers=1) or []
    assert {(one.name, one.applies, one.here) for one in row.effects} == {
        ("ir_compensation_pct", False, (None, None)),
        ("wall", True, (0.8, 0.8)),
    }
    print_sensitivities([row])
    assert "ir_compensation_pct: no number, this form states its own" in capsys.readouterr().out


def test_the_figure_has_the_longest_bars_first_and_the_papers_number() -> None:
    bars = (Bar("short", 1.0, 1.1), Bar("long", 0.5, 1.4), Bar("nothing", 1.0, 1.0), Bar("one end", None, 1.2))
    (panel,) = tornado_view([Tornado("E9.total", "expansion", "%", 1.0, 2.0, bars)], "E9").panels
    assert isinstance(panel, CurvePanel)
    assert panel.row_names == ("long", "one end", "short")
    base, paper, low, high = panel.series
    assert base.x.tolist() == [1.0, 1.0]
    assert paper.x.tolist() == [2.0, 2.0]
    assert [v for v in low.x if np.isfinite(v)] == [1.0, 0.5, 1.0, 1.0, 1.0, 1.0]
    assert [v for v in high.x if np.isfinite(v)] == [1.0, 1.4, 1.0, 1.2, 1.0, 1.1]
    assert panel.x_limits is not None
    assert panel.x_limits[0] < 0.5
    assert panel.x_limits[1] > 2.0
