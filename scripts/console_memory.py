"""Whether the console and its page grow: an accelerated run with a page open, memory against what was sent.

python -m scripts.console_memory [--minutes 5] [--speed 100]

At 100 times real time five minutes are the 8 h of a night. Of the console's process it prints the resident memory, of
the page the JavaScript heap after a collection; both against the hops recorded until then. The console keeps what it
draws, all hops and rows so far, some hundred bytes each; the page keeps one view of each figure and 500 facts. Exits
with 1 where either grew by more than that.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.console import opened
from faults.console_run import EXPERIMENT, ConsoleRun, console_run
from opsicm.instruments.clock import pause, stopwatch
from opsicm.runner.control_socket import ask_status

_SETTLED: Final = 0.5  # of the time, after which everything that is made once has been made
_PER_HOP: Final = 1000.0  # [bytes] that the console may keep: the record of a hop, its fact, its share of the rows
_OF_THE_PAGE: Final = 5e6  # [bytes]: what a collection finds or not
_LOOK: Final = 5.0  # [s]


def resident(pid: int) -> float:
    """[bytes] of memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return 1024.0 * float(line.split()[1])
    raise ProcessLookupError(pid)


def samples(run: ConsoleRun, chromium: str, minutes: float) -> list[tuple[float, int, float, float]]:
    """(run's time [s], hops, memory of the console [bytes], heap of the page [bytes]) again and again."""
    rows = []
    with opened(chromium, f"http://{run.host}:{run.port}/?token={run.token}") as (page, _):
        devtools = page.context.new_cdp_session(page)
        devtools.send("Performance.enable")
        elapsed = stopwatch()
        while elapsed() < 60.0 * minutes and (status := ask_status(run.folder)):
            devtools.send("HeapProfiler.collectGarbage")
            metrics = {one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]}
            heap = float(metrics["JSHeapUsedSize"])
            rows.append((float(status["t_s"]), int(status["hops"]), resident(run.console.pid), heap))
            t, hops, console, _ = rows[-1]
            memory = f"console {console / 1e6:6.1f} MB  page {heap / 1e6:5.1f} MB"
            print(f"{elapsed():6.0f} s  run {t:8.0f} s  {hops:8d} hops  {memory}", flush=True)
            pause(_LOOK)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the samples and what grew; 1 where that is too much."""
    reader = argparse.ArgumentParser(prog="python -m scripts.console_memory")
    reader.add_argument("--minutes", type=float, default=5.0)
    reader.add_argument("--speed", type=float, default=100.0)
    options = reader.parse_args(arguments)
    chromium = shutil.which("chromium")
    if chromium is None:
        print("chromium is not installed", file=sys.stderr)
        return 2
    cycles = 1 + int(options.minutes * 60.0 * options.speed / 450.0)
    text = EXPERIMENT.replace("cycles: 1}", f"cycles: {cycles}}}").replace("2.0]}", "2.0], run_h: 100}")
    with tempfile.TemporaryDirectory() as folder, console_run(Path(folder), options.speed, text) as run:
        rows = samples(run, chromium, options.minutes)
    if len(rows) < 8:
        print("too few samples: the run ended too soon", file=sys.stderr)
        return 2
    first, last = rows[int(_SETTLED * len(rows))], rows[-1]
    hops, console, page = last[1] - first[1], last[2] - first[2], last[3] - first[3]
    each = console / max(1, hops)
    print(f"{hops} hops: console {console / 1e6:+.1f} MB, {each:.0f} bytes a hop; page {page / 1e6:+.1f} MB")
    return int(console > _PER_HOP * hops or page > _OF_THE_PAGE)


if __name__ == "__main__":
    sys.exit(main())
