"""Pixels of a file's image that were never measured, and single lines that went wrong.

A program that stops half-way writes the rest of the image as zeros, as one constant, as the last line again and again,
or not at all. Such pixels have no height.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.statistics import robust_sigma

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
_CHANCE: Final = 1e-3  # images of measured heights in which a line is taken for one that was not
_FEWEST_LINES: Final = 3  # measured ones, from which it is known how often neighbours are alike
_SCAR: Final = 6.0  # robust sigmas of the offsets of lines


def unscanned(heights: F64) -> Mask:
    """Pixels of `heights` [any unit], (rows, columns), that were not measured; NaN counts as such.

    Along a line of the image (rows, then columns) these are runs of one exactly repeated number that reach an edge of
    the image, and whole lines that repeat the line before. Measured heights differ from pixel to pixel: how often
    neighbours of one line, and of two successive lines, are equal is taken from the lines that do differ, and a run is
    not measured where chance would give one as long in less than one of 1000 images. Of heights that are digitised
    coarsely, or drawn without noise, many neighbours are equal, and nothing is left out. Fails to see lines filled with
    invented noise or with a ramp, and takes a stretch clipped at the end of the scanner's range for one that was not
    scanned: it has no height either.
    """
    missing = ~np.isfinite(heights)
    for turned in (False, True):
        lines = heights.T if turned else heights
        gone = missing.T if turned else missing
        # In place: `gone` is a view of `missing`.
        gone |= _repeated(lines, gone)
        gone |= _runs(lines, gone)
    return missing


def measured(heights: F64) -> F64:
    """`heights` with NaN where they were not measured (`unscanned`)."""
    return np.asarray(np.where(unscanned(heights), np.nan, heights), dtype=np.float64)


def _runs(lines: F64, gone: Mask) -> Mask:
    """Runs of one number at either end of a line, too long for chance; a whole line of one number is such a run."""
    out = np.zeros(lines.shape, bool)
    pair = ~gone[:, 1:] & ~gone[:, :-1]
    equal = pair & (lines[:, 1:] == lines[:, :-1])
    counted, alike = pair.sum(axis=1), equal.sum(axis=1)
    varied = (counted > 0) & (alike < counted)
    if varied.sum() < _FEWEST_LINES:
        return out
    # A stretch that was not scanned is one run: where lines are stopped half-way it must not count as chance.
    longest = np.maximum(_end_run(equal), _end_run(equal[:, ::-1]))
    share = float(np.median((alike - np.minimum(longest, alike))[varied] / np.maximum(counted - longest, 1)[varied]))
    limit = _longest(share, int(lines.shape[0]))
    for end in (slice(None), slice(None, None, -1)):
        run = _end_run(equal[:, end])
        known = ~gone[:, end][:, 0]
        size = np.where(known & (run + 1 > limit), run + 1, 0)
        out[:, end] |= np.arange(lines.shape[1]) < size[:, None]
    return out


def _end_run(equal: Mask) -> NDArray[np.int64]:
    """How many of `equal` in a row each line begins with."""
    return np.asarray(np.where(equal.all(axis=1), equal.shape[1], np.argmin(equal, axis=1)), dtype=np.int64)


def _repeated(lines: F64, gone: Mask) -> Mask:
    """Lines that repeat the line before them, pixel by pixel."""
    out = np.zeros(lines.shape, bool)
    pair = ~gone[1:] & ~gone[:-1]
    equal = pair & (lines[1:] == lines[:-1])
    counted, alike = pair.sum(axis=1), equal.sum(axis=1)
    whole = (counted > 0) & (alike == counted)
    differ = (counted > 0) & ~whole
    if differ.sum() < _FEWEST_LINES or not whole.any():
        return out
    share = float(np.median(alike[differ] / counted[differ]))
    out[1:][whole & (counted > _longest(share, int(lines.shape[0])))] = True
    return out


def _longest(share: float, lines: int) -> float:
    """The longest run of equal neighbours that chance gives in so many lines, where `share` of them are equal."""
    share = min(max(share, 1e-2), 1.0 - 1e-9)
    return 2.0 + float(np.log(_CHANCE / lines) / np.log(share))


def scars(heights: F64) -> Mask:
    """Pixels of one or two lines (rows: the fast axis) that were offset as a whole, (rows, columns).

    Lines go up to them and come down again: the median over the pixels of the difference between two neighbouring lines
    (less that of most lines, a tilt) is six robust sigmas of all such differences on both sides, of opposite sign, and
    both are alike to a half. An edge between two rows has one side only. A ridge of one or two rows along the fast axis
    looks the same: of a single image the two cannot be told apart. Lines at the edge of the image are not judged.
    """
    out = np.zeros(heights.shape, bool)
    difference = np.diff(heights, axis=0)
    whole = np.isfinite(difference).sum(axis=1) >= 0.5 * heights.shape[1]
    if whole.sum() < 8:
        return out
    offset = np.zeros(difference.shape[0])
    offset[whole] = np.nanmedian(difference[whole], axis=1)
    offset[whole] -= np.median(offset[whole])
    sigma = max(robust_sigma(offset[whole], 0.0), 1e-300)
    for lines in (1, 2):
        up, down = offset[:-lines], -offset[lines:]
        least, most = np.minimum(np.abs(up), np.abs(down)), np.maximum(np.abs(up), np.abs(down))
        for first in np.flatnonzero((up * down > 0.0) & (least > _SCAR * sigma) & (most - least < 0.5 * most)) + 1:
            out[first : first + lines] = True
    return out & np.isfinite(heights)
