"""Libraries of the extras: imported where a file needs one, else a refusal that says how to install it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np

from opsicm.formats.text import bad

REMEDY: Final = "pip install opsicm[formats]"


def installed(name: str) -> bool:
    """Whether a library can be imported."""
    return find_spec(name) is not None


def needed(name: str, path: Path, what: str) -> ModuleType:
    """The library `name`; `BadInput` naming it, and the command that installs it, where it is missing."""
    if not installed(name):
        limit = f"reading it needs {name.replace('_', '-')}, which is not installed"
        raise bad(path, "content", what, limit, REMEDY)
    with np.printoptions():  # pyabf changes how every array of the process is printed
        return import_module(name)
