"""Files for other programs, read back by readers that are not ours: units, axes, origin and sign."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any, get_args

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.cli.main import main
from opsicm.core.errors import BadInput
from opsicm.figures import movie
from opsicm.formats.identify import read
from opsicm.formats.image_file import ImageFile
from opsicm.record.reader import Run
from opsicm.record.validate import validate
from opsicm.results.conversion import Kind, convert_path, exports, exports_of, kind_of, pictures_of
from opsicm.results.run_results import results_of
from opsicm.results.third_party import analyse_file
from tests.fixtures.foreign_data import DATA
from tests.fixtures.raster_run import COLUMNS, MISSING, PASSES, PITCH, ROWS, X, Y, height, raster_run

F64 = NDArray[np.float64]
THUMBNAILER = shutil.which("gwyddion-thumbnailer")
GWYDDION = shutil.which("gwyddion")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raster_run(tmp_path_factory.mktemp("conversion") / "images")


@pytest.fixture(scope="module")
def cell_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cell") / "cell.txt"
    rows = "\n".join(f"{k}\t{0.5 - 0.001 * k:.4f}\t{-0.1 if k < 50 else 0.1:.4f}" for k in range(100))
    path.write_text(f"time/s\tE/V\tI/mA\n{rows}\n", encoding="utf-8")
    return path


def external(*parts: str) -> Path:
    path = DATA.joinpath(*parts)
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path


def rows_of(path: Path) -> tuple[list[str], list[str], list[list[str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        names, units, *rows = csv.reader(file)
    return names, units, rows


def test_the_run_made_for_this_is_a_run(run: Path) -> None:
    assert all(result.ok for result in validate(run / "run.nxs")), validate(run / "run.nxs")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.gwy", "gwy"),
        ("a.GSF", "gsf"),
        ("a.ome.tif", "ome-tiff"),
        ("a.tiff", "ome-tiff"),
        ("a.nc", "netcdf"),
        ("a.csv", "csv"),
        ("a.bdf.csv", "bdf"),
        ("a.bdf", "bdf"),
        ("a.parquet", "parquet"),
        ("a.mp4", "mp4"),
        ("a", "figures"),
        ("a.docx", None),
    ],
)
def test_the_ending_says_the_format(name: str, kind: str | None) -> None:
    assert kind_of(Path(name)) == kind


# -- images ---------------------------------------------------------------------------------------------------------


def test_what_can_be_made_of_a_run_is_offered_by_a_name_that_makes_it(run: Path) -> None:
    names = [one.name for one in exports()]
    assert {one.kind for one in exports()} == set(get_args(Kind)), "every kind, also a new one"
    assert [kind_of(Path(one.name)) for one in exports()] == [one.kind for one in exports()]
    assert {"images.gwy", "record.csv", "hops.parquet", "record.bdf.csv", "everything.nc", "figures"} < set(names)
    assert len(set(names)) == len(names)
    with Run(run) as file:
        offered = exports_of(file, results_of(file))
        assert offered == exports(), "it has images and hops"
        file.__dict__["hops"] = file.hops.isel(hop=slice(0, 0))
        without = {one.name for one in offered} - {one.name for one in exports_of(file, [])}
    assert without == {n for n in names if n.startswith(("images", "movie", "hops"))}


def test_the_first_row_of_a_picture_is_the_top(run: Path) -> None:
    first, current, second, _ = pictures_of(run)
    np.testing.assert_allclose(first.values[::-1], height(0), atol=1e-15)
    np.testing.assert_allclose(second.values[::-1], height(1), atol=1e-15)
    assert (first.name, first.unit, current.name, current.unit) == ("height", "m", "reference current", "A")
    assert [first.width, first.height] == pytest.approx([COLUMNS * PITCH, ROWS * PITCH])
    assert [first.left, first.top] == pytest.approx([X[0] - PITCH / 2, Y[-1] + PITCH / 2])


def test_gwy_as_the_library_gwyfile_reads_it(run: Path, tmp_path: Path) -> None:
    gwyfile = pytest.importorskip("gwyfile")
    (path,) = convert_path(run, tmp_path / "a.gwy", "gwy")
    content = gwyfile.load(str(path))
    field, mask = content["/0/data"], content["/0/mask"]
    assert (field["si_unit_xy"]["unitstr"], field["si_unit_z"]["unitstr"]) == ("m", "m")
    assert (field.xreal, field.yreal) == (pytest.approx(COLUMNS * PITCH), pytest.approx(ROWS * PITCH))
    assert (field["xoff"], field["yoff"]) == (pytest.approx(X[0] - PITCH / 2), pytest.approx(-Y[-1] - PITCH / 2))
    missing = np.isnan(height(0))[::-1]
    np.testing.assert_array_equal(mask.data > 0.5, missing)
    np.testing.assert_allclose(field.data[~missing], height(0)[::-1][~missing], atol=1e-15)
    assert content["/0/data/title"] == "height, image 1"
    assert content["/1/data"]["si_unit_z"]["unitstr"] == "A"
    assert content["/2/meta"]["potential vs Li/Li+"] == "0.3 V"


def test_our_own_reader_gets_missing_pixels_back(run: Path, tmp_path: Path) -> None:
    (path,) = convert_path(run, tmp_path / "a.gwy", "gwy")
    content = read(path)
    assert isinstance(content, ImageFile)
    np.testing.assert_allclose(content.images[0].values[::-1], height(0), atol=1e-15)
    assert np.isnan(content.images[0].values[::-1][MISSING])
    assert analyse_file(path)[0].value is not None


@pytest.mark.parametrize("ending", [".gwy", ".gsf"])
def test_gwyddion_itself_opens_them(run: Path, tmp_path: Path, ending: str) -> None:
    if THUMBNAILER is None or GWYDDION is None:
        pytest.skip("Gwyddion is not installed")
    paths = convert_path(run, tmp_path / f"a{ending}", "gwy" if ending == ".gwy" else "gsf")
    assert len(paths) == (1 if ending == ".gwy" else 2 * PASSES)
    picture, back = tmp_path / "thumbnail.png", tmp_path / "back.gwy"
    subprocess.run([THUMBNAILER, "gnome2", "128", paths[0], picture], check=True, capture_output=True)
    assert picture.stat().st_size > 100
    subprocess.run([GWYDDION, f"--convert-to-gwy={back}", paths[0]], check=True, capture_output=True)
    content = read(back)
    assert isinstance(content, ImageFile)
    image = content.images[0]
    assert image.unit == "m"
    assert [image.x_size, image.y_size] == pytest.approx([2.5e-6, 2e-6])
    known = np.isfinite(height(0))
    np.testing.assert_allclose(image.values[::-1][known], height(0)[known], rtol=1e-6)


def test_gsf_by_its_own_rules(run: Path, tmp_path: Path) -> None:
    paths = convert_path(run, tmp_path / "a.gsf", "gsf")
    assert [path.name for path in paths] == ["a-1.gsf", "a-2.gsf", "a-3.gsf", "a-4.gsf"]
    data = paths[2].read_bytes()
    begin = data.index(b"\0")
    fields = dict(line.split(" = ", 1) for line in data[:begin].decode().splitlines()[1:])
    assert (fields["XRes"], fields["YRes"], fields["XYUnits"], fields["ZUnits"]) == ("5", "4", "m", "m")
    start = begin + 4 - begin % 4
    assert (len(data) - start, start % 4) == (4 * ROWS * COLUMNS, 0)
    values = np.frombuffer(data, "<f4", offset=start).reshape(ROWS, COLUMNS)
    np.testing.assert_allclose(values[::-1], height(1), rtol=1e-6)


def test_our_own_reader_opens_gsf(run: Path, tmp_path: Path) -> None:
    first, *_ = convert_path(run, tmp_path / "a.gsf", "gsf")
    content = read(first)
    assert isinstance(content, ImageFile)
    (image,) = content.images
    np.testing.assert_allclose(image.values[::-1], height(0), rtol=1e-6)
    assert (image.name, image.unit) == ("height, image 1", "m")
    assert [image.x_size, image.y_size] == pytest.approx([2.5e-6, 2e-6])
    first.write_bytes(first.read_bytes()[:-4])
    with pytest.raises(BadInput, match=r"a damaged \.gsf file"):
        read(first)


def test_a_matrix_has_the_size_and_unit_that_are_given(tmp_path: Path) -> None:
    heights = 1e9 * height(1)
    np.savetxt(tmp_path / "m.txt", np.tile(heights, (3, 3)))
    words = ["convert", str(tmp_path / "m.txt"), str(tmp_path / "m.gsf"), "--size-um", "7.5,6", "--unit", "nm"]
    assert main(words) == 0
    content = read(tmp_path / "m.gsf")
    assert isinstance(content, ImageFile)
    (image,) = content.images
    np.testing.assert_allclose(image.values, np.tile(height(1), (3, 3)), rtol=1e-6)
    assert [image.x_size, image.y_size] == pytest.approx([7.5e-6, 6e-6])


def test_ome_tiff_is_a_stack_over_time(run: Path, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    (path,) = convert_path(run, tmp_path / "a.ome.tif", "ome-tiff")
    with tifffile.TiffFile(path) as file:
        (series,) = file.series
        assert (series.axes, series.shape, series.dtype) == ("TCYX", (PASSES, 2, ROWS, COLUMNS), np.dtype("f8"))
        np.testing.assert_allclose(series.asarray()[1, 0, ::-1], height(1), atol=1e-15)
        written = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    assert (written["PhysicalSizeX"], written["PhysicalSizeXUnit"]) == (pytest.approx(0.5), "µm")
    assert [channel["Name"] for channel in written["Channel"]] == ["height [m]", "reference current [A]"]
    assert written["Plane"][2]["DeltaT"] - written["Plane"][0]["DeltaT"] == pytest.approx(100.0)


def test_nanosurf_and_wsxm_stand_as_gwyddion_shows_them(tmp_path: Path) -> None:
    if GWYDDION is None:
        pytest.skip("Gwyddion is not installed")
    for name in ("nid-1.nid", "stp-1.stp"):
        path, back = external("topography", name), tmp_path / f"{name}.gwy"
        subprocess.run([GWYDDION, f"--convert-to-gwy={back}", path], check=True, capture_output=True)
        theirs, ours = read(back), read(path)
        assert isinstance(theirs, ImageFile)
        assert isinstance(ours, ImageFile)
        span = float(np.ptp(ours.images[0].values))
        np.testing.assert_allclose(ours.images[0].values, theirs.images[0].values, atol=1e-5 * span)


def test_a_scan_of_unknown_size_has_pixels_and_no_metres(tmp_path: Path) -> None:
    (path,) = convert_path(external("sicm_scans", "Zelle1.sicm"), tmp_path / "a.gsf", "gsf")
    head = path.read_bytes().split(b"\0")[0].decode()
    assert "XYUnits" not in head
    assert "ZUnits = m" in head


# -- tables ---------------------------------------------------------------------------------------------------------


def test_csv_has_a_row_of_units_and_every_digit(run: Path, tmp_path: Path) -> None:
    (path,) = convert_path(run, tmp_path / "a.csv", "csv")
    names, units, rows = rows_of(path)
    table = dict(zip(names, units, strict=True))
    assert (table["t"], table["potential"], table["current"], table["coarse_z"]) == ("s", "V", "A", "m")
    assert len(rows) == 2 * PASSES
    first = dict(zip(names, rows[0], strict=True))
    assert (first["t"], first["current"], first["soc"], first["control"]) == ("0.0", "-0.0001", "", "current")
    (hops,) = convert_path(run, tmp_path / "hops.csv", "csv", "hops")
    names, units, rows = rows_of(hops)
    assert (units[names.index("z_stop")], len(rows)) == ("m", PASSES * ROWS * COLUMNS)
    assert float(rows[-1][names.index("z_stop")]) == height(1)[-1, -1] - 3e-6


def test_pixels_as_a_table_have_specimen_coordinates(run: Path, tmp_path: Path) -> None:
    (path,) = convert_path(run, tmp_path / "a.csv", "csv", "images")
    names, units, rows = rows_of(path)
    assert names == ["image", "quantity", "x", "y", "value", "unit"]
    found = {(r[0], r[1], round(float(r[2]) * 1e9), round(float(r[3]) * 1e9)): r[4:] for r in rows}
    value, unit = found["2", "height", 1500, -1500]
    assert float(value) == pytest.approx(height(1)[1, 1])
    assert unit == "m"
    assert units[2:4] == ["m", "m"]


def test_results_as_a_table(run: Path, cell_file: Path, tmp_path: Path) -> None:
    for source in (run, cell_file):
        (path,) = convert_path(source, tmp_path / f"{source.stem}.csv", "csv", "results")
        names, _, rows = rows_of(path)
        assert names == ["name", "value", "u", "u_calibration", "unit", "outcome", "reason", "method"]
        assert any(row[5] == "ok" and float(row[1]) for row in rows)
        assert all(row[6] for row in rows if row[5] != "ok")


def test_the_battery_data_format(cell_file: Path, run: Path, tmp_path: Path) -> None:
    (path,) = convert_path(cell_file, tmp_path / "a.bdf.csv", "bdf")
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    assert header == "Test Time / s,Voltage / V,Current / A"
    assert [float(value) for value in rows[10].split(",")] == pytest.approx([10.0, 0.49, -1e-4])
    (path,) = convert_path(run, tmp_path / "b.bdf.csv", "bdf")
    header, first, *_ = path.read_text(encoding="utf-8").splitlines()
    assert header == "Test Time / s,Unix Time / s,Voltage / V,Current / A,Net Capacity / Ah"
    assert float(first.split(",")[1]) == 1767323045.0


def test_the_battery_data_format_as_its_own_library_checks_it(cell_file: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        validate_df = pytest.importorskip("bdf.validate", reason="needs batterydf").validate_df
        (path,) = convert_path(cell_file, tmp_path / "a.bdf.csv", "bdf")
        report = validate_df(pandas.read_csv(path))
    assert report["ok"]
    assert (report["missing"], report["extras"], report["legacy_labels"]) == ([], [], [])


def test_records_that_a_format_holds_one_of_are_numbered(tmp_path: Path) -> None:
    paths = convert_path(external("electrochemistry", "cv_data.dta"), tmp_path / "a.bdf.csv", "bdf")
    assert [path.name for path in paths] == [f"a-{k}.bdf.csv" for k in range(1, 6)]


def test_parquet_knows_its_units(run: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    (path,) = convert_path(run, tmp_path / "a.parquet", "parquet")
    table = parquet.read_table(path)
    assert table.schema.field("potential").metadata == {b"unit": b"V"}
    assert table["current"].to_pylist() == [-1e-4] * 4
    assert table["soc"].null_count == 4
    assert "negative cell current lithiates" in json.loads(table.schema.metadata[b"opsicm"])["signs"]


def test_netcdf_holds_everything(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("h5netcdf")
    (path,) = convert_path(run, tmp_path / "a.nc", "netcdf")
    with h5py.File(path) as file:  # NetCDF-4 is HDF5: a reader that knows nothing of xarray
        assert {"hops", "cell", "slow", "images", "results"} <= set(file)
        images = file["images"]
        assert text(images["height"].attrs["units"]) == "m"
        np.testing.assert_allclose(images["height"][1], height(1), atol=1e-15)
        np.testing.assert_allclose(images["x"][:], X, atol=1e-15)
        np.testing.assert_allclose(images["y"][:], Y, atol=1e-15)
        assert text(file["cell/current"].attrs["units"]) == "A"
        assert "lithiates" in text(file.attrs["signs"])


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


# -- figures and movies ---------------------------------------------------------------------------------------------


def test_a_folder_gets_every_figure_with_its_data(run: Path, tmp_path: Path) -> None:
    paths = convert_path(run, tmp_path / "figures", "figures")
    stems = {path.stem for path in paths if path.suffix == ".svg"}
    assert "images_image_series" in stems
    assert {f"{stem}{end}" for stem in stems for end in (".svg", ".png", ".csv")} | {"images_results.csv"} == {
        path.name for path in paths
    }
    assert all(path.stat().st_size for path in paths)


def test_mp4_through_whatever_brings_ffmpeg(run: Path, tmp_path: Path) -> None:
    if movie._encoder() is None:
        pytest.skip("neither ffmpeg nor imageio-ffmpeg is installed")
    (path,) = convert_path(run, tmp_path / "a.mp4", "mp4")
    assert path.read_bytes()[4:8] == b"ftyp"


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("library", "name", "remedy"),
    [
        ("h5netcdf", "a.nc", "pip install h5netcdf, or name OUT with .csv"),
        ("tifffile", "a.tif", "pip install tifffile, or name OUT with .gwy"),
        ("pyarrow", "a.parquet", "pip install pyarrow, or name OUT with .csv"),
        ("imageio_ffmpeg", "a.mp4", "pip install imageio-ffmpeg, or name a .gif"),
    ],
)
def test_a_missing_library_is_named_with_what_works(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, name: str, remedy: str
) -> None:
    monkeypatch.setattr("opsicm.formats.table_writing.find_spec", lambda asked: None if asked == library else asked)
    monkeypatch.setattr(movie, "find_spec", lambda asked: None if asked == library else asked)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    kind = kind_of(Path(name))
    assert kind is not None
    with pytest.raises(BadInput, match=remedy):
        convert_path(run, tmp_path / name, kind)
    assert not list(tmp_path.iterdir())
    alternative = "a.gif" if "gif" in remedy else f"a.{remedy.rpartition('.')[2]}"
    assert main(["convert", str(run), str(tmp_path / alternative)]) == 0


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        (["{cell}", "{out}/a.gwy"], "has no image: images are of raster steps"),
        (["{cell}", "{out}/a.gif"], "movies are made of runs"),
        (["{cell}", "{out}/a.csv", "--table", "hops"], "hop records are of runs"),
        (["{cell}", "{out}/a.gwy", "--table", "hops"], "is for .csv and .parquet"),
        (["{cell}", "{out}/a.csv", "--table", "all"], "known are record, hops, images, results"),
        (["{cell}", "{out}/a.csv", "--to", "xlsx"], "known are gwy, gsf"),
        (["{cell}", "{out}/a.xlsx"], "of a run or a measured file .gwy"),
        (["{cell}", "{cell}", "--to", "csv"], "a file of this name exists"),
        (["{cell}", "{out}/a.csv", "--per-second", "3"], "is for movies"),
        (["{cell}", "{out}/a.csv", "--title", "x"], "is for protocols and experiments"),
        (["{out}/none.csv", "{out}/a.gwy"], "does not exist"),
    ],
)
def test_refusals(
    cell_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], limit: str
) -> None:
    assert main(["convert", *(word.format(cell=cell_file, out=tmp_path) for word in words)]) == 2
    assert limit in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_a_file_whose_name_is_no_text_is_converted(tmp_path: Path) -> None:
    """A name in Latin-1 on a disk of today: NetCDF and Parquet hold UTF-8 alone."""
    name = os.fsdecode(b"\xe9chantillon.txt")
    source = tmp_path / name
    rows = np.random.default_rng(3).standard_normal((12, 12))
    np.savetxt(source, rows, header="# Channel: height\n# Width: 1 um\n# Height: 1 um\n# Value units: nm", comments="")
    for ending in ("nc", "parquet", "csv", "gwy"):
        assert main(["convert", str(source), str(tmp_path / f"out.{ending}")]) == 0
