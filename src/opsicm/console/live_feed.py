"""Follows a run in progress and sends what it shows to all pages alike; it only reads."""

from __future__ import annotations

import asyncio
import os
import shlex
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opsicm.console.feed import Plan, facts_message, messages_of, outcome_of, send_settings, tracks_of
from opsicm.console.gauges import Renewals, gauges_of
from opsicm.console.live_figures import OverTime
from opsicm.console.outbox import Outbox
from opsicm.console.sampled_figures import Sampled
from opsicm.console.snapshot import SAMPLES_KEPT, Snapshot, StoredRun, live_snapshot
from opsicm.console.wire import FromPage, Kind, Message, message, view_message
from opsicm.core.errors import OpsicmError
from opsicm.core.facts import Fact
from opsicm.instruments.clock import monotonic_ns, stopwatch, utc_now
from opsicm.record.follow import LiveRun
from opsicm.record.run_folder import RUN_FILE
from opsicm.runner.control_socket import ask_status

_LOOK: Final = 0.03  # [s] between two looks at the log
_ASK: Final = 0.5  # [s] between two questions to the run
_ASK_BUSY: Final = 5.0  # [s] after a question without an answer, then twice as long each time
_ASK_RARELY: Final = 60.0  # [s] at most: an unanswered question takes one of the sixteen places in the run's queue
_PATIENCE: Final = 0.5  # [s]
_SHARE: Final = 1.0  # times as long as figures took to make nothing is made: half of a core at most
_FACTS_AT_FIRST: Final = 500


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
        self._sampled = Sampled()
        self._forecast: bool | None = None  # whether there is one; None while it is made
        self._over = threading.Event()
        works = self._follow, self._make_plan, self._sampled.prepare
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to follow; messages are handed over in `loop`."""
        self._loop = loop
        for thread in self._threads:
            thread.start()

    async def stop(self) -> None:
        """End the thread that follows; the forecast may still be computing and is left to itself."""
        self._over.set()
        await asyncio.to_thread(self._threads[0].join, 5.0)

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
        send_settings(outbox, self._folder)

    def leave(self, outbox: Outbox) -> None:
        """Send it nothing more."""
        self._outboxes.remove(outbox)

    def say(self, outbox: Outbox, said: FromPage) -> None:
        """Another levelling is sent at once where it was made before; settings are kept with the run."""
        if said.levelling is not None:
            outbox.levelling = said.levelling
            self._put_views(outbox)
        if said.settings is not None:
            send_settings(outbox, self._folder, said.settings)

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
        except (OpsicmError, OSError):  # a run may go on that could not be forecast
            view = None
        self._forecast = view is not None
        if view is not None:
            made = view_message("plan", view)
            self._hand_over(lambda: self._publish_plan(made))

    def _publish_plan(self, made: Message) -> None:
        self._built.plan = made
        for outbox in self._outboxes:
            outbox.put("plan", made)

    def _follow(self) -> None:
        try:
            with LiveRun(self._folder, SAMPLES_KEPT) as run, closing(self._follower(run)) as follower:
                while not self._over.wait(_LOOK):
                    wanted = {outbox.levelling for outbox in list(self._outboxes)} or {"none"}
                    status, views, facts = follower.look(wanted)
                    self._hand_over(lambda s=status, v=views, f=facts: self._publish(s, v, f))  # type: ignore[misc]
        except (OSError, OpsicmError) as error:
            gone = "the run folder is gone" if not self._folder.exists() else f"the run cannot be read ({error})"
            self._hand_over(lambda: self._publish_end(gone))
        except Exception as error:  # noqa: BLE001 - a page that shows an old state as the present one is worse
            what = f"the console failed ({type(error).__name__}: {error})"
            failed = f"{what}; the run goes on without it, and Stop still reaches it"
            self._hand_over(lambda: self._publish_end(failed))

    def _follower(self, run: LiveRun) -> _Follower:
        return _Follower(run, self._folder, self._renewals, self._sampled, lambda: self._forecast)

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
        # Whoever fails here is the one who looks: while the folder is there a stop may reach the run.
        goes_on = self._folder.is_dir()
        content = {"mode": "live", "state": "vanished", "message": why, "gauges": [], "stoppable": goes_on}
        self._built.status = message(Kind.STATUS, content)
        for outbox in self._outboxes:
            outbox.put("status", self._built.status)


class _Follower:
    """Looks at a run in progress: its status twice a second, its figures when something was recorded."""

    def __init__(
        self, run: LiveRun, folder: Path, renewals: Renewals, sampled: Sampled, forecast: Callable[[], bool | None]
    ) -> None:
        self._forecast = forecast
        self._sampled = sampled
        self._over_time = OverTime()
        self._places: list[str] = []
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
        self._asked_size = (-1, -1)
        self._seen: Snapshot | None = None
        self._answered = False
        self._ended = False  # and its run file was looked at
        self._whole: Snapshot | None = None
        self._files = ExitStack()

    def close(self) -> None:
        """Close what was opened."""
        self._files.close()

    def look(self, wanted: set[str]) -> tuple[Message | None, dict[str, dict[str, Message]], tuple[Fact, ...]]:
        """(status where it is due, figures of each levelling where there is something new, all facts)."""
        now = monotonic_ns()
        facts, size = self._run.facts, self._run.size
        views: dict[str, dict[str, Message]] = {}
        if (whole := self._whole_at_end(facts, size)) is not None:
            size = _size_of(whole)
        news = size != self._size or wanted - self._levelled or self._over_time.overdue
        if news and now >= self._due_ns and sum(size):
            elapsed = stopwatch()
            self._size, self._levelled = size, set(wanted)
            self._seen = whole or live_snapshot(self._run)
            views = {one: messages_of(self._seen, one, self._sampled, True, self._over_time) for one in wanted}
            self._places = list(next(iter(views.values())))
            self._made_s = elapsed()
            self._due_ns = monotonic_ns() + round(_SHARE * self._made_s * 1e9)
        # A run that did not answer does so again when it records.
        answers_again = self._ask_after > _ASK and size != self._asked_size
        if now - self._asked_ns < self._ask_after * 1e9 and not answers_again:
            return None, views, facts
        self._asked_size = size
        return self._make_status(facts), views, facts

    def _whole_at_end(self, facts: tuple[Fact, ...], size: tuple[int, int]) -> Snapshot | None:
        """The run file's content where the run has ended and its log went before all was read: a run at full speed
        may end within one look. None where the log was read to its end, and while the run goes on."""
        if not self._ended and outcome_of(facts) is not None and (self._folder / RUN_FILE).is_file():
            self._ended = True
            stored = self._files.enter_context(StoredRun(self._folder))  # its samples are read when they are drawn
            whole = stored.until(stored.duration)
            self._whole = whole if _size_of(whole) != size else None
        return self._whole

    def _make_status(self, facts: tuple[Fact, ...]) -> Message:
        if not self._folder.is_dir():
            raise FileNotFoundError(str(self._folder))
        outcome = outcome_of(facts)
        live = outcome is None and self._run.live
        answer = ask_status(self._folder, _PATIENCE) if live else None
        self._asked_ns = monotonic_ns()
        if answer or not live:
            self._ask_after = _ASK
        else:
            self._ask_after = min(max(_ASK_BUSY, 2.0 * self._ask_after), _ASK_RARELY)
        self._status = answer or ({} if not live else self._status)
        if outcome is not None:
            state = outcome
        elif not live:
            state = "no process"
        else:
            # Before the first answer it compiles, for up to a minute on a machine's first run.
            self._answered = self._answered or bool(answer) or sum(self._size) > 0
            state = "running" if answer else "no answer" if self._answered else "starting"
        died_s = _silent_for(self._folder) if state == "no process" else None
        seen, gauges = self._seen, []
        if seen is not None:
            backlog = None
            if answer and "t_s" in answer and seen.slow.sizes["row"]:
                backlog = max(0.0, float(answer["t_s"]) - seen.t)
            folder = self._folder if live else None
            gauges = [
                self._renewals.record(one, live, died_s) for one in gauges_of(seen, self._status, folder, backlog)
            ]
        content = {
            "mode": "live",
            "state": state,
            "message": _died(self._folder) if state == "no process" else "",
            "title": "" if seen is None else seen.title,
            "t_s": float(self._status.get("t_s", facts[-1].t_ns * 1e-9 if facts else 0.0)),
            "total_s": self._status.get("total_s"),
            "left_s": self._status.get("left_s"),
            "speed": self._status.get("speed"),
            "hops": self._status.get("hops", self._size[0]),
            "tracks": tracks_of(facts),
            "gauges": gauges,
            "made_s": self._made_s,
            "forecast": self._forecast(),
            "places": self._places,
        }
        return message(Kind.STATUS, content)


def _died(folder: Path) -> str:
    """What to know, and to do, where a run ended without a word."""
    recover = f"opsicm recover {shlex.quote(str(folder.resolve()))}"
    return (
        "No process drives this run any more, and nobody drives the pipette now: it stays where it was, unless the "
        "watchdog has withdrawn it. To be safe use the rig's own switch, and look at the rig. "
        f"{recover} makes the run file of what is recorded."
    )


def _silent_for(folder: Path) -> float:
    """For how long [s] nothing was written in the folder of a run, by the clock that stamps its files."""
    try:
        newest = max(entry.stat().st_mtime for entry in os.scandir(folder))
    except (OSError, ValueError):  # it is being recovered, or taken away
        return 0.0
    return max(0.0, utc_now().timestamp() - newest)


def _size_of(seen: Snapshot) -> tuple[int, int]:
    return int(seen.hops.sizes["hop"]), int(seen.slow.sizes["row"])
