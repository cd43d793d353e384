"""Experiment → YAML → experiment is the identity, and no file whatever brings out anything but BadInput."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from opsicm.core.errors import BadInput, Problem
from opsicm.experiment import file as experiment_file
from opsicm.experiment.file import experiment_from_text, read_experiment, to_yaml
from opsicm.experiment.model import Experiment
from tests.fixtures.drawn_experiments import experiments

EXPERIMENTS = Path(experiment_file.__file__).parents[1] / "experiments"
E09 = EXPERIMENTS / "e09_height_during_voltammogram.yaml"
SEED, MUTATIONS = 20260101, 300
CHARACTERS = "\0\t\n\r :-[]{}&*!|>'\"%@`#,?0189.eE+nf\x85\u2028\ufeffµ"


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(experiments())
def test_round_trip(experiment: Experiment) -> None:
    text = to_yaml(experiment)
    assert experiment_from_text(text).experiment == experiment
    assert to_yaml(experiment_from_text(text).experiment) == text


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(experiments())
def test_another_reader_of_yaml_reads_the_same(experiment: Experiment) -> None:
    assert yaml.safe_load(to_yaml(experiment)) == experiment_from_text(to_yaml(experiment)).document.data


def test_twin_is_written_only_when_it_says_something() -> None:
    experiment = read_experiment(E09).experiment
    assert "twin:" not in to_yaml(experiment)
    other = experiment.model_copy(update={"twin": experiment.twin.model_copy(update={"seed": 7})})
    assert experiment_from_text(to_yaml(other)).experiment.twin.seed == 7


def test_a_file_is_read_alike_twice_and_its_text_is_kept() -> None:
    one, two = read_experiment(E09), read_experiment(E09)
    assert one == two
    assert one.text == E09.read_text(encoding="utf-8")
    line = 1 + next(number for number, text in enumerate(one.text.splitlines()) if "cycles: 1" in text)
    assert str(one.problem(("cell", 1, "sweep", "rate_mV_s"), 0.3, "too slow", "raise it")).startswith(
        f"{E09}:{line}: cell[1].sweep.rate_mV_s is 0.3; too slow; raise it"
    )


def mutated(text: str, chance: random.Random) -> str:
    """The text with one to three accidents."""
    for _ in range(chance.randint(1, 3)):
        lines = text.split("\n")
        here, there = chance.randrange(len(lines)), chance.randrange(len(lines))
        place = chance.randrange(len(text))
        match chance.randrange(6):
            case 0:
                text = text[:place] + chance.choice(CHARACTERS) + text[place:]
            case 1:
                text = text[:place] + text[place + chance.randint(1, 8) :]
            case 2:
                text = text[:place] + chance.choice(CHARACTERS) + text[place + 1 :]
            case 3:
                lines[here], lines[there] = lines[there], lines[here]
                text = "\n".join(lines)
            case 4:
                lines.insert(here, lines[there])
                text = "\n".join(lines)
            case _:
                text = text[:place]
        text = text or "\n"
    return text


def problems_of(text: str) -> tuple[Problem, ...]:
    """What a file is refused for; anything but BadInput escapes from here."""
    try:
        experiment_from_text(text, "mutated.yaml")
    except BadInput as error:
        return error.problems
    return ()


def test_mutated_files_are_read_or_refused_with_a_remedy() -> None:
    chance = random.Random(SEED)
    text = E09.read_text(encoding="utf-8")
    stripped = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("#"))
    refused = 0
    for _ in range(MUTATIONS):
        found = problems_of(mutated(stripped, chance))
        refused += bool(found)
        for problem in found:
            assert problem.file == "mutated.yaml"
            assert problem.limit
            assert problem.remedy
            assert problem.line is not None or "empty" in problem.limit
    assert refused > MUTATIONS // 3, "a fuzz that breaks nothing tests nothing"


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    path = tmp_path / "random.yaml"
    for length in range(1, 60):
        path.write_bytes(chance.randbytes(length))
        with pytest.raises(BadInput):
            read_experiment(path)
