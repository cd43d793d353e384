"""What `check` knows of the surface: how high it comes under a pipette that stands, and what hops meet on it.

Every remedy is followed literally and then passes.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from opsicm.cli.check import checked_run
from opsicm.cli.execute import execute
from opsicm.core.errors import BadInput
from opsicm.experiment.file import read_experiment
from opsicm.record.reader import Run

HEAD = """\
opsicm: 1
title: clearance
rig: {rig}
pipette: {{bias_V: 0.7}}
specimen: {{loading_mg_cm2: 0.05}}
cell:
  - rest: {{for_s: 20}}
  - sweep: {{from_V: 1.2, to_V: 0.005, rate_mV_s: 2}}
probe:
"""
ENVELOPE = "envelope: {cell_V: [-0.6, 2.0]}\n"
HOP = "amplitude_nm: {amplitude}, fall_nm_per_ms: 30, setpoint_pct: 2}}"
RASTER = "raster: {{center_um: [0, 0], size_um: [20, 20], pixels: [32, 32], " + HOP


def experiment(folder: Path, step: str, rig: str = "twin/graphite", envelope: str = ENVELOPE) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(HEAD.format(rig=rig) + f"  - {step}\n" + envelope, encoding="utf-8")
    return path


def refused(path: Path) -> str:
    with pytest.raises(BadInput) as found:
        checked_run(read_experiment(path), None, None)
    (problem,) = found.value.problems
    return str(problem)


STANDING = {
    "park: {height_um: 0.015}": "park.height_um is 0.015",
    "park: {height_um: 1.5}": "park.height_um is 1.5",
    "park: {height_um: 1.5, during: 'cell[1]'}": "park.height_um is 1.5",
    "tower: {low_um: 1.5, high_um: 100, speed_mm_s: 0.5}": "tower.low_um is 1.5",
    "pipette_sweep: {height_um: 1.5, from_V: 0, to_V: 0.5, rate_mV_s: 2, cycles: 2}": "pipette_sweep.height_um is 1.5",
}


@pytest.mark.parametrize("step", STANDING)
def test_a_pipette_that_stands_too_low_is_refused_with_how_high_the_surface_comes_and_when(
    tmp_path: Path, step: str
) -> None:
    said = refused(experiment(tmp_path, step))
    assert STANDING[step] in said
    rise, until, near, key, enough = re.search(  # type: ignore[union-attr]
        r"expected to rise by ([\d.]+) µm until (\d+) s .* comes too near at (\d+) s: .* use (\w+): ([\d.]+) or more",
        said,
    ).groups()
    assert 1.0 < float(rise) < 3.0
    assert 20 < int(near) <= int(until) <= 1220
    assert float(enough) == pytest.approx(float(rise) / 0.4, rel=0.03)
    mended = re.sub(rf"{key}: [\d.]+", f"{key}: {enough}", step)
    assert checked_run(read_experiment(experiment(tmp_path, mended)), None, None).duration is not None


def test_how_high_the_surface_comes_is_how_high_it_comes_in_the_run(tmp_path: Path) -> None:
    said = refused(experiment(tmp_path, "park: {height_um: 1.5}"))
    expected = float(re.search(r"rise by ([\d.]+) µm", said)[1])  # type: ignore[index]
    path = experiment(tmp_path, "hop: {at_um: [0, 0], " + HOP.format(amplitude=2000))
    loaded = read_experiment(path)
    with Run(execute(loaded, tmp_path / "out", seed=1).path) as run:
        met = run.hops.isel(hop=(run.hops["outcome"] == 0).values)
        heights = met["z_stop"].values
        assert float(heights.max() - heights[:50].mean()) * 1e6 == pytest.approx(expected, rel=0.05)


def test_a_step_without_swelling_may_stand_where_it_likes(tmp_path: Path) -> None:
    path = experiment(tmp_path, "park: {height_um: 0.05}")
    path.write_text(path.read_text().replace("sweep: {from_V: 1.2", "hold: {potential_V: 1.2, for_s: 60}  # "))
    assert checked_run(read_experiment(path), None, None).near_passes == ()


def test_an_amplitude_that_the_surface_outruns_is_refused(tmp_path: Path) -> None:
    said = refused(experiment(tmp_path, "hop: {at_um: [0, 0], " + HOP.format(amplitude=10)))
    assert re.search(r"hop.amplitude_nm is 10; the surface rises by [\d.]+ nm from \d+ to \d+ s", said)
    enough = int(re.search(r"use at least (\d+) nm", said)[1])  # type: ignore[index]
    checked_run(
        read_experiment(experiment(tmp_path, "hop: {at_um: [0, 0], " + HOP.format(amplitude=enough))), None, None
    )


def test_a_surface_rougher_than_the_longest_approach_is_found_before_the_run(tmp_path: Path) -> None:
    """The run says the same after ten hops."""
    step = RASTER.format(amplitude=4500)
    small = "envelope: {cell_V: [-0.6, 2.0], approach_um: 4.6}\n"
    path = experiment(tmp_path, step, envelope=small)
    said = refused(path)
    assert "envelope.approach_um is 4.6; the surface is up to" in said
    assert "10 hops in a row would find nothing by hop" in said
    enough = re.search(r"allow at least ([\d.]+) µm", said)[1]  # type: ignore[index]
    assert checked_run(read_experiment(experiment(tmp_path, step, envelope=small.replace("4.6", enough))), None, None)
    path = experiment(tmp_path, step, envelope=small)
    execution = execute(read_experiment(path), tmp_path / "out", seed=1)
    assert "no contact in 10 hops in a row" in str(execution.ending.error)


def test_a_surface_that_climbs_more_than_the_amplitude_is_found_before_the_run(tmp_path: Path) -> None:
    said = refused(experiment(tmp_path, RASTER.format(amplitude=500)))
    assert re.search(
        r"climbs by up to [\d.]+ µm between neighbouring points, and the tip would strike it at \d+ of", said
    )
    amplitude = re.search(r"use at least (\d+) nm, or more pixels", said)[1]  # type: ignore[index]
    approach = re.search(r"approach_um at least ([\d.]+)", said)
    wider = f"envelope: {{cell_V: [-0.6, 2.0], approach_um: {approach[1] if approach else 5}}}\n"
    checked_run(read_experiment(experiment(tmp_path, RASTER.format(amplitude=amplitude), envelope=wider)), None, None)


def test_an_engagement_that_overshoots_is_refused(tmp_path: Path) -> None:
    step = "engage: {fall_nm_per_ms: 100, setpoint_pct: 2, step_um: 5}"
    said = refused(experiment(tmp_path, step))
    assert "engage.fall_nm_per_ms is 100; overshoots by 35 nm after the setpoint is crossed" in said
    enough = re.search(r"fall at ([\d.]+) nm/ms", said)[1]  # type: ignore[index]
    checked_run(read_experiment(experiment(tmp_path, step.replace("100", enough))), None, None)


def test_an_engagement_within_the_noise_is_refused(tmp_path: Path) -> None:
    step = "engage: {fall_nm_per_ms: 1, setpoint_pct: 0.05, step_um: 5}"
    said = refused(experiment(tmp_path, step))
    assert "engage.setpoint_pct is 0.05; is within 5 standard deviations of the current noise" in said


def test_an_amplitude_map_is_forecast(tmp_path: Path) -> None:
    """Half of the pixels withdraw twice as far: the mean is what the image takes, and the largest must be in reach."""
    amplitudes = np.where(np.arange(64).reshape(8, 8) % 2, 2000.0, 1000.0)
    np.savetxt(tmp_path / "map.csv", amplitudes, delimiter=",")
    step = "raster: {center_um: [0, 0], size_um: [1, 1], pixels: [8, 8], amplitude_map: map.csv, " + HOP.format(
        amplitude=1000
    )
    path = experiment(tmp_path, step)
    prediction = checked_run(read_experiment(path), None, None)
    (hop,) = prediction.hops
    with Run(execute(read_experiment(path), tmp_path / "out", seed=1).path) as run:
        took = float(np.ptp(run.hops["t_ns"].values)) * 1e-9
    assert took == pytest.approx(hop.seconds * 63 / 64, rel=0.05)
    np.savetxt(tmp_path / "map.csv", amplitudes * 6.0, delimiter=",")
    wide = "envelope: {cell_V: [-0.6, 2.0], approach_um: 20}\n"
    assert "amplitude_map is 'map.csv'; holds 12000 nm, and the scanner reaches 10000 nm" in refused(
        experiment(tmp_path, step, envelope=wide)
    )


def test_a_pipette_that_returns_to_a_surface_it_has_not_seen_for_long_must_reach_it(tmp_path: Path) -> None:
    """Nobody has seen the surface rise: the approach begins farther up than it may be long."""
    preset = (Path(__file__).parents[2] / "src/opsicm/presets/twin-graphite.yaml").read_text(encoding="utf-8")
    (tmp_path / "near.yaml").write_text(preset.replace("start_height_um: 3", "start_height_um: 1"), encoding="utf-8")
    at = "at: {potential_V: [0.006]}"
    step = f"hop: {{at_um: [0, 0], hops: 20, {at}, " + HOP.format(amplitude=500)
    short = "envelope: {cell_V: [-0.6, 2.0], approach_um: 1.6}\n"
    said = refused(experiment(tmp_path, step, "near.yaml", short))
    assert "the surface has risen by" in said
    assert "put an engage before it, or raise envelope.approach_um" in said
    engage = f"engage: {{fall_nm_per_ms: 30, setpoint_pct: 2, step_um: 1, {at}}}\n  - "
    for mended in (experiment(tmp_path, engage + step, "near.yaml", short), experiment(tmp_path, step, "near.yaml")):
        loaded = read_experiment(mended)
        checked_run(loaded, None, None)
        assert execute(loaded, tmp_path / "out", seed=1).ending.outcome == "completed"
