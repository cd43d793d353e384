"""A run that was interrupted and resumed, read as one: the halves on one time axis, as if nothing had happened.

A half that resumes another begins `last_ns + gap_ns` after it (its first fact says so), and its charge continues.
Where both halves hop in one step their segments are joined too, so that a series of heights or an image goes on.
A resumed run finds the surface anew and counts heights from there, so those of a half are set on to those before it,
by the points that both hopped (`height_steps`): what the surface did in the pause is lost. Nothing is filled in.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.core.facts import Channel, Fact
from opsicm.record.reader import Run

_SAME_POINT: Final = 1e-9  # [m]
_HOPS: Final = 5


def resumed_from(run: Run) -> str | None:
    """The name of the run folder that this run resumes; None where it begins anew."""
    name = run.facts[0].data.get("resumes") if run.facts else None
    return None if name is None else str(name)


def chains(paths: Sequence[Path]) -> list[list[Path]]:
    """The runs in order, each with those that resume it: [[first, second half], [another run]]."""
    resumes: dict[Path, str | None] = {}
    for path in paths:
        with Run(path) as run:
            resumes[path] = resumed_from(run)
    by_name = {_folder(path): path for path in paths}
    following = {by_name[name]: path for path, name in resumes.items() if name in by_name}
    begun = [path for path in paths if resumes[path] not in by_name]
    out = []
    for path in begun:
        chain = [path]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        out.append(chain)
    return out


def _folder(path: Path) -> str:
    whole = path.resolve()
    return whole.name if whole.is_dir() else whole.parent.name


def _heights_by_point(hops: xr.Dataset, last: bool) -> dict[tuple[int, int], float]:
    """Height [m] at each point of a half's last or first pass: mean of a few hops where it hops at one point."""
    good = np.flatnonzero(hops["outcome"].values == 0)
    if not good.size:
        return {}
    steps = hops["step"].values[good]
    good = good[steps == steps[-1 if last else 0]]
    pixels = max(np.unique(hops["pixel"].values[good]).size, 1)
    count = pixels if pixels > 1 else _HOPS
    good = good[-count:] if last else good[:count]
    x, y = (np.round(hops[name].values[good] / _SAME_POINT).astype(np.int64) for name in ("x", "y"))
    heights: dict[tuple[int, int], list[float]] = {}
    for point, z in zip(zip(x.tolist(), y.tolist(), strict=True), hops["z_stop"].values[good].tolist(), strict=True):
        heights.setdefault(point, []).append(z)
    return {point: float(np.mean(values)) for point, values in heights.items()}


@dataclass(frozen=True, slots=True)
class _Piece:
    """A segment of a half within a segment of the whole: it begins at sample `first` of that."""

    half: int
    segment: int
    first: int


