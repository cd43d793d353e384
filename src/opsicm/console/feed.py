"""What the pages are sent: of a run in progress the same to all, of a stored run to each as its viewer plays it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from opsicm.console.gauges import Renewals, gauges_of
from opsicm.console.live_figures import Levelling, views_of
from opsicm.console.outbox import Outbox
from opsicm.console.snapshot import SAMPLES_KEPT, Snapshot, StoredRun, live_snapshot
from opsicm.console.wire import FromPage, Kind, Message, message, view_message
from opsicm.core.errors import OpsicmError
from opsicm.core.facts import Fact
from opsicm.figures.view import View
from opsicm.instruments.clock import monotonic_ns, stopwatch
from opsicm.record.follow import LiveRun
from opsicm.runner.control_socket import ask_status

_LOOK: Final = 0.1  # [s] between two looks at the log
_ASK: Final = 0.5  # [s] between two questions to the run
_ASK_BUSY: Final = 5.0  # [s] after a question without an answer: each waits in the run's queue of sixteen
_PATIENCE: Final = 0.5  # [s]
_SHARE: Final = 2.0  # times as long as figures took to make nothing is made: a third of a core at most
_FACTS_AT_FIRST: Final = 500
_FRAME: Final = 0.05  # [s] between two frames of a replay
_LONGEST_STEP: Final = 0.5  # [s]: a replay that had to wait goes on from where it was
Plan = Callable[[], View | None]


class Feed(Protocol):
    """Fills the outboxes of pages, from the event loop."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin."""
        ...

    def stop(self) -> None:
        """End, without waiting for long."""
        ...

    def join(self, outbox: Outbox) -> None:
        """A page has come."""
        ...

    def leave(self, outbox: Outbox) -> None:
        """A page has gone."""
        ...

    def say(self, outbox: Outbox, said: FromPage) -> None:
        """What a page asks for."""
        ...


def facts_message(facts: Sequence[Fact], most: int | None = None) -> Message:
    """The last `most` facts (None: all) for the log of the page, without those that say only that it hops."""
    shown = [fact for fact in facts if fact.kind != "hops"]
    rows = [
        {"seq": f.seq, "t_s": f.t_ns * 1e-9, "kind": f.kind, "track": f.track, "step": f.step, "data": dict(f.data)}
        for f in (shown if most is None else shown[-most:])
    ]
    return message(Kind.FACTS, {"facts": rows})


def tracks_of(facts: Sequence[Fact]) -> dict[str, dict[str, Any]]:
    """The present step of each track and whether it is paused, by the facts."""
    tracks: dict[str, dict[str, Any]] = {name: {"step": "", "paused": False} for name in ("cell", "probe")}
    for fact in facts:
        track = tracks.get(fact.track)
        if track is not None and fact.kind == "step_started":
            track["step"] = fact.step
        elif track is not None and fact.kind == "step_ended" and track["step"] == fact.step:
            track["step"] = ""
        elif fact.kind == "command" and fact.data.get("accepted"):
            word, _, name = str(fact.data.get("command")).partition("-")
            if name in tracks and word in ("pause", "resume"):
                tracks[name]["paused"] = word == "pause"
    return tracks


def outcome_of(facts: Sequence[Fact]) -> str | None:
    """How the run ended; None while it goes on."""
    ends = [fact for fact in facts[-8:] if fact.kind == "run_ended"]
    return str(ends[-1].data.get("outcome")) if ends else None


@dataclass(slots=True)
class _Built:
    """The last figures of a run in progress, for who comes later."""

    views: dict[str, dict[str, Message]]  # levelling → slot → message
    status: Message | None = None
    facts: tuple[Fact, ...] = ()
    plan: Message | None = None


