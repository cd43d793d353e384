"""The .sicm reader: a real scan, a real trace, and archives that mean harm."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from opsicm.core.errors import BadInput
from opsicm.formats.identify import identify
from opsicm.formats.sicm_archive import SicmScan, SicmTrace, read_sicm

DATA = Path(__file__).parents[1] / "data"
SETTINGS = {"x-px": "3", "y-px": "2", "x-Size": "6", "y-Size": "4"}
COUNTS = np.array([[0, 1, 258], [65534, 65535, 7]], dtype="<u2")


def archive(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def members(**changes: bytes | None) -> dict[str, bytes]:
    whole: dict[str, bytes | None] = {
        "settings.json": json.dumps(SETTINGS).encode(),
        ".mode": b"backstepScan",
        "RaNdOm": COUNTS.tobytes(),
        "RaNdOm.info": b'{"client_duration": 1500}',
    }
    whole |= {name.replace("mode", ".mode").replace("settings", "settings.json"): v for name, v in changes.items()}
    return {name: content for name, content in whole.items() if content is not None}


def put(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "file.sicm"
    path.write_bytes(content)
    return path


def test_the_real_scan() -> None:
    scan = read_sicm(DATA / "Zelle1.sicm")
    assert isinstance(scan, SicmScan)
    assert scan.heights.shape == (10, 10)
    # Read by hand with od -t u2: the first row begins 43078 46240 33021, the last one ends 31098 33845.
    np.testing.assert_allclose(scan.heights[0, :3], [43.078e-6, 46.240e-6, 33.021e-6], rtol=1e-12)
    np.testing.assert_allclose(scan.heights[-1, -2:], [31.098e-6, 33.845e-6], rtol=1e-12)
    assert scan.duration == pytest.approx(20.394)


def test_an_unknown_lateral_scale_stays_unknown() -> None:
    scan = read_sicm(DATA / "Zelle1.sicm")
    assert isinstance(scan, SicmScan)
    assert scan.settings["x-Size"] == ""
    assert scan.x_size is None
    assert scan.y_size == pytest.approx(50e-6)
    what = identify(DATA / "Zelle1.sicm")
    assert "x size unknown, y size 50 µm" in what.sentence
    assert any("1 count = 1 nm" in finding.text for finding in what.findings)


def test_the_real_trace() -> None:
    trace = read_sicm(DATA / "AC1.sicm")
    assert isinstance(trace, SicmTrace)
    assert trace.counts.size == 4385
    assert list(trace.counts[[0, 1, -1]]) == [35762, 35662, 33842]
    assert not any(finding.ok for finding in identify(DATA / "AC1.sicm").findings)


def test_rows_and_columns_are_not_exchanged(tmp_path: Path) -> None:
    scan = read_sicm(put(tmp_path, archive(members())))
    assert isinstance(scan, SicmScan)
    np.testing.assert_array_equal(scan.counts, COUNTS)
    assert scan.x_size == pytest.approx(6e-6)
    assert scan.y_size == pytest.approx(4e-6)
    np.testing.assert_array_equal(scan.saturated, [[True, False, False], [False, True, False]])
    assert any(
        finding.text == "2 pixels at 0 or 65535 (saturated)" for finding in identify(tmp_path / "file.sicm").findings
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mode": None}, r"member is '\.mode', missing"),
        ({"settings": None}, r"member is 'settings\.json', missing"),
        ({"RaNdOm": None}, "raw blocks is 0"),
        ({"another": b"12"}, "raw blocks is 2"),
        ({"RaNdOm": COUNTS.tobytes()[:-2]}, r"5 pixels; settings\.json says 3 x 2 = 6"),
        ({"RaNdOm": COUNTS.tobytes()[:-1]}, "11 bytes"),
        ({"RaNdOm": b""}, "0 bytes"),
        ({"mode": b"dreaming"}, "mode is 'dreaming'; known modes are approach"),
        ({"settings": b"{"}, "JSON object"),
        ({"settings": b"[1]"}, "JSON object"),
        ({"settings": b'{"x-px": "99999999", "y-px": "99999999"}'}, "x-px is '99999999'"),
        ({"settings": b'{"x-px": "-3", "y-px": "-2"}'}, "x-px is '-3'"),
        ({"../../evil": b"12"}, "do not trust"),
        ({"/etc/evil": b"12"}, "do not trust"),
        ({"sub/evil": b"12"}, "do not trust"),
    ],
)
def test_a_wrong_archive_is_refused(tmp_path: Path, changes: dict[str, bytes | None], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read_sicm(put(tmp_path, archive(members(**changes))))
    assert [path.name for path in tmp_path.rglob("*")] == ["file.sicm"]


def test_the_extended_format_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="extended format of pySICM2"):
        read_sicm(put(tmp_path, archive(members() | {".extended": b"EXTENDED"})))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        entry = tarfile.TarInfo(".mode")
        entry.type, entry.linkname = kind, "/etc/hostname"
        tar.addfile(entry)
    with pytest.raises(BadInput, match="plain files"):
        read_sicm(put(tmp_path, buffer.getvalue()))


def test_a_gzip_bomb_is_not_inflated(tmp_path: Path) -> None:
    path = put(tmp_path, gzip.compress(bytes(8_000_000), compresslevel=9))
    assert path.stat().st_size < 20_000
    with pytest.raises(BadInput, match="over 1000000 bytes when inflated"):
        read_sicm(path, largest_content=1_000_000)


def test_a_member_that_claims_more_than_there_is(tmp_path: Path) -> None:
    raw = bytearray(gzip.decompress(archive({"RaNdOm": b"12"})))
    claimed = tarfile.TarInfo("RaNdOm")
    claimed.size = 10**9
    raw[:512] = claimed.tobuf()
    with pytest.raises(BadInput, match=r"different ones|damaged|cut short"):
        read_sicm(put(tmp_path, gzip.compress(bytes(raw))))


def test_every_truncation_of_a_real_file_is_refused(tmp_path: Path) -> None:
    whole = (DATA / "Zelle1.sicm").read_bytes()
    for length in range(2, len(whole) - 1, 7):
        with pytest.raises(BadInput):
            read_sicm(put(tmp_path, whole[:length]))


def test_flipped_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    whole = bytearray((DATA / "Zelle1.sicm").read_bytes())
    rng = np.random.default_rng(3)
    for _ in range(60):
        harmed = whole.copy()
        harmed[int(rng.integers(2, len(harmed)))] ^= int(rng.integers(1, 256))
        try:
            read_sicm(put(tmp_path, bytes(harmed)))
        except BadInput:
            continue
