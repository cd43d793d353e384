"""Thin devices: what each one's electronics add, in amounts that a closed form knows."""

from __future__ import annotations

import numpy as np
import pytest

from opsicm.cli.rigs import load_rig, prepare, rig_numbers
from opsicm.core.errors import BadInput
from opsicm.experiment.controls import ConstantCurrent, PotentialRamp
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.instruments.roles import HopPlan, Rig
from opsicm.twin.devices import OpenLoopAxis
from opsicm.twin.hop_controller import TwinHopController
from opsicm.twin.world import World
from tests.fixtures.laboratory import RIG, TEXT, Laboratory

SECOND = 1_000_000_000
AMPLIFIER, POTENTIOSTAT, SCANNER = "range_nA: 10,", "initial_V: 0.4", "z_range_um: 20,"


def twin(laboratory: Laboratory, device: str = "", more: str = "", text: str = TEXT) -> tuple[Rig, World]:
    rig_text = RIG.replace(device, f"{device.rstrip(',')}, {more},".rstrip(",") + ("," if device[-1:] == "," else ""))
    experiment = laboratory.experiment(text, rig_text if more else RIG)
    rig = prepare(experiment, load_rig(experiment, None), 1, lambda _: None).rig
    assert isinstance(rig.hop_controller, TwinHopController)
    return rig, rig.hop_controller.world


def plan(hops: int, until_ns: int = 2**62, x: np.ndarray | None = None) -> HopPlan:
    number = np.arange(hops, dtype=np.int32)
    x = np.zeros(hops) if x is None else x
    return HopPlan(
        "probe[0]",
        1,
        0,
        x,
        0.0 * x,
        0 * number,
        number,
        np.full(hops, 1e-6),
        HopParameters(1e-6, 3e-5, 0.02, 5e-6),
        0.7,
        until_ns,
    )


def dwell(rig: Rig, until_ns: int) -> np.ndarray:
    """Pipette current [A] of every sample until then."""
    outcome = rig.hop_controller.run(plan(0, until_ns), lambda: False)
    return np.concatenate([rig.hop_controller.channels[0].si(block.counts[:, 0]) for block in outcome.blocks])


# -- amplifier --------------------------------------------------------------------------------------------------------


def test_an_offset_is_there_at_zero_bias(laboratory: Laboratory) -> None:
    rig, world = twin(laboratory, AMPLIFIER, "offset_pA: 3")
    rig.amplifier.command(-world.state_at(0).potential)
    seen = dwell(rig, 200_000_000)
    assert np.mean(seen) == pytest.approx(3e-12, abs=0.2e-12)
    rig.amplifier.command(-world.state_at(world.now_ns).potential)  # the specimen has relaxed by some µV
    assert np.mean([rig.amplifier.read()[0] for _ in range(100)]) == pytest.approx(3e-12, abs=0.1e-12)


def test_stray_capacitance_carries_c_dv_dt_on_a_ramp(laboratory: Laboratory) -> None:
    def mean(more: str) -> float:
        rig, _ = twin(laboratory, AMPLIFIER, more)
        rig.amplifier.command(-0.4, 1.0)
        return float(np.mean(dwell(rig, 100_000_000)[500:]))  # the jump to -0.4 V is over

    assert (mean("stray_pF: 5") - mean("stray_pF: 0")) / 5e-12 == pytest.approx(1.0, abs=0.02)


def test_a_jump_of_the_command_charges_the_stray_capacitance_once(laboratory: Laboratory) -> None:
    def seen(more: str) -> np.ndarray:
        rig, world = twin(laboratory, AMPLIFIER, more)
        rig.amplifier.command(0.3)
        dwell(rig, 20_000_000)
        rig.amplifier.command(0.31)
        assert world.command(world.now_ns) == 0.31
        return dwell(rig, 40_000_000)

    transient = seen("stray_pF: 5") - seen("stray_pF: 0")
    # The charge C ΔV, behind a one-pole low-pass of 5 kHz: gone within 0.3 ms, and there only once.
    # The charge, as samples see it that miss the first instant of an exponential: x/(e^x - 1) of it, x = 2 pi f dt.
    x = 2.0 * np.pi * 5e3 * 1e-5
    assert transient.sum() * 1e-5 / (5e-12 * 0.01) == pytest.approx(x / np.expm1(x), abs=0.01)
    assert np.abs(transient[40:]).max() < 1e-12
    late = np.log(transient[2] / transient[5]) / 3e-5
    assert late == pytest.approx(2 * np.pi * 5e3, rel=0.03)


