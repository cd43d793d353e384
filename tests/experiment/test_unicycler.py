"""aurora-unicycler's JSON: what a cell is made to do is the same after the way there and back, sign included."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsicm.core.errors import BadInput, Problem
from opsicm.core.units import to_si
from opsicm.experiment.cell_steps import (
    CellRepeat,
    CellStep,
    Conditioning,
    ConstantCurrentStep,
    EndCurrent,
    Gitt,
    Hold,
    Ladder,
    OpenCircuitStep,
    Rest,
    Sweep,
    Until,
)
from opsicm.experiment.controls import ConstantCurrent, PotentialRamp, cell_actions
from opsicm.experiment.file import LoadedExperiment, experiment_from_text, experiment_path, read_experiment, to_yaml
from opsicm.experiment.model import Experiment
from opsicm.experiment.setup import Envelope, PipetteSettings
from opsicm.formats.unicycler.reading import from_unicycler
from opsicm.formats.unicycler.writing import to_unicycler
from tests.fixtures.drawn_experiments import AMPERES, POTENTIALS, SECONDS

CAPACITY_MAH = 1.6
AREA = 0.5e-4

# After the example in the package's documentation, by hand; its hold ends by time here, by current further down.
DOCUMENTED = """{
    "unicycler": {"version": "0.4.6"},
    "sample": {"name": "half cell 7", "capacity_mAh": 2.0},
    "record": {"current_mA": null, "voltage_V": null, "time_s": 10.0},
    "safety": {"max_voltage_V": 2.5, "min_voltage_V": 0.0, "max_current_mA": 10, "min_current_mA": -10},
    "method": [
        {"id": null, "step": "open_circuit_voltage", "until_time_s": 60},
        {"step": "tag", "tag": "my_tag"},
        {"step": "constant_current", "rate_C": "D/2", "until_time_s": 10800, "until_voltage_V": 0.05},
        {"step": "constant_voltage", "voltage_V": 0.05, "until_time_s": 3600, "until_rate_C": ""},
        {"step": "constant_current", "rate_C": 0.5, "current_mA": 7, "until_voltage_V": 1.5, "until_time_s": 0},
        {"step": "loop", "loop_to": "my_tag", "cycle_count": 3},
        {"step": "voltage_scan", "start_voltage_V": 1.5, "end_voltage_V": 0.05, "scan_rate_mV_per_s": 0.3},
        {"step": "voltage_scan", "start_voltage_V": 0.05, "end_voltage_V": 1.5, "scan_rate_mV_per_s": 0.3},
        {"step": "loop", "loop_to": 7, "cycle_count": 4}
    ]
}"""


REST = {"step": "open_circuit_voltage", "until_time_s": 60}
HOLD = {"step": "constant_voltage", "voltage_V": 0.1, "until_time_s": 60}


def _loaded(steps: Sequence[CellStep], **more: Any) -> LoadedExperiment:
    envelope = more.pop("envelope", Envelope(cell_V=(-2, 5), cell_mA=10_000, run_h=10_000))
    experiment = Experiment(
        opsicm=1,
        title="there and back",
        rig="twin/graphite",
        pipette=PipetteSettings(bias_V=0.7),
        cell=tuple(steps),
        envelope=envelope,
        **more,
    )
    return experiment_from_text(to_yaml(experiment))


def _deeds(steps: Sequence[CellStep]) -> list[tuple[Any, ...]]:
    """What the potentiostat is told, in order: independent of both vocabularies."""
    capacity = to_si("capacity_mAh", CAPACITY_MAH)
    actions = cell_actions(steps, AREA, capacity)
    return [(action.control, action.duration_ns, action.timed.charge, action.timed.end_current) for action in actions]


def _same(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> None:
    assert len(one) == len(other)
    for (control, duration, charge, fallen), (again, duration_again, charge_again, fallen_again) in zip(
        one, other, strict=True
    ):
        assert (duration, charge, type(control)) == (duration_again, charge_again, type(again))
        assert fallen_again == (None if fallen is None else pytest.approx(fallen, rel=1e-12))
        if isinstance(control, ConstantCurrent):
            assert again.current == pytest.approx(control.current, rel=1e-12)
            assert (again.lowest, again.highest) == (control.lowest, control.highest)
        else:
            assert again == control


def test_a_protocol_written_by_hand() -> None:
    program = from_unicycler(DOCUMENTED)
    assert program.name == "half cell 7"
    assert program.envelope == Envelope(cell_V=(0.0, 2.5), cell_mA=10.0)
    every = {"record_every_s": 10.0}
    down = ConstantCurrentStep(current_mA=-1.0, until=Until(potential_V=0.05, for_s=10800), **every)
    up = ConstantCurrentStep(current_mA=1.0, until=Until(potential_V=1.5), **every)
    assert program.steps == (
        OpenCircuitStep(for_s=60, **every),
        CellRepeat(times=3, steps=(down, Hold(potential_V=0.05, for_s=3600, **every), up)),
        Sweep(from_V=1.5, to_V=0.05, rate_mV_s=0.3, cycles=4, **every),
    )


def test_discharge_of_a_half_cell_lithiates() -> None:
    """There a negative current has a lower cut-off; here it lithiates, and its cut-off is the lower one too."""
    text = _method({"step": "constant_current", "current_mA": -0.2, "until_voltage_V": 0.01})
    control, *_ = _deeds(from_unicycler(text).steps)[0]
    assert control == ConstantCurrent(-0.2e-3, 0.01, None)
    control, *_ = _deeds(from_unicycler(text.replace("-0.2", "0.2")).steps)[0]
    assert control == ConstantCurrent(0.2e-3, None, 0.01)


def test_a_hold_that_a_current_ends() -> None:
    """CC-CV as the package's own example writes it; a discharge has its minus there, a magnitude is kept here."""
    charge = {"step": "constant_current", "current_mA": 0.8, "until_voltage_V": 1.5}
    held = {"step": "constant_voltage", "voltage_V": 1.5, "until_rate_C": 0.05, "until_time_s": 3600}
    down = {"step": "constant_current", "rate_C": "D/2", "until_voltage_V": 0.01}
    low = {"step": "constant_voltage", "voltage_V": 0.01, "until_current_mA": -0.02}
    text = _method(charge, held, down, low, sample={"capacity_mAh": CAPACITY_MAH})
    steps = from_unicycler(text).steps
    every = {"record_every_s": 10}
    assert steps[1] == Hold(potential_V=1.5, for_s=3600, until=EndCurrent(current_mA=0.05 * CAPACITY_MAH), **every)
    assert steps[3] == Hold(potential_V=0.01, until=EndCurrent(current_mA=0.02), **every)
    (_, _, _, fallen), *_ = _deeds(steps[3:])
    assert fallen == pytest.approx(20e-6)
    out = json.loads(to_unicycler(_loaded(steps), CAPACITY_MAH))["method"]
    assert [step.get("until_current_mA") for step in out] == [None, pytest.approx(0.08), None, -0.02]


