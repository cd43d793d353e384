"""Checks the texts that are written in the console's page, one after the other, in a process of its own.

Started as `python -m opsicm.cli.check_worker`; questions come on its standard input and answers go to its standard
output, as `console/checking.py` lays them out. It ends when its input does. A run beside it has precedence, and a text
that needs more memory than any experiment does ends this process, not the console.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any, Final

from opsicm.cli.check import check_report, checked_series, plan_of
from opsicm.cli.rigs import REGISTRY, load_rig
from opsicm.cli.verification import instrument_lines
from opsicm.console.checking import read_question, refusal, write_answer
from opsicm.console.wire import view_message
from opsicm.core.errors import OpsicmError, Problem
from opsicm.experiment.file import experiment_from_text
from opsicm.figures.time_line import time_line_view

_NICE: Final = 10
_MEMORY: Final = 4 << 30  # [bytes] of data; the largest experiment of this package needs a tenth


def report_of(text: str, name: str) -> tuple[dict[str, Any], bytes]:
    """What `opsicm check` says of `text` as the file `name`, and its time line as a message for the page, empty where
    there are problems."""
    try:
        predictions = checked_series(experiment_from_text(text, name), None)
        first, prediction = predictions[0]
        rig = load_rig(first, None)
        durations = [one.duration for _, one in predictions if one.duration is not None]
        content = {
            "ok": True,
            "problems": [],
            "title": first.experiment.title,
            "text": check_report(Path(name), predictions),
            "runs": len(predictions),
            "duration_s": sum(durations) if len(durations) == len(predictions) else None,
            "bytes": sum(one.file_bytes for _, one in predictions),
            "instruments": list(instrument_lines(rig)),
            "real_time": REGISTRY.real_time(rig, None),
        }
        view = time_line_view(plan_of(first, prediction), prediction.cell, first.experiment.title)
        return content, view_message("plan", view).numbered(1)
    except OpsicmError as error:
        return refusal(error.problems, name), b""
    except Exception as error:  # noqa: BLE001 - the page must say that it is not checked, whatever the reason
        limit = f"failed ({type(error).__name__}: {error})"
        return refusal(
            [Problem("the check", "", limit, "try opsicm check, and report it if that fails too")], name
        ), b""


def main() -> None:
    """Answer until the input ends."""
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    # What anything prints must not fall among the answers.
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        while (question := read_question(sys.stdin.buffer)) is not None:
            write_answer(answers, *report_of(*question))


if __name__ == "__main__":
    main()
