"""Facts: what happened, append-only, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Track = Literal["cell", "probe", "run"]
Kind = Literal[
    "run_started",
    "step_started",
    "intent",
    "applied",
    "step_ended",
    "hops",
    "command",
    "quality",
    "alarm",
    "gap",
    "note",
    "tip_exchanged",
    "run_ended",
]


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that happened at `t_ns` (nanoseconds since the run started, monotonic)."""

    seq: int
    t_ns: int
    kind: Kind
    track: Track
    step: str
    data: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """This fact as a line of JSON, without the line end."""
        fields = {
            "seq": self.seq,
            "t_ns": self.t_ns,
            "kind": self.kind,
            "track": self.track,
            "step": self.step,
            "data": dict(self.data),
        }
        return json.dumps(fields, ensure_ascii=False, allow_nan=False)

    @staticmethod
    def from_line(line: str) -> Fact:
        """The fact that a line of a journal holds, with or without the checksum that the file has behind it."""
        fields = json.loads(line)
        fields.pop("crc32", None)
        return Fact(**fields)


# -- Channels: the quantities that are sampled, always under these names.


Policy = Literal["full", "decimated", "off"]


class Quality(IntEnum):
    """State of a channel during a block."""

    GOOD = 0
    SATURATED = 1
    STALE = 2
    MISSING = 3
    SUSPECT = 4


@dataclass(frozen=True, slots=True)
class Channel:
    """One sampled quantity: SI value = counts * scale + offset.

    `sign` says in words what a positive number means; `source` names the device; `filter_Hz` is the −3 dB
    frequency of the low-pass before the converter, None where there is none.
    """

    name: str
    quantity: str
    unit: str
    sign: str
    scale: float
    offset: float
    source: str
    filter_Hz: float | None = None
    policy: Policy = "full"

    def si(self, counts: NDArray[np.int16]) -> NDArray[np.float64]:
        """Counts in SI units."""
        return counts.astype(np.float64) * self.scale + self.offset


# name → (quantity, unit, what positive means)
MEANING: Final[dict[str, tuple[str, str, str]]] = {
    "pipette_current": ("ion current through the pipette", "A", "positive flows out of the pipette into the bath"),
    "z": ("measured height of the pipette", "m", "positive is up, away from the specimen"),
    "z_command": ("commanded height of the pipette", "m", "positive is up, away from the specimen"),
    "pipette_bias": (
        "command voltage at the amplifier",
        "V",
        "added to the pipette electrode against amplifier ground",
    ),
    "cell_potential": ("specimen potential", "V", "against Li/Li+ at the reference electrode"),
    "cell_current": ("current through the specimen", "A", "negative lithiates"),
    "x": ("lateral position", "m", "along the fast axis"),
    "y": ("lateral position", "m", "along the slow axis"),
}


def channel(
    name: str, scale: float, source: str, offset: float = 0.0, filter_Hz: float | None = None, policy: Policy = "full"
) -> Channel:
    """A channel under one of the fixed names, with the meaning that name always has."""
    quantity, unit, sign = MEANING[name]
    return Channel(name, quantity, unit, sign, scale, offset, source, filter_Hz, policy)


# -- The hop record: one row per approach and withdrawal.


class Outcome(IntEnum):
    """How a hop ended."""

    CONTACT = 0
    NO_CONTACT = 1
    BELOW_AT_START = 2
    OVERLOAD = 3
    ABORTED = 4


AMPLIFIER_FLAG: Final = 1
"""Bit of a hop's `flags`: the amplifier's gain or filter was not the rig file's, so its currents have another scale."""
HOP_DTYPE: Final = np.dtype(
    [
        ("hop", "i8"),
        ("line", "i4"),
        ("pixel", "i4"),
        ("x", "f8"),
        ("y", "f8"),
        ("segment", "i4"),
        ("sample_start", "i8"),
        ("sample_fall", "i8"),
        ("sample_stop", "i8"),
        ("sample_top", "i8"),
        ("t_ns", "i8"),
        ("i_ref", "f8"),
        ("i_stop", "f8"),
        ("setpoint", "f8"),
        ("z_stop", "f8"),
        ("z_min", "f8"),
        ("cell_potential", "f8"),
        ("cell_current", "f8"),
        ("bias_residual", "f8"),
        ("outcome", "u1"),
        ("flags", "u4"),
    ]
)
"""Fields of a hop; `step` (text path, as `probe[0]`) stands beside the array. SI units; `t_ns` at the stop."""


# -- Blocks of samples on one clock: sample k of a segment is at t0_ns + k*dt_ns, in integers.


@dataclass(frozen=True, slots=True)
class SampleBlock:
    """`counts` [n, channel], C order, int16; `t0_ns` is the time of the block's first sample.

    `first_sample` is the index of that sample in its segment; `quality` [channel] says what to think of it.
    """

    segment: int
    first_sample: int
    t0_ns: int
    dt_ns: int
    counts: NDArray[np.int16]
    quality: NDArray[np.uint8]
