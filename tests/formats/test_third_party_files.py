"""Real files that may not stand in the repository: skipped where they are not at hand (`OPSICM_DATA`)."""

from __future__ import annotations

import os
import re
import struct
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.analysis.result import Result
from opsicm.analysis.topography.levelling import roughness, total_degree
from opsicm.core.errors import BadInput
from opsicm.formats.cell_record import CellFile
from opsicm.formats.identify import identify, read
from opsicm.results.third_party import analyse_file

Array = NDArray[np.float64]


def external(*parts: str) -> Path:
    """A path in the data folder of others (`OPSICM_DATA`, else ../shared/data)."""
    root = Path(os.environ.get("OPSICM_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not at hand: set OPSICM_DATA")
    return path


def test_thirty_real_approach_curves() -> None:
    results = {r.label: r for r in analyse_file(external("approach_curves"))}
    assert results["median distance at the stop"].flags == {"curves": 30, "without_value": 0}
    # A hyperbola of C = 0.6 nm falls by the threshold of 2.5 % at 24 nm; the last point before is up to 10 nm higher.
    assert 20.0 < (results["median distance at the stop"].value or 0.0) < 60.0
    # The instrument measured 106.49 MΩ before the scan and 107.36 MΩ after it.
    assert results["median pipette resistance"].value == pytest.approx(106.5, abs=0.5)
    chi2 = [r.value for name, r in results.items() if name.endswith("chi-squared per degree of freedom")]
    assert 0.8 < float(np.median(np.array(chi2, dtype=float))) < 1.8


def test_the_contact_spike_of_a_real_curve_is_left_out() -> None:
    results = {r.label: r for r in analyse_file(external("approach_curves", "scan01_07_1.ac"))}
    distance = results["distance at the stop"]
    assert distance.flags["from_contact_on"] == 1
    trace = distance.trace
    assert trace is not None
    # 496.585 MΩ at 57.060 µm is contact; 108.792 MΩ at 57.070 µm is the last good point.
    assert trace.attrs["z_stop"] == pytest.approx(57.070e-6, abs=1e-12)
    assert trace.attrs["z0"] < 57.060e-6


def test_the_long_real_files_hold_one_long_approach() -> None:
    what = identify(external("approach_curves", "scan01_07_14.ac"))
    assert what.sentence.startswith("one approach curve of 403 points (decimal comma")
    z = next(channel for channel in what.channels if channel.name == "z")
    assert z.high - z.low == pytest.approx(4.020e-6, abs=1e-9)


def test_real_settings_are_latin_1() -> None:
    what = identify(external("approach_curves", "scan01_07.inf"))
    assert ("Scan Dimensions/dx", "0,067 ; µm") in what.settings


def test_consensus_on_a_real_afm_image() -> None:
    """Five programs agree, Gwyddion among them: 239.589671 nm raw, 7.11191697 nm after a plane."""
    data = external("topography", "nid-1.nid").read_bytes()
    start = data.index(b"#!") + 2
    # Second channel of the first group: Z-Axis, 256 x 256 32-bit integers over a range of 10.152 µm.
    counts = np.frombuffer(data, "<i4", 65536, start + 4 * 65536).reshape(256, 256)
    heights = counts.astype(np.float64) * (1.0152e-5 / 2**32) * 1e9
    assert roughness(heights).Sq.value == pytest.approx(239.589671, abs=5e-7)
    assert roughness(total_degree(heights, 1).heights).Sq.value == pytest.approx(7.11191697, abs=5e-8)


def test_consensus_on_a_gwyddion_file() -> None:
    """The rms that Gwyddion states for this field: 1.8771e-4."""
    data = external("topography", "gwyfile_test.gwy").read_bytes()
    at = data.index(b"data\x00D") + 6
    (count,) = struct.unpack_from("<I", data, at)
    heights: Array = np.frombuffer(data, "<f8", count, at + 4).reshape(128, 128)
    assert roughness(heights).Sq.value == pytest.approx(1.8771e-4, abs=5e-9)


def by_name(path: Path, columns: str | None = None) -> dict[str, Result]:
    return {r.label: r for r in analyse_file(path, columns)}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("topography/nid-1.nid", r"8 channels, the first topography of 256 x 256 pixels; x size 20 µm, y size 20 µm"),
        ("topography/stp-1.stp", r"image of 256 x 256 pixels; x size 0.6 µm, y size 0.6 µm"),
        ("topography/gwyfile_test.gwy", r"image of 128 x 128 pixels; x size unknown, y size unknown"),
        ("topography/gwyddion-export-german.txt", r"image of 3 x 4 pixels; x size 12.34 µm, y size 5.679 µm"),
        ("electrochemistry/Pt_poly_cv.mpt", r"4473 rows in one record"),
        ("electrochemistry/cv_data.dta", r"50 rows in 5 records"),
        ("electrochemistry/new_nda_file.nda", r"439 rows in one record, 721.6 s"),
        ("electrochemistry/bs542_004_gr_li_50ua_50mv_1v_191020_Channel_11.xlsx", r"4526 rows in one record"),
        ("graphite_ocp/graphite_ocp_Ecker2015.csv", r"a table of 2 columns and 41 rows"),
        ("graphite_ocp/graphite_LGM50_ocp_Chen2020.csv", r"a table of 2 columns and 248 rows"),
        ("graphite_ocp/measured_graphite_diffusivity_Ecker2015.csv", r"a table of 2 columns and 23 rows"),
        ("sicm_scans/Zelle1.sicm", r"a hopping image"),
        ("approach_curves/scan01_07_1.ac", r"one approach curve"),
    ],
)
def test_every_real_file_is_identified(name: str, says: str) -> None:
    assert re.search(says, identify(external(*name.split("/"))).sentence)


