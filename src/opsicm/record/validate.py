"""Validates a run file against the standard NXsicm: names, types, units, order, gaps and checksums."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import h5py
import numpy as np

from opsicm.core.errors import OpsicmError
from opsicm.core.facts import HOP_DTYPE
from opsicm.record.nexus_file import CELL, HOP_UNITS, MISSING, SINCE_1_2, SLOW, SLOW_TEXTS
from opsicm.record.reader import Run, text_attribute


@dataclass(frozen=True, slots=True)
class RequiredItem:
    """A group or field that NXsicm requires: `type` is the NeXus class of a group, else text, int or float.

    In `path`, `*` stands for a number.

    `repeated` items may be absent: a run without samples has no segment. So may `optional` ones, which files of an
    older version of the definition lack.
    """

    path: str
    kind: Literal["group", "field"]
    type: str
    rank: int = 0
    unit: str | None = None
    repeated: bool = False
    doc: str = ""
    optional: bool = False


def _group(path: str, nexus_class: str, doc: str, repeated: bool = False) -> RequiredItem:
    return RequiredItem(path, "group", nexus_class, repeated=repeated, doc=doc)


def _field(path: str, kind: str, rank: int, unit: str | None, doc: str, repeated: bool = False) -> RequiredItem:
    return RequiredItem(path, "field", kind, rank, unit, repeated, doc)


_HOP_DOC: Final = {
    "hop": "number of the hop in the run, from 0",
    "line": "line of a raster, from 0; -1 elsewhere",
    "pixel": "pixel of a line, from 0; -1 elsewhere",
    "x": "lateral position along the fast axis",
    "y": "lateral position along the slow axis",
    "segment": "segment whose samples it has",
    "sample_start": "index in the segment of its first sample",
    "sample_fall": "index of the first sample of the approach",
    "sample_stop": "index of the sample that ended the approach",
    "sample_top": "index of its last sample, back at the top",
    "t_ns": "time of the stop since the start of the run",
    "i_ref": "reference current, far from the surface",
    "i_stop": "current at the stop",
    "setpoint": "relative drop of the current that ends an approach, 0.02 is 2 %",
    "z_stop": "measured height at the stop",
    "z_min": "lowest measured height of the hop",
    "cell_potential": "specimen against Li/Li+ at the stop",
    "cell_current": "cell current at the stop, negative lithiates",
    "bias_residual": "by how much the tip's potential missed what it should be",
    "outcome": "0 contact, 1 no contact in range, 2 below threshold at start, 3 overload, 4 aborted",
    "flags": "bits of what else was noticed: 1 the amplifier was not set as the rig file says",
}
_CELL_DOC: Final = {
    "t_ns": "time since the start of the run",
    "potential": "specimen against Li/Li+ at the reference electrode",
    "current": "through the specimen, negative lithiates",
    "charge": "integral of the current since the start",
    "set_point": "potential asked for; NaN where no potential is controlled",
    "soc": "charge since the last delithiated cut-off over the reversible capacity; NaN while unknown",
}
_SLOW_DOC: Final = {
    "t_ns": "time since the start of the run",
    "pipette_current": "through the pipette, positive flows into the bath",
    "pipette_bias": "command voltage at the amplifier",
    "bias_residual": "by how much the tip's potential missed what it should be",
    "z": "measured height of the pipette, positive is up",
    "coarse_z": "height of the scanner's zero",
    "amplifier_gain": "of the scaled output, as the amplifier tells it; NaN where it does not",
    "amplifier_filter": "corner of the amplifier's low-pass, as it tells it; NaN where it does not",
    "amplifier_mode": "of the amplifier, as it tells it; empty where it does not",
}

# NXsicm as a table. It is the definition: `opsicm validate` checks against it, the NXDL and the page beside the
# documentation are written from it, and a test compares the three.
REQUIRED: Final[tuple[RequiredItem, ...]] = (
    _group("/entry", "NXentry", "one run"),
    _field("/entry/definition", "text", 0, None, "NXsensor_scan, which this definition extends"),
    _field("/entry/definition_local", "text", 0, None, "NXsicm; attribute version"),
    _field("/entry/file_version", "int", 0, None, "version of this layout, 1"),
    _field("/entry/title", "text", 0, None, "what the experiment is called"),
    _field("/entry/start_time", "text", 0, None, "ISO 8601 with offset: the instant of t_ns = 0"),
    _field("/entry/experiment", "text", 0, None, "the experiment as it was asked for, in full"),
    _field("/entry/rig", "text", 0, None, "the instruments, in full"),
    _field("/entry/parameters", "text", 0, None, "JSON: pipette, specimen, parameters with their status"),
    _field("/entry/journal", "text", 1, None, "facts in order, one JSON object each"),
    _group("/entry/provenance", "NXcollection", "who, where, with what, seed, and what was lost"),
    _group("/entry/process", "NXprocess", "the program that wrote the file"),
    _group("/entry/user", "NXuser", "who measured"),
    _group("/entry/sample", "NXsample", "the specimen"),
    _group("/entry/instrument", "NXinstrument", "the slow columns as NXsensor groups in operando (NXenvironment)"),
    _group("/entry/data", "NXdata", "the default plot: signal, axes, readable without a plug-in"),
    _group("/entry/hops", "NXcollection", "one row per approach and withdrawal"),
    *(
        _field(
            f"/entry/hops/{n}", "float" if HOP_DTYPE[n].kind == "f" else "int", 1, HOP_UNITS.get(n, "1"), _HOP_DOC[n]
        )
        for n in HOP_DTYPE.names or ()
    ),
    _field("/entry/hops/step", "text", 1, None, "path of the probe step that it belongs to"),
    _group("/entry/cell", "NXcollection", "slow rows of the cell"),
    *(_field(f"/entry/cell/{n}", "int" if n == "t_ns" else "float", 1, u, _CELL_DOC[n]) for n, u in CELL.items()),
    _field("/entry/cell/control", "text", 1, None, "what is held: a word"),
    _group("/entry/slow", "NXcollection", "slow rows of the probe, row for row with the cell's"),
    *(
        replace(
            _field(f"/entry/slow/{n}", "int" if n == "t_ns" else "float", 1, u, _SLOW_DOC[n]), optional=n in SINCE_1_2
        )
        for n, u in SLOW.items()
    ),
    *(replace(_field(f"/entry/slow/{n}", "text", 1, None, _SLOW_DOC[n]), optional=True) for n in SLOW_TEXTS),
    _group("/entry/samples", "NXcollection", "the sampled channels, one group per stretch without a gap"),
    _group("/entry/samples/segment_*", "NXcollection", "sample k is at its t0_ns + k dt_ns", True),
    _field("/entry/samples/segment_*/counts", "int", 2, None, "[sample, channel]; SI = counts*scale + offset", True),
    _field("/entry/samples/segment_*/counts_xxh3", "int", 1, None, "XXH3 of each packed chunk of counts", True),
    _field("/entry/samples/segment_*/blocks", "int", 2, None, "as they came; see attribute columns", True),
    _field("/entry/samples/segment_*/lost", "int", 2, None, "[first, stop) of lost samples", True),
    _group("/entry/samples/segment_*/decimated", "NXcollection", "the channels kept in no other way", True),
    _field("/entry/samples/segment_*/decimated/first_sample", "int", 1, "1", "first sample of a row", True),
    _field("/entry/samples/segment_*/decimated/samples", "int", 1, "1", "samples in a row", True),
    _field("/entry/samples/segment_*/decimated/minimum", "int", 2, None, "smallest count [row, channel]", True),
    _field("/entry/samples/segment_*/decimated/maximum", "int", 2, None, "largest count", True),
    _field("/entry/samples/segment_*/decimated/mean", "float", 2, None, "mean count", True),
)


_ROWS: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check: its name, whether it holds, and what was seen."""

    check: str
    ok: bool
    seen: str


