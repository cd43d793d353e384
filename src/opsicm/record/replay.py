"""Replays a stored run: as a stream of header, facts, blocks, hops and slow rows, or as the state behind a replay rig.

The stream may go into any `Recorder`: the run recorded from it analyses to identical results, because counts, records
and rows are passed on as they are, never converted to SI and back.
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
from opsicm.record.recorder import Reading, Recorder, RunHeader

_OPTIONAL: Final = ("set_point", "soc", "amplifier_gain", "amplifier_filter")


@dataclass(frozen=True, slots=True)
class HopRecords:
    """Hop records of one step."""

    step: str
    records: NDArray[Any]


Event = tuple[int, Fact | SampleBlock | HopRecords | Reading]


class Replay:
    """The run at `path` as a stream of events in order of time."""

    def __init__(self, path: Path | str) -> None:
        self._run = Run(path)

    def __enter__(self) -> Replay:
        return self

    def __exit__(self, *_: object) -> None:
        self._run.close()

    @property
    def header(self) -> RunHeader:
        """The run's header with the channels that were kept in full: the others cannot be replayed."""
        run = self._run
        segments = run.segments()
        channels: tuple[Channel, ...] = ()
        dt_ns = 10_000
        if segments:
            with h5py.File(run.path, "r") as file:
                group = file["entry/samples"][f"segment_{segments[0]:04d}"]
                channels = channels_of(group["counts"]) if "counts" in set(group) else ()
                dt_ns = int(group.attrs["dt_ns"])
        provenance_of_run = {
            name: value for name, value in run.provenance.items() if name not in {"losses", "recovered"}
        }
        provenance = {**provenance_of_run, "replay_of": run.path.parent.name}
        return RunHeader(
            run.title, run.started_utc, run.experiment_text, run.rig_text, channels, dt_ns, run.parameters, provenance
        )

    def events(self) -> Iterator[Event]:
        """(t_ns, event) in order of time; at one instant samples come before hops, rows and facts."""
        rows = ((reading.t_ns, reading) for reading in self.readings())
        streams = (self.blocks(), self._hops(), rows, ((fact.t_ns, fact) for fact in self._run.facts))
        keyed = [((t, rank, k, item) for k, (t, item) in enumerate(stream)) for rank, stream in enumerate(streams)]
        for t, _, _, item in heapq.merge(*keyed, key=lambda event: event[:3]):
            yield t, item

    def into(self, recorder: Recorder, hold: Callable[[int], None] = lambda _: None) -> Path:
        """Record the stream with `recorder`; `hold(t_ns)` keeps the pace. Returns the path that its `close` returns."""
        recorder.open(self.header)
        try:
            for t_ns, event in self.events():
                hold(t_ns)
                if isinstance(event, SampleBlock):
                    recorder.block(event)
                elif isinstance(event, HopRecords):
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
                recorded_columns = [names.index(channel.name) for channel in channels_of(group["counts"])]
                for row in group["blocks"][:]:
                    first, n, t0_ns = row[:3].tolist()
                    quality = row[recorded_columns].astype(np.uint8)
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
            yield int(rows["t_ns"][at]), HopRecords(str(step), rows[at : at + 1])


_OPEN_CIRCUIT: Final = "open_circuit"
_SETTLING: Final = 3  # rows after a change of control: two make a slope, three its bend


class NotAsRecorded(OpsicmError):
    """A replay was asked for something that differs from the record."""