class LiveFeed:
    """Follows the run in `folder` in a thread of its own, which only reads. A context manager.

    `plan` makes the forecast's time line, None where there is none.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._folder = folder
        self._plan = plan
        self._outboxes: list[Outbox] = []
        self._built = _Built({})
        self._loop: asyncio.AbstractEventLoop | None = None
        self._renewals = Renewals()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._follow, self._make_plan)]

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to follow; messages are handed over in `loop`."""
        self._loop = loop
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the thread that follows; the forecast may still be computing and is left to itself."""
        self._over.set()
        self._threads[0].join(5.0)

    def join(self, outbox: Outbox) -> None:
        """Send a new page what there is."""
        self._outboxes.append(outbox)
        if self._built.facts:
            outbox.put("facts", facts_message(self._built.facts, _FACTS_AT_FIRST))
        if self._built.status is not None:
            outbox.put("status", self._built.status)
        if self._built.plan is not None:
            outbox.put("plan", self._built.plan)
        self._put_views(outbox)

    def leave(self, outbox: Outbox) -> None:
        """Send it nothing more."""
        self._outboxes.remove(outbox)

    def say(self, outbox: Outbox, said: FromPage) -> None:
        """Another levelling is sent at once where it was made before."""
        if said.levelling is not None:
            outbox.levelling = said.levelling
            self._put_views(outbox)

    def _put_views(self, outbox: Outbox) -> None:
        for slot, one in self._built.views.get(outbox.levelling, {}).items():
            outbox.put(slot, one)

    # -- in the thread ----------------------------------------------------------------------------------------------

    def _hand_over(self, work: Callable[[], None]) -> None:
        assert self._loop is not None, "it was started"
        if not self._over.is_set():
            self._loop.call_soon_threadsafe(work)

    def _make_plan(self) -> None:
        try:
            view = self._plan()
        except OpsicmError:  # a run may go on that could not be forecast
            view = None
        if view is not None:
            made = view_message("plan", view)
            self._hand_over(lambda: self._publish_plan(made))

    def _publish_plan(self, made: Message) -> None:
        self._built.plan = made
        for outbox in self._outboxes:
            outbox.put("plan", made)

    def _follow(self) -> None:
        try:
            with LiveRun(self._folder, SAMPLES_KEPT) as run:
                follower = _Follower(run, self._folder, self._renewals)
                while not self._over.wait(_LOOK):
                    wanted = {outbox.levelling for outbox in list(self._outboxes)} or {"none"}
                    status, views, facts = follower.look(wanted)
                    self._hand_over(lambda s=status, v=views, f=facts: self._publish(s, v, f))  # type: ignore[misc]
        except (OSError, OpsicmError) as error:
            gone = "the run folder is gone" if not self._folder.exists() else f"the run cannot be read ({error})"
            self._hand_over(lambda: self._publish_end(gone))
        except Exception as error:  # noqa: BLE001 - a page that shows an old state as the present one is worse
            failed = f"the console failed ({type(error).__name__}: {error}); the run goes on without it"
            self._hand_over(lambda: self._publish_end(failed))

    def _publish(self, status: Message | None, views: dict[str, dict[str, Message]], facts: tuple[Fact, ...]) -> None:
        new = facts[len(self._built.facts) :]
        self._built.facts = facts
        self._built.views |= views
        self._built.status = status or self._built.status
        for outbox in self._outboxes:
            if new:
                outbox.put("facts", facts_message(new))
            for slot, one in views.get(outbox.levelling, {}).items():
                outbox.put(slot, one)
            if status is not None:
                outbox.put("status", status)

    def _publish_end(self, why: str) -> None:
        self._built.status = message(Kind.STATUS, {"mode": "live", "state": "vanished", "message": why, "gauges": []})
        for outbox in self._outboxes:
            outbox.put("status", self._built.status)


class _Follower:
    """Looks at a run in progress: its status twice a second, its figures when something was recorded."""

    def __init__(self, run: LiveRun, folder: Path, renewals: Renewals) -> None:
        self._run = run
        self._folder = folder
        self._renewals = renewals
        self._status: Mapping[str, Any] = {}
        self._asked_ns = -(1 << 62)
        self._ask_after = _ASK
        self._size = (-1, -1)
        self._due_ns = 0
        self._made_s = 0.0
        self._levelled: set[str] = set()
        self._facts = 0
        self._seen: Snapshot | None = None

    def look(self, wanted: set[str]) -> tuple[Message | None, dict[str, dict[str, Message]], tuple[Fact, ...]]:
        """(status where it is due, figures of each levelling where there is something new, all facts)."""
        now = monotonic_ns()
        facts, size = self._run.facts, self._run.size
        views: dict[str, dict[str, Message]] = {}
        if (size != self._size or wanted - self._levelled) and now >= self._due_ns and sum(size):
            elapsed = stopwatch()
            self._size, self._levelled = size, set(wanted)
            self._seen = live_snapshot(self._run)
            views = {one: messages_of(self._seen, one) for one in wanted}
            self._made_s = elapsed()
            self._due_ns = monotonic_ns() + round(_SHARE * self._made_s * 1e9)
        if now - self._asked_ns < self._ask_after * 1e9 and len(facts) == self._facts:
            return None, views, facts
        self._facts = len(facts)
        return self._make_status(facts), views, facts

    def _make_status(self, facts: tuple[Fact, ...]) -> Message:
        if not self._folder.is_dir():
            raise FileNotFoundError(str(self._folder))
        outcome = outcome_of(facts)
        live = outcome is None and self._run.live
        answer = ask_status(self._folder, _PATIENCE) if live else None
        self._asked_ns = monotonic_ns()
        self._ask_after = _ASK if answer or not live else _ASK_BUSY
        self._status = answer or ({} if not live else self._status)
        if outcome is not None:
            state = outcome
        elif not live:
            state = "no process"
        else:
            state = "running" if answer else "no answer"
        seen, gauges = self._seen, []
        if seen is not None:
            backlog = None
            if answer and "t_s" in answer and seen.slow.sizes["row"]:
                backlog = max(0.0, float(answer["t_s"]) - seen.t)
            folder = self._folder if live else None
            gauges = [self._renewals.record(one, live) for one in gauges_of(seen, self._status, folder, backlog)]
        content = {
            "mode": "live",
            "state": state,
            "title": "" if seen is None else seen.title,
            "t_s": float(self._status.get("t_s", facts[-1].t_ns * 1e-9 if facts else 0.0)),
            "total_s": self._status.get("total_s"),
            "left_s": self._status.get("left_s"),
            "speed": self._status.get("speed"),
            "hops": self._status.get("hops", self._size[0]),
            "tracks": tracks_of(facts),
            "gauges": gauges,
            "made_s": self._made_s,
        }
        return message(Kind.STATUS, content)


def messages_of(seen: Snapshot, levelling: str) -> dict[str, Message]:
    """The figures of a snapshot as messages, by their place on the page."""
    chosen: Levelling = "plane" if levelling == "plane" else "none"
    return {slot: view_message(slot, view) for slot, view in views_of(seen, chosen).items()}


# -- stored runs ----------------------------------------------------------------------------------------------------


class ReplayFeed:
    """Plays a stored run to each page as its viewer wants it. It waits for a slow page and leaves nothing out."""

    def __init__(self, run: StoredRun, plan: Plan) -> None:
        self._run = run
        self._plan = plan
        self._players: dict[int, tuple[_Player, asyncio.Task[None]]] = {}
        # HDF5 is read by one thread.
        self._reader = ThreadPoolExecutor(1, "replay")

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing goes on by itself."""

    def stop(self) -> None:
        """End what plays."""
        for _, task in self._players.values():
            task.cancel()
        self._reader.shutdown(wait=False, cancel_futures=True)

    def join(self, outbox: Outbox) -> None:
        """Play the run to a new page from its beginning."""
        player = _Player(self._run, outbox, self._reader)
        self._players[id(outbox)] = player, asyncio.get_running_loop().create_task(player.play(self._plan))

    def leave(self, outbox: Outbox) -> None:
        """Play to it no more."""
        _, task = self._players.pop(id(outbox))
        task.cancel()

    def say(self, outbox: Outbox, said: FromPage) -> None:
        """Speed, pause, place and levelling as the viewer wants them."""
        self._players[id(outbox)][0].say(said)


