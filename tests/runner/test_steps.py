"""Every step of the vocabulary, executed on the twin: what it does and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.experiment.controls import control_from_data
from opsicm.instruments.roles import Rig
from opsicm.physics.cell.trace import Trace
from opsicm.record.validate import validate
from opsicm.runner.commands import Command
from opsicm.twin.coarse_motion import CoarseMotion
from opsicm.twin.hop_controller import TwinHopController
from opsicm.twin.specimen import Footprint
from tests.fixtures.laboratory import RIG, TEXT, Laboratory
from tests.fixtures.scripted import MemoryRecorder, run

F64 = NDArray[np.float64]

S = 1_000_000_000
HOP = "amplitude_nm: 1000, fall_nm_per_ms: 60, setpoint_pct: 2.0"
FLAT = RIG.replace("{kind: rough, rq_nm: 300, correlation_nm: 1500, size_um: 20, pixels: 128}", "{kind: flat}")


def text(cell: str, probe: str = "", envelope: str = "cell_V: [-0.6, 2.5]") -> str:
    """An experiment with these steps, one a line."""
    programs = "cell:\n" + "".join(f"  - {line}\n" for line in cell.strip().splitlines())
    if probe:
        programs += "probe:\n" + "".join(f"  - {line}\n" for line in probe.strip().splitlines())
    head = "opsicm: 1\ntitle: steps\nrig: twin/graphite\npipette: {bias_V: 0.7}\nspecimen: {loading_mg_cm2: 0.1}\n"
    return f"{head}{programs}envelope: {{{envelope}}}\n"


def stands_at(rig: Rig, height: float) -> None:
    """Let the operator have left the pipette at `height` [m]."""
    assert isinstance(rig.hop_controller, TwinHopController)
    rig.hop_controller.world.coarse = CoarseMotion(height, 5e-4)


def controls(kept: MemoryRecorder) -> list[tuple[str, str, float]]:
    """(step, control, s) of everything applied."""
    return [
        (fact.step, repr(control_from_data(fact.data["control"])), fact.data["at_ns"] * 1e-9)
        for fact in kept.kinds("applied")
        if "at_ns" in fact.data
    ]


def notes(kept: MemoryRecorder, message: str) -> list[dict[str, float]]:
    """The data of notes that say `message`."""
    return [dict(fact.data) for fact in kept.kinds("note") if fact.data["message"] == message]


# -- cell -----------------------------------------------------------------------------------------------------


def test_a_ladder_holds_every_level_and_rests_at_each(laboratory: Laboratory) -> None:
    kept = run(
        laboratory,
        text(
            "ladder: {from_V: 0.4, to_V: 0.1, step_mV: 100, rest_s: 3, hold_s: 4}",
            f"park: {{height_um: 10}}\nhop: {{at_um: [0, 0], {HOP}, hops: 3, at: {{after_each: rest}}}}",
        ),
    )
    levels = [
        (f"PotentialRamp(start={v}, slope=0.0, ir_compensation=0.0)", 7.0 * k)
        for k, v in enumerate((0.4, 0.3, 0.2, 0.1))
    ]
    assert [(control, at) for _, control, at in controls(kept)] == levels
    t = kept.hops_of("probe[1]")["t_ns"] * 1e-9
    assert t.size == 12
    began = [fact.t_ns * 1e-9 for fact in kept.kinds("step_started") if fact.step == "probe[1]"]
    assert np.allclose(began, [3.0, 10.0, 17.0, 24.0], atol=1.1)
    assert all(fact.data["at"] == "rest" for fact in kept.kinds("step_started") if fact.step == "probe[1]")
    parked = np.array([row.coarse_z for row in kept.rows if row.t_ns < 3 * S][1:])
    assert np.allclose(parked, 10e-6, atol=1e-6)
    assert [row.coarse_z for row in kept.rows if 6 * S <= row.t_ns < 7 * S][-1] == pytest.approx(10e-6, abs=1e-6)


def test_gitt_alternates_pulses_and_rests_and_ends_with_the_pulse_that_reaches_its_potential(
    laboratory: Laboratory,
) -> None:
    kept = run(laboratory, text("gitt: {current_mA: -0.1, pulse_s: 3, rest_s: 4, pulses: 2}"))
    assert [(c.split("(")[0], at) for _, c, at in controls(kept)] == [
        ("ConstantCurrent", 0.0),
        ("OpenCircuit", 3.0),
        ("ConstantCurrent", 7.0),
        ("OpenCircuit", 10.0),
    ]
    assert kept.facts[-1].t_ns == pytest.approx(14 * S, abs=0.1 * S)
    ended = run(laboratory, text("gitt: {current_mA: -0.4, pulse_s: 20, rest_s: 4, until: {potential_V: 0.15}}"))
    assert [c.split("(")[0] for _, c, _ in controls(ended)][-1] == "ConstantCurrent"
    assert min(row.potential for row in ended.rows) < 0.16


def test_a_repeat_runs_its_steps_over_and_over_under_their_own_paths(laboratory: Laboratory) -> None:
    cell = "rest: {for_s: 1}\nrepeat: {times: 2, steps: [{hold: {potential_V: 0.3, for_s: 2}}, {rest: {for_s: 1}}]}"
    kept = run(laboratory, text(cell, f'hop: {{at_um: [0, 0], {HOP}, during: "cell[1]"}}'))
    assert [(path, at) for path, _, at in controls(kept)] == [
        ("cell[0]", 0.0),
        ("cell[1].0", 1.0),
        ("cell[1].1", 3.0),
        ("cell[1].0", 4.0),
        ("cell[1].1", 6.0),
    ]
    visits = [fact.data for fact in kept.kinds("step_started") if fact.step == "cell[1].0"]
    assert visits == [{}, {"visit": 1}]
    t = kept.hops_of("probe[0]")["t_ns"]
    assert t.min() > S
    assert t.max() > 6 * S


def test_a_sweep_may_start_between_its_vertices(laboratory: Laboratory) -> None:
    kept = run(
        laboratory, text("conditioning: {from_V: 0.6, to_V: 0.2, start_V: 0.4, rate_mV_s: 100, record_every_s: 0.25}")
    )
    starts = [float(c.split("start=")[1].split(",")[0]) for _, c, _ in controls(kept)]
    assert starts == pytest.approx([0.4, 0.2, 0.6])
    assert kept.facts[-1].t_ns == pytest.approx(8 * S, abs=0.1 * S)
    # 0.25 s, but where a control changes and the bias settles.
    assert np.median(np.diff(kept.column("t_ns"))) == pytest.approx(0.25 * S, rel=0.05)


def test_a_state_of_charge_ends_a_current_and_starts_a_probe_step(laboratory: Laboratory) -> None:
    cell = """
