"""Room on the disk, with file systems of any size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from opsicm.core.errors import BadInput, LimitCrossed
from opsicm.record import run_folder as disk_space


def _disk(monkeypatch: pytest.MonkeyPatch, there: float, total: float) -> None:
    monkeypatch.setattr(disk_space, "free", lambda _: (int(there), int(total)))


@pytest.mark.parametrize(
    ("there", "total", "estimate", "refused"),
    [
        (2.0e9, 10e9, 1.0e9, True),  # twice the estimate, but not the reserve of 5 % as well
        (2.6e9, 10e9, 1.0e9, False),
        (0.1e9, 1e9, None, True),
        (0.2e9, 1e9, None, False),
        (20e9, 4e12, 10e9, True),
        (26e9, 4e12, 10e9, False),  # the reserve of a large disk is 5 GB, not 200
    ],
)
def test_refused_before_anything_moves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: float, total: float, estimate: float | None, refused: bool
) -> None:
    _disk(monkeypatch, there, total)
    if refused:
        with pytest.raises(BadInput, match=r"free space is \d+ MB; twice the estimated run"):
            disk_space.refuse_if_short(tmp_path, estimate)
    else:
        disk_space.refuse_if_short(tmp_path / "not" / "yet", estimate)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is not a folder that may be written"):
        disk_space.refuse_if_short(tmp_path / "file" / "out", None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(BadInput, match="may be written"):
        disk_space.refuse_if_short(tmp_path / "out", None)


def test_stops_below_a_twentieth(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _disk(monkeypatch, 51e6, 1e9)
    disk_space.stop_if_short(tmp_path)
    _disk(monkeypatch, 49e6, 1e9)
    with pytest.raises(LimitCrossed, match="free space is 49 MB; a run stops below 50 MB"):
        disk_space.stop_if_short(tmp_path)
