"""What every process that works for `opsicm reproduce` begins with."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing import connection


def begin() -> None:
    """A stop comes from the parent, not from the terminal, which sends its signal to all; and it ends with its parent.

    One that outlived a killed parent would go on with what is waiting, in folders where the command, given again, may
    be writing already.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