sweep: {from_V: 0.5, to_V: 0.1, rate_mV_s: 100}
constant_current: {current_mA: -0.3, until: {soc_pct: 20, for_s: 500}}
"""
    kept = run(laboratory, text(cell, f"hop: {{at_um: [0, 0], {HOP}, hops: 2, at: {{soc_pct: [10]}}}}"))
    soc = [(row.t_ns, row.soc) for row in kept.rows if row.soc is not None]
    end = [value for t, value in soc if t <= kept.facts[-1].t_ns][-1]
    assert end == pytest.approx(0.2, abs=0.02)
    (began,) = [fact.t_ns for fact in kept.kinds("step_started") if fact.track == "probe"]
    assert np.interp(began, *np.array(soc).T) == pytest.approx(0.1, abs=0.01)
    assert kept.hops_of("probe[0]").size == 2


def test_a_potential_starts_a_probe_step_each_time_it_is_passed_and_one_that_never_comes_is_noted(
    laboratory: Laboratory,
) -> None:
    probe = f"""
hop: {{at_um: [0, 0], {HOP}, hops: 1, at: {{potential_V: [0.3]}}}}
hop: {{at_um: [0, 0], {HOP}, hops: 1, at: {{potential_V: [1.9]}}}}
"""
    cell = "sweep: {from_V: 0.4, to_V: 0.1, rate_mV_s: 50}\nconstant_current: {current_mA: 0.01, until: {for_s: 1}}"
    kept = run(laboratory, text(cell, probe))
    t = kept.hops_of("probe[0]")["t_ns"] * 1e-9
    assert np.allclose(t, [2.0, 10.0], atol=1.2)
    (missed,) = [fact for fact in kept.kinds("note") if fact.track == "probe"]
    assert missed.step == "probe[1]"
    assert "never came" in missed.data["message"]


# -- probe ----------------------------------------------------------------------------------------------------


def test_a_raster_goes_there_and_back_turned_and_records_row_and_column(laboratory: Laboratory) -> None:
    raster = f"raster: {{center_um: [1, 2], size_um: [4, 2], pixels: [3, 2], rotation_deg: 90, {HOP}, passes: 2}}"
    kept = run(laboratory, text("rest: {for_s: 20}", raster), rig=FLAT)
    hops = kept.hops_of("probe[0]")
    assert hops["pixel"].tolist() == [0, 1, 2, 2, 1, 0] * 2
    assert hops["line"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    # Turned by a quarter counter-clockwise: columns go up y, rows go down x.
    assert np.allclose(hops["y"][:6] * 1e6, [0, 2, 4, 4, 2, 0])
    assert np.allclose(hops["x"][:6] * 1e6, [2, 2, 2, 0, 0, 0])
    assert set(hops["outcome"]) == {0}


def test_an_amplitude_map_gives_every_pixel_its_own_hop(laboratory: Laboratory) -> None:
    np.save(laboratory.folder / "map.npy", np.array([[500.0, 1500.0], [1000.0, 3000.0]]))
    where = "center_um: [0, 0], size_um: [2, 2], pixels: [2, 2], order: forward"
    raster = f"raster: {{{where}, {HOP}, amplitude_map: map.npy}}"
    kept = run(laboratory, text("rest: {for_s: 20}", raster), rig=FLAT)
    hops = kept.hops_of("probe[0]")
    fall = (hops["sample_stop"] - hops["sample_fall"])[1:] * 1e-5 * 60e-6
    # Each falls from the withdrawal of the one before it.
    assert np.allclose(fall, [0.5e-6, 1.5e-6, 1e-6], rtol=0.05)


def test_an_amplitude_map_inside_a_repeat_is_used_in_every_round(laboratory: Laboratory) -> None:
    np.save(laboratory.folder / "map.npy", np.array([[500.0, 1500.0], [1000.0, 3000.0]]))
    where = "center_um: [0, 0], size_um: [2, 2], pixels: [2, 2], order: forward"
    raster = f"raster: {{{where}, {HOP}, amplitude_map: map.npy}}"
    nested = f"repeat: {{times: 2, steps: [{{repeat: {{times: 1, steps: [{{{raster}}}]}}}}]}}"
    kept = run(laboratory, text("rest: {for_s: 20}", nested), rig=FLAT)
    hops = kept.hops_of("probe[0].0.0")
    fall = (hops["sample_stop"] - hops["sample_fall"]) * 1e-5 * 60e-6
    assert np.allclose(fall[[1, 2, 3, 5, 6, 7]], [0.5e-6, 1.5e-6, 1e-6] * 2, rtol=0.05)


def test_a_tower_travels_up_and_down_and_is_recorded_on_its_way(laboratory: Laboratory) -> None:
    tower = "tower: {low_um: 100, high_um: 600, speed_mm_s: 0.5, dwell_s: 0.2, record_every_s: 0.05, trips: 2}"
    kept = run(laboratory, text("rest: {for_s: 8}", tower))
    t, z = kept.column("t_ns") * 1e-9, kept.column("coarse_z")
    assert z.max() == pytest.approx(600e-6, abs=2e-6)
    travelling = (z > 150e-6) & (z < 550e-6)
    speed = np.abs(np.diff(z) / np.diff(t))[travelling[1:] & travelling[:-1]]
    assert np.median(speed) == pytest.approx(0.5e-3, rel=0.02)
    assert np.count_nonzero(travelling) >= 4 * 15
    ends = [fact.t_ns * 1e-9 for fact in kept.kinds("step_ended") if fact.step == "probe[0]"]
    assert ends[0] == pytest.approx(2 * 2 * (1.0 + 0.2) + 0.4, abs=0.6)


def test_a_pipette_sweep_ramps_the_electrode_and_returns_to_the_bias(laboratory: Laboratory) -> None:
    sweep = "pipette_sweep: {from_V: -0.5, to_V: 0.5, rate_mV_s: 200, height_um: 100}"
    kept = run(laboratory, text("rest: {for_s: 12}", sweep))
    t, bias, e = kept.column("t_ns") * 1e-9, kept.column("pipette_bias"), kept.column("potential")
    tip, current = bias + e, kept.column("pipette_current")
    inside = (t > 0.7) & (t < 10.2)
    assert tip[inside].min() == pytest.approx(-0.5, abs=0.25)
    assert tip[inside].max() == pytest.approx(0.5, abs=0.25)
    assert tip[t > 11.5] == pytest.approx(0.7, abs=2e-3)
    slope, offset = np.polyfit(tip[inside], current[inside], 1)
    assert np.max(np.abs(current[inside] - slope * tip[inside] - offset)) < 0.02e-9, "one straight line: a resistance"
    assert 1.0 / slope == pytest.approx(0.7 / current[-1], rel=0.02)
    samples = sum(block.counts.shape[0] for block in kept.blocks)
    assert samples == pytest.approx(10 * 100_000, rel=0.05)


def test_modulation_steps_the_bias_at_the_top_of_every_hop(laboratory: Laboratory) -> None:
    levels = "levels_V: [0.8, 0.6], dwell_ms: 20, blanking_ms: 2"
    kept = run(laboratory, text("rest: {for_s: 5}", f"modulate: {{at_um: [0, 0], {HOP}, {levels}, hops: 5}}"), rig=FLAT)
    hops = kept.hops_of("probe[0]")
    assert hops.size == 5
    assert set(hops["outcome"]) == {0}
    gap = hops["sample_start"][1:] - hops["sample_top"][:-1]
    assert np.all(gap >= 4000), "two levels of 20 ms at 100 kS/s between two hops"
    counts = np.concatenate([block.counts for block in kept.blocks])
    first = hops["sample_top"][0]
    at = [counts[first + k * 2000 + 500 : first + (k + 1) * 2000 - 100, 0].mean() for k in range(2)]
    assert at[0] / at[1] == pytest.approx(0.8 / 0.6, rel=0.02)
    # Back at the bias before the reference is taken.
    assert np.all(np.abs(hops["bias_residual"]) < 1e-3)
    assert hops["i_ref"].std() / hops["i_ref"].mean() < 2e-3


def test_zero_measures_the_offset_and_a_new_tip_is_a_fact(laboratory: Laboratory) -> None:
    kept = run(laboratory, text("rest: {for_s: 4}", "zero: {for_s: 2}\nexchange_tip: {note: second}"))
    (zero,) = notes(kept, "amplifier offset at zero bias")
    # The diffusion potential and the ohmic drop vanish at rest: what is left is noise.
    assert abs(zero["offset_A"]) < 5 * zero["u_A"] + 1e-14
    assert zero["n"] > 30
    (exchanged,) = kept.kinds("tip_exchanged")
    assert exchanged.data == {"note": "second"}
    assert kept.column("pipette_bias")[-1] + kept.column("potential")[-1] == pytest.approx(0.7, abs=2e-3)


def test_engage_finds_the_surface_from_far_and_never_steps_into_it(laboratory: Laboratory) -> None:
    seen: list[Rig] = []

    def lift(rig: Rig) -> None:
        seen.append(rig)
        stands_at(rig, 40e-6)

    probe = f"engage: {{fall_nm_per_ms: 30, setpoint_pct: 2, step_um: 30}}\nhop: {{at_um: [0, 0], {HOP}, hops: 2}}"
    kept = run(laboratory, text("rest: {for_s: 30}", probe), rig=FLAT, change=lift)
    (engaged,) = notes(kept, "engaged")
    assert engaged["surface_m"] == pytest.approx(0.0, abs=0.1e-6)
    controller = seen[0].hop_controller
    assert isinstance(controller, TwinHopController)
    assert controller.closest_gap > 10e-9
    # A step of 30 µm was asked for; no more than what the fall before it found free was taken.
    coarse = kept.column("coarse_z")
    assert np.max(-np.diff(coarse[coarse > 4e-6])) < 5e-6
    assert kept.hops_of("probe[1]").size == 2


def test_engage_gives_up_where_there_is_nothing(laboratory: Laboratory) -> None:
    def lift(rig: Rig) -> None:
        stands_at(rig, 5e-3)

    probe = "engage: {fall_nm_per_ms: 1000, setpoint_pct: 8, step_um: 100}"
    quick = FLAT.replace("latency_us: 300", "latency_us: 1")
    kept = run(laboratory, text("rest: {for_s: 3000}", probe), rig=quick, change=lift)
    assert kept.ending is not None
    assert "surface is not met" in str(kept.ending.error)


class Shifted:
    """A specimen that lies otherwise under the scanner than the one it stands for: `where` moves x, y; `rise` adds."""

    def __init__(
        self,
        rig: Rig,
        where: Callable[[F64, F64, bool], tuple[F64, F64]],
        rise: Callable[[F64, F64], F64],
        from_ns: int,
    ) -> None:
        assert isinstance(rig.hop_controller, TwinHopController)
        self._world = rig.hop_controller.world
        self._plain, self._where, self._rise, self._from_ns = self._world.specimen, where, rise, from_ns
        self._world.specimen = self  # type: ignore[assignment]

    @property
    def version(self) -> int:
        return int(self._world.now_ns > self._from_ns)

    def footprint(self, x: F64, y: F64) -> Footprint:
        plain = self._plain.footprint(*self._where(x, y, self._world.now_ns > self._from_ns))
        return replace(plain, height=plain.height + self._rise(x, y))

    @property
    def displacement(self) -> F64:
        return self._plain.displacement

    def advance(self, dt: float, trace: Trace) -> F64:
        return self._plain.advance(dt, trace)

    def keep(self) -> Any:
        return self._plain.keep()

    def go_back(self, kept: Any) -> None:
        self._plain.go_back(kept)


def test_a_tilt_survey_fits_the_plane_that_is_there(laboratory: Laboratory) -> None:
    def tilt(rig: Rig) -> None:
        Shifted(rig, lambda x, y, _: (x, y), lambda x, y: 0.01 * x - 0.02 * y, 0)

    survey = f"tilt: {{center_um: [0, 0], size_um: [20, 20], points: 4, {HOP}}}"
    kept = run(laboratory, text("rest: {for_s: 10}", survey), rig=FLAT, change=tilt)
    (found,) = notes(kept, "tilt")
    assert found["n"] == 16
    # 0.7 nm of height noise over 20 µm and 16 points: 3e-5.
    assert found["slope_x"] == pytest.approx(0.01, abs=1e-4)
    assert found["slope_y"] == pytest.approx(-0.02, abs=1e-4)
    assert found["rms_m"] < 3e-9


def test_a_return_to_a_landmark_finds_how_far_the_specimen_has_moved(laboratory: Laboratory) -> None:
    moved = (0.6e-6, -0.4e-6)

    def drift(rig: Rig) -> None:
        Shifted(
            rig, lambda x, y, late: (x - moved[0] * late, y - moved[1] * late), lambda x, _: np.zeros_like(x), 30 * S
        )

    area = "center_um: [0, 0], size_um: [6, 6], pixels: [24, 24]"
    probe = f"""
