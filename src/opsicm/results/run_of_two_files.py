"""Makes a run of a potentiostat's file and a pipette's trace: two records on one clock, in a run folder as any other.

The pipette's clock is the run's, because samples lie evenly on it; the cell's rows are moved onto it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.approach.fit import NoFit
from opsicm.analysis.approach.trace import TraceHops, count_withdrawals, find_hops
from opsicm.analysis.cell.charge import running_charge
from opsicm.analysis.cell.control import controlled_parts
from opsicm.analysis.clock_offset import ClockOffset, NoOffset, clock_offset
from opsicm.core.errors import BadInput, Problem
from opsicm.core.facts import HOP_DTYPE, Channel, Fact, Kind, Outcome, Quality, SampleBlock, Track, channel
from opsicm.core.output_file import as_utf8
from opsicm.core.statistics import noise_from_differences, resolution_of
from opsicm.formats.cell_record import CellFile
from opsicm.formats.columns import ColumnTable
from opsicm.formats.identify import Content, read
from opsicm.record.direct_recorder import DirectRecorder
from opsicm.record.recorder import RunHeader
from opsicm.record.ring import READING_DTYPE
from opsicm.record.run_folder import EXPERIMENT, JOURNAL, RIG, RunFolder

F64 = NDArray[np.float64]
CONTROL: Final = "unknown"
"""What the cell rows of such a run say of their control: a file of a potentiostat's rows does not hold its program."""
UNKNOWN_START: Final = "start unknown"
_BLOCK: Final = 1 << 16  # samples written at a time
_GAP: Final = 3.0  # sample periods: a longer pause begins a segment
_COUNTS: Final = 65_000  # of a channel's 16 bits
_FINE: Final = 0.1  # of the noise: counts as fine as this cost nothing
_CLOCKS_AGREE: Final = 60.0  # [s] between two computers' clocks: more is worth a look
_ISO: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d(?:\.\d{1,6})?)")
_EC_LAB: Final = re.compile(r"started on\D{0,4}(\d\d)/(\d\d)/(\d{4}) (\d\d):(\d\d):(\d\d(?:\.\d{1,6})?)")


@dataclass(frozen=True, slots=True)
class StatedValues:
    """What a person states of the experiment, in SI; None what is not known, and then no result needs it.

    `thickness` [m], `area` [m²] and `capacity` [C] of the specimen, inner `radius` [m] and `bias` [V] against Li/Li+ of
    the pipette, `setpoint` [1] the relative drop that ended an approach.
    """

    thickness: float | None = None
    area: float | None = None
    capacity: float | None = None
    radius: float | None = None
    bias: float | None = None
    setpoint: float | None = None


@dataclass(frozen=True, slots=True)
class JoinedFiles:
    """The run file, and in sentences how the clocks were joined and what is to be looked at."""

    path: Path
    clock: str
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _CellRows:
    t: F64
    potential: F64
    current: F64
    start: datetime | None


@dataclass(frozen=True, slots=True)
class _Trace:
    t: F64
    signals: Mapping[str, F64]  # by channel name
    start: datetime | None


@dataclass(slots=True)
class _Segment:
    """Samples at t0 + k dt [s], and the hops in them."""

    t0: float
    dt_ns: int
    signals: dict[str, F64]
    hops: TraceHops | None = None

    @property
    def size(self) -> int:
        return int(next(iter(self.signals.values())).size)

    def at(self, sample: NDArray[np.int64]) -> F64:
        """Times [s] of samples."""
        return np.asarray(self.t0 + sample * (self.dt_ns * 1e-9))


