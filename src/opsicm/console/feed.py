"""What the pages are sent, and the messages that runs in progress and stored ones have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from opsicm.console.live_figures import Levelling, OverTime, views_of
from opsicm.console.outbox import Outbox
from opsicm.console.sampled_figures import Sampled
from opsicm.console.snapshot import Snapshot
from opsicm.console.view_settings import settings_message
from opsicm.console.wire import FromPage, Kind, Message, message, view_message
from opsicm.core.facts import Fact
from opsicm.figures.view import View

Plan = Callable[[], View | None]
"""Makes the forecast's time line of a run; None where there is none."""


class Feed(Protocol):
    """Fills the outboxes of pages, from the event loop."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin."""
        ...

    async def stop(self) -> None:
        """End, without waiting for long, and let go of the run's files."""
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


def messages_of(
    seen: Snapshot, levelling: str, sampled: Sampled, in_motion: bool, over_time: OverTime | None = None
) -> dict[str, Message]:
    """The figures of a snapshot as messages, by their place on the page."""
    chosen: Levelling = "plane" if levelling == "plane" else "parabola" if levelling == "parabola" else "none"
    figures = views_of(seen, chosen, sampled, in_motion, over_time)
    return {slot: view_message(slot, figure) for slot, figure in figures.items()}


def send_settings(outbox: Outbox, folder: Path, wanted: Mapping[str, Any] | None = None) -> None:
    """Tell a page, soon, how the run in `folder` is looked at, once what it `wanted` is kept; from the event loop."""
    loop = asyncio.get_running_loop()

    def work() -> None:  # in another thread: a disk may be slow
        told = settings_message(folder, wanted)
        with suppress(RuntimeError):  # the console has ended meanwhile
            loop.call_soon_threadsafe(outbox.put, "settings", told)

    loop.run_in_executor(None, work)