class _Player:
    """Plays a stored run to one page."""

    def __init__(self, run: StoredRun, outbox: Outbox, reader: ThreadPoolExecutor) -> None:
        self._run = run
        self._outbox = outbox
        self._reader = reader
        self._t = 0.0
        self._speed = 10.0
        self._playing = True
        self._wanted = asyncio.Event()
        self._facts = 0
        self._shown: tuple[float, str, bool] | None = None

    def say(self, said: FromPage) -> None:
        """What the viewer wants from now on."""
        self._speed = self._speed if said.speed is None else said.speed
        self._playing = self._playing if said.playing is None else said.playing
        self._t = self._t if said.seek is None else min(said.seek, self._run.duration)
        self._outbox.levelling = said.levelling or self._outbox.levelling
        self._wanted.set()

    async def play(self, plan: Plan) -> None:
        """Show moment after moment, each when the page has drawn the one before."""
        try:
            await self._play(plan)
        except Exception as error:  # noqa: BLE001 - else the page would wait without a word
            text = f"the console failed ({type(error).__name__}: {error})"
            content = {"mode": "replay", "state": "vanished", "message": text, "t_s": self._t, "gauges": []}
            self._outbox.put("status", message(Kind.STATUS, content))

    async def _play(self, plan: Plan) -> None:
        loop = asyncio.get_running_loop()
        try:
            view = await loop.run_in_executor(self._reader, plan)
        except OpsicmError:
            view = None
        if view is not None:
            self._outbox.put("plan", view_message("plan", view))
        elapsed = stopwatch()
        before = 0.0
        while True:
            self._wanted.clear()  # before what it asks for is looked at: a wish that comes meanwhile is not lost
            now = elapsed()
            if self._playing:
                step = min(now - before, _LONGEST_STEP) * self._speed
                self._t = min(self._t + step, self._run.duration)
                self._playing = self._t < self._run.duration
            before = now
            if self._shown != (self._t, self._outbox.levelling, self._playing):
                await self._show(loop)
            await self._outbox.until_idle()
            try:
                await asyncio.wait_for(self._wanted.wait(), _FRAME if self._playing else None)
            except TimeoutError:
                continue
            if not self._playing:
                before = elapsed()

    async def _show(self, loop: asyncio.AbstractEventLoop) -> None:
        t, levelling, playing = self._t, self._outbox.levelling, self._playing
        seen = await loop.run_in_executor(self._reader, self._run.until, t)
        try:
            views = await loop.run_in_executor(self._reader, messages_of, seen, levelling)
            gauges = await loop.run_in_executor(self._reader, gauges_of, seen, {}, None, None)
            state, why = ("playing" if playing else "replay"), ""
        except OpsicmError as error:
            views, gauges, state, why = {}, [], "vanished", f"the run cannot be read ({error})"
        if len(seen.facts) < self._facts:
            self._facts = 0
            self._outbox.put("facts", message(Kind.FACTS, {"facts": [], "anew": True}))
        if new := seen.facts[self._facts :]:
            self._outbox.put("facts", facts_message(new))
        self._facts = len(seen.facts)
        renewals = Renewals()
        content = {
            "mode": "replay",
            "state": state,
            "message": why,
            "title": seen.title,
            "t_s": t,
            "total_s": self._run.duration,
            "left_s": None,
            "speed": self._speed,
            "hops": seen.hops.sizes["hop"],
            "tracks": tracks_of(seen.facts),
            "gauges": [renewals.record(one, False) for one in gauges],
            "made_s": 0.0,
        }
        self._outbox.put("status", message(Kind.STATUS, content))
        for slot, one in views.items():
            self._outbox.put(slot, one)
        self._shown = t, levelling, playing
