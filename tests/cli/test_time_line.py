"""The time line that `check` prints and draws: when each step runs, what it waits for, and where the probe has none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from opsicm.cli.check import check_report, checked_file, plan_of
from opsicm.cli.main import main
from opsicm.figures.draw import draw
from opsicm.figures.time_line import time_line_view
from opsicm.figures.view import CurvePanel

HOP = "amplitude_nm: 2000, fall_nm_per_ms: 30, setpoint_pct: 2"
TEXT = f"""\
opsicm: 1
title: images and pulses
rig: twin/graphite
pipette: {{bias_V: 0.7}}
specimen: {{loading_mg_cm2: 0.05}}
cell:
  - constant_current: {{c_rate: -1, until: {{for: 2 min}}}}
  - open_circuit: {{for: 30 s}}
  - hold: {{potential_V: 0.4, for: 30 s}}
  - gitt: {{c_rate: -1, pulse_s: 10, rest_s: 10, pulses: 3}}
probe:
  - raster: {{center_um: [0, 0], size_um: [4, 4], pixels: [16, 16], {HOP}, every: 30 s, during: "cell[0]"}}
  - park: {{height_um: 15, during: "cell[1]"}}
  - hop: {{at_um: [-2, 2], {HOP}, during: "cell[2]"}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def lines(file: Path) -> list[str]:
    text = check_report(file, checked_file(file, None)).splitlines()
    return [line.strip() for line in text[text.index("  time line") + 1 :]]


def test_every_step_says_when_it_runs_and_what_it_waits_for(file: Path) -> None:
    said = lines(file)
    assert said[0].split(":")[0] == "cell[0]        0.0 s – 120.0 s       constant_current"
    assert "c_rate: -1" in said[0]
    assert said[1].startswith(
        "probe[0]     0.0 s – 110.5 s       raster (every 0.5 min during cell[0], 4 times of 20.5 s)"
    )
    assert "open_circuit: {for_s: 30}" in said[2]
    assert "park (waits for cell[1]): {height_um: 15}" in said[3]
    assert said[5].startswith("probe[2]     150.0 s – 180.0 s     hop (during cell[2])")
    assert said[6].startswith("cell[3]        180.0 s – 240.0 s     gitt")
    idle = "20.5 s – 30.0 s, 50.5 s – 60.0 s, 80.5 s – 90.0 s and 2 times more"
    assert said[-1] == f"no probe step {idle}: the pipette waits 50 µm up"


def test_an_image_that_the_cell_step_cuts_off_is_said_to_be_cut(file: Path) -> None:
    file.write_text(file.read_text(encoding="utf-8").replace("for: 2 min", "for: 100 s"), encoding="utf-8")
    assert any("4 times of 20.5 s, the last cut off after 10 s" in line for line in lines(file))


def test_a_long_program_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    pairs = "  - hold: {potential_V: 0.4, for_s: 5}\n  - rest: {for_s: 5}\n" * 20
    path.write_text(TEXT[: TEXT.index("  - constant")] + pairs, encoding="utf-8")
    assert lines(path) == [
        "cell[0]        0.0 s – 5.0 s         hold: {potential_V: 0.4, for_s: 5}",
        "cell[1]        5.0 s – 10.0 s        rest: {for_s: 5}",
        "…              195.0 s – 200.0 s     the same 19 times more, to cell[39]",
    ]


def test_the_figure_shows_the_periods_of_the_forecast(file: Path) -> None:
    ((experiment, prediction),) = checked_file(file, None)
    plan = plan_of(experiment, prediction)
    view = time_line_view(plan, prediction.cell, "t")
    rows = view.panels[-1]
    assert isinstance(rows, CurvePanel)
    assert rows.row_names[:3] == ("cell[0] constant_current", "probe[0] raster", "cell[1] open_circuit")
    assert rows.row_names[-1] == "no step"
    images = [window for window in prediction.windows if window.path == "probe[0]"]
    drawn = rows.series[1].x.reshape(-1, 3)
    assert drawn[:, :2].tolist() == [[window.start, window.end] for window in images]
    assert np.isnan(drawn[:, 2]).all(), "bars do not touch"
    labels = [text.get_text() for text in draw(view).axes[-1].get_yticklabels()]
    assert labels == list(rows.row_names)


def test_plot_writes_the_picture_and_says_where(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = file.with_name("plan.png")
    assert main(["check", str(file), "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"time line drawn  {picture}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("vary", "pictures", "said"),
    [
        ("pipette.radius_nm: [40, 50]", {"plan.svg"}, "plan.svg (the same for 2 runs)"),
        ("'cell[1].open_circuit.for_s': [30, 60]", {"plan-1.svg", "plan-2.svg"}, "plan-2.svg"),
    ],
)
def test_runs_with_different_plans_have_a_picture_each(
    file: Path, vary: str, pictures: set[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(file.read_text(encoding="utf-8") + f"vary: {{{vary}}}\n", encoding="utf-8")
    assert main(["check", str(file), "--plot", str(file.with_name("plan.svg"))]) == 0
    assert {path.name for path in file.parent.glob("*.svg")} == pictures
    assert said in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize(
    ("name", "words"), [("plan.doc", "as --plot plan.png"), ("nowhere/plan.png", "choose another path with --plot")]
)
def test_a_picture_that_cannot_be_drawn_is_refused(
    file: Path, name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(file), "--plot", str(file.parent / name)]) == 2
    assert words in capsys.readouterr().err


def test_the_time_line_in_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(file), "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    image = next(step for step in record["time_line"] if step["step"] == "probe[0]")
    assert [span["start_s"] for span in image["spans"]] == pytest.approx([0.0, 30.0, 60.0, 90.0])
    assert image["when"] == "every 0.5 min during cell[0]"
