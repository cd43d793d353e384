"""A run at a moment: what was recorded until then, of a run in progress or of a stored one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from opsicm.core.facts import Fact
from opsicm.record.follow import LiveRun
from opsicm.record.reader import Run
from opsicm.results.run_results import Counts

SAMPLES_KEPT = 1 << 21  # of a run in progress, some 6 MB: a line of 128 pixels has about 10⁶


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Arrays as the run file holds them, and the facts, until `t` [s] of the run; the `samples` of its last hop, empty
    where they are not kept, and `counts` to read those of others. `parameters` as the header states them."""

    title: str
    experiment_text: str
    hops: xr.Dataset
    cell: xr.Dataset
    slow: xr.Dataset
    facts: tuple[Fact, ...]
    samples: xr.Dataset
    parameters: Mapping[str, Any]
    sample_period: float  # [s]; 0 where nothing was sampled
    counts: Counts

    @property
    def t(self) -> float:
        """Time of the last row or hop [s]."""
        ends = [table["t_ns"].values[-1] for table in (self.hops, self.cell) if table["t_ns"].size]
        return float(max(ends, default=0)) * 1e-9


def live_snapshot(run: LiveRun) -> Snapshot:
    """What a run in progress has recorded so far."""
    header, hops = run.header, run.hops
    samples = xr.Dataset()
    if hops.sizes["hop"]:
        segment, first, stop = (int(hops[name].values[-1]) for name in ("segment", "sample_start", "sample_top"))
        samples = run.samples(segment, first, stop + 1)
    title, text = ("", "") if header is None else (header.title, header.experiment_text)
    parameters, period = ({}, 0.0) if header is None else (header.parameters, header.dt_ns * 1e-9)
    return Snapshot(title, text, hops, run.cell, run.slow, run.facts, samples, parameters, period, run.counts)


class StoredRun:
    """A stored run that is looked at as if it went on; its arrays are read once. A context manager."""

    def __init__(self, path: Path) -> None:
        self._run = Run(path)
        self.path = self._run.path

    def __enter__(self) -> StoredRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its file. May be called twice."""
        self._run.close()

    @cached_property
    def whole(self) -> Snapshot:
        """All of it, without samples."""
        run = self._run
        return Snapshot(
            run.title,
            run.experiment_text,
            run.hops,
            run.cell,
            run.slow,
            run.facts,
            xr.Dataset(),
            run.parameters,
            run.dt_ns * 1e-9,
            run.counts,
        )

    @cached_property
    def duration(self) -> float:
        """From the beginning to the last fact or row [s]."""
        return max(self.whole.t, max((fact.t_ns for fact in self.whole.facts), default=0) * 1e-9)

    def until(self, t: float) -> Snapshot:
        """What was recorded until `t` [s]."""
        whole, t_ns = self.whole, round(t * 1e9)
        hops, cell, slow = (
            table.isel({name: slice(0, int(np.searchsorted(table["t_ns"].values, t_ns, "right")))})
            for table, name in ((whole.hops, "hop"), (whole.cell, "row"), (whole.slow, "row"))
        )
        facts = tuple(fact for fact in whole.facts if fact.t_ns <= t_ns)
        samples = self._run.trace(hops.sizes["hop"] - 1) if hops.sizes["hop"] else xr.Dataset()
        return replace(whole, hops=hops, cell=cell, slow=slow, facts=facts, samples=samples)
