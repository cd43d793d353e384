"""Images of others from the command line as a run's own: matrices, points, .npy, several as a time lapse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.cli.main import main
from opsicm.core.errors import BadInput
from opsicm.formats.identify import identify, read
from opsicm.formats.image_file import ImageFile
from opsicm.formats.matrix import ImageScale, on_grid
from opsicm.results.file_series import lapse_of
from opsicm.results.third_party import analyse_file

F64 = NDArray[np.float64]


def surface(seed: int = 0) -> F64:
    """[nm], 48 x 40 pixels, with structure that can be registered."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:40, 0:48]
    smooth: F64 = 40.0 * np.sin(x / 5.0) * np.cos(y / 7.0) + 15.0 * np.sin(x / 3.1 + y / 4.3)
    return np.asarray(smooth + 0.3 * rng.standard_normal(x.shape))


def files_of_one_surface(folder: Path) -> dict[str, tuple[Path, str | None, ImageScale | None]]:
    z = surface()
    y, x = np.mgrid[0:40, 0:48] * 0.25
    points = np.column_stack([x.ravel(), y.ravel(), z[::-1].ravel()])
    paths = {name: folder / name for name in ("m.txt", "m.csv", "a.npy", "a.npz", "p.csv", "p.txt", "shuffled.txt")}
    np.savetxt(paths["m.txt"], z, fmt="%.5f")
    paths["m.csv"].write_text("\n".join(";".join(f"{v:.5f}".replace(".", ",") for v in row) for row in z))
    np.save(paths["a.npy"], z)
    np.savez(paths["a.npz"], height=z)
    np.savetxt(paths["p.csv"], points, fmt="%.5f", delimiter=",", header="x (um),y (um),z (nm)", comments="")
    np.savetxt(paths["p.txt"], points, fmt="%.5f")
    np.savetxt(paths["shuffled.txt"], np.random.default_rng(1).permutation(points), fmt="%.5f")
    scale, named = ImageScale.of("12,10", "nm"), "x=um,y=um,z=nm"
    return {
        "m.txt": (paths["m.txt"], None, scale),
        "m.csv": (paths["m.csv"], None, scale),
        "a.npy": (paths["a.npy"], None, scale),
        "a.npz": (paths["a.npz"], None, scale),
        "p.csv": (paths["p.csv"], None, None),
        "p.txt": (paths["p.txt"], named, None),
        "shuffled.txt": (paths["shuffled.txt"], named, None),
        "p.txt by size": (paths["p.txt"], None, scale),
    }


def test_one_surface_in_every_form_is_the_same_image(tmp_path: Path) -> None:
    for name, (path, columns, scale) in files_of_one_surface(tmp_path).items():
        file = read(path, columns, scale)
        assert isinstance(file, ImageFile), name
        (image,) = file.heights
        np.testing.assert_allclose(image.values, 1e-9 * surface(), atol=1e-14, err_msg=name)
        assert image.unit == "m"
        assert (image.x_size, image.y_size) == pytest.approx((12e-6, 10e-6)), name


def test_a_matrix_without_its_unit_says_how_to_give_it_and_that_works(tmp_path: Path) -> None:
    path = tmp_path / "m.txt"
    np.savetxt(path, surface(), fmt="%.4f")
    assert any("--unit nm --size-um X,Y" in finding.text for finding in identify(path).findings)
    with pytest.raises(BadInput, match=r"if it is an image, give --unit nm --size-um X,Y"):
        read(path)
    assert main(["analyse", str(path), "--unit", "nm", "--size-um", "12,10"]) == 0


def test_points_off_a_grid_are_refused_and_gaps_are_missing() -> None:
    x, y = (axis.ravel().astype(float) for axis in np.meshgrid(np.arange(10), np.arange(8)))
    z = x + 10.0 * y
    found = on_grid(x, y, z)
    assert found is not None
    assert found[0][-1].tolist() == list(range(10))  # y points up: the first row is the highest y
    keep = np.arange(z.size) != 33
    with_gap = on_grid(x[keep], y[keep], z[keep])
    assert with_gap is not None
    assert np.count_nonzero(np.isnan(with_gap[0])) == 1
    rng = np.random.default_rng(2)
    assert on_grid(rng.uniform(0, 10, 80), rng.uniform(0, 8, 80), z) is None
    assert on_grid(np.repeat(x, 2), np.repeat(y, 2), np.repeat(z, 2)) is None


