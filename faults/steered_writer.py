"""The writer with a disk whose `fdatasync` sleeps first, and with small files of the log.

python -m faults.steered_writer SECONDS FILE_BYTES FOLDER RING WAKE
"""

from __future__ import annotations

import sys
import time

from opsicm.record import log
from opsicm.record.writer_process import main


def command(sleep: float = 0.0, file_bytes: int = log.FILE_BYTES) -> tuple[str, ...]:
    """The command line for a recorder; what it adds are the last three arguments."""
    return (sys.executable, __file__, str(sleep), str(file_bytes))


if __name__ == "__main__":
    log.FILE_BYTES = int(sys.argv[2])  # type: ignore[misc]
    main(sys.argv[3:], lambda: time.sleep(float(sys.argv[1])))
