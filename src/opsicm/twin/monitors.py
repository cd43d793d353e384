"""Channels beside the fast loop's own: what the other devices' outputs show on the same converter clock.

They change little within a slice, so they are straight lines through each; only channels that the experiment
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
        at: NDArray[np.float64],
        knots: Mapping[str, NDArray[np.float64]],
        paths: Mapping[str, NDArray[np.float64]],
        segment: int,
        first_sample: int,
    ) -> NDArray[np.uint8]:
        """Fill `counts` [n, channel]; returns the quality of each.

        `knots` gives a channel [SI] `at` samples from the first one, straight between; `paths` [n] at every sample.
        """
        n = counts.shape[0]
        quality = np.zeros(len(self.channels), np.uint8)
        for column, channel in enumerate(self.channels):
            name = channel.name
            values = paths[name] if name in paths else np.interp(np.arange(n), at, knots[name])
            if noise := self.noise.get(name, 0.0):
                drawn = np.empty(n, np.float32)
                gaussian_block(self.seed, 16 * segment + _NOISE_CHANNEL[name], first_sample, drawn)
                values = values + noise * drawn
            scaled = np.floor((values - channel.offset) / channel.scale + 0.5)
            if scaled.size and max(scaled.max(), -scaled.min()) >= FULL_SCALE:
                quality[column] = Quality.SATURATED
                scaled = np.clip(scaled, -FULL_SCALE - 1, FULL_SCALE)
            counts[:, column] = scaled
        return quality
