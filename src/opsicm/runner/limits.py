"""The limits of a run, checked at every reading and every plan of hops."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import LimitCrossed, Problem
from opsicm.core.facts import Outcome
from opsicm.experiment.setup import COLLAPSED, READABLE, Envelope
from opsicm.instruments.hop import LOST_AFTER
from opsicm.instruments.roles import CellReading, RoleState

VOLTAGE_CLAMP: Final = "voltage_clamp"
_CONTACT: Final = int(Outcome.CONTACT)


class Limits:
    """Raises `LimitCrossed` when the cell or the pipette leaves the envelope or the surface is lost."""

    def __init__(self, envelope: Envelope, z_range: tuple[float, float]) -> None:
        self._envelope = envelope
        self._z_range = z_range
        self._missed = 0
        self._first_far_current = 0.0

    def check_cell(self, reading: CellReading) -> None:
        """Compare the cell's potential and current with the envelope."""
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

    def check_pipette(self, current: float) -> None:
        """Compare a pipette current [A] with the envelope."""
        if not abs(current) <= self._envelope.pipette_current:
            raise LimitCrossed(
                Problem(
                    "pipette current",
                    f"{current * 1e9:.4g} nA",
                    f"envelope.pipette_nA is {self._envelope.pipette_nA:g}",
                    "inspect the tip: it may be broken; widen the envelope for a larger aperture",
                )
            )

    def check_reading(self, current: float, at_nominal: bool) -> None:
        """Check a reading of the pipette current [A]: at the experiment's bias, `at_nominal`, it is a far current too.

        A far current of less than a tenth of the first one is a touch or a clog.
        """
        self.check_pipette(current)
        if not at_nominal:
            return
        first = self._first_far_current = self._first_far_current or abs(current)
        if first > READABLE and abs(current) < COLLAPSED * first:
            raise LimitCrossed(
                Problem(
                    "pipette current",
                    f"{current * 1e9:.3g} nA far from the surface",
                    f"it was {first * 1e9:.3g} nA when the run began: the pipette touches, is clogged, or the "
                    "cell current cancels its bias",
                    "withdraw by hand and inspect the tip; park higher if the specimen has swollen",
                )
            )

    def check_amplifier(self, state: RoleState) -> None:
        """Stop where the amplifier tells a mode in which its output is no current: every hop would end at random.

        A gain or a filter that is not the rig file's is flagged instead: hops judge a relative drop, and the record
        can be mended by the factor.
        """
        mode = state.settings.get("mode", VOLTAGE_CLAMP)
        if mode != VOLTAGE_CLAMP:
            limit = "only in voltage clamp is the scaled output the pipette's current"
            remedy = "turn the mode switch to voltage clamp, then start again"
            raise LimitCrossed(Problem("amplifier mode", str(mode).replace("_", " "), limit, remedy))

    def _check_scanner(self, record: Any) -> None:
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

    def share_of_first(self, current: float) -> float | None:
        """A far current [A] over the first one of this tip [1]; None where that was too small to compare with."""
        first = self._first_far_current
        return abs(current) / first if first > READABLE else None

    def forget_tip(self) -> None:
        """Take the next reading as the first far current of a new tip."""
        self._first_far_current = 0.0

    def check_hops(self, records: NDArray[Any], count_misses: bool = True) -> None:
        """Check the outcomes of hops: an overload stops the run at once, a lost surface after `LOST_AFTER` misses.

        While engaging from far away misses are expected: `count_misses` false. A contact beyond the scanner's range
        stops it even then.
        """
        if not records.size:
            return
        # A vectorised test first: nearly every plan passes it, and a loop over records would cost more than the plan.
        if self._all_in_contact(records):
            self._missed = 0
        else:
            self._check_each(records, count_misses)
        self.check_pipette(float(np.max(np.abs(records["i_ref"]))))

    def _check_each(self, records: NDArray[Any], count_misses: bool) -> None:
        for record in records:
            if record["outcome"] == Outcome.OVERLOAD:
                raise LimitCrossed(
                    Problem(
                        "hop",
                        f"{record['hop']} drew {record['i_stop'] * 1e9:.3g} nA",
                        "the amplifier's overload limit of the rig file was passed",
                        "inspect the tip and the bias before going on",
                    )
                )
            missed = count_misses and record["outcome"] in (Outcome.NO_CONTACT, Outcome.BELOW_AT_START)
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
            if count_misses or record["outcome"] == Outcome.CONTACT:  # the coarse stage follows a contact
                self._check_scanner(record)

    def _all_in_contact(self, records: NDArray[Any]) -> bool:
        """Whether every hop met the surface within the scanner's range."""
        low, high = self._z_range
        inside = (records["z_min"] > low) & (records["z_min"] <= records["z_stop"]) & (records["z_stop"] < high)
        return bool(np.all(inside & (records["outcome"] == _CONTACT)))
