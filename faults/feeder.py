"""A controlling process to be killed: feeds a stream to a recorder and logs, block by block, what is on the disk.

    python -m faults.feeder OUT LOG SECONDS CHANNELS DT_NS PER_SEGMENT

LOG gets one line per block: number, position in the ring, position known to be on the disk, monotonic ns.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from faults.stream import Stream, folder
from opsicm.record.shared_recorder import SharedRecorder


def main() -> None:
    """Feed, paced, and close."""
    out, log = Path(sys.argv[1]), os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    seconds, channels, dt_ns, per_segment = float(sys.argv[3]), *map(int, sys.argv[4:7])
    stream = Stream(channels, dt_ns, round(5e7 / dt_ns), per_segment)
    pool = stream.pool()
    recorder = SharedRecorder(folder(out))
    recorder.open(stream.header())
    recorder.fact(stream.begun())
    began = time.monotonic()
    count = round(seconds / stream.period)
    for k in range(count):
        stream.feed(recorder, pool, k)
        position, on_disk = recorder.positions
        os.write(log, f"{k} {position} {on_disk} {time.monotonic_ns()}\n".encode())
        time.sleep(max(0.0, began + (k + 1) * stream.period - time.monotonic()))
    os.write(log, b"closing\n")
    recorder.fact(stream.end(count + 1, count))
    recorder.close()
    os.write(log, b"closed\n")


if __name__ == "__main__":
    main()
