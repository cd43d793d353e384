"""Scripted faults: each does what its page says, by the same amount however the run is cut, and from the file."""

from __future__ import annotations

import numpy as np
import pytest

from opsicm.cli.rigs import load_rig, prepare
from opsicm.core.errors import BadInput, LimitCrossed
from opsicm.core.facts import Quality
from opsicm.experiment.controls import ConstantCurrent, PotentialRamp
from opsicm.experiment.file import experiment_from_text
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.twin_settings import FAULT_PARAMETERS
from opsicm.instruments.roles import HopPlan, Rig
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve
from opsicm.twin.faults import scripted
from opsicm.twin.hop_controller import TwinHopController
from opsicm.twin.world import World
from tests.fixtures.laboratory import TEXT, Laboratory

SECOND = 1_000_000_000


def twin(laboratory: Laboratory, *faults: str) -> tuple[Rig, World]:
    listed = ", ".join(f"{{fault: {fault}}}" for fault in faults)
    experiment = laboratory.experiment(TEXT + f"twin: {{faults: [{listed}]}}\n")
    rig = prepare(experiment, load_rig(experiment, None), 1, lambda _: None).rig
    assert isinstance(rig.hop_controller, TwinHopController)
    rig.amplifier.command(0.7 - rig.potentiostat.read().potential)
    return rig, rig.hop_controller.world


def hop(rig: Rig, hops: int, until_ns: int = 2**62) -> tuple[np.ndarray, np.ndarray]:
    """Records and counts of `hops` hops at the origin."""
    zeros, numbers = np.zeros(hops), np.zeros(hops, np.int32)
    plan = HopPlan(
        "probe[0]",
        1,
        0,
        zeros,
        zeros,
        numbers,
        numbers,
        np.full(hops, 1e-6),
        HopParameters(1e-6, 3e-5, 0.02, 2e-5),
        0.7,
        until_ns,
    )
    outcome = rig.hop_controller.run(plan, lambda: False)
    return outcome.hops, np.concatenate([block.counts for block in outcome.blocks])


def current(rig: Rig) -> float:
    return float(np.mean([rig.amplifier.read()[0] for _ in range(100)]))


def test_drift_takes_the_reference_along_and_leaves_the_heights(laboratory: Laboratory) -> None:
    rig, _ = twin(laboratory, "drift, at_s: 1, for_s: 2, pct_per_min: 60")
    records, _ = hop(rig, 90)
    t = records["t_ns"] / SECOND
    expected = 1.0 + 0.01 * np.clip(t - 1.0, 0.0, 2.0)
    met = t > 0.3  # not the first fall, which is longer
    assert records["i_ref"][met] / records["i_ref"][met][0] == pytest.approx(expected[met], abs=2e-3)
    assert np.ptp(records["z_stop"]) < 8e-9


def test_a_clog_takes_its_share_and_gives_it_back(laboratory: Laboratory) -> None:
    rig, _ = twin(laboratory, "clog, at_s: 1, for_s: 1, share: 0.3, rise_s: 0.1")
    sound = current(rig)
    for t, share in ((0.99, 0.0), (1.05, 0.15), (1.5, 0.3), (2.01, 0.0)):
        rig.clock.wait_until(round(t * SECOND))
        assert current(rig) == pytest.approx(sound * (1.0 - share), rel=1e-3)


def test_a_clog_in_mid_air_is_a_false_stop_high_up(laboratory: Laboratory) -> None:
    rig, _ = twin(laboratory, "clog, at_s: 0.05, share: 0.3, rise_s: 0.01")
    records, _ = hop(rig, 1)
    assert records["z_stop"][0] > -1.8e-6  # the surface lies near -2.8 µm


def test_a_complete_clog_leaves_no_current_and_no_contact(laboratory: Laboratory) -> None:
    rig, _ = twin(laboratory, "clog, at_s: 0, share: 1")
    rig.clock.wait_until(SECOND)
    assert abs(current(rig)) < 1e-13


