"""What a tip still holds of the past: the salt in its mouth follows the bath late, for it has to diffuse there.

`ion_current.tip_response` is the answer to one step. Here it is a sum of relaxations, so that whatever happens outside
can be followed from one instant to the next without its history.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from opsicm.core.compiled import compiled
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.ion_current import response_length, tip_response

F64 = NDArray[np.float64]
_SPAN: Final = (-3.5, 4.0)  # decades of D t/rho_0² over which the sum follows the response
_PER_DECADE: Final = 40
_RELAXATIONS: Final = 11  # 1.5 per decade: the sum then departs from the response by less than 0.0015


@dataclass(frozen=True, slots=True)
class TipMemory:
    """1 - S(t) = sum of `weight` exp(-t/`time`): `weight` [1, k], sum 1, and `time` [s, k]."""

    weight: F64
    time: F64

    def lag(self, lags: F64) -> F64:
        """By how much what the tip shows is behind what is outside; `lags` [..., k] as of `lags_along`."""
        return np.asarray(lags @ self.weight)


def tip_memory(pipette: Pipette, diffusivity: float) -> TipMemory:
    """The memory of `pipette` for a salt of `diffusivity` D [m²/s].

    Relaxation times lie evenly in the logarithm, weights are those of least squares that are not negative. Assumes and
    fails as `tip_response`: small changes, no flow, and its tail of 1/sqrt(pi D t/rho_0²) is cut off at 1e4 rho_0²/D,
    a minute and more.
    """
    unit = response_length(pipette) ** 2 / diffusivity
    time = unit * np.logspace(*_SPAN, _RELAXATIONS)
    t = unit * np.logspace(*_SPAN, round((_SPAN[1] - _SPAN[0]) * _PER_DECADE))
    still = 1.0 - tip_response(pipette, diffusivity, t)
    # One row more, and heavy, for the sum: what is outside for ever is shown in full, and a step not at all at once.
    heavy = 100.0
    decays = np.vstack((np.exp(-t[:, None] / time), np.full(time.size, heavy)))
    weight, _ = nnls(decays, np.append(still, heavy))
    kept = weight > 0.0
    return TipMemory(weight[kept] / weight[kept].sum(), time[kept])


@compiled
def lags_along(t_ns: NDArray[np.int64], value: F64, before: F64, time: F64) -> F64:
    """Lags [n, k] of every relaxation behind `value` [n] at `t_ns` [ns, n], linear between; `before` [k] at the first.

    d lag/dt = d value/dt - lag/time, exactly over each interval.
    """
    lags = np.empty((t_ns.size, time.size))
    for k in range(time.size):
        lag = before[k]
        lags[0, k] = lag
        for n in range(1, t_ns.size):
            h = (t_ns[n] - t_ns[n - 1]) * 1e-9
            if h > 0.0:
                kept = np.exp(-h / time[k])
                lag = lag * kept + (value[n] - value[n - 1]) / h * time[k] * (1.0 - kept)
            lags[n, k] = lag
    return lags
