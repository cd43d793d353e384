"""The limits of a run, on records as a controller would send them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.core.errors import LimitCrossed
from opsicm.core.facts import HOP_DTYPE, Outcome
from opsicm.experiment.setup import Envelope
from opsicm.runner.limits import Limits


def one(outcome: Outcome, z: float) -> NDArray[Any]:
    record = np.zeros(1, HOP_DTYPE)
    record["outcome"], record["z_stop"], record["z_min"] = outcome, z, z
    return record


@pytest.mark.parametrize("z", [-3e-4, 3e-4, np.nan])
def test_a_contact_beyond_the_scanner_stops_an_engage_too(z: float) -> None:
    limits = Limits(Envelope(), (-1e-5, 1e-5))
    with pytest.raises(LimitCrossed, match="the scanner ends at -10 and 10 µm"):
        limits.check_hops(one(Outcome.CONTACT, z), count_misses=False)


def test_an_engage_may_miss_at_the_end_of_the_scanner() -> None:
    limits = Limits(Envelope(), (-1e-5, 1e-5))
    for _ in range(50):
        limits.check_hops(one(Outcome.NO_CONTACT, -1e-5), count_misses=False)
    limits.check_hops(one(Outcome.CONTACT, -5e-6), count_misses=False)
