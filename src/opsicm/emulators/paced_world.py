"""The world behind emulated instruments: a twin's rig that moves with the wall clock, whoever asks.

Real instruments share one specimen and one time, and each answers on a wire of its own. Here one thread drives the
twin's rig after the wall clock; the servers of the emulated instruments hand it what they want done. A plan of hops
runs on that thread in short pieces, and between two pieces everything else is done: a command that arrives during a hop
acts within `SLICE_NS` of the world's time.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Final, TypeVar

import numpy as np

from opsicm.experiment.hop_parameters import HopParameters
from opsicm.instruments.clock import monotonic_ns
from opsicm.instruments.roles import HopPlan, PlanOutcome, Rig
from opsicm.twin.devices import TwinCoarseStage
from opsicm.twin.hop_controller import OnBlock, TwinHopController

SLICE_NS: Final = 20_000_000
"""The longest piece [ns] of a plan of hops, and of idle time, that the world takes at once."""
_PATIENCE: Final = 30.0  # [s] for the world to do what it is asked, a kernel's compilation included
Answer = TypeVar("Answer")
_NONE: Final = np.zeros(0)
_NUMBERS: Final = np.zeros(0, np.int32)
_HOP: Final = HopParameters(1e-6, 1e-6, 0.01, 5e-6)
_DWELL: Final = HopPlan("", 0, 0, _NONE, _NONE, _NUMBERS, _NUMBERS, _NONE, _HOP, 0.0, SLICE_NS)


class PacedWorld:
    """Drives a twin's rig at `speed` times the wall clock. `connect` makes the rig, given what holds its time back.

    `ask` may be called from any thread.
    """

    def __init__(self, connect: Callable[[Callable[[int], None]], Rig], speed: float = 1.0) -> None:
        self.speed = speed
        self._jobs: queue.SimpleQueue[tuple[Callable[[Rig], Any], Future[Any]]] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._died: Exception | None = None
        self._waiting: list[tuple[_InTurn, Future[Any]]] = []
        self._sampling: tuple[HopPlan, OnBlock] | None = None
        self._streams = False  # whether a hop controller samples without a gap: its samples alone move the time then
        self._began_ns = monotonic_ns()
        self._rig = connect(self._hold)
        # The kernel is compiled before anybody waits for it; what that takes is none of the world's time.
        self._closing.set()
        self._rig.hop_controller.run(_DWELL, lambda: False)
        self._closing.clear()
        self._began_ns = monotonic_ns() - round(self._rig.clock.now_ns() / speed)
        self._thread = threading.Thread(target=self._drive, name="emulated-world", daemon=True)
        self._thread.start()

    def ask(self, what: Callable[[Rig], Answer]) -> Answer:
        """What `what` makes of the rig, between two pieces of whatever is under way; raises what it raises."""
        future: Future[Answer] = Future()
        self._give(what, future)
        return future.result(_PATIENCE)

    def _give(self, what: Callable[[Rig], Any], future: Future[Any]) -> None:
        if self._died is not None:
            raise RuntimeError(f"the emulated world has ended ({type(self._died).__name__}: {self._died})")
        self._jobs.put((what, future))

    def hop(self, plan: HopPlan, stop: Callable[[], bool], on_block: OnBlock | None = None) -> PlanOutcome:
        """Run a plan of hops in pieces; `stop` is asked between two. Returns when the plan has ended.

        `on_block`, called on the world's thread, receives what a piece brings as soon as it is there. Sampling then
        goes on after the plan, where the pipette stands, until another plan begins or `rest` is called.
        """
        future: Future[PlanOutcome] = Future()

        def run(rig: Rig) -> PlanOutcome:
            self._sampling, self._streams = None, on_block is not None
            controller = rig.hop_controller
            assert isinstance(controller, TwinHopController)
            try:
                return controller.run(plan, lambda: stop() or self._closing.is_set(), on_block)
            finally:
                if on_block is not None:
                    dwell = replace(_DWELL, segment=plan.segment, tip_potential=plan.tip_potential)
                    self._sampling = (dwell, on_block)

        self._give(_InTurn(run), future)
        return future.result()

    def rest(self) -> None:
        """Sample no more until the next plan."""
        self._sampling, self._streams = None, False

    def come_to_present(self, rig: Rig) -> None:
        """Within `ask`: let the world's time come to the present, unless a hop controller's samples take it there.

        A time that moved between two of its samples would be a gap among them, of no whole number of samples.
        """
        if not self._streams:
            rig.clock.wait_until(self.now_ns())

    def now_ns(self) -> int:
        """The world's time [ns] that belongs to the present moment of the wall clock."""
        return round((monotonic_ns() - self._began_ns) * self.speed)

    def close(self) -> None:
        """End the thread; a plan under way ends with the hop in flight."""
        self._closing.set()
        self._thread.join(_PATIENCE)

    def __enter__(self) -> PacedWorld:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _drive(self) -> None:
        try:
            self._live()
        except Exception as error:
            self._died = error  # whoever asks is told at once, instead of waiting in vain
            while self._waiting or not self._jobs.empty():
                _, future = self._waiting.pop() if self._waiting else self._jobs.get()
                future.set_exception(error)
            raise

    def _live(self) -> None:
        while not self._closing.is_set():
            if self._waiting:
                _do(*self._waiting.pop(0), self._rig)
                continue
            slice_ns = round(SLICE_NS * self.speed)
            self._idle_until(min(self.now_ns(), self._rig.clock.now_ns() + slice_ns))
            late = self.now_ns() - self._rig.clock.now_ns() > slice_ns  # as on a busy machine: catch up first
            self._attend(0.0 if late else 0.5e-9 * SLICE_NS)

    def _idle_until(self, t_ns: int) -> None:
        sampling, controller = self._sampling, self._rig.hop_controller
        if sampling is None:
            self._rig.clock.wait_until(t_ns)
            return
        dwell, on_block = sampling
        assert isinstance(controller, TwinHopController)
        controller.run(replace(dwell, until_ns=t_ns), self._closing.is_set, on_block)

    def _hold(self, t_ns: int) -> None:
        """Wait until the wall clock has reached the world's time, doing meanwhile what is asked."""
        while not self._closing.is_set() and (left := t_ns - self.now_ns()) > 0:
            self._attend(left * 1e-9 / self.speed)

    def _attend(self, seconds: float) -> None:
        """Do what is asked for that long; a plan of hops waits for its turn."""
        try:
            what, future = self._jobs.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            return
        if isinstance(what, _InTurn):
            self._waiting.append((what, future))
        else:
            _do(what, future, self._rig)


class _InTurn:
    """Something that takes as long as the world's time says, so that two of them cannot overlap."""

    def __init__(self, what: Callable[[Rig], Any]) -> None:
        self._what = what

    def __call__(self, rig: Rig) -> Any:
        return self._what(rig)


def _do(what: Callable[[Rig], Any], future: Future[Any], rig: Rig) -> None:
    try:
        future.set_result(what(rig))
    except Exception as error:  # noqa: BLE001 - whatever it is belongs to who asked; the world goes on for the others
        future.set_exception(error)


def carriage(rig: Rig) -> TwinCoarseStage:
    """The twin's stage, whose motor is driven alone: an emulated one knows of no piezo, and lifts none."""
    assert isinstance(rig.coarse_stage, TwinCoarseStage)
    return rig.coarse_stage
