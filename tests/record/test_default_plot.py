"""What a run opens on: asked of the file as any NeXus viewer asks, without a plug-in."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from faults.stream import folder
from opsicm.core.facts import HOP_DTYPE
from opsicm.experiment.patterns import Points, along_a_line, over_a_rectangle
from opsicm.record import default_plot
from opsicm.record.log import HOP_ROW, READING_ROW
from opsicm.record.shared_recorder import SharedRecorder
from opsicm.record.validate import validate
from tests.fixtures.recorded import STREAM

_NO_ROWS = np.empty(0, READING_ROW)
_VIEWER = """
import h5py, json, sys
f = h5py.File(sys.argv[1]); e = f[f.attrs['default']]; d = e[e.attrs['default']]
axes = d.attrs['axes']; axes = [axes] if isinstance(axes, str) else list(axes)
y = d[d.attrs['signal']]
own = all(i.id.get_create_plist().get_filter(k)[0] < 256 for i in (y, *(d[a] for a in axes))
          for k in range(i.id.get_create_plist().get_nfilters()))
sides = [d[a].shape for a in axes]
print(json.dumps([d.attrs['NX_class'], d.attrs['signal'], axes, y.shape, sides, y.attrs['units'], own]))
assert y[()].size and 'hdf5plugin' not in sys.modules
"""


def _hops(points: Points, passes: int, dtype: np.dtype[Any] = HOP_ROW) -> NDArray[np.void]:
    """As the runner records a pattern of `passes`: heights say where they were taken and, by 1 nm, in which pass."""
    n = points.x.size
    rows = np.zeros(n * passes, dtype)
    lines = int(points.line.max()) + 1
    for k in range(passes):
        part = rows[k * n : (k + 1) * n]
        part["x"], part["y"], part["pixel"], part["line"] = points.x, points.y, points.pixel, points.line + lines * k
        part["z_stop"] = _terrain(points.x, points.y) + k * 1e-9
    rows["hop"] = np.arange(rows.size)
    rows["t_ns"] = rows["hop"] * 10_000_000
    rows["segment"] = 1
    if "step" in (dtype.names or ()):
        rows["step"] = b"probe[0]"
    return rows


def _terrain(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.1 * x + 0.02 * y


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("serpentine", [True, False])
def test_a_raster_is_an_image_over_x_and_y(passes: int, serpentine: bool) -> None:
    points = over_a_rectangle((3e-6, -2e-6), (8e-6, 4e-6), (9, 5), serpentine=serpentine).points
    drawn = default_plot.plot(_hops(points, passes), _NO_ROWS)
    assert [axis.name for axis in drawn.axes] == ["y", "x"]
    y, x = (axis.values for axis in drawn.axes)
    np.testing.assert_allclose(x, np.linspace(-1e-6, 7e-6, 9), atol=1e-18)
    np.testing.assert_allclose(y, np.linspace(-4e-6, 0.0, 5), atol=1e-18)
    np.testing.assert_allclose(drawn.signal.values, _terrain(x[None, :], y[:, None]), atol=1e-18)
    assert ("first pass" in drawn.title) is (passes > 1)


def test_a_turned_raster_lies_along_its_own_axes() -> None:
    angle = math.radians(30)
    points = over_a_rectangle((0.0, 0.0), (8e-6, 4e-6), (9, 5), rotation=angle).points
    drawn = default_plot.plot(_hops(points, 2), _NO_ROWS)
    assert [axis.name for axis in drawn.axes] == ["across", "along"]
    slow, fast = (axis.values for axis in drawn.axes)
    np.testing.assert_allclose(fast, np.linspace(0.0, 8e-6, 9), atol=1e-18)
    np.testing.assert_allclose(slow, np.linspace(0.0, 4e-6, 5), atol=1e-18)
    assert drawn.signal.values.shape == (5, 9)


def test_an_unfinished_image_is_drawn_so_far() -> None:
    points = over_a_rectangle((0.0, 0.0), (8e-6, 4e-6), (9, 5)).points
    drawn = default_plot.plot(_hops(points, 1)[:22], _NO_ROWS)
    assert drawn.signal.values.shape == (3, 9)
    # The third row of the serpentine goes to the right: four of its pixels are there.
    assert np.isfinite(drawn.signal.values).sum(axis=1).tolist() == [9, 9, 4]
    np.testing.assert_allclose(drawn.axes[1].values, np.linspace(-4e-6, 4e-6, 9), atol=1e-18)


@pytest.mark.parametrize("begins", [20, 27])
def test_a_resumed_raster_is_drawn_from_its_first_row(begins: int) -> None:
    points = over_a_rectangle((0.0, 0.0), (8e-6, 4e-6), (9, 5)).points
    drawn = default_plot.plot(_hops(points, 3)[begins:], _NO_ROWS)
    y, x = (axis.values for axis in drawn.axes)
    first = begins // 9
    np.testing.assert_allclose(y, np.linspace(-2e-6, 2e-6, 5)[first:], atol=1e-18)
    expected = np.isfinite(drawn.signal.values)
    assert expected.sum() == 45 - begins
    present = _terrain(x[None, :], y[:, None])[expected]
    np.testing.assert_allclose(drawn.signal.values[expected], present, atol=1e-18)


def test_a_hop_without_contact_has_no_height() -> None:
    rows = _hops(over_a_rectangle((0.0, 0.0), (8e-6, 4e-6), (9, 5)).points, 1)
    rows["outcome"][4] = 1
    image = default_plot.plot(rows, _NO_ROWS).signal.values
    assert np.argwhere(np.isnan(image)).tolist() == [[0, 4]]


@pytest.mark.parametrize("passes", [1, 4])
def test_a_line_is_a_profile(passes: int) -> None:
    points = along_a_line((1e-6, 2e-6), (4e-6, 6e-6), 11, None).points
    drawn = default_plot.plot(_hops(points, passes), _NO_ROWS)
    assert [axis.name for axis in drawn.axes] == ["distance"]
    np.testing.assert_allclose(drawn.axes[0].values, np.linspace(0.0, 5e-6, 11), atol=1e-18)
    np.testing.assert_allclose(drawn.signal.values, _terrain(points.x, points.y), atol=1e-18)


def test_the_step_with_the_most_hops_is_drawn() -> None:
    raster = _hops(over_a_rectangle((0.0, 0.0), (8e-6, 4e-6), (9, 5)).points, 1)
    point = np.zeros(20, HOP_ROW)
    point["step"] = b"probe[1]"
    assert default_plot.plot(np.concatenate([raster, point]), _NO_ROWS).signal.values.shape == (5, 9)
    drawn = default_plot.plot(np.concatenate([raster[:9], point]), _NO_ROWS)
    assert [axis.name for axis in drawn.axes] == ["time"]
    assert drawn.signal.values.shape == (20,)


def test_a_coarse_motion_between_two_segments_is_not_topography() -> None:
    rows = _hops(over_a_rectangle((0.0, 0.0), (8e-6, 4e-6), (9, 5)).points, 1)
    rows["segment"][20:] = 2
    rows["z_stop"][20:] -= 3e-6  # the coarse stage went up by 3 µm, the scanner down
    slow = np.zeros(4, READING_ROW)
    slow["t_ns"] = [50_000_000, 150_000_000, 250_000_000, 350_000_000]
    slow["coarse_z"] = [1e-3, 1e-3, 1e-3 + 3e-6, 1e-3 + 3e-6]
    drawn = default_plot.plot(rows, slow)
    y, x = (axis.values for axis in drawn.axes)
    np.testing.assert_allclose(drawn.signal.values, _terrain(x[None, :], y[:, None]), atol=1e-15)


@pytest.mark.parametrize(("moving", "axis"), [(20, "time"), (95, "coarse_z")])
def test_a_park_is_drawn_over_time_despite_its_coarse_motion(moving: int, axis: str) -> None:
    rows = np.zeros(100, READING_ROW)
    rows["coarse_z"] = 1e-3 + 1e-5 * np.minimum(np.arange(100), moving)
    drawn = default_plot.plot(np.empty(0, HOP_ROW), rows)
    assert (drawn.signal.name, [one.name for one in drawn.axes]) == ("pipette_current", [axis])


def _recorded(workspace: Path, points: Points | None) -> Path:
    recorder = SharedRecorder(folder(workspace))
    recorder.open(STREAM.header())
    pool = STREAM.pool()
    recorder.block(STREAM.block(pool, 0))
    if points is not None:
        recorder.hops("probe[0]", _hops(points, 2, HOP_DTYPE))
    for k in range(3):
        recorder.reading(replace(STREAM.reading(k), coarse_z=1e-3 + (k * 1e-6 if points is None else 0.0)))
    return recorder.close()


_CASES = {
    "raster": (over_a_rectangle((0.0, 0.0), (8e-6, 4e-6), (9, 5)).points, ["y", "x"], "height", [5, 9]),
    "line": (along_a_line((0.0, 0.0), (4e-6, 0.0), 11, None).points, ["distance"], "height", [11]),
    "tower": (None, ["coarse_z"], "pipette_current", [3]),
}


@pytest.mark.parametrize("case", _CASES)
def test_the_default_plot_is_found_without_a_plug_in(tmp_path: Path, case: str) -> None:
    points, axes, signal, shape = _CASES[case]
    path = _recorded(tmp_path, points)
    assert [result for result in validate(path) if not result.ok] == []
    done = subprocess.run([sys.executable, "-c", _VIEWER, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sides = [[n] for n in shape]
    unit = "m" if signal == "height" else "A"
    assert json.loads(done.stdout) == ["NXdata", signal, axes, shape, sides, unit, True]


@pytest.mark.parametrize("case", _CASES)
def test_nexusformat_plots_it(tmp_path: Path, case: str) -> None:
    nexus = pytest.importorskip("nexusformat.nexus")
    points, axes, signal, shape = _CASES[case]
    root = nexus.nxload(str(_recorded(tmp_path, points)), "r")
    data = root.get_default()
    assert data.nxsignal.nxname == signal
    assert [axis.nxname for axis in data.nxaxes] == axes
    assert list(data.nxsignal.shape) == shape
