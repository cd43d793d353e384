"""Writing a file: whole or not at all, never through a link, never over what is not ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from opsicm.core.errors import BadInput
from opsicm.core.output_file import write_output

MARK = b"<made by opsicm>"


def write(path: Path, data: bytes = MARK + b" new", marks: tuple[bytes, ...] = (MARK,)) -> None:
    write_output(path, data, "report", "-o", marks)


def test_a_new_file_and_one_of_ours_are_written(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    write(target, MARK + b" old")
    write(target)
    assert target.read_bytes() == MARK + b" new"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_file_of_the_users_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text("my thesis")
    with pytest.raises(BadInput, match="has not written; move it away, or choose another path with -o"):
        write(target)
    assert target.read_text() == "my thesis"
    target.rename(tmp_path / "thesis.html")  # the remedy
    write(target)
    assert target.read_bytes().startswith(MARK)


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_not_followed(tmp_path: Path, exists: bool) -> None:
    precious = tmp_path / "precious"
    if exists:
        precious.write_bytes(MARK)
    target = tmp_path / "report.html"
    target.symlink_to(precious)
    with pytest.raises(BadInput, match=r"is a symbolic link to .*precious, .*; remove the link, or choose another"):
        write(target, marks=())
    assert precious.exists() is exists
    target.unlink()  # the remedy
    write(target)
    assert precious.exists() is exists


def test_a_hard_link_keeps_its_other_name(tmp_path: Path) -> None:
    precious, target = tmp_path / "precious", tmp_path / "figure.png"
    precious.write_text("mine")
    os.link(precious, target)
    write(target, marks=())
    assert precious.read_text() == "mine"


def test_what_is_no_plain_file_is_refused_but_devices(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # who wrote into it would wait for ever
    with pytest.raises(BadInput, match="no plain file"):
        write(tmp_path / "pipe")
    with pytest.raises(BadInput, match="is a folder"):
        write(tmp_path)
    write(Path("/dev/null"))
    with pytest.raises(BadInput, match="No space left on device"):
        write(Path("/dev/full"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=r"cannot be written \(Not a directory\); choose another path with -o"):
        write(tmp_path / "file" / "report.html")
    with pytest.raises(BadInput, match=r"File name too long"):
        write(tmp_path / ("a" * 300))
