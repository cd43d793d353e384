"""opsicm: operando scanning ion conductance microscopy of battery electrodes.

import opsicm
run = opsicm.run("experiments/short/e09_height_during_voltammogram.yaml", out="out")
for result in opsicm.analyse(run): print(result.name, result.value, result.u, result.unit)
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opsicm.app.door import analyse as analyse
    from opsicm.app.door import open_run as open
    from opsicm.app.door import run as run

__all__ = ["analyse", "open", "run"]

_DOOR = {"open": "open_run", "analyse": "analyse"}


class _RunFloor(ModuleType):
    # `opsicm.run` is a floor of the house and the door's verb: the package can be called.
    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return _door().run(*arguments, **named)


class _House(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        if name == "run" and isinstance(value, ModuleType):
            value.__class__ = _RunFloor
        super().__setattr__(name, value)


def _door() -> Any:
    # Imported when asked for: physics alone must not load HDF5, matplotlib or pydantic.
    return importlib.import_module("opsicm.app.door")


def __getattr__(name: str) -> Any:
    if name == "run":
        return importlib.import_module("opsicm.run")
    if name in _DOOR:
        return getattr(_door(), _DOOR[name])
    raise AttributeError(f"module 'opsicm' has no attribute {name!r}")


sys.modules[__name__].__class__ = _House