def validate(path: Path) -> list[CheckResult]:
    """Every check on the run at `path`; the file is valid when all of them hold. Raises what opening raises."""
    results: list[CheckResult] = []
    with Run(path) as run:
        for name, check in _CHECKS.items():
            try:
                failures = list(check(run))
            except OpsicmError as error:
                failures = [str(error)]
            results.append(CheckResult(name, not failures, "; ".join(failures[:5]) or "holds"))
    return results


def _standard(run: Run) -> Iterator[str]:
    """Every item that NXsicm requires is there with its type, rank and unit."""
    with h5py.File(run.path, "r") as file:
        for item in REQUIRED:
            matches = _matching(file, item.path)
            if not matches and not item.repeated and not item.optional:
                yield f"{item.path} is missing"
            for match in matches:
                yield from _item(match, item)


def _matching(file: h5py.File, path: str) -> list[Any]:
    head, star, tail = path.partition("*")
    if not star:
        return [file[path]] if path in file else []
    parent, _, prefix = head.rpartition("/")
    names = [name for name in file[parent] if name.startswith(prefix)] if parent in file else []
    return [file[f"{parent}/{name}{tail}"] for name in names if f"{parent}/{name}{tail}" in file]


def _item(node: Any, item: RequiredItem) -> Iterator[str]:
    if item.kind == "group":
        nexus_class = text_attribute(node, "NX_class", "none")
        if nexus_class != item.type:
            yield f"{node.name} is {nexus_class}, not {item.type}"
        return
    if not isinstance(node, h5py.Dataset):
        yield f"{node.name} is not a dataset"
        return
    kinds = {"text": "OS", "int": "iu", "float": "f"}[item.type]
    if node.dtype.kind not in kinds:
        yield f"{node.name} is {node.dtype}, not {item.type}"
    if node.ndim != item.rank:
        yield f"{node.name} has rank {node.ndim}, not {item.rank}"
    if item.unit is not None and text_attribute(node, "units", "none") != item.unit:
        yield f"{node.name} is in {text_attribute(node, 'units', 'none')}, not {item.unit}"
    if item.rank and not node.fletcher32:
        yield f"{node.name} has no checksums"


