"""opsicm: operando scanning ion conductance microscopy of battery electrodes.

import opsicm
run = opsicm.run("experiments/short/e09_height_during_voltammogram.yaml", out="out")
for result in opsicm.analyse(run): print(result.name, result.value, result.u, result.unit)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opsicm.app.door import analyse as analyse
    from opsicm.app.door import open_run as open
    from opsicm.app.door import run as run

__all__ = ["analyse", "open", "run"]

_DOOR = {"open": "open_run", "run": "run", "analyse": "analyse"}


def __getattr__(name: str) -> Any:
    # Imported when asked for: physics alone must not load HDF5, matplotlib or pydantic.
    if name in _DOOR:
        from opsicm.app import door

        return getattr(door, _DOOR[name])
    raise AttributeError(f"module 'opsicm' has no attribute {name!r}")