def test_a_headstage_adds_its_resistors_noise_and_saturates_at_its_rail(laboratory: Laboratory) -> None:
    def numbers(more: str) -> tuple[float, float]:
        experiment = laboratory.experiment(TEXT, RIG.replace(AMPLIFIER, f"range_nA: 100, {more},"))
        found = rig_numbers(experiment, load_rig(experiment, None))
        return found.current_noise, found.current_range

    quiet, _ = numbers("headstage_MOhm: 0")
    loud, reach = numbers("headstage_MOhm: 2000")
    assert reach == pytest.approx(0.99 * 10.0 / 2e9)  # an overload just before it clips
    added = np.sqrt(4 * 1.380649e-23 * 298.15 / 2e9 * 5e3 * np.pi / 2)  # sqrt(4kT/R · bandwidth of one pole)
    assert np.sqrt(loud**2 - quiet**2) == pytest.approx(added, rel=1e-3)


def test_the_command_moves_in_the_steps_of_its_converter(laboratory: Laboratory) -> None:
    rig, _ = twin(laboratory, AMPLIFIER, "command_step_uV: 300")
    rig.amplifier.command(0.30005)
    assert rig.amplifier.read()[1] == pytest.approx(0.3)


# -- potentiostat -----------------------------------------------------------------------------------------------------


def test_a_potentiostat_answers_late_in_steps_and_with_noise(laboratory: Laboratory) -> None:
    more = "latency_ms: 50, potential_step_uV: 500, current_step_nA: 100, potential_noise_uV: 200"
    rig, _ = twin(laboratory, POTENTIOSTAT, more)
    rig.potentiostat.apply(PotentialRamp(0.4, -0.1), 0)
    rig.clock.wait_until(SECOND)
    readings = [rig.potentiostat.read() for _ in range(200)]
    assert {reading.t_ns for reading in readings} == {950_000_000}
    potentials = np.array([reading.potential for reading in readings])
    assert np.allclose(potentials / 5e-4, np.round(potentials / 5e-4), atol=1e-6)
    assert np.mean(potentials) == pytest.approx(0.4 - 0.095, abs=1e-4)
    assert np.std(potentials) == pytest.approx(np.hypot(200e-6, 500e-6 / np.sqrt(12)), rel=0.2)
    assert readings[0].current / 1e-7 == pytest.approx(round(readings[0].current / 1e-7), abs=1e-6)


def test_readings_have_the_noise_of_a_research_potentiostat_or_none(laboratory: Laboratory) -> None:
    """Of 400 readings at one instant the standard deviation is known to 3.5 %: 12 % is 3.4 times that."""
    none = "potential_noise_uV: 0, current_noise_nA: 0"
    usual, quiet = (twin(laboratory, POTENTIOSTAT, more)[0] for more in ("", none))
    readings = [usual.potentiostat.read() for _ in range(400)]
    assert np.std([r.potential for r in readings]) == pytest.approx(11e-6, rel=0.12)
    assert np.std([r.current for r in readings]) == pytest.approx(1e-6, rel=0.12)
    assert len({quiet.potentiostat.read() for _ in range(20)}) == 1


def test_hop_records_have_the_potentiostat_s_noise_and_the_bias_residual_that_of_the_potential(
    laboratory: Laboratory,
) -> None:
    def hopped(more: str) -> np.ndarray:
        rig, _ = twin(laboratory, POTENTIOSTAT, more)
        return rig.hop_controller.run(plan(300), lambda: False).hops

    usual, quiet = hopped(""), hopped("potential_noise_uV: 0, current_noise_nA: 0")
    assert usual["z_stop"].tobytes() == quiet["z_stop"].tobytes()  # the hop itself does not know
    noise = {name: usual[name] - quiet[name] for name in ("cell_potential", "cell_current", "bias_residual")}
    assert np.std(noise["cell_potential"]) == pytest.approx(11e-6, rel=0.14)
    assert np.std(noise["cell_current"]) == pytest.approx(1e-6, rel=0.14)
    assert np.allclose(noise["bias_residual"], noise["cell_potential"], rtol=0.0, atol=1e-15)


