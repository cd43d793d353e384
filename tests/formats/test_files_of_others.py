"""Real files that may not stand in the repository: skipped where they are not at hand (`OPSICM_DATA`)."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.analysis.levelling import total_degree
from opsicm.analysis.roughness import roughness
from opsicm.app.other_peoples_files import analyse_file
from opsicm.errors import BadInput
from opsicm.record.formats.recognise import identify

Array = NDArray[np.float64]


def external(*parts: str) -> Path:
    """A path in the data folder of others (`OPSICM_DATA`, else ../shared/data)."""
    root = Path(os.environ.get("OPSICM_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not at hand: set OPSICM_DATA")
    return path


def test_thirty_real_approach_curves() -> None:
    results = {r.name: r for r in analyse_file(external("approach_curves"))}
    assert results["median distance at the stop"].flags == {"curves": 30, "without_value": 0}
    # A hyperbola of C = 0.6 nm falls by the threshold of 2.5 % at 24 nm; the last point before is up to 10 nm higher.
    assert 20.0 < (results["median distance at the stop"].value or 0.0) < 60.0
    # The instrument measured 106.49 MΩ before the scan and 107.36 MΩ after it.
    assert results["median pipette resistance"].value == pytest.approx(106.5, abs=0.5)
    chi2 = [r.value for name, r in results.items() if name.endswith("chi-squared per degree of freedom")]
    assert 0.8 < float(np.median(np.array(chi2, dtype=float))) < 1.8


def test_the_contact_spike_of_a_real_curve_is_left_out() -> None:
    results = {r.name: r for r in analyse_file(external("approach_curves", "scan01_07_1.ac"))}
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


@pytest.mark.parametrize(
    "name",
    [
        "topography/nid-1.nid",
        "topography/gwyfile_test.gwy",
        "electrochemistry/new_nda_file.nda",
        "electrochemistry/cv_data.dta",
    ],
)
def test_real_files_of_other_kinds_are_refused_politely(name: str) -> None:
    with pytest.raises(BadInput, match=r"binary|not a table"):
        identify(external(*name.split("/")))
