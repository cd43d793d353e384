"""The drivers that stand under the name `nidaqmx`: a scanner on an NI card's outputs, and hopping in software.

`card(setup)` is for the drivers of what hangs on the same card by analogue wires: patch clamp and potentiostat.
"""

from __future__ import annotations

from typing import Final

from opsicm.drivers.analogue_scanner import AnalogueScanner, AnalogueScannerSettings, specify_scanner
from opsicm.drivers.ni_card import CLIENT, EXTRA, card
from opsicm.drivers.software_hop import SoftwareHopController, SoftwareHopSettings, specify_hops
from opsicm.instruments.clock import Clock
from opsicm.instruments.registry import Driver, RoleSetup
from opsicm.instruments.specification import RigSpecification

__all__ = ["DRIVERS", "card"]
_VERIFIED: Final = "through nidaqmx 1.7 over gRPC against an emulated server with the twin behind; never on a card"


def _sample_clock(setup: RoleSetup, _: RigSpecification) -> Clock:
    return card(setup).clock


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
