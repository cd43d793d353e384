"""Files without a seal: what HDF5 never comes back from, or dies over, is a message."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from faults.f14_damaged_files import endless_text, unsealed
from opsicm.core.errors import UnreadableRun
from opsicm.record import text_seal, trial_reading
from opsicm.record.reader import Run
from opsicm.record.recover import recover
from opsicm.record.trial_reading import why_unreadable

_READS_TEXTS = """
import h5py, sys
entry = h5py.File(sys.argv[1])["entry"]
for name in ("title", "start_time", "experiment", "rig"):
    entry[name][()]
"""


def _bare(run_path: Path, where: Path) -> Path:
    path = where / "run.nxs"
    path.write_bytes(unsealed(run_path.read_bytes()))
    return path


def test_a_file_over_which_hdf5_loops_is_a_message(
    run_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.nxs"
    path.write_bytes(endless_text(unsealed(run_path.read_bytes()), random.Random(1))[0])
    # HDF5 itself does not come back from it.
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", _READS_TEXTS, str(path)], timeout=5.0, check=False)
    monkeypatch.setattr(trial_reading, "_PROCESSOR_TIME", 3)
    with pytest.raises(UnreadableRun, match="HDF5 did not finish reading it within 3 s of processor time"):
        Run(path)


def test_a_machine_that_has_no_time_is_no_damaged_file(
    run_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even an old live file, which goes when what can be read of it is in a run file."""
    monkeypatch.setattr(trial_reading, "_TIMEOUT", 0.01)
    with pytest.raises(UnreadableRun, match=r"run.nxs; was not read within 0.01 s: .* try again later"):
        Run(_bare(run_path, tmp_path))
    kept = Path(__file__).parents[1] / "data/runs-0.1.0/interrupted"
    run_folder = shutil.copytree(kept, tmp_path / "interrupted")
    (failed,) = recover([run_folder], "me")
    assert failed.state == "failed"
    assert "segment-0001.h5; was not read within 0.01 s" in failed.note
    assert {path.name for path in run_folder.iterdir()} == {path.name for path in kept.iterdir()}
    monkeypatch.undo()
    (done,) = recover([run_folder], "me")
    assert done.state == "recovered"
    with Run(done.path) as run:
        assert run.hops.sizes["hop"] > 50


def test_a_file_that_crashes_hdf5_is_a_message(run_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _bare(run_path, tmp_path)
    dying = tmp_path / "dying"
    dying.write_text("#!/bin/sh\nkill -SEGV $$\n")
    dying.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dying))
    with pytest.raises(UnreadableRun, match=r"HDF5 crashed while reading it \(signal 11\)"):
        Run(path)


def test_a_file_modified_by_another_program_is_read(run_path: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(run_path, tmp_path / "run.nxs"))
    with h5py.File(path, "r+") as file:
        file["entry/remark"] = "added by another program"
    assert not text_seal.is_sealed(path)
    with Run(path) as run, Run(run_path) as whole:
        assert run.hops.identical(whole.hops)
        assert run.outcome == "completed"


def test_a_file_is_read_in_a_child_process_once(
    run_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _bare(run_path, tmp_path)
    asked: list[object] = []
    plain = subprocess.run

    def counted(*arguments: object, **named: object) -> object:
        asked.append(arguments)
        return plain(*arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", counted)
    assert why_unreadable(path) is None
    assert why_unreadable(path) is None
    assert len(asked) == 1
    with Run(run_path):
        assert len(asked) == 1  # a sealed file is not tried at all
