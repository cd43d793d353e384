"""Plays a stored run to each page as its viewer wants it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from opsicm.console.feed import Plan, facts_message, messages_of, send_settings, tracks_of
from opsicm.console.gauges import Renewals, gauges_of
from opsicm.console.outbox import Outbox
from opsicm.console.sampled_figures import Sampled
from opsicm.console.snapshot import StoredRun
from opsicm.console.wire import FromPage, Kind, message, view_message
from opsicm.core.errors import OpsicmError
from opsicm.instruments.clock import stopwatch

_FRAME: Final = 1.0 / 30.0  # [s] between two frames of a replay
_LONGEST_STEP: Final = 0.5  # [s]: a replay that had to wait goes on from where it was


class ReplayFeed:
    """Plays a stored run to each page as its viewer wants it. It waits for a slow page and leaves nothing out."""

    def __init__(self, run: StoredRun, plan: Plan) -> None:
        self._run = run
        self._plan = plan
        self._players: dict[int, tuple[_Player, asyncio.Task[None]]] = {}
        # HDF5 is read by one thread.
        self._reader = ThreadPoolExecutor(1, "replay")
        self._sampled = Sampled()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:  # noqa: ARG002
        """Prepare the fits; nothing else goes on by itself."""
        threading.Thread(target=self._sampled.prepare, daemon=True).start()

    async def stop(self) -> None:
        """End what plays; the run's file is closed after what is being read of it, which may be a forecast."""
        for _, task in self._players.values():
            task.cancel()
        self._reader.submit(self._run.close)
        self._reader.shutdown(wait=False)

    def join(self, outbox: Outbox) -> None:
        """Play the run to a new page from its beginning."""
        player = _Player(self._run, outbox, self._reader, self._sampled)
        send_settings(outbox, self._run.path.parent)
        self._players[id(outbox)] = player, asyncio.get_running_loop().create_task(player.play(self._plan))

    def leave(self, outbox: Outbox) -> None:
        """Play to it no more."""
        _, task = self._players.pop(id(outbox))
        task.cancel()

    def say(self, outbox: Outbox, said: FromPage) -> None:
        """Speed, pause, place and levelling as the viewer wants them."""
        self._players[id(outbox)][0].say(said)
        if said.settings is not None:
            send_settings(outbox, self._run.path.parent, said.settings)


class _Player:
    """Plays a stored run to one page."""

    def __init__(self, run: StoredRun, outbox: Outbox, reader: ThreadPoolExecutor, sampled: Sampled) -> None:
        self._run = run
        self._outbox = outbox
        self._reader = reader
        self._sampled = sampled
        self._t = 0.0
        self._speed = 10.0
        self._playing = True
        self._forecast = False
        self._wanted = asyncio.Event()
        self._facts = 0
        self._shown: tuple[float, str, bool] | None = None

    def say(self, said: FromPage) -> None:
        """What the viewer wants from now on."""
        self._speed = self._speed if said.speed is None else said.speed
        self._playing = self._playing if said.playing is None else said.playing
        if said.playing and said.seek is None and self._t >= self._run.duration:
            self._t = 0.0  # to play what is over is to play it again
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
        except (OpsicmError, OSError):
            view = None
        self._forecast = view is not None
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
            views = await loop.run_in_executor(self._reader, messages_of, seen, levelling, self._sampled, playing)
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
            "left_s": (self._run.duration - t) / self._speed if playing and self._speed else None,
            "speed": self._speed,
            "hops": seen.hops.sizes["hop"],
            "tracks": tracks_of(seen.facts),
            "gauges": [renewals.record(one, False) for one in gauges],
            "made_s": 0.0,
            "forecast": self._forecast,
            "places": list(views),
        }
        self._outbox.put("status", message(Kind.STATUS, content))
        for slot, one in views.items():
            self._outbox.put(slot, one)
        self._shown = t, levelling, playing
