"""The published JSON Schema says of a file what the program says of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from opsicm.core.errors import BadInput
from opsicm.experiment import file as experiment_file
from opsicm.experiment.file import experiment_from_text, to_yaml
from opsicm.experiment.model import Experiment
from opsicm.experiment.schema import json_schema
from opsicm.experiment.yaml_file import read_yaml, yaml_document
from tests.fixtures.drawn_experiments import experiments
from tests.fixtures.schema_check import accepts

SCHEMA = json_schema()
FILES = sorted((Path(experiment_file.__file__).parents[1] / "experiments").rglob("e[0-9]*.yaml"))
TEXT = next(file for file in FILES if file.name.startswith("e09")).read_text(encoding="utf-8")

SPOILED = {
    "unknown key": ("title:", "titel:"),
    "misspelt unit": ("rate_mV_s: 0.3, cycles: 2", "rate_mVs: 0.3, cycles: 2"),
    "unknown step": ("park:", "stay:"),
    "text for a number": ("bias_V: 0.7", 'bias_V: "0.7"'),
    "boolean for a number": ("bias_V: 0.7", "bias_V: true"),
    "empty bound": ('during: "cell[1]"', "hops: "),
    "two bounds": ('during: "cell[1]"', 'during: "cell[1]", hops: 3'),
    "what remains": ("setpoint_pct: 2.0", "setpoint_pct: 98"),
    "three coordinates": ("at_um: [0, 0]", "at_um: [0, 0, 0]"),
    "half a point": ("at_um: [0, 0]", "at_um: [0]"),
    "policy": ("z: full", "z: all"),
    "vary by no path": ("record:", "vary: {a b: [1]}\nrecord:"),
    "vary by no value": ("record:", "vary: {a: []}\nrecord:"),
    "at two things": ('during: "cell[1]"', "hops: 3, at: {after_each: rest, soc_pct: [50]}"),
    "at and during": ('during: "cell[1]"', 'during: "cell[1]", at: {after_each: rest}'),
    "every and at": ('during: "cell[1]"', "hops: 3, every_min: 30, at: {after_each: rest}"),
    "every and two ends": ('during: "cell[1]"', "hops: 3, for_s: 9, every_min: 30"),
    "inside a repeat": (
        "sweep: {from_V: 1.7, to_V: 0.0, rate_mV_s: 0.3, cycles: 2}",
        "repeat: {times: 2, steps: [{rest: {for_s: -1}}]}",
    ),
    "gitt without an end": (
        "sweep: {from_V: 1.7, to_V: 0.0, rate_mV_s: 0.3, cycles: 2}",
        "gitt: {c_rate: -1, pulse_s: 120, rest_s: 300}",
    ),
    "no current": (
        "sweep: {from_V: 1.7, to_V: 0.0, rate_mV_s: 0.3, cycles: 2}",
        "constant_current: {until: {for_s: 1}}",
    ),
    "no end": (
        "sweep: {from_V: 1.7, to_V: 0.0, rate_mV_s: 0.3, cycles: 2}",
        "constant_current: {c_rate: 1, until: {}}",
    ),
}


def test_it_names_its_draft() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(path.parts[-2:]))
def test_it_accepts_the_examples(path: Path) -> None:
    assert accepts(SCHEMA, read_yaml(path).data)


@pytest.mark.parametrize("name", SPOILED)
def test_it_refuses_what_the_program_refuses(name: str) -> None:
    old, new = SPOILED[name]
    assert TEXT.count(old) == 1
    assert not accepts(SCHEMA, yaml_document(TEXT.replace(old, new)).data)


UNITS = {
    "rate": ("rate_mV_s: 0.3, cycles: 2", "rate: 0.3 mV/s, cycles: 2"),
    "length": ("amplitude_nm: 2000", "amplitude: 2 um"),
    "pair": ("hop: {at_um: [0, 0]", "raster: {center: [0, 5 um], size: [20 um, 20 um], pixels: [8, 8]"),
    "current": (
        "sweep: {from_V: 1.7, to_V: 0.0, rate_mV_s: 0.3, cycles: 2}",
        "constant_current: {rate: -1/5 C, until: {for: 1 h 30 min}}",
    ),
    "pulses": (
        "sweep: {from_V: 1.7, to_V: 0.0, rate_mV_s: 0.3, cycles: 2}",
        "gitt: {current: −0.4 mA/cm², pulse: 2 min, rest_s: 300, pulses: 3}",
    ),
    "C-rate": (
        "sweep: {from_V: 1.7, to_V: 0.0, rate_mV_s: 0.3, cycles: 2}",
        "constant_current: {c_rate: -C/5, until: {potential: 10 mV}}",
    ),
    "setup": ("bias_V: 0.7", "bias: 0.7 V"),
}


@pytest.mark.parametrize("name", UNITS)
def test_it_accepts_numbers_with_units_where_the_program_does(name: str) -> None:
    old, new = UNITS[name]
    assert TEXT.count(old) == 1
    text = TEXT.replace(old, new)
    experiment_from_text(text)
    assert accepts(SCHEMA, yaml_document(text).data)


SPOILED_UNITS = {
    "no unit": ("amplitude_nm: 2000", "amplitude: 2"),
    "a text without a number": ("amplitude_nm: 2000", "amplitude: large"),
    "a unit in a key with one": ("amplitude_nm: 2000", "amplitude_nm: 2 um"),
    "twice": ("amplitude_nm: 2000", "amplitude_nm: 2000, amplitude: 2 um"),
    "neither": ("amplitude_nm: 2000, ", ""),
    "two currents": (
        "sweep: {from_V: 1.7, to_V: 0.0, rate_mV_s: 0.3, cycles: 2}",
        "constant_current: {rate: -1/5 C, current_mA: 1, until: {for_s: 1}}",
    ),
    "two bounds": ('during: "cell[1]"', 'during: "cell[1]", for: 3 s'),
}


@pytest.mark.parametrize("name", SPOILED_UNITS)
def test_it_refuses_units_where_the_program_does(name: str) -> None:
    old, new = SPOILED_UNITS[name]
    assert TEXT.count(old) == 1
    text = TEXT.replace(old, new)
    with pytest.raises(BadInput):
        experiment_from_text(text)
    assert not accepts(SCHEMA, yaml_document(text).data)


def properties(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(path, schema) of every key of the file, words of steps included."""
    if isinstance(node, dict):
        for key, value in node.get("properties", {}).items():
            yield f"{path}.{key}", value
        for key, value in node.items():
            yield from properties(value, f"{path}.{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from properties(value, f"{path}[{index}]")


def test_every_key_has_a_description_and_an_example_that_it_accepts() -> None:
    seen = 0
    for path, schema in properties(SCHEMA):
        assert re.search(r"\w.*\.$", schema["description"]), path
        (example,) = schema["examples"]
        assert accepts(SCHEMA, example, schema), path
        seen += 1
    assert seen > 260


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(experiments())
def test_it_accepts_whatever_the_program_writes(experiment: Experiment) -> None:
    data: dict[str, Any] = experiment_from_text(to_yaml(experiment)).document.data
    assert accepts(SCHEMA, data)


def test_the_checker_refuses_keywords_that_it_does_not_know() -> None:
    with pytest.raises(KeyError):
        accepts({"multipleOf": 3}, 4)