def join_files(
    cell: Path,
    probe: Path,
    folder: Path,
    stated: StatedValues,
    provenance: Mapping[str, str | int],
    offset: float | None = None,
    drift: float = 0.0,
    columns: tuple[str | None, str | None] = (None, None),
) -> JoinedFiles:
    """Make the run `folder` of the potentiostat's file `cell` and the pipette's trace `probe`.

    t_cell = t_probe (1 + `drift`) + `offset` [s]; with `offset` None both are found from the changes that the two
    records have in common, else from the wall clocks in both files. `columns` of text files, as for `analyse`.

    Raises `BadInput` where a file is not what it is given for, where the offset cannot be found, and where the folder
    exists.
    """
    remarks: list[str] = []
    rows = _cell_rows(_content(cell, columns[0]), cell, remarks)
    trace = _trace(_content(probe, columns[1]), probe, remarks)
    segments = list(_segments(trace, probe, remarks))
    _find_hops(segments, stated.setpoint, remarks)
    clock, how = _clock(rows, trace, segments, offset, drift, remarks)
    moved = (rows.t - clock.offset) / (1.0 + clock.drift)
    zero = min(float(moved[0]), segments[0].t0)
    texts = {"cell": _file_text(cell), "probe": _file_text(probe)}
    header = _header(rows, trace, segments, stated, clock, how, texts, provenance, remarks)
    with _new_folder(folder) as run_folder:
        (run_folder.path / EXPERIMENT).write_text(header.experiment_text, encoding="utf-8")
        (run_folder.path / RIG).write_text(header.rig_text, encoding="utf-8")
        recorder = DirectRecorder(run_folder)
        recorder.open(header)
        hops = _record_segments(recorder, segments, header.channels, zero, moved, rows)
        recorder.rows(_slow_rows(rows, moved, zero, segments))
        last = max(float(moved[-1]), *(float(s.at(np.array(s.size - 1))) for s in segments)) - zero
        for fact in _facts(header, hops, round(last * 1e9), [how, *remarks]):
            recorder.fact(fact)
        path = recorder.close()
    return JoinedFiles(path, how, tuple(remarks))


# -- reading --------------------------------------------------------------------------------------------------------


def _content(path: Path, columns: str | None) -> Content:
    if not path.is_file():
        limit = "is a folder" if path.is_dir() else "does not exist"
        raise BadInput(Problem("file", str(path), limit, "name a measured file", str(path)))
    return read(path, columns)


def _cell_rows(content: Content, path: Path, remarks: list[str]) -> _CellRows:
    """Time, potential and current of the potentiostat's file, rows without one of them left out."""
    texts: Mapping[str, str]
    if isinstance(content, CellFile):
        parts = [(r.t, r.potential, r.current) for r in content.records]
        texts = content.settings
    elif isinstance(content, ColumnTable) and {"t", "E", "I"} <= set(content.data):
        parts = [(content.data["t"], content.data["E"], content.data["I"])]
        texts = {str(k): line for k, line in enumerate(content.header)}
    else:
        there = ", ".join(content.data) if isinstance(content, ColumnTable) else type(content).__name__
        limit = "CELL is a potentiostat's record: time, potential and current"
        remedy = "name the files in the order CELL PROBE, or its columns with --cell-columns t=s,E=V,I=mA"
        raise BadInput(Problem("the cell's file", there, limit, remedy, path.name))
    t, potential, current = (np.concatenate(values) for values in zip(*parts, strict=True))
    known = np.isfinite(t) & np.isfinite(potential) & np.isfinite(current)
    if not known.all():
        remarks.append(f"{int((~known).sum())} rows of {path.name} lack a value and were left out")
    t, potential, current = t[known], potential[known], current[known]
    _must_increase(t, path, strictly=False)
    return _CellRows(t, potential, current, _wall_clock(texts))


