"""No pipette stands where a swelling surface comes to: parked, between steps, skipped, paused, waiting for an event.

The specimen rises by 0.8 µm within 50 s. What counts is the twin's true distance, which no instrument knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from faults.steered_run import MemoryRecorder, run_steered
from opsicm.cli.check import checked_run
from opsicm.forecast.prediction import HopPrediction
from opsicm.instruments.roles import CellReading, HopPlan, PlanOutcome, Rig
from opsicm.runner.commands import Command
from tests.fixtures.laboratory import RIG, TEXT, Laboratory

S = 1_000_000_000
HEAD = TEXT[: TEXT.index("cell:")]
FLAT = RIG.replace("{kind: rough, rq_nm: 300, correlation_nm: 1500, size_um: 20, pixels: 128}", "{kind: flat}")
SWELLS = "  - sweep: {from_V: 0.4, to_V: 0.0, rate_mV_s: 8, cycles: 1, ir_compensation_pct: 97}\n"
HOP = "  - hop: {at_um: [0, 0], amplitude_nm: 300, fall_nm_per_ms: 30, setpoint_pct: 2.0"
FAR = 40e-6  # [m] above the surface: a pipette that waits is farther


class Distances:
    """The true distance [m] from tip to surface whenever the potentiostat is read, and its time [ns]."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, float]] = []

    def watch(self, rig: Rig) -> None:
        """Watch a twin's rig."""
        probe, read = rig.scanner._probe, rig.potentiostat.read  # type: ignore[attr-defined]

        def reading() -> CellReading:
            now = rig.clock.now_ns()
            self.rows.append((now, probe.world.coarse_z(now) + probe.z - probe.below(now)))
            return read()

        rig.potentiostat.read = reading  # type: ignore[method-assign]

    def between(self, first_s: float, last_s: float) -> np.ndarray:
        """The distances of a span of time."""
        return np.array([d for t, d in self.rows if first_s * S <= t <= last_s * S])


def watched(
    laboratory: Laboratory,
    probe: str,
    commands: Sequence[tuple[int, Command]] = (),
    cell: str = SWELLS,
    rig: str = FLAT,
) -> tuple[MemoryRecorder, Distances]:
    envelope = "envelope: {cell_V: [-0.6, 2.0], bias_mV: 1000}\n"
    text = f"{HEAD}cell:\n{cell}{'probe:' if probe else ''}\n{probe}{envelope}"
    distances = Distances()
    kept = run_steered(laboratory.experiment(text, rig), commands, change=distances.watch)
    assert kept.ending is not None
    assert kept.ending.outcome == "completed", kept.ending.error
    assert min(d for _, d in distances.rows) > 0.0, "the tip has touched"
    return kept, distances


def predicted_hops(laboratory: Laboratory, probe: str) -> tuple[HopPrediction, ...]:
    text = f"{HEAD}cell:\n  - rest: {{for_s: 40}}\nprobe:\n{probe}"
    return checked_run(laboratory.experiment(text, FLAT), None, None).hops


@pytest.mark.parametrize("height_um", [0.015, 0.5, 1.5])
@pytest.mark.parametrize("step", ["park: {height_um: %g}", "tower: {low_um: %g, high_um: 30, speed_mm_s: 0.5}"])
def test_a_pipette_parked_too_low_is_withdrawn_before_the_surface_comes(
    laboratory: Laboratory, step: str, height_um: float
) -> None:
    kept, distances = watched(laboratory, f"  - {step % height_um}\n")
    assert np.max(distances.between(0, 100)) < 90e-6
    if step.startswith("park"):
        (alarm,) = kept.kinds("alarm")
        assert alarm.step == "probe[0]"
        assert "the swelling surface is expected to come near the pipette" in alarm.data["message"]
        assert 0.4 * height_um * 1e-6 <= alarm.data["rise_m"] < 0.4 * height_um * 1e-6 + 0.1e-6
        assert np.min(distances.between(alarm.t_ns / S + 1, 100)) > FAR


def test_a_pipette_parked_high_enough_stays(laboratory: Laboratory) -> None:
    kept, distances = watched(laboratory, "  - park: {height_um: 8}\n")
    assert not kept.kinds("alarm")
    assert np.max(distances.between(1, 100)) < 8.1e-6


