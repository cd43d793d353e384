"""The .ac and .inf readers, on files written here in the same format: decimal comma, CRLF, latin-1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from opsicm.core.errors import BadInput
from opsicm.formats.approach_text import ApproachFile, parse_approach, read_settings, settings_beside, sweeps
from opsicm.formats.identify import identify, read
from opsicm.formats.text import decode, read_bytes

INF = (
    "This is a 3D SICM Scan\r\r\n[Scan Info]\r\r\nName=made here\r\r\nResistance=106,49 ; MOhm \r\r\n \r\r\n"
    "[Scan Dimensions]\r\r\nX=1 ; µm\r\r\ndx=0,067 ; µm\r\r\n[Scan Settings]\r\r\nStepsize=10 ; nm\r\r\n"
    "Backstep=2,000 ; µm\r\r\nThreshold=102,5 ; %\r\r\nPulse Height=150 ; mV\r\r\n"
    "[Scan Finished]\r\r\nResistance=107,36 ; MOhm"
)


def write_ac(path: Path, z_um: np.ndarray, R_MOhm: np.ndarray) -> Path:
    rows = [f"{z:.3f}\t{R:.3f}\t{150e3 / R:.0f}".replace(".", ",") for z, R in zip(z_um, R_MOhm, strict=True)]
    path.write_bytes(("Z-Pos[um]|R[MOhm]|I[pA]\r\n" + "\r\n".join(rows) + "\r\n").encode("latin-1"))
    return path


def read_approach(path: Path) -> ApproachFile:
    return parse_approach(decode(read_bytes(path), path), path, settings_beside(path))


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    z = 57.0 + 0.010 * np.arange(200)[::-1]
    write_ac(tmp_path / "made_01_1.ac", z, 106.0 * (1 + 0.0008 / (z - 56.97)))
    (tmp_path / "made_01.inf").write_bytes(INF.encode("latin-1"))
    return tmp_path / "made_01_1.ac"


def test_decimal_comma_becomes_si(scan: Path) -> None:
    curve = read_approach(scan).curves[0]
    assert curve.z[0] == pytest.approx(58.990e-6, rel=1e-12)
    assert curve.resistance[-1] == pytest.approx(108.827e6, rel=1e-9)
    assert curve.current[0] == pytest.approx(1415e-12, rel=1e-12)


def test_settings_of_the_scan_are_found_and_in_si(scan: Path) -> None:
    settings = read_approach(scan).settings
    assert settings is not None
    # The micro sign is one latin-1 byte, and Resistance stands in two sections.
    assert settings.pitch_x == pytest.approx(67e-9)
    assert settings.backstep == pytest.approx(2e-6)
    assert settings.threshold == pytest.approx(1.025)
    assert settings.pulse_height == pytest.approx(0.150)
    assert settings.resistance == pytest.approx(106.49e6)
    assert settings.resistance_at_end == pytest.approx(107.36e6)
    assert settings.stated["Scan Dimensions/dx"] == "0,067 ; µm"


def test_the_greek_mu_and_utf8_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "s.inf"
    path.write_text(INF.replace("µ", "μ"), encoding="utf-8")
    assert read_settings(path).pitch_x == pytest.approx(67e-9)


def test_a_second_approach_in_one_file_is_a_second_curve(tmp_path: Path) -> None:
    once = 57.0 + 0.010 * np.arange(30)[::-1]
    z = np.concatenate((once, once - 0.05))
    file = read_approach(write_ac(tmp_path / "two_1.ac", z, np.full(60, 106.0)))
    assert [curve.z.size for curve in file.curves] == [30, 30]
    assert file.curves[1].z[0] == pytest.approx(57.24e-6)
    assert file.settings is None


def test_a_noisy_or_rising_axis_is_one_sweep() -> None:
    rng = np.random.default_rng(5)
    falling = np.linspace(2.0, 0.0, 400) + 0.005 * rng.standard_normal(400)
    assert len(sweeps(falling)) == len(sweeps(-falling)) == 1
    assert len(sweeps(np.concatenate((-falling, -falling)))) == 2


def test_a_damaged_row_is_named_with_its_line(scan: Path) -> None:
    lines = scan.read_bytes().split(b"\r\n")
    lines[57] = b"58,4"
    scan.write_bytes(b"\r\n".join(lines))
    with pytest.raises(BadInput, match=r"made_01_1\.ac:58: row is '58,4'; three numbers"):
        read_approach(scan)


def test_a_header_without_rows_is_no_curve(tmp_path: Path) -> None:
    path = tmp_path / "x.ac"
    path.write_bytes(b"Z-Pos[um]|R[MOhm]|I[pA]\r\n")
    with pytest.raises(BadInput, match="rows is 0"):
        read_approach(path)


def test_recognised_by_content_not_by_name(scan: Path) -> None:
    odd = scan.rename(scan.with_name("made_01_1.jpg"))
    identification = identify(odd)
    assert identification.format == ".ac"
    assert "decimal comma" in identification.sentence
    assert "latin-1" not in identification.sentence  # the curve itself is plain ASCII
    texts = {finding.text: finding.ok for finding in identification.findings}
    assert texts["R·I is 150 mV, the stated pulse 150 mV"]
    assert any(text.startswith("resistance 106.1 MΩ is plausible for a nanopipette") for text in texts)


def test_an_implausible_file_is_reported(scan: Path) -> None:
    z = 57.0 + 0.010 * np.arange(50)[::-1]
    write_ac(scan, z, np.full(50, 2.0))
    doubtful = [finding.text for finding in identify(scan).findings if not finding.ok]
    assert any("median R 2 MΩ, stated 106.5 MΩ" in text for text in doubtful)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (bytes(range(256)) * 8, "binary"),
        (b"PK\x03\x04" + bytes(200), "damaged workbook"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
        (b"nothing here is a number\n" * 20, "not a table"),
        (b"\x1f\x8b\x08\x00rubbish that is no deflate stream", "damaged"),
    ],
)
def test_what_is_not_a_measurement_is_refused_with_a_remedy(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=says) as caught:
        read(path)
    problem = caught.value.problems[0]
    assert problem.thing
    assert problem.limit
    assert problem.remedy
    assert problem.file == "file"


def test_folder_and_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a folder"):
        read(tmp_path)
    with pytest.raises(BadInput, match="unreadable"):
        read(tmp_path / "absent.ac")