def _trace(content: Content, path: Path, remarks: list[str]) -> _Trace:
    """Time and signals of the pipette's trace."""
    data = content.data if isinstance(content, ColumnTable) else {}
    names = {"I": "pipette_current", "z": "z", "V": "pipette_bias"}
    if "t" not in data or "I" not in data or "E" in data:
        there = ", ".join(data) or type(content).__name__
        limit = "PROBE is a pipette's trace: time and current, and height or bias where there are"
        remedy = "name the files in the order CELL PROBE, or its columns with --probe-columns t=s,I=pA,z=um"
        raise BadInput(Problem("the pipette's file", there, limit, remedy, path.name))
    known = np.isfinite(data["t"])
    for name in names:
        if name in data:
            known &= np.isfinite(data[name])
    if not known.all():
        remarks.append(f"{int((~known).sum())} samples of {path.name} lack a value and were left out")
    t = data["t"][known]
    _must_increase(t, path, strictly=True)
    assert isinstance(content, ColumnTable)
    texts = {str(k): line for k, line in enumerate(content.header)}
    signals = {channel_name: data[name][known] for name, channel_name in names.items() if name in data}
    return _Trace(t, signals, _wall_clock(texts))


def _must_increase(t: F64, path: Path, strictly: bool) -> None:
    if t.size < 2:
        limit = "two at least are needed"
        raise BadInput(Problem("rows", str(t.size), limit, "record for longer", path.name))
    back = np.flatnonzero(np.diff(t) <= 0.0 if strictly else np.diff(t) < 0.0)
    if back.size:
        k = int(back[0])
        limit = "time must increase from row to row"
        remedy = f"opsicm convert {path} OUT.csv writes its records as one file each: join one of them"
        raise BadInput(Problem("time", f"{t[k + 1]:.9g} s after {t[k]:.9g} s", limit, remedy, path.name))


def _wall_clock(texts: Mapping[str, str]) -> datetime | None:
    """The first time with a date among the settings of a file: ISO 8601, or EC-Lab's (month/day/year)."""
    for name, text in texts.items():
        line = f"{name} {text}"
        if (match := _ISO.search(line)) is not None:
            year, month, day, hour, minute, second = match.groups()
        elif (match := _EC_LAB.search(line)) is not None:
            month, day, year, hour, minute, second = match.groups()
        else:
            continue
        whole, _, part = second.partition(".")
        try:
            numbers = (int(year), int(month), int(day), int(hour), int(minute), int(whole))
            return datetime(*numbers, int(part.ljust(6, "0") or 0))  # noqa: DTZ001 - as written, without a zone
        except ValueError:
            continue
    return None


# -- samples on an even clock ---------------------------------------------------------------------------------------


def _segments(trace: _Trace, path: Path, remarks: list[str]) -> Iterator[_Segment]:
    """The trace in stretches of even samples; one that is not even is given the nearest sample at every period."""
    period = float(np.median(np.diff(trace.t)))
    ends = np.flatnonzero(np.diff(trace.t) > _GAP * period) + 1
    if ends.size:
        remarks.append(f"{path.name} pauses {ends.size} times: each part is a segment of its own")
    uneven = 0
    edges = [0, *ends.tolist(), trace.t.size]
    for first, stop in pairwise(edges):
        t = trace.t[first:stop]
        dt = float(t[-1] - t[0]) / (t.size - 1) if t.size > 1 else period
        dt_ns = max(1, round(dt * 1e9))
        index = np.arange(first, stop)
        if t.size > 1 and np.max(np.abs(t - (t[0] + dt * np.arange(t.size)))) > 0.5 * dt:
            even = np.arange(t[0], t[-1] + 0.5 * period, period)
            dt, dt_ns = period, max(1, round(period * 1e9))
            right = np.clip(np.searchsorted(t, even), 1, t.size - 1)
            index = first + right - (even - t[right - 1] < t[right] - even)
            uneven += t.size
        # A period that is no whole number of nanoseconds would leave its clock: a new segment begins before it does.
        error = abs(dt - dt_ns * 1e-9)
        longest = index.size if error * index.size <= 0.5 * dt else max(2, int(0.5 * dt / error))
        for begin in range(0, index.size, longest):
            part = index[begin : begin + longest]
            signals = {name: values[part] for name, values in trace.signals.items()}
            yield _Segment(float(t[0]) + dt * begin, dt_ns, signals)
    if uneven:
        remarks.append(
            f"samples of {path.name} are not evenly spaced: every {1e3 * period:.4g} ms holds the nearest one"
        )


