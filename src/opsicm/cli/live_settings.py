"""What the runner gets from layers above it: the check of a setting changed during a run, and image registration."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.topography.registration import register
from opsicm.cli.rigs import rig_numbers
from opsicm.core.errors import BadInput, Problem
from opsicm.experiment.data_files import amplitude_maps
from opsicm.experiment.file import LoadedExperiment
from opsicm.experiment.hop_parameters import SETTABLE, HopParameters
from opsicm.experiment.model import Experiment
from opsicm.experiment.probe_steps import ApproachingStep
from opsicm.experiment.program import written_steps
from opsicm.experiment.rig_file import LoadedRig
from opsicm.experiment.validation import validated
from opsicm.forecast.prediction import predict
from opsicm.forecast.problems import problems


class Revisions:
    """Changes of a step's hop parameters during a run, checked as `check` would check the changed experiment file."""

    def __init__(self, loaded: LoadedExperiment, rig: LoadedRig, seed: int | None = None) -> None:
        self._loaded = loaded
        self._rig = rig
        self._seed = seed

    def __call__(self, path: str, key: str, value: float) -> HopParameters:
        """The hop parameters of the step at `path` with `key` set to `value`; raises `BadInput` if refused."""
        document = self._loaded.document
        data = copy.deepcopy(document.data)
        settings = next(placed.step for placed in written_steps("probe", data["probe"]) if placed.path == path)
        if key not in settings:
            own = ", ".join(f"probe.{known}" for known in SETTABLE if known in settings)
            raise BadInput(Problem(f"probe.{key}", f"{value:g}", f"{path} has no {key}", f"what can be set is {own}"))
        settings[key] = value
        document = replace(document, data=data)
        try:  # in the words of `check`, without the line of the file, which says something else
            changed = replace(self._loaded, experiment=validated(document, Experiment), document=document)
            numbers = rig_numbers(changed, self._rig, self._seed)
            if refused := problems(changed, numbers, predict(changed.experiment, numbers, amplitude_maps(changed))):
                raise BadInput(refused)
        except BadInput as error:
            raise BadInput([replace(problem, file=None, line=None) for problem in error.problems]) from None
        self._loaded = changed
        step = next(placed.step for placed in written_steps("probe", changed.experiment.probe) if placed.path == path)
        assert isinstance(step, ApproachingStep), "only such a step has hop parameters"
        return changed.experiment.hop_parameters(step)


def shift_between(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """(rows, columns) [px] by which `second` is shifted against `first`."""
    shift = register(first, second)
    return shift.dy, shift.dx
