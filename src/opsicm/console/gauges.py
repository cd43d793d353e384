"""The numbers beside the figures: how the tip, the record and the disk are, each with the time at which it was so.

A number is shown as present only while it is: one that was not renewed for `STALE` seconds is called stale, with its
age, whatever it says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from opsicm.analysis.hops.cross_talk import height_cross_talk
from opsicm.analysis.hops.height_change import step_passes
from opsicm.analysis.hops.series import hop_series
from opsicm.console.snapshot import Snapshot
from opsicm.core.statistics import straight_line
from opsicm.instruments.clock import monotonic_ns
from opsicm.physics.pipette.tip_field import approach_curve
from opsicm.record import run_folder
from opsicm.results.run_results import pipette_of

STALE: Final = 5.0  # [s] of the wall clock: a run reports about once a second
_RECENT: Final = 60.0  # [s] of the run, over which the rate of the height is taken
_FEWEST: Final = 5  # passes
_MOST_HOPS: Final = 120  # whose drift is looked at
_USUAL_TALK: Final = 0.1  # of the distance at which a hop stops


@dataclass(frozen=True, slots=True)
class Gauge:
    """`value` with its standard uncertainty `u`, where it has one, in `unit`; measured at `t` [s] of the run.

    `note` says what it is, `why` why it is not known where `value` is None. `warns`: out of its usual range.
    """

    key: str
    label: str
    value: float | None
    unit: str
    t: float
    note: str
    warns: bool = False
    u: float | None = None
    why: str = ""


class Renewals:
    """When each gauge was renewed last, on the wall clock."""

    def __init__(self, clock: Callable[[], int] = monotonic_ns) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[float, int]] = {}

    def record(self, gauge: Gauge, live: bool, died_s: float | None = None) -> dict[str, Any]:
        """A gauge as the page gets it, with its age on the wall clock; of a run that is over nothing is stale.

        `died_s` [s] ago the last was recorded by a run that nothing drives any more and that did not end in order: all
        of it is stale, and at least as old.
        """
        now = self._clock()
        if gauge.key not in self._seen or self._seen[gauge.key][0] != gauge.t:
            self._seen[gauge.key] = gauge.t, now
        age = max((now - self._seen[gauge.key][1]) * 1e-9, died_s or 0.0)
        return {
            "key": gauge.key,
            "label": gauge.label,
            "value": gauge.value,
            "u": gauge.u,
            "unit": gauge.unit,
            "t_s": gauge.t,
            "age_s": age if live or died_s is not None else 0.0,
            "stale": died_s is not None or (live and age > STALE),
            "warns": gauge.warns,
            "note": gauge.note,
            "why": gauge.why,
        }


def gauges_of(seen: Snapshot, status: Mapping[str, Any], folder: Path | None, backlog_s: float | None) -> list[Gauge]:
    """The gauges of a snapshot; `status` is what the run's process answered last (empty: nothing), `folder` that of a
    run in progress, `backlog_s` [s] by how much its record is behind it."""
    t = seen.t
    return [
        *_cell(seen),
        *_probe(seen),
        *(() if (share := status.get("pipette_share")) is None else (_share(float(share), status),)),
        *_cross_talk(seen),
        *_height_rate(seen),
        *(() if folder is None else (_disk(folder, t),)),
        *(() if backlog_s is None else (_backlog(backlog_s, float(status.get("t_s", t))),)),
    ]


def _cell(seen: Snapshot) -> list[Gauge]:
    if not seen.cell.sizes["row"]:
        return []
    row = seen.cell.isel(row=-1)
    t = float(row["t_ns"].values) * 1e-9
    potential, current, soc = (float(row[name].values) for name in ("potential", "current", "soc"))
    gauges = [
        Gauge("cell_potential", "cell potential", potential, "V", t, "at the reference electrode, against Li/Li+"),
        Gauge("cell_current", "cell current", 1e3 * current, "mA", t, "negative lithiates"),
    ]
    if np.isfinite(soc):
        gauges.append(Gauge("soc", "state of charge", 100.0 * soc, "%", t, "since the last delithiated cut-off"))
    return gauges


def _probe(seen: Snapshot) -> list[Gauge]:
    if not seen.slow.sizes["row"]:
        return []
    row = seen.slow.isel(row=-1)
    t = float(row["t_ns"].values) * 1e-9
    residual = float(row["bias_residual"].values)
    gauges = [Gauge("pipette_current", "pipette current", 1e9 * float(row["pipette_current"].values), "nA", t, "now")]
    if np.isfinite(residual):
        note = "what the pipette's bias misses of its value against the specimen"
        gauges.append(Gauge("bias_residual", "bias residual", 1e3 * residual, "mV", t, note, abs(residual) > 5e-3))
    return gauges


def _share(share: float, status: Mapping[str, Any]) -> Gauge:
    note = "current far from the surface against the first one: a tip that clogs loses it, one that breaks gains"
    return Gauge("tip", "tip against first", 100.0 * share, "%", float(status["t_s"]), note, not 0.7 < share < 1.5)


def _cross_talk(seen: Snapshot) -> list[Gauge]:
    """The height error of a hop now, as the analysis has it, from the hops of the last minute."""
    hops = seen.hops
    if not hops.sizes["hop"]:
        return []
    t = float(hops["t_ns"].values[-1]) * 1e-9
    stated = seen.parameters.get("pipette", {})
    what = "height error of a hop, by the drift of the pipette current during its approach, whatever makes it drift"

    def unknown(why: str) -> list[Gauge]:
        return [Gauge("cross_talk", "cross-talk", None, "nm", t, what, why=why)]

    if "radius_m" not in stated or not seen.sample_period:
        return unknown("the pipette's radius or the sample rate is not stated")
    first = int(np.searchsorted(hops["t_ns"].values, round(1e9 * (t - _RECENT))))
    recent = hops.isel(hop=slice(max(first, hops.sizes["hop"] - _MOST_HOPS), None))
    recent = recent.isel(hop=np.flatnonzero(recent["segment"].values == recent["segment"].values[-1]))
    series = hop_series(recent, float(stated.get("bias_V", 0.0)))
    curve = approach_curve(pipette_of(stated))
    fall_time = float(np.median((recent["sample_stop"] - recent["sample_fall"]).values)) * seen.sample_period
    found = height_cross_talk(series, fall_time, curve)
    if not isinstance(found.trace, xr.DataArray):
        return unknown(found.reason)
    value, u = float(found.trace.values[-1]), float(found.trace["u"].values[-1])
    usual = _USUAL_TALK * 1e9 * float(curve.distance(np.array(1.0 - series.setpoint)))
    warns = value - 2.0 * u > usual
    return [Gauge("cross_talk", "cross-talk", value, "nm", float(found.trace["t"].values[-1]), what, warns, u)]


def _height_rate(seen: Snapshot) -> list[Gauge]:
    """How fast the surface under the tip rises: drift and expansion together, which one point cannot tell apart."""
    first = int(np.searchsorted(seen.hops["t_ns"].values, round(1e9 * (seen.t - _RECENT))))
    recent = seen.hops.isel(hop=slice(first, None))
    passes = [one for one in step_passes(recent, seen.slow) if one.t.size >= _FEWEST]
    note = "height of a point that is hopped again and again, last minute: drift and expansion are not told apart"
    if not passes:
        why = f"no point was hopped {_FEWEST} times within the last minute"
        unknown = Gauge("drift", "drift + expansion", None, "nm/min", seen.t, note, why=why)
        return [unknown] if seen.hops.sizes["hop"] else []
    last = max(passes, key=lambda one: float(one.t[-1]))
    rate = straight_line(last.t, last.change).slope * 60e9
    return [Gauge("drift", "drift + expansion", rate, "nm/min", float(last.t[-1]), note)]


def _disk(folder: Path, t: float) -> Gauge:
    free, total = run_folder.free(folder)
    least = run_folder.stop_below(total)
    note = f"free; a run stops below {least * 1e-9:.2g} GB"
    return Gauge("disk", "disk", free * 1e-9, "GB", t, note, free < 2.0 * least)


def _backlog(seconds: float, t: float) -> Gauge:
    note = "how far the record on the disk is behind the run"
    return Gauge("backlog", "log backlog", seconds, "s", t, note, seconds > STALE)
