"""Which emulator answers for which driver of a rig file. An emulator knows its protocol, never the driver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Final, Protocol

from opsicm.core.errors import BadInput, Problem
from opsicm.emulators.paced_world import PacedWorld
from opsicm.emulators.wire_faults import WireFaults
from opsicm.experiment.rig_file import LoadedRig, Role, RoleName

_CARD: Final = "opsicm.emulators.ni_grpc_server:serve"
EMULATORS: Final[dict[str, str]] = {"nidaqmx": _CARD, "patch_clamp": _CARD, "analogue_potentiostat": _CARD}
"""Driver in a rig file → `module:function`, a `Serve`; one that serves several roles is called once per address."""


class Served(Protocol):
    """An emulated instrument on the wire."""

    address: str
    faults: WireFaults

    def close(self) -> None:
        """Leave the wire."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be emulated: the roles that a rig file gives to one driver at one `address`, and the whole file."""

    driver: str
    address: str
    roles: Mapping[RoleName, Role]
    rig: LoadedRig


Serve = Callable[[PacedWorld, Entry], Served]


def entries_of(loaded: LoadedRig) -> list[Entry]:
    """The instruments of a rig file, one for each driver and address; `BadInput` where one has no emulator."""
    groups: dict[tuple[str, str], dict[RoleName, Role]] = {}
    names: tuple[RoleName, ...] = ("hop_controller", "scanner", "coarse_stage", "potentiostat", "amplifier")
    for name in names:
        role = loaded.role(name)
        if role.driver not in EMULATORS:
            limit = f"has no emulator; there is one for {', '.join(sorted(EMULATORS)) or 'none'}"
            raise BadInput(loaded.problem(("roles", name, "driver"), role.driver, limit, "name one of these drivers"))
        groups.setdefault((role.driver, role.address or ""), {})[name] = role
    return [Entry(driver, address, roles, loaded) for (driver, address), roles in groups.items()]


def serve(world: PacedWorld, entry: Entry) -> Served:
    """Put one instrument on the wire."""
    module, _, function = EMULATORS[entry.driver].partition(":")
    answer: Served = getattr(import_module(module), function)(world, entry)
    return answer


def refuse_no_emulation(loaded: LoadedRig) -> None:
    """`BadInput` for a rig file that does not say what stands behind its wires."""
    if loaded.rig.emulation is None:
        problem = Problem("rig", loaded.rig.title, "has no emulation", "add emulation: {rig: twin/graphite}")
        raise BadInput(problem)
