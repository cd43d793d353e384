"""A data-acquisition card of NI, shared by the roles whose wires end at it; implements `drivers.card.Card`.

    address: Dev1                           # this computer's card
    address: grpc://127.0.0.1:31763/Dev1    # one behind NI's gRPC device server

All analogue inputs that the rig file names, in `channels` and in the settings of the roles, are one task on one sample
clock of `clock.rate_kS_s`. Outputs are written on demand. `limits: {ao0_V: [-5, 5], ai2_V: [-1, 1]}` narrows the range
of a terminal; nothing beyond it is ever written.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import BadInput, InstrumentLost, OpsicmError, OutsideDomain, Problem
from opsicm.core.facts import Quality
from opsicm.drivers.card import Samples
from opsicm.drivers.sample_ring import SampleRing
from opsicm.experiment.rig_file import LoadedRig
from opsicm.instruments.clock import Clock, monotonic_ns, pause
from opsicm.instruments.link import NOTICED, TIMEOUT, Link
from opsicm.instruments.registry import ROLES, RoleSetup
from opsicm.instruments.roles import Identity, RoleState

if TYPE_CHECKING:
    from opsicm.drivers.ni_session import Acquisition, Outputs

CLIENT: Final = "nidaqmx"
EXTRA: Final = "ni"
USUAL_RANGE: Final = (-10.0, 10.0)  # [V]
READ_EVERY: Final = 0.01  # [s]
_PATIENT: Final = 3.0  # [s] for a call of the first connection
_LATE: Final = 1.2  # times as long as its samples
_LOOKED_AT: Final = 8  # reads
_AT_ONCE: Final = 5  # reads' worth in one that makes up for late ones: a longer one might not be there in its time
_RAMP_TURN: Final = 0.002  # [s] between two steps of a ramp
_REMEMBERED: Final = 8192  # writes to an output: more than a block of samples can hold
_WINDOW_NS: Final = 4_000_000_000  # over which the pace of the sample clock is looked at
_KNOWN_AFTER_NS: Final = 2_000_000_000
_RECENT_NS: Final = 1_000_000_000
_TENTH_NS: Final = 100_000_000
_LATE_BY: Final = 0.3  # [s] of age at which samples are not live any more: some reads late, and less than lost
_PACE: Final = 0.03  # by which it may differ: crystals do by 1e-4 at most, and a read may be late by some 10 ms
_INPUT: Final = re.compile(r"(?:(\w+)/)?ai\d+")


def card(setup: RoleSetup, clock: Clock | None = None) -> NiCard:
    """The card at this role's address, connected once for all roles; `clock` is the rig's, for the stamps of `latest`.

    Raises `BadInput` where the client is not installed or nobody answers.
    """
    address = setup.address
    if address is None:
        raise BadInput(setup.rig.rig.problem(("roles", setup.role), "", "has no address", "add address: Dev1"))
    shared: NiCard = setup.rig.shared((CLIENT, address), lambda: _connected(setup, address))
    if clock is not None:
        shared.rig_clock = clock
    return shared


def _connected(setup: RoleSetup, address: str) -> NiCard:
    try:
        from opsicm.drivers import ni_session
    except ImportError as error:
        limit = f"its client {CLIENT} is not installed ({error})"
        raise BadInput(Problem(f"NI card {address}", setup.role, limit, f"pip install 'opsicm[{EXTRA}]'")) from error
    loaded = setup.rig.rig
    device = ni_session.device_of(address)
    inputs, noisy = _inputs(loaded, device, address)
    ranges = {name: file_range(loaded, name) for name in inputs}
    rate = loaded.rig.clock.rate
    # The first time nothing moves yet and a busy server may take its time; later a lost card must be noticed.
    for_inputs, for_outputs = (chain((_PATIENT,), repeat(TIMEOUT)) for _ in range(2))
    connected = NiCard(
        address,
        inputs,
        noisy,
        ranges,
        rate,
        Link(
            setup.role,
            f"NI card {address}, inputs",
            lambda: ni_session.Acquisition(address, inputs, list(ranges.values()), rate, next(for_inputs)),
            lambda client: client.close(),
            ni_session.FAILURES,
            ni_session.SOFTWARE,
        ),
        Link(
            setup.role,
            f"NI card {address}, outputs",
            lambda: ni_session.Outputs(address, next(for_outputs)),
            lambda client: client.close(),
            ni_session.FAILURES,
            ni_session.SOFTWARE,
        ),
        loaded.rig.limits.terminals,
        loaded.rig.emulation is not None,
    )
    setup.rig.connections.callback(connected.close)
    connected.open()
    return connected


def _inputs(loaded: LoadedRig, device: str, address: str) -> tuple[list[str], list[bool]]:
    """Every analogue input of the rig file that is this card's, and whether noise is to be expected there."""
    of_card = {name for name in ROLES if loaded.role(name).address == address}
    found: dict[str, bool] = {}
    for channel in loaded.rig.channels:
        if channel.role in of_card and channel.input is not None:
            found[terminal(channel.input, device)] = True
    for name in of_card:
        for value in loaded.role(name).settings.values():
            if isinstance(value, str) and (match := _INPUT.fullmatch(value)) and match[1] in (None, device):
                found.setdefault(terminal(value, device), False)
    if not found:
        limit = "names no analogue input of this card"
        remedy = f"add input: {device}/ai0 to the channels that it samples"
        raise BadInput(loaded.problem(("channels",), "", limit, remedy))
    return list(found), list(found.values())