landmark: {{name: corner, {area}, {HOP}}}
park: {{height_um: 10, for_s: 30}}
return_to: {{name: corner}}
hop: {{at_um: [1, 1], {HOP}, hops: 2}}
"""
    kept = run(laboratory, text("rest: {for_s: 120}", probe), change=drift)
    (returned,) = notes(kept, "returned")
    pixel = 6e-6 / 23
    assert np.allclose(returned["shift_m"], moved, atol=0.3 * pixel)
    hops = kept.hops_of("probe[3]")
    assert np.allclose(hops["x"], 1e-6 + returned["shift_m"][0])  # type: ignore[index]
    assert np.allclose(hops["y"], 1e-6 + returned["shift_m"][1])  # type: ignore[index]


def test_a_probe_step_suspended_by_an_event_goes_on_where_it_was(laboratory: Laboratory) -> None:
    probe = f"""
line: {{from_um: [0, 0], to_um: [2, 0], pixels: 3, {HOP}, passes: 60}}
hop: {{at_um: [5, 5], {HOP}, hops: 4, at: {{after_each: rest}}}}
"""
    kept = run(laboratory, text("hold: {potential_V: 0.4, for_s: 2}\nrest: {for_s: 10}", probe), rig=FLAT)
    line, point = kept.hops_of("probe[0]"), kept.hops_of("probe[1]")
    assert point.size == 4
    assert line["pixel"].tolist() == [0, 1, 2] * 60
    during = (line["t_ns"] > point["t_ns"][0]) & (line["t_ns"] < point["t_ns"][-1])
    assert not during.any()
    assert line["t_ns"].min() < point["t_ns"].min() < point["t_ns"].max() < line["t_ns"].max()
    assert len(set(line["segment"])) == 2, "a gap in time begins a segment"


def test_a_step_is_repeated_at_equal_intervals_during_its_cell_step(laboratory: Laboratory) -> None:
    """At 0, 6, 12 … s of its cell step, to its own end each time; what ran before goes on in between."""
    probe = f"""
