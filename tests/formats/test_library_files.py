"""What libraries read: their units on files made by the libraries themselves, and on real ones where these are at hand.

Real files stand in the folder `formats` of OPSICM_DATA; the numbers are those of the makers' own exports, or of a
second instrument file of the same measurement.
"""

from __future__ import annotations

import importlib
import zlib
from pathlib import Path

import numpy as np
import pytest

from opsicm.core.errors import BadInput
from opsicm.formats.cell_record import CellFile
from opsicm.formats.columns import ColumnTable
from opsicm.formats.identify import identify, read
from opsicm.formats.image_file import ImageFile
from opsicm.formats.topography import read_topography
from tests.fixtures.foreign_data import DATA

N = 40
T = 10.0 * np.arange(N)
E = 0.8 - 0.01 * np.arange(N)
I_MA = np.where(np.arange(N) < 5, 0.0, -0.05)


def real(name: str) -> Path:
    path = DATA / "formats" / name
    if not path.exists():
        pytest.skip(f"formats/{name} is not at hand")
    return path


def cell(path: Path) -> CellFile:
    content = read(path)
    assert isinstance(content, CellFile)
    return content


@pytest.mark.parametrize("kind", ["feather", "parquet"])
def test_an_arrow_table_of_a_cycler(tmp_path: Path, kind: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    writer = importlib.import_module(f"pyarrow.{kind}")
    table = pyarrow.table(
        {"Test Time / s": T, "Voltage / mV": 1e3 * E, "Current / mA": I_MA, "Step Type / 1": ["a"] * N}
    )
    path = tmp_path / "a.bin"
    (writer.write_feather if kind == "feather" else writer.write_table)(table, path)
    (record,) = cell(path).records
    np.testing.assert_allclose(record.t, T)
    np.testing.assert_allclose(record.potential, E)
    np.testing.assert_allclose(record.current, 1e-3 * I_MA)
    assert ("not read", "Step Type / 1") in identify(path).settings


@pytest.mark.parametrize(("unit", "scale"), [("pA", 1e-12), ("nA", 1e-9), ("mV", 1e-3)])
def test_an_axon_file_is_in_the_unit_of_its_channel(tmp_path: Path, unit: str, scale: float) -> None:
    pytest.importorskip("pyabf")
    writer = importlib.import_module("pyabf.abfWriter")
    sweeps = 100.0 + 50.0 * np.sin(np.arange(2000.0).reshape(2, 1000) / 50.0)
    path = tmp_path / "a.abf"
    writer.writeABF1(sweeps, str(path), 10_000, units=unit)
    table = read(path)
    assert isinstance(table, ColumnTable)
    letter = "V" if unit == "mV" else "I"
    # It is stored in counts of 16 bits over ten volts: half a count is 0.03 of these units at most.
    np.testing.assert_allclose(table.data[letter], scale * sweeps.ravel(), rtol=0.0, atol=0.031 * scale)
    np.testing.assert_allclose(np.diff(table.data["t"]), 1e-4, rtol=1e-6)
    assert any("2 sweeps of 1000 points" in note for note in table.notes)


SDF = """aISO-1.0
ManufacID = ISOTC213
CreateDate = 040120100853
ModDate = 050320101353
NumPoints = 3
NumProfiles = 2
Xscale = 1.0E-6
Yscale = 2.0E-6
Zscale = 1.0E-9
Zresolution = 1.0E-9
Compression = 0
DataType = 7
CheckType = 0
*
1.0 2.0 3.0
4.0 5.0 6.0
*
"""


def test_a_surface_of_iso_25178_71_is_in_metres_with_the_first_profile_first(tmp_path: Path) -> None:
    pytest.importorskip("SurfaceTopography")
    path = tmp_path / "a.sdf"
    path.write_text(SDF)
    content = read(path)
    assert isinstance(content, ImageFile)
    (image,) = content.heights
    np.testing.assert_allclose(image.values, [[1e-9, 2e-9, 3e-9], [4e-9, 5e-9, 6e-9]])
    assert (image.x_size, image.y_size) == pytest.approx((3e-6, 4e-6))


@pytest.mark.parametrize("name", ["nid-1.nid", "stp-1.stp", "gwyddion-export-german.txt"])
def test_the_library_and_the_own_reader_give_one_image(name: str) -> None:
    """Orientation, scale and size of SurfaceTopography against the readers of this package."""
    pytest.importorskip("SurfaceTopography")
    path = DATA / "topography" / name
    if not path.exists():
        pytest.skip(f"topography/{name} is not at hand")
    own = read(path)
    assert isinstance(own, ImageFile)
    ours, theirs = own.heights[0], read_topography(path.read_bytes(), path).heights[0]
    np.testing.assert_allclose(theirs.values, ours.values, atol=1e-5 * float(np.ptp(ours.values)))
    assert (theirs.x_size, theirs.y_size) == pytest.approx((ours.x_size, ours.y_size))
    assert theirs.unit == ours.unit == "m"


@pytest.mark.parametrize(
    ("name", "shape", "size_um", "sd_nm"),
    [
        ("spot_1-1000nm.ibw", (256, 256), 20.078, 89.4548),
        ("di-1.di", (512, 512), 0.5, 9.94599),
        ("opd-1.opd", (480, 640), 125.909, 8.35645),
        ("mi-1.mi", (256, 256), 20.0, 33.2154),
        ("plu-1.plu", (576, 768), 1274.88, 2834.39),
        ("x3p-2.x3p", (650, 650), 82.977, 77.280),
    ],
)
def test_real_files_of_microscopes(name: str, shape: tuple[int, int], size_um: float, sd_nm: float) -> None:
    """Held against the values that SurfaceTopography's own tests state for their size, and NumPy's deviation."""
    pytest.importorskip("SurfaceTopography")
    content = read(real(name))
    assert isinstance(content, ImageFile)
    image = content.heights[0]
    assert image.values.shape == shape
    assert 1e6 * (image.x_size or 0.0) == pytest.approx(size_um, rel=1e-4)
    assert 1e9 * float(np.nanstd(image.values)) == pytest.approx(sd_nm, rel=1e-4)


def test_an_error_signal_is_no_height_whatever_its_unit() -> None:
    pytest.importorskip("SurfaceTopography")
    content = read(real("di-1.di"))
    assert isinstance(content, ImageFile)
    assert all("Error" not in image.name and "Phase" not in image.name for image in content.heights)


def test_ec_lab_s_binary_is_its_text() -> None:
    """One measurement, stored and exported; where the text has 0 for a potential, EC-Lab did not export one."""
    binary, text = cell(real("cp.mpr")).records[0], cell(real("cp.mpt")).records[0]
    np.testing.assert_allclose(binary.t, text.t, rtol=1e-12)
    np.testing.assert_allclose(binary.current, text.current, rtol=1e-6)
    written = text.potential != 0.0
    assert written.sum() == 4
    np.testing.assert_allclose(binary.potential[written], text.potential[written], rtol=1e-6)
    assert binary.counters is not None
    # (Q-Qo) at the end of the text: -11.889417 C.
    assert binary.counters["(Q-Qo)"][-1] == pytest.approx(-11.889417, rel=1e-6)


@pytest.mark.parametrize(("name", "rows", "seconds"), [("46_1_5_60_bts16.ndax", 84, 80.0), ("nda_v8.nda", 21, 543.0)])
def test_real_files_of_neware_agree_with_their_own_counters(name: str, rows: int, seconds: float) -> None:
    pytest.importorskip("fastnda")
    content = cell(real(name))
    (record,) = content.records
    assert record.t.size == rows
    assert record.t[-1] == pytest.approx(seconds)
    assert content.looks == ()
    assert "and the file's own counter" in content.notes[0]
    if rows == 84:  # the maker's own export beside it: 48 s, -1997245 uA, 2913.4 mV
        k = int(np.searchsorted(record.t, 48.0))
        assert record.current[k] == pytest.approx(-1.997245, rel=1e-6)
        assert record.potential[k] == pytest.approx(2.9134, abs=5e-5)


def test_fastnda_leaves_zlib_as_it_was() -> None:
    pytest.importorskip("fastnda")
    own = zlib.decompress, zlib.decompressobj
    read(real("46_1_5_60_bts16.ndax"))
    assert (zlib.decompress, zlib.decompressobj) == own


def test_a_real_session_of_palmsens() -> None:
    """Square waves of milliamperes on a 1 V window: with the symbol's "A" they would be kiloamperes."""
    content = cell(real("A.pssession"))
    assert [record.t.size for record in content.records] == [70, 70, 70]
    assert content.records[0].current[0] == pytest.approx(-3023.66e-6)
    assert content.records[0].potential[0] == pytest.approx(0.389962, abs=2e-3)


def test_a_telegraphed_gain_is_divided_out_and_said() -> None:
    """pyabf's own tests: -4.8 to -130 pA at rest of this cell, which is 20 times more without the gain."""
    pytest.importorskip("pyabf")
    table = read(real("05210017_vc_abf1.abf"))
    assert isinstance(table, ColumnTable)
    assert 1e12 * float(np.median(table.data["I"])) == pytest.approx(-139.0, abs=30.0)
    assert any("a telegraphed gain of 20 is divided out" in look for look in table.looks)


def test_a_real_axon_file_with_a_piezo() -> None:
    pytest.importorskip("pyabf")
    table = read(real("2015_09_10_0001.abf"))
    assert isinstance(table, ColumnTable)
    assert list(table.data) == ["t", "I", "V", "z"]
    assert 1e6 * np.ptp(table.data["z"]) == pytest.approx(12.78, abs=0.02)


def test_maccor_s_minutes_are_told_by_its_dates() -> None:
    """TestTime without a unit is in minutes in this export: 1.000000 a minute after 0.000000."""
    content = read(real("maccor_002.txt"))
    assert isinstance(content, ColumnTable)
    assert content.data["t"][1] == pytest.approx(60.0)
    assert content.data["I"].min() == pytest.approx(-1.619e-4, abs=1e-7)


def test_a_damaged_file_of_a_library_is_refused(tmp_path: Path) -> None:
    for library, content in (("pyabf", b"ABF2" + bytes(600)), ("SurfaceTopography", b"\\*File list\r\nrubbish")):
        pytest.importorskip(library)
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(BadInput, match=f"{library} cannot read it"):
            read(path)
