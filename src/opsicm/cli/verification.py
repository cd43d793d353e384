"""Which drivers of a rig were tried on hardware, and what is said of those that were not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from opsicm.cli.rigs import REGISTRY
from opsicm.experiment.rig_file import LoadedRig, RoleName
from opsicm.instruments.registry import ROLES, Driver

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
    texts: dict[str, str] = {}
    for role, driver in instrument_drivers(loaded):
        if not verified_on_hardware(driver):
            key = f"({driver.name}): {how_verified(driver)}"
            roles.setdefault(key, []).append(role.replace("_", " "))
            texts[key] = key
    sentences = [f"NOT VERIFIED ON HARDWARE: {', '.join(names)} {texts[key]}" for key, names in roles.items()]
    if sentences and (word := loaded.rig.verified):
        said = "verified" if word is True else f"verified: {word}"
        sentences = [f"{sentence}; the rig file says {said}" for sentence in sentences]
    return sentences