hop: {{at_um: [0, 0], {HOP}, hops: 5, every_min: 0.1, during: "cell[1]"}}
park: {{height_um: 10}}
"""
    kept = run(laboratory, text("rest: {for_s: 5}\nrest: {for_s: 20}\nrest: {for_s: 9}", probe), rig=FLAT)
    began = [fact.t_ns * 1e-9 for fact in kept.kinds("step_started") if fact.step == "probe[0]"]
    assert began == pytest.approx([5.0, 11.0, 17.0, 23.0], abs=0.05)
    assert kept.hops_of("probe[0]").size == 20
    assert [fact.step for fact in kept.kinds("step_started") if fact.track == "probe"].count("probe[1]") == 1
    between = [row.coarse_z for row in kept.rows if 9 * S < row.t_ns < 11 * S or row.t_ns > 26 * S]
    assert between == pytest.approx(np.full(len(between), 10e-6), abs=1e-6)


def test_an_image_a_repetition_begins_before_the_cell_step_ends_ends_with_it(laboratory: Laboratory) -> None:
    probe = f'hop: {{at_um: [0, 0], {HOP}, hops: 200, every_min: 0.3, during: "cell[0]"}}'
    kept = run(laboratory, text("rest: {for_s: 20}\nrest: {for_s: 5}", probe), rig=FLAT)
    ended = [fact.t_ns * 1e-9 for fact in kept.kinds("step_ended") if fact.step == "probe[0]"]
    assert ended[-1] == pytest.approx(20.0, abs=0.1)
    assert len(ended) == 2


def test_a_repetition_that_is_not_over_is_not_made_up_for(laboratory: Laboratory) -> None:
    probe = f"hop: {{at_um: [0, 0], {HOP}, hops: 200, every_min: 0.05}}"
    kept = run(laboratory, text("rest: {for_s: 12}", probe), rig=FLAT)
    began = [fact.t_ns * 1e-9 for fact in kept.kinds("step_started") if fact.step == "probe[0]"]
    left_out = [fact for fact in kept.kinds("note") if "left out" in str(fact.data["message"])]
    assert len(began) < 4
    assert len(began) + len(left_out) == 4, "at 0, 3, 6 and 9 s"
    assert all(round(at, 1) % 3.0 == pytest.approx(0.0, abs=0.11) for at in began)


def test_repeated_probe_steps_run_in_rounds(laboratory: Laboratory) -> None:
    steps = f"[{{park: {{height_um: 10, for_s: 1}}}}, {{hop: {{at_um: [0, 0], {HOP}, hops: 3}}}}]"
    kept = run(laboratory, text("rest: {for_s: 10}", f"repeat: {{times: 2, steps: {steps}}}"), rig=FLAT)
    assert [fact.step for fact in kept.kinds("step_started") if fact.track == "probe"] == [
        "probe[0].0",
        "probe[0].1",
        "probe[0].0",
        "probe[0].1",
    ]
    assert kept.hops_of("probe[0].1").size == 6


def test_the_runs_numbers_are_the_same_however_often_a_row_is_kept(laboratory: Laboratory) -> None:
    sparse = run(laboratory, text("hold: {potential_V: 0.3, for_s: 30, record_every_s: 5}"))
    assert len(sparse.rows) < 12
    dense = run(laboratory, text("hold: {potential_V: 0.3, for_s: 30}"))
    then = np.interp(sparse.rows[-1].t_ns, dense.column("t_ns"), dense.column("charge"))
    assert sparse.rows[-1].charge == pytest.approx(then, rel=1e-3)
    assert replace(sparse.rows[0]) == replace(dense.rows[0])


def test_a_rest_after_a_cut_off_lasts_as_long_as_it_says(laboratory: Laboratory) -> None:
    # The potentiostat still shows the cut-off of the current before when the rest begins.
    cell = """
