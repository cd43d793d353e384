"""Named bad experiment files: each is refused at its line, with the words that tell how to mend it."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from opsicm.core.errors import BadInput
from opsicm.experiment.file import experiment_from_text, read_experiment
from opsicm.experiment.key_refusals import STEPS

GOOD = """\
opsicm: 1
title: height during a voltammogram
rig: twin/graphite
pipette: {bias_V: 0.7}
cell:
  - sweep: {from_V: 1.7, to_V: 0.0, rate_mV_s: 0.3, cycles: 2}
  - sweep: {from_V: 1.7, to_V: 0.0, rate_mV_s: 0.3}
  - constant_current: {current_mA_cm2: -0.4, until: {potential_V: 0.01, for_s: 20000}}
  - rest: {for_s: 300}
probe:
  - park: {height_um: 10, during: cell[0]}
  - hop: {at_um: [0, 0], amplitude_nm: 2000, fall_nm_per_ms: 30, setpoint_pct: 2.0, during: cell[1]}
envelope: {cell_V: [-0.05, 2.0], approach_um: 5}
"""


class Bad(NamedTuple):
    """`GOOD` with `old` replaced by `new` is refused at `line`, and the message holds all `words`."""

    name: str
    old: str
    new: str
    line: int
    words: tuple[str, ...]


CASES = [
    Bad("unknown key", "title:", "titel:", 2, ("titel", "did you mean title?")),
    Bad("foreign key", "rig: twin", "sample: copper\nrig: twin", 3, ("sample is 'copper'", "its keys are opsicm")),
    Bad("version", "opsicm: 1", "opsicm: 2", 1, ("opsicm is 2", "write opsicm: 1")),
    Bad("version true", "opsicm: 1", "opsicm: true", 1, ("opsicm is true", "must be a whole number")),
    Bad("title a number", "title: height during a voltammogram", "title: 2024", 2, ('put it in quotes, as "2024"',)),
    Bad("missing bias", "{bias_V: 0.7}", "{radius_nm: 50}", 4, ("pipette.bias_V", "is missing", "bias_V: 0.7")),
    Bad("bias", "bias_V: 0.7", "bias_V: -2.1", 4, ("pipette.bias_V is -2.1", "at least -2 V")),
    Bad("no unit's suffix", "3, cycles: 2", "3, cycle: 2", 6, ("cell[0].sweep.cycle", "did you mean cycles?")),
    Bad("suffix mVs", "rate_mV_s: 0.3, c", "rate_mVs: 0.3, c", 6, ("did you mean rate_mV_s?", "expected is mV/s")),
    Bad("suffix V_s", "rate_mV_s: 0.3}", "rate_V_s: 0.0003}", 7, ("rate_V_s is 0.0003", "write rate_mV_s: 0.3")),
    Bad("suffix min", "for_s: 300", "for_min: 5", 9, ("cell[3].rest.for_min", "write for_s: 300")),
    Bad("suffix of another thing", "for_s: 300", "for_mV: 5", 9, ("the unit expected is s", "measures something else")),
    Bad("number in quotes", "rate_mV_s: 0.3}", 'rate_mV_s: "0.3"}', 7, ("must be a number", "write 0.3 alone")),
    Bad("decimal comma", "rate_mV_s: 0.3}", 'rate_mV_s: "0,3"}', 7, ("write a decimal point: 0.3",)),
    Bad("number with unit", "for_s: 300", "for_s: 300 s", 9, ("must be a number", "write 300 alone")),
    Bad("boolean", "for_s: 300", "for_s: true", 9, ("cell[3].rest.for_s is true", "must be a number")),
    Bad("not a number", "for_s: 300", "for_s: .nan", 9, ("must be a finite number",)),
    Bad("infinity", "for_s: 300", "for_s: .inf", 9, ("cell[3].rest.for_s is inf", "must be")),
    Bad("number too large", "for_s: 300", f"for_s: {'9' * 5000}", 9, ("cell[3].rest.for_s", "must be")),
    Bad("rate zero", "rate_mV_s: 0.3}", "rate_mV_s: 0}", 7, ("must be at least 1e-06 mV/s", "no sign")),
    Bad("rate that never ends", "rate_mV_s: 0.3}", "rate_mV_s: 1e-320}", 7, ("must be at least 1e-06 mV/s",)),
    Bad("rate negative", "rate_mV_s: 0.3}", "rate_mV_s: -0.3}", 7, ("cell[1].sweep.rate_mV_s is -0.3", "no sign")),
    Bad("cycles zero", "cycles: 2", "cycles: 0", 6, ("cell[0].sweep.cycles is 0", "must be at least 1")),
    Bad("cycles half", "cycles: 2", "cycles: 1.5", 6, ("must be a whole number",)),
    Bad("sweep to itself", "to_V: 0.0, rate_mV_s: 0.3}", "to_V: 1.7, rate_mV_s: 0.3}", 7, ("must differ", "use hold")),
    Bad("ir", "rate_mV_s: 0.3}", "rate_mV_s: 0.3, ir_compensation_pct: 100}", 7, ("must be below 100 %", "oscillate")),
    Bad(
        "potential",
        "from_V: 1.7, to_V: 0.0, rate_mV_s: 0.3}",
        "from_V: 3.0, to_V: 0.0, rate_mV_s: 0.3}",
        7,
        ("cell[1].sweep.from_V is 3", "envelope.cell_V allows -0.05 to 2 V", "widen envelope.cell_V"),
    ),
    Bad(
        "cut-off",
        "potential_V: 0.01",
        "potential_V: -0.2",
        8,
        ("cell[2].constant_current.until.potential_V is -0.2", "allows -0.05 to 2 V"),
    ),
    Bad("current", "current_mA_cm2: -0.4", "current_mA_cm2: -80", 8, ("envelope.cell_mA allows", "-40 mA on 0.5 cm²")),
    Bad("no cut-off", "{potential_V: 0.01, for_s: 20000}", "{}", 8, ("until", "give at least one")),
    Bad(
        "an end outside until",
        "until: {potential_V: 0.01, for_s: 20000}",
        "for: 20 min",
        8,
        ("until; is missing, and for stands outside it", "write until: {for: '20 min'}"),
    ),
    Bad(
        "no until",
        ", until: {potential_V: 0.01, for_s: 20000}",
        "",
        8,
        ("until; is missing and constant_current needs it", "add until: {for_s: 3600}"),
    ),
    Bad(
        "no current",
        "current_mA_cm2: -0.4, ",
        "",
        8,
        ("needs one of current_mA, current_mA_cm2, c_rate, lithiate", "or current_mA_cm2: -0.4"),
    ),
    Bad(
        "two currents",
        "current_mA_cm2: -0.4",
        "current_mA_cm2: -0.4, c_rate: -0.1",
        8,
        ("c_rate is -0.1", "current_mA_cm2 is given too", "delete current_mA_cm2 or c_rate"),
    ),
    *(
        Bad(
            f"lithiate {value}",
            "current_mA_cm2: -0.4",
            f"lithiate: {value}",
            8,
            (f"lithiate is {shown}", limit, remedy),
        )
        for value, shown, limit, remedy in (
            ("-C/5", "'-C/5'", "the word already says the direction", "as C/5"),
            ("0.2", "0.2", "must be a text", "write a magnitude with its unit, as C/5, 0.2 C"),
            ("'0.2'", "'0.2'", "is no current with a unit", "write a magnitude with its unit"),
            ("C/0", "'C/0'", "divides by zero", "as C/5"),
            (
                "80 mA/cm2",
                "'80 mA/cm2'",
                "envelope.cell_mA allows 20 mA and this is 40 mA on 0.5 cm²",
                "lower the current",
            ),
        )
    ),
    Bad(
        "a word and a number",
        "current_mA_cm2: -0.4",
        "lithiate: C/5, c_rate: -0.2",
        8,
        ("lithiate is 'C/5'", "c_rate is given too", "delete c_rate or lithiate"),
    ),
    Bad("zero current", "current_mA_cm2: -0.4", "current_mA_cm2: 0", 8, ("passes no charge", "negative lithiates")),
    Bad(
        "hold without an end",
        "rest: {for_s: 300}",
        "hold: {potential_V: 0.01}",
        9,
        ("cell[3].hold", "needs for_s or until", "until: {current_mA_cm2: 0.02}"),
    ),
    Bad(
        "hold until nothing",
        "rest: {for_s: 300}",
        "hold: {potential_V: 0.01, until: {}}",
        9,
        ("cell[3].hold.until", "needs one of current_mA, current_mA_cm2 and c_rate", "as current_mA_cm2: 0.02"),
    ),
    Bad(
        "hold until a direction",
        "rest: {for_s: 300}",
        "hold: {potential_V: 0.01, until: {c_rate: -0.05}}",
        9,
        ("until.c_rate is -0.05", "must be above 0"),
    ),
    Bad(
        "hold until two",
        "rest: {for_s: 300}",
        "hold: {potential_V: 0, until: {c_rate: 0.05, current_mA: 1}}",
        9,
        ("current_mA is given too", "delete current_mA or c_rate"),
    ),
    Bad(
        "hold until a time",
        "rest: {for_s: 300}",
        "hold: {potential_V: 0, until: {c_rate: 0.05, for_s: 9}}",
        9,
        ("until.for_s is 9", "until has no such key", "its keys are current_mA, current_mA_cm2, c_rate"),
    ),
    Bad(
        "what remains",
        "setpoint_pct: 2.0",
        "setpoint_pct: 98",
        12,
        ("probe[1].hop.setpoint_pct is 98", "must be at most 50 %", "did you mean a drop of 2?"),
    ),
    Bad("all of it", "setpoint_pct: 2.0", "setpoint_pct: 100", 12, ("setpoint_pct is 100", "must be at most 50 %")),
    Bad("setpoint zero", "setpoint_pct: 2.0", "setpoint_pct: 0", 12, ("must be above 0 %", "as 2.0")),
    Bad("amplitude", "amplitude_nm: 2000", "amplitude_nm: 20001", 12, ("must be at most 20000 nm",)),
    Bad("fall beyond envelope", "amplitude_nm: 2000", "amplitude_nm: 6000", 12, ("envelope.approach_um, 5 µm",)),
    Bad("half a point", "at_um: [0, 0]", "at_um: [0]", 12, ("probe[1].hop.at_um", "too few", "at_um: [0, 0]")),
    Bad("three coordinates", "at_um: [0, 0]", "at_um: [0, 0, 0]", 12, ("probe[1].hop.at_um", "at most 2")),
    Bad(
        "during nothing",
        "during: cell[1]",
        "during: cell[4]",
        12,
        ("probe[1].hop.during is 'cell[4]'", "cell[0] to cell[3]", "counted from 0"),
    ),
    Bad("during what", "during: cell[1]", "during: sweep", 12, ("must name a cell step", "during: cell[0]")),
    Bad("during the past", "during: cell[1]", "during: cell[0]", 12, ("already accompanies cell[0]", "order")),
    Bad("two bounds", "during: cell[1]", "during: cell[1], hops: 10", 12, ("during is given too", "one bound")),
    Bad("never starts", "{height_um: 10, during: cell[0]}", "{height_um: 10}", 11, ("probe[1] never starts",)),
    Bad("empty bound", "during: cell[1]", "hops: ", 12, ("probe[1].hop.hops", "has no value")),
    Bad("empty step", "rest: {for_s: 300}", "rest:", 9, ("cell[3].rest", "has no value")),
    Bad("bare word", "rest: {for_s: 300}", "rest", 9, ("one word with its settings", "write - rest: {for_s: 300}")),
    Bad("not indented", "rest: {for_s: 300}", "rest:\n    for_s: 300", 9, ("indent its settings",)),
    Bad("misspelt step", "rest:", "resst:", 9, ("cell[3].resst", "did you mean rest?")),
    Bad("step of the other program", "rest: {for_s: 300}", "park: {height_um: 3}", 9, ("move it below probe:",)),
    Bad("no cell program", GOOD[GOOD.index("cell:\n") : GOOD.index("probe:")], "", 1, ("cell", "is missing")),
    Bad("range upside down", "[-0.05, 2.0]", "[2.0, -0.05]", 13, ("below the second", "as [-0.05, 2]")),
    Bad("policy", "envelope:", "record: {z: of}\nenvelope:", 13, ("record.z is 'of'", "did you mean off?")),
    Bad("too long a run", "for_s: 300", "for_s: 400000", 9, ("envelope.run_h allows 100 h", "cell[3].rest")),
    Bad("terms", "envelope:", "twin: {terms: {salt: 1}}\nenvelope:", 13, ("twin.terms.salt is 1", "true or false")),
    Bad(
        "vary nothing",
        "envelope:",
        "vary: {pipette.radius: [50, 100]}\nenvelope:",
        13,
        ("vary.pipette.radius", "pipette has no key radius"),
    ),
    Bad(
        "vary a step that is not there",
        "envelope:",
        "vary: {cell[4].rest.for_s: [1, 2]}\nenvelope:",
        13,
        ("the file has no cell[4]", "as pipette.radius_nm"),
    ),
    Bad(
        "vary another step",
        "envelope:",
        "vary: {cell[3].sweep.rate_mV_s: [1]}\nenvelope:",
        13,
        ("the file has no cell[3].sweep",),
    ),
    Bad("vary the title", "envelope:", "vary: {title: [a, b]}\nenvelope:", 13, ("title cannot be varied",)),
    Bad("vary by no path", "envelope:", 'vary: {"a b": [1]}\nenvelope:', 13, ("vary.a b", "is no path")),
    Bad("vary by no value", "envelope:", "vary: {pipette.radius_nm: []}\nenvelope:", 13, ("at least 1",)),
    Bad(
        "too many runs",
        "envelope:",
        f"vary: {{pipette.radius_nm: {[*range(40, 80)]}, pipette.wall: {[*range(2, 42)]}}}\nenvelope:",
        13,
        ("makes 1600 runs", "vary less"),
    ),
    Bad("at without an end", "during: cell[1]", "at: {after_each: rest}", 12, ("probe[1].hop.at", "no end", "hops")),
    Bad("every without an end", "during: cell[1]", "every_min: 30", 12, ("probe[1].hop.every_min", "no end", "hops")),
    Bad("every and at", "during: cell[1]", "hops: 3, every_min: 30, at: {after_each: rest}", 12, ("every_min or at",)),
    Bad("every, during nothing", "during: cell[1]", "hops: 3, every_min: 9, during: cell[7]", 12, ("to cell[3]",)),
    Bad("every zero", "during: cell[1]", "hops: 3, every_min: 0", 12, ("must be above 0 min",)),
    Bad("at what", "during: cell[1]", "hops: 3, at: {after_each: pulse}", 12, ("must be rest", "write one of these")),
    Bad("at nothing", "during: cell[1]", "hops: 3, at: {}", 12, ("names no event", "{after_each: rest}")),
    Bad(
        "at two things",
        "during: cell[1]",
        "hops: 3, at: {after_each: rest, soc_pct: [50]}",
        12,
        ("probe[1].hop.at.soc_pct", "one kind of event"),
    ),
    Bad("at and during", "during: cell[1]", "during: cell[1], at: {after_each: rest}", 12, ("delete during or at",)),
    Bad(
        "faults",
        "envelope:",
        "twin: {faults: [drift]}\nenvelope:",
        13,
        ("twin.faults[0] is 'drift'", "must be a mapping of keys"),
    ),
    Bad("charge state", "for_s: 20000", "soc_pct: 150", 8, ("until.soc_pct", "at most 100 %")),
    Bad("start beyond", "rate_mV_s: 0.3}", "rate_mV_s: 0.3, start_V: 1.8}", 7, ("sweep.start_V", "1.7 and 0 V")),
    Bad(
        "ladder of no whole steps",
        "rest: {for_s: 300}",
        "ladder: {from_V: 1.7, to_V: 0.1, step_mV: 300, rest_s: 300, hold_s: 1}",
        9,
        ("cell[3].ladder.step_mV is 300", "does not divide the 1600 mV", "write step_mV: 320"),
    ),
    Bad(
        "ladder to itself",
        "rest: {for_s: 300}",
        "ladder: {from_V: 0.1, to_V: 0.1, step_mV: 300, rest_s: 300, hold_s: 1}",
        9,
        ("must differ", "use hold"),
    ),
    Bad(
        "gitt without a current",
        "rest: {for_s: 300}",
        "gitt: {pulse_s: 120, rest_s: 300, pulses: 3}",
        9,
        ("cell[3].gitt", "needs one of current_mA"),
    ),
    Bad(
        "gitt without an end",
        "rest: {for_s: 300}",
        "gitt: {c_rate: -1, pulse_s: 120, rest_s: 300}",
        9,
        ("needs pulses or until",),
    ),
    Bad(
        "gitt's cut-off",
        "rest: {for_s: 300}",
        "gitt: {c_rate: -1, pulse_s: 120, rest_s: 300, until: {potential: 1}}",
        9,
        ("gitt.until.potential", "did you mean potential_V?"),
    ),
    Bad("repeat of nothing", "rest: {for_s: 300}", "repeat: {times: 2, steps: []}", 9, ("at least 1 entries",)),
    Bad(
        "inside a repeat",
        "rest: {for_s: 300}",
        "repeat: {times: 2, steps: [{rest: {for_s: -1}}]}",
        9,
        ("cell[3].repeat.steps[0].rest.for_s is -1", "above 0 s"),
    ),
    Bad(
        "misspelt in a repeat",
        "rest: {for_s: 300}",
        "repeat: {times: 2, steps: [{hodl: {for_s: 1}}]}",
        9,
        ("cell[3].repeat.steps[0].hodl", "did you mean hold?"),
    ),
    Bad(
        "repeats too deep",
        "rest: {for_s: 300}",
        "repeat: {times: 1, steps: [{repeat: {times: 1, steps: [{repeat: {times: 1, steps: [{repeat: {times: 1, "
        "steps: [{rest: {for_s: 1}}]}}]}}]}}]}",
        9,
        ("3 deep at most",),
    ),
    Bad(
        "endless in a repeat",
        "hop: {at_um: [0, 0], amplitude_nm: 2000, fall_nm_per_ms: 30, setpoint_pct: 2.0, during: cell[1]}",
        "repeat: {times: 2, steps: [{park: {height_um: 3}}]}",
        12,
        ("probe[1].repeat.steps[0].park", "never continue"),
    ),
    Bad(
        "during in a repeat",
        "hop: {at_um: [0, 0], amplitude_nm: 2000, fall_nm_per_ms: 30, setpoint_pct: 2.0, during: cell[1]}",
        "repeat: {times: 2, steps: [{tower: {low_um: 1, high_um: 9, speed_mm_s: 1, trips: 1, "
        "at: {after_each: rest}}}]}",
        12,
        ("steps[0].tower.at", "runs after the one before it"),
    ),
    Bad(
        "tower upside down",
        "park: {height_um: 10",
        "tower: {low_um: 100, high_um: 10, speed_mm_s: 0.5",
        11,
        ("probe[0].tower.high_um is 10", "must be above low_um, 100 µm"),
    ),
    Bad(
        "blanking",
        "during: cell[1]",
        "during: cell[1], modulate: {levels_V: [0, 1], dwell_ms: 5, blanking_ms: 5}",
        12,
        ("probe[1].hop.modulate.blanking_ms is 5", "shorter than dwell_ms, 5 ms"),
    ),
    Bad(
        "one level",
        "during: cell[1]",
        "during: cell[1], modulate: {levels_V: [1, 1], dwell_ms: 5, blanking_ms: 0}",
        12,
        ("all levels are the same",),
    ),
    Bad(
        "levels",
        "during: cell[1]",
        "during: cell[1], modulate: {levels_V: [1], dwell_ms: 5, blanking_ms: 0}",
        12,
        ("at least 2 entries", "levels_V: [0.65, 0.75]"),
    ),
    Bad(
        "raster order",
        "park: {height_um: 10",
        "raster: {center_um: [0, 0], size_um: [9, 9], pixels: [8, 8], order: serpentin, amplitude_nm: 20, "
        "fall_nm_per_ms: 30, setpoint_pct: 2.0",
        11,
        ("raster.order is 'serpentin'", "did you mean serpentine?"),
    ),
    Bad(
        "raster pixels",
        "park: {height_um: 10",
        "raster: {center_um: [0, 0], size_um: [9, 9], pixels: [8, 1], amplitude_nm: 20, fall_nm_per_ms: 30, "
        "setpoint_pct: 2.0",
        11,
        ("raster.pixels[1] is 1", "at least 2"),
    ),
    Bad(
        "wire's sweep to itself",
        "park: {height_um: 10",
        "pipette_sweep: {from_V: 1, to_V: 1, rate_mV_s: 10, height_um: 5",
        11,
        ("must differ", "use park"),
    ),
    Bad("landmark's name", "park: {height_um: 10", "return_to: {name: the corner", 11, ("return_to.name",)),
]


def problems(text: str) -> list[str]:
    """What the file would be refused for."""
    with pytest.raises(BadInput) as refused:
        experiment_from_text(text, "bad.yaml")
    return [str(problem) for problem in refused.value.problems]


def test_the_file_that_the_cases_spoil_is_good() -> None:
    assert len(experiment_from_text(GOOD).experiment.cell) == 4


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_file(case: Bad) -> None:
    assert GOOD.count(case.old) == 1, "the case must spoil one place"
    (message,) = problems(GOOD.replace(case.old, case.new))
    assert message.startswith(f"bad.yaml:{case.line}: "), message
    for word in case.words:
        assert word in message


@pytest.mark.parametrize("word", [word for word in STEPS["probe"] if word not in STEPS["cell"]])
def test_a_probe_step_in_the_cell_program_is_sent_there(word: str) -> None:
    (message,) = problems(GOOD.replace("rest: {for_s: 300}", f"{word}: {{}}"))
    assert f"cell[3].{word}; is a step of the probe program; move it below probe:" in message


def test_five_mistakes_are_five_problems_in_the_order_of_the_lines() -> None:
    text = (
        GOOD.replace("bias_V: 0.7", "bias_V: 7")
        .replace("rate_mV_s: 0.3, cycles", "rate_mVs: 0.3, cycles")
        .replace("for_s: 300", "for_s: -1")
        .replace("setpoint_pct: 2.0, during: cell[1]", "setpoint_pct: 98, during: cell[7]")
    )
    found = problems(text)
    assert [message.split(";")[0] for message in found] == [
        "bad.yaml:4: pipette.bias_V is 7",
        "bad.yaml:6: cell[0].sweep.rate_mVs is 0.3",
        "bad.yaml:9: cell[3].rest.for_s is -1",
        "bad.yaml:12: probe[1].hop.setpoint_pct is 98",
        "bad.yaml:12: probe[1].hop.during is 'cell[7]'",
    ]


def test_a_missing_rig_is_reported_beside_other_mistakes() -> None:
    text = GOOD.replace("rig: twin/graphite", "rig: twin/grafite").replace("bias_V: 0.7", "bias_V: 7")
    assert [message.split("; ")[0] for message in problems(text)] == [
        "bad.yaml:3: rig is 'twin/grafite'",
        "bad.yaml:4: pipette.bias_V is 7",
    ]
    (first, _) = problems(text.replace("twin/grafite", "rigs/ours.yaml"))
    assert first.startswith("bad.yaml:3: rig is 'rigs/ours.yaml'; there is no such file")


def test_a_wrong_value_does_not_hide_what_is_wrong_between_keys() -> None:
    text = GOOD.replace("{from_V: 1.7, to_V: 0.0, rate_mV_s: 0.3}", "{from_V: 2.5, to_V: 2.5, rate_mV_s: -1}")
    assert [message.split(": ", 1)[1].split(";")[0] for message in problems(text)] == [
        "cell[1].sweep.rate_mV_s is -1",
        "cell[1].sweep.to_V is 2.5",
        "cell[1].sweep.from_V is 2.5",
        "cell[1].sweep.to_V is 2.5",
    ]


def test_a_current_that_is_given_wrongly_is_not_called_missing() -> None:
    (message,) = problems(GOOD.replace("current_mA_cm2: -0.4", 'current_mA_cm2: "-0,4"'))
    assert "write a decimal point: -0.4" in message


def test_an_unknown_preset_is_refused_at_its_line() -> None:
    loaded = experiment_from_text(GOOD.replace("twin/graphite", "twin/unobtainium"), "bad.yaml")
    with pytest.raises(BadInput, match=r"bad.yaml:3: rig is 'twin/unobtainium'; is no preset"):
        loaded.rig_path()


def test_a_policy_of_off_is_a_word() -> None:
    loaded = experiment_from_text(GOOD + "record: {x: off}\n")
    assert loaded.experiment.record.x == "off"


def test_the_wrong_file_is_not_listed_to_its_end() -> None:
    found = problems("cell:\n" + "- x\n" * 1000)
    assert len(found) == 101
    assert found[-1] == "bad.yaml: the file; has 904 problems more; mend these first"


def test_a_missing_file_is_refused(tmp_path: object) -> None:
    with pytest.raises(BadInput, match="it does not exist"):
        read_experiment(f"{tmp_path}/nowhere.yaml")
