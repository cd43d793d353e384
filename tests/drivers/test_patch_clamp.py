"""The patch clamp behind a card: scales, ranges, telegraphs."""

from __future__ import annotations

import pytest

import opsicm
from opsicm.cli.rigs import load_rig, rig_numbers
from opsicm.core.errors import BadInput, InstrumentLost, OutsideDomain
from opsicm.core.facts import Quality
from tests.fixtures.analogue_rig import AMPLIFIER, EXPERIMENT, analogue_rig, connect, constant
from tests.fixtures.fake_card import FakeCard
from tests.fixtures.laboratory import Laboratory

pytestmark = pytest.mark.real_time

BARE = AMPLIFIER.replace(
    ", model: axopatch_200b, gain_telegraph: Dev1/ai4, filter_telegraph: Dev1/ai5, mode_telegraph: Dev1/ai6", ""
)


def rig(amplifier: str = AMPLIFIER, **replaced: str) -> str:
    text = analogue_rig(amplifier, None)
    for before, after in replaced.items():
        assert before in text
        text = text.replace(before, after)
    return text


def test_currents_and_commands_have_the_rig_files_scales(laboratory: Laboratory) -> None:
    amplifier, card, _ = connect(laboratory, "amplifier", rig())
    assert amplifier.command_range == pytest.approx((-2.0, 2.0))
    amplifier.command(0.7, -0.01)
    assert card.outputs["Dev1/ao0"][:2] == pytest.approx((3.5, -0.05))
    current, command = amplifier.read()
    assert current == pytest.approx(0.3e-9)
    assert command == pytest.approx(0.7, abs=1e-3)
    amplifier.safe()
    assert card.outputs["Dev1/ao0"][:2] == (0.0, 0.0)


def test_the_safe_channel_zeroes_the_command(laboratory: Laboratory) -> None:
    amplifier, _, _ = connect(laboratory, "amplifier", rig())
    assert amplifier.safe_address == "fake {'Dev1/ao0': 0.0} {}#amplifier"


def test_connecting_writes_nothing(laboratory: Laboratory) -> None:
    _, card, _ = connect(laboratory, "amplifier", rig())
    assert card.events == []


def test_an_inverted_command_and_channel(laboratory: Laboratory) -> None:
    inverted = BARE.replace("command_output: Dev1/ao0", "command_output: Dev1/ao0, command_sign: -1")
    text = rig(inverted).replace(
        "{name: pipette_current, role: amplifier}",
        "{name: pipette_current, role: amplifier, input: Dev1/ai0, gain: 1.0e-9, sign: -1}",
    )
    amplifier, card, _ = connect(laboratory, "amplifier", text)
    amplifier.command(0.7)
    assert card.outputs["Dev1/ao0"][0] == pytest.approx(-3.5)
    current, command = amplifier.read()
    assert (current, command) == pytest.approx((-0.3e-9, 0.7))


def test_the_command_of_a_monitor_is_what_is_applied(laboratory: Laboratory) -> None:
    monitored = BARE.replace("command_output: Dev1/ao0", "command_output: Dev1/ao0, command_monitor: Dev1/ai7")

    def wire(card: FakeCard) -> None:
        card.inputs["Dev1/ai7"] = constant(1.4)

    amplifier, _, _ = connect(laboratory, "amplifier", rig(monitored), before=wire)
    amplifier.command(0.7)
    assert amplifier.read()[1] == pytest.approx(0.14), "the input is set to 20 mV/V and the rig file says 100"


def test_a_command_out_of_range_is_refused_before_it_is_written(laboratory: Laboratory) -> None:
    amplifier, card, _ = connect(laboratory, "amplifier", rig())
    with pytest.raises(OutsideDomain, match=r"amplifier command is -2.100 V; the command input reaches -2 … 2 V"):
        amplifier.command(-2.1)
    assert card.events == []


def test_the_output_may_reach_less_than_the_rig_file_says(laboratory: Laboratory) -> None:
    def short(card: FakeCard) -> None:
        card.reach = (-5.0, 5.0)

    amplifier, _, _ = connect(laboratory, "amplifier", rig(), before=short)
    assert amplifier.command_range == pytest.approx((-1.0, 1.0))


@pytest.mark.parametrize(
    ("telegraph", "volts", "message"),
    [
        ("Dev1/ai4", 4.0, "the gain is 10 mV/pA and the rig file says 1: currents would be 10 times too large"),
        ("Dev1/ai4", 0.5, "the gain is 0.05 mV/pA and the rig file says 1: currents would be 20 times too small"),
        ("Dev1/ai5", 2.0, "the filter is 1 kHz and the rig file says 5: the current is 5 times slower than the hops"),
        ("Dev1/ai6", 2.0, "the mode is current clamp and the rig file says voltage clamp: the scaled output shows no"),
    ],
)
def test_another_position_is_refused_before_and_told_during_a_run(
    laboratory: Laboratory, telegraph: str, volts: float, message: str
) -> None:
    def wrong(card: FakeCard) -> None:
        card.inputs[telegraph] = constant(volts)

    with pytest.raises(BadInput) as refused:
        connect(laboratory, "amplifier", rig(), before=wrong)
    assert message in str(refused.value)
    assert "rig.yaml:" in str(refused.value)
    assert "turn the switch, or correct the rig file" in str(refused.value)

    amplifier, card, _ = connect(laboratory, "amplifier", rig())
    assert amplifier.state().quality is Quality.GOOD
    assert amplifier.state().settings == {"gain_V_A": 1e9, "filter_Hz": 5000.0, "mode": "voltage_clamp"}
    wrong(card)
    state = amplifier.state()
    assert state.quality is Quality.SUSPECT
    assert message in state.message
    assert amplifier.read()[0] == pytest.approx(0.3e-9), "scaled as the rig file says, whatever the switch"


