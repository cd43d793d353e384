"""Channels beside current and z: on the same clock, only where an experiment keeps them."""

from __future__ import annotations

import numpy as np
import pytest

from opsicm.cli.rigs import load_rig, prepare
from opsicm.experiment.controls import PotentialRamp
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.instruments.roles import HopPlan, Rig
from tests.fixtures.laboratory import TEXT, Laboratory

KEPT = (
    "record: {z_command: full, pipette_bias: full, cell_potential: decimated, cell_current: full, x: full, y: full}\n"
)


def twin(laboratory: Laboratory, record: str) -> Rig:
    experiment = laboratory.experiment(TEXT + record)
    return prepare(experiment, load_rig(experiment, None), 1, lambda _: None).rig


def sampled(rig: Rig) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Six hops along x while the cell sweeps and the command follows: channels in SI, hop records, times [s]."""
    rig.potentiostat.apply(PotentialRamp(0.4, -0.01), 0)
    rig.amplifier.command(0.3, 0.01)
    n = 6
    number = np.arange(n, dtype=np.int32)
    plan = HopPlan(
        "probe[0]",
        1,
        0,
        np.linspace(-1e-6, 4e-6, n),
        np.full(n, 3e-6),
        0 * number,
        number,
        np.full(n, 2e-6),
        HopParameters(2e-6, 3e-5, 0.02, 5e-6),
        0.7,
        2**62,
    )
    outcome = rig.hop_controller.run(plan, lambda: False)
    counts = np.concatenate([block.counts for block in outcome.blocks])
    channels = rig.hop_controller.channels
    assert all(block.quality.shape == (len(channels),) for block in outcome.blocks)
    time = np.arange(counts.shape[0]) * 1e-5
    return {c.name: c.si(counts[:, k]) for k, c in enumerate(channels)}, outcome.hops, time


def test_what_is_not_kept_is_not_sampled(laboratory: Laboratory) -> None:
    assert [c.name for c in twin(laboratory, "").hop_controller.channels] == ["pipette_current", "z"]


def test_each_channel_shows_what_its_device_does_at_that_sample(laboratory: Laboratory) -> None:
    rig = twin(laboratory, KEPT)
    seen, hops, time = sampled(rig)
    scale = {c.name: c.scale for c in rig.hop_controller.channels}
    assert np.allclose(seen["pipette_bias"], 0.3 + 0.01 * time, rtol=0.0, atol=scale["pipette_bias"])
    # The potentiostat regulates with a time constant of its own: after 50 ms it follows the ramp.
    late = time > 0.05
    assert np.allclose(
        seen["cell_potential"][late], 0.4 - 0.01 * time[late], rtol=0.0, atol=2 * scale["cell_potential"]
    )
    assert np.all(np.abs(seen["y"] - 3e-6) <= scale["y"])
    # The piezo follows with a lag of 0.2 ms: 6 nm behind a fall of 30 nm/ms.
    falling = slice(hops["sample_fall"][0] + 200, hops["sample_stop"][0])
    lag = np.mean(seen["z"][falling] - seen["z_command"][falling])
    assert lag == pytest.approx(30e-6 * 0.2e-3, rel=0.1)
    for record in hops:
        inside = slice(record["sample_start"], record["sample_top"] + 1)
        assert np.all(np.abs(seen["x"][inside] - record["x"]) <= scale["x"])
    at = hops["sample_stop"]
    # Sample and record are two readings with 1 µA of noise each: 6 sigma of their difference.
    noise = 6.0 * np.sqrt(2.0) * 1e-6
    assert np.allclose(seen["cell_current"][at], hops["cell_current"], rtol=0.0, atol=scale["cell_current"] + noise)


def test_other_channels_change_neither_hops_nor_samples(laboratory: Laboratory) -> None:
    alone, hops, _ = sampled(twin(laboratory, ""))
    beside, same, _ = sampled(twin(laboratory, KEPT))
    assert hops.tobytes() == same.tobytes()
    assert np.array_equal(alone["pipette_current"], beside["pipette_current"])


def test_a_run_keeps_the_channels_it_was_asked_for(laboratory: Laboratory) -> None:
    text = TEXT.replace("rate_mV_s: 8", "rate_mV_s: 400") + "record: {pipette_bias: full, cell_potential: decimated}\n"
    run = laboratory.run(text)
    samples = run.samples(1)
    assert sorted(map(str, samples.data_vars)) == ["pipette_bias", "pipette_current", "z"]
    assert "cell_potential" in run.decimated(1)["channel"].values
    t_ns = run.cell["t_ns"].values
    potential = np.interp(run.hops["t_ns"].values, t_ns, run.cell["potential"].values)
    bias = samples["pipette_bias"].values[run.hops["sample_stop"].values]
    assert 0.7 - potential == pytest.approx(bias, abs=0.02)  # 400 mV/s, read every 32 ms or so
