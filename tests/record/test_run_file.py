"""The run file: layout, laziness, and what a damaged one says."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from opsicm.core.errors import BadInput, UnreadableRun
from opsicm.core.facts import HOP_DTYPE
from opsicm.record.reader import Run
from opsicm.record.run_folder import slug


def test_the_folder_holds_what_the_contract_says(short_run: Run) -> None:
    folder = short_run.path.parent
    assert {path.name for path in folder.iterdir()} >= {"experiment.yaml", "rig.yaml", "journal.jsonl", "run.nxs"}
    assert [path.name for path in folder.glob("*.nxs")] == ["run.nxs"]
    assert not list(folder.glob("record-*.log"))
    assert (folder / "experiment.yaml").read_text(encoding="utf-8") == short_run.experiment_text


def test_the_layout_is_the_contracts(short_run: Run) -> None:
    with h5py.File(short_run.path) as file:
        entry = file["entry"]
        assert entry["definition"].asstr()[()] == "NXsensor_scan"
        assert entry["definition_local"].asstr()[()] == "NXsicm"
        assert entry["file_version"][()] == 1
        counts = entry["samples/segment_0001/counts"]
        assert counts.dtype == np.int16
        assert counts.shape[1] == 2
        assert [name.decode() for name in counts.attrs["name"]] == ["pipette_current", "z"]
        assert counts.attrs["sign"][0].decode().startswith("positive flows out")
        assert set(HOP_DTYPE.names or ()) | {"step"} == set(entry["hops"])
        assert {"t_ns", "potential", "current", "charge", "soc", "control"} <= set(entry["cell"])
        assert {"journal", "experiment", "rig", "parameters", "provenance", "slow", "data"} <= set(entry)
        lengths = {entry["hops"][name].shape for name in entry["hops"]}
        assert lengths == {(short_run.hops.sizes["hop"],)}


def test_the_default_plot_opens_without_a_plug_in(short_run: Run) -> None:
    code = (
        "import h5py, sys\n"
        "f = h5py.File(sys.argv[1]); e = f[f.attrs['default']]; d = e[e.attrs['default']]\n"
        "y = d[d.attrs['signal']]; x = d[d.attrs['axes']]\n"
        "assert y.compression in (None, 'gzip') and 'hdf5plugin' not in sys.modules\n"
        "print(len(y[:]), len(x[:]), y.attrs['units'])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code, str(short_run.path)], capture_output=True, text=True, check=True
    )
    n = short_run.hops.sizes["hop"]
    assert output.stdout.split() == [str(n), str(n), "m"]


def test_each_hop_has_its_own_samples(short_run: Run) -> None:
    record = short_run.hops.isel(hop=7)
    trace = short_run.trace(7)
    assert trace.sizes["sample"] == int(record["sample_top"] - record["sample_start"]) + 1
    at_stop = int(record["sample_stop"] - record["sample_start"])
    assert trace["t_ns"].values[at_stop] == int(record["t_ns"])
    assert trace["pipette_current"].values[at_stop] == pytest.approx(float(record["i_stop"]), abs=1e-15)
    assert trace["z"].values[at_stop] == pytest.approx(float(record["z_stop"]), abs=1e-15)


def test_blocks_cover_the_samples_without_gap(short_run: Run) -> None:
    with h5py.File(short_run.path) as file:
        group = file["entry/samples/segment_0001"]
        blocks, n = group["blocks"][:], group["counts"].shape[0]
    assert blocks[0, 0] == 0
    assert np.array_equal(blocks[1:, 0], blocks[:-1, 0] + blocks[:-1, 1])
    assert blocks[-1, 0] + blocks[-1, 1] == n


@pytest.fixture
def copy(short_run: Run, tmp_path: Path) -> Path:
    folder = tmp_path / "20260101T000000Z_copy"
    folder.mkdir()
    for path in short_run.path.parent.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_a_truncated_file_says_what_can_still_be_read(copy: Path) -> None:
    path = copy / "run.nxs"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(
        UnreadableRun, match=r"run.nxs .* is truncated.*can still be read: experiment.yaml, rig.yaml, journal"
    ):
        Run(copy)


def test_an_interrupted_run_lists_what_can_be_read(copy: Path) -> None:
    (copy / "run.nxs").rename(copy / "record-0001.log")
    with pytest.raises(
        UnreadableRun, match=r"has no run.nxs: it is still running, or was .* the record: record-0001.log"
    ):
        Run(copy)


def test_a_newer_file_version_is_refused_by_number(copy: Path) -> None:
    with h5py.File(copy / "run.nxs", "a") as file:
        file["entry/file_version"][()] = 2
        file["entry/file_version"].attrs["crc32"] = np.uint32(
            zlib.crc32(np.asarray(file["entry/file_version"]).tobytes())
        )
    with pytest.raises(UnreadableRun, match=r"file_version is 2; this version reads up to 1"):
        Run(copy)


def test_a_file_that_lacks_a_part_names_it(copy: Path) -> None:
    with h5py.File(copy / "run.nxs", "a") as file:
        del file["entry/hops"]
    with pytest.raises(UnreadableRun, match=r"lacks hops; what can still be read: samples, cell, slow"):
        Run(copy)


def test_unequal_columns_are_refused_not_paired(copy: Path) -> None:
    with h5py.File(copy / "run.nxs", "a") as file:
        column = file["entry/hops/z_stop"]
        column.resize(column.shape[0] - 3, axis=0)
    with Run(copy) as run, pytest.raises(UnreadableRun, match="unequal lengths"):
        run.hops  # noqa: B018


@pytest.mark.parametrize("content", [b"", b"not hdf5 at all", b"\x89HDF\r\n\x1a\n" + b"\0" * 50])
def test_other_files_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.nxs"
    path.write_bytes(content)
    with pytest.raises((BadInput, UnreadableRun)) as refused:
        Run(path)
    assert "run.nxs" in str(refused.value)


def test_other_hdf5_is_no_run(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(BadInput, match="is HDF5 but not a run"):
        Run(tmp_path / "other.h5")
    with pytest.raises(BadInput, match="does not exist"):
        Run(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="is not a run folder"):
        Run(tmp_path)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Height of graphite", "height-of-graphite"),
        ("../../etc/passwd", "etc-passwd"),
        ("Ünïcødé/µ", "n-c-d"),
        ("…", "run"),
    ],
)
def test_a_title_becomes_a_safe_folder_name(title: str, name: str) -> None:
    assert slug(title) == name
