"""Colours: of curves by what they are, colour maps of images by what they show."""

from __future__ import annotations

from typing import Final, Literal

Role = Literal[
    "height",
    "pipette",
    "cell",
    "potential",
    "lithiation",
    "delithiation",
    "model",
    "limit",
    "neutral",
    "near",
    "between",
    "far",
]

# Okabe and Ito's palette: distinguishable with any colour vision.
COLOUR: Final[dict[Role, str]] = {
    "height": "#0072B2",
    "pipette": "#009E73",
    "cell": "#D55E00",
    "potential": "#444444",
    "lithiation": "#0072B2",
    "delithiation": "#E69F00",
    "model": "#CC79A7",
    "limit": "#999999",
    "neutral": "#222222",
    # Heights of the pipette: blue, red and green, as the paper's Figure 6a has them.
    "near": "#0072B2",
    "between": "#D55E00",
    "far": "#009E73",
}

# What an image shows, and the colour map of each; `family` is that of curves in an order, dark first. Perceptual, and
# diverging only where zero has a meaning: the white middle must be that zero.
Shows = Literal["height", "current", "change", "difference"]
COLOUR_MAP: Final[dict[Shows | Literal["family"], str]] = {
    "height": "viridis",
    "current": "viridis",
    "change": "RdBu_r",  # of a height: red has risen
    "difference": "RdBu_r",  # of a current: red is above its mode
    "family": "viridis",
}
DIVERGING: Final[frozenset[Shows]] = frozenset({"change", "difference"})
MISSING: Final = "#c4c4c4"  # of a pixel without a value: white is the zero of a diverging map
