"""The console's page in a headless browser: what a frame costs it, how soon it is there, what it costs the run, and how
long after a key the pipette is up.

Chromium without a window draws on the processor: a graphics card would take a part of what is measured here off it.
The cost of a frame is processor time, of all of the browser's processes: another load raises it by a third, not tenfold
as it does times by the wall clock, which are not judged where a bare echo between two processes is late as well.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.row import BenchRow
from faults.console_run import ConsoleRun, console_run, echoes, saturated, share
from opsicm.cli.console import preparing
from opsicm.console.on_show import OnShow, Shown
from opsicm.console.outbox import Outbox
from opsicm.console.server import Site, origins_of
from opsicm.console.serving import bound, server_of
from opsicm.console.sessions import Sessions, cookie_of
from opsicm.console.wire import FromPage, Message, view_message
from opsicm.figures.colours import Role
from opsicm.figures.view import Axis, CurvePanel, ImagePanel, Series, View
from opsicm.instruments.clock import pause, stopwatch

if TYPE_CHECKING:
    from playwright.sync_api import Page

_PIXELS: Final = 128
_POINTS: Final = 5000
_OFFERED: Final = 33.0  # frames/s
_SECONDS: Final = 10.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_KEYS: Final = 40
_ECHO_WITHIN: Final = 0.01  # [s] p99


def row() -> list[BenchRow]:
    """Five rows; none can be judged without a browser."""
    chromium = shutil.which("chromium")
    if chromium is None or find_spec("playwright") is None:
        reason = "chromium or playwright is not installed"
        return [BenchRow("console: frames of a page", float("nan"), "1/s", "", "", "≥ 30", None, reason)]
    return [*_frames(chromium), *_with_a_run(chromium)]


def processes_below(pid: int) -> list[int]:
    """A process and all that have come of it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:  # which grows meanwhile
        found += children.get(one, [])
    return found


def cpu_time(pids: list[int]) -> float:
    """[s] of processor time that the processes have used."""
    return sum(int(fields[11]) + int(fields[12]) for pid in pids if (fields := _stat(pid))) / _TICKS


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name; none where the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []


@contextmanager
def opened(chromium: str, address: str) -> Iterator[tuple[Page, list[int]]]:
    """A page in a browser of its own, and the browser's processes."""
    before = set(processes_below(os.getpid()))
    with importlib.import_module("playwright.sync_api").sync_playwright() as player:
        browser = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(address)
        mine = [pid for pid in processes_below(os.getpid()) if pid not in before and "chrom" in _name(pid)]
        yield page, mine
        browser.close()


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8")
    except OSError:
        return ""


def _judged(met: bool, busy: str) -> bool | None:
    return None if busy and not met else met


# -- frames --------------------------------------------------------------------------------------------------------


class _Moving:
    """A feed with an image that grows and three curves that move, `_OFFERED` times a second; counts what is drawn."""

    def __init__(self) -> None:
        self._outboxes: list[Outbox] = []
        self._task: asyncio.Task[None] | None = None
        self._offered = 0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._task = loop.create_task(self._go())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def join(self, outbox: Outbox) -> None:
        self._outboxes.append(outbox)

    def leave(self, outbox: Outbox) -> None:
        self._outboxes.remove(outbox)

    def say(self, outbox: Outbox, said: FromPage) -> None:
        pass

    @property
    def drawn(self) -> int:
        """How many frames have been drawn, of two figures each."""
        return self._offered - sum(outbox.dropped for outbox in self._outboxes) // 2

    async def _go(self) -> None:
        image, noise = np.full((_PIXELS, _PIXELS), np.nan), np.random.default_rng(1).normal(size=(3, _POINTS))
        elapsed = stopwatch()
        for k in range(1 << 30):
            at = (20 * k + np.arange(20)) % image.size
            image.flat[at] = np.sin(at / 400) + 0.1 * noise[0, at % _POINTS]
            for slot, made in (("map", _image(image, k)), ("time", _curves(noise, k))):
                for outbox in self._outboxes:
                    outbox.put(slot, made)
            self._offered += bool(self._outboxes)
            await asyncio.sleep(max(0.0, (k + 1) / _OFFERED - elapsed()))


def _image(values: Any, k: int) -> Message:
    x, y, z = Axis("x", "µm"), Axis("y", "µm"), Axis("height", "nm")
    panel = ImagePanel(x, y, z, values, (0, 10, 0, 10), "height", (-1.3, 1.3), f"image 1: {k}", scale_bar=2.0)
    return view_message("map", View("image_series", "image", (panel,), ""))


_SHOWN: Final[tuple[tuple[str, str, Role], ...]] = (
    ("height change", "nm", "height"),
    ("potential", "V", "potential"),
    ("pipette current", "nA", "pipette"),
)