def test_a_current_beyond_the_range_reads_as_the_range(laboratory: Laboratory) -> None:
    rig, world = twin(laboratory, POTENTIOSTAT, "current_range_mA: 0.5")
    rig.potentiostat.apply(ConstantCurrent(-1e-3), 0)
    rig.clock.wait_until(SECOND // 10)
    assert rig.potentiostat.read().current == -0.5e-3
    assert world.cell.current == pytest.approx(-1e-3)


@pytest.mark.parametrize("latency_ms", [0, 100])
def test_the_bias_error_of_late_answers_is_at_most_rate_times_latency(laboratory: Laboratory, latency_ms: int) -> None:
    text = TEXT.replace("rate_mV_s: 8", "rate_mV_s: 100").replace("from_V: 0.4, to_V: 0.0", "from_V: 0.4, to_V: 0.1")
    rig_text = RIG.replace(POTENTIOSTAT, f"{POTENTIOSTAT}, latency_ms: {latency_ms}")
    run = laboratory.run(text, rig_text)
    residual = run.hops["bias_residual"].values
    assert residual.size > 20
    # The tracker carries an old answer on by its slope; where the sweep begins it has none, and the delay shows.
    assert np.max(np.abs(residual)) <= 0.1 * latency_ms * 1e-3 + 2e-3


# -- bias tracking ----------------------------------------------------------------------------------------------------


def test_tracking_the_set_potential_under_compensation_hides_the_signal(laboratory: Laboratory) -> None:
    # What a real rig would show: the reference moves by f i R_u, and a command that follows E_set takes that for bias.
    text = TEXT.replace("loading_mg_cm2: 0.05", "loading_mg_cm2: 4.4")
    rig, world = twin(laboratory, text=text)
    rig.coarse_stage.move_to(10e-6)
    rig.clock.wait_until(SECOND // 2)

    def signal(potential: float) -> float:
        """What the cell current adds to the pipette's drive [V], with a command of V_tip less that potential."""
        rig.amplifier.command(0.7 - potential)
        state = world.state_at(world.now_ns)
        return float(np.mean([rig.amplifier.read()[0] for _ in range(400)])) / state.conductance - 0.7

    assert signal(rig.potentiostat.read().potential) == pytest.approx(0.0, abs=1e-3)
    # At 0.2 V the cell current drives more than the 10 nA of the amplifier's range through the pipette.
    rig.potentiostat.apply(PotentialRamp(0.25, 0.0, ir_compensation=0.97), SECOND // 2)
    rig.clock.wait_until(2 * SECOND)
    reading = rig.potentiostat.read()
    drop = reading.current / 0.5e-4 * (4e-3 - 10e-6) / 0.62  # i R from the tip to the reference, < 0
    assert drop < -0.02
    right, wrong = signal(reading.potential), signal(0.25)
    assert right == pytest.approx(-drop, rel=0.02)
    assert wrong == pytest.approx(-drop + (reading.potential - 0.25), rel=0.05, abs=1e-3)
    assert abs(wrong) < 0.2 * right


# -- scanner ----------------------------------------------------------------------------------------------------------


def test_a_scanner_with_a_resonance_lags_by_twice_its_damping_over_its_frequency(laboratory: Laboratory) -> None:
    rig, _ = twin(laboratory, SCANNER, "resonance_kHz: 1, damping: 0.7", TEXT + "record: {z_command: full}\n")
    outcome = rig.hop_controller.run(plan(1), lambda: False)
    counts = np.concatenate([block.counts for block in outcome.blocks])
    names = [channel.name for channel in rig.hop_controller.channels]
    z, command = (rig.hop_controller.channels[k].si(counts[:, k]) for k in (names.index("z"), names.index("z_command")))
    falling = slice(int(outcome.hops["sample_fall"][0]) + 500, int(outcome.hops["sample_stop"][0]))
    assert np.mean(z[falling] - command[falling]) == pytest.approx(30e-6 * 1.4 / (2 * np.pi * 1e3), rel=0.05)


def test_thermal_drift_moves_the_surface_away_steadily(laboratory: Laboratory) -> None:
    rig, _ = twin(laboratory, SCANNER, "drift_z_nm_min: 600")
    rig.amplifier.command(0.3)
    records = rig.hop_controller.run(plan(60), lambda: False).hops
    slope, _ = np.polyfit(records["t_ns"] / SECOND, records["z_stop"], 1)
    assert slope == pytest.approx(-10e-9, rel=0.05)  # everything that holds the tip creeps up by 10 nm/s


def test_lateral_hysteresis_opens_a_loop_of_its_size_and_closes_it() -> None:
    axis = OpenLoopAxis(80e-6, hysteresis=0.1, creep=0.0, drift=0.0)
    way = np.concatenate([np.linspace(0, 40e-6, 81), np.linspace(40e-6, -40e-6, 161), np.linspace(-40e-6, 40e-6, 161)])
    true = axis.follow(way, np.arange(way.size, dtype=np.float64))
    down, up = true[81:242][80], true[242:][80]  # both told 0
    # Eight plays of radius r = 5, 10 … 40 µm: back at 0 each is behind by min(r, 40 µm - r), 10 µm on average.
    assert down - up == pytest.approx(2 * 0.1 * 10e-6, rel=0.01)
    assert true[-1] == pytest.approx(true[80], abs=1e-12)


def test_creep_brings_its_share_per_decade_and_an_ideal_axis_obeys() -> None:
    axis = OpenLoopAxis(80e-6, hysteresis=0.0, creep=0.01, drift=0.0)
    late = axis.follow(np.full(5, 10e-6), np.array([0.0, 0.3, 3.0, 30.0, 3000.0]))
    assert np.diff(late[1:4]) == pytest.approx(0.01 * 10e-6, rel=0.15)
    assert late[-1] == pytest.approx(10e-6, rel=1e-6)
    where = np.array([1e-6, -2e-6])
    assert np.array_equal(OpenLoopAxis(80e-6, 0.0, 0.0, 0.0).follow(where, where), where)


def test_lateral_drift_takes_the_pipette_over_other_ground(laboratory: Laboratory) -> None:
    rig, world = twin(laboratory, SCANNER, "drift_x_nm_min: 1000")
    rig.clock.wait_until(60 * SECOND)
    rig.amplifier.command(0.7 - rig.potentiostat.read().potential)
    hops = rig.hop_controller.run(plan(40), lambda: False).hops
    here, there = (
        world.surface_now(world.specimen.footprint(np.array([x]), np.zeros(1)), world.now_ns)[0] for x in (0.0, 1e-6)
    )
    stop = np.mean(hops["z_stop"]) + 3e-6
    assert stop - there == pytest.approx(33e-9, abs=8e-9)  # the ground goes on sloping during the 40 hops
    assert abs(there - here) > 20e-9


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            POTENTIOSTAT,
            "initial_V: 0.4, latency_ms: 2000",
            "latency_ms is 2000; must be at most 1000 ms; give a value of at least 0",
        ),
        (SCANNER, "z_range_um: 20, creep_pct: -1,", "creep_pct is -1; must be at least 0 %.* of at most 10 %"),
        (
            AMPLIFIER,
            "range_nA: 10, stray_nF: 1,",
            "stray_nF is 1; the amplifier of a twin has no such key; did you mean stray_pF",
        ),
    ],
)
def test_a_setting_out_of_reason_is_refused(laboratory: Laboratory, old: str, new: str, words: str) -> None:
    experiment = laboratory.experiment(TEXT, RIG.replace(old, new))
    with pytest.raises(BadInput, match=words):
        prepare(experiment, load_rig(experiment, None), 1, lambda _: None)
