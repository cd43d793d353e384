"""The writer with a disk whose `fdatasync` sleeps first: python -m faults.slow_writer SECONDS FOLDER RING WAKE."""

from __future__ import annotations

import sys
import time

from opsicm.record.writer_process import main

if __name__ == "__main__":
    main(sys.argv[2:], lambda: time.sleep(float(sys.argv[1])))