def test_a_telegraph_that_has_come_off_is_no_position(laboratory: Laboratory) -> None:
    amplifier, card, _ = connect(laboratory, "amplifier", rig())
    card.inputs["Dev1/ai4"] = constant(0.0)
    state = amplifier.state()
    assert state.quality is Quality.SUSPECT
    assert "the gain telegraph is at 0.00 V, which is no position of its table (nearest 0.5 and 1 V, ± 0.2 V)" in (
        state.message
    )
    assert "gain_V_A" not in state.settings


def test_without_telegraphs_it_says_so(laboratory: Laboratory) -> None:
    amplifier, _, _ = connect(laboratory, "amplifier", rig(BARE))
    state = amplifier.state()
    assert state.quality is Quality.GOOD
    assert state.message.startswith("gain and filter and mode not read back: the rig file names no telegraph for them")
    assert state.settings == {}


def test_digital_telegraphs(laboratory: Laboratory) -> None:
    lines = ", ".join(f"Dev1/port1/line{k}" for k in range(5))
    digital = BARE.replace(
        "command_output: Dev1/ao0", f'command_output: Dev1/ao0, model: epc_8, gain_telegraph: "{lines}"'
    )

    def one(card: FakeCard) -> None:
        card.lines.update({"Dev1/port1/line0": True})  # medium range, second position: 1 mV/pA

    amplifier, card, _ = connect(laboratory, "amplifier", rig(digital), before=one)
    assert amplifier.state().settings == {"gain_V_A": 1e9}
    card.lines["Dev1/port1/line3"] = True
    assert "the gain is 100 mV/pA and the rig file says 1: currents would be 100 times too large" in (
        amplifier.state().message
    )


def test_a_clipped_output_is_told(laboratory: Laboratory) -> None:
    amplifier, card, _ = connect(laboratory, "amplifier", rig(BARE))
    card.inputs["Dev1/ai0"] = constant(-9.95)
    assert amplifier.state().quality is Quality.SATURATED


def test_a_card_that_is_lost(laboratory: Laboratory) -> None:
    amplifier, card, _ = connect(laboratory, "amplifier", rig())
    card.lost = True
    assert amplifier.state().quality is Quality.MISSING
    with pytest.raises(InstrumentLost):
        amplifier.read()
    card.lost = False
    card.inputs["Dev1/ai0"] = constant(float("nan"))
    with pytest.raises(InstrumentLost, match="an input shows no voltage"):
        amplifier.read()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("gain_mV_per_pA: 1, ", "", "gain_mV_per_pA; is missing"),
        ("filter_kHz: 5, ", "", "filter_kHz; is missing"),
        ("command_output: Dev1/ao0, ", "", "command_output; is missing"),
        ("model: axopatch_200b", "model: multiclamp_700b", "no table of this amplifier is known; known are axopatch"),
        ("model: axopatch_200b, ", "", "has no table that says what its voltages mean"),
        ("model: axopatch_200b", 'gain_table: "1:2:3", model: axopatch_200b', "must be pairs volts:value"),
        ("external_bias_mV_per_V: 200", "external_bias_mV_per_V: 0", "so that no command reaches the pipette"),
        (
            "{name: pipette_current, role: amplifier}",
            "{name: pipette_current, role: amplifier, input: Dev1/ai0, gain: 1.0e-10}",
            "gain_mV_per_pA gives 1e-09: the record would hold 0.1 times what the amplifier reads",
        ),
        (
            "{name: pipette_current, role: amplifier}",
            "{name: pipette_current, role: amplifier, input: Dev1/ai1, gain: 1.0e-9}",
            "the settings of the amplifier say Dev1/ai0",
        ),
    ],
)
def test_a_rig_file_that_says_too_little_or_two_things(
    laboratory: Laboratory, before: str, after: str, message: str
) -> None:
    text = rig()
    assert before in text
    with pytest.raises(BadInput) as refused:
        connect(laboratory, "amplifier", text.replace(before, after))
    assert message in str(refused.value)


def test_check_says_that_a_narrow_command_cannot_track_the_program(laboratory: Laboratory) -> None:
    narrow = rig().replace("external_bias_mV_per_V: 200", "external_bias_mV_per_V: 20")
    laboratory.experiment(EXPERIMENT, narrow)
    checked = opsicm.check(laboratory.folder / "experiment.yaml")
    assert not checked.ok
    assert "V and the amplifier reaches -0.2 … 0.2 V; use a wider external-bias gain" in str(checked)


def test_the_overload_of_a_hop_is_the_end_of_the_scaled_output(laboratory: Laboratory) -> None:
    text = rig(AMPLIFIER.replace("gain_mV_per_pA: 1,", "gain_mV_per_pA: 5,").replace(", gain_telegraph: Dev1/ai4", ""))
    experiment = laboratory.experiment(EXPERIMENT, text)
    numbers = rig_numbers(experiment, load_rig(experiment, None))
    assert numbers.timing.overload == pytest.approx(0.99 * 2e-9), "10 V at 5 mV/pA"
    assert numbers.filter_Hz == 5000.0
