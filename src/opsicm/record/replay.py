"""A stored run as the stream it once was: header, facts, blocks, hops and slow rows, in order, at any speed.

What comes out may go into any `Recorder`: the run recorded from it analyses to identical results, because counts,
records and rows are passed on as they are, never converted to SI and back.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from opsicm.facts.channel import Channel
from opsicm.facts.fact import Fact
from opsicm.facts.hop import HOP_DTYPE
from opsicm.facts.samples import SampleBlock
from opsicm.record.reader import Run, channels_of
from opsicm.record.recorder import Header, Reading, Recorder
from opsicm.record.run_layout import MISSING

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
        return Header(run.title, run.started_utc, run.experiment_text, run.rig_text, channels, dt_ns,
                      run.parameters, provenance)  # fmt: skip

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