def _find_hops(segments: list[_Segment], setpoint: float | None, remarks: list[str]) -> None:
    for segment in segments:
        z = segment.signals.get("z")
        if z is None or count_withdrawals(z) < 2:
            continue
        hops = find_hops(segment.signals["pipette_current"], z, setpoint)
        if isinstance(hops, NoFit):
            remarks.append(f"no hops were taken from the trace: {hops.outcome}, {hops.reason}")
            continue
        segment.hops = hops
        if hops.setpoint_estimated:
            drop = f"{100.0 * hops.setpoint:.2g} %"
            remarks.append(
                f"the setpoint was not stated; {drop} was estimated from the trace, which includes overshoot"
            )


# -- the clocks -----------------------------------------------------------------------------------------------------


def _clock(
    rows: _CellRows, trace: _Trace, segments: list[_Segment], offset: float | None, drift: float, remarks: list[str]
) -> tuple[ClockOffset, str]:
    """The offset of the clocks and a sentence that says where it comes from."""
    clocks = None
    if rows.start is not None and trace.start is not None:
        clocks = (trace.start - rows.start).total_seconds()
    if offset is not None:
        given = ClockOffset(offset, 0.0, drift, 0.0, 0.0, "given")
        _must_overlap(rows, trace, given)
        return given, f"{_law(given)}, as given"
    found = _from_changes(rows, trace, segments)
    if isinstance(found, NoOffset) and found.candidates and clocks is not None:
        nearest = min(found.candidates, key=lambda one: abs(one - clocks))
        chosen = ClockOffset(nearest, _row(rows.t), 0.0, 0.0, 0.0, "wall clocks")
        sentence = f"{_law(chosen)}: of {len(found.candidates)} offsets that fit, the nearest to the files' wall clocks"
        return chosen, f"{sentence}, which give {clocks:.6g} s"
    if isinstance(found, NoOffset) and clocks is not None:
        chosen = ClockOffset(clocks, 1.0, drift, 0.0, 0.0, "wall clocks")
        _must_overlap(rows, trace, chosen)
        remarks.append(f"the records have no change in common ({found.reason}): nothing checks the wall clocks")
        return chosen, f"{_law(chosen)}, from the wall clocks in both files; u is their last digit alone"
    if isinstance(found, NoOffset):
        remedy = "give --offset-s, which is positive where the pipette's record began later"
        if found.candidates:
            listed = " or ".join(f"--offset-s {one:.6g}" for one in found.candidates)
            remedy = f"give the one that is right: {listed}"
        limit = f"the two records do not tell it: {found.reason}"
        raise BadInput(Problem("the offset of the clocks", found.outcome, limit, remedy))
    if clocks is not None and abs(clocks - found.offset) > _CLOCKS_AGREE:
        remarks.append(
            f"the wall clocks in the files give an offset of {clocks:.6g} s, the changes {found.offset:.6g} s: look "
            "which is right, and give --offset-s"
        )
    if found.others:
        others = ", ".join(f"{one:.4g}" for one in found.others)
        remarks.append(
            f"offsets of {others} s explain what they overlap as well, as of a program that repeats itself; taken was "
            "the one at which the records overlap most: give --offset-s if it is another"
        )
    share = f"{100.0 * found.explained:.3g} % of the {found.by}'s variance is explained by the cell"
    return found, f"{_law(found)}, from the changes that both records show ({share})"


