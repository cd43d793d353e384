"""The twin passes the rig contract, and is as safe and as noisy as its file says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from opsicm.cli.rigs import load_rig, prepare, rig_numbers
from opsicm.core.errors import BadInput, OutsideDomain
from opsicm.experiment.controls import ConstantCurrent
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.probe_steps import ApproachingStep
from opsicm.experiment.program import written_steps
from opsicm.forecast.prediction import approach_of
from opsicm.instruments.hop import start, step
from opsicm.instruments.roles import Rig
from opsicm.twin.hop_controller import TwinHopController
from tests.fixtures.laboratory import RIG, TEXT, Laboratory
from tests.fixtures.rig_contract import RigContract, plan


def twin(laboratory: Laboratory, rig: str = RIG, seed: int = 1, text: str = TEXT) -> Rig:
    experiment = laboratory.experiment(text, rig)
    return prepare(experiment, load_rig(experiment, None), seed, lambda _: None).rig


class TestTwin(RigContract):
    @pytest.fixture
    def rig(self, laboratory: Laboratory) -> Rig:
        return twin(laboratory)


def hopping(
    rig: Rig, hops: int, parameters: HopParameters | None = None
) -> tuple[TwinHopController, np.ndarray, np.ndarray]:
    """`hops` hops at rest; the controller, records and counts."""
    rig.coarse_stage.move_to(rig.hop_controller.start_height)
    rig.amplifier.command(0.7 - rig.potentiostat.read().potential)
    usual = plan(hops)
    changed = usual if parameters is None else replace(usual, parameters=parameters)
    outcome = rig.hop_controller.run(changed, lambda: False)
    controller = rig.hop_controller
    assert isinstance(controller, TwinHopController)
    return controller, outcome.hops, np.concatenate([block.counts for block in outcome.blocks])


def test_the_records_are_what_the_scalar_step_makes_of_the_samples(laboratory: Laboratory) -> None:
    rig = twin(laboratory)
    controller, records, counts = hopping(rig, 4)
    current, z = (channel.si(counts[:, k]) for k, channel in enumerate(controller.channels))
    settings = controller.timing.settings(HopParameters(2e-6, 3e-5, 0.02, 5e-6))
    state, seen = start(0.0), []
    plain = step.py_func  # type: ignore[attr-defined]
    for k in range(counts.shape[0]):
        state, event = plain(state, settings, current[k], z[k])
        if event == 3:
            seen.append((k, state.i_ref, state.i_stop, state.z_stop, state.z_min, state.outcome))
    ours = records[["sample_top", "i_ref", "i_stop", "z_stop", "z_min", "outcome"]].tolist()
    assert np.allclose(np.array(seen), np.array(ours), rtol=1e-12, atol=0.0)


def test_the_pipette_never_goes_below_the_surface_by_more_than_the_latency_allows(laboratory: Laboratory) -> None:
    rig = twin(laboratory)
    controller, records, _ = hopping(rig, 60)
    numbers = rig_numbers(laboratory.experiment(), load_rig(laboratory.experiment(), None))
    stop, overshoot = 33.6e-9, 30e-6 * (numbers.timing.latency + numbers.filter_lag)
    noise = 5 * numbers.current_noise / (0.02 * 3.6e-9) * stop  # a threshold crossed early or late by noise
    assert controller.closest_gap > stop - overshoot - noise > 0.0
    assert controller.closest_gap < stop - 0.5 * overshoot  # and the overshoot is there: latency is not ignored
    assert np.all(records["z_stop"] - records["z_min"] < overshoot + 3e-9)


@pytest.mark.parametrize("fall_nm_per_ms", [15, 60])
@pytest.mark.parametrize("scanner", ["lag_us: 200", "resonance_kHz: 1, damping: 0.7", "resonance_kHz: 4, damping: 0.3"])
def test_the_forecast_overshoot_is_what_the_hops_show(
    laboratory: Laboratory, scanner: str, fall_nm_per_ms: float
) -> None:
    """Stop to lowest z in the records of hops with a quiet sensor, and the true gap that is left, known to the twin."""
    rig = RIG.replace("lag_us: 200", scanner).replace("height_nm: 0.3", "height_nm: 0")
    text = TEXT.replace("fall_nm_per_ms: 30", f"fall_nm_per_ms: {fall_nm_per_ms}")
    experiment = laboratory.experiment(text, rig)
    numbers = rig_numbers(experiment, load_rig(experiment, None))
    hop = next(one.step for one in written_steps("probe", experiment.experiment.probe) if one.step.word == "hop")
    assert isinstance(hop, ApproachingStep)
    forecast = approach_of(hop, 0.7 / numbers.resistance, numbers)
    parameters = HopParameters(2e-6, hop.fall_rate, hop.setpoint, 5e-6)
    made = twin(laboratory, rig, text=text)
    controller, records, _ = hopping(made, 12, parameters)
    overshoot = records["z_stop"] - records["z_min"]
    # One sample of the fall is the resolution of a lowest sample.
    assert np.mean(overshoot[1:]) == pytest.approx(forecast.overshoot, abs=0.1e-9 + hop.fall_rate * 1e-5)
    left = forecast.stop_distance - forecast.late - forecast.overshoot
    # The worst of twelve hops crosses up to a sample late, and noise of 0.6 nm of height late or early.
    assert left - hop.fall_rate * 1e-5 - 1.2e-9 < controller.closest_gap < left + 1.8e-9


def test_the_height_noise_is_that_of_the_current_over_its_slope(laboratory: Laboratory) -> None:
    rig = twin(laboratory)
    _, records, _ = hopping(rig, 400)
    experiment = laboratory.experiment()
    numbers = rig_numbers(experiment, load_rig(experiment, None))
    far = 0.7 / numbers.resistance
    slope = far * 1e-4 / 0.141e-9  # finite elements: 0.141 nm for 1e-4 of the current
    reference = numbers.current_noise / (far * np.sqrt(numbers.timing.reference * 2 * 5e3))
    expected = np.hypot(numbers.current_noise / slope, numbers.height_noise)
    # Crossing early on noise narrows the spread, the reference adds a little: 15 % covers both and 400 hops.
    assert np.std(records["z_stop"]) == pytest.approx(expected, rel=0.15)
    assert np.std(records["i_ref"]) / far == pytest.approx(reference, rel=0.3)


def test_the_noise_of_the_samples_is_the_predicted_one(laboratory: Laboratory) -> None:
    rig = twin(laboratory)
    rig.coarse_stage.move_to(rig.hop_controller.start_height)
    rig.amplifier.command(0.7 - rig.potentiostat.read().potential)
    outcome = rig.hop_controller.run(plan(0, until_ns=2_000_000_000), lambda: False)
    counts = np.concatenate([block.counts for block in outcome.blocks])
    current, z = (channel.si(counts[:, k]) for k, channel in enumerate(rig.hop_controller.channels))
    experiment = laboratory.experiment()
    numbers = rig_numbers(experiment, load_rig(experiment, None))
    assert np.std(current[1000:]) / numbers.current_noise == pytest.approx(1.0, abs=0.02)
    quantum = rig.hop_controller.channels[1].scale / np.sqrt(12)
    assert np.std(z) == pytest.approx(np.hypot(numbers.height_noise, quantum), rel=0.01)


@pytest.mark.parametrize("current_mA", [-0.4, 0.4])
def test_the_step_of_the_pipette_current_is_ohmic(laboratory: Laboratory, current_mA: float) -> None:
    # dI = -i L_eff / R_geo for a slab: lithiation raises the pipette current, delithiation lowers it.
    rig = twin(laboratory)
    rig.coarse_stage.move_to(10e-6)
    rig.clock.wait_until(500_000_000)

    def mean() -> float:
        rig.amplifier.command(0.7 - rig.potentiostat.read().potential)
        return float(np.mean([rig.amplifier.read()[0] for _ in range(200)]))

    before = mean()
    rig.potentiostat.apply(ConstantCurrent(current_mA * 1e-3), 500_000_000)
    rig.clock.wait_until(501_000_000)
    step_current = mean() - before
    density = current_mA * 1e-3 / 0.5e-4
    a, L, theta = 50e-9, 20e-6, np.radians(3.0)
    r_geo = L / (np.pi * a * (a + L * np.tan(theta))) + 1 / (4 * a)
    assert step_current == pytest.approx(-density * (4e-3 - 10e-6) / r_geo, rel=0.01)


def test_two_twins_with_one_seed_are_bit_identical_and_with_another_not(laboratory: Laboratory) -> None:
    _, first, counts = hopping(twin(laboratory, seed=7), 20)
    _, again, counts_again = hopping(twin(laboratory, seed=7), 20)
    _, other, _ = hopping(twin(laboratory, seed=8), 20)
    assert first.tobytes() == again.tobytes()
    assert counts.tobytes() == counts_again.tobytes()
    assert not np.array_equal(first["i_ref"], other["i_ref"])


def test_noise_does_not_depend_on_how_the_plans_are_cut(laboratory: Laboratory) -> None:
    def cut(*sizes: int) -> np.ndarray:
        rig = twin(laboratory)
        rig.coarse_stage.move_to(rig.hop_controller.start_height)
        rig.amplifier.command(0.7 - rig.potentiostat.read().potential)
        outcomes = [rig.hop_controller.run(plan(size), lambda: False) for size in sizes]
        return np.concatenate([block.counts for outcome in outcomes for block in outcome.blocks])

    assert np.array_equal(cut(6), cut(1, 2, 3))


def test_a_command_beyond_the_input_is_refused(laboratory: Laboratory) -> None:
    with pytest.raises(OutsideDomain, match=r"amplifier command is 2\.500 V"):
        twin(laboratory).amplifier.command(2.5)


def test_a_saturated_amplifier_is_marked(laboratory: Laboratory) -> None:
    rig = twin(laboratory, RIG.replace("range_nA: 10", "range_nA: 2"))
    rig.coarse_stage.move_to(rig.hop_controller.start_height)
    rig.amplifier.command(0.7 - rig.potentiostat.read().potential)
    outcome = rig.hop_controller.run(plan(0, until_ns=100_000_000), lambda: False)
    assert all(block.quality[0] == 1 and block.quality[1] == 0 for block in outcome.blocks)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "range_nA: 10",
            "range_mA: 10",
            "rig.yaml:8: roles.amplifier.settings.range_mA is 10; .*did you mean range_nA",
        ),
        ("kind: rough", "kind: bumpy", "rig.yaml:33: .*must be one of flat, rough"),
        ("grounding: common", "grounding: floating", "rig.yaml:28: .*must be one of common, two_electrode"),
        ("name: z, role: scanner", "name: z, role: scanner, sign: -1", "channels come in SI as they are; sign is 1"),
        ("rq_nm: 300", "rq_nm: -3", "must be at least 0 nm; give a value of at least 0 and of at most 300000 nm"),
        ("lag_us: 200", "lag_us: soon", "must be a number"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_line(laboratory: Laboratory, old: str, new: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        twin(laboratory, RIG.replace(old, new))


def test_check_too_refuses_a_surface_that_is_none(laboratory: Laboratory) -> None:
    experiment = laboratory.experiment(rig=RIG.replace("kind: rough", "kind: bumpy"))
    with pytest.raises(BadInput, match="must be one of flat, rough"):
        rig_numbers(experiment, load_rig(experiment, None))