def stop_distance(pipette: Pipette) -> float:
    """[m] of a 2 % drop against a reference taken 1 µm higher, where the sample is still sensed a little."""
    curve, distance = approach_curve(pipette), 50e-9
    for _ in range(50):
        reference = curve.relative_current(np.array(distance + 1e-6))
        distance = float(curve.distance(0.98 * reference))
    return distance


def test_a_broken_tip_draws_more_and_stops_farther_away(laboratory: Laboratory) -> None:
    rig, _ = twin(laboratory, "break, at_s: 2, radius_nm: 100")
    records, _ = hop(rig, 60)
    before, after = records["t_ns"] < 2 * SECOND, records["t_ns"] > 2.2 * SECOND
    small, large = Pipette(), Pipette(radius=100e-9)
    ratio = approach_curve(small).far / approach_curve(large).far
    assert np.mean(records["i_ref"][after]) / np.mean(records["i_ref"][before]) == pytest.approx(ratio, rel=1e-3)
    shift = np.mean(records["z_stop"][after]) - np.mean(records["z_stop"][before])
    assert shift == pytest.approx(stop_distance(large) - stop_distance(small), abs=1e-9)  # falls end early on noise


def test_a_touch_breaks_the_tip_only_where_a_crash_is_scripted(laboratory: Laboratory) -> None:
    rig, world = twin(laboratory, "crash, at_s: 0.5, for_s: 0.3, rise_nm: 3500, radius_nm: 100")
    controller = rig.hop_controller
    assert isinstance(controller, TwinHopController)
    sound = current(rig)
    hop(rig, 30)
    assert controller.closest_gap < 0.0
    rig.clock.wait_until(5 * SECOND)
    assert world.now_ns == 5 * SECOND
    controller.safe()
    assert current(rig) > 1.5 * sound