def test_levelling_and_parameters_equal_the_consensus_from_the_command() -> None:
    nid = by_name(external("topography", "nid-1.nid"))
    assert nid["Sq raw"].value == pytest.approx(239.589671, abs=5e-7)
    assert nid["Sq after plane"].value == pytest.approx(7.11191697, abs=5e-8)
    assert nid["Sq raw"].unit == "nm"
    assert by_name(external("topography", "stp-1.stp"))["Sq raw"].value == pytest.approx(1.654156, abs=5e-7)
    gwy = by_name(external("topography", "gwyfile_test.gwy"))["Sq raw"]
    assert gwy.value == pytest.approx(1.8771e-4, abs=5e-9)
    assert gwy.unit == "unit not stated"


def test_capacities_of_an_arbin_workbook_from_the_command() -> None:
    """Navani's half-cycle capacities of this file: 5.798, 5.698, 5.257 mAh."""
    results = by_name(external("electrochemistry", "bs542_004_gr_li_50ua_50mv_1v_191020_Channel_11.xlsx"))
    names = ("capacity_cathodic_1", "capacity_anodic_2", "capacity_cathodic_3")
    for name, expected in zip(names, (-5.798, 5.698, -5.257), strict=True):
        result = results[name]
        assert result.value is not None
        assert result.u is not None
        assert abs(result.value - expected) < max(3.0 * result.u, 5e-4)


def test_a_neware_file_equals_its_exported_table() -> None:
    """From the reference table that NewareNDA publishes beside the file: rows 3, 4, 439, and its capacity counters."""
    content = read(external("electrochemistry", "new_nda_file.nda"))
    assert isinstance(content, CellFile)
    (record,) = content.records
    assert record.t.size == 439
    np.testing.assert_allclose(record.t[:4], [0.0, 0.1, 0.2, 0.3])
    np.testing.assert_allclose(record.potential[[0, 2, 3, -1]], [-0.0911, -0.0936, -0.0942, -0.0951], atol=1e-12)
    np.testing.assert_allclose(1e3 * record.current[[0, 2, 3, -1]], [0.0, -0.0294, -0.0381, 0.0], atol=1e-12)
    # Discharge_Capacity(mAh) at row 4: the instrument's own integral of 0.3 s, current of a row times its step.
    charge = float(np.sum(record.current[1:4] * np.diff(record.t[:4]))) / 3.6
    assert charge == pytest.approx(-1.86111e-6, rel=0.01)


