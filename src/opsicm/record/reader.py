"""The run file, read lazily into labelled arrays."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.core.errors import BadInput, Problem, UnreadableRun
from opsicm.core.facts import Channel, Fact
from opsicm.experiment.rig_file import rig_from_text
from opsicm.instruments.wiring import tip_potential_of
from opsicm.record import decimate, labelled_arrays, text_seal, trial_reading
from opsicm.record.counts_reader import CountsReader
from opsicm.record.damaged_file import DAMAGE_ERRORS, cannot_open, damage_reported, still_readable
from opsicm.record.nexus_file import CELL, FILE_VERSION, GROUPS, HOP_UNITS, SINCE_1_2, SLOW, SLOW_TEXTS
from opsicm.record.run_folder import JOURNAL, RUN_FILE

_EXTREMES: Final = ("minimum", "maximum", "mean")
_STRETCH: Final = 4096  # rows of the decimated stream computed at a time


def run_file(path: Path) -> Path:
    """The `run.nxs` that `path` (a run folder or a file) means; raises `BadInput` or `UnreadableRun` without one."""
    if not path.exists():
        raise BadInput(Problem("run", str(path), "does not exist", "give a run folder or its run.nxs", str(path)))
    if path.is_file():
        return path
    if (path / RUN_FILE).is_file():
        return path / RUN_FILE
    if (path / JOURNAL).is_file():
        limit = "has no run.nxs: it is still running, or was interrupted before it was finished"
        remedy = f"opsicm recover {path} makes one; {still_readable(path)}"
        raise UnreadableRun(Problem("run", path.name, limit, remedy, str(path)))
    limit = "is not a run folder (no journal.jsonl)"
    raise BadInput(Problem("folder", str(path), limit, "give a run folder", str(path)))


class Run:
    """One run file. Arrays are read when asked for, the raw samples only piece by piece. A context manager."""

    def __init__(self, path: Path | str) -> None:
        self.path = run_file(Path(path))
        self._segments: dict[int, tuple[CountsReader | None, tuple[Channel, ...], int, int, NDArray[np.int64]]] = {}
        try:
            sealed = text_seal.is_sealed(self.path)
            wrong = text_seal.mismatch(self.path) if sealed else trial_reading.why_unreadable(self.path)
            if wrong is not None:
                raise OSError(wrong)
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise cannot_open(self.path, error) from error
        try:
            with damage_reported(self.path, "run file"):
                self._check()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; datasets already read stay valid, the lazy `stream` does not."""
        self._file.close()

    def _check(self) -> None:
        if (outside := _reaches_outside(self._file)) is not None:
            limit = "reaches into another file, which a run file does not"
            remedy = "do not trust it: ask for the file as it was recorded"
            raise UnreadableRun(Problem("run file", outside, limit, remedy, str(self.path)))
        entry = self._file.get("entry")
        if not isinstance(entry, h5py.Group) or "definition_local" not in entry:
            limit = "is HDF5 but not a run (no /entry/definition_local)"
            remedy = "give a run.nxs; opsicm identify names other files"
            raise BadInput(Problem("file", self.path.name, limit, remedy, str(self.path)))
        version = int(self._number("file_version")) if "file_version" in entry else 0
        if version > FILE_VERSION:
            limit = f"this version reads up to {FILE_VERSION}"
            raise UnreadableRun(Problem("file_version", str(version), limit, "update opsicm", str(self.path)))
        missing = [name for name in GROUPS if name not in entry]
        if missing:
            present = ", ".join(name for name in GROUPS if name in entry) or "nothing"
            limit, remedy = f"lacks {', '.join(missing)}", f"what can still be read: {present}"
            raise UnreadableRun(Problem("run file", self.path.name, limit, remedy, str(self.path)))

    def _text(self, name: str) -> str:
        with damage_reported(self.path, f"/entry/{name}"):
            item = self._file["entry"][name]
            data = item[()]
            data = data.encode("utf-8") if isinstance(data, str) else bytes(data)
            self._must_match(name, item, data)
            return data.decode("utf-8")

    def _number(self, name: str) -> Any:
        with damage_reported(self.path, f"/entry/{name}"):
            item = self._file["entry"][name]
            value = item[()]
            self._must_match(name, item, np.asarray(value).tobytes())
            return value.item()

    @staticmethod
    def _must_match(name: str, item: h5py.Dataset, data: bytes) -> None:
        if "crc32" in item.attrs and zlib.crc32(data) != int(item.attrs["crc32"]):
            raise ValueError(f"{name} does not match its checksum")

    @property
    def title(self) -> str:
        """The experiment's title."""
        return self._text("title")

    @property
    def started_utc(self) -> str:
        """The UTC anchor of t_ns = 0."""
        return self._text("start_time")

    @property
    def experiment_text(self) -> str:
        """The experiment file as it was run."""
        return self._text("experiment")

    @property
    def rig_text(self) -> str:
        """The rig file as it was run with."""
        return self._text("rig")

    @property
    def parameters(self) -> dict[str, Any]:
        """Pipette, specimen and electrolyte as known when the run began; empty where it was interrupted before that."""
        return dict(json.loads(self._text("parameters")))

    @property
    def provenance(self) -> dict[str, Any]:
        """Versions, seed, rig, and what was lost."""
        with damage_reported(self.path, "/entry/provenance"):
            group = self._file["entry/provenance"]
            items = {name: group[name].dtype.kind for name in group}
        return {
            name: self._text(f"provenance/{name}") if kind in "SO" else self._number(f"provenance/{name}")
            for name, kind in items.items()
        }

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        """The journal."""
        with damage_reported(self.path, "/entry/journal"):
            return tuple(Fact.from_line(line) for line in self._file["entry/journal"].asstr()[:])

    @property
    def outcome(self) -> str:
        """How the run ended: completed, stopped, interrupted or fault; "unfinished" without a last fact (a crash)."""
        ends = [fact for fact in self.facts[-8:] if fact.kind == "run_ended"]
        return str(ends[-1].data.get("outcome")) if ends else "unfinished"

    @cached_property
    def hops(self) -> xr.Dataset:
        """One row per hop, dimension `hop`, SI units in attributes; `step` is the probe step it belongs to."""
        return labelled_arrays.table(self._columns("hops", labelled_arrays.HOP_COLUMNS), HOP_UNITS, "hop")

    @cached_property
    def cell(self) -> xr.Dataset:
        """The cell's slow rows, dimension `row`."""
        return labelled_arrays.table(self._columns("cell", labelled_arrays.CELL_COLUMNS), CELL, "row")

    @cached_property
    def slow(self) -> xr.Dataset:
        """The probe's slow rows, dimension `row`; NaN or empty in columns that an older file has not."""
        with damage_reported(self.path, "/entry/slow"):
            lacking = set(SINCE_1_2) - set(self._file["entry/slow"])
        columns = self._columns("slow", tuple(n for n in labelled_arrays.SLOW_COLUMNS if n not in lacking))
        rows = columns["t_ns"].shape
        for name in lacking:
            columns[name] = np.full(rows, "", object) if name in SLOW_TEXTS else np.full(rows, np.nan)
        return labelled_arrays.table({name: columns[name] for name in labelled_arrays.SLOW_COLUMNS}, SLOW, "row")

    def _columns(self, group: str, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
        with damage_reported(self.path, f"/entry/{group}"):
            items = {name: self._file["entry"][group][name] for name in names}
            columns = {n: item.asstr()[:] if item.dtype.kind in "SO" else item[:] for n, item in items.items()}
        lengths = {name: values.shape[0] for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            remedy = f"the first {min(lengths.values())} rows of each can still be read with any HDF5 tool"
            raise UnreadableRun(
                Problem(f"/entry/{group}", str(lengths), "columns have unequal lengths", remedy, str(self.path))
            )
        return columns

    @property
    def dt_ns(self) -> int:
        """Sample period, the same in every segment; 0 in a run without samples."""
        numbers = self.segments()
        return self._segment(numbers[0])[3] if numbers else 0

    def segments(self) -> list[int]:
        """Numbers of the segments: samples without a gap."""
        with damage_reported(self.path, "/entry/samples"):
            return sorted(int(name.rsplit("_", 1)[1]) for name in self._file["entry/samples"])

    def _segment(self, segment: int) -> tuple[CountsReader | None, tuple[Channel, ...], int, int, NDArray[np.int64]]:
        """(counts or None, channels in their columns, t0_ns, dt_ns, lost ranges) of a segment, looked up once."""
        if segment not in self._segments:
            with damage_reported(self.path, f"segment {segment}"):
                name = f"segment_{segment:04d}"
                if name not in set(self._file["entry/samples"]):  # a hop controller that hands over no samples
                    self._segments[segment] = None, (), 0, 0, np.empty((0, 2), np.int64)
                    return self._segments[segment]
                group = self._file["entry/samples"][name]
                # By name: `get` and `in` report a damaged item as absent.
                names = set(group)
                counts = CountsReader(group["counts"], group.get("counts_xxh3")) if "counts" in names else None
                lost = group["lost"][:] if "lost" in names else np.empty((0, 2), np.int64)
                channels = () if counts is None else channels_of(counts.dataset)
                content = counts, channels, int(group.attrs["t0_ns"]), int(group.attrs["dt_ns"]), lost
                self._segments[segment] = content
        return self._segments[segment]

    def length(self, segment: int) -> int:
        """Samples in a segment; 0 where no channel was kept in full."""
        counts = self._segment(segment)[0]
        return 0 if counts is None else int(counts.dataset.shape[0])

    def samples(self, segment: int, first: int = 0, stop: int | None = None) -> xr.Dataset:
        """Samples [first, stop) of a segment in SI units, one variable per channel, coordinate `t_ns`.

        Channels that were not kept in full are absent; samples that a crash has lost are NaN.
        """
        counts, channels, t0_ns, dt_ns, lost = self._segment(segment)
        first, stop, _ = slice(first, stop).indices(self.length(segment))
        with damage_reported(self.path, f"samples of segment {segment}"):
            rows = np.empty((0, 0), np.int16) if counts is None else counts.read(first, stop)
        return labelled_arrays.samples(rows, first, channels, t0_ns, dt_ns, lost)

    def bias_residual(self, segment: int, first: int = 0, stop: int | None = None) -> xr.DataArray:
        """By how much [V] the pipette electrode missed the run's bias at each of the samples [first, stop).

        V_cmd + g E - V_tip with the command and the cell's potential of the same sample, both on one clock, g by the
        rig's grounding and V_tip the experiment's `bias_V`. In a step that moves the electrode on purpose, as a pipette
        voltammogram, it is that motion. Raises `BadInput` where one of the two channels was not kept in full.
        """
        rows = self.samples(segment, first, stop)
        missing = [name for name in ("pipette_bias", "cell_potential") if name not in rows]
        if missing:
            limit = f"was not kept in full: {' and '.join(missing)}"
            remedy = "record it by record: {pipette_bias: full, cell_potential: full}; hops and rows have their own"
            raise BadInput(Problem("bias residual of samples", self.path.parent.name, limit, remedy, str(self.path)))
        grounding = rig_from_text(self.rig_text, f"the rig of {self.path.parent.name}").rig.wiring.grounding
        target = float(self.parameters["pipette"]["bias_V"])
        tip = tip_potential_of(rows["pipette_bias"].values, rows["cell_potential"].values, grounding)
        attributes = {"units": "V", "long_name": "pipette electrode off its bias"}
        return xr.DataArray(tip - target, {"t_ns": rows["t_ns"]}, "sample", "bias_residual", attributes)

    def counts(
        self, segment: int, names: tuple[str, ...], first: int = 0, stop: int | None = None
    ) -> tuple[NDArray[np.int16], tuple[Channel, ...], NDArray[np.int64]] | None:
        """Samples [first, stop) of a segment as the file holds them; None where a channel was not kept in full.

        Counts [sample, channel] of the channels `names`, in C order, those channels (SI = counts·scale + offset), and
        the ranges [begin, end) of the segment that a crash has lost: the counts there mean nothing.
        """
        reader, channels, _, _, lost = self._segment(segment)
        columns = [k for name in names for k, channel in enumerate(channels) if channel.name == name]
        if reader is None or len(columns) < len(names):
            return None
        first, stop, _ = slice(first, stop).indices(self.length(segment))
        with damage_reported(self.path, f"samples of segment {segment}"):
            counts = reader.read(first, stop)
        chosen = counts if columns == list(range(len(channels))) else np.ascontiguousarray(counts[:, columns])
        return chosen, tuple(channels[k] for k in columns), lost

    def stream(self, segment: int) -> xr.Dataset:
        """All samples of a segment, lazily: only the slice that is taken is read. Valid while the run is open."""
        counts, channels, t0_ns, dt_ns, lost = self._segment(segment)
        by_name = {channel.name: k for k, channel in enumerate(channels)}

        def read(name: str, first: int, stop: int) -> NDArray[np.float64]:
            if name == "t_ns":
                return np.asarray(t0_ns + np.arange(first, stop) * dt_ns, np.float64)
            assert counts is not None
            k = by_name[name]
            with damage_reported(self.path, f"samples of segment {segment}"):
                rows = counts.read(first, stop)[:, k : k + 1]
            values: NDArray[np.float64] = labelled_arrays.samples(rows, first, channels[k : k + 1], 0, 1, lost)[
                name
            ].values
            return values

        length = self.length(segment)
        return labelled_arrays.lazy([("t_ns", "ns"), *((c.name, c.unit) for c in channels)], length, read)

    def decimated(self, segment: int) -> xr.Dataset:
        """Smallest, largest and mean value of every so many samples, in SI, dimensions `row` and `channel`.

        Of channels that were kept in full they are computed now, which reads all of their samples.
        """
        with damage_reported(self.path, f"decimated stream of segment {segment}"):
            group = self._file["entry/samples"][f"segment_{segment:04d}"]
            stored = group["decimated"] if "decimated" in set(group) else None
            channels = () if stored is None else channels_of(stored["mean"])
            values = {} if stored is None else {name: stored[name][:] for name in _EXTREMES}
            counts, full, _, dt_ns, lost = self._segment(segment)
            blocks = group["blocks"][:, :2]
            begins, ends = decimate.row_extents(blocks[:, 0], blocks[:, 1], decimate.factor(dt_ns))
            here = _not_in(lost, begins, ends)
            # Version 0.1.0 kept rows of lost samples as well.
            stored_extent = None if stored is None else (stored["first_sample"][:], stored["samples"][:])
            first_sample, samples = stored_extent or (begins[here], (ends - begins)[here])
        if counts is not None and not {one.name for one in full} <= {one.name for one in channels}:
            with damage_reported(self.path, f"samples of segment {segment}"):
                computed = _decimated(counts, blocks, decimate.factor(dt_ns), lost)
            channels = (*full, *channels)
            values = {
                n: np.hstack([new, *([values[n]] if values else [])])
                for n, new in zip(_EXTREMES, computed, strict=True)
            }
        scale, offset = (np.array([getattr(c, key) for c in channels]) for key in ("scale", "offset"))
        variables = {name: (("row", "channel"), rows * scale + offset) for name, rows in values.items()}
        extent = {"first_sample": ("row", first_sample), "samples": ("row", samples)}
        return xr.Dataset({**variables, **extent}, coords={"channel": [channel.name for channel in channels]})

    @cached_property
    def _where(self) -> NDArray[np.int64]:
        with damage_reported(self.path, "/entry/hops"):
            group = self._file["entry/hops"]
            return np.column_stack([group[name][:] for name in ("segment", "sample_start", "sample_top")])

    def trace(self, hop: int) -> xr.Dataset:
        """The samples of one hop, from its start to its top."""
        segment, start, top = self._where[hop].tolist()
        return self.samples(segment, start, top + 1)

    def image(self, step: str, field: str = "z_stop") -> xr.DataArray:
        """A raster as an image [line, pixel]."""
        return labelled_arrays.image(self.hops.isel(hop=np.flatnonzero(self.hops["step"].values == step)), field)

    def images(self, step: str) -> xr.Dataset:
        """Every pass of a raster as [pass, y, x]: heights and currents, from the hop records alone.

        The positions of the hops are read at once, a field when it is asked for. Valid while the run is open.
        """
        columns = self._columns("hops", (*labelled_arrays.POSITION_COLUMNS, "outcome", "step"))
        rows = np.flatnonzero(columns.pop("step") == step)

        def read(name: str) -> NDArray[Any]:
            return self._columns("hops", (name,))[name][rows]

        return labelled_arrays.images({name: values[rows] for name, values in columns.items()}, read)

    def section(self, hops: NDArray[np.int64], z: NDArray[np.float64]) -> xr.DataArray:
        """An XZ image of the pipette current from the approaches of these hops."""
        rows = self.hops.isel(hop=hops)
        samples_of_hops = np.column_stack([rows[name].values for name in ("segment", "sample_fall", "sample_stop")])
        falls = [self.samples(segment, first, last + 1) for segment, first, last in samples_of_hops.tolist()]
        return labelled_arrays.section(falls, rows["x"].values, z)


def _reaches_outside(file: h5py.File) -> str | None:
    """The first item whose data lie in another file, which whoever made this one has chosen; None without any.

    An item that is damaged reaches nowhere: who asks for it is told, and the rest can be read.
    """
    seen: set[int] = set()

    def within(group: h5py.Group) -> Iterator[str]:
        with suppress(*DAMAGE_ERRORS):
            for name in group:
                yield from at(group, name)

    def at(group: h5py.Group, name: str) -> Iterator[str]:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield f"{group.name}/{name} in {link.filename}"
            return
        with suppress(*DAMAGE_ERRORS):
            item = group[name]
            if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
                yield item.name
            elif isinstance(item, h5py.Group) and (place := h5py.h5o.get_info(item.id).addr) not in seen:
                seen.add(place)
                yield from within(item)

    return next(within(file), None)


def _decimated(
    counts: CountsReader, blocks: NDArray[np.int64], rows_of: int, lost: NDArray[np.int64]
) -> tuple[NDArray[Any], ...]:
    """(minimum, maximum, mean) [row, channel] of the counts of all blocks, but for rows of lost samples."""
    first, samples = blocks[:, 0], blocks[:, 1]
    # A row never reaches over the end of a block: blocks of whole rows are taken together with the one that follows.
    apart = np.flatnonzero((samples[:-1] % rows_of != 0) | (first[1:] != (first + samples)[:-1]))
    begins, stops = first[[0, *(apart + 1)]], (first + samples)[[*apart, -1]]
    parts = [
        decimate.decimate(counts.read(at, min(at + _STRETCH * rows_of, stop)), rows_of)[:3]
        for begin, stop in zip(begins.tolist(), stops.tolist(), strict=True)
        for at in range(begin, stop, _STRETCH * rows_of)
    ]
    here = _not_in(lost, *decimate.row_extents(first, samples, rows_of))
    return tuple(np.concatenate(values)[here] for values in zip(*parts, strict=True))


def _not_in(lost: NDArray[np.int64], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which stretches have no sample in `lost`."""
    here = np.ones(begins.size, bool)
    for a, b in lost:
        here &= (begins >= b) | (ends <= a)
    return here


def text_attribute(item: h5py.Group | h5py.Dataset, name: str, default: str = "") -> str:
    """A text attribute, of fixed or variable length; `default` where it is absent."""
    value = item.attrs.get(name, default)
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def channels_of(item: h5py.Dataset) -> tuple[Channel, ...]:
    """The channels that an array of counts describes in its attributes."""

    def texts(key: str) -> list[str]:
        return [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in item.attrs[key]]

    columns = zip(*(texts(key) for key in ("name", "quantity", "unit", "sign", "source", "policy")), strict=True)
    scales = zip(*(item.attrs[key].tolist() for key in ("scale", "offset", "filter_Hz")), strict=True)
    return tuple(
        Channel(name, quantity, unit, sign, scale, offset, source, None if np.isnan(filter_Hz) else filter_Hz, policy)
        for (name, quantity, unit, sign, source, policy), (scale, offset, filter_Hz) in zip(
            columns, scales, strict=True
        )
    )
