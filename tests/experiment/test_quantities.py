"""Numbers with units: read where they are unambiguous, and never with a remedy that is wrong by a factor."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsicm.core.errors import BadInput
from opsicm.core.units import _UNITS, factor
from opsicm.experiment.cell_steps import CELL_STEPS
from opsicm.experiment.expansion import expanded
from opsicm.experiment.file import experiment_from_text
from opsicm.experiment.key_refusals import models_in
from opsicm.experiment.probe_steps import PROBE_STEPS
from opsicm.experiment.quantities import C_RATE, dimension, meanings, quantity, unit_of_key, words_of_key
from opsicm.experiment.setup import ElectrolyteSettings, Envelope, PipetteSettings, SpecimenSettings
from opsicm.experiment.step_model import FileModel
from opsicm.experiment.twin_settings import FaultSettings
from opsicm.experiment.validation import validated
from opsicm.experiment.yaml_file import Document, yaml_document

HEAD = "opsicm: 1\ntitle: t\nrig: twin/graphite\npipette: {bias_V: 0.7}\n"
READ = {
    "30 min": (30, "min"),
    "30min": (30, "min"),
    "30 Minutes": (30, "min"),
    "1 h 30 min": (5400, "s"),
    "1h30min": (5400, "s"),
    "2 days": (2, "d"),
    "1e3 s": (1000, "s"),
    "C/5": (0.2, "C"),
    "-C/5": (-0.2, "C"),
    "−2 C/5": (-0.4, "C"),
    "1/5 C": (0.2, "C"),
    "2C": (2, "C"),
    "-C": (-1, "C"),
    "4 um": (4, "um"),
    "4 µm": (4, "um"),  # the micro sign
    "4 μm": (4, "um"),  # the Greek letter
    "0.4 mA/cm²": (0.4, "mA/cm2"),
    "0.4 mA cm⁻²": (0.4, "mA/cm2"),
    "0.4 mA cm^-2": (0.4, "mA/cm2"),
    "0.3 mV s-1": (0.3, "mV/s"),
    "30 nm·ms⁻¹": (30, "nm/ms"),
    "2 %": (2, "%"),
    "2%": (2, "%"),
    "3°": (3, "deg"),
    "0.7 V vs Li/Li⁺": (0.7, "V"),
    "0.5 mol/L": (0.5, "M"),
    "-1/5": (-0.2, ""),
}


@pytest.mark.parametrize("text", READ)
def test_a_quantity_is_read(text: str) -> None:
    read = quantity(text)
    assert read is not None
    assert (read.value, read.unit) == READ[text]


@pytest.mark.parametrize("text", ["", "min", "30 parsec", "30 min 1 h", "1/0 C", "9e999 s", "0.7 V vs Ag/AgCl", "1:30"])
def test_what_is_no_quantity_is_not_read(text: str) -> None:
    assert quantity(text) is None


@pytest.mark.parametrize(
    ("text", "unit", "values"),
    [
        ("1:30", "s", [90, 5400]),
        ("1:30", "min", [1.5, 90]),
        ("1:30:00", "s", [5400]),
        ("1:30", "nm", []),
        ("1_000", None, [1000]),
        ("1_0.5", "s", [10.5]),
        ("1,500", "nm", [1.5, 1500]),
        ("1,5", "nm", [1.5]),
        ("1 500", "nm", [1500]),
        ("1,500,000", "nm", [1_500_000]),
        ("-1/5", C_RATE, [-0.2]),
        ("fast", "s", []),
    ],
)
def test_what_a_text_may_mean(text: str, unit: str | None, values: list[float]) -> None:
    assert [meaning.value for meaning in meanings(text, unit)] == values


def experiment(cell: str, probe: str = "park: {height_um: 10}", more: str = "") -> str:
    return f"{HEAD}{more}cell:\n  - {cell}\nprobe:\n  - {probe}\n"


HOP = "hop: {{at_um: [0, 0], amplitude_nm: {}, fall_nm_per_ms: 30, setpoint_pct: 2, hops: 5}}"
ACCEPTED = {  # a file with a unit, and the same in plain numbers
    "for": (experiment("rest: {for: 30 min}"), experiment("rest: {for_s: 1800}")),
    "c_rate": (
        experiment("constant_current: {rate: -1/5 C, until: {potential: 10 mV}}"),
        experiment("constant_current: {c_rate: -0.2, until: {potential_V: 0.01}}"),
    ),
    "c_rate as written": (
        experiment("constant_current: {c_rate: -C/5, until: {for: 1 h}}"),
        experiment("constant_current: {c_rate: -0.2, until: {for_s: 3600}}"),
    ),
    "current": (
        experiment("constant_current: {current: -0.4 mA/cm², until: {for_s: 9}}"),
        experiment("constant_current: {current_mA_cm2: -0.4, until: {for_s: 9}}"),
    ),
    "small current": (
        experiment("constant_current: {current: -20 µA, until: {charge: 1 mAh}}"),
        experiment("constant_current: {current_mA: -0.02, until: {charge_mAh: 1}}"),
    ),
    "sweep": (
        experiment("sweep: {from: 1.7 V, to: 0 V, rate: 0.3 mV/s, ir_compensation: 97 %}"),
        experiment("sweep: {from_V: 1.7, to_V: 0, rate_mV_s: 0.3, ir_compensation_pct: 97}"),
    ),
    "image": (
        experiment(
            "rest: {for_s: 9}",
            "raster: {center: [0, -2 um], size: [4 um, 500 nm], pixels: [4, 4], amplitude: 4 um, fall: 30 um/s, "
            "setpoint: 2 %, rotation: 30°}",
        ),
        experiment(
            "rest: {for_s: 9}",
            "raster: {center_um: [0, -2], size_um: [4, 0.5], pixels: [4, 4], amplitude_nm: 4000, fall_nm_per_ms: 30, "
            "setpoint_pct: 2, rotation_deg: 30}",
        ),
    ),
    "setup": (
        experiment(
            "rest: {for_s: 9}", more="specimen: {thickness: 28 um, loading: 4.4 mg/cm2}\nenvelope: {run: 2 d}\n"
        ),
        experiment(
            "rest: {for_s: 9}", more="specimen: {thickness_um: 28, loading_mg_cm2: 4.4}\nenvelope: {run_h: 48}\n"
        ),
    ),
    "inside a repeat": (
        experiment("repeat: {times: 2, steps: [{hold: {potential: 100 mV, for: 5 min}}]}"),
        experiment("repeat: {times: 2, steps: [{hold: {potential_V: 0.1, for_s: 300}}]}"),
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_key_without_its_unit_takes_a_number_with_one(name: str) -> None:
    written, plain = (experiment_from_text(text).experiment for text in ACCEPTED[name])
    assert written == plain


def test_values_of_a_series_may_have_units() -> None:
    loaded = experiment_from_text(experiment("rest: {for: 9 s}", more="vary: {cell[0].rest.for: [10 min, 1 h]}\n"))
    assert [run.experiment.longest_duration for run in expanded(loaded)] == [600.0, 3600.0]


def test_a_later_problem_names_the_line_of_the_word_that_was_written() -> None:
    text = experiment("rest: {for_s: 9}", HOP.format(2000)).replace("amplitude_nm: 2000", "\n      amplitude: 6 um")
    (message,) = refusals(text)
    assert message.startswith("bad.yaml:9: probe[0].hop.amplitude_nm is 6000")


REFUSED = {  # what is written, and the words of the remedy; each number in it is right as it stands
    "another unit": ("rest: {for_s: 30 min}", ["write for_s: 1800", "or for: 30 min"]),
    "its own unit": ("rest: {for_s: 300 s}", ["write 300 alone"]),
    "fraction": ("constant_current: {c_rate: -1/5, until: {for_s: 9}}", ["write c_rate: -0.2"]),
    "sexagesimal": ("rest: {for_s: 1:30}", ["write for_s: 90 (1 min 30 s) or 5400 (1 h 30 min)"]),
    "three parts": ("rest: {for_s: 0:01:30}", ["write for_s: 90"]),
    "underscore": ("rest: {for_s: 1_800}", ["write for_s: 1800"]),
    "grouped": ('rest: {for_s: "1,800"}', ["1.8 (with a decimal point) or 1800 (where the digits are grouped)"]),
    "grouped in braces": ("rest: {for_s: 1,800}", ["for_s: 1.800, or for_s: 1800 where the digits are grouped"]),
    "another thing": ("rest: {for_s: 30 um}", ["um measures a length", "for_s is a time in s", "for_s: 300"]),
    "no unit known": ("rest: {for_s: 30 moons}", ["moons is no unit known here", "for_s is a time in s"]),
    "no unit": ("rest: {for: 30}", ["did you mean for_s?", "write for: 30 s, or for_s: 30"]),
    "sexagesimal without a unit": ("rest: {for: 1:30}", ["write for_s: 90 (1 min 30 s) or 5400 (1 h 30 min)"]),
    "fraction of nothing": (
        "sweep: {from_V: 1, to_V: 0, rate: 1/5}",
        ["did you mean rate_mV_s?", "write rate: 0.2 mV/s, or rate_mV_s: 0.2"],
    ),
    "wrong unit of a word": ("rest: {for: 30 um}", ["did you mean for_s?", "um measures something else, a length"]),
    "unit in a key": ("rest: {for_min: 30}", ["write for_s: 1800"]),
    "unit in a word of a key": ("rest: {for_minutes: 30}", ["write for_s: 1800"]),
    "twice": ("rest: {for: 1 h, for_s: 60}", ["for_s is given too", "delete for or for_s"]),
    "one word, two currents": (
        "constant_current: {rate: C/5, current: C/10, until: {for_s: 9}}",
        ["c_rate is given too", "delete current or c_rate"],
    ),
    "rate of nothing": ("sweep: {from_V: 1, to_V: 0, rate: 0.3}", ["rate: 0.3 mV/s, or rate_mV_s: 0.3"]),
    "whole number": ("sweep: {from_V: 1, to_V: 0, rate_mV_s: 9, cycles: 2.0}", ["write cycles: 2"]),
    "half a cycle": ("sweep: {from_V: 1, to_V: 0, rate_mV_s: 9, cycles: 2.5}", ["write 2 or 3"]),
}


def refusals(text: str) -> list[str]:
    with pytest.raises(BadInput) as refused:
        experiment_from_text(text, "bad.yaml")
    return [str(problem) for problem in refused.value.problems]


@pytest.mark.parametrize("name", REFUSED)
def test_a_remedy_is_right_as_it_stands(name: str) -> None:
    cell, words = REFUSED[name]
    (message,) = refusals(experiment(cell))
    for word in words:
        assert word in message


PROBE_REFUSED = {
    HOP.format("4 um"): ["write amplitude_nm: 4000", "or amplitude: 4 um"],
    HOP.format("1_000"): ["write amplitude_nm: 1000"],
    HOP.format(2000).replace("hops: 5", "hops: 1_000"): ["write hops: 1000"],
    HOP.format(2000).replace("[0, 0]", "[0, 400 nm]"): ["write 0.4: the unit, um,"],
    HOP.format(2000).replace("at_um: [0, 0]", "at_nm: [0, 400]"): ["write at_um: [0, 0.4]"],
}


@pytest.mark.parametrize("probe", PROBE_REFUSED)
def test_a_remedy_of_the_probe_is_right_as_it_stands(probe: str) -> None:
    (message,) = refusals(experiment("rest: {for_s: 9}", probe.replace("{{", "{").replace("}}", "}")))
    for word in PROBE_REFUSED[probe]:
        assert word in message


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("pixels", "64", "write pixels: [64, 64]"),
        ("pixels", "64x48", "write pixels: [64, 48]"),
        ("size_um", "20", "write size_um: [20, 20]"),
        ("size_um", "20 x 10", "write size_um: [20, 10]"),
        ("at", "{soc_pct: 50}", "write soc_pct: [50]"),
    ],
)
def test_one_number_for_a_pair(key: str, value: str, words: str) -> None:
    settings_ = {"center_um": "[0, 0]", "size_um": "[9, 9]", "pixels": "[8, 8]", key: value}
    written = ", ".join(f"{name}: {text}" for name, text in settings_.items())
    probe = f"raster: {{{written}, amplitude_nm: 900, fall_nm_per_ms: 30, setpoint_pct: 2}}"
    (message,) = refusals(experiment("rest: {for_s: 9}", probe))
    assert words in message


# -- Every key with a unit, in every unit of its dimension.


def _unit_keys() -> list[tuple[type[FileModel], str]]:
    models: list[type[FileModel]] = [
        *CELL_STEPS.values(),
        *PROBE_STEPS.values(),
        PipetteSettings,
        SpecimenSettings,
        ElectrolyteSettings,
    ]
    models += [Envelope, FaultSettings]
    models += [
        inner for model in list(models) for f in model.model_fields.values() for inner in models_in(f.annotation)
    ]
    return [(model, key) for model in dict.fromkeys(models) for key in model.model_fields if unit_of_key(key)]


UNIT_KEYS = _unit_keys()


def spelt(unit: str) -> str:
    return "C" if unit == C_RATE else unit


def units_for(unit: str) -> list[str]:
    if unit == C_RATE:
        return [unit]
    return [other for other in _UNITS if dimension(other) == dimension(unit) and other != "1"]


@st.composite
def written_quantities(draw: st.DrawFn) -> tuple[type[FileModel], str, float, str]:
    model, key = draw(st.sampled_from(UNIT_KEYS))
    unit = draw(st.sampled_from(units_for(unit_of_key(key) or "")))
    return model, key, draw(st.floats(1e-6, 1e6).map(lambda value: float(f"{value:.6g}"))), unit


def plain(model: type[FileModel], data: dict[str, Any]) -> dict[str, Any]:
    from opsicm.experiment.validation import with_plain_numbers  # noqa: PLC0415

    return with_plain_numbers(Document("t", "", data, {}), model).data


@settings(max_examples=300, deadline=None, derandomize=True)
@given(written_quantities())
def test_a_word_with_a_unit_is_the_key_in_its_own(drawn: tuple[type[FileModel], str, float, str]) -> None:
    model, key, value, unit = drawn
    own = unit_of_key(key) or ""
    expected = value if unit == own else value * factor(unit) / factor(own)
    for word in words_of_key(key):
        if word in model.model_fields:  # `at` of at_um
            continue
        read = plain(model, {word: f"{value!r} {spelt(unit)}"})
        assert list(read) == [key]
        assert math.isclose(read[key], expected, rel_tol=1e-12)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(written_quantities())
def test_the_remedy_for_a_number_with_a_unit_is_never_wrong_by_a_factor(
    drawn: tuple[type[FileModel], str, float, str],
) -> None:
    model, key, value, unit = drawn
    own = unit_of_key(key) or ""
    if own == C_RATE:  # read, not refused
        return
    document = yaml_document(f"{key}: {value!r} {spelt(unit)}")
    with pytest.raises(BadInput) as refused:
        validated(document, model)
    message = next(str(problem) for problem in refused.value.problems if problem.thing == key)
    expected = value if unit == own else value * factor(unit) / factor(own)
    if (match := re.search(rf"write (?:{key}: )?(-?[0-9.e+-]+)(?: alone|, since|:)", message)) is not None:
        assert math.isclose(float(match[1]), expected, rel_tol=1e-11)
    else:  # a list: its remedy is an example in brackets
        assert re.search(rf"write it as {key}: \[", message), message
