"""What a call of a remote rig carries arrives as it was sent: plans, their outcome, controls, readings."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from opsicm.emulators.messages import decode, encode
from opsicm.instruments.roles import Rig
from tests.fixtures.laboratory import Laboratory
from tests.fixtures.rig_contract import plan
from tests.twin.test_twin_rig import twin


def same(one: Any, other: Any) -> bool:
    """Whether two values are of one type and equal, arrays and what is inside dataclasses too."""
    if isinstance(one, np.ndarray):
        return bool(one.dtype == other.dtype and np.array_equal(one, other))
    if is_dataclass(one):
        return type(one) is type(other) and all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def sent(value: Any) -> Any:
    """The value on the other side of the socket."""
    return decode(encode(value).rstrip(b"\n"))


def test_a_plan_and_what_it_leaves_arrive_as_they_were_sent(laboratory: Laboratory) -> None:
    rig: Rig = twin(laboratory)
    assert same(plan(3), sent(plan(3)))
    outcome = rig.hop_controller.run(plan(2), lambda: False)
    assert same(outcome, sent(outcome))
    reading = rig.potentiostat.read()
    assert same(reading, sent(reading))
    assert same(rig.hop_controller.timing, sent(rig.hop_controller.timing))
    assert same(rig.hop_controller.channels, sent(rig.hop_controller.channels))
