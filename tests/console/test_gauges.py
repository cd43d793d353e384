"""Gauges: their numbers are the run's; one that is not renewed is stale, whatever it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from opsicm.console.gauges import STALE, Gauge, Renewals, gauges_of
from opsicm.console.snapshot import StoredRun
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve
from opsicm.record.reader import Run

SECOND = 1_000_000_000


def test_a_gauge_that_is_not_renewed_is_stale() -> None:
    now = [0]
    renewals = Renewals(lambda: now[0])
    gauge = Gauge("tip", "tip", 100.0, "%", 12.0, "")
    assert not renewals.record(gauge, True)["stale"]
    now[0] = round(STALE * SECOND) + 1
    stale = renewals.record(gauge, True)
    assert stale["stale"]
    assert stale["age_s"] == pytest.approx(STALE)
    assert not renewals.record(gauge, False)["stale"], "a run that is over has no present"
    dead = renewals.record(gauge, False, 60.0)
    assert (dead["stale"], dead["age_s"]) == (True, 60.0), "of a run that died all is"
    assert not renewals.record(Gauge("tip", "tip", 100.0, "%", 12.5, ""), True)["stale"], "renewed with the same value"


def test_the_numbers_are_those_of_the_run(short_run: Run) -> None:
    with StoredRun(short_run.path) as stored:
        seen = stored.until(60.0)
        gauges = {one.key: one for one in gauges_of(seen, {"pipette_share": 0.5, "t_s": 61.0}, Path("/"), 9.0)}
    row = int((short_run.cell["t_ns"].values <= 60e9).sum()) - 1
    assert gauges["cell_potential"].value == short_run.cell["potential"].values[row]
    assert gauges["cell_current"].value == pytest.approx(1e3 * short_run.cell["current"].values[row])
    assert gauges["cell_potential"].t == pytest.approx(short_run.cell["t_ns"].values[row] * 1e-9)
    assert gauges["bias_residual"].value == pytest.approx(1e3 * short_run.slow["bias_residual"].values[row])
    assert (gauges["tip"].value, gauges["tip"].warns) == (50.0, True), "half of a tip's current is no good tip"
    assert gauges["backlog"].warns
    good = short_run.hops["outcome"].values == 0
    t, z = short_run.hops["t_ns"].values[good] * 1e-9, short_run.hops["z_stop"].values[good]
    last = (t >= seen.t - 60.0) & (t <= seen.t)
    assert gauges["drift"].value is not None
    rise = (z[last][-20:].mean() - z[last][:20].mean()) * 60e9 / (t[last][-20:].mean() - t[last][:20].mean())
    assert gauges["drift"].value == pytest.approx(rise, rel=0.5, abs=20.0)


def test_cross_talk_is_the_drift_over_the_slope_of_the_approach_curve(short_run: Run) -> None:
    with StoredRun(short_run.path) as stored:
        seen = stored.until(60.0)
    (gauge,) = (one for one in gauges_of(seen, {}, None, None) if one.key == "cross_talk")
    assert gauge.value is not None
    assert gauge.u is not None
    hops = seen.hops.isel(hop=slice(-40, None))
    slope = np.polyfit(hops["t_ns"].values * 1e-9, np.log(hops["i_ref"].values), 1)[0]
    approach = float(np.median(hops["sample_stop"] - hops["sample_fall"])) * 1e-5
    curve = approach_curve(Pipette(radius=50e-9))
    ends = curve.relative_current(curve.distance(np.array(0.98)) + np.array([-1e-10, 1e-10]))
    expected = abs(slope) * approach * 0.98 / (float(np.diff(ends)[0]) / 2e-10) * 1e9
    assert gauge.value == pytest.approx(expected, abs=3.0 * gauge.u + 0.3 * expected)
    assert gauge.t == pytest.approx(seen.hops["t_ns"].values[-1] * 1e-9)


def test_cross_talk_says_why_it_is_not_known(short_run: Run, raster: Path) -> None:
    with StoredRun(short_run.path) as stored:
        begin = stored.until(1.0)
        few = {one.key: (one.value, one.why) for one in gauges_of(begin, {}, None, None)}
    assert few["cross_talk"] == (None, "11 good hops; 31 are needed: hop for longer")
    with StoredRun(raster) as stored:
        whole = {one.key: (one.value, one.why) for one in gauges_of(stored.whole, {}, None, None)}
    assert whole["cross_talk"] == (None, "the pipette's radius or the sample rate is not stated")
    assert whole["drift"] == (None, "no point was hopped 5 times within the last minute")


def test_what_is_not_known_is_not_shown(raster: Path) -> None:
    with StoredRun(raster) as stored:
        keys = {one.key: one.value for one in gauges_of(stored.whole, {}, None, None)}
    assert "tip" not in keys
    assert "disk" not in keys
    assert keys["drift"] is None, "an image has no point that is hopped again within a minute"
