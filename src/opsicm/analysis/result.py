"""A result: a value with uncertainty, unit and method, and the subject that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from typing import Any, Final

import xarray as xr

# How `label` writes the quantities that are not name, part, number and index in this order. Scripts search for these
# texts: `analyse --json` has called these results so since version 0.1.0.
_LABELS: Final = {
    "peak_current": "peak{_part}_current",
    "peak_potential": "peak{_index}{_part}_potential",
    "sweep_charge": "charge_sweep{_index}{_part}",
    "expansion_first_half": "expansion{_part}{_number}_first_half",
    "expansion_second_half": "expansion{_part}{_number}_second_half",
    "height_change_over_pixels": "height_change{_part}{_number}_over_pixels",
    "transition_from_height": "transition{_part}{_number}_from_height",
    "transition_from_potential": "transition{_part}{_number}_from_potential",
    **{roughness: "{name} {part}" for roughness in ("Sq", "Rq", "Sa", "Sz", "Ssk", "Sku")},
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a result belongs to. An empty field does not apply, or there is only one such thing in the run or file.

    Where it was measured: `source`, a curve, record or channel of a file, and `curve`, its number there; `run`, one of
    several; `step`, the path of a probe step, with its `occurrence` (which of the run's towers or pipette sweeps) or
    its `segment` (which of the step's); `image`, which of a series. Which part of that: `part`, such as a branch
    ("lithiation"), a direction ("cathodic"), a time ("lowest_potential") or a levelling ("after plane"), and `number`
    among several such parts. All count from 1.
    """

    source: str = ""
    curve: int | None = None
    run: str = ""
    step: str = ""
    occurrence: int | None = None
    segment: int | None = None
    image: int | None = None
    part: str = ""
    number: int | None = None

    @property
    def recording(self) -> str:
        """The curve, record or channel of a file; "" where the file holds one."""
        return ": ".join(filter(None, [self.source, "" if self.curve is None else f"curve {self.curve}"]))

    @property
    def location(self) -> str:
        """The probe step, its segment, the image and the run; "" where the run has one of each."""
        step = self.step if self.occurrence is None else f"{self.step}#{self.occurrence}"
        segment = "" if self.segment is None else f"segment_{self.segment}"
        image = "" if self.image is None else f"image_{self.image}"
        return " ".join(filter(None, [step, segment, image, self.run]))

    def record(self) -> dict[str, str | int]:
        """The fields that apply, by name: {} for the run or file as a whole."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None)}


WHOLE: Final = Subject()


@dataclass(frozen=True, slots=True)
class Result:
    """A measured quantity: value, standard uncertainties (k = 1), unit, method, and the trace that shows why.

    `name` is the quantity alone; `of` says what it belongs to, `index` which of several of one quantity there (peaks,
    stages), from 1. `u` is the repeatability: the standard deviation of this number if the run were repeated on the
    same specimen. `u_calibration` is that of the instrument and of the specimen's stated dimensions, which
    `calibrations` names, as ("z", "thickness"): common to all results of a run, no part of `u`, None where it is not
    known or where everything cancels.
    `outcome` is "ok" or a named reason ("no hops", "constant current"); `value` is None unless it is "ok".
    `reason` is a sentence: what happened and what to do. `flags` are counts, as {"bad_hops": 3}.
    """

    name: str
    value: float | None
    u: float | None
    unit: str
    method: str
    outcome: str = "ok"
    reason: str = ""
    flags: Mapping[str, int] = field(default_factory=dict)
    trace: xr.DataArray | xr.Dataset | None = field(default=None, compare=False, repr=False)
    of: Subject = WHOLE
    index: int | None = None
    u_calibration: float | None = None
    calibrations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.value is None) == (self.outcome == "ok"):
            raise ValueError(f"result {self.label}: value is {self.value} but outcome is {self.outcome!r}")
        numbers = (self.value, self.u, self.u_calibration) if self.value is not None else ()
        if any(number is not None and not isfinite(number) for number in numbers):
            raise ValueError(
                f"result {self.label}: {self.value} ± {self.u} is not a number; give an outcome and a reason instead"
            )

    @property
    def label(self) -> str:
        """The result as one text, for tables and people; select by `name`, `of` and `index` instead."""
        of = self.of
        parts = {"part": of.part, "number": of.number, "index": self.index}
        joined = {f"_{key}": "" if value in ("", None) else f"_{value}" for key, value in parts.items()}
        pattern = _LABELS.get(self.name, "{name}{_part}{_number}{_index}")
        text = pattern.format(name=self.name, part=of.part, **joined)
        return ": ".join(filter(None, [of.recording, " ".join(filter(None, [text, of.location]))]))

    def within(self, **fields: Any) -> Result:
        """The same result with these fields of `of` set, as `within(step="probe[1]", segment=2)`."""
        return replace(self, of=replace(self.of, **fields))

    def record(self) -> dict[str, Any]:
        """The keys that `--json` prints: everything but the trace; "name" is the label."""
        return {
            "name": self.label,
            "quantity": self.name,
            "of": self.of.record(),
            "index": self.index,
            "value": self.value,
            "u": self.u,
            "u_calibration": self.u_calibration,
            "calibrations": list(self.calibrations),
            "unit": self.unit,
            "method": self.method,
            "outcome": self.outcome,
            "reason": self.reason,
            "flags": dict(self.flags),
        }


def failed(
    name: str, unit: str, method: str, outcome: str, reason: str, of: Subject = WHOLE, index: int | None = None
) -> Result:
    """A result without a value: `outcome` names why, `reason` is a sentence with the remedy."""
    return Result(name, None, None, unit, method, outcome, reason, of=of, index=index)


PLAUSIBILITY: Final = "plausibility"


def doubt(kind: str, text: str, index: int | None = None) -> Result:
    """What a person would look at before believing a number: its `kind`, and the evidence with the remedy."""
    return failed(PLAUSIBILITY, "1", "what a person would check first", kind, text, index=index)