def terminal(name: str, device: str) -> str:
    """The full name of a terminal, `Dev1/ao0`, as the client wants it."""
    return name if name.startswith(f"{device}/") else f"{device}/{name}"


def file_range(loaded: LoadedRig, name: str) -> tuple[float, float]:
    """(lowest, highest) [V] of a terminal as the rig file limits it, ±10 V where it does not."""
    return loaded.rig.limits.terminals.get(name.rpartition("/")[2], USUAL_RANGE)


class CardClock:
    """The card's sample clock as the time of a run: samples taken · dt, carried on between two reads.

    Between reads time goes on at the pace of the machine's clock, or at that of an emulated world that runs several
    times as fast; it never runs backwards. The transport of a read, a few milliseconds at most, is not known: time is
    early by the shortest one of the last second.
    """

    def __init__(self, dt_ns: int) -> None:
        self._dt_ns = dt_ns
        self._fastest: deque[tuple[int, int]] = deque()
        """(machine's ns, samples by then) of the read with the shortest transport in each tenth of a second."""
        self._began_ns = 0  # of the present tenth
        self._ahead_ns = 0.0  # sample time at machine's time 0
        self._pace = 1.0
        self._latest_ns = 0
        self._begins_again = False
        self._lock = threading.Lock()

    @property
    def pace(self) -> float | None:
        """Seconds of the sample clock in a second of the machine's, over the last seconds; None until it is known."""
        with self._lock:
            return self._pace if self._since() > _KNOWN_AFTER_NS else None

    def begin_again(self) -> None:
        """Another task samples from now on: what is known of the old one's transport is worth nothing."""
        with self._lock:
            self._begins_again = True

    def tick(self, end: int) -> None:
        """Samples up to index `end` have been read just now."""
        read = monotonic_ns(), end
        with self._lock:
            if self._begins_again:
                self._begins_again = False
                self._fastest.clear()
            if not self._fastest or read[0] - self._began_ns > _TENTH_NS:
                self._began_ns = read[0]
                self._fastest.append(read)
            elif self._time_at_0(read) > self._time_at_0(self._fastest[-1]):
                self._fastest[-1] = read
            while read[0] - self._fastest[0][0] > _WINDOW_NS:
                self._fastest.popleft()
            since = self._since()
            if since > _TENTH_NS * 2:
                sampled = (self._fastest[-1][1] - self._fastest[0][1]) * self._dt_ns
                # Crystals differ by 1e-4; a pace that is off by a few hundredths is that of late reads.
                self._pace = sampled / since if abs(sampled / since - 1.0) > _PACE else 1.0
            recent = (each for each in self._fastest if read[0] - each[0] < _RECENT_NS)
            self._ahead_ns = max(map(self._time_at_0, recent), default=self._time_at_0(read))

    def _since(self) -> int:
        return self._fastest[-1][0] - self._fastest[0][0] if self._fastest else 0

    def _time_at_0(self, read: tuple[int, int]) -> float:
        """Sample time [ns] at the machine's time 0, as this read has it."""
        return read[1] * self._dt_ns - self._pace * read[0]

    def now_ns(self) -> int:
        """Nanoseconds of the sample clock since the first sample."""
        with self._lock:
            if self._fastest:
                self._latest_ns = max(self._latest_ns, round(self._ahead_ns + self._pace * monotonic_ns()))
            return self._latest_ns

    def wait_until(self, t_ns: int) -> None:
        """Return when `now_ns()` is at least `t_ns`."""
        while (left := t_ns - self.now_ns()) > 0:
            pause(min(max(left * 1e-9 / max(self._pace, 0.01), 1e-5), 0.05))