def _from_changes(rows: _CellRows, trace: _Trace, segments: list[_Segment]) -> ClockOffset | NoOffset:
    hopping = [s for s in segments if s.hops is not None and s.hops.size > 1]
    t, signals = trace.t, dict(trace.signals)
    signals.pop("z", None)
    if hopping:
        # The current far from the surface, once a hop: between its hops it says nothing of the cell.
        chosen = [(s, s.hops) for s in hopping if s.hops is not None]
        t = np.concatenate([s.at(h.fall) for s, h in chosen])
        current = np.concatenate([h.reference for _, h in chosen])
        bias = [s.signals["pipette_bias"][h.fall] for s, h in chosen if "pipette_bias" in s.signals]
        signals = {"pipette_current": current, **({"pipette_bias": np.concatenate(bias)} if bias else {})}
    # Of rows at one instant (a change of technique) the last counts: a clock needs one value at a time.
    last = np.append(np.diff(rows.t) > 0.0, True)
    cell = [rows.potential[last], rows.current[last]]
    return clock_offset(rows.t[last], cell, t, [(name.replace("_", " "), one) for name, one in signals.items()])


def _row(t: F64) -> float:
    return float(np.median(np.diff(t)))


def _must_overlap(rows: _CellRows, trace: _Trace, clock: ClockOffset) -> None:
    first, last = (float(one) * (1.0 + clock.drift) + clock.offset for one in (trace.t[0], trace.t[-1]))
    if first >= rows.t[-1] or last <= rows.t[0]:
        limit = f"the pipette's record is then from {first:.6g} to {last:.6g} s of the cell's, which lasts from "
        limit += f"{rows.t[0]:.6g} to {rows.t[-1]:.6g} s"
        remedy = "look at the sign: it is positive where the pipette's record began later"
        raise BadInput(Problem("the offset of the clocks", f"{clock.offset:.6g} s", limit, remedy))


def _law(clock: ClockOffset) -> str:
    offset = f"{clock.offset:.3f} s" + (f" ± {clock.u:.2g} s" if clock.u else "")
    slope = ""
    if clock.drift:
        u = f" ± {1e6 * clock.u_drift:.2g}" if clock.u_drift else ""
        slope = f" x (1 + ({1e6 * clock.drift:.4g}{u}) ppm)"
    return f"t of the cell = t of the pipette{slope} + {offset}".replace("+ -", "- ")


# -- writing --------------------------------------------------------------------------------------------------------


@contextmanager
def _new_folder(folder: Path) -> Iterator[RunFolder]:
    """A new folder for the run; it goes again where the run cannot be written, so that the next try finds none."""
    if folder.exists() or folder.is_symlink():
        limit = "exists: a run folder is new"
        raise BadInput(Problem("RUN", str(folder), limit, "name another with -o", str(folder)))
    try:
        folder.mkdir(parents=True)
        (folder / JOURNAL).touch()
        yield RunFolder(folder)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if not isinstance(error, OSError):
            raise
        limit = f"cannot be written ({error.strerror})"
        raise BadInput(Problem("RUN", str(folder), limit, "name another with -o", str(folder))) from error


def _file_text(path: Path) -> tuple[str, str]:
    return as_utf8(path.name), hashlib.sha256(path.read_bytes()).hexdigest()


def _header(
    rows: _CellRows,
    trace: _Trace,
    segments: list[_Segment],
    stated: StatedValues,
    clock: ClockOffset,
    how: str,
    files: Mapping[str, tuple[str, str]],
    provenance: Mapping[str, str | int],
    remarks: list[str],
) -> RunHeader:
    names = " and ".join(name for name, _ in files.values())
    comment = "\n".join(f"# {track}: {name}, sha256 {digest}" for track, (name, digest) in files.items())
    experiment = f"# No experiment file: made by opsicm join of two measured files.\n{comment}\n# {how}\n"
    channels = tuple(_channel(name, segments, files["probe"][0], remarks) for name in trace.signals)
    start = UNKNOWN_START if rows.start is None else rows.start.isoformat(timespec="milliseconds")
    more = {
        f"{track}_{key}": text
        for track, pair in files.items()
        for key, text in zip(("file", "sha256"), pair, strict=True)
    }
    joined = {
        "source": f"measured files, joined: {names}",
        **more,
        "clock": how,
        "clock_offset_s": clock.offset,
        "clock_offset_u_s": clock.u,
        "clock_drift_ppm": 1e6 * clock.drift,
        "remarks": "; ".join(remarks) or "none",
    }
    return RunHeader(
        f"{files['cell'][0]} with {files['probe'][0]}",
        start,
        experiment,
        f"# The instruments are not known: made by opsicm join of two measured files.\n{comment}\n",
        channels,
        segments[0].dt_ns,
        _parameters(stated),
        {key: as_utf8(one) if isinstance(one, str) else one for key, one in {**provenance, **joined}.items()},
    )


