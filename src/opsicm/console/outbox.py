"""What waits to be sent to one page. A slow page gets the newest of each kind and is told how many it has missed."""

from __future__ import annotations

import asyncio

from opsicm.console.wire import Kind, Message


class Outbox:
    """Messages for one page, from the event loop alone. `dropped` views were replaced before they could be sent."""

    def __init__(self, levelling: str = "none") -> None:
        self.levelling = levelling
        self.dropped = 0
        self._latest: dict[str, Message] = {}
        self._facts: list[Message] = []
        self._number = 0
        self._undrawn = 0
        self._changed = asyncio.Event()

    def put(self, slot: str, message: Message) -> None:
        """Let `message` be sent next in its slot; facts are all kept."""
        if message.kind == Kind.FACTS:
            self._facts.append(message)
        else:
            self.dropped += slot in self._latest and message.kind == Kind.VIEW
            self._latest[slot] = message
        self._changed.set()

    def drawn(self, number: int) -> None:
        """The page has drawn the view of this number, and with it all before."""
        if number >= self._undrawn:
            self._undrawn = 0
            self._changed.set()

    @property
    def idle(self) -> bool:
        """Whether all views were sent and drawn. Other messages do not count: one of them is nearly always waiting."""
        return not self._undrawn and not any(one.kind == Kind.VIEW for one in self._latest.values())

    async def next(self) -> list[bytes]:
        """What may be sent now, at least one message; views wait until those before them are drawn."""
        while not (messages := self._take()):
            self._changed.clear()
            await self._changed.wait()
        return messages

    async def until_idle(self) -> None:
        """Return when the page has drawn all it was sent."""
        while not self.idle:
            self._changed.clear()
            await self._changed.wait()

    def _take(self) -> list[bytes]:
        ready, self._facts = self._facts, []
        for slot, message in list(self._latest.items()):
            if message.kind != Kind.VIEW or not self._undrawn:
                ready.append(self._latest.pop(slot))
        follow = sum(message.kind == Kind.VIEW for message in ready)
        taken = []
        for message in ready:
            self._number += 1
            if message.kind == Kind.VIEW:
                follow -= 1
                self._undrawn = self._number
            taken.append(message.numbered(self._number, follow if message.kind == Kind.VIEW else 0))
        return taken