def test_a_rate_without_capacity_is_of_the_specimen() -> None:
    text = _method({"step": "constant_current", "rate_C": "C/4", "until_voltage_V": 1.5})
    assert from_unicycler(text).steps == (
        ConstantCurrentStep(c_rate=0.25, until=Until(potential_V=1.5), record_every_s=10),
    )


@pytest.mark.parametrize(
    ("rate", "c_rate"),
    [("C/5", 0.2), ("D/2", -0.5), ("2C/3", 2 / 3), ("1/3", 1 / 3), ("-1/2", -0.5), ("0.5 / 2", 0.25), (-2, -2.0)],
)
def test_rates_as_fractions(rate: object, c_rate: float) -> None:
    step = from_unicycler(_method({"step": "constant_current", "rate_C": rate, "until_time_s": 60})).steps[0]
    assert isinstance(step, ConstantCurrentStep)
    assert step.c_rate == pytest.approx(c_rate, rel=1e-15)


def test_loops_in_one_another() -> None:
    rest = {"step": "open_circuit_voltage", "until_time_s": 5}
    hold = {"step": "constant_voltage", "voltage_V": 0.1, "until_time_s": 5}
    text = _method(
        rest,
        {"step": "tag", "tag": "outer"},
        {"step": "tag", "tag": "inner"},
        hold,
        {"step": "loop", "loop_to": "inner", "cycle_count": 2},
        rest,
        {"step": "loop", "loop_to": "outer", "cycle_count": 3},
    )
    open_circuit, held = OpenCircuitStep(for_s=5, record_every_s=10), Hold(potential_V=0.1, for_s=5, record_every_s=10)
    inner = CellRepeat(times=2, steps=(held,))
    assert from_unicycler(text).steps == (open_circuit, CellRepeat(times=3, steps=(inner, open_circuit)))


def test_an_outer_loop_to_the_first_step_of_an_inner_one() -> None:
    loops = [{"step": "loop", "loop_to": "x", "cycle_count": 2}, {"step": "loop", "loop_to": 2, "cycle_count": 3}]
    steps = from_unicycler(_method({"step": "tag", "tag": "x"}, REST, loops[0], HOLD, loops[1])).steps
    assert [type(step) for step in steps] == [CellRepeat]
    assert len(_deeds(steps)) == 3 * (2 + 1)


