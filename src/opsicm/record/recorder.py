"""The interface between the runner and the record: the header, the slow row, and `Recorder`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from opsicm.core.facts import Channel, Fact, SampleBlock


@dataclass(frozen=True, slots=True)
class RunHeader:
    """What is known before the run: texts, channels, parameters with their status, user and versions."""

    title: str
    started_utc: str
    experiment_text: str
    rig_text: str
    channels: tuple[Channel, ...]
    dt_ns: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


def header_text(header: RunHeader) -> str:
    """A header as JSON."""
    return json.dumps(asdict(header), ensure_ascii=False, default=str)


def header_of(text: str) -> RunHeader:
    """The header that `header_text` wrote."""
    data = json.loads(text)
    data["channels"] = tuple(Channel(**channel) for channel in data["channels"])
    return RunHeader(**data)


@dataclass(frozen=True, slots=True)
class Reading:
    """A slow row, read between plans: the cell and the pipette, in SI; `set_point` is None without potential control.

    `soc` is None until a delithiated cut-off has given it a zero, and in a program without two cut-offs. Gain [V/A],
    filter [Hz] and mode are what the amplifier tells of itself; None and empty where it does not.
    """

    t_ns: int
    potential: float
    current: float
    charge: float
    set_point: float | None
    control: str
    soc: float | None
    pipette_current: float
    pipette_bias: float
    bias_residual: float
    z: float
    coarse_z: float
    amplifier_gain: float | None = None
    amplifier_filter: float | None = None
    amplifier_mode: str = ""


class Recorder(Protocol):
    """Records everything in the order of arrival."""

    def open(self, header: RunHeader) -> None:
        """Begin; raises before anything moves if the record cannot be kept."""
        ...

    def block(self, block: SampleBlock) -> None:
        """Keep raw samples."""
        ...

    def hops(self, step: str, records: NDArray[Any]) -> None:
        """Keep hop records (dtype HOP_DTYPE) of the probe step `step`."""
        ...

    def reading(self, reading: Reading) -> None:
        """Keep a slow row."""
        ...

    def fact(self, fact: Fact) -> None:
        """Keep a fact; an `intent` is on disk when this returns."""
        ...

    def close(self) -> Path:
        """Finish; returns the path of the run file."""
        ...


class LiveRecorder(Recorder, Protocol):
    """A recorder of a run as it happens: once closed, `unfinished` says why there is no run file, or is None."""

    unfinished: str | None
