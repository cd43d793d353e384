"""Check: an experiment against its rig, before anything moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from opsicm.app.rigs import load_rig, rig_numbers
from opsicm.errors import BadInput, OutsideDomain, Problem
from opsicm.preflight.prediction import Prediction, predict
from opsicm.preflight.problems import problems
from opsicm.protocol.expansion import expanded
from opsicm.protocol.experiment_file import LoadedExperiment, read_experiment


def checked(file: Path, rig: str | None) -> list[tuple[LoadedExperiment, Prediction]]:
    """Each run that an experiment file stands for with its prediction; raises `BadInput` with every problem found."""
    found: list[Problem] = []
    predictions: list[tuple[LoadedExperiment, Prediction]] = []
    for experiment in expanded(read_experiment(file)):
        try:
            predictions.append((experiment, refuse(experiment, rig, None)))
        except BadInput as error:
            found += [problem for problem in error.problems if problem not in found]
    if found:
        raise BadInput(found)
    return predictions


def refuse(experiment: LoadedExperiment, rig: str | None, seed: int | None) -> Prediction:
    """The prediction for one run; raises `BadInput` with every problem between it and its rig."""
    if seed is not None and not 0 <= seed < 2**63:
        raise BadInput(Problem("--seed", str(seed), "must be 0 or more, and below 2^63", "give a whole number"))
    loaded = load_rig(experiment, rig)
    try:
        numbers = rig_numbers(experiment, loaded)
        prediction = predict(experiment.experiment, numbers)
    except OutsideDomain as error:  # an equation that does not hold for the file's numbers knows no file
        document = experiment.document
        raise BadInput(replace(p, file=document.name, line=document.line(())) for p in error.problems) from error
    found = problems(experiment, numbers, prediction)
    if found:
        raise BadInput(found)
    return prediction
