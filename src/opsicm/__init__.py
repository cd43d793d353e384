"""opsicm: operando scanning ion conductance microscopy of battery electrodes.

import opsicm
run = opsicm.run("experiments/short/e09_height_during_voltammogram.yaml", out="out")
for result in opsicm.analyse(run): print(result.label, result.value, result.u, result.unit)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opsicm.cli.python_api import analyse as analyse
    from opsicm.cli.python_api import open_run as open
    from opsicm.cli.python_api import run as run

__all__ = ["analyse", "open", "run"]

_FUNCTIONS = {"open": "open_run", "analyse": "analyse", "run": "run"}


def __getattr__(name: str) -> Any:
    # Imported when asked for: physics alone must not load HDF5, matplotlib or pydantic.
    if name in _FUNCTIONS:
        return getattr(importlib.import_module("opsicm.cli.python_api"), _FUNCTIONS[name])
    raise AttributeError(f"module 'opsicm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