class NiCard:
    """The card; `open` before use. A thread reads the inputs all the time, another one steps ramps while there are any.

    `read_every` [s] is how long a read waits for; a hop controller shortens it while it hops.
    """

    def __init__(
        self,
        address: str,
        inputs: list[str],
        noisy: list[bool],
        input_ranges: dict[str, tuple[float, float]],
        rate: float,
        acquisition: Link[Acquisition],
        outputs: Link[Outputs],
        limits: dict[str, tuple[float, float]],
        emulated: bool,
    ) -> None:
        self.address, self.inputs, self.rate = address, inputs, rate
        self.input_ranges = input_ranges
        self.dt_ns = round(1e9 / rate)
        self.ring = SampleRing(rate, list(input_ranges.values()), noisy)
        self.clock = CardClock(self.dt_ns)
        self.rig_clock: Clock = self.clock
        self.read_every = READ_EVERY
        self._acquisition, self._outputs = acquisition, outputs
        self._limits = limits
        self._emulated = emulated  # whose world may run faster
        self._card_range = USUAL_RANGE
        self._client: Any = None
        self._base = 0
        self._read_ns = monotonic_ns()
        self._reads = 0
        self._written: dict[str, float] = {}
        self._history: dict[str, deque[tuple[int, float]]] = {}
        self._ramps: dict[str, tuple[float, float, int]] = {}
        self._ramping: threading.Thread | None = None
        self._state_lock = threading.RLock()
        self._closing = threading.Event()
        self._revived = threading.Event()
        self._reading: threading.Thread | None = None

    @property
    def device(self) -> str:
        """The card's name on its computer."""
        return self.address.rpartition("/")[2]

    def open(self) -> None:
        """Connect and begin to sample."""
        self._outputs.open()
        self._card_range = self._outputs.ask(lambda client: client.range)
        self._acquisition.open()
        self._reading = threading.Thread(target=self._acquire, name=f"ni-{self.device}", daemon=True)
        self._reading.start()

    def close(self) -> None:
        """Stop sampling and release the card; outputs stay where they are."""
        self._closing.set()
        self._revived.set()
        for thread in (self._reading, self._ramping):
            if thread is not None:
                thread.join(2.0)
        self._acquisition.close()
        self._outputs.close()

    # -- Card ---------------------------------------------------------------------------------------------------------

    def latest(self, inputs: Sequence[str], seconds: float) -> Samples:
        """The last `seconds` of these inputs; raises `InstrumentLost` where none have come for longer than that."""
        columns = [self.column(name) for name in inputs]
        n = max(1, min(round(seconds * self.rate), self.ring.capacity))
        if self.lost or not self.ring.wait_for(1, NOTICED):
            raise self._silent()
        end = self.ring.end
        if self.age() > max(seconds, NOTICED):
            raise self._silent()
        first = max(0, end - n)
        volts, _ = self.ring.between(first, end)
        return Samples(self.stamp(first), self.dt_ns, volts[:, columns])

    def write(self, output: str, volts: float, slope: float = 0.0) -> None:
        """Put `volts` [V] on an analogue output now, ramping by `slope` [V/s] until it is written again."""
        name = terminal(output, self.device)
        low, high = self.output_range(name)
        if not low <= volts <= high:
            limit = f"the rig file and the card allow {low:g} … {high:g} V"
            remedy = f"ask for less, or widen limits: {name.rpartition('/')[2]}_V"
            raise OutsideDomain(Problem(f"output {name}", f"{volts:.4g} V", limit, remedy))
        with self._state_lock:
            self._ramps.pop(name, None)
            self._put(name, volts)
            if slope:
                self._ramps[name] = volts, slope, self.clock.now_ns()
                if self._ramping is None or not self._ramping.is_alive():
                    self._ramping = threading.Thread(target=self._ramp, name=f"ni-ramp-{self.device}", daemon=True)
                    self._ramping.start()

    def written(self, output: str) -> float:
        """[V] on an analogue output now, its ramp included; 0, where cards start, before anything was written."""
        return self._written.get(terminal(output, self.device), 0.0)

    def has_written(self, output: str) -> bool:
        """Whether this program has written to an output since it connected: before, nobody can say what is there."""
        return terminal(output, self.device) in self._written

    def staircase(self, output: str, first: int, end: int) -> NDArray[np.float64]:
        """[V] that stood on an output at samples `first` to before `end`, by when it was written."""
        with self._state_lock:
            steps = list(self._history.get(terminal(output, self.device), ()))
        volts = np.array([0.0, *(volts for _, volts in steps)])
        at = np.array([index for index, _ in steps])
        return volts[np.searchsorted(at, np.arange(first, end), side="right")]

    def output_range_read(self) -> tuple[float, float]:
        """(lowest, highest) [V] of the outputs as the card says now."""
        return self._outputs.ask(lambda client: client.session.output_range())

    def output_range(self, output: str) -> tuple[float, float]:
        """(lowest, highest) [V] of an analogue output: the card's own, narrowed by the rig file's limits."""
        low, high = self._card_range
        limit = self._limits.get(output.rpartition("/")[2], (low, high))
        return max(low, limit[0]), min(high, limit[1])

    def set_line(self, line: str, high: bool) -> None:
        """Set a digital output."""
        name = terminal(line, self.device)
        self._outputs.ask(lambda client: client.set_line(name, high))

    def line(self, line: str) -> bool:
        """A digital input or output, read back."""
        name = terminal(line, self.device)
        return self._outputs.ask(lambda client: client.line(name))

    def safe_address(
        self,
        role: str,
        outputs: Mapping[str, float],
        lines: Mapping[str, bool] = MappingProxyType({}),
        instead: Mapping[str, bool] = MappingProxyType({}),
    ) -> str:
        """The address of a safe channel that sets these outputs [V] and lines from another process: `safe_channel`."""
        settings = {
            "address": self.address,
            "process": os.getpid(),
            "outputs": {terminal(name, self.device): volts for name, volts in outputs.items()},
            "lines": {terminal(name, self.device): level for name, level in lines.items()},
            "instead": {terminal(name, self.device): level for name, level in instead.items()},
        }
        return f"driver:opsicm.drivers.nidaqmx:safe_channel {json.dumps(settings)}#{role}"

    # -- For the roles of this driver ---------------------------------------------------------------------------------

    def column(self, name: str) -> int:
        """The column of an input in the ring."""
        full = terminal(name, self.device)
        if full not in self.inputs:
            limit = f"the card samples {', '.join(self.inputs)} only"
            raise BadInput(Problem("analogue input", full, limit, "name it in the rig file's channels"))
        return self.inputs.index(full)

    def stamp(self, index: int) -> int:
        """Time [ns] of sample `index` on the rig's clock."""
        t_ns = index * self.dt_ns
        if self.rig_clock is self.clock:
            return t_ns
        return t_ns + self.rig_clock.now_ns() - self.clock.now_ns()

    def age(self) -> float:
        """[s] of the machine's clock since the newest sample, transport not counted."""
        return (self.clock.now_ns() - self.ring.end * self.dt_ns) * 1e-9 / (self.clock.pace or 1.0)

    def identity(self) -> Identity:
        """What the card says of itself."""
        return self._outputs.ask(lambda client: client.session.identity())

    @property
    def lost(self) -> str:
        """Why the card is lost, empty while it is not."""
        return self._acquisition.lost or self._outputs.lost

    def state(self, inputs: Sequence[str] = ()) -> RoleState:
        """Quality of these inputs, or of all, and whether the card answers; a lost card is tried once more."""
        if self.lost:
            # Both: a card that is back answers on both lines.
            if not (self._acquisition.revive() and self._outputs.revive()):
                return RoleState(self.rig_clock.now_ns(), Quality.MISSING, self.lost)
            self._revived.set()
        if self.age() > NOTICED:
            return RoleState(self.rig_clock.now_ns(), Quality.MISSING, f"no sample for {self.age():.2g} s")
        if self.age() > _LATE_BY:
            return RoleState(self.rig_clock.now_ns(), Quality.STALE, f"its newest sample is {self.age():.2g} s old")
        pace = self.clock.pace
        if not self._emulated and pace is not None and abs(pace - 1.0) > _PACE:
            message = f"its sample clock runs at {pace:.4g} of the rate that the rig file states"
            return RoleState(self.rig_clock.now_ns(), Quality.SUSPECT, message, {"pace": pace})
        columns = [self.column(name) for name in inputs] or list(range(len(self.inputs)))
        quality = self.ring.quality
        worst = max(columns, key=lambda column: quality[column])
        said = _QUALITY_WORDS[Quality(quality[worst])]
        message = f"{self.inputs[worst]} {said}" if said else ""
        return RoleState(
            self.rig_clock.now_ns(), Quality(quality[worst]), message, {"samples_lost": float(self.ring.lost)}
        )

    # -- Threads ------------------------------------------------------------------------------------------------------

    def _acquire(self) -> None:
        count = 0
        while not self._closing.is_set():
            wanted = max(1, round(self.read_every * self.rate))
            try:
                first, volts, behind = self._acquisition.ask(self._reader(max(wanted, count)))
            except OpsicmError:  # lost: `state` looks whether it is back
                self._revived.wait(NOTICED)
                self._revived.clear()
                continue
            self.ring.append(first, volts)
            self.clock.tick(self.ring.end)
            count = min(behind, _AT_ONCE * wanted)

    def _reader(self, count: int) -> Callable[[Any], tuple[int, Any, int]]:
        def read(client: Any) -> tuple[int, Any, int]:
            if client is not self._client:
                # A new task begins at its own sample 0, now: what was not sampled meanwhile is a hole.
                self._client = client
                self.clock.begin_again()
                self._base = max(self.ring.end, self.clock.now_ns() // self.dt_ns) if self.ring.end else 0
            first, volts = client.read(count)
            # A read that was long in coming may have left others behind it: the next one takes what has come
            # meanwhile, too. Now and then it is asked anyway, for an emulated world may run faster than this clock.
            before, self._read_ns = self._read_ns, monotonic_ns()
            self._reads += 1
            late = (self._read_ns - before) * 1e-9 > _LATE * count / self.rate
            behind = client.available() if late or self._reads % _LOOKED_AT == 0 else 0
            return self._base + first, volts, behind

        return read

    def _ramp(self) -> None:
        while not self._closing.is_set():
            with self._state_lock:
                if not self._ramps:
                    self._ramping = None
                    return
                now_ns = self.clock.now_ns()
                for name, (volts, slope, since_ns) in list(self._ramps.items()):
                    low, high = self.output_range(name)
                    wanted = volts + slope * (now_ns - since_ns) * 1e-9
                    if not low <= wanted <= high:  # it stands at the end of its range
                        del self._ramps[name]
                    try:
                        self._put(name, min(max(wanted, low), high))
                    except OpsicmError:  # told by `state`, and by what the output was to do
                        self._ramps.clear()
            pause(_RAMP_TURN)

    def _put(self, name: str, volts: float) -> None:
        self._outputs.ask(lambda client: client.write(name, volts))
        self._written[name] = volts
        self._history.setdefault(name, deque(maxlen=_REMEMBERED)).append((self.clock.now_ns() // self.dt_ns, volts))

    def _silent(self) -> InstrumentLost:
        said = self.lost or f"no sample for {self.age():.2g} s"
        return InstrumentLost(
            self._acquisition.role, Problem(f"NI card {self.address}", "silent", said, "check its cable, then resume")
        )


_QUALITY_WORDS: Final = {
    Quality.GOOD: "",
    Quality.SATURATED: "is at the end of its range",
    Quality.STALE: "repeats one value bit for bit: its converter or cable is stuck",
    Quality.MISSING: "has lost samples",
    Quality.SUSPECT: "reads no number",
}