def _curves(noise: Any, k: int) -> Message:
    x = np.linspace(0, 100, _POINTS) + 0.03 * k
    panels = []
    for j, (name, unit, role) in enumerate(_SHOWN):
        y = np.sin(x / 7 + j) + 0.05 * np.roll(noise[j], k)
        panels.append(CurvePanel(Axis("time", "s"), Axis(name, unit), (Series(name, x, y, role, "line"),)))
    return view_message("time", View("time", "", tuple(panels), ""))


@contextmanager
def _served(feed: _Moving) -> Iterator[str]:
    """The address of a console that shows `feed`."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        listening: socket.socket = stack.enter_context(bound("127.0.0.1", 0))
        port = listening.getsockname()[1]
        on_show = OnShow(Path(folder), lambda _: lambda: None, Shown(Path(folder) / "run.nxs", feed, None))
        sessions = Sessions()
        site = Site(
            on_show, preparing(Path(folder), on_show.out), sessions, origins_of("127.0.0.1", port), cookie_of(port)
        )
        server = server_of(site)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{port}/?token={sessions.token}"
        server.should_exit = True
        thread.join()


def _frames(chromium: str) -> list[BenchRow]:
    feed = _Moving()
    with _served(feed) as address, opened(chromium, address) as (page, pids):
        pause(3.0)
        paint = float(page.evaluate("Math.max(...performance.getEntriesByType('paint').map(e => e.startTime))"))
        elapsed, used, drawn = stopwatch(), cpu_time(pids), feed.drawn
        pause(_SECONDS)
        rate = (feed.drawn - drawn) / elapsed()
        each = (cpu_time(pids) - used) / max(1, feed.drawn - drawn)
    echo = share(echoes(300), 0.99)
    busy = "" if echo <= _ECHO_WITHIN else f"a bare echo took {echo * 1e3:.0f} ms (p99): the machine is busy"
    what = f"{_PIXELS}² pixels, 3 × {_POINTS} points, {_OFFERED:g} offered, drawn without a graphics card"
    return [
        BenchRow("console: frames of a page", rate, "1/s", "", what, "≥ 30", _judged(rate >= 30.0, busy), busy),
        BenchRow("console: browser at 30 frames/s", 30.0 * each, "cores", "", what, "≤ 0.6", 30.0 * each <= 0.6),
        BenchRow("console: first paint", paint, "ms", "", "", "≤ 1000", _judged(paint <= 1000.0, busy), busy),
    ]


# -- beside a run ---------------------------------------------------------------------------------------------------


def _with_a_run(chromium: str) -> list[BenchRow]:
    with tempfile.TemporaryDirectory() as folder, console_run(Path(folder)) as run:
        pause(3.0)
        alone = _share_of_core(run)
        with opened(chromium, f"http://{run.host}:{run.port}/?token={run.token}") as (page, _):
            pause(3.0)
            watched = _share_of_core(run)
            with saturated(os.cpu_count() or 1):
                up, echo = _keys(run, page), share(echoes(300), 0.99)
    late = share(up, 0.99)
    busy = "" if echo <= _ECHO_WITHIN else "the machine is busy with others"
    return [
        BenchRow(
            "console: cost to the run",
            watched - alone,
            "cores",
            "",
            f"{watched:.3f} of a core with a page open, {alone:.3f} with none, twin at --speed 1",
            "≤ 0.03",
            watched - alone <= 0.03,
        ),
        BenchRow(
            "console: key to pipette up, p99",
            late * 1e3,
            "ms",
            f"a bare echo between two processes: {echo * 1e3:.1f} ms",
            f"{len(up)} times, median {share(up, 0.5) * 1e3:.0f} ms, every processor busy",
            "≤ 100",
            _judged(late <= 0.1, busy),
            busy,
        ),
    ]


def _share_of_core(run: ConsoleRun) -> float:
    """What the run's own process uses, not those that write its record."""
    elapsed, used = stopwatch(), cpu_time([run.run.pid])
    pause(_SECONDS)
    return (cpu_time([run.run.pid]) - used) / elapsed()


def _keys(run: ConsoleRun, page: Page) -> list[float]:
    """[s] from each press of the space bar, by the browser's stamp of it, until the pipette was up."""
    page.evaluate(
        "addEventListener('keydown', (e) => { window.pressed = performance.timeOrigin + e.timeStamp; }, true)"
    )
    took = []
    for _ in range(_KEYS):
        said = page.evaluate("document.getElementById('state').textContent")
        began = time.monotonic_ns()
        page.keyboard.press("Space")
        if "paused" not in said:  # it has paused, not resumed
            run.up_after(began)
            # The browser's stamps are of the wall clock: compared at one moment.
            pressed = page.evaluate("pressed") * 1e6 - (time.time_ns() - time.monotonic_ns())
            took.append(run.up_after(began) - (pressed - began) * 1e-9)
        until_other = stopwatch()
        while page.evaluate("document.getElementById('state').textContent") == said and until_other() < 20.0:
            pause(0.05)
    return took