def test_a_sweep_that_begins_between_its_vertices() -> None:
    sweep = Sweep(from_V=0.05, to_V=1.5, start_V=0.7, rate_mV_s=1, cycles=2, record_every_s=5)
    assert from_unicycler(to_unicycler(_loaded([sweep]))).steps == (sweep,)


def test_other_words_for_the_same_deeds() -> None:
    steps: list[CellStep] = [
        Rest(for_s=5),
        Conditioning(from_V=1.5, to_V=0.1, rate_mV_s=1, cycles=2),
        Ladder(from_V=1.7, to_V=0.1, step_mV=200, rest_s=300, hold_s=1500),
        Gitt(current_mA_cm2=-0.4, pulse_s=120, rest_s=300, pulses=3),
        CellRepeat(times=1, steps=(Gitt(c_rate=0.1, pulse_s=120, rest_s=300, pulses=2),)),
    ]
    _same(_deeds(steps), _deeds(from_unicycler(to_unicycler(_loaded(steps), CAPACITY_MAH)).steps))


ENDS = st.tuples(POTENTIALS, POTENTIALS).filter(lambda pair: pair[0] != pair[1])
CURRENTS = st.tuples(st.sampled_from(["current_mA", "current_mA_cm2", "c_rate"]), AMPERES)
UNTIL = st.builds(Until, potential_V=st.none() | POTENTIALS.filter(bool), for_s=SECONDS)
SAYABLE: st.SearchStrategy[CellStep] = st.one_of(
    st.builds(OpenCircuitStep, for_s=SECONDS),
    st.builds(Hold, potential_V=POTENTIALS, for_s=SECONDS),
    st.builds(
        lambda current, potential, longest: Hold(
            potential_V=potential, for_s=longest, until=EndCurrent(**dict([current]))
        ),
        st.tuples(st.sampled_from(["current_mA", "current_mA_cm2", "c_rate"]), st.floats(1e-3, 10)),
        POTENTIALS,
        st.none() | SECONDS,
    ),
    st.builds(lambda current, until: ConstantCurrentStep(until=until, **dict([current])), CURRENTS, UNTIL),
    st.builds(
        lambda ends, rate, cycles, share: Sweep(
            from_V=ends[0],
            to_V=ends[1],
            rate_mV_s=rate,
            cycles=cycles,
            start_V=None if share is None else min(max(ends[0] + share * (ends[1] - ends[0]), min(ends)), max(ends)),
        ),
        ENDS,
        st.floats(1, 1000),
        st.integers(1, 4),
        st.none() | st.sampled_from([0, 0.25, 1]),
    ),
)
REPEATED = st.builds(
    lambda times, steps: CellRepeat(times=times, steps=tuple(steps)),
    st.integers(1, 3),
    st.lists(SAYABLE, min_size=1, max_size=3),
)
PROGRAMS = st.lists(
    SAYABLE | REPEATED | REPEATED.map(lambda inner: CellRepeat(times=2, steps=(OpenCircuitStep(for_s=1), inner))),
    min_size=1,
    max_size=5,
)


@given(PROGRAMS)
def test_a_round_trip_gives_the_same_controls(steps: list[CellStep]) -> None:
    text = to_unicycler(_loaded(steps), CAPACITY_MAH)
    again = from_unicycler(text)
    _same(_deeds(steps), _deeds(again.steps))
    assert again.name == "there and back"
    assert again.envelope == Envelope(cell_V=(-2, 5), cell_mA=10_000)
    once_more = from_unicycler(to_unicycler(_loaded(again.steps)))
    assert once_more.steps == again.steps


def _method(*steps: dict[str, Any], **more: Any) -> str:
    return json.dumps({"record": {"time_s": 10}, "method": steps, **more}, indent=1)


