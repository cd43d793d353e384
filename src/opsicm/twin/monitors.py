"""Channels beside the fast loop's own: what the other devices' outputs show on the same converter clock.

They change little within a slice, so they are drawn as straight lines through it; only channels that the experiment
keeps are made at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.facts.channel import Channel, Quality
from opsicm.physics.noise import gaussian_block

FULL_SCALE: Final = 32767
_NOISE_CHANNEL: Final[Mapping[str, int]] = {"cell_potential": 8, "cell_current": 9}  # of a segment's 16; see hop_loop


@dataclass(frozen=True, slots=True)
class Monitors:
    """`channels` in the order of their columns; `noise` [SI rms] by name."""

    channels: tuple[Channel, ...]
    noise: Mapping[str, float]
    seed: int

    @property
    def names(self) -> set[str]:
        """The channels that are wanted."""
        return {channel.name for channel in self.channels}

    def fill(
        self,
        counts: NDArray[np.int16],
        ends: Mapping[str, tuple[float, float]],
        paths: Mapping[str, NDArray[np.float64]],
        segment: int,
        first_sample: int,
    ) -> NDArray[np.uint8]:
        """Fill `counts` [n, channel]; returns the quality of each.

        `ends` gives a channel at its first sample and one sample past the last [SI], `paths` [n] every sample.
        """
        n = counts.shape[0]
        quality = np.zeros(len(self.channels), np.uint8)
        for column, channel in enumerate(self.channels):
            if channel.name in paths:
                values = paths[channel.name]
            else:
                first, past = ends[channel.name]
                values = np.linspace(first, past, n, endpoint=False)
            if noise := self.noise.get(channel.name, 0.0):
                drawn = np.empty(n, np.float32)
                gaussian_block(self.seed, 16 * segment + _NOISE_CHANNEL[channel.name], first_sample, drawn)
                values = values + noise * drawn
            scaled = np.floor((values - channel.offset) / channel.scale + 0.5)
            if scaled.size and max(scaled.max(), -scaled.min()) >= FULL_SCALE:
                quality[column] = Quality.SATURATED
                scaled = np.clip(scaled, -FULL_SCALE - 1, FULL_SCALE)
            counts[:, column] = scaled
        return quality