SKIP = [(10 * S, Command("skip"))]
PAUSE = [(10 * S, Command("pause-probe"))]
LATER = "  - rest: {for_s: 5}\n"
# What the probe does, commands, the cell program, and the span [s] in which it has no task.
IDLE = {
    "no probe program": ("", [], SWELLS, (1, 99)),
    "after the last step": (HOP + ", for_s: 10}\n", [], SWELLS, (11, 99)),
    "after a count": (HOP + ", hops: 20}\n", [], SWELLS, (11, 99)),
    "skip of a hop": (HOP + "}\n", SKIP, SWELLS, (12, 99)),
    "skip of a park": ("  - park: {height_um: 8}\n", SKIP, SWELLS, (12, 99)),
    "pause": (HOP + "}\n", PAUSE, SWELLS, (12, 99)),
    "pause of a park": ("  - park: {height_um: 8}\n", PAUSE, SWELLS, (12, 99)),
    "before its cell step": (HOP + ", during: 'cell[1]'}\n", [], SWELLS + LATER, (1, 99)),
    "after its cell step": (HOP + ", during: 'cell[0]'}\n", [], LATER + SWELLS, (7, 99)),
    "before an event": (HOP + ", hops: 10, at: {potential_V: [0.01]}}\n", [], SWELLS, (1, 42)),
    "after an event": (HOP + ", hops: 10, at: {potential_V: [0.01]}}\n", [], SWELLS, (44, 55)),
    "an exchanged tip": ("  - exchange_tip: {note: another}\n", [], SWELLS, (1, 99)),
    "after an engagement": ("  - engage: {fall_nm_per_ms: 30, setpoint_pct: 2.0, step_um: 2}\n", [], SWELLS, (5, 99)),
}


@pytest.mark.parametrize("name", IDLE)
def test_a_pipette_without_a_task_waits_far_up(laboratory: Laboratory, name: str) -> None:
    probe, commands, cell, span = IDLE[name]
    _, distances = watched(laboratory, probe, commands, cell)
    assert np.min(distances.between(*span)) > FAR


def test_a_pipette_that_comes_back_knows_that_the_surface_has_risen(laboratory: Laboratory) -> None:
    """Paused from 5 to 45 s: hopping begins again at the start height above the surface as it is then."""
    commands = [(5 * S, Command("pause-probe")), (45 * S, Command("resume-probe"))]
    kept, _ = watched(laboratory, HOP + "}\n", commands)
    hops = kept.hops_of("probe[0]")
    after = hops[hops["t_ns"] > 45 * S]
    assert after.size > 10
    assert np.all(after["outcome"] == 0)
    assert -3.2e-6 < after["z_stop"][0] < -2.8e-6, "3 µm above the surface as it is then"


def test_a_hop_longer_than_a_turn_of_the_run_is_made(laboratory: Laboratory) -> None:
    """An approach of 3 s, and 6 s for the first one: no turn of a second ever had room for it."""
    probe = "  - hop: {at_um: [0, 0], amplitude_nm: 1500, fall_nm_per_ms: 0.5, setpoint_pct: 2.0}\n"
    kept, _ = watched(laboratory, probe, cell="  - rest: {for_s: 40}\n")
    hops = kept.hops_of("probe[0]")
    assert 8 <= hops.size <= 12
    assert np.all(hops["outcome"] == 0)
    (prediction,) = predicted_hops(laboratory, probe)
    assert hops.size == pytest.approx(prediction.hops, abs=2)


def test_a_step_that_begins_on_a_higher_flake_goes_over_it(laboratory: Laboratory) -> None:
    """From a line's end 3 µm below the origin's flake the tip would go sideways into it."""
    rig = (Path(__file__).parents[2] / "src/opsicm/presets/twin-graphite.yaml").read_text(encoding="utf-8")
    raster = "raster: {center_um: [0, 0], size_um: [4, 4], pixels: [8, 8], amplitude_nm: 4000, fall_nm_per_ms: 30, "
    probe = f"  - {raster}setpoint_pct: 2.0, passes: 1}}\n{HOP.replace('300', '1000')}, hops: 10}}\n"
    text = f"{HEAD}cell:\n  - rest: {{for_s: 40}}\nprobe:\n{probe}envelope: {{approach_um: 8}}\n"
    loaded = laboratory.experiment(text, rig.replace("initial_V: 1.2", "initial_V: 0.4"))
    closest: list[float] = []

    def watch(rig: Rig) -> None:
        plain = rig.hop_controller.run

        def run(plan: HopPlan, stop: Callable[[], bool]) -> PlanOutcome:
            outcome = plain(plan, stop)
            closest.append(rig.hop_controller.closest_gap)  # type: ignore[attr-defined]
            return outcome

        rig.hop_controller.run = run  # type: ignore[method-assign]

    kept = run_steered(loaded, change=watch)
    assert kept.hops_of("probe[1]").size == 10
    assert closest[-1] > 0.0


def test_a_hop_that_waits_for_a_steady_current_does_not_wait_near_the_surface(laboratory: Laboratory) -> None:
    """Without compensation the bulk current drifts too fast for a slow approach; 50 nm up, the surface would touch."""
    rig = FLAT.replace("amplifier_fA_rtHz: 15", "amplifier_fA_rtHz: 0").replace("height_um: 3", "height_um: 0.5")
    hop = "  - hop: {at_um: [0, 0], amplitude_nm: 50, fall_nm_per_ms: 0.1, setpoint_pct: 0.5}\n"
    cell = SWELLS.replace(", ir_compensation_pct: 97", "")
    kept, _ = watched(laboratory, hop, cell=cell, rig=rig)
    assert [fact.data["message"] for fact in kept.kinds("quality")].count("waiting at the top") > 3
    assert kept.hops_of("probe[0]").size > 20
