"""Which roles of a rig instruments play, which of their drivers were tried on hardware, and who answered in a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from opsicm.cli.rigs import REGISTRY
from opsicm.experiment.rig_file import LoadedRig, RoleName
from opsicm.instruments.registry import ROLES, Driver
from opsicm.instruments.roles import Rig

_ON_HARDWARE: Final = "on hardware"


def verified_on_hardware(driver: Driver) -> bool:
    """Whether its authors tried it on the instrument: `verified` then begins with those words. Anything else does not
    count: an emulator shows that a protocol was understood, not that an instrument follows it.
    """
    return driver.verified.lower().startswith(_ON_HARDWARE)


def how_verified(driver: Driver) -> str:
    """How a driver was tried, in words; of a twin or a stored run there is nothing to try."""
    if not driver.real_time:
        return "no instrument: simulated, or recorded"
    return driver.verified or "never tried on anything"


def instrument_drivers(loaded: LoadedRig) -> Iterator[tuple[RoleName, Driver]]:
    """The roles of a rig that instruments play, with their drivers."""
    for role in ROLES:
        driver = REGISTRY.find(loaded, role, loaded.role(role).driver)
        if driver.real_time:
            yield role, driver


def unverified(loaded: LoadedRig) -> list[str]:
    """One sentence for each driver of the rig that was never tried on hardware, its roles together.

    What the rig file says in `verified` changes the sentence and silences none: it is the laboratory's word for its own
    rig, and whoever reads a run elsewhere should see both.
    """
    roles: dict[str, list[str]] = {}
    for role, driver in instrument_drivers(loaded):
        if not verified_on_hardware(driver):
            roles.setdefault(f"({driver.name}): {how_verified(driver)}", []).append(role.replace("_", " "))
    sentences = [f"NOT VERIFIED ON HARDWARE: {', '.join(names)} {how}" for how, names in roles.items()]
    word = loaded.rig.verified
    said = "" if not word else "; its rig file: verified" if word is True else f"; its rig file: verified, {word}"
    return [sentence + said for sentence in sentences]


def instruments_of(loaded: LoadedRig, rig: Rig) -> dict[str, str]:
    """Who answered in a run, for its provenance: `instruments`, JSON by role, and `not_verified`, a sentence a line.

    Empty for a rig that no instrument plays a role of.
    """
    answers = {}
    for role, driver in instrument_drivers(loaded):
        who = getattr(rig, role).identity()
        answers[role] = {
            "driver": driver.name,
            "model": who.model,
            "serial": who.serial,
            "firmware": who.firmware,
            "client": who.client,
            "verified": how_verified(driver),
        }
    if not answers:
        return {}
    stored = {"instruments": json.dumps(answers, ensure_ascii=False)}
    sentences = unverified(loaded)
    return {**stored, "not_verified": "\n".join(sentences)} if sentences else stored


def instrument_record(loaded: LoadedRig) -> dict[str, Any]:
    """The roles that instruments play with their drivers, and whether these are emulated: for `check --json`."""
    played = {role: driver.name for role, driver in instrument_drivers(loaded)}
    return {"instruments": played, "emulated": bool(played) and loaded.rig.emulation is not None}


def instrument_lines(loaded: LoadedRig) -> Iterator[str]:
    """What `opsicm check` says of the instruments of a rig; nothing where a twin plays every role."""
    played = [f"{role.replace('_', ' ')} ({driver.name})" for role, driver in instrument_drivers(loaded)]
    if not played:
        return
    yield f"instruments      {', '.join(played)}"
    if (emulation := loaded.rig.emulation) is not None:
        yield f"                 emulated, with {emulation.rig} behind them: start opsicm emulate {loaded.path} first"
    for sentence in unverified(loaded):
        yield f"                 {sentence}"
