"""The bytes of the hop protocol, version 1, as `docs/reference/hop-protocol.md` says, for the reference server."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

import numpy as np

from opsicm.core.facts import Channel
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.instruments.roles import HopPlan

# -- The frame. Section "Frame" of the specification.

MAGIC: Final = b"HOPC"
VERSION: Final = 1
HEADER: Final = struct.Struct("<4sBBHIII")  # magic, version, type, reserved, sequence, length, CRC-32
LONGEST: Final = 1 << 20  # [bytes] of a payload
_MOST_GARBAGE: Final = 1 << 16  # [bytes] in a row that are no frame: whoever sends them speaks something else


class Kind(IntEnum):
    """Types of frames. Section "Messages"."""

    HELLO = 0x01
    ARM = 0x02
    PLAN = 0x03
    ABORT = 0x04
    WITHDRAW = 0x05
    BEAT = 0x06
    ACK = 0x80
    WELCOME = 0x81
    TIME = 0x86
    ERROR = 0x8F
    BLOCK = 0xC1
    RECORDS = 0xC2
    END = 0xC3


class Refusal(IntEnum):
    """Codes of ERROR. Section "Refusals"."""

    VERSION = 1
    IN_USE = 2
    NOT_ALLOWED = 3
    NOT_ARMED = 4
    LATCHED = 5
    LIMIT = 6
    MALFORMED = 7
    UNKNOWN = 8
    RUNNING = 9
    BUSY = 10
    OLD = 11


class State(IntEnum):
    """Section "States"."""

    IDLE = 0
    ARMED = 1
    RUNNING = 2
    LATCHED = 3


class Reason(IntEnum):
    """Why it is latched, or why a plan has ended. Section "Reasons"."""

    NONE = 0
    COMPLETED = 1
    ABORTED = 2
    OVERLOAD = 3
    SILENCE = 4
    LINE = 5
    SAFE_CLIENT = 6
    WITHDRAWN = 7
    FAULT = 8


# Lowest and highest version, client, reserved, session, silence [ms], length of the name; then the name.
HELLO: Final = struct.Struct("<BBBBQHB")
WELCOME: Final = struct.Struct("<BBBBHHIII13d")
PLAN: Final = struct.Struct("<iqq6dI")
HOP: Final = np.dtype([("x", "<f8"), ("y", "<f8"), ("amplitude", "<f8"), ("line", "<i4"), ("pixel", "<i4")])
ACK: Final = struct.Struct("<BBBBd")  # state, reason, repeated, reserved, z [m]
BEAT: Final = struct.Struct("<Q")
TIME: Final = struct.Struct("<QqQdBBH")  # echo, device time [ns], ticks, z [m], state, reason, reserved
ERROR: Final = struct.Struct("<HH")  # code, length of the text
BLOCK: Final = struct.Struct("<IiqqIHH")  # index, segment, first sample, time of it [ns], samples, channels, reserved
RECORDS: Final = struct.Struct("<I")  # how many
END: Final = struct.Struct("<BBHIIq")  # reason, state, reserved, hops, blocks, next sample
_COLUMNS: Final = ("x", "y", "line", "pixel", "amplitude")
RECORD: Final = np.dtype(
    [
        ("hop", "<i8"),
        ("line", "<i4"),
        ("pixel", "<i4"),
        ("x", "<f8"),
        ("y", "<f8"),
        ("segment", "<i4"),
        ("sample_start", "<i8"),
        ("sample_fall", "<i8"),
        ("sample_stop", "<i8"),
        ("sample_top", "<i8"),
        ("t_ns", "<i8"),
        ("i_ref", "<f8"),
        ("i_stop", "<f8"),
        ("setpoint", "<f8"),
        ("z_stop", "<f8"),
        ("z_min", "<f8"),
        ("cell_potential", "<f8"),
        ("cell_current", "<f8"),
        ("bias_residual", "<f8"),
        ("outcome", "<u1"),
        ("flags", "<u4"),
    ]
)
SAFE_CLIENT: Final = 2


def frame(kind: int, sequence: int, payload: bytes = b"") -> bytes:
    """One frame."""
    covered = struct.pack("<BBHII", VERSION, kind, 0, sequence, len(payload))
    return MAGIC + covered + struct.pack("<I", zlib.crc32(payload, zlib.crc32(covered))) + payload


class Frames:
    """Cuts what arrives into frames. What is none is skipped up to the next magic; `skipped` counts its bytes."""

    def __init__(self) -> None:
        self._received = bytearray()
        self.skipped = 0
        self._in_a_row = 0

    @property
    def waiting(self) -> bool:
        """Whether a frame has begun and is not whole."""
        return bool(self._received)

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """(type, sequence, payload) of every frame that is whole now; `ValueError` after too much that is none."""
        self._received += data
        received = self._received
        while True:
            at = received.find(MAGIC)
            if at < 0:
                at = max(0, len(received) - len(MAGIC) + 1)  # a magic may have begun
            if at:
                self._skip(at)
            if len(received) < HEADER.size:
                return
            _, version, kind, _, sequence, length, crc = HEADER.unpack_from(received)
            if length > LONGEST or version != VERSION:
                self._skip(len(MAGIC))
                continue
            if len(received) < HEADER.size + length:
                return
            payload = bytes(received[HEADER.size : HEADER.size + length])
            if zlib.crc32(payload, zlib.crc32(bytes(received[4 : HEADER.size - 4]))) != crc:
                self._skip(len(MAGIC))
                continue
            del received[: HEADER.size + length]
            self._in_a_row = 0
            yield kind, sequence, payload

    def _skip(self, count: int) -> None:
        del self._received[:count]
        self.skipped += count
        self._in_a_row += count
        if self._in_a_row > _MOST_GARBAGE:
            raise ValueError(f"{self._in_a_row} bytes that are no frame")


def text_of(text: str) -> bytes:
    """A text of at most 255 bytes, its length before it."""
    data = text.encode()[:255]
    return bytes([len(data)]) + data


def channel_of(channel: Channel) -> bytes:
    """One channel of WELCOME."""
    numbers = struct.pack("<ddd", channel.scale, channel.offset, channel.filter_Hz or 0.0)
    return numbers + text_of(channel.name) + text_of(channel.source)


def plan_of(payload: bytes) -> tuple[HopPlan, float]:
    """The plan of a PLAN, and its dwell height [m] or NaN."""
    segment, first_hop, until_ns, tip, fall_rate, setpoint, approach, amplitude, dwell_height, n = PLAN.unpack_from(
        payload
    )
    if len(payload) != PLAN.size + n * HOP.itemsize:
        raise ValueError(f"{n} hops in {len(payload)} bytes")
    hops = np.frombuffer(payload, HOP, n, PLAN.size)
    parameters = HopParameters(amplitude, fall_rate, setpoint, approach)
    # Copies: what is seen in received bytes cannot be written to, for which the compiled loop would be compiled anew.
    x, y, line, pixel, amplitudes = (hops[name].copy() for name in _COLUMNS)
    return HopPlan("", segment, first_hop, x, y, line, pixel, amplitudes, parameters, tip, until_ns), dwell_height
