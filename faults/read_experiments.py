"""Reads experiment files named on standard input, one answer a line: read, refused, or what went wrong."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

from opsicm.cli.check import checked_file
from opsicm.core.errors import BadInput, OpsicmError, Problem


def answer(path: str) -> str:
    """Check one file as `opsicm check` does, against the rig it names or the packaged one's folder."""
    try:
        checked_file(Path(path), None)
    except BadInput as error:
        return next((f"badly refused: {problem}" for problem in error.problems if not _good(problem)), "refused")
    except OpsicmError as error:
        return f"raised {type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - whatever else comes out is what this row looks for
        return traceback.format_exc()[-400:]
    return "read"


def _good(problem: Problem) -> bool:
    """Whether a refusal names a file and says what to do; a file that is no text has no line."""
    return bool(problem.file and problem.limit and problem.remedy)


if __name__ == "__main__":
    for name in sys.stdin.read().splitlines():
        print(json.dumps(answer(name)), flush=True)
