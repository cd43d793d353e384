"""First form of the record: one NeXus-shaped HDF5 file, written in the controlling process, renamed when whole."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from opsicm.facts.channel import Channel
from opsicm.facts.fact import Fact
from opsicm.facts.hop import HOP_DTYPE
from opsicm.facts.samples import SampleBlock
from opsicm.record.recorder import Header, Reading
from opsicm.record.run_folder import RunFolder

FILE_VERSION: Final = 1
_ROWS: Final = 65536  # samples per chunk: 256 kB of two channels, the unit of compression and of a write
_TEXT: Final = h5py.string_dtype("utf-8")
_CELL: Final = {"t_ns": "ns", "potential": "V", "current": "A", "charge": "C", "set_point": "V", "soc": "1"}
_SLOW: Final = {
    "t_ns": "ns", "pipette_current": "A", "pipette_bias": "V", "bias_residual": "V", "z": "m", "coarse_z": "m",
}  # fmt: skip
_HOP_UNITS: Final = {
    "x": "m", "y": "m", "t_ns": "ns", "i_ref": "A", "i_stop": "A", "setpoint": "1", "z_stop": "m", "z_min": "m",
    "cell_potential": "V", "cell_current": "A", "bias_residual": "V",
}  # fmt: skip
SOC_DEFINITION: Final = (
    "charge since the last delithiated cut-off over the reversible capacity between the program's cut-offs at rest; "
    "NaN before the first such cut-off; not the stoichiometry"
)


class NexusWriter:
    """A `Recorder` behind which one open HDF5 file grows; `close` turns it into `run.nxs`."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._facts: list[str] = []
        self._hop_rows: list[NDArray[Any]] = []
        self._hop_steps: list[str] = []
        self._readings: list[Reading] = []
        self._waiting: list[NDArray[np.int16]] = []
        self._waiting_rows = 0
        self._segment: h5py.Group | None = None
        self._blocks: list[tuple[int, ...]] = []

    # -- Recorder ---------------------------------------------------------------------------------------------------

    def open(self, header: Header) -> None:
        self._journal = self._folder.journal.open("a", encoding="utf-8")
        self._file = h5py.File(self._folder.live_file, "w", libver=("earliest", "v112"))
        self._header = header
        root, entry = self._file, self._file.create_group("entry")
        root.attrs.update(NX_class="NXroot", default="entry", creator="opsicm")
        entry.attrs.update(NX_class="NXentry", default="data")
        self._entry = entry
        texts = {
            "definition": "NXsensor_scan",
            "definition_local": "NXsicm",
            "title": header.title,
            "start_time": header.started_utc,
            "experiment": header.experiment_text,
            "rig": header.rig_text,
            "parameters": json.dumps(dict(header.parameters), ensure_ascii=False),
        }
        for name, text in texts.items():
            entry.create_dataset(name, data=text, dtype=_TEXT)
        entry["file_version"] = FILE_VERSION
        provenance = entry.create_group("provenance")
        provenance.attrs["NX_class"] = "NXcollection"
        for name, value in header.provenance.items():
            provenance[name] = value
        for name in ("samples", "hops", "cell", "slow"):
            entry.create_group(name).attrs["NX_class"] = "NXcollection"
        self._hops_written = 0
        self._make_columns(entry["hops"], [(n, HOP_DTYPE[n], _HOP_UNITS.get(n, "1")) for n in HOP_DTYPE.names or ()])
        entry["hops"].create_dataset("step", (0,), _TEXT, maxshape=(None,), chunks=(4096,))
        self._make_columns(entry["cell"], [(n, _column_dtype(n), unit) for n, unit in _CELL.items()])
        entry["cell"].create_dataset("control", (0,), _TEXT, maxshape=(None,), chunks=(4096,))
        entry["cell/soc"].attrs["definition"] = SOC_DEFINITION
        entry["cell/current"].attrs["sign"] = "negative lithiates"
        self._make_columns(entry["slow"], [(n, _column_dtype(n), unit) for n, unit in _SLOW.items()])

    def block(self, block: SampleBlock) -> None:
        name = f"segment_{block.segment:04d}"
        if self._segment is None or self._segment.name.rsplit("/", 1)[1] != name:
            self._finish_segment()
            self._segment = self._begin_segment(name, block)
        self._blocks.append((block.first_sample, block.counts.shape[0], block.t0_ns, *map(int, block.quality)))
        self._waiting.append(block.counts)
        self._waiting_rows += block.counts.shape[0]
        if self._waiting_rows >= _ROWS:
            self._write_samples(whole_chunks=True)

    def hops(self, step: str, records: NDArray[Any]) -> None:
        self._hop_rows.append(records)
        self._hop_steps.extend([step] * records.size)
        if len(self._hop_steps) >= 4096:
            self._write_hops()

    def reading(self, reading: Reading) -> None:
        self._readings.append(reading)
        if len(self._readings) >= 1024:
            self._write_readings()

    def fact(self, fact: Fact) -> None:
        line = fact.line()
        self._facts.append(line)
        self._journal.write(line + "\n")
        self._journal.flush()
        if fact.kind in {"intent", "run_ended"}:
            os.fsync(self._journal.fileno())

    def close(self) -> Path:
        self._finish_segment()
        self._write_hops()
        self._write_readings()
        self._entry.create_dataset("journal", data=self._facts, dtype=_TEXT)
        self._default_plot()
        self._file.close()
        self._journal.close()
        self._folder.live_file.rename(self._folder.run_file)
        return self._folder.run_file

    # -- samples ----------------------------------------------------------------------------------------------------

    def _begin_segment(self, name: str, block: SampleBlock) -> h5py.Group:
        group = self._entry["samples"].create_group(name)
        group.attrs.update(NX_class="NXcollection", t0_ns=block.t0_ns, dt_ns=block.dt_ns)
        width = block.counts.shape[1]
        counts = group.create_dataset(
            "counts",
            (0, width),
            np.int16,
            maxshape=(None, width),
            chunks=(_ROWS, width),
            **hdf5plugin.Bitshuffle(cname="lz4"),
        )
        _describe_channels(counts, self._header.channels)
        return group

    def _write_samples(self, whole_chunks: bool) -> None:
        assert self._segment is not None
        rows = np.concatenate(self._waiting) if self._waiting else np.empty((0, 0), np.int16)
        keep = rows.shape[0] % _ROWS if whole_chunks else 0
        ready = rows.shape[0] - keep
        if ready:
            counts = self._segment["counts"]
            before = counts.shape[0]
            counts.resize(before + ready, axis=0)
            counts[before:] = rows[:ready]
        self._waiting = [rows[ready:]] if keep else []
        self._waiting_rows = keep

    def _finish_segment(self) -> None:
        if self._segment is None:
            return
        self._write_samples(whole_chunks=False)
        blocks = self._segment.create_dataset("blocks", data=np.array(self._blocks, np.int64), compression="gzip")
        names = ["first_sample", "samples", "t0_ns", *(f"quality_{c.name}" for c in self._header.channels)]
        blocks.attrs["columns"] = names
        self._segment, self._blocks = None, []

    # -- rows -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _make_columns(group: h5py.Group, columns: Sequence[tuple[str, Any, str]]) -> None:
        for name, dtype, unit in columns:
            column = group.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(4096,), compression="gzip")
            column.attrs["units"] = unit

    def _write_hops(self) -> None:
        if not self._hop_steps:
            return
        rows = np.concatenate(self._hop_rows)
        for name in HOP_DTYPE.names or ():
            _append(self._entry["hops"][name], rows[name])
        _append(self._entry["hops/step"], np.array(self._hop_steps, dtype=object))
        self._hop_rows, self._hop_steps = [], []
        self._file.flush()

    def _write_readings(self) -> None:
        if not self._readings:
            return
        for group, names in (("cell", _CELL), ("slow", _SLOW)):
            for name in names:
                values = [getattr(reading, name) for reading in self._readings]
                filled = [np.nan if value is None else value for value in values]
                _append(self._entry[group][name], np.array(filled, _column_dtype(name)))
        _append(self._entry["cell/control"], np.array([r.control for r in self._readings], dtype=object))
        self._readings = []
        self._file.flush()

    def _default_plot(self) -> None:
        """`/entry/data`: height against time where there are hops, else pipette current; opens without a plug-in."""
        entry = self._entry
        data = entry.create_group("data")
        hops = entry["hops/t_ns"].shape[0]
        if hops:
            t, signal, name, unit = entry["hops/t_ns"][:], entry["hops/z_stop"][:], "height", "m"
        else:
            t, signal, name, unit = entry["slow/t_ns"][:], entry["slow/pipette_current"][:], "pipette_current", "A"
        data.attrs.update(NX_class="NXdata", signal=name, axes="time")
        data.create_dataset("time", data=t * 1e-9).attrs["units"] = "s"
        data.create_dataset(name, data=signal).attrs["units"] = unit


def _column_dtype(name: str) -> Any:
    return np.int64 if name == "t_ns" else np.float64


def _append(dataset: h5py.Dataset, values: NDArray[Any]) -> None:
    before = dataset.shape[0]
    dataset.resize(before + values.shape[0], axis=0)
    dataset[before:] = values


def _describe_channels(counts: h5py.Dataset, channels: tuple[Channel, ...]) -> None:
    """Scales as attributes beside the counts: SI = counts*scale + offset, column by column."""
    for key in ("name", "quantity", "unit", "sign", "scale", "offset", "source", "policy"):
        counts.attrs[key] = [getattr(channel, key) for channel in channels]
    counts.attrs["filter_Hz"] = [c.filter_Hz if c.filter_Hz is not None else np.nan for c in channels]
