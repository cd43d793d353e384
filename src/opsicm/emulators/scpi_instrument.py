"""A source-measure unit on a TCP socket, the twin's cell between its terminals.

Written from Keithley's Model 2450 Reference Manual, 2450-901-01 Rev. B: section 6 (SCPI), appendix B (common commands);
the page stands beside each command. Long and short forms, `;` and relative paths as IEEE 488.2 has them. What the
manual does not say is not here: a command that is not in the table below is error -113.
"""

from __future__ import annotations

import re
import select
import socketserver
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from opsicm.emulators.paced_world import PacedWorld
from opsicm.emulators.registry import Entry
from opsicm.emulators.wire_faults import WireFaults
from opsicm.experiment.controls import CellControl, ConstantCurrent, OpenCircuit, PotentialRamp
from opsicm.instruments.clock import monotonic_ns, pause
from opsicm.instruments.roles import Rig

FAULTS: Final = ("late", "silent", "busy", "partial", "reset", "garbage", "nan", "stuck")
_MAINS: Final = 50.0  # [Hz]
_IDENTITY: Final = "KEITHLEY INSTRUMENTS,MODEL 2450,04567890,1.7.12b"
_ERRORS: Final = {
    0: "No error",
    -102: "Syntax error",
    -108: "Parameter not allowed",
    -113: "Undefined header",
    -213: "Init ignored",
    -222: "Parameter data out of range",
    -224: "Illegal parameter value",
    -410: "Query interrupted",
}
_NAN: Final = "9.910000E+37"
_ABBREVIATED: Final = {  # the capitals of the manual's names are the short form
    "OUTPUT": "OUTP", "STATE": "STAT", "SMODE": "SMOD", "SOURCE": "SOUR", "SENSE": "SENS", "VOLTAGE": "VOLT",
    "CURRENT": "CURR", "FUNCTION": "FUNC", "RSENSE": "RSEN", "RANGE": "RANG", "LEVEL": "LEV", "DELAY": "DEL",
    "ILIMIT": "ILIM", "VLIMIT": "VLIM", "TRIPPED": "TRIP", "SYSTEM": "SYST", "ERROR": "ERR", "READING": "READ",
    "NPLCYCLES": "NPLC", "IMMEDIATE": "IMM", "AMPLITUDE": "AMPL", "UPPER": "UPP", "ABORT": "ABOR",
}  # fmt: skip
_OPTIONAL: Final = {"STAT", "MODE", "LEV", "IMM", "AMPL", "DC", "UPP", "NEXT", "LIM"}
_NUMBERS: Final = {  # header → (smallest, largest) parameter
    "SOUR:VOLT": (-210.0, 210.0),  # 6-79
    "SOUR:CURR": (-1.05, 1.05),
    "SOUR:VOLT:RANG": (-200.0, 200.0),  # 6-74
    "SOUR:CURR:RANG": (-1.0, 1.0),
    "SOUR:VOLT:ILIM": (1e-9, 1.05),  # 6-70
    "SOUR:CURR:VLIM": (0.02, 210.0),
    "SOUR:VOLT:DEL": (0.0, 1e4),  # 6-66
    "SOUR:CURR:DEL": (0.0, 1e4),
    "SENS:VOLT:RANG": (-210.0, 210.0),  # 6-49
    "SENS:CURR:RANG": (-1.05, 1.05),
    "SENS:VOLT:NPLC": (0.01, 10.0),  # 6-46
    "SENS:CURR:NPLC": (0.01, 10.0),
}
_SWITCHES: Final = (
    "OUTP",  # 6-34
    "SENS:VOLT:RSEN",  # 6-58
    "SENS:CURR:RSEN",
    "SOUR:VOLT:READ:BACK",  # 6-77
    "SOUR:CURR:READ:BACK",
    "SENS:VOLT:RANG:AUTO",  # 6-50
    "SENS:CURR:RANG:AUTO",
    "SOUR:VOLT:RANG:AUTO",
    "SOUR:CURR:RANG:AUTO",
)
_WORDS: Final = {
    "OUTP:VOLT:SMOD": ("NORM", "HIMP", "ZERO", "GUAR"),  # 6-31
    "OUTP:CURR:SMOD": ("NORM", "HIMP", "ZERO", "GUAR"),
    "SOUR:FUNC": ("VOLT", "CURR"),  # 6-72
    "SENS:FUNC": ("VOLT", "CURR", "RES"),
}


