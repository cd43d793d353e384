"""An EC-Lab text export that grows while the twin's cell is measured.

Form of the head, the titles, the numbers and the decimal comma: those of a file of EC-Lab v11.33 (`.mpt`, Cyclic
Voltammetry Advanced; ixdat's test data). EC-Lab appends rows in pieces, and so does this. The file is the `address` of
the rig file; a pattern gets the name of a technique in place of its asterisk. What runs the cell is the emulation's
experiment, from the moment at which the file begins.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from opsicm.core.errors import BadInput, Problem
from opsicm.emulators.paced_world import PacedWorld
from opsicm.emulators.registry import Entry
from opsicm.emulators.wire_faults import WireFaults
from opsicm.experiment.controls import CellAction, cell_actions
from opsicm.experiment.file import read_experiment
from opsicm.instruments.roles import CellReading, Rig

FAULTS: Final = ("late", "silent", "partial", "reset", "garbage", "nan", "stuck", "ticks")
_TITLES: Final = (
    "mode\tox/red\terror\tcontrol changes\tNs changes\tcounter inc.\ttime/s\tcontrol/V\tEwe/V\t<I>/mA\tcycle number\t"
    "(Q-Qo)/C\tI Range\tP/W\t"
)
_HEAD: Final = """EC-Lab ASCII FILE
Nb header lines : {lines}

Modulo Bat

Run on channel : 1 (SN 11259)
User :
Electrode connection : standard
Ewe ctrl range : min = -10,00 V, max = 10,00 V
Acquisition started on : 11/30/2026 10:31:01
Technique started on : 11/30/2026 10:31:03
Saved on :
\tFile : twin_MB_C01.mpr
Device : SP-200 (SN 0961)
EC-Lab for windows v11.33 (software)
Text export
   Mode : Standard
   Time format : Elapsed

{titles}
"""


_BEGINNING: Final = _HEAD.format(lines=_HEAD.count("\n"), titles=_TITLES).replace("\n", "\r\n").encode("latin-1")


def written(value: float, digits: int) -> str:
    """A number as EC-Lab writes it: a decimal comma, an exponent of three digits."""
    mantissa, _, exponent = f"{value:.{digits}E}".partition("E")
    return f"{mantissa}E{int(exponent):+04d}".replace(".", ",")


class GrowingFile:
    """Writes a row every `rows_every` [s], and the rows to the disk every `writes_every` [s]."""

    def __init__(self, world: PacedWorld, entry: Entry, rows_every: float = 0.05, writes_every: float = 0.1) -> None:
        self.faults = WireFaults(entry.driver, FAULTS)
        self.address = entry.address
        self.path = Path(entry.address.replace("*", "01_MB_C01"))
        self._refuse_what_is_not_ours()
        self._world, self._rows_every, self._writes_every = world, rows_every, writes_every
        self._actions = _program(entry)
        self._ends_ns = 0
        self._began_ns = world.now_ns()
        self._last = ""
        self._begin_file()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="growing-file", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _refuse_what_is_not_ours(self) -> None:
        """`BadInput` for a file that exists and that this did not write, as the record of a real measurement."""
        if not os.path.lexists(self.path):
            return
        if self.path.is_file():
            with self.path.open("rb") as file:
                if file.read(len(_BEGINNING)) == _BEGINNING:
                    return
        limit = "it exists and was not written by this emulator, so that it is not replaced"
        raise BadInput(Problem("address", str(self.path), limit, "write the path of a file that does not exist"))

    def _begin_file(self) -> None:
        self.path.write_bytes(_BEGINNING)

    def _write(self) -> None:
        rows: list[str] = []
        since_write = 0.0
        while not self._closing.wait(self._rows_every / self._world.speed):
            reading = self._world.ask(self._look)
            rows.append(self._row(reading))
            since_write += self._rows_every
            if since_write >= self._writes_every:
                since_write = 0.0
                self._append("".join(rows))
                rows.clear()

    def _append(self, text: str) -> None:
        if self.faults.takes("silent") is not None:
            return
        if self.faults.takes("reset") is not None:
            self._began_ns = self._world.now_ns()
            self._begin_file()
            return
        if (late := self.faults.takes("late")) is not None:
            self._closing.wait(late)
        if self.faults.takes("garbage") is not None:
            text += "2\t1\t#?~!\t\t\r\n"
        if self.faults.takes("partial") is not None:
            text = text[: -len(self._last) // 2] + "\r\n"
        with self.path.open("a", encoding="latin-1", newline="") as file:
            file.write(text)

    def _look(self, rig: Rig) -> CellReading:
        """The cell now; begins what its program asks for."""
        now_ns = rig.clock.now_ns()
        reading = rig.potentiostat.read()
        if now_ns >= self._ends_ns or reading.cut_off:
            action = next(self._actions, None)
            if action is not None:
                rig.potentiostat.apply(action.control, now_ns)
                self._ends_ns = 2**62 if action.duration_ns is None else now_ns + action.duration_ns
        return reading

    def _row(self, reading: CellReading) -> str:
        if self.faults.takes("stuck") is not None and self._last:
            return self._last
        t = (reading.t_ns - self._began_ns) * 1e-9
        if (factor := self.faults.takes("ticks")) is not None:
            t *= factor
        potential = "nan" if self.faults.takes("nan") is not None else written(reading.potential, 7)
        milliamperes, control = 1e3 * reading.current, reading.set_point or 0.0
        numbers = (
            *("2", str(int(reading.current > 0.0)), "0", "0", "0", "0", written(t, 15), written(control, 7), potential),
            *(written(milliamperes, 15), written(1.0, 15), written(reading.charge, 7), "41"),
            written(abs(reading.potential * reading.current), 7),
        )
        self._last = "\t".join(numbers) + "\t\r\n"
        return self._last


def _program(entry: Entry) -> Iterator[CellAction]:
    emulation = entry.rig.rig.emulation
    if emulation is None or emulation.experiment is None:
        return iter(())
    experiment = read_experiment(Path(entry.rig.document.name).parent / emulation.experiment).experiment
    return cell_actions(experiment.cell, experiment.specimen.area, None)


def serve_instrument(world: PacedWorld, entry: Entry) -> GrowingFile:
    """Begin the file."""
    return GrowingFile(world, entry)
