"""The experiment: two programs on one clock, and what they may not leave. Intent, frozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from opsicm.protocol.cell_program import CellStep, program_duration
from opsicm.protocol.coherence import refusals_between
from opsicm.protocol.envelope import Envelope
from opsicm.protocol.frozen import Frozen, Text, Whole
from opsicm.protocol.pipette import Pipette
from opsicm.protocol.probe_program import ProbeStep
from opsicm.protocol.record_policy import Record
from opsicm.protocol.refusal import Refusal
from opsicm.protocol.specimen import Electrolyte, Specimen
from opsicm.protocol.twin_settings import Twin
from opsicm.protocol.vary import Vary, vary_refusals


class Experiment(Frozen):
    """What a laboratory wants done: a cell program, while a probe program, within an envelope.

    `rig` names a twin (`twin/graphite`) or a rig file; `opsicm` is the version of this vocabulary.
    """

    opsicm: Annotated[Whole, Field(ge=1, le=1, examples=[1])]
    title: Annotated[Text, Field(examples=["height during a voltammogram"])]
    rig: Annotated[Text, Field(examples=["twin/graphite"])]
    pipette: Annotated[Pipette, Field(examples=[{"bias_V": 0.7}])]
    specimen: Specimen = Specimen()
    electrolyte: Electrolyte = Electrolyte()
    cell: Annotated[tuple[CellStep, ...], Field(min_length=1, examples=[[{"open_circuit": {"for_s": 300}}]])]
    probe: tuple[ProbeStep, ...] = ()
    envelope: Envelope = Envelope()
    record: Record = Record()
    twin: Twin = Twin()
    vary: Vary = Field(default_factory=dict)

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """What is wrong between the programs and the envelope, and what `vary` cannot reach."""
        yield from refusals_between(given)
        yield from vary_refusals(cls, given)

    @property
    def longest_duration(self) -> float | None:
        """Sum of the longest durations of the cell steps [s]; None when one is bounded by cut-offs only."""
        return program_duration(self.cell)
