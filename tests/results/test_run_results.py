"""Results of a run file: told apart by their fields, made from the counts as stored, with the figures that apply."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from opsicm.analysis.result import Result
from opsicm.analysis.sections.raw_samples import Approaches, RawSamples
from opsicm.analysis.sections.results import section_results
from opsicm.record.reader import Run
from opsicm.results.run_or_file import results_of_path
from opsicm.results.run_results import results_of, template_of, views_of
from tests.fixtures.foreign_data import DATA
from tests.fixtures.laboratory import TEXT, Laboratory
from tests.fixtures.raw_samples import digitised

STORED = DATA / "runs-0.1.0"


def ambiguous(results: Sequence[Result]) -> list[str]:
    """Labels of results that share quantity, of and index with another."""
    keys = [(result.name, result.of, result.index) for result in results]
    return [result.label for result, key in zip(results, keys, strict=True) if keys.count(key) > 1]


def test_no_two_results_of_a_run_share_their_fields(short_run: Run) -> None:
    results = results_of(short_run)
    assert len(results) > 15
    assert ambiguous(results) == []
    assert ambiguous([*results, results[0]]) == [results[0].label] * 2


@pytest.mark.skipif(not STORED.is_dir(), reason="not at hand: set OPSICM_DATA")
def test_a_stored_run_has_the_names_of_0_1_0() -> None:
    results = results_of_path(STORED / "finished", None)
    before = json.loads((STORED / "results-1166a2f.json").read_text(encoding="utf-8"))
    names, then = [result.label for result in results], [record["name"] for record in before]
    # By the run's own journal the rest is followed by a sweep, not by a current that steps; the anodic sweep of the
    # same cycle counts as much as the cathodic one.
    assert [name for name in then if name not in names] == ["pipette_step_ohmic", "pipette_step_diffusive"]
    assert [name for name in names if name not in then] == ["peak_1_delithiation_potential"]
    assert ambiguous(results) == []
    assert set(before[0]) - {"run"} < set(results[0].record())


@pytest.mark.skipif(not (DATA / "approach_curves").is_dir(), reason="not at hand: set OPSICM_DATA")
@pytest.mark.parametrize("path", ["approach_curves", "electrochemistry/Pt_poly_cv.mpt", "topography/gwyfile_test.gwy"])
def test_no_two_results_of_a_third_party_file_share_their_fields(path: str) -> None:
    assert ambiguous(results_of_path(DATA / path, None)) == []


def test_a_section_is_that_of_the_stored_counts(short_run: Run) -> None:
    """Against floats that were digitised anew, as they once were: nothing moves by more than a count of the current."""
    one, null = (r for r in results_of(short_run) if r.name.startswith("near_surface"))
    hops = short_run.hops
    good = np.flatnonzero(hops["outcome"].values == 0)
    worst = good[int(np.argmax(np.abs(hops["cell_current"].values[good])))]
    chosen = np.sort(good[np.argsort(np.abs(good - worst), kind="stable")[:20]])
    fall, stop = hops["sample_fall"].values[chosen], hops["sample_stop"].values[chosen]
    segment, first, last = int(hops["segment"].values[worst]), int(fall.min()), int(stop.max()) + 1
    samples = short_run.samples(segment, first, last)
    floats = digitised(samples["pipette_current"].values, samples["z"].values)
    falls = Approaches(fall - first, stop - first + 1, hops["i_ref"].values[chosen], hops["setpoint"].values[chosen])
    before = section_results(floats, falls, template_of(short_run), np.zeros(20))
    stored = short_run.counts(segment, ("pipette_current", "z"), first, last)
    assert stored is not None
    counts, (current, z), lost = stored
    assert counts.flags.c_contiguous
    assert counts.dtype == np.int16
    assert lost.shape == (0, 2)
    raw = RawSamples(counts, 0, 1, current.scale, current.offset, z.scale, z.offset)
    np.testing.assert_allclose(raw.si_current(counts[:, 0]), samples["pipette_current"].values, rtol=1e-12)
    np.testing.assert_allclose(raw.si_height(counts[:, 1]), samples["z"].values, rtol=1e-12)
    for now, then in zip((one, null), before, strict=True):
        assert now.value is not None
        assert now.value == pytest.approx(then.value, abs=1e12 * current.scale)
        assert now.u == pytest.approx(then.u, abs=1e12 * current.scale)


def test_channels_that_were_not_kept_have_no_counts(short_run: Run) -> None:
    segment = short_run.segments()[0]
    assert short_run.counts(segment, ("pipette_current", "x")) is None


def test_an_approach_with_lost_samples_is_left_out(short_run: Run) -> None:
    whole = next(r for r in results_of(short_run) if r.name == "near_surface_difference")
    with Run(short_run.path) as run:
        hops = run.hops
        good = np.flatnonzero(hops["outcome"].values == 0)
        worst = good[int(np.argmax(np.abs(hops["cell_current"].values[good])))]
        segment, at = int(hops["segment"].values[worst]), int(hops["sample_stop"].values[worst]) - 10
        reader, channels, t0_ns, dt_ns, _ = run._segment(segment)
        run._segments[segment] = reader, channels, t0_ns, dt_ns, np.array([[at, at + 1]], np.int64)
        less = next(r for r in results_of(run) if r.name == "near_surface_difference")
    assert whole.trace is not None
    assert less.trace is not None
    assert less.outcome == "ok"
    assert whole.trace.sizes["hop"] - less.trace.sizes["hop"] == 1


def test_a_run_without_full_samples_has_its_other_figures(tmp_path: Path) -> None:
    text = TEXT.replace("rate_mV_s: 8", "rate_mV_s: 40") + "record: {pipette_current: decimated, z: decimated}\n"
    with Laboratory(tmp_path).run(text) as run:
        results = results_of(run)
        names = [view.name for view in views_of(run, results)]
    assert "near_surface_difference" not in [result.name for result in results]
    assert {"time", "potential", "ten_hop"} <= set(names)
    assert "hop" not in names
