"""A potentiostat's file and a pipette's trace as one run: the clock, what comes after it, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import opsicm
from opsicm.analysis.result import Result
from opsicm.cli.main import main
from opsicm.core.errors import BadInput
from opsicm.record.reader import Run
from opsicm.record.validate import validate
from opsicm.results.run_of_two_files import JoinedFiles, StatedValues, join_files
from opsicm.results.run_results import results_of
from tests.fixtures.two_files import (
    LENGTH,
    OHMIC,
    SWELLING,
    cell_text,
    experiment,
    hopping_text,
    parked_text,
    pipette_current,
    two_files,
)


def files(folder: Path, probe: str, cell: str | None = None) -> tuple[Path, Path]:
    paths = folder / "cell.txt", folder / "probe.txt"
    paths[0].write_text(cell or cell_text(), encoding="utf-8")
    paths[1].write_text(probe, encoding="utf-8")
    return paths


def joined(folder: Path, probe: str, cell: str | None = None, stated: StatedValues | None = None) -> JoinedFiles:
    return join_files(*files(folder, probe, cell), folder / "run", stated or StatedValues(), {"opsicm": "test"})


def by_name(results: list[Result]) -> dict[str, Result]:
    return {r.label: r for r in results}


@pytest.fixture(scope="module")
def parked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parked")
    return joined(folder, parked_text(10.0)).path.parent


@pytest.fixture(scope="module")
def hopping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hopping")
    return joined(folder, hopping_text(10.0), stated=StatedValues(thickness=40e-6, bias=0.7)).path.parent


@pytest.mark.parametrize("which", ["parked", "hopping"])
def test_ten_seconds_are_found_and_the_file_is_a_run(which: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(which)
    checks = validate(folder)
    assert all(check.ok for check in checks), checks
    with Run(folder) as run:
        said = run.provenance
        assert said["clock_offset_s"] == pytest.approx(10.0, abs=3.0 * said["clock_offset_u_s"])
        assert 0.1 < said["clock_offset_u_s"] < 0.6  # a row of the cell lasts a second
        for track in ("cell", "probe"):
            data = (folder.parent / f"{track}.txt").read_bytes()
            assert said[f"{track}_file"] == f"{track}.txt"
            assert said[f"{track}_sha256"] == hashlib.sha256(data).hexdigest()
        assert "joined" in said["source"]
        assert run.outcome == "completed"


def test_samples_and_rows_are_those_of_the_files(parked: Path) -> None:
    with Run(parked) as run:
        offset = run.provenance["clock_offset_s"]
        samples = run.samples(1)
        t = samples["t_ns"].values * 1e-9  # on the cell's clock but for its first row
        started = float(run.cell["t_ns"].values[0]) * 1e-9
        wanted = pipette_current(t - started + 0.37 + (10.0 - offset))
        # Away from the steps, where an error of the offset counts.
        error = np.abs(samples["pipette_current"].values - wanted)
        assert np.median(error) < 2e-12
        assert samples["pipette_current"].attrs["units"] == "A"
        potential, current, _ = experiment(run.cell["t_ns"].values * 1e-9 - started + 0.37)
        np.testing.assert_allclose(run.cell["potential"].values, potential, atol=6e-4)
        np.testing.assert_allclose(run.cell["current"].values, current, atol=1e-8)
        outside = run.slow["t_ns"].values < samples["t_ns"].values[0]
        assert np.isnan(run.slow["pipette_current"].values[outside]).all()
        assert outside.sum() in range(8, 12)


def test_the_response_of_the_pipette_to_the_cell(parked: Path) -> None:
    with Run(parked) as run:
        ohmic = by_name(results_of(run))["pipette_step_ohmic"]
    # Of 1 mA, as of a lithiating step: through the current, and through the ohmic drop of the potential.
    assert ohmic.value == pytest.approx(-1e12 * (OHMIC * 1e-3 + 3e-10 * 0.02), rel=0.15)


def test_heights_of_hops_follow_the_charge(hopping: Path) -> None:
    with Run(hopping) as run:
        assert run.hops.sizes["hop"] == pytest.approx(2.0 * (LENGTH - 30.0), abs=2)
        results = by_name(results_of(run))
    # The pulse of 80 mC.
    change = results["height_change_lithiation_1"]
    assert change.value == pytest.approx(1e9 * SWELLING * 0.08, abs=max(4.0 * (change.u or 0.0), 3.0))
    share = results["expansion_lithiation_1"]
    assert share.value == pytest.approx(100.0 * SWELLING * 0.08 / 40e-6, rel=0.1)
    assert results["height_cross_talk"].outcome == "not stated"
    assert "--radius-nm" in results["height_cross_talk"].reason


def test_what_is_not_stated_no_result_is_made_of(tmp_path: Path) -> None:
    path = joined(tmp_path, hopping_text(10.0)).path
    with Run(path) as run:
        results = by_name(results_of(run))
        assert run.parameters["specimen"] == {}
    assert results["height_change_lithiation_1"].value is not None
    assert results["expansion_lithiation_1"].outcome == "not stated"
    assert "join the files again with --thickness-um" in results["expansion_lithiation_1"].reason


@pytest.mark.parametrize("which", ["parked", "hopping"])
def test_everything_downstream_takes_it_as_a_run(
    which: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = request.getfixturevalue(which)
    for words in (
        ["analyse", folder],
        ["report", folder, "-o", tmp_path / "report.html"],
        ["identify", folder],
        ["validate", folder],
        ["status", folder],
        ["runs", folder.parent],
        ["recover", folder],
        ["convert", folder, tmp_path / "a.csv"],
        ["convert", folder, tmp_path / "a.bdf.csv"],
        ["convert", folder, tmp_path / "figures"],
        ["replay", folder, "--out", tmp_path / "again"],
    ):
        assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Two measured files, joined: t of the cell = t of the pipette +" in page
    assert "start unknown" in page
    assert "nan" not in page.lower().replace("nanop", "")[: page.index("<script>")].split("<body>")[0]
    assert (tmp_path / "a.bdf.csv").read_text(encoding="utf-8").startswith("Test Time / s,Voltage / V")  # no clock
    run = opsicm.open(folder)
    assert run.cell["potential"].sizes["t"] == LENGTH
    assert "joined" in repr(run)
    run.close()


def test_a_joined_run_is_no_rig(parked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment_file = tmp_path / "e.yaml"
    experiment_file.write_text(
        "opsicm: 1\ntitle: t\nrig: twin/graphite\npipette: {bias_V: 0.7}\ncell: [open_circuit: {for_s: 3}]\n",
        encoding="utf-8",
    )
    assert main(["run", str(experiment_file), "--rig", str(parked), "--out", str(tmp_path / "out")]) == 2
    assert "made of measured files: there is no rig in it to run on" in " ".join(capsys.readouterr().err.split())


def test_the_command_says_the_clock_and_prints_the_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell, probe = two_files(tmp_path, -7.0)
    assert main(["join", str(cell), str(probe), "-o", str(tmp_path / "run"), "--thickness-um", "40"]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(tmp_path / "run" / "run.nxs")
    assert "t of the cell = t of the pipette - " in said.err
    with Run(tmp_path / "run") as run:
        assert run.provenance["clock_offset_s"] == pytest.approx(-7.0, abs=1.5)
        assert run.parameters["specimen"] == {"thickness_m": pytest.approx(40e-6)}


def test_a_given_offset_and_drift_are_taken(tmp_path: Path) -> None:
    paths = files(tmp_path, parked_text(10.0))
    made = join_files(*paths, tmp_path / "run", StatedValues(), {}, 25.0, 100e-6)
    assert "25.000 s, as given" in made.clock
    with Run(made.path) as run:
        first = run.samples(1)["t_ns"].values[0] * 1e-9
        # The cell's first row, at 0.37 s of its clock, is (0.37 - 25)/(1 + 1e-4) s of the pipette's.
        assert first == pytest.approx((25.0 - 0.37) / (1.0 + 1e-4), abs=1e-6)


QUIET = "time/s\tE/V\tI/mA\n" + "".join(f"{k}.0\t0.3000{k % 3}\t0.0000\n" for k in range(400))


def test_records_that_do_not_tell_are_refused_with_what_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell, probe = files(tmp_path, parked_text(10.0), QUIET)
    words = ["join", str(cell), str(probe), "-o", str(tmp_path / "run")]
    assert main(words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "the offset of the clocks is no common change; the two records do not tell it" in said
    assert "give --offset-s, which is positive where the pipette's record began later" in said
    assert not (tmp_path / "run").exists()
    assert main([*words, "--offset-s", "10"]) == 0


def test_wall_clocks_are_taken_where_the_records_do_not_tell(tmp_path: Path) -> None:
    cell = f"# started 2026-03-04 10:00:00\n{QUIET}"
    probe = f"# started 2026-03-04T10:00:10.250\n{parked_text(10.0)}"
    made = joined(tmp_path, probe, cell)
    assert "10.250 s" in made.clock
    assert "from the wall clocks in both files" in made.clock
    assert any("nothing checks the wall clocks" in remark for remark in made.remarks)
    with Run(made.path) as run:
        assert run.started_utc.startswith("2026-03-04T10:00:00")


def test_wall_clocks_that_contradict_the_changes_are_a_remark(tmp_path: Path) -> None:
    cell = f"# started 2026-03-04 10:00:00\n{cell_text()}"
    probe = f"# started 2026-03-04 11:00:10\n{parked_text(10.0)}"
    made = joined(tmp_path, probe, cell)
    assert "from the changes" in made.clock
    assert any("3610 s" in remark for remark in made.remarks)


def test_a_pause_makes_segments_and_uneven_samples_are_named(tmp_path: Path) -> None:
    header, *lines = parked_text(10.0).splitlines()
    made = joined(tmp_path, "\n".join([header, *lines[:2000], *lines[3000:]]) + "\n")
    with Run(made.path) as run:
        assert run.segments() == [1, 2]
    assert any("pauses 1 times" in remark for remark in made.remarks)
    rng = np.random.default_rng(5)
    times = [float(line.split("\t")[0]) + 0.02 * rng.normal() for line in lines]
    order = np.argsort(times)
    rows = [f"{times[k]:.6f}\t{lines[k].split(chr(9))[1]}" for k in order]
    other = tmp_path / "uneven"
    other.mkdir()
    made = joined(other, "\n".join([header, *rows]) + "\n")
    assert any("not evenly spaced" in remark for remark in made.remarks)
    with Run(made.path) as run:
        assert run.provenance["clock_offset_s"] == pytest.approx(10.0, abs=1.5)


def test_charge_loses_no_row_at_a_step_and_none_of_a_pause_that_the_current_outlasts(tmp_path: Path) -> None:
    header, *lines = cell_text().splitlines()
    made = joined(tmp_path, parked_text(10.0), "\n".join([header, *lines[:220], *lines[260:]]) + "\n")
    with Run(made.path) as run:
        charge = run.cell["charge"].values
    # 80 s of -1 mA; then 80 s of 1 mA, of which 40 s are not recorded but show in the potential; 40 s of -1 mA.
    assert charge[150] == pytest.approx(-0.08, abs=5e-4)
    assert charge[-1] == pytest.approx(-0.04, abs=1e-3)


def test_counts_keep_the_digits_of_a_text(parked: Path) -> None:
    """The trace has 1 fA: 16 bits hold its range in such steps, so that nothing is rounded."""
    with Run(parked) as run:
        values = 1e15 * run.samples(1)["pipette_current"].values
    text = (parked.parent / "probe.txt").read_text(encoding="utf-8").splitlines()[1:]
    written = np.array([1e3 * float(line.split("\t")[1]) for line in text])
    np.testing.assert_allclose(values, written, atol=1.0)


@pytest.mark.parametrize(
    ("swap", "words", "limit"),
    [
        (True, [], "name the files in the order CELL PROBE"),
        (False, ["--offset-s", "5000"], "look at the sign"),
        (False, ["--drift-ppm", "3"], "goes with --offset-s"),
        (False, ["--thickness-um", "-1"], "thickness"),
    ],
)
def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str], swap: bool, words: list[str], limit: str) -> None:
    cell, probe = two_files(tmp_path)
    pair = (probe, cell) if swap else (cell, probe)
    assert main(["join", *map(str, pair), "-o", str(tmp_path / "run"), *words]) == 2
    assert limit in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_time_that_runs_backwards_is_refused(tmp_path: Path) -> None:
    again = cell_text() + "".join(cell_text().splitlines(keepends=True)[1:])
    with pytest.raises(BadInput, match="time must increase from row to row"):
        joined(tmp_path, parked_text(10.0), again)