def _default_plot(run: Run) -> Iterator[str]:
    """The default plot is found by its attributes and opens without a plug-in."""
    with h5py.File(run.path, "r") as file:
        entry = file[text_attribute(file, "default", "entry")]
        data = entry[text_attribute(entry, "default", "data")]
        signal = text_attribute(data, "signal")
        axes = [
            word.decode("utf-8") if isinstance(word, bytes) else str(word)
            for word in np.atleast_1d(data.attrs.get("axes", ""))
        ]
        missing = [name for name in (signal, *axes) if name not in data]
        if missing:
            yield f"signal {signal} or axes {', '.join(axes)} not in {data.name}"
            return
        sides = tuple(data[name].size for name in axes)
        if data[signal].shape != sides:
            yield f"{signal} has {data[signal].shape}, {', '.join(axes)} {sides}"
        for name in (signal, *axes):
            if data[name].compression not in {None, "gzip"}:
                yield f"{name} needs a plug-in"
            data[name][:]


def _texts(run: Run) -> Iterator[str]:
    """Every text and number matches its checksum."""
    _ = (run.title, run.started_utc, run.experiment_text, run.rig_text, run.parameters, run.provenance)
    yield from ()


def _journal(run: Run) -> Iterator[str]:
    """Facts are in order, without a gap, and time does not run backwards."""
    facts = run.facts
    for before, after in itertools.pairwise(facts):
        if after.seq != before.seq + 1:
            yield f"fact {after.seq} follows {before.seq}"
        if after.t_ns < before.t_ns:
            yield f"fact {after.seq} is earlier than the one before it"


def _rows(run: Run) -> Iterator[str]:
    """Slow rows and hops are in order."""
    for name, rows in (("cell", run.cell), ("slow", run.slow), ("hops", run.hops)):
        t = rows["t_ns"].values
        if np.any(np.diff(t) < 0):
            yield f"{name}: time runs backwards at row {int(np.argmax(np.diff(t) < 0)) + 1}"
    numbers = run.hops["number"].values
    if np.any(np.diff(numbers) != 1):
        yield f"hops: number {int(numbers[np.argmax(np.diff(numbers) != 1)])} is not followed by the next"


def _hop_samples(run: Run) -> Iterator[str]:
    """Each hop's samples are in order and lie in its segment."""
    rows = run.hops
    start, fall, stop, top = (rows[f"sample_{name}"].values for name in ("start", "fall", "stop", "top"))
    bad = ~((start <= fall) & (fall <= stop) & (stop <= top))
    if bad.any():
        yield f"hop {int(np.argmax(bad))}: its samples are out of order"
    for segment in run.segments():
        in_segment = rows["segment"].values == segment
        length = run.length(segment)
        if length and in_segment.any() and int(top[in_segment].max()) >= length:
            yield f"segment {segment} ends at {length}, a hop at {int(top[in_segment].max())}"


def _samples(run: Run) -> Iterator[str]:
    """Blocks follow one another without a gap, every sample reads against its checksum, and none is lost."""
    with h5py.File(run.path, "r") as file:
        for segment in run.segments():
            group = file["entry/samples"][f"segment_{segment:04d}"]
            try:
                blocks = group["blocks"][:]
                due = np.concatenate([[0], (blocks[:, 0] + blocks[:, 1])[:-1]])
                if np.any(blocks[:, 0] != due):
                    yield f"segment {segment}: a gap at sample {int(due[blocks[:, 0] != due][0])}"
                times = group.attrs["t0_ns"] + blocks[:, 0] * group.attrs["dt_ns"]
                if np.any(times != blocks[:, 2]):
                    yield f"segment {segment}: block {int(np.argmax(times != blocks[:, 2]))} is not on the clock"
                if lost := int((blocks[:, 3:] == MISSING).any(axis=1).sum()):
                    yield f"segment {segment}: {lost} blocks have lost samples"
                for item in group.values():
                    if isinstance(item, h5py.Dataset):
                        _read_all(item)
                if "decimated" in set(group):
                    for item in group["decimated"].values():
                        _read_all(item)
            except (OSError, RuntimeError, KeyError) as error:
                yield f"segment {segment}: {str(error).splitlines()[0]}"


def _read_all(item: h5py.Dataset) -> None:
    for first in range(0, item.shape[0], _ROWS):
        item[first : first + _ROWS]


_CHECKS: Final[dict[str, Callable[[Run], Iterator[str]]]] = {
    "standard": _standard,
    "default plot": _default_plot,
    "texts": _texts,
    "journal": _journal,
    "rows": _rows,
    "hop samples": _hop_samples,
    "samples": _samples,
}
