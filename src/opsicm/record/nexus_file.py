"""Writes a NeXus file: texts with checksums, columns, and the groups that NXsensor_scan and NXsicm require. Its names
and units are shared with the reader and the validator.

Every array lies in checksummed chunks, every text carries the checksum of its bytes in an attribute, and the format's
low bound is 1.10, whose metadata has checksums throughout: a damaged file is noticed, not misread.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from opsicm.core.facts import HOP_DTYPE, Channel
from opsicm.core.output_file import as_utf8
from opsicm.record.recorder import RunHeader
from opsicm.record.ring import CONTROL_BYTES, MODE_BYTES, STEP_BYTES

FILE_VERSION: Final = 1
DEFINITION_VERSION: Final = "1.2"
PROGRAM_URL: Final = "https://pypi.org/project/opsicm/"
GROUPS: Final = ("samples", "hops", "cell", "slow", "journal", "experiment", "rig", "parameters", "provenance")

# column of the file → (field of a slow row, unit)
CELL: Final = {"t_ns": "ns", "potential": "V", "current": "A", "charge": "C", "set_point": "V", "soc": "1"}
SLOW: Final = {
    "t_ns": "ns",
    "pipette_current": "A",
    "pipette_bias": "V",
    "bias_residual": "V",
    "z": "m",
    "coarse_z": "m",
    "amplifier_gain": "V/A",
    "amplifier_filter": "Hz",
}
SLOW_TEXTS: Final = {"amplifier_mode": MODE_BYTES}
SINCE_1_2: Final = ("amplifier_gain", "amplifier_filter", "amplifier_mode")
"""Columns of `slow` that a file of an older definition lacks."""
HOP_UNITS: Final = {
    "x": "m",
    "y": "m",
    "t_ns": "ns",
    "i_ref": "A",
    "i_stop": "A",
    "setpoint": "1",
    "z_stop": "m",
    "z_min": "m",
    "cell_potential": "V",
    "cell_current": "A",
    "bias_residual": "V",
}
SOC_DEFINITION: Final = (
    "charge since the last delithiated cut-off over the reversible capacity between the program's cut-offs at rest; "
    "NaN before the first such cut-off; not the stoichiometry"
)
OUTCOMES: Final = "0 contact, 1 no contact in range, 2 below threshold at start, 3 overload, 4 aborted"
QUALITIES: Final = "0 good, 1 saturated, 2 stale, 3 missing, 4 suspect"
BLOCK_COLUMNS: Final = ("first_sample", "samples", "t0_ns")
MISSING: Final = 3


def column_dtype(name: str) -> Any:
    """The type of a column of `cell` or `slow`."""
    return np.int64 if name == "t_ns" else np.float64


FORMAT: Final = ("v110", "v110")
_CHUNK: Final = 4096
_SENSORS: Final = {
    # sensor → (group, column, NeXus's word for the quantity, its full name, whether it is set rather than measured)
    "pipette_current": ("slow", "pipette_current", "current", "ion current through the pipette", False),
    "pipette_bias": ("slow", "pipette_bias", "voltage", "command voltage at the amplifier", True),
    "height": ("slow", "z", "height", "measured height of the pipette", False),
    "coarse_height": ("slow", "coarse_z", "height", "coarse height of the scanner's zero", True),
    "cell_potential": ("cell", "potential", "voltage", "specimen potential against Li/Li+", False),
    "cell_current": ("cell", "current", "current", "current through the specimen, negative lithiates", False),
    "cell_set_point": ("cell", "set_point", "voltage", "potential that the cell program asks for", True),
}


def text(group: h5py.Group, name: str, value: str) -> h5py.Dataset:
    """A text with the checksum of its UTF-8 bytes: HDF5's heaps, which hold such texts, have none."""
    item = group.create_dataset(name, data=value, dtype=h5py.string_dtype("utf-8"))
    item.attrs["crc32"] = np.uint32(zlib.crc32(value.encode("utf-8")))
    return item


def number(group: h5py.Group, name: str, value: float | int) -> None:
    """A number with its checksum."""
    item = group.create_dataset(name, data=value)
    item.attrs["crc32"] = np.uint32(zlib.crc32(np.asarray(item[()]).tobytes()))


def column(group: h5py.Group, name: str, values: NDArray[Any], unit: str | None = None) -> h5py.Dataset:
    """A column in gzip chunks with checksums, which any HDF5 reader opens."""
    item = table(group, name, values.dtype, ())
    item.resize(values.shape)
    item[:] = values
    if unit is not None:
        item.attrs["units"] = unit
    return item


def table(group: h5py.Group, name: str, dtype: Any, width: tuple[int, ...], rows: int = _CHUNK) -> h5py.Dataset:
    """An empty array of rows in gzip chunks with checksums, which any HDF5 reader opens."""
    return group.create_dataset(
        name,
        (0, *width),
        dtype,
        maxshape=(None, *width),
        chunks=(rows, *width),
        compression="gzip",
        compression_opts=1,
        shuffle=h5py.check_string_dtype(np.dtype(dtype)) is None,
        fletcher32=True,
    )