class JoinedRun(Run):
    """The halves of a run, in order, read as one run. Close it, or use it as a context manager."""

    def __init__(self, paths: Sequence[Path]) -> None:
        with ExitStack() as opened:
            self.halves = tuple(opened.enter_context(Run(path)) for path in paths)
            self._keep = opened.pop_all()
        self.path = self.halves[-1].path
        starts = [0]
        for half in self.halves[1:]:
            start = half.facts[0].data
            starts.append(starts[-1] + int(start.get("last_ns", 0)) + int(start.get("gap_ns", 0)))
        self._starts = starts
        self._pieces, self._whole_segment = self._joined_segments()

    def close(self) -> None:
        """Close every half."""
        self._keep.close()

    def _joined_segments(self) -> tuple[dict[int, list[_Piece]], dict[tuple[int, int], int]]:
        """Pieces of every segment of the whole, and the whole's segment of each (half, segment)."""
        pieces: dict[int, list[_Piece]] = {}
        number_of: dict[tuple[int, int], int] = {}
        last_step = ""
        for k, half in enumerate(self.halves):
            steps, segments = half.hops["step"].values, half.hops["segment"].values
            for segment in half.segments():
                of = np.flatnonzero(segments == segment)
                step = str(steps[of[0]]) if of.size else ""
                first_of_half = segment == half.segments()[0]
                if not (k and first_of_half and step and step == last_step):
                    pieces[len(pieces) + 1] = []
                whole = pieces[len(pieces)]
                first = 0 if not whole else whole[-1].first + self.halves[whole[-1].half].length(whole[-1].segment)
                whole.append(_Piece(k, segment, first))
                number_of[k, segment] = len(pieces)
                last_step = step
        return pieces, number_of

    # -- What the halves share.

    @property
    def title(self) -> str:
        """The experiment's title."""
        return self.halves[0].title

    @property
    def started_utc(self) -> str:
        """The UTC anchor of t_ns = 0."""
        return self.halves[0].started_utc

    @property
    def experiment_text(self) -> str:
        """The experiment file as it was run."""
        return self.halves[0].experiment_text

    @property
    def rig_text(self) -> str:
        """The rig file as it was run with."""
        return self.halves[0].rig_text

    @property
    def parameters(self) -> dict[str, Any]:
        """Pipette, specimen and electrolyte as known when the run began."""
        return next((half.parameters for half in self.halves if half.parameters), {})

    @property
    def provenance(self) -> dict[str, Any]:
        """Those of the last half, with the folders of all."""
        joined = " + ".join(half.path.parent.name for half in self.halves)
        return {**self.halves[-1].provenance, "joined": joined}

    # -- One time axis.

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        """The journals one after the other; a half's end is left out where another follows."""
        out: list[Fact] = []
        for start, half in zip(self._starts, self.halves, strict=True):
            ended = half is not self.halves[-1]
            out += [
                replace(fact, t_ns=fact.t_ns + start) for fact in half.facts if not (ended and fact.kind == "run_ended")
            ]
        return tuple(out)

    def _shifted(self, name: str, dimension: str) -> xr.Dataset:
        parts = []
        for start, half in zip(self._starts, self.halves, strict=True):
            rows: xr.Dataset = getattr(half, name)
            parts.append(rows.assign(t_ns=rows["t_ns"] + start))
        whole: xr.Dataset = xr.concat(parts, dim=dimension)
        for column, values in parts[0].items():
            whole[column].attrs = values.attrs
        return whole

    @cached_property
    def cell(self) -> xr.Dataset:
        """The cell's slow rows, dimension `row`."""
        return self._shifted("cell", "row")

    @cached_property
    def slow(self) -> xr.Dataset:
        """The probe's slow rows, dimension `row`."""
        return self._shifted("slow", "row")

    @cached_property
    def hops(self) -> xr.Dataset:
        """One row per hop, with segments and samples of the whole."""
        hops = self._shifted("hops", "hop")
        half = np.repeat(np.arange(len(self.halves)), [h.hops.sizes["hop"] for h in self.halves])
        segment = hops["segment"].values.copy()
        first = np.zeros(segment.size, dtype=np.int64)
        for whole, pieces in self._pieces.items():
            for piece in pieces:
                of = (half == piece.half) & (hops["segment"].values == piece.segment)
                segment[of], first[of] = whole, piece.first
        samples = ("sample_start", "sample_fall", "sample_stop", "sample_top")
        columns: dict[str, Any] = {name: hops[name] + first for name in samples}
        step = np.asarray(self.height_steps)[half]
        columns |= {name: hops[name] + step for name in ("z_stop", "z_min")}
        columns |= {"segment": ("hop", segment), "number": ("hop", np.arange(segment.size))}
        return hops.assign(columns)

    @cached_property
    def height_steps(self) -> tuple[float, ...]:
        """What is added to the heights of each half [m]; 0 where it hops at no point that the half before hopped last.

        Median over the points of the last pass of the one and the first pass of the other.
        """
        steps = [0.0]
        for before, after in itertools.pairwise(self.halves):
            last, first = _heights_by_point(before.hops, last=True), _heights_by_point(after.hops, last=False)
            both = [last[point] - first[point] for point in first if point in last]
            steps.append(steps[-1] + (float(np.median(both)) if both else 0.0))
        return tuple(steps)

    # -- Samples.

    @property
    def dt_ns(self) -> int:
        """Sample period."""
        return max(half.dt_ns for half in self.halves)

    def segments(self) -> list[int]:
        """Numbers of the segments of the whole."""
        return list(self._pieces)

    def length(self, segment: int) -> int:
        """Samples in a segment of the whole."""
        return sum(self.halves[p.half].length(p.segment) for p in self._pieces[segment])

    def _parts(self, segment: int, first: int, stop: int | None) -> list[tuple[_Piece, int, int]]:
        """(piece, first, stop) within each half that samples [first, stop) of a segment lie in; one at least."""
        first, stop, _ = slice(first, stop).indices(self.length(segment))
        parts = []
        for piece in self._pieces[segment]:
            length = self.halves[piece.half].length(piece.segment)
            a, b = max(first - piece.first, 0), min(stop - piece.first, length)
            if a < b:
                parts.append((piece, a, b))
        return parts or [(self._pieces[segment][0], 0, 0)]

    def samples(self, segment: int, first: int = 0, stop: int | None = None) -> xr.Dataset:
        """Samples [first, stop) of a segment in SI units, with the times of the whole."""
        blocks = []
        for piece, a, b in self._parts(segment, first, stop):
            block = self.halves[piece.half].samples(piece.segment, a, b)
            blocks.append(block.assign_coords(t_ns=block["t_ns"] + self._starts[piece.half]))
        return blocks[0] if len(blocks) == 1 else xr.concat(blocks, dim="sample")

    def counts(
        self, segment: int, names: tuple[str, ...], first: int = 0, stop: int | None = None
    ) -> tuple[NDArray[np.int16], tuple[Channel, ...], NDArray[np.int64]] | None:
        """Counts of samples [first, stop) of a segment, its channels, and the lost ranges of the whole segment."""
        blocks = []
        for piece, a, b in self._parts(segment, first, stop):
            block = self.halves[piece.half].counts(piece.segment, names, a, b)
            if block is None:
                return None
            counts, channels, lost = block
            blocks.append((counts, channels, lost + piece.first))
        if any(channels != blocks[0][1] for _, channels, _ in blocks):
            return None  # scaled differently
        counts, lost = (np.concatenate([block[k] for block in blocks]) for k in (0, 2))
        return counts, blocks[0][1], lost

    def decimated(self, segment: int) -> xr.Dataset:
        """Smallest, largest and mean value of every so many samples."""
        parts = [self.halves[p.half].decimated(p.segment) for p in self._pieces[segment]]
        return parts[0] if len(parts) == 1 else xr.concat(parts, dim="row")

    def trace(self, hop: int) -> xr.Dataset:
        """The samples of one hop, from its start to its top."""
        row = self.hops.isel(hop=hop)
        return self.samples(int(row["segment"]), int(row["sample_start"]), int(row["sample_top"]) + 1)
