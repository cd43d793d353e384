"""Is a run file what the standard says, and is everything in it? Order, gaps, checksums, names, types and units."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from opsicm.errors import OpsicmError
from opsicm.record.nxsicm import REQUIRED, Item
from opsicm.record.reader import Run, said
from opsicm.record.run_layout import MISSING

_ROWS: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, whether it holds, and what was seen."""

    check: str
    ok: bool
    seen: str


def validate(path: Path) -> list[Finding]:
    """Every check on the run at `path`; the file is valid when all of them hold. Raises what opening raises."""
    findings: list[Finding] = []
    with Run(path) as run:
        for name, check in _CHECKS.items():
            try:
                found = list(check(run))
            except OpsicmError as error:
                found = [str(error)]
            findings.append(Finding(name, not found, "; ".join(found[:5]) or "holds"))
    return findings


def _standard(run: Run) -> Iterator[str]:
    """Every item that NXsicm requires is there with its type, rank and unit."""
    with h5py.File(run.path, "r") as file:
        for item in REQUIRED:
            matches = _matching(file, item.path)
            if not matches and not item.repeated:
                yield f"{item.path} is missing"
            for found in matches:
                yield from _item(found, item)


def _matching(file: h5py.File, path: str) -> list[Any]:
    head, star, tail = path.partition("*")
    if not star:
        return [file[path]] if path in file else []
    parent, _, prefix = head.rpartition("/")
    names = [name for name in file[parent] if name.startswith(prefix)] if parent in file else []
    return [file[f"{parent}/{name}{tail}"] for name in names if f"{parent}/{name}{tail}" in file]


def _item(found: Any, item: Item) -> Iterator[str]:
    if item.kind == "group":
        nexus_class = said(found, "NX_class", "none")
        if nexus_class != item.type:
            yield f"{found.name} is {nexus_class}, not {item.type}"
        return
    if not isinstance(found, h5py.Dataset):
        yield f"{found.name} is not a dataset"
        return
    kinds = {"text": "OS", "int": "iu", "float": "f"}[item.type]
    if found.dtype.kind not in kinds:
        yield f"{found.name} is {found.dtype}, not {item.type}"
    if found.ndim != item.rank:
        yield f"{found.name} has rank {found.ndim}, not {item.rank}"
    if item.unit is not None and said(found, "units", "none") != item.unit:
        yield f"{found.name} is in {said(found, 'units', 'none')}, not {item.unit}"
    if item.rank and not found.fletcher32:
        yield f"{found.name} has no checksums"


def _default_plot(run: Run) -> Iterator[str]:
    """The default plot is found by its attributes and opens without a plug-in."""
    with h5py.File(run.path, "r") as file:
        entry = file[said(file, "default", "entry")]
        data = entry[said(entry, "default", "data")]
        signal = said(data, "signal")
        axes = [word.decode("utf-8") if isinstance(word, bytes) else str(word)
                for word in np.atleast_1d(data.attrs.get("axes", ""))]  # fmt: skip
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
        here = rows["segment"].values == segment
        length = run.length(segment)
        if length and here.any() and int(top[here].max()) >= length:
            yield f"segment {segment} ends at {length}, a hop at {int(top[here].max())}"


def _samples(run: Run) -> Iterator[str]:
    """Blocks follow one another without a gap, every sample reads against its checksum, and none is lost."""
    with h5py.File(run.path, "r") as file:
        for segment in run.segments():
            group = file["entry/samples"][f"segment_{segment:04d}"]
            try:
                blocks = group["blocks"][:]
                ends = blocks[:, 0] + blocks[:, 1]
                if np.any(blocks[1:, 0] != ends[:-1]):
                    yield f"segment {segment}: a gap at sample {int(ends[:-1][blocks[1:, 0] != ends[:-1]][0])}"
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
