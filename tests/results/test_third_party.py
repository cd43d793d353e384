"""From a file of other people to results: units, pairing of R and I, several curves, folders, figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from opsicm.analysis.result import Result
from opsicm.core.errors import BadInput
from opsicm.figures.draw import draw, png
from opsicm.figures.view import CurvePanel, ImagePanel
from opsicm.formats.identify import identify
from opsicm.results.evidence import Evidence
from opsicm.results.findings import finding_of
from opsicm.results.third_party import analyse_file, identification_records, identification_text, views_of
from tests.fixtures.analytic_hops import made

DATA = Path(__file__).parents[1] / "data"
Z_UM = 57.030 + 0.010 * np.arange(200)[::-1]


def write_ac(path: Path, z: np.ndarray, seed: int) -> Path:
    """Hyperbola with C = 0.8 nm, 30 nm above the sample at 57 µm, 106 MΩ, 150 mV, and a contact spike at the end."""
    rng = np.random.default_rng(seed)
    R = 106.0 * (1 + 0.0008 / (z - 57.0)) + 0.17 * rng.standard_normal(z.size)
    R[-1] = 496.585
    rows = [f"{a:.3f}\t{b:.3f}\t{150e3 / b:.0f}".replace(".", ",") for a, b in zip(z, R, strict=True)]
    path.write_bytes(("Z-Pos[um]|R[MOhm]|I[pA]\r\n" + "\r\n".join(rows) + "\r\n").encode("latin-1"))
    return path


def by_name(results: list[Result]) -> dict[str, Result]:
    return {r.label: r for r in results}


def check_distance(result: Result) -> None:
    # The last good point is 40 nm above the sample; rounding of z to nm and of R to kΩ is far below u.
    assert result.unit == "nm"
    assert result.value == pytest.approx(40.0, abs=4 * (result.u or 0.0))
    assert 2.0 < (result.u or 0.0) < 15.0


def test_an_approach_file_gives_distance_and_resistance(tmp_path: Path) -> None:
    (tmp_path / "s.inf").write_bytes(
        b"[Scan Info]\r\nResistance=106,49 ; MOhm\r\n[Scan Settings]\r\nThreshold=102,5 ; %"
    )
    found = by_name(analyse_file(write_ac(tmp_path / "s_1.ac", Z_UM, 1)))
    check_distance(found["distance at the stop"])
    far = found["pipette resistance"]
    assert far.value == pytest.approx(106.06, abs=5 * (far.u or 0.0))
    assert found["pipette resistance stated in the file"].value == pytest.approx(106.49)
    assert found["distance at the stop"].flags["from_contact_on"] == 1


def test_two_approaches_in_one_file_are_numbered(tmp_path: Path) -> None:
    found = by_name(analyse_file(write_ac(tmp_path / "s_1.ac", np.concatenate((Z_UM, Z_UM)), 2)))
    assert {name.split(":")[0] for name in found} == {"curve 1", "curve 2"}


def test_a_folder_gives_every_curve_and_the_median(tmp_path: Path) -> None:
    for k in range(1, 11):
        write_ac(tmp_path / f"scan_{k}.ac", Z_UM, k)
    results = analyse_file(tmp_path)
    found = by_name(results)
    assert len(found) == len(results)
    check_distance(found["scan_10: distance at the stop"])
    assert found["median distance at the stop"].value == pytest.approx(40.0, abs=6.0)
    assert found["median pipette resistance"].flags == {"curves": 10, "without_value": 0}
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"without \.ac files"):
        analyse_file(tmp_path / "empty")


@pytest.mark.parametrize("decimal", [".", ","])
def test_the_same_curve_as_a_table_gives_the_same_distance(tmp_path: Path, decimal: str) -> None:
    reference = by_name(analyse_file(write_ac(tmp_path / "s_1.ac", Z_UM, 3)))
    lines = (tmp_path / "s_1.ac").read_text().splitlines()[1:]
    table = tmp_path / "anything.csv"
    table.write_text("\n".join(lines).replace(",", decimal))
    found = by_name(analyse_file(table, "z=um,R=MOhm,_"))
    name = "distance at the stop"
    assert found[name].value == pytest.approx(reference[name].value or 0.0, rel=1e-6)
    assert found["pipette resistance"].value == pytest.approx(reference["pipette resistance"].value or 0.0, rel=1e-4)


def test_a_table_without_height_has_a_named_outcome(tmp_path: Path) -> None:
    table = tmp_path / "t.txt"
    table.write_text("t_s\tR_MOhm\n" + "".join(f"{k}\t{100 + k % 3}\n" for k in range(50)))
    assert {r.outcome for r in analyse_file(table)} == {"no z axis"}


def test_the_real_trace_has_a_named_outcome_and_no_number() -> None:
    results = analyse_file(DATA / "AC1.sicm")
    assert {r.outcome for r in results} == {"no z axis"}
    assert {r.value for r in results} == {None}


def test_the_real_scan_keeps_its_unknown_scale() -> None:
    results = analyse_file(DATA / "Zelle1.sicm")
    found = by_name(results)
    # NumPy's lstsq on the same counts, outside this package: 2963.936573, 2763.961501, 2574.459522 nm.
    assert found["Sq raw"].value == pytest.approx(2963.936573, abs=1e-6)
    assert found["Sq after plane"].value == pytest.approx(2763.961501, abs=1e-6)
    assert found["Sq after total degree 2"].value == pytest.approx(2574.459522, abs=1e-6)
    (view,) = views_of(results)
    panel = view.panels[0]
    assert isinstance(panel, ImagePanel)
    assert (panel.x.label, panel.y.label, panel.value.label) == ("x (pixel)", "y (pixel)", "height (µm)")
    assert panel.extent == (0.0, 10.0, 0.0, 10.0)
    assert panel.note == "y size 50 µm, x size unknown"
    assert panel.values.std() == pytest.approx(2.574459522, abs=1e-9)
    assert png(draw(view)).startswith(b"\x89PNG")


def test_the_view_of_an_approach_states_the_fit_and_hides_nothing_silently(tmp_path: Path) -> None:
    results = analyse_file(write_ac(tmp_path / "s_1.ac", Z_UM, 4))
    (view,) = views_of(results)
    upper, lower = view.panels
    assert isinstance(upper, CurvePanel)
    assert isinstance(lower, CurvePanel)
    assert (upper.x.label, upper.y.label) == ("distance from the fitted surface (nm)", "pipette current (nA)")
    distance = by_name(results)["distance at the stop"].value
    assert upper.series[0].x.min() == pytest.approx(distance)
    assert upper.series[0].y.max() == pytest.approx(1.42, abs=0.01)
    assert "outside the frame: 1 of the points left out" in upper.note
    assert lower.series[0].y.std() == pytest.approx(1.0, abs=0.2)
    assert png(draw(view)).startswith(b"\x89PNG")


def test_identification_is_text_and_records() -> None:
    what = identify(DATA / "Zelle1.sicm")
    text = identification_text(what)
    assert text.startswith(".sicm: a hopping image (backstepScan) of 10 x 10 pixels by pySICM; x size unknown")
    assert "LOOK: x size is not stated" in text
    records = identification_records(what)
    assert {tuple(record) for record in records} == {("kind", "name", "value", "unit", "ok")}
    assert json.loads(json.dumps(records)) == records


def test_settings_alone_are_no_measurement(tmp_path: Path) -> None:
    path = tmp_path / "s.inf"
    path.write_text("[Scan Info]\nName=x\n")
    assert identify(path).format == ".inf"
    with pytest.raises(BadInput, match="settings only"):
        analyse_file(path)


def test_the_hops_of_a_trace_have_a_figure(tmp_path: Path) -> None:
    truth = made(12, z_noise=0.1e-9)
    path = tmp_path / "trace.csv"
    np.savetxt(path, np.column_stack((truth.t, truth.current * 1e12, truth.z * 1e6))[::4], delimiter=",")
    results = analyse_file(path, "t=s,I=pA,z=um", 0.02)
    (view,) = [one for one in views_of(results) if one.name == "trace_hops"]
    height, reference, current, z = (panel for panel in view.panels if isinstance(panel, CurvePanel))
    heights = by_name(results)["height_scatter"].trace
    assert isinstance(heights, xr.DataArray)
    expected = 1e9 * (heights.values - heights.values[0])
    np.testing.assert_allclose(height.series[0].y.tolist(), expected.tolist())
    assert reference.series[0].y == pytest.approx(2.999, abs=1e-3)
    assert current.series[0].x.size == z.series[0].x.size
    stops = z.series[1]
    assert stops.style == "marks"
    assert stops.x.size == 3
    np.testing.assert_allclose(np.interp(stops.x, z.series[0].x, z.series[0].y), stops.y, atol=5e-3)


@pytest.mark.parametrize(
    ("columns", "panels"),
    [
        ("t=s,z=um", ["height (µm)"]),
        ("t=s,E=V", ["potential (mV)"]),
        ("t=s,I=pA,z=um", ["current (nA)", "height (µm)"]),
    ],
)
def test_a_recording_without_a_result_has_a_figure(tmp_path: Path, columns: str, panels: list[str]) -> None:
    """Hours of drift, of noise: nothing to fit, but something to see."""
    t = np.arange(0.0, 20_000.0, 20.0)
    rng = np.random.default_rng(3)
    known = {"t": t, "z": 5.0 - 1e-5 * t, "I": 2000.0 + 10.0 * rng.standard_normal(t.size), "E": 0.2 + 1e-5 * t}
    path = tmp_path / "drift.csv"
    np.savetxt(path, np.column_stack([known[part.split("=")[0]] for part in columns.split(",")]), delimiter=",")
    results = analyse_file(path, columns)
    assert all(result.value is None for result in results)
    (view,) = views_of(results)
    assert [panel.y.label for panel in view.panels] == panels
    assert {panel.x.label for panel in view.panels} == {"time (h)"}
    assert png(draw(view)).startswith(b"\x89PNG")


def test_a_table_of_currents_in_baths_is_a_calibration(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    c = np.array([0.1, 0.2, 0.3, 0.5, 0.8, 1.0])
    current = 0.2 + 3.0 * c + 0.01 * rng.standard_normal(c.size)
    path = tmp_path / "baths.txt"
    rows = [f"{a:g}\t{b:.4f}" for a, b in zip(c, current, strict=True)]
    path.write_text("\n".join(["salt concentration (M)\tpipette current (nA)", *rows]), encoding="utf-8")
    found = by_name(analyse_file(path))
    slope = found["calibration_slope"]
    assert slope.value == pytest.approx(3.0, abs=3.0 * (slope.u or 0.0))
    assert "plausibility" not in {r.name for r in found.values()}
    (view,) = views_of(list(found.values()))
    assert view.name == "calibration"
    finding = finding_of(Evidence(tuple(found.values())))
    assert "of salt in the bath" in finding.sentences[0]


def test_a_particle_radius_gives_the_diffusivity(tmp_path: Path) -> None:
    """Pulses of a sphere's short-time law: E moves as sqrt(t), and D goes with the square of the radius."""
    rows, t, e = [], 0.0, 0.5
    for _ in range(3):
        rows += [(t + 10.0 * k, e, 0.0) for k in range(60)]
        t += 600.0
        rows += [(t + k, e - 0.010 - 8e-3 * np.sqrt(k), -1e-4) for k in range(1, 101)]
        t, e = t + 101.0, e - 0.02
    rows += [(t + 10.0 * k, e, 0.0) for k in range(60)]
    path = tmp_path / "gitt.txt"
    text = "\n".join(f"{a:.1f}\t{b:.6f}\t{1e3 * i:.6f}" for a, b, i in rows)
    path.write_text("time (s)\tEwe (V)\tcurrent (mA)\n" + text, encoding="utf-8")
    without, small, large = (by_name(analyse_file(path, particle_radius=radius)) for radius in (None, 5e-6, 10e-6))
    assert without["diffusivity_2"].value is None
    assert (large["diffusivity_2"].value or 0.0) == pytest.approx(4.0 * (small["diffusivity_2"].value or 1.0))
