"""What a person would look at in a pipette's record: each doubt with its evidence and a remedy, and none without."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.analysis.pipette.current_voltage import iv_results
from opsicm.analysis.pipette.plausibility import image_doubts, period_doubts, record_doubts

F64 = NDArray[np.float64]
RNG = np.random.default_rng(2)
N = 2000
T = np.arange(N) * 1e-3
I = 1e-9 + 1e-12 * RNG.standard_normal(N)  # noqa: E741
Z = 2e-6 - 0.5e-9 * np.arange(N)
V = np.full(N, 0.15)


def kinds(t: F64 | None = T, current: F64 | None = I, z: F64 | None = Z, bias: F64 | None = V) -> set[str]:
    return {doubt.outcome for doubt in record_doubts(t, current, z, bias)}


def test_a_sound_record_has_no_doubt() -> None:
    assert kinds() == set()
    assert period_doubts(0.05) == []


OVERLOADED = np.where(np.arange(N) == 7, 1.0, I)


@pytest.mark.parametrize(
    ("changed", "kind", "remedy"),
    [
        ({"t": np.tile(T[: N // 2], 2)}, "restarting time", "analyse each alone"),
        ({"t": T - 1.0}, "negative time", "later trigger"),
        ({"t": T * 1e7}, "duration", "--columns t=ms"),
        ({"current": I * 1e4}, "current", "--columns I=pA"),
        ({"current": OVERLOADED}, "overload", "leave these rows out"),
        ({"current": np.round(I, 12)}, "digits", "export them with more digits"),
        ({"z": Z * 1e6}, "travel", "--columns z=um"),
        ({"current": -I}, "sign", "turn the sign"),
        ({"bias": V * 1e9}, "resistance", "check the units"),
    ],
)
def test_each_doubt_has_evidence_and_a_remedy(changed: dict[str, F64], kind: str, remedy: str) -> None:
    given: dict[str, F64] = {"t": T, "current": I, "z": Z, "bias": V, **changed}
    doubts = record_doubts(given["t"], given["current"], given["z"], given["bias"])
    (doubt,) = [one for one in doubts if one.outcome == kind]
    assert doubt.name == "plausibility"
    assert doubt.value is None
    assert remedy in doubt.reason


def test_a_current_stored_as_a_magnitude_and_hops_of_an_hour() -> None:
    sweep = np.linspace(-0.5, 0.5, N)
    assert kinds(current=np.abs(sweep) / 1e8, bias=sweep) == {"magnitude"}
    assert kinds(current=sweep / 1e8, bias=sweep) == set()
    (slow,) = period_doubts(4000.0)
    assert "in ms (4 s a hop)" in slow.reason


def test_an_image_says_what_is_wrong_with_it() -> None:
    heights = 10e-9 * RNG.standard_normal((64, 64))
    assert image_doubts(heights, 0, 0, 5e-6, 5e-6) == []
    found = {d.outcome for d in image_doubts(np.minimum(heights, 10e-9), 5, 2, 5e-6, 5e-6)}
    assert found == {"unscanned", "scars", "saturated"}
    assert {d.outcome for d in image_doubts(1e9 * heights, 0, 0, 5e-6, 5e-6)} == {"height"}


@pytest.mark.parametrize("stop", [0.5, 0.499, 0.49])
def test_a_linear_pipette_does_not_rectify(stop: float) -> None:
    """A sweep that ends just before its limit on one side: its conductances are alike, its currents are not."""
    ratios = []
    for seed in range(100):
        v = np.concatenate((np.linspace(0.0, stop, 300), np.linspace(stop, -0.5, 600), np.linspace(-0.5, 0.0, 300)))
        i = v / 150e6 + 1e-12 * np.random.default_rng(seed).standard_normal(v.size)
        (found,) = [r for r in iv_results(v, i) if r.name == "rectification"]
        assert found.value is not None
        assert found.u is not None
        ratios.append((found.value - 1.0) / found.u)
    assert abs(float(np.mean(ratios))) < 0.4
    assert 0.7 < float(np.std(ratios)) < 1.3