class Growing:
    """Appends rows to `dataset`, by whole chunks: rows wait in memory until a chunk of them is there, or `flush`."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.dataset = dataset
        self.dtype: Final = dataset.dtype  # asked once: HDF5 makes a new one at each question
        self._chunk = int(dataset.chunks[0])
        self._waiting: list[NDArray[Any]] = []
        self._held = 0
        self.size = 0  # rows so far

    def append(self, values: NDArray[Any]) -> None:
        """Rows to follow."""
        self._waiting.append(values)
        self._held += values.shape[0]
        self.size += values.shape[0]
        if self._held >= self._chunk:
            self._write(self._held - self._held % self._chunk)

    def flush(self) -> None:
        """Every row is in the file."""
        if self._held:
            self._write(self._held)

    def _write(self, n: int) -> None:
        values, at = np.concatenate(self._waiting), self.size - self._held
        self.dataset.resize(at + n, axis=0)
        self.dataset[at:] = values[:n]
        self._waiting, self._held = ([values[n:].copy()], values.shape[0] - n) if n < values.shape[0] else ([], 0)


class Table:
    """Columns that grow together, each from a field of the rows."""

    def __init__(self) -> None:
        self.columns: list[tuple[str, Growing]] = []

    def column(self, group: h5py.Group, name: str, dtype: Any, unit: str | None) -> h5py.Dataset:
        """One more column, from the field of its name."""
        dataset = table(group, name, dtype, ())
        if unit is not None:
            dataset.attrs["units"] = unit
        self.columns.append((name, Growing(dataset)))
        return dataset

    @property
    def size(self) -> int:
        """Rows so far."""
        return self.columns[0][1].size

    def append(self, rows: NDArray[Any]) -> None:
        """Rows to follow."""
        for name, growing in self.columns:
            growing.append(rows[name].astype(growing.dtype))

    def flush(self) -> None:
        """Every row is in the file."""
        for _, growing in self.columns:
            growing.flush()


def group_of(parent: h5py.Group, name: str, nexus_class: str) -> h5py.Group:
    """A group with its NeXus class."""
    group = parent.create_group(name)
    group.attrs["NX_class"] = nexus_class
    return group


def start(file: h5py.File, header: RunHeader, name: str, provenance: Mapping[str, Any]) -> h5py.Group:
    """The root, `/entry` and everything that was known before the run."""
    file.attrs.update(NX_class="NXroot", default="entry", creator="opsicm")
    entry = group_of(file, "entry", "NXentry")
    entry.attrs["default"] = "data"
    for field, value in (
        ("definition", "NXsensor_scan"),
        ("definition_local", "NXsicm"),
        ("title", header.title),
        ("experiment_description", header.title),
        ("identifier_experiment", as_utf8(name)),
        ("start_time", header.started_utc),
        ("experiment", header.experiment_text),
        ("rig", header.rig_text),
        ("parameters", json.dumps(dict(header.parameters), ensure_ascii=False)),
    ):
        text(entry, field, value)
    entry["definition"].attrs["version"] = "1.0"
    entry["definition_local"].attrs["version"] = DEFINITION_VERSION
    number(entry, "file_version", FILE_VERSION)
    group = group_of(entry, "provenance", "NXcollection")
    for field, item in {**header.provenance, **provenance}.items():
        number(group, field, item) if isinstance(item, int | float) else text(group, field, str(item))
    program = text(group_of(entry, "process", "NXprocess"), "program", "opsicm")
    program.attrs.update(version=str(header.provenance.get("opsicm", "unknown")), program_url=PROGRAM_URL)
    text(group_of(entry, "user", "NXuser"), "name", str(header.provenance.get("user", "unknown")))
    specimen = header.parameters.get("set", {}).get("name", "unknown")
    text(group_of(entry, "sample", "NXsample"), "name", str(specimen))
    return entry


def hops(entry: h5py.Group) -> Table:
    """`/entry/hops`: one column per field of the hop record, and the step."""
    group, rows = group_of(entry, "hops", "NXcollection"), Table()
    for name in HOP_DTYPE.names or ():
        rows.column(group, name, HOP_DTYPE[name], HOP_UNITS.get(name, "1"))
    rows.column(group, "step", h5py.string_dtype("utf-8", STEP_BYTES), None)
    group["outcome"].attrs["meaning"] = OUTCOMES
    return rows


def slow_rows(entry: h5py.Group) -> Table:
    """`/entry/cell` and `/entry/slow`, row for row the same slow rows."""
    rows = Table()
    for name, columns in (("cell", CELL), ("slow", SLOW)):
        group = group_of(entry, name, "NXcollection")
        for field, unit in columns.items():
            rows.column(group, field, column_dtype(field), unit)
    rows.column(entry["cell"], "control", h5py.string_dtype("utf-8", CONTROL_BYTES), None)
    for field, length in SLOW_TEXTS.items():
        rows.column(entry["slow"], field, h5py.string_dtype("utf-8", length), None)
    entry["cell/soc"].attrs["definition"] = SOC_DEFINITION
    entry["cell/current"].attrs["sign"] = "negative lithiates"
    return rows


def decimated(group: h5py.Group, factor: int, channels: Sequence[Channel]) -> dict[str, Growing]:
    """`decimated` of a segment: smallest, largest and mean count of every `factor` samples of `channels`."""
    stream = group_of(group, "decimated", "NXcollection")
    stream.attrs["samples_a_row"] = factor
    items = {}
    for name in ("first_sample", "samples"):
        items[name] = table(stream, name, np.int64, ())
        items[name].attrs["units"] = "1"
    for name, dtype in (("minimum", np.int16), ("maximum", np.int16), ("mean", np.float32)):
        items[name] = table(stream, name, dtype, (len(channels),))
        describe(items[name], channels)
    return {name: Growing(item) for name, item in items.items()}


def blocks(group: h5py.Group, channels: Sequence[Channel]) -> Growing:
    """`blocks` of a segment: the blocks as they came."""
    names = [*BLOCK_COLUMNS, *(f"quality_{channel.name}" for channel in channels)]
    item = table(group, "blocks", np.int64, (len(BLOCK_COLUMNS) + max(1, len(channels)),))
    item.attrs["columns"] = np.array([name.encode() for name in names], "S")
    item.attrs["quality"] = QUALITIES
    return Growing(item)


def instrument(entry: h5py.Group, header: RunHeader) -> None:
    """`/entry/instrument`: the slow columns as NXsensor groups, and a description of each sampled channel."""
    group = group_of(entry, "instrument", "NXinstrument")
    environment = group_of(group, "operando", "NXenvironment")
    for name, (group_name, field, measures, label, _) in _SENSORS.items():
        sensor = group_of(environment, name, "NXsensor")
        sensor["value"] = entry[group_name][field]
        kind = text(sensor, "measurement", measures)
        if measures == "height":
            kind.attrs["custom"] = True  # not in the list of NXsensor
        text(sensor, "name", label)
        run_control = text(sensor, "run_control", "opsicm")
        run_control.attrs["description"] = "read between two plans of the probe, at /entry/slow/t_ns"
        data = group_of(sensor, "data", "NXdata")
        data["value"], data["t_ns"] = entry[group_name][field], entry[group_name]["t_ns"]
        data.attrs.update(signal="value", axes="t_ns")
    for name, is_set in (("independent_controllers", True), ("measurement_sensors", False)):
        text(environment, name, " ".join(sensor for sensor, row in _SENSORS.items() if row[4] is is_set))
    channels = group_of(group, "channels", "NXcollection")
    for channel in header.channels:
        describe(group_of(channels, channel.name, "NXcollection"), [channel])


def describe(item: h5py.Dataset | h5py.Group, channels: Iterable[Channel]) -> None:
    """Scales as attributes beside the counts: SI = counts*scale + offset, column by column."""
    listed = list(channels)
    for key in ("name", "quantity", "unit", "sign", "source", "policy"):
        item.attrs[key] = np.array([getattr(channel, key).encode() for channel in listed], "S")
    for key in ("scale", "offset", "filter_Hz"):
        item.attrs[key] = [np.nan if (v := getattr(channel, key)) is None else v for channel in listed]


class JournalTable:
    """`/entry/journal`: one fact a row, in texts of a fixed length, which is doubled when a longer one comes."""

    def __init__(self, entry: h5py.Group) -> None:
        self._entry = entry
        self._length = 512
        self._growing = self._begin()

    def _begin(self) -> Growing:
        rows = max(1, (1 << 18) // self._length)
        return Growing(table(self._entry, "journal", h5py.string_dtype("utf-8", self._length), (), rows))

    def append(self, lines: Sequence[str]) -> None:
        """Facts to follow."""
        data = [line.encode("utf-8") for line in lines]
        longest = max((len(line) for line in data), default=0)
        if longest > self._length:
            self._growing.flush()
            kept = self._growing.dataset[:]
            del self._entry["journal"]
            while self._length < longest:
                self._length *= 2
            self._growing = self._begin()
            self._growing.append(kept.astype(self._growing.dataset.dtype))
        if data:
            self._growing.append(np.array(data, f"S{self._length}").astype(self._growing.dataset.dtype))

    @property
    def size(self) -> int:
        """Facts so far."""
        return self._growing.size

    def flush(self) -> None:
        """Every fact is in the file."""
        self._growing.flush()


def end_time(entry: h5py.Group, header: RunHeader) -> None:
    """The time of the last hop or slow row."""
    last = max((int(entry[g]["t_ns"][-1]) for g in ("hops", "slow") if entry[g]["t_ns"].shape[0]), default=0)
    try:
        ended = datetime.fromisoformat(header.started_utc) + timedelta(microseconds=last / 1e3)
    except ValueError:
        return
    text(entry, "end_time", ended.isoformat(timespec="milliseconds"))
