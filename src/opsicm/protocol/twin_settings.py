"""Settings that only a digital twin has; on a real rig they are refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from opsicm.protocol.frozen import Flag, Frozen, Whole
from opsicm.protocol.twin_faults import Fault


class Terms(Frozen):
    """Which terms of the physics above the specimen act on the pipette current."""

    ohmic: Flag = True
    salt: Flag = True
    convection: Flag = True


class Twin(Frozen):
    """The seed of every random number, the terms that are switched on, and what goes wrong when.

    With a seed of its own the specimen stays the same one from seed to seed: a repeat on it differs in its noise.
    """

    seed: Annotated[Whole, Field(ge=0, le=2**63 - 1)] = 1
    specimen_seed: Annotated[Whole, Field(ge=0, le=2**63 - 1)] | None = None
    terms: Terms = Terms()
    faults: tuple[Fault, ...] = ()
