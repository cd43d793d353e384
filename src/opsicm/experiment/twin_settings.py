"""Settings of a digital twin: seeds, physical terms and faults. A real rig refuses them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from opsicm.experiment.refusal import Refusal
from opsicm.experiment.step_model import FileModel, Flag, Number, Seconds, Whole

FaultKind = Literal[
    "drift",
    "clog",
    "break",
    "crash",
    "bubble",
    "fouling",
    "loose_reference",
    "saturated_amplifier",
    "lost_potentiostat",
    "late_answers",
    "clock_skew",
]
Share = Annotated[Number, Field(gt=0, le=1)]
FAULT_PARAMETERS: Final[dict[FaultKind, dict[str, float]]] = {
    "drift": {"pct_per_min": 5.0},
    "clog": {"share": 0.6, "rise_s": 0.05},
    "break": {"radius_nm": 100.0},
    "crash": {"rise_nm": 3000.0, "radius_nm": 100.0},
    "bubble": {"share": 0.95, "flicker_Hz": 20.0},
    "fouling": {"share": 0.3, "tau_s": 60.0},
    "loose_reference": {"amplitude_mV": 20.0, "flicker_Hz": 5.0},
    "saturated_amplifier": {},
    "lost_potentiostat": {},
    "late_answers": {"latency_ms": 100.0},
    "clock_skew": {"skew_ppm": 1000.0},
}
"""Every fault with its parameters and their defaults. `twin/faults.py` defines what a fault does."""


class FaultSettings(FileModel):
    """One fault: from `at_s` on, for `for_s` or to the end of the run, with the parameters of its kind."""

    display_name: ClassVar[str] = "fault"
    fault: Annotated[FaultKind, Field(examples=["clog"])]
    at_s: Annotated[Number, Field(ge=0, le=1e7, examples=[100])]
    for_s: Seconds | None = None
    pct_per_min: Annotated[Number, Field(ge=-1000, le=1000)] | None = None
    share: Share | None = None
    rise_s: Annotated[Number, Field(ge=1e-4, le=1e4)] | None = None
    rise_nm: Annotated[Number, Field(gt=0, le=1e5)] | None = None
    radius_nm: Annotated[Number, Field(ge=1, le=5000)] | None = None
    flicker_Hz: Annotated[Number, Field(ge=0.01, le=1000)] | None = None
    tau_s: Annotated[Number, Field(gt=0, le=1e6)] | None = None
    amplitude_mV: Annotated[Number, Field(gt=0, le=1000)] | None = None
    latency_ms: Annotated[Number, Field(gt=0, le=1000)] | None = None
    skew_ppm: Annotated[Number, Field(ge=-1e5, le=1e5)] | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """Every parameter must belong to the fault; a broken tip stays broken."""
        kind = given.get("fault")
        if not isinstance(kind, str) or kind not in FAULT_PARAMETERS:
            return
        parameters = FAULT_PARAMETERS[kind]
        for key in given:
            if key not in ("fault", "at_s", *parameters, *(() if kind == "break" else ("for_s",))):
                limit = f"{kind} has no such parameter; it takes {', '.join(parameters) or 'none'}"
                if key == "for_s":
                    limit = "a broken tip does not heal"
                yield Refusal((key,), given[key], limit, "delete it")

    def parameters(self) -> dict[str, float]:
        """Every parameter of this fault, in the unit of its name."""
        given = self.model_dump(include=set(FAULT_PARAMETERS[self.fault]), exclude_none=True)
        return {**FAULT_PARAMETERS[self.fault], **given}


class TermSwitches(FileModel):
    """Which terms of the physics above the specimen act on the pipette current."""

    display_name: ClassVar[str] = "terms"
    ohmic: Flag = True
    salt: Flag = True
    convection: Flag = True


class TwinSettings(FileModel):
    """The seed of every random number, the physical terms that are switched on, and the faults.

    With a `specimen_seed` of its own the specimen stays the same when `seed` changes: repeats differ in their noise.
    """

    display_name: ClassVar[str] = "twin"
    seed: Annotated[Whole, Field(ge=0, le=2**63 - 1)] = 1
    specimen_seed: Annotated[Whole, Field(ge=0, le=2**63 - 1)] | None = None
    terms: TermSwitches = TermSwitches()
    faults: tuple[FaultSettings, ...] = ()
