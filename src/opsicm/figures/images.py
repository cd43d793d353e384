"""Figures of images: heights, series of them, a step edge; a line over time (kymograph); a section (XZ)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.figures.colours import Role, Shows
from opsicm.figures.view import PIPETTE_SIGN, Axis, CurvePanel, ImagePanel, Series, View

F64 = NDArray[np.float64]
_MOST_COLUMNS: Final = 4000  # of an image over time
_IN_A_ROW: Final = 5  # images
_MOST_IN_A_ROW: Final = 6
_STEEP: Final = 60.0  # [nm] the lower end of the band that `section_results` averages
_REACH: Final = 1000.0  # [nm] of a section near the surface
_ROW: Final = 20.0  # [nm] of a section's rows: finer ones show the noise
_LITHIATION: Final[Role] = "lithiation"
_DELITHIATION: Final[Role] = "delithiation"


def image_view(heights: xr.DataArray, title: str | None = None) -> View:
    """An image of `heights` [m], dims (y, x), about their mean: axes in µm when x, y are coordinates, else pixels.

    Heights are in nm below a range of 1 µm, else in µm. attrs read: `level` ("after plane") and `lateral_note`.
    """
    values = np.asarray(heights.values, dtype=np.float64)
    x, y, extent = _extent(heights)
    known = x.unit == "µm"
    finite = values[np.isfinite(values)]
    small = finite.size == 0 or float(np.ptp(finite)) < 1e-6
    unit, scale = ("nm", 1e9) if small else ("µm", 1e6)
    level = str(heights.attrs.get("level", "as given"))
    missing = int(values.size - finite.size)
    notes = [str(heights.attrs.get("lateral_note", "")) or ("" if known else "lateral scale unknown")]
    notes.append(f"{missing} pixels without height are grey" if missing else "")
    panel = ImagePanel(
        x, y, Axis("height", unit), scale * values, extent, note="; ".join(note for note in notes if note)
    )
    caption = f"Heights {level}; up is positive; colours end at the 1st and 99th percentile."
    return View("image", title or f"Heights {level}", (panel,), caption)


def _extent(image: xr.DataArray) -> tuple[Axis, Axis, tuple[float, float, float, float]]:
    """Axes and edges (left, right, bottom, top) of an image: in µm where it has coordinates [m], else in pixels."""
    rows, columns = image.shape
    if "x" not in image.coords or "y" not in image.coords:
        return Axis("x", "pixel"), Axis("y", "pixel"), (0.0, float(columns), 0.0, float(rows))
    left, right = _edges(np.asarray(image["x"].values, dtype=np.float64))
    bottom, top = _edges(np.asarray(image["y"].values, dtype=np.float64))
    return Axis("x", "µm"), Axis("y", "µm"), (1e6 * left, 1e6 * right, 1e6 * bottom, 1e6 * top)


def _edges(centres: F64) -> tuple[float, float]:
    pitch = float(centres[1] - centres[0]) if centres.size > 1 else 2.0 * float(centres[0])
    return float(centres[0]) - 0.5 * pitch, float(centres[-1]) + 0.5 * pitch


Labelled = tuple[str, xr.DataArray]


def image_series_view(
    images: Sequence[Labelled], title: str = "Images", levelling: str = "", columns: int | None = None
) -> View:
    """Images of heights side by side: one colour scale for all, from the 1st to the 99th percentile of them together.

    `images` (label, heights [m] (y, x) about a zero common to all, NaN without contact, coordinates [m]), all of one
    area; `levelling` says what was subtracted.
    """
    low, high = _percentiles([image.values for _, image in images], (1.0, 99.0))
    length, factor = _length_unit(high - low)
    caption = (
        "One colour scale for all images; it ends at the 1st and 99th percentile of them together. Up is positive. "
        f"{levelling}"
    )
    panels = _strip(images, Axis("height", length), factor, (low, high), "height")
    return View("image_series", title, panels, caption.strip(), columns=columns or _columns(len(panels)))


def image_changes_view(
    changes: Sequence[Labelled], title: str = "Height change since the first image", columns: int | None = None
) -> View:
    """Maps of the height change side by side: one diverging colour scale for all, with zero in its middle.

    `changes` (label, change [m] (y, x) against the first image, registered to it, coordinates [m]). The scale ends at
    the 99th percentile of all magnitudes together.
    """
    (limit,) = _percentiles([np.abs(change.values) for _, change in changes], (99.0,))
    length, factor = _length_unit(limit)
    panels = _strip(changes, Axis("height change", length), factor, (-limit, limit), "change")
    caption = (
        "Each image, registered to the first, less the first: red has risen, blue has fallen, white is unchanged. One "
        "scale for all; it ends at the 99th percentile of all magnitudes."
    )
    return View("image_changes", title, panels, caption, columns=columns or _columns(len(panels)))


def _columns(count: int) -> int:
    """Columns of a strip: up to five images in one row, then rows as full as they can be of at most six."""
    if count <= _IN_A_ROW:
        return max(count, 2)  # a grid has two columns at least
    rows = -(-count // _MOST_IN_A_ROW)
    return -(-count // rows)


def _percentiles(images: Sequence[F64], shares: tuple[float, ...]) -> tuple[float, ...]:
    together = np.concatenate([image[np.isfinite(image)] for image in images])
    return tuple(float(v) for v in np.percentile(together, shares)) if together.size else (0.0,) * len(shares)


def _length_unit(span: float) -> tuple[str, float]:
    return ("µm", 1e6) if span > 1e-6 else ("nm", 1e9)


def _strip(
    images: Sequence[Labelled], value: Axis, factor: float, limits: tuple[float, float], shows: Shows
) -> tuple[ImagePanel, ...]:
    # Limits that enclose nothing (a flat series) would make the colour bar fail.
    low, high = limits if limits[1] > limits[0] else (limits[0] - 1e-10, limits[0] + 1e-10)
    panels = []
    for label, image in images:
        x, y, extent = _extent(image)
        bar = _round_length(0.3 * abs(extent[1] - extent[0])) if x.unit == "µm" else None
        panels.append(
            ImagePanel(
                x, y, value, factor * image.values, extent, shows, (factor * low, factor * high), label, scale_bar=bar
            )
        )
    return tuple(panels)


def image_profiles_view(
    images: Sequence[Labelled],
    profiles: Sequence[tuple[str, F64, F64]],
    line: tuple[float, float, float, float],
    title: str = "Profiles",
) -> View:
    """Heights along a line through every image, dark to light in order of time, below the first image with that line.

    `images` as for `image_series_view`; `profiles` (label, distance [m], height [m]) along `line`, x and y of its start
    and of its end [m].
    """
    first = image_view(images[0][1]).panels[0]
    assert isinstance(first, ImagePanel)
    drawn = tuple(1e6 * float(value) for value in line)
    first = replace(
        first, line=(drawn[0], drawn[1], drawn[2], drawn[3]), note=f"{images[0][0]}; the line of the profiles"
    )
    spans = [float(np.nanmax(h) - np.nanmin(h)) for _, _, h in profiles if np.isfinite(h).any()]
    length, factor = _length_unit(max(spans, default=0.0))
    last = max(len(profiles) - 1, 1)
    series = tuple(
        Series(label, 1e6 * distance, factor * height, "height", shade=k / last if len(profiles) > 1 else None)
        for k, (label, distance, height) in enumerate(profiles)
    )
    note = f"from ({drawn[0]:.3g}, {drawn[1]:.3g}) to ({drawn[2]:.3g}, {drawn[3]:.3g}) µm; up is positive"
    panel = CurvePanel(Axis("distance along the line", "µm"), Axis("height", length), series, note)
    return View("image_profiles", title, (first, panel))


def image_summary_view(
    at: F64, axis: Axis, change: F64, u_change: F64, roughness: F64, lithiates: NDArray[np.bool_]
) -> View:
    """Mean height change and roughness of the images against their potential, or another `axis`, in order of time.

    All (image,): `at` in the unit of `axis`; `change` [m] since the first image with its u, `roughness` Sq [m] after a
    plane, NaN where unknown; `lithiates` which images follow a lithiation (or the first). Roughness has no bars: its u
    says how another area of this size would differ, not how well this one is known.
    """
    length, factor = _length_unit(float(np.nanmax(np.abs(change), initial=0.0)))
    rough, scale = _length_unit(float(np.nanmax(roughness, initial=0.0)))

    def series(values: F64, u: F64 | None = None) -> tuple[Series, ...]:
        order = Series("in order of time", at, values, "limit", "dashed")
        marks = tuple(
            Series(label, at[of], values[of], role, "marks", None if u is None else np.nan_to_num(u[of]))
            for label, role, of in (
                ("lithiation or first", _LITHIATION, lithiates),
                ("delithiation", _DELITHIATION, ~lithiates),
            )
            if of.any()
        )
        return (order, *marks)

    changes = series(factor * change, factor * u_change)
    note = "mean over the registered images since the first; bars: u (k = 1); up is positive"
    panels = (
        CurvePanel(axis, Axis("height change", length), changes, note),
        CurvePanel(axis, Axis("roughness Sq", rough), series(scale * roughness), "of this area, after a plane"),
    )
    return View("image_summary", "Height and roughness of the images", panels, share_x=True)


def step_view(
    image: xr.DataArray, distance: F64, profile: F64, levels: tuple[float, float], title: str = "Step edge"
) -> View:
    """A step edge: the levelled image and its heights averaged along the edge, with the two terraces' levels.

    `image` [m] (y, x), with coordinates [m] where they are known; `distance` [m] across the edge, or in pixels where
    they are not, `profile` [m] (n,); `levels` [m].
    """
    x, y, extent = _extent(image)
    known = x.unit == "µm"
    across = 1e6 * distance if known else distance
    ends = np.array([across[0], across[-1]])
    bar = _round_length(0.25 * abs(extent[1] - extent[0])) if known else None
    panels = (
        ImagePanel(
            x,
            y,
            Axis("height", "nm"),
            1e9 * image.values,
            extent,
            note="levelled by the terraces' common tilt",
            scale_bar=bar,
        ),
        CurvePanel(
            Axis("distance across the edge", x.unit),
            Axis("height", "nm"),
            (
                Series("mean along the edge", across, 1e9 * profile, "height"),
                Series("lower terrace", ends, np.full(2, 1e9 * levels[0]), "limit", "dashed"),
                Series("upper terrace", ends, np.full(2, 1e9 * levels[1]), "model", "dashed"),
            ),
            "up is positive",
        ),
    )
    return View("step_edge", title, panels)


def _round_length(length: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not above `length`."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(m for m in (1.0, 2.0, 5.0) if m * power <= length) * power)


def even_times(t: F64, values: F64) -> tuple[F64, float, float]:
    """Rows of `values` [row, …] on even times for an image, and the left and right edge of it in the unit of `t`.

    `t` (row,), rising. Each even time takes the nearest row; where that is farther than three quarters of the usual
    distance between rows, nothing was measured and the column is NaN.
    """
    step = float(np.median(np.diff(t))) if t.size > 1 else 1.0
    count = min(round(float(t[-1] - t[0]) / step), _MOST_COLUMNS) + 1 if t.size > 1 else 1
    step = float(t[-1] - t[0]) / (count - 1) if count > 1 else step
    even = t[0] + step * np.arange(count)
    after = np.clip(np.searchsorted(t, even), 1, max(t.size - 1, 1)) if t.size > 1 else np.zeros(count, int)
    nearest = np.where(even - t[after - 1] < t[after] - even, after - 1, after) if t.size > 1 else after
    out = values[nearest].astype(np.float64)
    usual = float(np.median(np.diff(t))) if t.size > 1 else 1.0
    out[np.abs(t[nearest] - even) > 0.75 * max(usual, step)] = np.nan
    return out, float(t[0]) - 0.5 * step, float(t[-1]) + 0.5 * step


def section_view(trace: xr.Dataset, title: str = "Ion current above the surface") -> View:
    """XZ section as difference from each approach's mode: measured, by geometry alone, what is left, and their means.

    `trace` as `section_results` leaves it. Bins of height are joined to rows of 20 nm and more, up to 1 µm. The colours
    of measurement and geometry end where geometry stands at 60 nm, those of what is left at its own spread beyond: the
    steep part next to the surface would hide either.
    """
    d, parts = _joined_bins(trace)
    x = trace["x"].values * 1e6
    moved = x.size > 1 and bool(np.ptp(x) > 0.0)
    across = x if moved else np.arange(1.0, x.size + 1.0)
    axis = Axis("position along the line", "µm") if moved else Axis("approach", "")
    half = 0.5 * float(np.ptp(across)) / max(across.size - 1, 1)
    pitch = 0.5 * float(d[1] - d[0]) if d.size > 1 else 0.5 * float(d[0])
    extent = (float(across.min()) - half, float(across.max()) + half, float(d[0]) - pitch, float(d[-1]) + pitch)
    order = np.argsort(across, kind="stable")
    height, current = Axis("distance from the surface", "nm"), Axis("current less mode", "pA")
    beyond = d >= _STEEP
    (geometry,) = _percentiles([np.abs(parts["null"][:, beyond])], (99.0,))
    (left,) = _percentiles([np.abs(parts["net"][:, beyond])], (98.0,))
    geometry, left = geometry or 1.0, left or 1.0
    template = trace.attrs["template"]

    def image(name: str, limit: float, note: str) -> ImagePanel:
        return ImagePanel(axis, height, current, parts[name][order].T, extent, "difference", (-limit, limit), note)

    net, number = parts["net"], np.isfinite(parts["net"]).sum(axis=0)
    spread = np.sqrt(np.maximum(_mean(net**2) - _mean(net) ** 2, 0.0))
    u = spread / np.sqrt(np.maximum(number - 1, 1))
    panels = (
        image("difference", geometry, "as measured, less drift and mode of each approach"),
        image("null", geometry, f"geometry alone ({template})"),
        image("net", left, "measured less geometry alone"),
        CurvePanel(
            height,
            current,
            (
                Series("as measured", d, _mean(parts["difference"]), "pipette"),
                Series("geometry alone", d, _mean(parts["null"]), "limit", "dashed"),
                Series("measured less geometry", d, _mean(net), "neutral", band=u),
            ),
            f"mean over {x.size} approaches with u (k = 1); {PIPETTE_SIGN}",
            (-1.25 * geometry, 0.5 * geometry),
            (0.0, float(extent[3])),
        ),
    )
    caption = (
        "Geometry alone lowers the current near the surface without any change of concentration; below "
        f"{_STEEP:.0f} nm it is steeper than the colours reach."
    )
    return View("section", title, panels, caption, columns=2)


def _joined_bins(trace: xr.Dataset) -> tuple[F64, dict[str, F64]]:
    """Heights [nm] of joined bins, and the section's parts [pA] (hop, height) as means over them by their samples."""
    d = trace["distance"].values * 1e9
    shown = d <= _REACH if (d <= _REACH).sum() > 1 else np.ones(d.size, dtype=bool)
    d = d[shown]
    width = float(d[1] - d[0]) if d.size > 1 else _ROW
    group = min(max(1, round(_ROW / width)), d.size)
    rows = d.size // group
    weight = trace["number"].values[:, shown].astype(np.float64)

    def joined(values: F64) -> F64:
        known = np.where(np.isfinite(values), weight, 0.0)[:, : rows * group].reshape(-1, rows, group)
        total = (known * np.nan_to_num(values)[:, : rows * group].reshape(-1, rows, group)).sum(axis=2)
        number = known.sum(axis=2)
        return np.where(number > 0.0, total / np.maximum(number, 1.0), np.nan)

    parts = {name: joined(1e12 * trace[name].values[:, shown]) for name in ("difference", "null", "net")}
    return d[: rows * group].reshape(rows, group).mean(axis=1), parts


def _mean(values: F64) -> F64:
    finite = np.isfinite(values)
    number = finite.sum(axis=0)
    total = np.where(finite, values, 0.0).sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