class ReplayedRun:
    """The state behind a replay's roles: rows, hops, blocks and controls of `replay`, and a virtual clock.

    Time passes only as far as the record does. A request that the record cannot answer raises `NotAsRecorded`.
    `on_advance` is called with every new time.
    """

    def __init__(self, replay: Replay, on_advance: Callable[[int], None]) -> None:
        self._on_advance = on_advance
        self.now_ns = 0
        self.made_safe = False
        self.header = replay.header
        self.rows: list[Reading] = list(replay.readings())
        self._row_times = [row.t_ns for row in self.rows]
        self.steps, self.hops = replay.hop_rows()
        self.hops_replayed = 0
        self.started_ns, self.ended_ns = _extent(self.hops, self.header.dt_ns)
        self._blocks: Iterator[tuple[int, SampleBlock]] = replay.blocks()
        self._next = next(self._blocks, None)
        facts = replay.facts
        self._intents = iter([fact for fact in facts if fact.kind == "intent" and fact.track == "cell"])
        self._controls: list[tuple[int, CellControl]] = [(-1, OpenCircuit())]
        self.turn_ends: frozenset[int] = frozenset(
            [*self._row_times, *(fact.t_ns for fact in facts if fact.kind == "hops")]
        )
        ends = [*self._row_times[-1:], *(fact.t_ns for fact in facts[-1:]), *self.ended_ns[-1:].tolist()]
        self.end_ns = max([0, *ends])

    def refuse(self, thing: str, asked: str, recorded: str) -> NoReturn:
        """Raise `NotAsRecorded` with the present time."""
        limit = f"at {self.now_ns * 1e-9:.6f} s the record has {recorded}"
        remedy = "a replay answers only what was recorded: run the experiment as it was run, or take another rig"
        raise NotAsRecorded(Problem(thing, asked, limit, remedy))

    def refuse_if_safe(self, thing: str) -> None:
        """Refuse a request that would move something after `safe`."""
        if self.made_safe:
            self.refuse(thing, "requested", "ended: the rig was made safe")

    # -- time -------------------------------------------------------------------------------------------------------

    def wait_until(self, t_ns: int) -> None:
        """Advance the clock to `t_ns`, never back and never past the end of the record.

        Soon after a change of control it stops at the next row if that comes first: how long the runner waited there
        depended on readings that no row keeps, so the times of the rows decide.
        """
        if t_ns > max(self.end_ns, self.now_ns):
            self.refuse("wait", f"until {t_ns * 1e-9:.6f} s", f"its end at {self.end_ns * 1e-9:.6f} s")
        row = self.next_row()
        if row is not None and row.t_ns < t_ns and self._unsettled():
            t_ns = row.t_ns
        self.advance(t_ns)

    def _unsettled(self) -> bool:
        since, _ = self.control_at(self.now_ns)
        rows = bisect.bisect_right(self._row_times, self.now_ns) - bisect.bisect_right(self._row_times, since)
        return since >= 0 and rows < _SETTLING

    def advance(self, t_ns: int) -> None:
        """Advance the clock to `t_ns`, never back."""
        if t_ns > self.now_ns:
            self.now_ns = t_ns
            self._on_advance(t_ns)

    # -- cell -------------------------------------------------------------------------------------------------------

    def apply(self, control: CellControl, at_ns: int) -> None:
        """Accept the next control of the record, at its recorded time only."""
        self.refuse_if_safe("cell control")
        asked = f"{control_text(control)} at {at_ns} ns"
        fact = next(self._intents, None)
        if fact is None:
            self.refuse("cell control", asked, "no further control")
        recorded = control_from_data(fact.data["control"])
        if (recorded, fact.data["at_ns"]) != (control, at_ns):
            self.refuse("cell control", asked, f"{control_text(recorded)} at {fact.data['at_ns']} ns")
        self._controls.append((at_ns, control))

    def control_at(self, t_ns: int) -> tuple[int, CellControl]:
        """(start [ns], control) in force at `t_ns`."""
        return next(entry for entry in reversed(self._controls) if entry[0] <= t_ns)

    def reached_cut_off(self, row: Reading) -> bool:
        """Whether a row shows a constant current that a cut-off has ended."""
        since, control = self.control_at(row.t_ns)
        return isinstance(control, ConstantCurrent) and since < row.t_ns and row.control == _OPEN_CIRCUIT

    def next_row(self) -> Reading | None:
        """The first row after the present time."""
        k = bisect.bisect_right(self._row_times, self.now_ns)
        return self.rows[k] if k < len(self.rows) else None

    def reading(self) -> Reading:
        """The slow row at the present time, interpolated between two recorded rows.

        Cell and bias are interpolated linearly; the probe's readings and the texts are those of the row before. Where
        the control changes between two rows, each side is extrapolated from its own row, because interpolation would
        turn the jump into a slope; the side after the change follows the line through its first two rows.
        """
        now, k = self.now_ns, bisect.bisect_right(self._row_times, self.now_ns) - 1
        if not self.rows:
            self.refuse("reading", "asked for", "none")
        before, after = self.rows[max(k, 0)], self.rows[min(k + 1, len(self.rows) - 1)]
        if before.t_ns == now or before is after or k < 0:
            return replace(before, t_ns=now)
        since, control = self.control_at(now)
        following = next((at for at, _ in self._controls if at > now), after.t_ns)
        slope = control.slope if isinstance(control, PotentialRamp) else 0.0
        if since >= before.t_ns:
            second = self.rows[min(k + 2, len(self.rows) - 1)]
            slope_known = second.t_ns > after.t_ns and second.control == after.control and following >= second.t_ns
            return _carried(after, slope, _slope(after, second) if slope_known else slope, now)
        if following < after.t_ns:
            return _carried(before, slope, slope, now)
        part = (now - before.t_ns) / (after.t_ns - before.t_ns)

        def between(name: str) -> Any:
            a, b = getattr(before, name), getattr(after, name)
            return None if a is None or b is None else a + part * (b - a)

        names = ("potential", "current", "charge", "set_point", "pipette_bias", "coarse_z")
        return replace(before, t_ns=now, **{name: between(name) for name in names})

    # -- samples ----------------------------------------------------------------------------------------------------

    def next_block(self) -> SampleBlock | None:
        """The next samples, not yet returned by `take`."""
        return None if self._next is None else self._next[1]

    def take(self, block: SampleBlock, until_ns: int) -> SampleBlock:
        """Return the next block up to `until_ns` and advance the clock to its end; the rest stays for the next call."""
        n = -(-(until_ns - block.t0_ns) // block.dt_ns)
        if n < block.counts.shape[0]:
            remainder = replace(
                block, first_sample=block.first_sample + n, t0_ns=block.t0_ns + n * block.dt_ns, counts=block.counts[n:]
            )
            block = replace(block, counts=block.counts[:n])
            self._next = (0, remainder)
        else:
            self._next = next(self._blocks, None)
        self.advance(block.t0_ns + block.counts.shape[0] * block.dt_ns)
        return block


def _extent(hops: NDArray[Any], dt_ns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[ns] of the first sample of each hop and of the first one after it."""
    zero = hops["t_ns"] - hops["sample_stop"] * dt_ns
    return zero + hops["sample_start"] * dt_ns, zero + (hops["sample_top"] + 1) * dt_ns


def _slope(first: Reading, second: Reading) -> float:
    """dE/dt [V/s] between two rows."""
    return (second.potential - first.potential) / ((second.t_ns - first.t_ns) * 1e-9)


def _carried(row: Reading, program: float, slope: float, now: int) -> Reading:
    """A row extrapolated under the same control, with `program` and `slope` [V/s] of set point and potential."""
    seconds = (now - row.t_ns) * 1e-9
    return replace(
        row,
        t_ns=now,
        potential=row.potential + slope * seconds,
        charge=row.charge + row.current * seconds,
        set_point=None if row.set_point is None else row.set_point + program * seconds,
    )
