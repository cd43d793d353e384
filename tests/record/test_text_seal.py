"""Damage where HDF5 has no checksums is said before HDF5 sees it: over some of it HDF5 never returns."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from opsicm.core.errors import UnreadableRun
from opsicm.instruments.clock import stopwatch
from opsicm.record import text_seal
from opsicm.record.reader import Run


def _damaged(run_path: Path, tmp_path: Path, at: int, data: bytes) -> Path:
    copy = Path(shutil.copy(run_path, tmp_path / "run.nxs"))
    with copy.open("r+b") as file:
        file.seek(at)
        file.write(data)
    return copy


_READS_TEXTS = """
import h5py, sys
entry = h5py.File(sys.argv[1])["entry"]
for name in ("title", "start_time", "experiment", "rig"):
    entry[name][()]
"""


def test_a_heap_whose_lengths_are_zero(run_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the seal is for: HDF5 does not come back from this, and no checksum of its own covers it."""
    heap = run_path.read_bytes().index(b"GCOL")
    bad = _damaged(run_path, tmp_path, heap + 156, bytes(512))
    process = subprocess.Popen([sys.executable, "-c", _READS_TEXTS, str(bad)], stderr=subprocess.DEVNULL)
    try:
        took = stopwatch()
        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "Popen", None)  # and no other process has to be asked for it
            with pytest.raises(UnreadableRun, match=f"texts at byte {heap} do not match their checksum"):
                Run(bad)
        assert took() < 2.0
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(5.0)
    finally:
        process.kill()
        process.wait()


def test_a_reference_into_nowhere(run_path: Path, tmp_path: Path) -> None:
    with h5py.File(run_path) as file:
        places = text_seal.text_references(file)
        title = file["entry/title"].id.get_offset()
    assert title in dict(places)
    with pytest.raises(UnreadableRun, match=f"texts at byte {title} do not match"):
        Run(_damaged(run_path, tmp_path, title + 4, b"\x11\x22\x33"))


def test_a_damaged_seal_is_no_seal_or_says_so(run_path: Path, tmp_path: Path) -> None:
    size = run_path.stat().st_size
    with pytest.raises(UnreadableRun, match="the seal of its texts is damaged"):
        Run(_damaged(run_path, tmp_path, size - 20, b"\xff\xfe"))
    with Run(_damaged(run_path, tmp_path, size - 2, b"\0")) as run:
        assert run.title == "fault"


def test_hdf5_ignores_the_seal(run_path: Path, tmp_path: Path) -> None:
    assert text_seal.mismatch(run_path) is None
    copy = Path(shutil.copy(run_path, tmp_path / "run.nxs"))
    with h5py.File(copy, "r+") as file:  # whoever adds to the file drops the seal, and the file stays readable
        file["entry"].attrs["note"] = "added later"
    with Run(copy) as run:
        assert run.outcome == "completed"


def test_every_text_is_under_the_seal(run_path: Path, tmp_path: Path) -> None:
    """Each byte of each text, where it lies in its heap: changed, it is noticed before anything is read."""
    data = run_path.read_bytes()
    with h5py.File(run_path) as file:
        texts = [file["entry"][name][()] for name in ("title", "start_time", "experiment", "rig", "parameters")]
    for text in texts:
        at = data.index(b"GCOL")
        places = []
        while (at := data.find(text, at)) >= 0:
            places.append(at)
            at += 1
        assert places
        for place in places:
            with pytest.raises(UnreadableRun, match="do not match their checksum"):
                Run(_damaged(run_path, tmp_path, place + len(text) // 2, b"\x01"))


def test_a_damaged_item_is_not_reported_as_absent(run_path: Path, tmp_path: Path) -> None:
    with h5py.File(run_path) as file:
        header = h5py.h5o.get_info(file["entry/samples/segment_0001/counts"].id).addr
    bad = _damaged(run_path, tmp_path, header + 40, b"\xaa\x55")
    with Run(bad) as run, pytest.raises(UnreadableRun, match="segment 1"):
        run.samples(1, 0, 10)
