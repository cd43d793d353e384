"""Facts: what happened, append-only, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Track = Literal["cell", "probe", "run"]
Kind = Literal[
    "run_started", "step_started", "intent", "applied", "step_ended", "hops", "command", "quality", "alarm", "gap",
    "note", "tip_exchanged", "run_ended",
]  # fmt: skip


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
            "seq": self.seq, "t_ns": self.t_ns, "kind": self.kind, "track": self.track, "step": self.step,
            "data": dict(self.data),
        }  # fmt: skip
        return json.dumps(fields, ensure_ascii=False, allow_nan=False)

    @staticmethod
    def from_line(line: str) -> Fact:
        """The fact that a line of a journal holds."""
        return Fact(**json.loads(line))