@pytest.mark.parametrize(
    ("size", "unit", "says"),
    [
        ("wide", "nm", "write --size-um 20 or --size-um 20,15"),
        ("-3", "nm", "--size-um"),
        ("12,10", "furlong", "known units are"),
    ],
)
def test_a_wrong_scale_is_explained(size: str, unit: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        ImageScale.of(size, unit)


def test_a_scale_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "g.txt"
    path.write_text("# Channel: Z\n# Width: 10 um\n# Height: 10 um\n# Value units: nm\n1 2\n3 4\n")
    with pytest.raises(BadInput, match=r"the file states 10 x 10 µm"):
        read(path, None, ImageScale.of("20", None))
    with pytest.raises(BadInput, match="the file states m for Z"):
        read(path, None, ImageScale.of(None, "pA"))
    assert isinstance(read(path, None, ImageScale.of("10", "nm")), ImageFile)


def test_a_grid_of_approach_curves_is_an_image(tmp_path: Path) -> None:
    """Hyperbolas of 0.8 nm over a tilt of 10 nm a step, each stopped 40 nm above the surface, in a table of x y z R."""
    steps = 0.010 * np.arange(120)[::-1]
    rows = []
    rng = np.random.default_rng(5)
    for j in range(5):
        for i in range(6):
            surface_um = 3.0 + 0.010 * i - 0.005 * j
            z = surface_um + 0.040 + steps
            R = 106.0 * (1.0 + 0.0008 / (z - surface_um)) + 0.05 * rng.standard_normal(z.size)
            rows += [f"{0.5 * i:.2f}\t{0.4 * j:.2f}\t{a:.4f}\t{b:.4f}" for a, b in zip(z, R, strict=True)]
    path = tmp_path / "grid.txt"
    path.write_text("x [um]\ty [um]\tz [um]\tR [MOhm]\n" + "\n".join(rows))
    results = {r.label: r for r in analyse_file(path)}
    # A plane: 10 nm a step over six columns, 5 nm over five rows.
    expected = float(np.std([10.0 * i - 5.0 * j for j in range(5) for i in range(6)]))
    assert results["Sq raw"].value == pytest.approx(expected, abs=0.01)
    assert results["median distance at the stop"].value == pytest.approx(40.0, abs=5.0)


def test_several_images_are_a_time_lapse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / f"{k}.npy" for k in range(3)]
    for k, path in enumerate(paths):
        np.save(path, surface(k) + 20.0 * k)
    results, views = lapse_of(paths, None, ImageScale.of("12,10", "nm"))
    changes = {r.of.image: r for r in results if r.name == "height_change"}
    for k in (2, 3):
        assert changes[k].value == pytest.approx(20.0 * (k - 1), abs=4.0 * (changes[k].u or 0.0))
    assert [view.name for view in views] == ["image_series", "image_changes"]
    scale = ["--unit", "nm", "--size-um", "12,10"]
    report = tmp_path / "r.html"
    assert main(["report", *map(str, paths), *scale, "-o", str(report)]) == 0
    assert "2.npy differs most from 0.npy" in report.read_text()
    capsys.readouterr()
    assert main(["analyse", *map(str, paths), *scale, "--json"]) == 0
    together = [r for r in json.loads(capsys.readouterr().out) if r["run"] == "all"]
    assert any("height_change" in r["name"] for r in together)


def test_images_of_different_areas_are_analysed_each_by_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", surface())
    np.save(tmp_path / "b.npy", surface()[:20])
    names = [str(tmp_path / name) for name in ("a.npy", "b.npy")]
    assert main(["analyse", *names, "--unit", "nm", "--size-um", "12,10", "--json"]) == 0
    together = [r for r in json.loads(capsys.readouterr().out) if r["run"] == "all"]
    assert [r["outcome"] for r in together] == ["not comparable"]
    assert main(["report", *names, "--unit", "nm", "--size-um", "12,10"]) == 2