constant_current: {current_mA: -0.05, until: {potential_V: 0.15, for_s: 500}}
rest: {for_s: 20}
constant_current: {current_mA: 0.05, until: {potential_V: 0.6, for_s: 500}}
"""
    kept = run(laboratory, text(cell))
    (_, _, first), (_, _, rest), (_, _, second), *_ = controls(kept)
    assert 0.5 < rest - first < 500.0
    assert second - rest == pytest.approx(20.0, abs=1e-6)


CC_CV = """
constant_current: {current_mA: -0.05, until: {potential_V: 0.15, for_s: 500}}
hold: {potential_V: 0.15, until: {current_mA: 0.01}}
rest: {for_s: 5}
"""


@pytest.mark.parametrize("latency_ms", [0, 150])
def test_a_hold_ends_when_its_current_has_fallen(laboratory: Laboratory, latency_ms: int) -> None:
    """CC-CV. Right after the cut-off the cell is open and passes nothing: that is no current that has fallen, and a
    potentiostat that answers late shows it for longer."""
    kept = run(laboratory, text(CC_CV), rig=RIG.replace("initial_V: 0.4", f"initial_V: 0.4, latency_ms: {latency_ms}"))
    _, (path, held, began), (_, _, ended), *_ = controls(kept)
    assert (path, held) == ("cell[1]", "PotentialRamp(start=0.15, slope=0.0, ir_compensation=0.0)")
    assert ended - began > 5.0
    t, current = kept.column("t_ns") * 1e-9, kept.column("current")
    lasted = (t > began + 0.5) & (t < ended)
    above = current[lasted] < -0.01e-3  # lithiates
    assert np.all(above[:-2])
    assert not above[-1] or ended - t[lasted][-1] <= 1.1 + latency_ms * 1e-3


def test_a_pause_of_the_cell_does_not_end_a_hold_by_its_current(laboratory: Laboratory) -> None:
    began = controls(run(laboratory, text(CC_CV)))[1][2]
    at = round((began + 2.0) * S)
    kept = run(laboratory, text(CC_CV), [(at, Command("pause-cell")), (at + 5 * S, Command("resume-cell"))])
    again = [one for one in controls(kept) if one[0] == "cell[1]"]
    assert [control[:4] for _, control, _ in again] == ["Pote", "Open", "Pote"]
    rests = next(since for step, _, since in controls(kept) if step == "cell[2]")
    assert rests - again[2][2] > 1.0


AT_REST = "  - hold: {potential_V: 0.4, for_s: 2}"


@pytest.mark.parametrize(
    ("cell", "probe"),
    [
        (f"  - rest: {{for_s: 0.3}}\n{AT_REST}", f"  - hop: {{at_um: [0, 0], during: 'cell[1]', {HOP}}}"),
        (AT_REST, f"  - park: {{height_um: 600, for_s: 0.4}}\n  - hop: {{at_um: [0, 0], for_s: 0.5, {HOP}}}"),
        (AT_REST, "\n".join(f"  - hop: {{at_um: [{x}, 0], for_s: 0.5, {HOP}}}" for x in (9, 0))),
    ],
    ids=["after a rest", "after a park", "after hops elsewhere"],
)
def test_no_segment_has_a_hole_where_the_coarse_stage_travels(laboratory: Laboratory, cell: str, probe: str) -> None:
    """Sample k of a segment is at t0 + k dt: samples before a hole of 52 ms would shift those behind it."""
    head, _, _ = TEXT.partition("cell:")
    with laboratory.run(f"{head}cell:\n{cell}\nprobe:\n{probe}\nenvelope: {{cell_V: [-0.6, 2.0]}}\n") as run:
        assert run.hops.sizes["hop"] >= 3
        assert [one for one in validate(run.path) if not one.ok] == []
        for number in range(run.hops.sizes["hop"]):
            t = run.trace(number)["t_ns"].values
            assert t[0] <= int(run.hops["t_ns"].values[number]) <= t[-1]