def _parameters(stated: StatedValues) -> dict[str, Any]:
    pipette = {"radius_m": stated.radius, "bias_V": stated.bias}
    specimen = {"thickness_m": stated.thickness, "area_m2": stated.area, "capacity_C": stated.capacity}
    return {
        "pipette": {name: value for name, value in pipette.items() if value is not None},
        "specimen": {name: value for name, value in specimen.items() if value is not None},
        "set": {"name": "not stated", "leaves": {}},
    }


def _channel(name: str, segments: list[_Segment], source: str, remarks: list[str]) -> Channel:
    """The channel of a signal, in counts of its own resolution where they fit into 16 bits, else of its range."""
    values = np.concatenate([segment.signals[name] for segment in segments])
    low, high = float(values.min()), float(values.max())
    resolution = resolution_of(values)
    steps = (values - low) / resolution if resolution else np.zeros(0)
    if resolution and (high - low) / resolution <= _COUNTS and np.all(np.abs(steps - np.rint(steps)) < 1e-3):
        middle = low + resolution * round((high - low) / resolution / 2.0)
        return channel(name, resolution, source, middle)
    scale = (high - low) / _COUNTS or max(abs(high), 1e-30) / _COUNTS
    noise = noise_from_differences(values) if values.size > 10 else 0.0
    if scale > max(_FINE * noise, resolution):
        step = f"{scale:.2g} {channel(name, 1.0, source).unit}"
        remarks.append(f"{name.replace('_', ' ')} is kept in steps of {step}, 1/{_COUNTS} of its range")
    return channel(name, scale, source, 0.5 * (low + high))


def _record_segments(
    recorder: DirectRecorder,
    segments: list[_Segment],
    channels: tuple[Channel, ...],
    zero: float,
    cell_t: F64,
    rows: _CellRows,
) -> list[NDArray[Any]]:
    """Record samples and hops; returns the hops of each segment."""
    recorded: list[NDArray[Any]] = []
    quality = np.full(len(channels), Quality.GOOD, np.uint8)
    for number, segment in enumerate(segments, 1):
        t0_ns = round((segment.t0 - zero) * 1e9)
        counts = np.column_stack(
            [np.rint((segment.signals[c.name] - c.offset) / c.scale).astype(np.int16) for c in channels]
        )
        for first in range(0, segment.size, _BLOCK):
            part = np.ascontiguousarray(counts[first : first + _BLOCK])
            recorder.block(SampleBlock(number, first, t0_ns + first * segment.dt_ns, segment.dt_ns, part, quality))
        if segment.hops is not None:
            done = sum(hops.size for hops in recorded)
            hops = _hop_rows(segment, segment.hops, number, done, t0_ns, cell_t, rows)
            recorder.hops("probe[0]", hops)
            recorded.append(hops)
    return recorded


def _hop_rows(
    segment: _Segment, hops: TraceHops, number: int, done: int, t0_ns: int, cell_t: F64, rows: _CellRows
) -> NDArray[Any]:
    out = np.zeros(hops.size, HOP_DTYPE)
    stop_t = segment.at(hops.stop)
    out["hop"] = done + np.arange(hops.size)
    out["segment"] = number
    for name, values in (("start", hops.start), ("fall", hops.fall), ("stop", hops.stop), ("top", hops.top)):
        out[f"sample_{name}"] = np.minimum(values, segment.size - 1)
    out["t_ns"] = t0_ns + hops.stop * segment.dt_ns
    out["i_ref"], out["i_stop"], out["setpoint"] = hops.reference, hops.i_stop, hops.setpoint
    out["z_stop"], out["z_min"] = hops.z_stop, hops.z_turn
    out["cell_potential"] = np.interp(stop_t, cell_t, rows.potential, np.nan, np.nan)
    out["cell_current"] = np.interp(stop_t, cell_t, rows.current, np.nan, np.nan)
    out["bias_residual"] = np.nan
    out["outcome"] = np.where(hops.contact, Outcome.CONTACT, Outcome.NO_CONTACT)
    return out


