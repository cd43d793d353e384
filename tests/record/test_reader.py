"""Reading: lazily, quickly, and with a message where something is wrong."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.core.errors import BadInput, UnreadableRun
from opsicm.core.facts import HOP_DTYPE
from opsicm.experiment.patterns import along_a_line
from opsicm.record import labelled_arrays
from opsicm.record.counts_reader import CountsReader
from opsicm.record.reader import Run
from tests.fixtures.recorded import STREAM


def test_a_trace_is_the_hops_samples(run_path: Path) -> None:
    with Run(run_path) as run:
        trace = run.trace(9)
        counts = STREAM.counts(STREAM.pool(), 9)[10:4001, 1]
        np.testing.assert_array_equal(trace["z"].values, counts * 1e-12)
        assert trace["t_ns"].values[0] == (9 * 5000 + 10) * 10_000


def test_the_stream_reads_only_what_is_asked(run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Run(run_path) as run:
        read: list[int] = []
        plain = CountsReader.read_into

        def counted(self: CountsReader, counts: NDArray[np.int16], first: int) -> None:
            read.append(counts.shape[0])
            plain(self, counts, first)

        monkeypatch.setattr(CountsReader, "read_into", counted)
        stream = run.stream(1)
        assert stream.sizes["sample"] == 40_000
        part = stream["z"].isel(sample=slice(5_000, 5_100))
        assert read == []
        np.testing.assert_array_equal(part.values, run.samples(1, 5_000, 5_100)["z"].values)
        assert read == [100, 100]
        assert float(stream["z"][5_001]) == part.values[1]
        np.testing.assert_array_equal(stream["z"][5_099:4_999:-1].values, part.values[::-1])
        np.testing.assert_array_equal(stream["t_ns"][:3].values, [0, 10_000, 20_000])


def test_images_and_sections(run_path: Path) -> None:
    with Run(run_path) as run:
        image = run.image("probe[0]")
        np.testing.assert_allclose(image.values, np.arange(20).reshape(4, 5) * 1e-9)
        z = np.linspace(-8e-9, 8e-9, 33)
        section = run.section(np.array([0, 1, 2]), z)
        assert section.dims == ("z", "x")
        # In the stream every channel holds the same wave, up to its noise: current follows z.
        column = section.values[:, 1]
        good = np.isfinite(column)
        assert good.sum() > 20
        np.testing.assert_allclose(column[good], z[good], atol=0.3e-9)


@pytest.mark.parametrize("counts_on", [True, False])
def test_passes_of_a_raster(counts_on: bool) -> None:
    """Two passes of 2 x 3, one hop of a third, one hop elsewhere; `line` counts on, or begins anew at each event."""
    at = np.arange(13)
    row, pixel = np.divmod(at % 6, 3)
    hops = {name: np.zeros(14, HOP_DTYPE[name]) for name in HOP_DTYPE.names or ()}
    hops["line"][:13], hops["pixel"][:13] = row + (at // 6 * 2 if counts_on else 0), pixel
    hops["x"][:13], hops["y"][:13] = pixel * 1e-6, row * 2e-6
    hops["line"][13] = hops["pixel"][13] = -1
    hops["z_stop"], hops["t_ns"] = np.arange(14) * 1e-9, np.arange(14)
    hops["outcome"][4] = 1
    images = labelled_arrays.images(hops, hops.__getitem__)
    assert dict(images.sizes) == {"pass": 3, "y": 2, "x": 3}
    np.testing.assert_array_equal(images["z_stop"].values[1], np.arange(6, 12).reshape(2, 3) * 1e-9)
    assert np.isnan(images["z_stop"].values[0, 1, 1])
    assert images["t_ns"].values[0, 1, 1] == 4
    assert images["t_ns"].values[2].tolist() == [[12, -1, -1], [-1, -1, -1]]
    assert (
        labelled_arrays.images({name: values[13:] for name, values in hops.items()}, hops.__getitem__).sizes["pass"]
        == 0
    )
    rows = labelled_arrays.hops({**hops, "step": np.array(["probe[0]"] * 14, object)})
    last = labelled_arrays.image(rows, "z_stop")
    assert dict(last.sizes) == {"line": 2, "pixel": 3}
    np.testing.assert_array_equal(last.values, np.array([[12, 7, 8], [9, 10, 11]]) * 1e-9)


def test_a_line_that_is_repeated_has_one_row_and_many_passes() -> None:
    points = along_a_line((0.0, 0.0), (3e-6, 0.0), 4, None).some(0, 10)
    hops = {name: np.zeros(10, HOP_DTYPE[name]) for name in HOP_DTYPE.names or ()}
    hops["x"], hops["y"], hops["line"], hops["pixel"] = points.x, points.y, points.line, points.pixel
    images = labelled_arrays.images(hops, hops.__getitem__)
    assert dict(images.sizes) == {"pass": 3, "y": 1, "x": 4}


def test_images_of_a_run_are_read_when_asked_for(run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Run(run_path) as run:
        assert run.images("probe[9]").sizes["pass"] == 0
        read: list[str] = []
        plain = h5py.Dataset.__getitem__

        def counted(self: h5py.Dataset, key: object) -> object:
            read.append(self.name.rsplit("/", 1)[1])
            return plain(self, key)

        monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
        images = run.images("probe[0]")
        assert set(read) == {"x", "y", "line", "pixel", "outcome", "step"}
        read.clear()
        part = images["z_stop"].isel({"pass": 0, "y": 1})
        assert read == []
        first = part.values
        assert read == ["z_stop"]
        monkeypatch.undo()
        np.testing.assert_array_equal(first, run.image("probe[0]").values[1])
        assert images["z_stop"].attrs["units"] == "m"


def test_a_newer_live_version_is_refused_by_number(run_path: Path, tmp_path: Path) -> None:
    newer = shutil.copy(run_path, tmp_path / "run.nxs")
    with h5py.File(newer, "r+") as file:
        del file["entry/file_version"]
        file["entry/file_version"] = 2
    with pytest.raises(UnreadableRun, match="file_version is 2; this version reads up to 1; update opsicm"):
        Run(newer)


def test_a_changed_text_fails_its_checksum(run_path: Path, tmp_path: Path) -> None:
    bad = shutil.copy(run_path, tmp_path / "run.nxs")
    with h5py.File(bad, "r+") as file:
        file["entry/title"][()] = "another title"
    with Run(bad) as run, pytest.raises(UnreadableRun, match="title does not match its checksum"):
        _ = run.title


def test_other_paths_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        Run(tmp_path / "nothing")
    with pytest.raises(BadInput, match="not a run folder"):
        Run(tmp_path)
    (tmp_path / "run.nxs").write_text("hello")
    with pytest.raises(BadInput, match="no HDF5 signature"):
        Run(tmp_path)
    with h5py.File(tmp_path / "run.nxs", "w") as file:
        file["x"] = 1
    with pytest.raises(BadInput, match="not a run"):
        Run(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_refused(run_path: Path, tmp_path: Path) -> None:
    locked = Path(shutil.copy(run_path, tmp_path / "run.nxs"))
    locked.chmod(0)
    with pytest.raises(BadInput, match="cannot be read"):
        Run(locked)


def test_the_default_plot_needs_no_plugin(run_path: Path) -> None:
    with h5py.File(run_path) as file:
        entry = file[file.attrs["default"]]
        data = entry[entry.attrs["default"]]
        assert data.attrs["NX_class"] == "NXdata"
        for name in (data.attrs["signal"], data.attrs["axes"]):
            assert data[name].compression == "gzip"
            assert data[name].id.get_create_plist().get_nfilters() == 2  # deflate, fletcher32: both are HDF5's own
        np.testing.assert_allclose(data["height"][:], np.arange(20) * 1e-9)
        assert data["height"].attrs["units"] == "m"


@pytest.mark.parametrize("way", ["link", "storage", "virtual"])
def test_a_file_that_reaches_into_another_one_is_refused(run_path: Path, tmp_path: Path, way: str) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["text"] = np.frombuffer(b"the user's own", np.uint8)
    path = tmp_path / "run.nxs"
    path.write_bytes(run_path.read_bytes())
    with h5py.File(path, "r+") as file:
        del file["entry/title"]
        if way == "link":
            file["entry/title"] = h5py.ExternalLink(str(secret), "/text")
        elif way == "storage":
            size = secret.stat().st_size
            file.create_dataset("entry/title", (size,), np.uint8, external=[(str(secret), 0, size)])
        else:
            layout = h5py.VirtualLayout((14,), np.uint8)
            layout[:] = h5py.VirtualSource(str(secret), "text", (14,))
            file["entry"].create_virtual_dataset("title", layout)
    with pytest.raises(UnreadableRun, match=r"entry/title.*reaches into another file"):
        Run(path)
