"""What every cell step has: its word, and how often its slow rows are kept."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from opsicm.protocol.frozen import Frozen, Number

Leg = tuple[float, float, float]
"""(from [V], to [V], duration [s]) of one straight piece of a potential-controlled step."""


class TimedStep(Frozen):
    """A step of the cell; `record_every_s` is the period of its slow rows, None where the runner chooses."""

    word: ClassVar[str]
    record_every_s: Annotated[Number, Field(ge=1e-3, le=3600)] | None = None
