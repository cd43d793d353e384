"""A remedy that quotes a replacement, followed to the letter, is accepted and means what was typed.

Every key of every file is given every text here. What a text means is said beside it, by a person and not by the
program's own reading; an example (`as for_s: 300`) promises nothing, and is not followed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from opsicm.cli.rigs import REGISTRY
from opsicm.core.errors import BadInput
from opsicm.core.units import KEY_SUFFIX, at_least, suffix_of
from opsicm.experiment.cell_steps import CELL_STEPS
from opsicm.experiment.file import experiment_from_text
from opsicm.experiment.key_refusals import models_in
from opsicm.experiment.model import Experiment
from opsicm.experiment.parameter_file import NumberLeaf, ParameterSetHeader, QuantityLeaf, WordLeaf
from opsicm.experiment.probe_steps import PROBE_STEPS
from opsicm.experiment.rig_file import RigFile, rig_from_text
from opsicm.experiment.step_model import FileModel
from opsicm.experiment.validation import validated
from opsicm.experiment.yaml_file import yaml_document, yaml_text
from opsicm.twin.settings import SURFACES, WorldNoise

WORDS: Final[dict[str, bool]] = {"yes": True, "on": True, '"true"': True, "no": False, "off": False, '"False"': False}
NUMBERS: Final[dict[str, float | tuple[float, ...]]] = {
    '"0.5"': 0.5,
    "2,5": 2.5,
    "-0,5": -0.5,
    "[3.5]": 3.5,
    "1_000": 1000,
    "1/4": 0.25,
    '"1,500"': (1.5, 1500),
    "2.0": 2,
    "2.5": 2.5,
    "7": 7,
}
UNITS: Final[dict[str, dict[str, float]]] = {  # a quantity, and what it is in each unit that a key may have
    "1 nA": {"nA": 1, "mA": 1e-6, "pA": 1000, "gain": 1e-9, "offset": 1e-9},
    "1 nA/V": {"nA/V": 1, "mA/V": 1e-6, "gain": 1e-9},
    "5 mV": {"mV": 5, "V": 0.005, "uV": 5000, "gain": 0.005, "offset": 0.005},
    "3 um": {"um": 3, "nm": 3000, "mm": 0.003, "m": 3e-6, "gain": 3e-6, "offset": 3e-6},
    "2 um/V": {"um/V": 2, "gain": 2e-6},
    "60 %": {"%": 60, "ppm": 6e5, "mV/V": 600, "V/V": 0.6, "": 0.6},
    "10 min": {"s": 600, "min": 10, "h": 1 / 6, "ms": 6e5, "us": 6e8},
    "2 kHz": {"kHz": 2, "Hz": 2000, "kS/s": 2},
}


def _models() -> list[type[FileModel]]:
    ahead: list[type[FileModel]] = [Experiment, RigFile, *CELL_STEPS.values(), *PROBE_STEPS.values(), WorldNoise]
    ahead += [*SURFACES.values(), NumberLeaf, QuantityLeaf, WordLeaf, ParameterSetHeader]
    ahead += [driver.settings for entry in REGISTRY.registrations() for driver in entry.drivers]
    found: dict[type[FileModel], None] = {}
    while ahead:
        model = ahead.pop()
        if model not in found:
            found[model] = None
            ahead += [inner for field in model.model_fields.values() for inner in models_in(field.annotation)]
    return list(found)


def _keys() -> list[tuple[type[FileModel], str]]:
    """Every key once: most stand in several models, with one meaning. What takes texts has a test of its own."""
    found = {
        (key, str(field.annotation), str(field.metadata)): (model, key)
        for model in _models()
        for key, field in model.model_fields.items()
        if key not in ("steps", "parents", "columns", "opsicm", "opsicm_rig", "opsicm_parameters", "verified")
    }
    return list(found.values())


KEYS: Final = _keys()


def remedies(model: type[FileModel], key: str, text: str) -> list[str]:
    """What is said to the key when it has this text."""
    try:
        validated(yaml_document(f"{key}: {text}"), model)
    except BadInput as refused:
        return [problem.remedy for problem in refused.problems if problem.thing == key]
    return []


def replacements(key: str, remedy: str) -> list[str]:
    """The values that a remedy says to write, examples left out."""
    plain = re.search(rf"write (?!it as)(?:{key}: )?((?:\[[^\]]*\]|[^\s,:]+)(?: \([^)]*\))?(?: or \S+)?)", remedy)
    point = re.search(r"write a decimal point: (\S+)", remedy)
    if point is not None:
        return [point[1]]
    if plain is None or not re.match(r"[-\[0-9.]|true\b|false\b", plain[1]) or remedy.startswith("write true or"):
        return []
    return re.sub(r" \([^)]*\)", "", plain[1]).split(" or ")


def followed(model: type[FileModel], key: str, text: str) -> Iterator[Any]:
    """The values that the remedies of a text propose; each must be accepted, or be refused for its size alone."""
    for remedy in remedies(model, key, text):
        for value in replacements(key, remedy):
            again = remedies(model, key, value)
            size = (
                "give a value",
                "a rate has no sign",
                "setpoint_pct is the drop",
                "leave the sweep",
                "give the drop",
            )
            others = [
                said for said in again if not said.startswith((*size, "full compensation", "this program", "give"))
            ]
            assert not others or "must not be" in str(others), (model.__name__, key, text, remedy, others)
            yield yaml_document(f"x: {value}").data["x"]


def test_a_word_for_true_or_false_is_never_turned_round() -> None:
    answered = 0
    for model, key in KEYS:
        words = WORDS if "bool" in str(model.model_fields[key].annotation) else {"yes": True}
        for text, meant in words.items():
            for value in followed(model, key, text):
                assert value is meant, (model.__name__, key, text)
                answered += 1
    assert answered >= 50


def test_a_number_in_another_form_keeps_its_value() -> None:
    answered = 0
    for model, key in KEYS:
        for text, meant in NUMBERS.items():
            for value in followed(model, key, text):
                expected = meant if isinstance(meant, tuple) else (meant,)
                if isinstance(value, bool):
                    raise AssertionError((model.__name__, key, text, value))
                numbers = value if isinstance(value, list) else [value]
                halves = {math.floor(one) for one in expected} | {math.ceil(one) for one in expected}
                assert set(numbers) <= {*expected, *halves}, (model.__name__, key, text, value)
                answered += 1
    assert answered > 500


@pytest.mark.parametrize("text", UNITS)
def test_a_number_with_a_unit_is_given_in_that_of_the_key(text: str) -> None:
    answered = 0
    for model, key in KEYS:
        suffix = suffix_of(key)
        unit = KEY_SUFFIX[suffix] if suffix else key if key in UNITS[text] else ""
        for value in followed(model, key, text):
            if key == "value":  # of a parameter: its unit stands beside it
                assert value == float(text.partition(" ")[0])
                continue
            assert unit in UNITS[text], (model.__name__, key, text, value)
            number = value[0] if isinstance(value, list) else value
            assert number == pytest.approx(UNITS[text][unit], rel=1e-9), (model.__name__, key, text)
            answered += 1
    assert answered >= (1 if "/V" in text else 3)


def test_a_comma_keeps_the_sign_of_what_stands_before_it() -> None:
    with pytest.raises(BadInput, match=r"write from_V: -0\.5$"):
        experiment_from_text("opsicm: 1\ncell:\n  - sweep: {from_V: -0,5, to_V: 1}\n")
    with pytest.raises(BadInput, match=r"write from_V: -0\.500$"):
        experiment_from_text("opsicm: 1\ncell:\n  - sweep: {from_V: -0,500, to_V: 1}\n")


RIG = """\
opsicm_rig: 1
title: a rig
roles: {amplifier: {driver: a}, potentiostat: {driver: a}, scanner: {driver: a}, hop_controller: {driver: a}}
clock: {master: amplifier, rate_kS_s: 100}
wiring: {grounding: common}
"""


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("no", "write verified: false$"),
        ("Never", "write verified: false$"),
        ("yes", "write verified: true, or say who"),
        ("3", "say who verified it and when, or write false"),
    ],
)
def test_a_rig_is_not_verified_by_somebody_called_no(text: str, remedy: str) -> None:
    with pytest.raises(BadInput, match=remedy):
        rig_from_text(f"{RIG}verified: {text}\n")
    assert rig_from_text(f"{RIG}verified: no one but M. Muster, 2026-12-01\n").rig.verified != ""


def test_one_number_is_not_said_for_two_that_differ() -> None:
    for model, key in KEYS:
        (of_one,) = [remedies(model, key, "7")] if key in ("center_um", "at_um", "from_um", "cell_V") else [[]]
        assert not [value for said in of_one for value in replacements(key, said)], (model.__name__, key)
    assert [replacements("pixels", said) for said in remedies(PROBE_STEPS["raster"], "pixels", "7")] == [["[7, 7]"]]
    assert [replacements("parents", said) for said in remedies(ParameterSetHeader, "parents", "hopg")] == [["[hopg]"]]


def test_the_least_that_is_asked_for_is_enough() -> None:
    for value in (1.84, 0.3, 99.1, 1.0, 2.5e-7, 123456.0):
        assert value <= float(at_least(value)) <= 1.1 * value + 1e-12
    assert [at_least(value) for value in (1.84, 0.3, 99.1)] == ["1.9", "0.3", "100"]


@pytest.mark.parametrize("step", [300, 7, 999])
def test_the_step_of_a_ladder_that_is_proposed_divides_it(step: int) -> None:
    ladder = CELL_STEPS["ladder"]
    settings = {"from_V": 1.1, "to_V": 0.1, "rest_s": 1, "hold_s": 1}
    with pytest.raises(BadInput) as refused:
        validated(yaml_document(yaml_text({**settings, "step_mV": step})), ladder)
    proposed = re.search(r"write step_mV: ([0-9.]+)", refused.value.problems[0].remedy)
    assert proposed is not None
    assert validated(yaml_document(yaml_text({**settings, "step_mV": float(proposed[1])})), ladder)