def _switched_on() -> dict[str, float | str]:
    """The settings after *RST or a power cycle."""
    defaults: dict[str, float | str] = {name: 0.0 for name in (*_NUMBERS, *_SWITCHES)}
    defaults |= {name: words[0] for name, words in _WORDS.items()}
    return defaults | {
        "SENS:FUNC": "CURR",
        "SOUR:VOLT:ILIM": 1.05e-4,
        "SOUR:CURR:VLIM": 21.0,
        "SENS:VOLT:NPLC": 1.0,
        "SENS:CURR:NPLC": 1.0,
        "SOUR:VOLT:READ:BACK": 1.0,
        "SOUR:CURR:READ:BACK": 1.0,
    }


class _Refused(Exception):
    """An error for the queue, by its number."""


@dataclass
class _Circuit:
    """The cell at the terminals: `sign` is +1 with the specimen at HI and -1 with it at LO."""

    world: PacedWorld
    sign: float
    asked: tuple[str, float] | None = None
    limited: bool = False

    def connect(self, function: str, level: float) -> None:
        """Source a level from now on."""
        if self.asked != (function, level) or self.limited:
            self._apply(function, level)
        self.asked, self.limited = (function, level), False

    def disconnect(self) -> None:
        """The relay open."""
        self.world.ask(lambda rig: rig.potentiostat.apply(OpenCircuit(), rig.clock.now_ns()))
        self.asked, self.limited = None, False

    def measured(self, amperes: float, volts: float) -> tuple[float, float]:
        """(V, I) at the terminals; a limit that is reached takes over, and gives back when the cell has followed."""
        potential, current = self._now()
        if self.asked is None:
            return 0.0, 0.0  # behind an open relay
        function, level = self.asked
        value, limit, shown = (current, amperes, potential) if function == "VOLT" else (potential, volts, current)
        if self.limited and (shown - level) * value >= 0.0:
            self.connect(function, level)
        elif not self.limited and abs(value) > limit:
            self._apply("CURR" if function == "VOLT" else "VOLT", limit if value > 0.0 else -limit)
            self.limited = True
            return self._now()
        return potential, current

    def _now(self) -> tuple[float, float]:
        reading = self.world.ask(lambda rig: rig.potentiostat.read())
        return self.sign * reading.potential, self.sign * reading.current

    def _apply(self, function: str, level: float) -> None:
        value = self.sign * level
        control: CellControl = PotentialRamp(value) if function == "VOLT" else ConstantCurrent(value)

        def apply(rig: Rig) -> None:
            rig.potentiostat.apply(control, rig.clock.now_ns())

        self.world.ask(apply)


