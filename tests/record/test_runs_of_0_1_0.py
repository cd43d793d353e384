"""Kept run folders of version 0.1.0 open, are valid, analysed to the same numbers, replayed, recovered and resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from opsicm.cli.main import main
from opsicm.experiment.controls import ConstantCurrent, OpenCircuit, PotentialRamp, control_from_data
from opsicm.record import converter
from opsicm.record.reader import Run
from opsicm.record.run_folder import RunFolder
from opsicm.record.validate import validate

KEPT = Path(__file__).parents[1] / "data/runs-0.1.0"


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return shutil.copytree(KEPT / "finished", tmp_path / "finished")


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    return shutil.copytree(KEPT / "interrupted", tmp_path / "interrupted")


def test_a_finished_run_opens_and_is_valid(finished: Path) -> None:
    with Run(finished) as run:
        assert run.outcome == "completed"
        assert run.hops.sizes["hop"] == 147
        applied = [fact.data["control"] for fact in run.facts if fact.kind == "applied"]
    assert [control_from_data(control) for control in applied] == [
        OpenCircuit(),
        PotentialRamp(1.2, -0.1),
        PotentialRamp(0.6, 0.1),
        ConstantCurrent(-5e-05),
        OpenCircuit(),
    ]
    assert all(result.ok for result in validate(finished / "run.nxs"))


# What 0.1.0 had wrong, and what it is now. Decision 0120: the u of a median of sample counts, and of a mean of values
# that have a u of their own. Decision 0124: sections from the counts as stored, not from floats made into other counts.
# Decision 0201: what the next degree would change where no hop saw the end of a branch; the rows that might have been
# the peak, and no drift of the rest; the distance of the largest bias error from its neighbours.
MENDED: dict[str, dict[str, Any]] = {
    "hop_period": {"u": 0.004218147523856453},
    "height_change_lithiation_1": {"u": 1.912195802892431},
    "expansion_lithiation_1": {"u": 0.006829270724615825},
    "expansion_lithiation_1_first_half": {"u": 0.0038528019599394225},
    "height_change_delithiation": {"u": 1.894476316929252},
    "expansion_delithiation": {"u": 0.0067659868461759},
    "expansion_delithiation_second_half": {"u": 0.004008528896999078},
    "pipette_change_at_peak_lithiation": {"u": 0.28607062672973366},
    "pipette_change_at_peak_delithiation": {"u": 0.3468954834252544},
    "bias_residual": {"u": 10.439910297640566},
    "near_surface_difference": {"value": 0.322552125370451, "u": 0.17601769211433965},
    "near_surface_geometry_alone": {"value": -11.141216575731573, "u": 0.02866235131332994},
    # Decision 0180: a run's parts are those of its own program. The charge begins with the current's own rows; the end
    # of a sweep was taken for a step of the current, and three seconds of it for a plateau.
    "capacity_lithiation_1": {"value": -4.088749999999999e-05, "u": 1.9325196510374025e-07},
    "dq_dv_highest_lithiation_1": {"value": None, "u": None, "outcome": "no peak"},
}
GONE = {"pipette_step_ohmic", "pipette_step_diffusive"}
NEW = {"peak_1_delithiation_potential": (0.9071061946113587, 0.0005263527237552409)}


def test_a_finished_run_is_analysed_to_the_same_numbers(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyse", str(finished), "--json"]) == 0
    found = {record["name"]: record for record in json.loads(capsys.readouterr().out)}
    kept = json.loads((KEPT / "results-1166a2f.json").read_text(encoding="utf-8"))
    assert set(found) == ({before["name"] for before in kept} - GONE) | set(NEW)
    for name, (value, u) in NEW.items():
        assert (found[name]["value"], found[name]["u"]) == pytest.approx((value, u), rel=1e-9)
    for before in kept:
        name = before["name"]
        if name in GONE:
            continue
        outcome = MENDED.get(name, {}).get("outcome", before["outcome"])
        assert (found[name]["unit"], found[name]["outcome"]) == (before["unit"], outcome), name
        for key in ("value", "u"):
            expected = MENDED.get(name, {}).get(key, before[key])
            assert found[name][key] == (None if expected is None else pytest.approx(expected, rel=1e-9)), (name, key)


def test_a_finished_run_is_replayed(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(finished), "--out", str(tmp_path / "again")]) == 0
    with Run(Path(capsys.readouterr().out.strip().splitlines()[-1])) as again, Run(finished) as run:
        assert again.hops.identical(run.hops)
        assert again.cell.identical(run.cell)
        for segment in run.segments():
            assert again.samples(segment).identical(run.samples(segment))


def test_a_finished_run_as_a_rig_names_the_first_motion_that_it_has_not(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Since version 0.1.0 a pipette that waits is withdrawn, which a run of then has no record of."""
    command = ["run", str(finished / "experiment.yaml"), "--rig", str(finished), "--out", str(tmp_path / "again")]
    assert main(command) == 3
    assert "coarse stage is asked to 50.00 µm" in (said := capsys.readouterr().err)
    assert "a replay answers only what was recorded" in said


