"""`vary`: one file, a series of runs; and the map of amplitudes beside a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from opsicm.core.errors import BadInput
from opsicm.experiment.cell_steps import Sweep
from opsicm.experiment.data_files import amplitude_maps
from opsicm.experiment.expansion import expanded
from opsicm.experiment.file import experiment_from_text, read_experiment

TEXT = """\
opsicm: 1
title: a series
rig: twin/graphite
pipette: {bias_V: 0.7}
cell:
  - sweep: {from_V: 1.7, to_V: 0.0, rate_mV_s: 5}
probe:
  - park: {height_um: 10}
vary:
  pipette.radius_nm: [50, 100]
  cell[0].sweep.rate_mV_s: [5, 10, 20]
"""


def test_every_combination_once_and_the_last_changes_fastest() -> None:
    runs = expanded(experiment_from_text(TEXT))
    found = []
    for run in runs:
        (sweep,) = run.experiment.cell
        assert isinstance(sweep, Sweep)
        found.append((run.experiment.pipette.radius_nm, sweep.rate_mV_s))
    assert found == [(50, 5), (50, 10), (50, 20), (100, 5), (100, 10), (100, 20)]
    assert runs[1].experiment.title == "a series (radius_nm 50, rate_mV_s 10)"
    assert len({run.experiment.title for run in runs}) == 6
    assert not any(run.experiment.vary for run in runs)


def test_a_run_of_a_series_is_a_file_of_its_own() -> None:
    for run in expanded(experiment_from_text(TEXT)):
        assert experiment_from_text(run.text).experiment == run.experiment
        assert run.text.startswith("# One run of a series: {pipette.radius_nm: ")


def test_a_file_without_vary_is_its_own_series() -> None:
    loaded = experiment_from_text(TEXT[: TEXT.index("vary:")])
    assert expanded(loaded) == [loaded]


def test_a_group_left_to_its_defaults_can_be_varied() -> None:
    text = TEXT[: TEXT.index("vary:")] + "vary: {electrolyte.salt_M: [0.5, 1]}\n"
    assert [run.experiment.electrolyte.salt_M for run in expanded(experiment_from_text(text))] == [0.5, 1.0]


def test_a_bad_value_is_refused_at_its_line_once() -> None:
    loaded = experiment_from_text(TEXT.replace("[5, 10, 20]", "[5, -10, 20]"), "bad.yaml")
    with pytest.raises(BadInput) as refused:
        expanded(loaded)
    (problem,) = refused.value.problems
    assert str(problem).startswith("bad.yaml:11: cell[0].sweep.rate_mV_s is -10; must be at least 1e-06 mV/s (with ")


RASTER = TEXT[: TEXT.index("probe:")] + (
    "probe:\n  - raster: {center_um: [0, 0], size_um: [4, 4], pixels: [3, 2], amplitude_nm: 500, fall_nm_per_ms: 30, "
    "setpoint_pct: 2, amplitude_map: map.csv}\n"
)


def loaded_with(folder: Path, content: str) -> np.ndarray:
    """The amplitude map of the raster, its file holding `content`."""
    (folder / "e.yaml").write_text(RASTER, encoding="utf-8")
    (folder / "map.csv").write_text(content, encoding="utf-8")
    return amplitude_maps(read_experiment(folder / "e.yaml"))["probe[0]"]


def test_a_map_of_amplitudes_in_metres(tmp_path: Path) -> None:
    found = loaded_with(tmp_path, "500,600,700\n800,900,1000\n")
    assert found == pytest.approx(np.array([[500, 600, 700], [800, 900, 1000]]) * 1e-9)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("500,600\n700,800\n", "2 × 2 values, and the raster has 2 rows of 3"),
        ("500,600,700\n800,900,0\n", "outside 1 … 20000 nm"),
        ("500,600,700\n800,900,nan\n", "outside 1 … 20000 nm"),
        ("500,600,700\n800,900,6000\n", "envelope.approach_um, 5 µm"),
        ("a,b,c\nd,e,f\n", "cannot be read"),
    ],
)
def test_a_bad_map_is_refused_at_its_line(content: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=words) as refused:
        loaded_with(tmp_path, content)
    assert refused.value.problems[0].line == 8
    assert refused.value.problems[0].thing == "probe[0].raster.amplitude_map"


def test_a_pickled_map_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(RASTER.replace("map.csv", "map.npy"), encoding="utf-8")
    np.save(tmp_path / "map.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    loaded = read_experiment(tmp_path / "e.yaml")
    with pytest.raises(BadInput, match="cannot be read"):
        amplitude_maps(loaded)