@dataclass
class _Instrument:
    """One instrument, whoever is connected to it."""

    circuit: _Circuit
    faults: WireFaults
    command_set: str = "SCPI"
    values: dict[str, float | str] = field(default_factory=_switched_on)
    errors: deque[int] = field(default_factory=deque)
    lock: threading.RLock = field(default_factory=threading.RLock)
    began_ns: int = field(default_factory=monotonic_ns)
    last: str = ""

    def power_cycle(self) -> None:
        """As if somebody had switched it off and on."""
        with self.lock:
            self.values = _switched_on()
            self.circuit.disconnect()

    def message(self, line: str) -> str | None:
        """What it answers to a line, answers of several queries joined by `;`; None where it answers nothing."""
        with self.lock:
            answers: list[str] = []
            path = ""
            for part in _parts(line):
                header, _, parameter = part.partition(" ")
                absolute = header if header.startswith((":", "*")) or not path else f"{path}:{header}"
                path = "" if header.startswith("*") else absolute.rpartition(":")[0]
                try:
                    answer = self._one(absolute, parameter.strip())
                except _Refused as error:
                    self.errors.append(error.args[0])
                    break  # the rest of a message with an error is not executed
                if answer is not None:
                    answers.append(answer)
            return ";".join(answers) if answers else None

    def _one(self, header: str, parameter: str) -> str | None:
        name, query = _canonical(header)
        if query:
            return self._query(name, parameter)
        if name == "*RST":  # B-9
            self.values = _switched_on()
            self.circuit.disconnect()
        elif name == "*CLS":  # B-2
            self.errors.clear()
        elif name == "ABOR":
            pass
        elif name == "OUTP:SMOD":  # 6-31: without a function, of all
            for each in ("OUTP:VOLT:SMOD", "OUTP:CURR:SMOD"):
                self.values[each] = _word(each, parameter)
        elif name in _NUMBERS:
            low, high = _NUMBERS[name]
            try:
                value = float(parameter)
            except ValueError:
                raise _Refused(-102) from None
            if not low <= value <= high:
                raise _Refused(-222)
            self.values[name] = value
        elif name in _SWITCHES:
            if parameter.upper() not in {"0", "1", "ON", "OFF"}:
                raise _Refused(-224)
            on = parameter.upper() in {"1", "ON"}
            if name.endswith("RSEN") and on != bool(self.values[name]):
                self.values["OUTP"] = 0.0  # 6-58
            self.values[name] = float(on)
        elif name in _WORDS:
            word = _word(name, parameter)
            if name == "SOUR:FUNC" and word != self.values[name]:
                self.values["OUTP"] = 0.0
            self.values[name] = word
        else:
            raise _Refused(-113)
        self._update()
        return None

    def _query(self, name: str, parameter: str) -> str:
        if name == "*IDN":  # B-5
            return _IDENTITY
        if name == "*LANG":  # B-6
            return self.command_set
        if name == "*OPC":
            return "1"
        if name == "SYST:ERR":  # 6-93: number, then text, type and time in quotes
            code = self.errors.popleft() if self.errors else 0
            return f'{code},"{_ERRORS[code]};{int(code != 0)};2026/11/30 12:00:00.000"'
        if name == "READ":
            return self._read(parameter)
        if name in {"SOUR:VOLT:ILIM:TRIP", "SOUR:CURR:VLIM:TRIP"}:  # 6-71
            return str(int(self.circuit.limited))
        if name == "SENS:FUNC":
            return f'"{self.values[name]}:DC"'
        if name == "OUTP:SMOD":
            return str(self.values[f"OUTP:{self.values['SOUR:FUNC']}:SMOD"])
        if name not in self.values:
            raise _Refused(-113)
        value = self.values[name]
        return str(int(value)) if name in _SWITCHES else value if isinstance(value, str) else f"{value:.6E}"

    def _read(self, parameter: str) -> str:
        """`:READ?` (6-6): buffer name, then elements; the reading alone without any."""
        if self.faults.takes("busy") is not None:
            raise _Refused(-213)
        if self.faults.takes("stuck") is not None and self.last:
            return self.last
        wanted = [word.strip().upper()[:4] for word in parameter.split(",")[1:]] or ["READ"]
        elements = {"READ", "SOUR", "REL"}
        if not elements.issuperset(wanted):
            raise _Refused(-224)
        sensed = str(self.values["SENS:FUNC"])
        nplc = self.values[f"SENS:{sensed}:NPLC"]
        assert isinstance(nplc, float)
        pause(2.0 * nplc / _MAINS)  # source and sense, one after the other
        amperes, volts = self.values["SOUR:VOLT:ILIM"], self.values["SOUR:CURR:VLIM"]
        assert isinstance(amperes, float)
        assert isinstance(volts, float)
        potential, current = self.circuit.measured(amperes, volts)
        by_function = {"VOLT": potential, "CURR": current}
        shown = {
            "READ": f"{by_function[sensed]:.6E}",
            "SOUR": f"{by_function[str(self.values['SOUR:FUNC'])]:.6E}",
            "REL": f"{(monotonic_ns() - self.began_ns) * 1e-9:.6E}",
        }
        if self.faults.takes("nan") is not None:
            shown["READ"] = _NAN
        self.last = ",".join(shown[word] for word in wanted)
        return self.last

    def _update(self) -> None:
        """Let the cell see what is set."""
        if not self.values["OUTP"]:
            if self.circuit.asked is not None:
                self.circuit.disconnect()
            return
        function = str(self.values["SOUR:FUNC"])
        level = self.values[f"SOUR:{function}"]
        assert isinstance(level, float)
        self.circuit.connect(function, level)


