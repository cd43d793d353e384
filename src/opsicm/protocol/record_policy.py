"""What is kept of each sampled channel: every sample (`full`), a summary (`decimated`) or nothing (`off`)."""

from __future__ import annotations

from typing import Literal

from opsicm.protocol.frozen import Frozen

Policy = Literal["full", "decimated", "off"]


class Record(Frozen):
    """One policy a channel. Heights are found again from the current and z alone, so these are kept in full.

    The others stand in the slow rows and in every hop's record; they are sampled where an experiment asks for it.
    """

    pipette_current: Policy = "full"
    z: Policy = "full"
    z_command: Policy = "off"
    pipette_bias: Policy = "off"
    cell_potential: Policy = "off"
    cell_current: Policy = "off"
    x: Policy = "off"
    y: Policy = "off"

    def policy(self, channel: str) -> Policy:
        """The policy of a channel by its name; a channel that no experiment can name is kept in full."""
        chosen: Policy = getattr(self, channel, "full") if channel in type(self).model_fields else "full"
        return chosen