SCAN = {"step": "voltage_scan", "start_voltage_V": 1.5, "end_voltage_V": 0.1, "scan_rate_mV_per_s": 1}
NOT_READ = {
    "a hold without end": (
        _method({**HOLD, "until_time_s": 0, "until_rate_C": 0}),
        "needs until_time_s, until_rate_C or until_current_mA, other than 0; add one, as until_current_mA: 0.01",
    ),
    "impedance": (
        _method({"step": "impedance_spectroscopy", "amplitude_V": 0.01}),
        "method[0] is 'impedance_spectroscopy'; opsicm has no impedance step; delete it",
    ),
    "another step": (_method({"step": "sprint"}), "is no step of aurora-unicycler; steps that can be read are open_"),
    "no word": (_method({"until_time_s": 3}), "method[0]; a step is an object with its word under step"),
    "one way": (_method(SCAN, REST), "let a voltage_scan from 0.1 to 1.5 V follow"),
    "two rates": (
        _method(SCAN, {**SCAN, "start_voltage_V": 0.1, "end_voltage_V": 1.5, "scan_rate_mV_per_s": 2}),
        "a sweep of opsicm returns to its start, at one rate",
    ),
    "a cut-off at zero": (
        _method({"step": "constant_current", "current_mA": -1, "until_voltage_V": 0}),
        "until_voltage_V is 0; aurora-unicycler takes 0 for not given",
    ),
    "no current": (_method({"step": "constant_current", "rate_C": 0, "until_time_s": 9}), "needs rate_C or current_mA"),
    "no end": (_method({"step": "constant_current", "current_mA": 1}), "needs until_time_s or until_voltage_V"),
    "a rate in words": (_method({"step": "constant_current", "rate_C": "C/0", "until_time_s": 9}), "must be a number"),
    "no tag": (
        _method(REST, {"step": "loop", "loop_to": "x", "cycle_count": 2}),
        "method[1].loop.loop_to is 'x'; no step has this tag",
    ),
    "a loop onwards": (_method(REST, {"step": "loop", "loop_to": 2, "cycle_count": 2}), "a loop goes back, not on"),
    "a loop to nothing": (
        _method(REST, {"step": "loop", "loop_to": "", "cycle_count": 2}),
        "method[1].loop.loop_to; must be a tag, or a step's number from 1; write the tag before the first step",
    ),
    "a loop to zero": (_method(REST, {"step": "loop", "loop_to": 0, "cycle_count": 2}), "loop.loop_to is 0; must be a"),
    "half a character": (_method(REST, sample={"name": "\ud800"}), "is no text"),
    "a huge current": (
        _method({"step": "constant_current", "rate_C": 500, "until_time_s": 3}, sample={"capacity_mAh": 1000}),
        "constant_current current_mA: Input should be less than",
    ),
    "an empty loop": (
        _method({"step": "tag", "tag": "x"}, {"step": "loop", "loop_to": "x", "cycle_count": 2}),
        "there is nothing to repeat",
    ),
    "only tags": (_method({"step": "tag", "tag": "x"}), "does nothing to the cell"),
    "a tag twice": (_method({"step": "tag", "tag": "x"}, REST, {"step": "tag", "tag": "x"}), "has this tag too"),
    "crossing": (
        _method(
            REST,
            HOLD,
            {"step": "loop", "loop_to": 1, "cycle_count": 2},
            REST,
            {"step": "loop", "loop_to": 2, "cycle_count": 2},
        ),
        "it leads into another loop",
    ),
    "too deep": (_method(REST, *[{"step": "loop", "loop_to": 1, "cycle_count": 2}] * 4), "may stand 3 deep at most"),
    "rows by change": (
        _method(REST, record={"time_s": 1, "voltage_V": 0.1}),
        "record.voltage_V is 0.1; opsicm keeps rows by time, not by change; delete voltage_V",
    ),
    "no record": (json.dumps({"method": [REST]}), "record; is missing and protocol needs it; add record: {time_s: 1}"),
    "unequal currents": (_method(REST, safety={"max_current_mA": 5}), "write min_current_mA: -5 and max_current_mA: 5"),
    "a delay": (_method(REST, safety={"delay_s": 5}), "safety.delay_s is 5; the envelope of opsicm has no such limit"),
    "limits turned round": (_method(REST, safety={"max_voltage_V": -1}), "the cell may go from -0.05 to -1 V"),
    "a foreign key": (_method({**REST, "until_time": 3}), "did you mean until_time_s"),
    "no object": ("[1]", "must be an object"),
    "no JSON": ('{"record": {"time_s": 1},\n"method": [}', "is not JSON"),
    "not a number": ('{"record": {"time_s": NaN}}', "a number is NaN; must be finite"),
    "a key twice": ('{"record": {"time_s": 1, "time_s": 2}}', "'time_s'; is given twice"),
    "deep nesting": ("[" * 100_000, "cannot be read as JSON"),
}