def test_charge_of_platinum_equals_ec_lab_s_own(tmp_path: Path) -> None:
    """(Q-Qo)/C is EC-Lab's integral; the reader hands over t and I, and the trapezoids over them agree."""
    path = external("electrochemistry", "Pt_poly_cv.mpt")
    content = read(path)
    assert isinstance(content, CellFile)
    (record,) = content.records
    lines = path.read_text("latin-1").splitlines()[73:]
    reference = np.array([float(line.split("\t")[11].replace(",", ".")) for line in lines])
    steps = 0.5 * (record.current[1:] + record.current[:-1]) * np.diff(record.t)
    assert np.max(np.abs(np.cumsum(steps) - (reference[1:] - reference[0]))) < 0.01 * np.ptp(reference)
    results = by_name(path)
    assert results["scan_rate"].value == pytest.approx(100.0, abs=0.2)  # dE/dt 100 mV/s in the header
    # Eight sweeps from vertex to vertex, 0.98 of 1.63 V before them and 0.24 of 1.75 V after.
    assert results["cycles"].value == pytest.approx(0.5 * (0.980 / 1.630 + 8 + 0.244 / 1.750), abs=0.01)
    # The same rows as a table of one's own, without titles.
    plain = tmp_path / "platinum.csv"
    np.savetxt(plain, np.column_stack((record.t, 1e3 * record.current, record.potential)), delimiter=";")
    again = by_name(plain, "t=s,I=mA,E=V")
    assert {name: r.value for name, r in again.items()} == pytest.approx(
        {name: r.value for name, r in results.items()}, rel=1e-6
    )


def test_the_end_of_stage_two_is_in_a_measured_open_circuit_curve() -> None:
    results = by_name(external("graphite_ocp", "graphite_ocp_Ecker2015.csv"), "sto=1,E=V")
    assert results["stage_end_1"].value == pytest.approx(0.6, abs=0.05)


def test_feather_names_its_package_or_is_read() -> None:
    path = external("electrochemistry", "new_nda_file.ftr")
    if find_spec("pyarrow") is None:
        with pytest.raises(BadInput, match=r"pip install opsicm\[formats\]"):
            read(path)
        assert identify(path).format == "Feather"
        return
    content, other = read(path), read(external("electrochemistry", "new_nda_file.nda"))
    assert isinstance(content, CellFile)
    assert isinstance(other, CellFile)
    np.testing.assert_allclose(content.records[0].t, other.records[0].t, atol=2e-3)
    np.testing.assert_allclose(content.records[0].current, other.records[0].current, atol=1e-9)


@pytest.mark.parametrize(
    "name",
    [
        "topography/nid-1.nid",
        "topography/stp-1.stp",
        "topography/gwyfile_test.gwy",
        "electrochemistry/Pt_poly_cv.mpt",
        "electrochemistry/cv_data.dta",
        "electrochemistry/new_nda_file.nda",
        "electrochemistry/bs542_004_gr_li_50ua_50mv_1v_191020_Channel_11.xlsx",
    ],
)
def test_a_cut_or_changed_file_is_refused_or_read_never_a_traceback(name: str, tmp_path: Path) -> None:
    data = external(*name.split("/")).read_bytes()
    rng = np.random.default_rng(1)
    for k in range(12):
        part = bytearray(data[: int(rng.integers(8, len(data)))] if k % 2 else data)
        for _ in range(5 if k % 2 == 0 else 0):
            part[int(rng.integers(0, min(len(part), 4000)))] = int(rng.integers(0, 256))
        path = tmp_path / f"{k}{Path(name).suffix}"
        path.write_bytes(bytes(part))
        with suppress(BadInput):
            identify(path)
