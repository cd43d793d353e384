"""The hop protocol on loopback: records a second from a server that has them ready, and the round trip of a command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.row import BenchRow
from opsicm.core.facts import HOP_DTYPE, SampleBlock, channel
from opsicm.drivers.hop_wire import ARM, CONTROLLER, PLAN, End, HopLine, TimeMap, plan_payload
from opsicm.emulators.hop_server import Device, HopServer
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.instruments.clock import monotonic_ns, stopwatch
from opsicm.instruments.hop import HopTiming
from opsicm.instruments.roles import HopPlan, PlanOutcome, Rig
from opsicm.twin.hop_controller import OnBlock

Answer = TypeVar("Answer")
DT_NS: Final = 10_000
TIMING: Final = HopTiming(4e-3, 4e-3, 4e-4, 3e-4, 9.5e-9, DT_NS)
CHANNELS: Final = (channel("pipette_current", 3e-13, "bench"), channel("z", 1e-9, "bench"))
_HOPS, _PLANS, _SAMPLES, _TRIPS = 4096, 16, 20, 2000
Piece = tuple[SampleBlock, NDArray[Any]]


class ReadyWorld:
    """Stands in for a world: every plan brings the same blocks and records at once."""

    speed = 1.0

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = pieces
        self._began_ns = monotonic_ns()
        scanner = SimpleNamespace(read_z=lambda: 0.0)
        self._rig: Any = SimpleNamespace(scanner=scanner, hop_controller=SimpleNamespace(safe=lambda: None))

    def ask(self, what: Callable[[Rig], Answer]) -> Answer:
        """At once."""
        return what(self._rig)

    def hop(self, plan: HopPlan, stop: Callable[[], bool], on_block: OnBlock | None = None) -> PlanOutcome:
        """As many pieces as the plan has hops, as fast as they are taken."""
        assert on_block is not None
        done = [piece for piece in self.pieces[: plan.x.size] if not stop()]
        for block, records in done:
            on_block(block, records)
        return PlanOutcome([block for block, _ in done], np.concatenate([hops for _, hops in done]))

    def rest(self) -> None:
        """Nothing is sampled between plans."""

    def now_ns(self) -> int:
        """Since it was made."""
        return monotonic_ns() - self._began_ns


def ready_pieces(hops: int, samples: int) -> list[Piece]:
    """One block of `samples` for every hop of a plan, and its record."""
    records = np.zeros(hops, HOP_DTYPE)
    records["hop"] = np.arange(hops)
    quality = np.zeros(len(CHANNELS), np.uint8)
    counts = np.zeros((samples, len(CHANNELS)), np.int16)
    return [
        (SampleBlock(1, k * samples, k * samples * DT_NS, DT_NS, counts, quality), records[k : k + 1])
        for k in range(hops)
    ]


def device() -> Device:
    """What the server says of itself."""
    return Device(TIMING, 3e-6, CHANNELS, (-1e-5, 1e-5), (-4e-5, 4e-5))


def _line(server: HopServer) -> HopLine:
    host, _, port = server.address.rpartition(":")
    return HopLine(host, int(port), CONTROLLER, 1, 1.0, "bench", TimeMap())


def _plan(hops: int) -> HopPlan:
    zeros, numbers = np.zeros(hops), np.zeros(hops, np.int32)
    hop = HopParameters(2e-6, 3e-5, 0.02, 5e-6)
    return HopPlan("", 1, 0, zeros, zeros, numbers, numbers, np.full(hops, 2e-6), hop, 0.7, 2**62)


def _hops(line: HopLine) -> float:
    """Hops whose records have arrived, a second."""
    payload, arrived = plan_payload(_plan(_HOPS), 2**62), 0
    watch = stopwatch()
    for sequence in range(2, 2 + _PLANS):
        line.request(PLAN, sequence, payload)
        while not isinstance(one := line.arrived.get(timeout=5.0)[1], End):
            arrived += one.size if isinstance(one, np.ndarray) else 0
    seconds = watch()
    assert arrived == _PLANS * _HOPS
    return arrived / seconds


def _trips(line: HopLine) -> NDArray[np.float64]:
    """Round trips of commands [s]."""
    each = np.empty(_TRIPS)
    for k in range(_TRIPS):
        watch = stopwatch()
        line.request(ARM, 1000 + k, b"\x01")
        each[k] = watch()
    return each


def row() -> list[BenchRow]:
    """Both on one connection."""
    with ExitStack() as stack:
        server = HopServer(ReadyWorld(ready_pieces(_HOPS, _SAMPLES)), device())
        stack.callback(server.close)
        line = _line(server)
        stack.callback(line.close)
        line.request(ARM, 1, b"\x01")
        rate = _hops(line)
        trips = _trips(line)
    p50, p99 = np.percentile(trips, [50, 99]) * 1e3
    limit = f"{_PLANS} plans of {_HOPS} hops, a block of {_SAMPLES} samples and a record each, on loopback"
    return [
        BenchRow(
            "hop protocol, records",
            rate,
            "hops/s",
            "",
            limit,
            "hop-controller protocol ≥ 5 000 hops/s of records",
            rate >= 5000.0,
        ),
        BenchRow(
            "hop protocol, command round trip p99",
            float(p99),
            "ms",
            "",
            f"{_TRIPS} commands on loopback, median {p50:.2f} ms",
            "command round trip p99 ≤ 5 ms on loopback",
            bool(p99 <= 5.0),
        ),
    ]