def test_its_samples_are_those_that_hdf5_reads(finished: Path) -> None:
    """Packed otherwise than they are today, and with the decimated stream of every channel beside them."""
    with h5py.File(finished / "run.nxs") as file, Run(finished) as run:
        for segment in run.segments():
            group = file[f"entry/samples/segment_{segment:04d}"]
            assert "counts_xxh3" not in group
            raw = group["counts"][:]
            counts = run.counts(segment, ("pipette_current", "z"))
            assert counts is not None
            np.testing.assert_array_equal(counts[0], raw)
            stream = run.decimated(segment)
            assert stream["channel"].values.tolist() == ["pipette_current", "z"]
            for row in range(0, stream.sizes["row"], 7):
                first, n = int(stream["first_sample"][row]), int(stream["samples"][row])
                lowest = raw[first : first + n].min(axis=0) * [channel.scale for channel in counts[1]]
                np.testing.assert_allclose(stream["minimum"].values[row], lowest, rtol=1e-12)


def test_a_file_that_it_had_recovered_with_losses_has_rows_of_lost_samples(finished: Path) -> None:
    with Run(finished) as run:
        whole = run.decimated(1)
    with h5py.File(finished / "run.nxs", "r+") as file:
        lost = file["entry/samples/segment_0001/lost"]
        lost.resize(1, axis=0)
        lost[0] = (100, 300)
    with Run(finished) as run:
        assert run.decimated(1).identical(whole)
        lost_ones = run.samples(1, 90, 310)["z"].isnull().values
        assert np.flatnonzero(lost_ones).tolist() == list(range(10, 210))


def test_an_interrupted_run_is_recovered(interrupted: Path) -> None:
    """To the numbers that its own version's recovery finds, whose live file is read here by HDF5 alone."""
    live = interrupted / "segment-0001.h5"
    with h5py.File(live, "r", swmr=True) as file:
        counts, hops, blocks = file["counts"][:], file["hops"][:], file["blocks"][:]
    assert main(["recover", str(interrupted)]) == 0
    assert not list(interrupted.glob("segment-*"))
    assert not (interrupted / "header.json").exists()
    whole = hops[hops["serial"] > 0]
    n = int((blocks["first_sample"] + blocks["samples"]).max())
    with Run(interrupted) as run:
        # The journal, written ahead, names 63; the records of the last second went with the processes.
        assert 50 < run.hops.sizes["hop"] <= 63
        assert run.hops["number"].values.tolist() == whole["hop"].tolist()
        np.testing.assert_array_equal(run.hops["z_stop"].values, whole["z_stop"])
        recovered = run.counts(1, ("pipette_current", "z"))
        assert recovered is not None
        assert recovered[0].shape[0] == n
        np.testing.assert_array_equal(recovered[0], counts[:n])
        assert recovered[2].size == 0
        assert run.outcome == "unfinished"
    assert all(result.ok for result in validate(interrupted / "run.nxs"))


