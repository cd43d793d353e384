"""The bias residual of each sample, from the command and the potential of the same sample."""

from __future__ import annotations

import numpy as np
import pytest

from opsicm.core.errors import BadInput
from opsicm.record.reader import Run
from tests.fixtures.laboratory import TEXT, Laboratory

SHORT = TEXT.replace("to_V: 0.0, rate_mV_s: 8", "to_V: 0.38, rate_mV_s: 20")


def test_the_residual_of_a_sample_is_that_of_its_hop(laboratory: Laboratory) -> None:
    run = laboratory.run(SHORT + "record: {pipette_bias: full, cell_potential: full}\n")
    residual = run.bias_residual(1)
    assert residual.sizes["sample"] == run.length(1)
    assert residual.attrs["units"] == "V"
    hops = run.hops.isel(hop=run.hops["segment"].values == 1)
    at = hops["sample_stop"].values
    # The converter's steps of both channels: 61 µV of the command's ±2 V, and as much of the potential's.
    assert np.abs(residual.values[at] - hops["bias_residual"].values).max() < 3e-4
    assert np.abs(residual.values).max() < 20e-3 * 0.1 + 2e-3
    part = run.bias_residual(1, 100, 300)
    assert np.array_equal(part.values, residual.values[100:300])
    assert np.array_equal(part["t_ns"].values, residual["t_ns"].values[100:300])


def test_without_both_channels_it_says_what_to_record(short_run: Run) -> None:
    with pytest.raises(BadInput, match=r"was not kept in full: pipette_bias and cell_potential; record it by record: "):
        short_run.bias_residual(1)
