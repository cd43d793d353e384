"""opsicm: operando scanning ion conductance microscopy of battery electrodes.

import opsicm
opsicm.check("first.yaml")                    # every problem, or what the run will be; runs nothing
run = opsicm.run("first.yaml", out="runs")    # executes it, on its rig or the digital twin
run = opsicm.open("runs/…_first-light")       # a run that has ended: run.hops, run.cell, run.images(), run.trace(0)
opsicm.analyse(run)                           # results, each with uncertainty, unit and method
run.plot.voltammogram(); opsicm.plot(run)     # matplotlib figures
opsicm.report(run)                            # one HTML page
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opsicm.cli.python_api import analyse as analyse
    from opsicm.cli.python_api import check as check
    from opsicm.cli.python_api import open as open
    from opsicm.cli.python_api import plot as plot
    from opsicm.cli.python_api import report as report
    from opsicm.cli.python_api import run as run

    __version__: str

__all__ = ["analyse", "check", "open", "plot", "report", "run"]


def __getattr__(name: str) -> Any:
    # Imported when asked for: physics alone must not load HDF5, matplotlib or pydantic.
    if name in __all__:
        return getattr(importlib.import_module("opsicm.cli.python_api"), name)
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("opsicm")
    raise AttributeError(f"module 'opsicm' has no attribute {name!r}; it has {', '.join(__all__)} and __version__")


def __dir__() -> list[str]:
    return ["__version__", *__all__]
