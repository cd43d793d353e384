"""What goes over the wire: calls, answers and errors as JSON, arrays as their bytes. Data only: nothing is executed."""

from __future__ import annotations

import base64
import json
from dataclasses import fields, is_dataclass
from typing import Any, Final

import numpy as np

from opsicm.core.facts import Channel, SampleBlock
from opsicm.experiment.controls import ConstantCurrent, OpenCircuit, PotentialRamp
from opsicm.instruments.hop import HopTiming
from opsicm.instruments.roles import CellReading, HopPlan, PlanOutcome

_KNOWN: Final[dict[str, type[Any]]] = {
    kind.__name__: kind
    for kind in (
        Channel,
        SampleBlock,
        CellReading,
        ConstantCurrent,
        OpenCircuit,
        PotentialRamp,
        HopTiming,
        HopPlan,
        PlanOutcome,
    )
}


def line(value: Any) -> bytes:
    """A value as one line."""
    return json.dumps(_plain(value)).encode() + b"\n"


def value(data: bytes) -> Any:
    """The value of a line."""
    return _value(json.loads(data))


def _plain(one: Any) -> Any:
    if isinstance(one, np.ndarray):
        kind = one.dtype.str if one.dtype.names is None else [list(part) for part in one.dtype.descr]
        return {"array": [kind, list(one.shape), base64.b64encode(np.ascontiguousarray(one).tobytes()).decode()]}
    if isinstance(one, np.generic):
        return one.item()
    if is_dataclass(one) and not isinstance(one, type):
        return {"kind": type(one).__name__, **{f.name: _plain(getattr(one, f.name)) for f in fields(one)}}
    if isinstance(one, list | tuple):
        return [_plain(part) for part in one]
    return one


def _value(one: Any) -> Any:
    if isinstance(one, list):
        return tuple(_value(part) for part in one)
    if not isinstance(one, dict):
        return one
    if "array" in one:
        kind, shape, data = one["array"]
        dtype = np.dtype(kind if isinstance(kind, str) else [tuple(part) for part in kind])
        return np.frombuffer(base64.b64decode(data), dtype).reshape(shape).copy()
    return _KNOWN[one.pop("kind")](**{name: _value(part) for name, part in one.items()})
