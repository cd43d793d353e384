"""What the runner is given from floors that it may not see: judgement of a change, registration, amplitude maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from opsicm.analysis.topography.registration import register
from opsicm.cli.rigs import rig_numbers
from opsicm.core.errors import BadInput, Problem
from opsicm.experiment.data_files import amplitude_map
from opsicm.experiment.file import LoadedExperiment
from opsicm.experiment.model import Experiment
from opsicm.experiment.probe_steps import Raster, probe_sequence
from opsicm.experiment.rig_file import LoadedRig
from opsicm.forecast.prediction import predict
from opsicm.forecast.problems import problems
from opsicm.runner.hop_words import HopWords
from opsicm.runner.procedures import words_of


class Revisions:
    """Changes of how a step hops, judged as `check` judges the file: the experiment as it would then read."""

    def __init__(self, loaded: LoadedExperiment, rig: LoadedRig) -> None:
        self._loaded = loaded
        self._rig = rig

    def __call__(self, path: str, key: str, value: float) -> HopWords:
        """How the step at `path` hops with `key` at `value`, and from now on; raises `BadInput` where it may not."""
        data = self._loaded.experiment.model_dump(mode="json", exclude_unset=True)
        step = _step_at(data, path)
        if key not in step:
            raise BadInput(Problem(f"probe.{key}", f"{value:g}", f"{path} has no {key}", "set what it has"))
        step[key] = value
        try:
            changed = replace(self._loaded, experiment=Experiment.model_validate(data))
        except ValidationError as error:
            limit = "; ".join(str(one["msg"]) for one in error.errors())
            raise BadInput(Problem(f"probe.{key}", f"{value:g}", limit, "set another value")) from None
        numbers = rig_numbers(changed, self._rig)
        found = problems(changed, numbers, predict(changed.experiment, numbers))
        if found:
            raise BadInput([replace(problem, file=None, line=None) for problem in found])
        self._loaded = changed
        words = next(words_of(step) for name, step in probe_sequence(changed.experiment.probe) if name == path)
        assert words is not None
        return words


def _step_at(data: dict[str, Any], path: str) -> dict[str, Any]:
    """The settings of `probe[2]` or `probe[2].1` in an experiment's plain form."""
    first, *inner = path.removeprefix("probe[").replace("]", "").split(".")
    step: dict[str, Any] = next(iter(data["probe"][int(first)].values()))
    for number in inner:
        step = next(iter(step["steps"][int(number)].values()))
    return step


def shift_between(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """(rows, columns) by which the pattern of `second` lies beside that of `first` [px]."""
    shift = register(first, second)
    return shift.dy, shift.dx


def amplitude_maps(loaded: LoadedExperiment) -> dict[str, NDArray[np.float64]]:
    """The amplitude maps [m] of an experiment's rasters by the path of their step; `BadInput` names a bad file."""
    maps: dict[str, NDArray[np.float64]] = {}
    for index, step in enumerate(loaded.experiment.probe):
        if isinstance(step, Raster) and (found := amplitude_map(loaded, index, step)) is not None:
            maps[f"probe[{index}]"] = found
    return maps