@pytest.mark.parametrize(("text", "words"), NOT_READ.values(), ids=NOT_READ)
def test_what_is_not_read_is_named(text: str, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        from_unicycler(text, "p.json")
    assert words in str(caught.value)
    assert str(caught.value).startswith("p.json:")


def test_problems_cite_their_lines_all_at_once() -> None:
    text = DOCUMENTED.replace('"until_rate_C": ""', '"until_rate": 0.1').replace('"voltage_V": null', '"voltage_V": 1')
    with pytest.raises(BadInput) as caught:
        from_unicycler(text, "p.json")
    assert [problem.line for problem in caught.value.problems] == [4, 10]


CURRENT = {"current_mA": -0.5}
NOT_WRITTEN: dict[str, tuple[list[CellStep], str]] = {
    "compensation": (
        [Hold(potential_V=0.1, for_s=1, ir_compensation_pct=97)],
        "cell[0].hold.ir_compensation_pct is 97; aurora-unicycler has no iR compensation",
    ),
    "a charge": (
        [ConstantCurrentStep(until=Until(charge_mAh=0.25), **CURRENT)],
        "cell[0].constant_current.until.charge_mAh is 0.25; aurora-unicycler ends a current by time or potential,"
        " not by charge; write for_s: 1800",
    ),
    "a state of charge": ([ConstantCurrentStep(until=Until(soc_pct=50, for_s=9), **CURRENT)], "not by state of charge"),
    "a cut-off at zero": ([ConstantCurrentStep(until=Until(potential_V=0), **CURRENT)], "the cut-off would be lost"),
    "an open pulse train": ([Gitt(pulse_s=1, rest_s=1, until={"potential_V": 0.1}, **CURRENT)], "ends by its count"),
    "a rate": ([ConstantCurrentStep(c_rate=0.1, until=Until(for_s=1))], "a C-rate needs the capacity of the sample"),
    "unlike rows": (
        [Rest(for_s=1, record_every_s=1), Rest(for_s=1, record_every_s=2)],
        "cell[1].rest.record_every_s is 2; a cycling protocol has one period for all steps; give every step 1",
    ),
    "in a repeat": (
        [CellRepeat(times=2, steps=(Hold(potential_V=0.1, for_s=1, ir_compensation_pct=9),))],
        "cell[0].repeat.steps[0].hold.ir_compensation_pct",
    ),
}


@pytest.mark.parametrize(("steps", "words"), NOT_WRITTEN.values(), ids=NOT_WRITTEN)
def test_what_is_not_written_is_named(steps: list[CellStep], words: str) -> None:
    with pytest.raises(BadInput) as caught:
        to_unicycler(_loaded(steps))
    assert words in str(caught.value)
    assert all(problem.line is not None for problem in caught.value.problems)


def test_a_series_of_cells_is_not_one_protocol() -> None:
    with pytest.raises(BadInput, match=r"vary\.cell\[0\]\.rest\.for_s.*one run, not a series"):
        to_unicycler(_loaded([Rest(for_s=1)], vary={"cell[0].rest.for_s": (20.0, 50.0)}))
    assert "method" in to_unicycler(_loaded([Rest(for_s=1)], vary={"pipette.radius_nm": (20.0, 50.0)}))


SCRAPS = st.sampled_from(
    ["", "{", "}", "]", ",", "null", '"', "1e999", "-", "0", "\\ud800", "NaN", "true", "[]", "9" * 400]
)


@given(st.integers(0, len(DOCUMENTED) - 1), st.integers(0, 40), SCRAPS | st.text(max_size=3))
def test_a_mangled_protocol_is_read_or_refused(start: int, length: int, scrap: str) -> None:
    mangled = DOCUMENTED[:start] + scrap + DOCUMENTED[start + length :]
    problems: tuple[Problem, ...] = ()
    try:
        assert from_unicycler(mangled).steps
    except BadInput as refused:
        problems = refused.problems
    assert all(problem.limit and problem.remedy and str(problem).encode() for problem in problems)


@pytest.mark.parametrize("name", ["e05_titration", "e06_images_at_held_potentials", "e09_height_during_voltammogram"])
def test_experiments_of_the_paper(name: str) -> None:
    loaded = read_experiment(experiment_path(f"{name}.yaml"))
    _same(_deeds(loaded.experiment.cell), _deeds(from_unicycler(to_unicycler(loaded, CAPACITY_MAH)).steps))


def test_a_ramp_keeps_its_direction() -> None:
    down = _deeds(from_unicycler(_method(SCAN, {**SCAN, "start_voltage_V": 0.1, "end_voltage_V": 1.5})).steps)
    assert [control for control, *_ in down] == [PotentialRamp(1.5, -1e-3, 0.0), PotentialRamp(0.1, 1e-3, 0.0)]
