"""The decimated stream against the plain way of computing it."""

from __future__ import annotations

import numpy as np
import pytest

from opsicm.record.decimate import decimate, factor


@pytest.mark.parametrize("n", [0, 1, 127, 128, 129, 5000])
@pytest.mark.parametrize("rows_of", [1, 2, 128])
def test_decimation_equals_a_plain_reduction(n: int, rows_of: int) -> None:
    counts = np.random.default_rng(n).integers(-32768, 32767, (n, 3), np.int16, endpoint=True)
    low, high, mean, samples = decimate(counts, rows_of)
    stretches = [counts[k : k + rows_of] for k in range(0, n, rows_of)]
    assert samples.tolist() == [len(stretch) for stretch in stretches]
    for k, stretch in enumerate(stretches):
        assert np.array_equal(low[k], stretch.min(axis=0))
        assert np.array_equal(high[k], stretch.max(axis=0))
        # float32 of a mean of int16: half a unit in the last place of 24 bits
        np.testing.assert_allclose(mean[k], stretch.mean(axis=0), rtol=6e-8, atol=0)


@pytest.mark.parametrize(("dt_ns", "expected"), [(10_000, 128), (1_000, 1024), (1_000_000, 1), (10_000_000, 1)])
def test_about_a_thousand_rows_a_second(dt_ns: int, expected: int) -> None:
    assert factor(dt_ns) == expected
