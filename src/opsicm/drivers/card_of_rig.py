"""Where a rig's analogue instruments meet their card: the connection that they share, and the scale of an input.

A rig file says what an input means in its `channels`, which the hop controller records; an instrument's own settings
say it in the words of its panel. The two are compared, because they differ by the factors that spoil data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opsicm.core.errors import BadInput
from opsicm.drivers import ni_card
from opsicm.drivers.card import Card
from opsicm.experiment.rig_file import ChannelName
from opsicm.instruments.clock import Clock
from opsicm.instruments.registry import RoleSetup

_AGREES: Final = 1e-3  # relative: two ways to write one number


@dataclass(frozen=True, slots=True)
class Scale:
    """What the volts of `input` mean: SI = gain · volts + offset, the sign within the gain."""

    input: str
    gain: float
    offset: float

    def si(self, volts: float) -> float:
        """[SI] at `volts` [V]."""
        return self.gain * volts + self.offset


def card_of(setup: RoleSetup, clock: Clock) -> Card:
    """The card at the role's address, which all instruments of a rig that stand behind it share."""
    return ni_card.card(setup, clock)


def scale_of(setup: RoleSetup, channel: ChannelName, named: str | None, gain: float, key: str) -> Scale:
    """The scale of a channel: input, sign and offset of the rig file's `channels`, `gain` [SI/V] of the settings.

    `named` is the input in the settings, `key` the setting that gives the gain. `BadInput` where neither names an
    input, and where the two say different things.
    """
    listed = setup.rig.rig.rig.channels
    index, entry = next(((k, each) for k, each in enumerate(listed) if each.name == channel), (0, None))
    where = ("channels", index)
    if entry is None:
        if named is None:
            limit = f"the rig file names no input for {channel}"
            remedy = f"add {{name: {channel}, role: {setup.role}, input: Dev1/ai0}} to channels"
            raise BadInput(setup.rig.rig.problem(("channels",), "", limit, remedy))
        return Scale(named, gain, 0.0)
    if named is not None and entry.input is not None and named != entry.input:
        limit = f"the settings of the {setup.role} say {named}"
        raise BadInput(
            setup.rig.rig.problem((*where, "input"), entry.input, limit, "name the same input twice, or once")
        )
    source = named if entry.input is None else entry.input
    if source is None:
        raise BadInput(setup.rig.rig.problem(where, channel, "has no input", "add its input, as input: Dev1/ai0"))
    # Without an input the channel is some other device's to sample, as a twin's, and its gain says nothing here.
    states_gain = entry.input is not None or "gain" in entry.model_fields_set
    if states_gain and abs(entry.gain / gain - 1.0) > _AGREES:
        limit = (
            f"{key} gives {gain:.6g}: the record would hold {entry.gain / gain:.4g} times what the {setup.role} reads"
        )
        remedy = f"write gain: {gain:.6g}, or correct {key}"
        raise BadInput(setup.rig.rig.problem((*where, "gain"), entry.gain, limit, remedy))
    return Scale(source, entry.sign * gain, entry.offset)
