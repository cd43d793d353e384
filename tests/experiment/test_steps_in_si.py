"""Steps in SI, their legs and durations, and what they refuse when made in Python."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from opsicm.core.errors import OutsideDomain
from opsicm.experiment.cell_steps import ConstantCurrentStep, EndCurrent, Hold, OpenCircuitStep, Rest, Sweep, Until
from opsicm.experiment.controls import step_duration
from opsicm.experiment.model import Experiment
from opsicm.experiment.probe_steps import Hop, LineScan, Park
from opsicm.experiment.setup import ElectrolyteSettings, Envelope, PipetteSettings, RecordingPolicies, SpecimenSettings

SWEEP = Sweep(from_V=1.7, to_V=0.0, rate_mV_s=0.3, cycles=2, ir_compensation_pct=97)
HOP = Hop(at_um=(1, -2), amplitude_nm=2000, fall_nm_per_ms=30, setpoint_pct=2)


def experiment(*cell: Sweep | Hold, probe: tuple[Hop, ...] = ()) -> Experiment:
    """An experiment of these steps."""
    return Experiment(
        opsicm=1, title="t", rig="twin/graphite", pipette=PipetteSettings(bias_V=0.7), cell=cell, probe=probe
    )


def test_a_sweep_in_si() -> None:
    assert SWEEP.rate == pytest.approx(3e-4, rel=1e-15)
    assert SWEEP.ir_compensation == pytest.approx(0.97, rel=1e-15)


def test_a_cycle_goes_there_and_back_and_ends_where_it_began() -> None:
    legs = SWEEP.one_cycle() * SWEEP.cycles
    assert [(start, end) for start, end, _ in legs] == [(1.7, 0.0), (0.0, 1.7)] * 2
    for start, end, duration in legs:
        assert duration * SWEEP.rate == pytest.approx(abs(end - start), rel=1e-12)


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ({"lithiate": "C/5"}, {"c_rate": -0.2}),
        ({"lithiate": "1/5 C"}, {"c_rate": -0.2}),
        ({"delithiate": "0.2C"}, {"c_rate": 0.2}),
        ({"delithiate": "2 C"}, {"c_rate": 2.0}),
        ({"delithiate": "C"}, {"c_rate": 1.0}),
        ({"delithiate": "0.4 mA/cm2"}, {"current_mA_cm2": 0.4}),
        ({"lithiate": "400 µA cm-2"}, {"current_mA_cm2": -0.4}),
        ({"lithiate": "100 uA"}, {"current_mA": -0.1}),
        ({"lithiate": "1e-4 A"}, {"current_mA": -0.1}),
    ],
)
def test_a_current_in_words_is_the_number_with_its_sign(words: dict[str, str], numbers: dict[str, float]) -> None:
    until = Until(for_s=60)
    said, written = ConstantCurrentStep(**words, until=until), ConstantCurrentStep(**numbers, until=until)
    assert said.signed[0] == written.signed[0]
    assert said.current(5e-5, 3.6) == pytest.approx(written.current(5e-5, 3.6), rel=1e-12)


def test_durations() -> None:
    assert step_duration(SWEEP) == pytest.approx(4 * 1.7 / 3e-4, rel=1e-12)
    assert step_duration(Hold(potential_V=0.1, for_s=300)) == 300
    until = EndCurrent(c_rate=0.05)
    assert step_duration(Hold(potential_V=0.1, until=until)) is None
    assert step_duration(Hold(potential_V=0.1, for_s=300, until=until)) == 300
    assert until.current(5e-5, 3.6) == pytest.approx(0.05e-3, rel=1e-12)
    assert step_duration(OpenCircuitStep(for_s=5)) == 5
    assert step_duration(Rest(for_s=6)) == 6
    assert step_duration(ConstantCurrentStep(c_rate=-1, until=Until(potential_V=0.0))) is None
    assert step_duration(ConstantCurrentStep(c_rate=-1, until=Until(potential_V=0.0, for_s=9))) == 9
    assert experiment(SWEEP, Hold(potential_V=0.1, for_s=300)).longest_duration == pytest.approx(22_966.67, abs=0.01)


def test_three_ways_to_give_one_current() -> None:
    area, capacity = 5e-5, 3.6  # 0.5 cm², 1 mAh
    until = Until(potential_V=0.01, charge_mAh=2)
    for step in (
        ConstantCurrentStep(current_mA=-0.2, until=until),
        ConstantCurrentStep(current_mA_cm2=-0.4, until=until),
        ConstantCurrentStep(c_rate=-0.2, until=until),
    ):
        assert step.current(area, capacity) == pytest.approx(-2e-4, rel=1e-12)
        assert step.current_density(area, capacity) == pytest.approx(-4.0, rel=1e-12)
    assert until.charge == pytest.approx(7.2)
    with pytest.raises(OutsideDomain, match="C-rate needs the capacity"):
        ConstantCurrentStep(c_rate=-0.2, until=until).current(area)


def test_a_hop_in_si() -> None:
    assert HOP.point == pytest.approx((1e-6, -2e-6))
    assert (HOP.amplitude, HOP.fall_rate, HOP.setpoint) == pytest.approx((2e-6, 30e-6, 0.02), rel=1e-12)
    assert HOP.amplitude / HOP.fall_rate * 1000 == pytest.approx(66.67, abs=0.01)  # 67 ms a fall, as the paper implies
    assert HOP.during_index is None


def test_line_and_park_in_si() -> None:
    line = LineScan(
        from_um=(0, 1), to_um=(10, 1), pixels=4, amplitude_nm=1, fall_nm_per_ms=1, setpoint_pct=1, during="cell[12]"
    )
    assert line.start == pytest.approx((0.0, 1e-6))
    assert line.end == pytest.approx((1e-5, 1e-6))
    assert line.during_index == 12
    assert Park(height_um=1000).height == pytest.approx(1e-3)


def test_specimen_pipette_and_envelope_in_si() -> None:
    specimen, pipette, envelope = SpecimenSettings(), PipetteSettings(bias_V=0.7), Envelope()
    assert (specimen.area, specimen.thickness, specimen.loading) == pytest.approx((5e-5, 28e-6, 0.044), rel=1e-12)
    assert (pipette.radius, pipette.cone_angle, pipette.length) == pytest.approx((50e-9, math.radians(3), 20e-6))
    assert pipette.bias == 0.7
    assert ElectrolyteSettings().salt == pytest.approx(1000)
    assert envelope.cell_current == pytest.approx(0.02)
    assert envelope.approach == pytest.approx(5e-6)
    assert envelope.pipette_current == pytest.approx(2e-8)
    assert envelope.duration == pytest.approx(360_000)


def test_heights_can_be_found_again_from_what_is_kept() -> None:
    record = RecordingPolicies(x="off")
    assert (record.policy("pipette_current"), record.policy("z"), record.policy("x")) == ("full", "full", "off")


def test_rest_is_an_open_circuit_under_its_own_word() -> None:
    assert isinstance(Rest(for_s=1), OpenCircuitStep)
    assert (Rest.word, OpenCircuitStep.word) == ("rest", "open_circuit")


def test_models_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SWEEP.rate_mV_s = 1  # type: ignore[misc]


def test_python_is_refused_what_a_file_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"to_V\n.*must differ from from_V; use hold"):
        Sweep(from_V=1, to_V=1, rate_mV_s=1)
    with pytest.raises(ValidationError, match="valid number"):
        Hold(potential_V="0.1", for_s=1)
    with pytest.raises(ValidationError, match=r"probe\.0\.hop\.during"):
        experiment(SWEEP, probe=(HOP.model_copy(update={"during": "cell[1]"}),))
