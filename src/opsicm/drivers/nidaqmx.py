"""The drivers that stand under the name `nidaqmx`: a scanner on an NI card's outputs, and hopping in software.

`card(setup)` is for the drivers of what hangs on the same card by analogue wires: patch clamp and potentiostat.
`safe_channel` is for the watchdog, which is another process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from opsicm.core.errors import BadInput
from opsicm.drivers.analogue_scanner import AnalogueScanner, AnalogueScannerSettings, specify_scanner
from opsicm.drivers.ni_card import CLIENT, EXTRA, card
from opsicm.drivers.software_hop import SoftwareHopController, SoftwareHopSettings, specify_hops
from opsicm.instruments.clock import Clock
from opsicm.instruments.registry import Driver, RoleSetup
from opsicm.instruments.specification import RigSpecification

__all__ = ["DRIVERS", "card", "safe_channel"]
_VERIFIED: Final = "through nidaqmx 1.7 over gRPC against an emulated server with the twin behind; never on a card"


def _sample_clock(setup: RoleSetup, _: RigSpecification) -> Clock:
    return card(setup).clock


def safe_channel(settings: dict[str, Any]) -> Callable[[], bool]:
    """What a process beside the controlling one does to make a role on a card safe; True once the card has taken it.

    `settings` as `NiCard.safe_address` writes them: `address`, `process`, `outputs` {terminal: V}, `lines`
    {terminal: level} and, where those cannot be set, `instead` {line: level}. Over gRPC it holds for a controlling
    process that is dead and for one that hangs: the server's tasks are joined. For a card of this computer it holds for
    a dead one; one that hangs keeps its terminals, and what helps then is a line that nobody else holds, `instead`.
    What an output does is not read back: the card's word is all there is.
    """
    from opsicm.drivers import ni_session

    address, process = str(settings["address"]), int(settings["process"])
    session = ni_session.Session(address)
    try:
        session.identity()  # a watchdog must know at once whether it reaches the card
    finally:
        session.close()

    def attempt(outputs: dict[str, float], lines: dict[str, bool]) -> bool:
        try:
            ni_session.write_beside(address, process, outputs, lines)
        except (BadInput, *ni_session.FAILURES):
            return False
        return True

    def make_safe() -> bool:
        if attempt(settings.get("outputs", {}), settings.get("lines", {})):
            return True
        instead = settings.get("instead", {})
        return bool(instead) and attempt({}, instead)

    return make_safe


DRIVERS: Final = (
    Driver(
        CLIENT,
        "scanner",
        "a scanner on analogue outputs of an NI card",
        AnalogueScanner,
        specify_scanner,
        AnalogueScannerSettings,
        client=CLIENT,
        clock=_sample_clock,
        extra=EXTRA,
        verified=_VERIFIED,
    ),
    Driver(
        CLIENT,
        "hop_controller",
        "hopping in software on an NI card, slow: it says how fast it may fall",
        SoftwareHopController,
        specify_hops,
        SoftwareHopSettings,
        client=CLIENT,
        clock=_sample_clock,
        extra=EXTRA,
        verified=_VERIFIED,
    ),
)
