"""The finite-element approach curve (`physics.pipette.approach`) as the fast loop reads it: no logarithm, no branch.

    I/I_far = F u / (F u + g(u)),   u = d/a,   g = u · dR·kappa·a

g moves slowly between its two ends (thin gap, image of a point source), so a polynomial of degree 4 in each half octave
of u holds it; exponent and leading bit of u *are* the number of the cell. A block whose samples share a cell, as nearly
all of an approach's do, reads no table. The spline in ln d from which it is made stays what everything else uses: it
has an inverse and a slope, but a logarithm for every sample.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.compiled import inlined
from opsicm.physics.noise import fma
from opsicm.physics.pipette import approach

_LOWEST: Final = -14  # octaves of u: below, the thin gap's law is constant to 1e-6, above the far one exactly
_HIGHEST: Final = 6
_CELLS: Final = 2 * (_HIGHEST - _LOWEST) + 2
_ORDER: Final = 5
_HEAD: Final = 2
_SHIFT: Final = 22  # 23 bits of mantissa less the one that tells half octaves
_FIRST: Final = ((127 + _LOWEST) << 1) - 1
_F = np.float32
_I = np.int32
_U: Any = np.uint64
_ZERO, _PER_CELL = _F(0.0), _F(2.0**-22)


def approach_table(packed: NDArray[np.float64]) -> NDArray[np.float32]:
    """[1/a, F, then the row c0 … c4 of every cell] from `ApproachCurve.packed`; g = sum of c_n t^n, t in [0, 1)."""
    carries = 2.0 ** np.arange(_LOWEST, _HIGHEST + 1)
    left = (carries[:-1, None] * np.array([1.0, 1.5])).ravel()
    width = np.repeat(carries[:-1], 2) / 2.0
    at = 0.5 - 0.5 * np.cos(np.pi * (np.arange(_ORDER) + 0.5) / _ORDER)  # Chebyshev's points
    cells = np.linalg.solve(np.vander(at, increasing=True), _g(left + at[:, None] * width, packed)).T
    ends = np.zeros((2, _ORDER))
    ends[:, 0] = _g(carries[[0, -1]], packed)
    head = np.array([1.0 / packed[0], packed[1]])
    return np.concatenate((head, np.vstack((ends[:1], cells, ends[1:])).ravel())).astype(np.float32)


def _g(u: NDArray[Any], packed: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(approach.over(approach.added_resistance, u * packed[0], packed) * packed[0] * u)


@inlined
def scaled(distance: Any, per_radius: Any) -> Any:
    """u = d/a [1, float32], 0 at or below contact."""
    u = _F(distance * per_radius)
    return u if u > _ZERO else _ZERO


@inlined
def cell_of(u: Any) -> Any:
    """The cell of `u` [int32]."""
    cell = _I(_I(np.float32(u).view(np.int32) >> _I(_SHIFT)) - _I(_FIRST))
    cell = _I(0) if cell < _I(0) else cell
    return _I(_CELLS - 1) if cell > _I(_CELLS - 1) else cell


@inlined
def cell_row(cell: Any, curve: NDArray[np.float32]) -> tuple[Any, Any, Any, Any, Any]:
    """The cell's coefficients."""
    k = _U(cell) * _U(_ORDER) + _U(_HEAD)
    return curve[k], curve[k + _U(1)], curve[k + _U(2)], curve[k + _U(3)], curve[k + _U(4)]


@inlined
def in_cell(u: Any, F: Any, c0: Any, c1: Any, c2: Any, c3: Any, c4: Any) -> Any:
    """I/I_far [1] at `u` with the coefficients of its cell."""
    bits = np.float32(u).view(np.int32)
    t = _F(_F(_I(bits & _I((1 << _SHIFT) - 1))) * _PER_CELL)
    g = fma(fma(fma(fma(c4, t, c3), t, c2), t, c1), t, c0)
    open_share = _F(F * u)
    return _F(open_share / _F(open_share + g))


@inlined
def table_relative_current(distance: Any, curve: NDArray[np.float32]) -> Any:
    """I/I_far [1] at `distance` [m, float32] from `approach_table`; 0 at or below contact.

    How near it stays to `approach.relative_current` is in its test: 1e-5, an eighth of a count of a 16-bit converter,
    from a tenth of the radius on; worst where the thin gap's filters begins, at a fiftieth of it.
    """
    u = scaled(distance, curve[0])
    c0, c1, c2, c3, c4 = cell_row(cell_of(u), curve)
    return in_cell(u, curve[1], c0, c1, c2, c3, c4)