def _slow_rows(rows: _CellRows, cell_t: F64, zero: float, segments: list[_Segment]) -> NDArray[Any]:
    """The cell's rows with the pipette's signals there: their mean over the row, or those far from the surface."""
    out = np.zeros(rows.t.size, READING_DTYPE)
    for name in READING_DTYPE.names or ():
        if READING_DTYPE[name].kind == "f":
            out[name] = np.nan
    out["t_ns"] = np.rint((cell_t - zero) * 1e9)
    out["potential"], out["current"], out["control"] = rows.potential, rows.current, CONTROL.encode()
    out["charge"] = _charge(cell_t, rows)
    half = 0.5 * np.diff(cell_t)
    begin = cell_t - np.concatenate([half[:1], half])
    end = cell_t + np.concatenate([half, half[-1:]])
    for segment in segments:
        hops = segment.hops
        for name, signal in segment.signals.items():
            t, values = segment.at(np.arange(segment.size)), signal
            if hops is not None:
                t = segment.at(hops.fall)
                values = hops.reference if name == "pipette_current" else signal[hops.fall]
            inside = (cell_t >= t[0]) & (cell_t <= t[-1])
            total = np.concatenate([[0.0], np.cumsum(values)])
            a, b = np.searchsorted(t, begin[inside]), np.searchsorted(t, end[inside])
            mean = (total[b] - total[a]) / np.maximum(b - a, 1)
            out[name][inside] = np.where(b > a, mean, np.interp(cell_t[inside], t, values))
    return out


def _charge(t: F64, rows: _CellRows) -> F64:
    """Charge [C] passed at every row: by trapezoids within each part that was controlled alike.

    Where the control changes, the current before counts up to the change and that after from there on; what was not
    recorded between two parts is not integrated.
    """
    charge = running_charge(t, rows.current)
    end = 0.0
    for part in controlled_parts(t, rows.potential, rows.current):
        within = charge[part.rows] - charge[part.first]
        charge[part.rows] = end + rows.current[part.first] * (t[part.first] - part.begin) + within
        end = charge[part.stop - 1] + rows.current[part.stop - 1] * (part.end - t[part.stop - 1])
    return charge


def _facts(header: RunHeader, hops: list[NDArray[Any]], last_ns: int, sentences: list[str]) -> Iterator[Fact]:
    """A journal: that the run was joined, and its hops."""
    made: list[tuple[int, Kind, Track, str, dict[str, Any]]] = [
        (0, "run_started", "run", "run", {"title": header.title}),
        *((0, "note", "run", "run", {"text": sentence}) for sentence in sentences),
        (0, "step_started", "cell", "cell[0]", {}),
        (0, "step_started", "probe", "probe[0]", {"number": 0, "done": 0}),
    ]
    for part in hops:
        if part.size:
            data = {"range": [int(part["hop"][0]), int(part["hop"][-1])]}
            made.append((int(part["t_ns"][-1]), "hops", "probe", "probe[0]", data))
    number = sum(part.size for part in hops)
    made += [
        (last_ns, "step_ended", "probe", "probe[0]", {}),
        (last_ns, "step_ended", "cell", "cell[0]", {}),
        (last_ns, "run_ended", "run", "run", {"outcome": "completed", "hops": number}),
    ]
    for seq, (t_ns, kind, track, step, data) in enumerate(made):
        yield Fact(seq, t_ns, kind, track, step, data)
