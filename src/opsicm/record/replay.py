"""A stored run as the stream it once was: header, facts, blocks, hops and slow rows, in order, at any speed.

What comes out may go into any `Recorder`: the run recorded from it analyses to identical results, because counts,
records and rows are passed on as they are, never converted to SI and back.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn

import h5py
import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import OpsicmError, Problem
from opsicm.core.facts import HOP_DTYPE, Channel, Fact, SampleBlock
from opsicm.experiment.controls import (
    CellControl,
    ConstantCurrent,
    OpenCircuit,
    PotentialRamp,
    control_from_data,
    control_text,
)
from opsicm.record.nexus_file import MISSING
from opsicm.record.reader import Run, channels_of
from opsicm.record.recorder import Header, Reading, Recorder

_OPTIONAL: Final = ("set_point", "soc")


@dataclass(frozen=True, slots=True)
class Hops:
    """Hop records of one step."""

    step: str
    records: NDArray[Any]


Event = tuple[int, Fact | SampleBlock | Hops | Reading]


class Replay:
    """The run at `path`, to be told again."""

    def __init__(self, path: Path | str) -> None:
        self._run = Run(path)

    def __enter__(self) -> Replay:
        return self

    def __exit__(self, *_: object) -> None:
        self._run.close()

    @property
    def header(self) -> Header:
        """What was known before it: of the channels, those kept in full, which alone can be told again."""
        run = self._run
        segments = run.segments()
        channels: tuple[Channel, ...] = ()
        dt_ns = 10_000
        if segments:
            with h5py.File(run.path, "r") as file:
                group = file["entry/samples"][f"segment_{segments[0]:04d}"]
                channels = channels_of(group["counts"]) if "counts" in set(group) else ()
                dt_ns = int(group.attrs["dt_ns"])
        told = {name: value for name, value in run.provenance.items() if name not in {"losses", "recovered"}}
        provenance = {**told, "replay_of": run.path.parent.name}
        return Header(
            run.title, run.started_utc, run.experiment_text, run.rig_text, channels, dt_ns, run.parameters, provenance
        )

    def events(self) -> Iterator[Event]:
        """(t_ns, what happened) in order of time; at one instant samples come before hops, rows and facts."""
        rows = ((reading.t_ns, reading) for reading in self.readings())
        streams = (self.blocks(), self._hops(), rows, ((fact.t_ns, fact) for fact in self._run.facts))
        keyed = [((t, rank, k, item) for k, (t, item) in enumerate(stream)) for rank, stream in enumerate(streams)]
        for t, _, _, item in heapq.merge(*keyed, key=lambda event: event[:3]):
            yield t, item

    def into(self, recorder: Recorder, hold: Callable[[int], None] = lambda _: None) -> Path:
        """Tell it to `recorder`; `hold(t_ns)` keeps the pace. Returns what the recorder's `close` returns."""
        recorder.open(self.header)
        try:
            for t_ns, event in self.events():
                hold(t_ns)
                if isinstance(event, SampleBlock):
                    recorder.block(event)
                elif isinstance(event, Hops):
                    recorder.hops(event.step, event.records)
                elif isinstance(event, Reading):
                    recorder.reading(event)
                else:
                    recorder.fact(event)
        finally:
            path = recorder.close()
        return path

    def blocks(self) -> Iterator[tuple[int, SampleBlock]]:
        """Blocks at the time of their last sample. One that has lost samples ends the segment it is in."""
        with h5py.File(self._run.path, "r") as file:
            for segment in self._run.segments():
                group = file["entry/samples"][f"segment_{segment:04d}"]
                if "counts" not in set(group):
                    continue
                dt_ns = int(group.attrs["dt_ns"])
                columns = group["blocks"].attrs["columns"].astype("S").astype("U")
                names = [str(name).removeprefix("quality_") for name in columns]
                kept = [names.index(channel.name) for channel in channels_of(group["counts"])]
                for row in group["blocks"][:]:
                    first, n, t0_ns = row[:3].tolist()
                    quality = row[kept].astype(np.uint8)
                    if MISSING in quality:
                        break
                    counts = group["counts"][first : first + n]
                    yield t0_ns + n * dt_ns, SampleBlock(segment, first, t0_ns, dt_ns, counts, quality)

    def hop_rows(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """(step of each hop, its record), in order."""
        table = self._run.hops
        rows = np.zeros(table.sizes["hop"], HOP_DTYPE)
        for name in HOP_DTYPE.names or ():
            rows[name] = table["number" if name == "hop" else name].values
        return table["step"].values, rows

    def readings(self) -> Iterator[Reading]:
        """The slow rows, in order."""
        cell, slow = self._run.cell, self._run.slow
        columns = {str(name): cell[name].values for name in cell} | {str(name): slow[name].values for name in slow}
        for k in range(cell.sizes["row"]):
            row = {
                name: values[k] if isinstance(values[k], str) else values[k].item() for name, values in columns.items()
            }
            row |= {name: None for name in _OPTIONAL if np.isnan(row[name])}
            yield Reading(**row)

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The journal."""
        return self._run.facts

    def _hops(self) -> Iterator[Event]:
        steps, rows = self.hop_rows()
        for at, step in enumerate(steps):
            yield int(rows["t_ns"][at]), Hops(str(step), rows[at : at + 1])


# -- What a stored run says of any moment, on a clock of its own: the one truth behind a replay's roles.
#
# Time goes on only where the record does. Whatever is asked that the record cannot answer raises `NotAsRecorded`.


_OPEN: Final = "open_circuit"
_SETTLING: Final = 3  # rows after a change of control: two make a slope, three its bend


class NotAsRecorded(OpsicmError):
    """A replay was asked for something else than what was recorded."""


class Recorded:
    """Rows, hops, blocks and controls of `replay`, and how far its clock has come; `on_advance` hears every new now."""

    def __init__(self, replay: Replay, on_advance: Callable[[int], None]) -> None:
        self._on_advance = on_advance
        self.now_ns = 0
        self.made_safe = False
        self.header = replay.header
        self.rows: list[Reading] = list(replay.readings())
        self._row_times = [row.t_ns for row in self.rows]
        self.steps, self.hops = replay.hop_rows()
        self.hops_told = 0
        self.started_ns, self.topped_ns = _extent(self.hops, self.header.dt_ns)
        self._blocks: Iterator[tuple[int, SampleBlock]] = replay.blocks()
        self._next = next(self._blocks, None)
        facts = replay.facts
        self._intents = iter([fact for fact in facts if fact.kind == "intent" and fact.track == "cell"])
        self._held: list[tuple[int, CellControl]] = [(-1, OpenCircuit())]
        self.stops: frozenset[int] = frozenset(
            [*self._row_times, *(fact.t_ns for fact in facts if fact.kind == "hops")]
        )
        ends = [*self._row_times[-1:], *(fact.t_ns for fact in facts[-1:]), *self.topped_ns[-1:].tolist()]
        self.end_ns = max([0, *ends])

    def refuse(self, thing: str, asked: str, recorded: str) -> NoReturn:
        """Raises `NotAsRecorded`, with the moment."""
        limit = f"at {self.now_ns * 1e-9:.6f} s the record has {recorded}"
        remedy = "a replay answers only what was recorded: run the experiment as it was run, or take another rig"
        raise NotAsRecorded(Problem(thing, asked, limit, remedy))

    def must_go_on(self, thing: str) -> None:
        """Refuse what would move something after `safe`."""
        if self.made_safe:
            self.refuse(thing, "asked for", "been left: the rig was made safe")

    # -- time -------------------------------------------------------------------------------------------------------

    def wait_until(self, t_ns: int) -> None:
        """The clock at `t_ns`, never back and never past the end of the record.

        Soon after a change of control it stops at the next row if that comes first. How long the runner trusted its
        bias there followed from readings that no row keeps: what is not known is when, so the record says it.
        """
        if t_ns > max(self.end_ns, self.now_ns):
            self.refuse("wait", f"until {t_ns * 1e-9:.6f} s", f"its end at {self.end_ns * 1e-9:.6f} s")
        row = self.next_row()
        if row is not None and row.t_ns < t_ns and self._unsettled():
            t_ns = row.t_ns
        self.advance(t_ns)

    def _unsettled(self) -> bool:
        since, _ = self.held(self.now_ns)
        rows = bisect.bisect_right(self._row_times, self.now_ns) - bisect.bisect_right(self._row_times, since)
        return since >= 0 and rows < _SETTLING

    def advance(self, t_ns: int) -> None:
        """The clock at `t_ns` or where it is."""
        if t_ns > self.now_ns:
            self.now_ns = t_ns
            self._on_advance(t_ns)

    # -- cell -------------------------------------------------------------------------------------------------------

    def apply(self, control: CellControl, at_ns: int) -> None:
        """Accept the control that the record has next, at its nanosecond."""
        self.must_go_on("cell control")
        asked = f"{control_text(control)} at {at_ns} ns"
        fact = next(self._intents, None)
        if fact is None:
            self.refuse("cell control", asked, "no further control")
        recorded = control_from_data(fact.data["control"])
        if (recorded, fact.data["at_ns"]) != (control, at_ns):
            self.refuse("cell control", asked, f"{control_text(recorded)} at {fact.data['at_ns']} ns")
        self._held.append((at_ns, control))

    def held(self, t_ns: int) -> tuple[int, CellControl]:
        """(since when [ns], the control held at `t_ns`)."""
        return next(one for one in reversed(self._held) if one[0] <= t_ns)

    def cut_off(self, row: Reading) -> bool:
        """Whether a row shows a current that has gone to open circuit by itself."""
        since, control = self.held(row.t_ns)
        return isinstance(control, ConstantCurrent) and since < row.t_ns and row.control == _OPEN

    def next_row(self) -> Reading | None:
        """The first row after now."""
        k = bisect.bisect_right(self._row_times, self.now_ns)
        return self.rows[k] if k < len(self.rows) else None

    def reading(self) -> Reading:
        """The slow row of now; between two rows what both say.

        Cell and bias change linearly, what the probe read stands, as do the words. Where the control changes between
        two rows, either side is carried on from its own row: a straight line would take the jump for a slope. The side
        after it is the line through its first two rows.
        """
        now, k = self.now_ns, bisect.bisect_right(self._row_times, self.now_ns) - 1
        if not self.rows:
            self.refuse("reading", "asked for", "none")
        before, after = self.rows[max(k, 0)], self.rows[min(k + 1, len(self.rows) - 1)]
        if before.t_ns == now or before is after or k < 0:
            return replace(before, t_ns=now)
        since, control = self.held(now)
        following = next((at for at, _ in self._held if at > now), after.t_ns)
        slope = control.slope if isinstance(control, PotentialRamp) else 0.0
        if since >= before.t_ns:
            second = self.rows[min(k + 2, len(self.rows) - 1)]
            known = second.t_ns > after.t_ns and second.control == after.control and following >= second.t_ns
            return _carried(after, slope, _slope(after, second) if known else slope, now)
        if following < after.t_ns:
            return _carried(before, slope, slope, now)
        part = (now - before.t_ns) / (after.t_ns - before.t_ns)

        def between(name: str) -> Any:
            a, b = getattr(before, name), getattr(after, name)
            return None if a is None or b is None else a + part * (b - a)

        names = ("potential", "current", "charge", "set_point", "pipette_bias", "coarse_z")
        return replace(before, t_ns=now, **{name: between(name) for name in names})

    # -- samples ----------------------------------------------------------------------------------------------------

    def coming_block(self) -> SampleBlock | None:
        """The next samples, not yet taken."""
        return None if self._next is None else self._next[1]

    def take(self, block: SampleBlock, until_ns: int) -> SampleBlock:
        """Take the coming block up to `until_ns`; what lies behind it comes next. The clock stands at its end."""
        n = -(-(until_ns - block.t0_ns) // block.dt_ns)
        if n < block.counts.shape[0]:
            rest = replace(
                block, first_sample=block.first_sample + n, t0_ns=block.t0_ns + n * block.dt_ns, counts=block.counts[n:]
            )
            block = replace(block, counts=block.counts[:n])
            self._next = (0, rest)
        else:
            self._next = next(self._blocks, None)
        self.advance(block.t0_ns + block.counts.shape[0] * block.dt_ns)
        return block


def _extent(hops: NDArray[Any], dt_ns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[ns] of the first sample of each hop and of the first one after it."""
    zero = hops["t_ns"] - hops["sample_stop"] * dt_ns
    return zero + hops["sample_start"] * dt_ns, zero + (hops["sample_top"] + 1) * dt_ns


def _slope(one: Reading, other: Reading) -> float:
    """dE/dt [V/s] between two rows."""
    return (other.potential - one.potential) / ((other.t_ns - one.t_ns) * 1e-9)


def _carried(row: Reading, program: float, slope: float, now: int) -> Reading:
    """A row at another moment of the same control: `program` and `slope` [V/s] of set point and potential."""
    seconds = (now - row.t_ns) * 1e-9
    return replace(
        row,
        t_ns=now,
        potential=row.potential + slope * seconds,
        charge=row.charge + row.current * seconds,
        set_point=None if row.set_point is None else row.set_point + program * seconds,
    )
