"""A slow page gets the newest view of each slot and a count of those it has missed; facts are all kept."""

from __future__ import annotations

import asyncio

import numpy as np

from opsicm.console.outbox import Outbox
from opsicm.console.wire import Kind, Message, decoded, message, view_message
from opsicm.figures.view import Axis, CurvePanel, Series, View


def view(slot: str, value: float) -> Message:
    series = Series("s", np.array([value]), np.array([value]))
    return view_message(slot, View("v", "t", (CurvePanel(Axis("x", ""), Axis("y", ""), (series,)),)))


def shown(data: bytes) -> float:
    return float(decoded(data)[2]["panels"][0]["series"][0]["x"][0])


def test_views_that_were_not_taken_are_replaced_and_counted() -> None:
    async def slow() -> None:
        box = Outbox()
        box.put("map", view("map", 1.0))
        (first,) = await box.next()
        for value in (2.0, 3.0, 4.0):  # while the page still draws the first
            box.put("map", view("map", value))
            box.put("facts", message(Kind.FACTS, {"facts": [value]}))
        facts = await box.next()
        assert [decoded(data)[2]["facts"] for data in facts] == [[2.0], [3.0], [4.0]], "facts wait for no drawing"
        assert not box.idle
        box.drawn(decoded(first)[1])
        (newest,) = await box.next()
        assert (shown(newest), box.dropped) == (4.0, 2)
        box.drawn(0)
        assert not box.idle, "an answer to an older view"
        box.drawn(decoded(newest)[1])
        await asyncio.wait_for(box.until_idle(), 1.0)
        # A heartbeat that comes between the drawing of a view and who waits for it.
        box.put("map", view("map", 5.0))
        (last,) = await box.next()
        waiting = asyncio.create_task(box.until_idle())
        await asyncio.sleep(0)
        box.drawn(decoded(last)[1])
        box.put("people", message(Kind.PEOPLE, {}))
        await asyncio.wait_for(waiting, 1.0)

    asyncio.run(slow())
