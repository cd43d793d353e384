"""Calls, answers and errors as lines of JSON, arrays as their bytes. Data only: nothing is executed."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

import numpy as np

from opsicm.core.facts import Channel, SampleBlock
from opsicm.experiment.controls import ConstantCurrent, OpenCircuit, PotentialRamp
from opsicm.experiment.hop_parameters import BiasLevels, HopParameters
from opsicm.instruments.hop import HopTiming
from opsicm.instruments.roles import CellReading, HopPlan, Identity, PlanOutcome, RoleState

_TYPES: Final[dict[str, type[Any]]] = {
    kind.__name__: kind
    for kind in (
        Channel,
        SampleBlock,
        CellReading,
        ConstantCurrent,
        OpenCircuit,
        PotentialRamp,
        HopParameters,
        BiasLevels,
        HopTiming,
        HopPlan,
        PlanOutcome,
        Identity,
        RoleState,
    )
}


def encode(value: Any) -> bytes:
    """A value as one line."""
    return json.dumps(_encoded(value)).encode() + b"\n"


def decode(line: bytes) -> Any:
    """The value of a line."""
    return _decoded(json.loads(line))


def _encoded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        kind = value.dtype.str if value.dtype.names is None else [list(part) for part in value.dtype.descr]
        return {"array": [kind, list(value.shape), base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()]}
    if isinstance(value, np.generic):
        return value.item()
    if is_dataclass(value) and not isinstance(value, type):
        return {"kind": type(value).__name__, **{f.name: _encoded(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, list | tuple):
        return [_encoded(part) for part in value]
    if isinstance(value, Mapping):
        return {"mapping": {str(name): _encoded(part) for name, part in value.items()}}
    return value


def _decoded(data: Any) -> Any:
    if isinstance(data, list):
        return tuple(_decoded(part) for part in data)
    if not isinstance(data, dict):
        return data
    if "mapping" in data:
        return {name: _decoded(part) for name, part in data["mapping"].items()}
    if "array" in data:
        kind, shape, text = data["array"]
        dtype = np.dtype(kind if isinstance(kind, str) else [tuple(part) for part in kind])
        return np.frombuffer(base64.b64decode(text), dtype).reshape(shape).copy()
    return _TYPES[data.pop("kind")](**{name: _decoded(part) for name, part in data.items()})
