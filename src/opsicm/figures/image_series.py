"""A series of height images with one colour scale and one scale bar (Figures 4a, 4c), and a step edge (S6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from opsicm.figures.view import Axis, Curves, Image, Series, View

F64 = NDArray[np.float64]


def view(
    images: Sequence[tuple[str, F64]], size: tuple[float, float], title: str, columns: int = 4, scale_bar: float = 5e-6
) -> View:
    """Images of heights side by side: one colour scale for all, from the 1st to the 99th percentile of them together.

    `images` (label, heights [m] (row, column) about a zero common to all, NaN without contact); `size` (width, height)
    and the fixed length `scale_bar` [m].
    """
    together = np.concatenate([1e6 * image[np.isfinite(image)] for _, image in images])
    low, high = (float(v) for v in np.percentile(together, [1.0, 99.0]))
    extent = (0.0, 1e6 * size[0], 0.0, 1e6 * size[1])
    panels = tuple(
        Image(Axis("x", "µm"), Axis("y", "µm"), Axis("height", "µm"), 1e6 * image, extent, limits=(low, high),
              note=label, scale_bar=1e6 * scale_bar)
        for label, image in images
    )  # fmt: skip
    caption = (
        "One colour scale for all images; it ends at the 1st and 99th percentile of them together. Up is positive."
    )
    return View("image_series", title, panels, caption, columns=columns)


def step_view(image: F64, size: tuple[float, float], profile_x: F64, profile: F64, levels: tuple[float, float]) -> View:
    """A step edge: the levelled image and its heights averaged along the edge, with the two terraces' levels.

    `image` [m] (row, column); `size` [m]; `profile_x` [m], `profile` [m] (n,), the mean over rows; `levels` [m].
    """
    extent = (0.0, 1e6 * size[0], 0.0, 1e6 * size[1])
    x = 1e6 * profile_x
    ends = np.array([x[0], x[-1]])
    panels = (
        Image(Axis("x", "µm"), Axis("y", "µm"), Axis("height", "nm"), 1e9 * image, extent,
              note="levelled by the terraces' common tilt", scale_bar=_round(0.25e6 * size[0])),
        Curves(Axis("x", "µm"), Axis("height", "nm"),
               (Series("mean over the rows", x, 1e9 * profile, "height"),
                Series("lower terrace", ends, np.full(2, 1e9 * levels[0]), "limit", "dashed"),
                Series("upper terrace", ends, np.full(2, 1e9 * levels[1]), "limit", "dashed")), "up is positive"),
    )  # fmt: skip
    return View("step_edge", "Step edge", panels)


def _round(length: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is no longer."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(m for m in (1.0, 2.0, 5.0) if m * power <= length) * power)
