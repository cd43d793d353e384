"""A card's samples as the channels of a rig file: counts with a scale, and a quality for each block.

A channel with an `input` is what that input reads. One without shows what was written to the output that makes it:
`z_command`, `z`, `x`, `y` of the scanner, `pipette_bias` of an amplifier on the same card.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import BadInput
from opsicm.core.facts import MEANING, Channel, Quality, SampleBlock, channel
from opsicm.drivers.analogue_scanner import Axes
from opsicm.drivers.ni_card import NiCard, terminal
from opsicm.experiment.rig_file import ChannelName, RigChannel
from opsicm.instruments.registry import RoleSetup
from opsicm.instruments.specification import RigSpecification

FULL_SCALE: Final = 32767
Floats = NDArray[np.float64]
_ALWAYS: Final = ("pipette_current", "z")
_ORDER: Final[tuple[ChannelName, ...]] = (
    "pipette_current",
    "z",
    "z_command",
    "pipette_bias",
    "cell_potential",
    "cell_current",
    "x",
    "y",
)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a channel's numbers come from: a `column` of the card, or SI values at samples [first, end) by `made`."""

    channel: Channel
    column: int | None = None
    sign: float = 1.0
    gain: float = 1.0  # SI per volt
    offset: float = 0.0
    made: Callable[[int, int], Floats] | None = None


class CardChannels:
    """The channels that one experiment keeps of one card. Samples go by their index on the card's clock."""

    def __init__(self, setup: RoleSetup, on: NiCard, axes: Axes, rig: RigSpecification) -> None:
        self._card = on
        kept = {name for name, policy in setup.rig.experiment.record.model_dump().items() if policy != "off"}
        listed = {one.name: one for one in setup.rig.rig.rig.channels if one.input is not None}
        if "pipette_current" not in listed:
            limit = "has no input, and a hop ends by it"
            remedy = f"add {{name: pipette_current, role: amplifier, input: {on.device}/ai0, gain: 1.0e-9}}"
            raise BadInput(setup.rig.rig.problem(("channels",), "pipette_current", limit, remedy))
        made = self._made(setup, axes, rig)
        self._sources: dict[str, _Source] = {}
        for name in _ORDER:
            if name in listed:
                self._sources[name] = self._sampled(listed[name], rig)
            elif name in made:
                reach, source, values = made[name]
                one = channel(name, max(reach, 1e-9) / FULL_SCALE, source)
                self._sources[name] = _Source(one, made=values)
        self._written = [name for name in self._sources if name in kept or name in _ALWAYS]
        self.channels = tuple(self._sources[name].channel for name in self._written)

    def _sampled(self, entry: RigChannel, rig: RigSpecification) -> _Source:
        assert entry.input is not None
        name = terminal(entry.input, self._card.device)
        reach = max(map(abs, self._card.input_ranges[name]))
        scale = abs(entry.gain) * reach / FULL_SCALE
        filter_Hz = rig.amplifier.filter_Hz if entry.name == "pipette_current" else None
        one = channel(entry.name, scale, f"{entry.role}, {name}", entry.offset, filter_Hz)
        return _Source(one, self._card.column(name), float(entry.sign), entry.gain, entry.offset)

    def _made(
        self, setup: RoleSetup, axes: Axes, rig: RigSpecification
    ) -> dict[str, tuple[float, str, Callable[[int, int], Floats]]]:
        """What outputs show: name → (reach, source, values)."""

        def of_axis(axis: str) -> Callable[[int, int], Floats]:
            output = axes.output(axis)
            if output is None:
                return lambda first, end: np.zeros(end - first)
            return lambda first, end: np.asarray(axes.metres(axis, self._card.staircase(output, first, end)))

        known = {
            "z": (rig.scanner.z_reach, "scanner, as commanded", of_axis("z")),
            "z_command": (rig.scanner.z_reach, "hop controller", of_axis("z")),
            "x": (rig.scanner.xy_reach, "scanner", of_axis("x")),
            "y": (rig.scanner.xy_reach, "scanner", of_axis("y")),
        }
        amplifier = setup.rig.rig.role("amplifier")
        output = amplifier.settings.get("command_output")
        if amplifier.address == setup.address and isinstance(output, str):
            bias = setup.rig.rig.rig.wiring.external_bias * float(amplifier.settings.get("command_sign", 1))
            reach = max(map(abs, rig.amplifier.command_range))
            known["pipette_bias"] = (
                reach,
                "amplifier, as commanded",
                lambda first, end: bias * self._card.staircase(output, first, end),
            )
        return known

    def si(self, name: str, volts: Floats, first: int) -> Floats:
        """A channel [SI] at samples from `first` on, of which `volts` [n, input] are the readings; NaN if unknown."""
        if name not in self._sources:
            return np.full(volts.shape[0], np.nan)
        source = self._sources[name]
        if source.column is None:
            assert source.made is not None
            return source.made(first, first + volts.shape[0])
        return source.sign * source.gain * volts[:, source.column] + source.offset

    def column(self, name: str) -> int:
        """The card's column of a channel that is sampled, -1 of another."""
        column = self._sources[name].column if name in self._sources else None
        return -1 if column is None else column

    def block(self, segment: int, index: int, first: int, end: int, t0_ns: int) -> SampleBlock:
        """Samples [first, end) of the card as a block whose first one has `index` in its segment and time `t0_ns`."""
        volts, of_inputs = self._card.ring.between(first, end)
        counts = np.zeros((end - first, len(self._written)), np.int16)
        quality = np.full(len(self._written), Quality.GOOD, np.uint8)
        for k, name in enumerate(self._written):
            source = self._sources[name]
            values = self.si(name, volts, first)
            scaled = np.nan_to_num(np.rint((values - source.channel.offset) / source.channel.scale), posinf=0, neginf=0)
            if source.column is not None:
                quality[k] = of_inputs[source.column]
            elif scaled.size and np.abs(scaled).max() > FULL_SCALE:
                quality[k] = Quality.SATURATED
            counts[:, k] = np.clip(scaled, -FULL_SCALE - 1, FULL_SCALE)
        return SampleBlock(segment, index, t0_ns, self._card.dt_ns, counts, quality)


assert set(_ORDER) == set(MEANING)