class ScpiInstrument:
    """The instrument on a port of the loopback; `instrument.circuit.sign` is how its bench is wired."""

    def __init__(self, world: PacedWorld, entry: Entry) -> None:
        found = re.fullmatch(r"TCPIP\d*::([\w.]+)::(\d+)::SOCKET", entry.address)
        host, port = (found[1], int(found[2])) if found is not None else ("127.0.0.1", 0)
        terminal = entry.roles["potentiostat"].settings.get("specimen_terminal", "LO")
        self.faults = WireFaults(entry.driver, FAULTS)
        self.instrument = _Instrument(_Circuit(world, 1.0 if terminal == "HI" else -1.0), self.faults)
        self._closing = threading.Event()
        instrument, faults, closing = self.instrument, self.faults, self._closing

        class Session(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for line in self.rfile:
                    text = line.decode(errors="replace").strip()
                    if closing.is_set() or not _answered(instrument, faults, text, self._interrupted, self.wfile.write):
                        return

            def _interrupted(self) -> bool:
                return bool(select.select([self.request], [], [], 0.0)[0])

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = allow_reuse_address = True
            block_on_close = False

        self._server = Server((host, port), Session)
        self.address = f"TCPIP::{host}::{self._server.server_address[1]}::SOCKET"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _answered(
    instrument: _Instrument,
    faults: WireFaults,
    line: str,
    interrupted: Callable[[], bool],
    write: Callable[[bytes], object],
) -> bool:
    """Execute a line and write what it answers; False closes the session."""
    if faults.takes("reset") is not None:
        return False
    answer = instrument.message(line)
    if answer is None or faults.takes("silent") is not None:
        return True
    if (late := faults.takes("late")) is not None:
        pause(late)
        if (
            interrupted()
        ):  # by another message before the answer has been read: the answer is lost (IEEE 488.2, 6.3.2.3)
            instrument.errors.append(-410)
            return True
    try:
        if faults.takes("partial") is not None:
            write(answer[: len(answer) // 2].encode())
        elif faults.takes("garbage") is not None:
            write(b"\xff#?~!\n")
        else:
            write(answer.encode() + b"\n")
    except OSError:  # the client has gone meanwhile
        return False
    return True


def serve_instrument(world: PacedWorld, entry: Entry) -> ScpiInstrument:
    """Put it on the wire."""
    return ScpiInstrument(world, entry)


def _parts(line: str) -> list[str]:
    """The commands of a line, apart at `;` outside quotes."""
    return [part.strip() for part in re.split(r";(?=(?:[^\"']*[\"'][^\"']*[\"'])*[^\"']*$)", line) if part.strip()]


def _canonical(header: str) -> tuple[str, bool]:
    """A header in its short form, without what may be left out, and whether it is a query."""
    query = header.endswith("?")
    nodes = [node.upper() for node in header.rstrip("?").strip(":").split(":")]
    if nodes[0].startswith("*"):
        return nodes[0], query
    short = [_ABBREVIATED.get(node.rstrip("1"), node.rstrip("1")) for node in nodes]
    kept = [node for node in short if node not in _OPTIONAL]
    if kept[0] in {"VOLT", "CURR"}:  # [:SENSe[1]] may be left out
        kept.insert(0, "SENS")
    return ":".join(kept), query


def _word(name: str, parameter: str) -> str:
    word = parameter.strip("\"'").upper().partition(":")[0][:4]
    if word == "RESI":
        word = "RES"
    if word not in _WORDS[name]:
        raise _Refused(-224)
    return word