def test_a_damaged_block_of_an_old_live_file_is_a_named_loss(interrupted: Path) -> None:
    live = interrupted / "segment-0001.h5"
    with h5py.File(live, "r", swmr=True) as file:
        blocks = file["blocks"][:]
        chunk = file["counts"].id.get_chunk_info(1)
    data = bytearray(live.read_bytes())
    data[chunk.byte_offset + chunk.size // 2] ^= 8
    live.write_bytes(data)
    intact = KEPT / "interrupted"
    assert main(["recover", str(interrupted)]) == 0
    whole = shutil.copytree(intact, interrupted.parent / "intact")
    assert main(["recover", str(whole)]) == 0
    with Run(interrupted) as run, Run(whole) as other:
        lost = run.samples(1)["z"].isnull().values
        assert 0 < lost.sum() < lost.size
        for first, n in blocks[["first_sample", "samples"]].tolist():
            assert lost[first : first + n].all() or not lost[first : first + n].any()
        there = run.samples(1)["z"].values[~lost]
        np.testing.assert_array_equal(there, other.samples(1)["z"].values[~lost])
        losses = run.provenance["losses"]
    assert "segment-0001.h5: the samples of " in losses
    assert "segment 1: samples " in losses
    assert not all(result.ok for result in validate(interrupted / "run.nxs"))


def test_samples_that_never_reached_the_disk_are_lost_and_not_zero(interrupted: Path) -> None:
    """A power cut leaves a table of blocks whose samples read as zeros, with nothing that HDF5 would object to."""
    live, again = interrupted / "segment-0001.h5", interrupted / "again"
    with h5py.File(live, "r", swmr=True) as file, h5py.File(again, "w", libver="latest") as copy:
        for name in file:
            file.copy(name, copy)
        copy.attrs.update(file.attrs)
        _, block, *_ = file["blocks"][:][["first_sample", "samples"]].tolist()
        first, n = block
        copy["counts"][first : first + n] = 0
    again.rename(live)
    assert main(["recover", str(interrupted)]) == 0
    with Run(interrupted) as run:
        lost = np.flatnonzero(run.samples(1)["z"].isnull().values)
        assert lost.tolist() == list(range(first, first + n))
        assert "segment-0001.h5: the samples of 1 blocks are not whole" in run.provenance["losses"]


def test_a_cut_live_file_is_named(interrupted: Path) -> None:
    live = interrupted / "segment-0001.h5"
    live.write_bytes(live.read_bytes()[:300])
    assert main(["recover", str(interrupted)]) == 0
    with Run(interrupted) as run:
        assert run.title == "kept by version 0.1.0 before its house was rebuilt"  # of header.json
        assert run.hops.sizes["hop"] == 0
        assert "segment-0001.h5: truncated: 300 bytes" in run.provenance["losses"]
        assert "63 hops that the journal names were not recorded" in run.provenance["losses"]


def test_one_killed_in_its_recovery_is_recovered(interrupted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def dies(*_: object) -> None:
        raise Killed

    for place in ("_verify", "_tidy"):
        monkeypatch.setattr(converter, place, dies)
        with pytest.raises(Killed):
            converter.run_file_of(RunFolder(interrupted))
        monkeypatch.undo()
        assert (interrupted / "segment-0001.h5").exists()
    assert main(["recover", str(interrupted)]) == 0
    assert all(result.ok for result in validate(interrupted / "run.nxs"))
    assert not list(interrupted.glob("segment-*"))


def test_an_interrupted_run_is_resumed(interrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    command = ["run", "--resume", str(interrupted), "--cell-meanwhile", "open", "--out", out]
    assert main(command) == 2
    assert "intent of cell[1] is ramp from 0.6 V at 100 mV/s" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "--lost-intent", "never"]) == 0
    with Run(Path(capsys.readouterr().out.strip().splitlines()[-1])) as run:
        assert run.outcome == "completed"
        assert run.facts[0].data["resumes"] == "interrupted"
        controls = [control_from_data(fact.data["control"]) for fact in run.facts if fact.kind == "applied"]
    assert isinstance(controls[-2], ConstantCurrent)