def test_a_bubble_is_a_telegraph_between_two_levels(laboratory: Laboratory) -> None:
    rig, _ = twin(laboratory, "bubble, at_s: 0.5, for_s: 4, share: 0.9, flicker_Hz: 10")
    sound = current(rig)
    seen = []
    for k in range(8, 43):
        rig.clock.wait_until(k * SECOND // 10 + 50_000_000)
        seen.append(current(rig) / sound)
    levels = np.array(seen)
    blocked = levels < 0.5
    assert levels[blocked] == pytest.approx(0.1, abs=2e-3)
    assert levels[~blocked] == pytest.approx(1.0, abs=2e-3)
    assert 0.6 < blocked.mean() < 1.0
    rig.clock.wait_until(5 * SECOND)
    assert current(rig) == pytest.approx(sound, rel=1e-3)


def test_fouling_falls_exponentially_and_stays(laboratory: Laboratory) -> None:
    rig, _ = twin(laboratory, "fouling, at_s: 1, for_s: 20, share: 0.4, tau_s: 5")
    sound = current(rig)
    for t in (1.0, 6.0, 11.0, 21.0, 30.0):
        rig.clock.wait_until(round(t * SECOND))
        expected = 1.0 - 0.4 * (1.0 - np.exp(-min(t - 1.0, 20.0) / 5.0))
        assert current(rig) / sound == pytest.approx(expected, abs=2e-3)


def test_a_loose_reference_shows_the_program_and_holds_something_else(laboratory: Laboratory) -> None:
    rig, world = twin(laboratory, "loose_reference, at_s: 1, for_s: 3, amplitude_mV: 10, flicker_Hz: 1")
    rig.potentiostat.apply(PotentialRamp(0.4), 0)
    resistance = 0.7 / current(rig)
    errors = []
    for k in range(5):
        rig.clock.wait_until(k * SECOND + SECOND // 2)
        reading = rig.potentiostat.read()
        assert reading.potential == pytest.approx(0.4, abs=1e-4)
        assert reading.set_point == pytest.approx(0.4, abs=1e-9)
        state = world.state_at(world.now_ns)
        assert world.cell.potential + state.reference_error == pytest.approx(0.4, abs=1e-3)
        rig.amplifier.command(0.7 - reading.potential)
        offset = state.offset
        assert current(rig) == pytest.approx((0.7 - state.reference_error - offset) / resistance, rel=2e-3)
        errors.append(state.reference_error)
    assert errors[0] == errors[4] == 0.0
    assert len(set(errors[1:4])) == 3


def test_a_loose_reference_jumps_on_show_under_constant_current(laboratory: Laboratory) -> None:
    rig, world = twin(laboratory, "loose_reference, at_s: 1, amplitude_mV: 10, flicker_Hz: 1")
    rig.potentiostat.apply(ConstantCurrent(-1e-5), 0)
    rig.clock.wait_until(SECOND - 1)
    before = rig.potentiostat.read().potential
    rig.clock.wait_until(SECOND + 200_000_000)
    after = rig.potentiostat.read().potential
    assert after - before == pytest.approx(world.state_at(world.now_ns).reference_error, abs=2e-3)
    assert rig.potentiostat.read().current == pytest.approx(-1e-5, abs=6e-6)  # six times its noise


def test_a_stuck_amplifier_is_marked_and_stops_the_hop(laboratory: Laboratory) -> None:
    rig, _ = twin(laboratory, "saturated_amplifier, at_s: 1")
    records, counts = hop(rig, 40, until_ns=SECOND + 200_000_000)
    assert 3 in records["outcome"]
    assert counts[-1, 0] == 32767
    outcome = rig.hop_controller.run(
        HopPlan(
            "probe[0]",
            1,
            0,
            *(np.zeros(0),) * 2,
            *(np.zeros(0, np.int32),) * 2,
            np.zeros(0),
            HopParameters(1e-6, 3e-5, 0.02, 5e-6),
            0.7,
            rig.clock.now_ns() + 100_000_000,
        ),
        lambda: False,
    )
    assert all(block.quality[0] == Quality.SATURATED for block in outcome.blocks)
    assert rig.amplifier.read()[0] == pytest.approx(10e-9)


def test_a_lost_potentiostat_does_not_answer_and_can_still_be_made_safe(laboratory: Laboratory) -> None:
    rig, _ = twin(laboratory, "lost_potentiostat, at_s: 1, for_s: 1")
    rig.potentiostat.apply(ConstantCurrent(-1e-4), 0)
    rig.clock.wait_until(SECOND)
    with pytest.raises(LimitCrossed, match=r"potentiostat is silent at 1\.000 s; .*; check its cable"):
        rig.potentiostat.read()
    with pytest.raises(LimitCrossed, match="potentiostat"):
        rig.potentiostat.apply(ConstantCurrent(-1e-5), SECOND)
    rig.safe()
    rig.clock.wait_until(2 * SECOND)
    reading = rig.potentiostat.read()
    assert abs(reading.current) < 6e-6  # six times its noise
    assert reading.charge == pytest.approx(-1e-4, rel=0.11)  # it went on as it was last told until it was opened


def test_late_answers_are_old_and_say_how_old(laboratory: Laboratory) -> None:
    rig, _ = twin(laboratory, "late_answers, at_s: 2, for_s: 2, latency_ms: 300")
    rig.potentiostat.apply(PotentialRamp(0.4, -0.05), 0)
    for t in (1.0, 3.0, 5.0):
        rig.clock.wait_until(round(t * SECOND))
        late = 0.3 if t == 3.0 else 0.0
        reading = rig.potentiostat.read()
        assert reading.t_ns == round((t - late) * SECOND)
        assert reading.potential == pytest.approx(0.4 - 0.05 * (t - late), abs=2e-4)


def test_a_skewed_clock_sweeps_too_fast_and_stamps_ahead(laboratory: Laboratory) -> None:
    rig, _ = twin(laboratory, "clock_skew, at_s: 1, skew_ppm: 20000")
    rig.clock.wait_until(SECOND)
    rig.potentiostat.apply(PotentialRamp(0.4, -0.02), SECOND)
    rig.clock.wait_until(6 * SECOND)
    reading = rig.potentiostat.read()
    assert reading.set_point == pytest.approx(0.4 - 0.02 * 1.02 * 5.0, abs=1e-4)
    assert reading.t_ns == pytest.approx(6 * SECOND + 0.02 * 5 * SECOND, abs=1)


def test_faults_meet_the_same_samples_however_the_plans_are_cut(laboratory: Laboratory) -> None:
    faults = (
        "bubble, at_s: 0.2, for_s: 0.5, flicker_Hz: 40, share: 0.01",
        "clog, at_s: 0.4, share: 0.015, rise_s: 0.2",
    )

    def cut(*sizes: int) -> np.ndarray:
        rig, _ = twin(laboratory, *faults)
        return np.concatenate([hop(rig, size)[1] for size in sizes])

    assert np.array_equal(cut(6), cut(1, 3, 2))


def test_the_seed_decides_what_chance_does() -> None:
    text = TEXT + "twin: {faults: [{fault: bubble, at_s: 0}, {fault: bubble, at_s: 0}]}\n"
    scripts = experiment_from_text(text).experiment.twin.faults
    times = range(0, 20 * SECOND, SECOND // 20)

    def drawn(seed: int, which: int) -> list[float]:
        return [scripted(scripts, seed).each[which].gain(t) for t in times]

    assert drawn(1, 0) == drawn(1, 0)
    assert drawn(1, 0) != drawn(2, 0)
    assert drawn(1, 0) != drawn(1, 1)


@pytest.mark.parametrize("kind", FAULT_PARAMETERS)
def test_every_fault_can_be_scripted_with_its_name_alone(kind: str) -> None:
    text = TEXT + f"twin: {{faults: [{{fault: {kind}, at_s: 5}}]}}\n"
    (fault,) = scripted(experiment_from_text(text).experiment.twin.faults, 1).each
    assert fault.begins_ns == 5 * SECOND
    assert not fault.active(4 * SECOND)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("{fault: clgo, at_s: 1}", r"12: twin.faults\[0\].fault is 'clgo'.*did you mean clog"),
        ("{fault: clog}", r"12: twin.faults\[0\].at_s.*is missing"),
        ("{fault: clog, at_s: -1}", r"12: twin.faults\[0\].at_s is -1.*at least 0"),
        (
            "{fault: clog, at_s: 1, radius_nm: 100}",
            r"12: .*radius_nm is 100; clog has no such parameter; it takes share",
        ),
        ("{fault: break, at_s: 1, for_s: 3}", r"12: .*for_s is 3; a broken tip does not heal"),
        ("{fault: clog, at_s: 1, share: 1.5}", r"12: .*share is 1.5.*at most 1"),
        ("{fault: clog, at_s: 1, when: now}", r"12: .*when.*no such key"),
        ("7", r"12: twin.faults\[0\] is 7"),
    ],
)
def test_a_malformed_fault_is_refused_with_its_line(said: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        experiment_from_text(TEXT + f"twin:\n  faults: [{said}]\n")


def test_a_run_with_a_lost_potentiostat_ends_safe_with_its_file(laboratory: Laboratory) -> None:
    text = TEXT.replace("rate_mV_s: 8", "rate_mV_s: 100") + "twin: {faults: [{fault: lost_potentiostat, at_s: 2}]}\n"
    run = laboratory.run(text)
    assert run.outcome == "fault"
    (alarm,) = (fact.data["message"] for fact in run.facts if fact.kind == "alarm")
    assert "potentiostat is silent" in alarm
    assert run.hops["t_ns"].values.max() < 3.2 * SECOND
