"""The limits of a run, checked at every reading and every plan of hops."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import LimitCrossed, Problem
from opsicm.core.facts import Outcome
from opsicm.experiment.setup import COLLAPSED, READABLE, Envelope
from opsicm.instruments.roles import CellReading

_CONTACT: Final = int(Outcome.CONTACT)
LOST_AFTER: Final = 10  # hops in a row without contact: the surface is lost, not rough


class Limits:
    """Raises `LimitCrossed` when the cell or the pipette leaves the envelope or the surface is lost."""

    def __init__(self, envelope: Envelope, z_range: tuple[float, float]) -> None:
        self._envelope = envelope
        self._z_range = z_range
        self._missed = 0
        self._usual = 0.0

    def cell(self, reading: CellReading) -> None:
        """The cell's potential and current against the envelope."""
        low, high = self._envelope.cell_V
        if not low <= reading.potential <= high:
            raise LimitCrossed(
                Problem(
                    "cell potential",
                    f"{reading.potential:.4f} V at {reading.t_ns * 1e-9:.1f} s",
                    f"envelope.cell_V is {low:g} … {high:g} V",
                    "widen the envelope only if the specimen allows it; with iR compensation the actual potential "
                    "goes beyond the program's by f i R_u",
                )
            )
        if not abs(reading.current) <= self._envelope.cell_current:
            raise LimitCrossed(
                Problem(
                    "cell current",
                    f"{reading.current * 1e3:.4g} mA at {reading.t_ns * 1e-9:.1f} s",
                    f"envelope.cell_mA is {self._envelope.cell_mA:g}",
                    "sweep more slowly, or widen the envelope if the specimen allows it",
                )
            )

    def pipette(self, current: float) -> None:
        """A reading of the pipette current [A] against the envelope."""
        if not abs(current) <= self._envelope.pipette_current:
            raise LimitCrossed(
                Problem(
                    "pipette current",
                    f"{current * 1e9:.4g} nA",
                    f"envelope.pipette_nA is {self._envelope.pipette_nA:g}",
                    "look at the tip: it may be broken; widen the envelope for a larger aperture",
                )
            )

    def reading(self, current: float, nominal: bool) -> None:
        """A reading of the pipette current [A]: far from the surface at the bias, or anywhere at another one."""
        if nominal:
            self.far(current)
        else:
            self.pipette(current)

    def far(self, current: float) -> None:
        """A reading far from the surface: the first one is what is usual, and a tenth of it is a touch or a clog."""
        self.pipette(current)
        self._usual = self._usual or abs(current)
        if self._usual > READABLE and abs(current) < COLLAPSED * self._usual:
            raise LimitCrossed(
                Problem(
                    "pipette current",
                    f"{current * 1e9:.3g} nA far from the surface",
                    f"it was {self._usual * 1e9:.3g} nA when the run began: the pipette touches, is clogged, or the "
                    "cell current cancels its bias",
                    "withdraw by hand and look at the tip; park higher when the specimen swells meanwhile",
                )
            )

    def _scanner(self, record: Any) -> None:
        low, high = self._z_range
        if not low < record["z_min"] <= record["z_stop"] < high:
            raise LimitCrossed(
                Problem(
                    "pipette height",
                    f"{record['z_stop'] * 1e6:.3f} µm at hop {record['hop']}",
                    f"the scanner ends at {low * 1e6:g} and {high * 1e6:g} µm",
                    "bring the surface to mid-range by the coarse stage",
                )
            )

    def forget_tip(self) -> None:
        """Another tip: what is usual of it is yet to be seen."""
        self._usual = 0.0

    def hops(self, records: NDArray[Any], misses_matter: bool = True) -> None:
        """Outcomes of hops: an overload stops at once, a lost surface after `LOST_AFTER` misses in a row.

        An approach from far misses on purpose: `misses_matter` false.
        """
        if not records.size:
            return
        if self._as_usual(records):
            self._missed = 0
        else:
            self._one_by_one(records, misses_matter)
        self.pipette(float(np.max(np.abs(records["i_ref"]))))

    def _one_by_one(self, records: NDArray[Any], misses_matter: bool) -> None:
        for record in records:
            if record["outcome"] == Outcome.OVERLOAD:
                raise LimitCrossed(
                    Problem(
                        "hop",
                        f"{record['hop']} drew {record['i_stop'] * 1e9:.3g} nA",
                        "the amplifier's overload limit of the rig file was passed",
                        "look at the tip and the bias before going on",
                    )
                )
            missed = misses_matter and record["outcome"] in (Outcome.NO_CONTACT, Outcome.BELOW_AT_START)
            self._missed = self._missed + 1 if missed else 0
            if self._missed >= LOST_AFTER:
                raise LimitCrossed(
                    Problem(
                        "surface",
                        f"no contact in {self._missed} hops in a row, the last at z {record['z_min'] * 1e6:.3f} µm",
                        f"envelope.approach_um is {self._envelope.approach_um:g}",
                        "bring the pipette nearer by hand, allow a longer approach, or clean the tip",
                    )
                )
            if misses_matter:
                self._scanner(record)

    def _as_usual(self, records: NDArray[Any]) -> bool:
        """Whether every hop met the surface within the scanner's range: nearly always, and nothing is to be said."""
        low, high = self._z_range
        inside = (records["z_min"] > low) & (records["z_min"] <= records["z_stop"]) & (records["z_stop"] < high)
        return bool(np.all(inside & (records["outcome"] == _CONTACT)))
