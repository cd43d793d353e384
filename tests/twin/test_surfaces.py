"""Surfaces: what the tip reads of a step, a hemisphere, flakes and a user's image."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from opsicm.cli.rigs import load_rig, prepare
from opsicm.core.errors import BadInput
from opsicm.experiment.controls import ConstantCurrent, PotentialRamp
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.instruments.roles import HopPlan, Rig
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.lateral import point_spread
from opsicm.physics.pipette.tip_field import distance_98
from opsicm.physics.specimen.flakes import stacked_flakes
from opsicm.twin.hop_controller import TwinHopController
from opsicm.twin.specimen import FlakeSurface
from opsicm.twin.world import World
from tests.fixtures.laboratory import RIG, TEXT, Laboratory

ROUGH = "{kind: rough, rq_nm: 300, correlation_nm: 1500, size_um: 20, pixels: 128}"


def twin(laboratory: Laboratory, surface: str, seed: int = 1, text: str = TEXT) -> tuple[Rig, World]:
    assert ROUGH in RIG
    experiment = laboratory.experiment(text, RIG.replace(ROUGH, surface))
    rig = prepare(experiment, load_rig(experiment, None), seed, lambda _: None).rig
    assert isinstance(rig.hop_controller, TwinHopController)
    return rig, rig.hop_controller.world


def stops(rig: Rig, x: np.ndarray, y: np.ndarray, each: int) -> np.ndarray:
    """Mean height [m] of `each` hops at every point, at rest."""
    rig.amplifier.command(0.7 - rig.potentiostat.read().potential)
    x, y = np.repeat(x, each), np.repeat(y, each)
    number = np.arange(x.size, dtype=np.int32)
    plan = HopPlan(
        "probe[0]", 1, 0, x, y, number, number, np.full(x.size, 5e-7), HopParameters(5e-7, 3e-5, 0.02, 5e-6), 0.7, 2**62
    )
    hops = rig.hop_controller.run(plan, lambda: False).hops
    assert np.all(hops["outcome"] == 0)
    return np.asarray(hops["z_stop"].reshape(-1, each).mean(axis=1))


def test_a_step_reads_as_the_finite_element_edge_response(laboratory: Laboratory) -> None:
    rig, world = twin(laboratory, "{kind: steps, step_nm: 3, swollen_nm: 0, size_um: 5, pixels: 1024}")
    pixel = 5e-6 / 1024
    across = np.array([-400e-9, -100e-9, -60e-9, -30e-9, 0.0, 30e-9, 60e-9, 100e-9, 400e-9])
    spread = point_spread(Pipette(), distance_98(Pipette()))
    expected = 3e-9 * (spread.edge_response(across) - 0.5)
    x = 1.25e-6 - 0.5 * pixel + across  # the edge lies between two pixels
    seen = world.specimen.footprint(x, np.zeros(x.size)).height
    assert seen == pytest.approx(expected, abs=0.03e-9)
    # And by hopping, to the noise of 20 hops of 0.65 nm, against the mean: where the threshold is met is not in it.
    heights = stops(rig, x, np.zeros(x.size), 20)
    assert heights - heights.mean() == pytest.approx(expected - expected.mean(), abs=4 * 0.65e-9 / np.sqrt(20))


def test_a_hemisphere_reads_as_the_ring_of_the_tip(laboratory: Laboratory) -> None:
    radius, n, pixel = 40e-9, 256, 4e-9
    u = (np.arange(n) - n // 2) * pixel
    height = np.sqrt(np.maximum(radius**2 - u[None, :] ** 2 - u[:, None] ** 2, 0.0))
    np.save(laboratory.folder / "dome.npy", height)
    _, world = twin(laboratory, "{kind: image, file: dome.npy, size_um: 1.024}")
    spread = point_spread(Pipette(), distance_98(Pipette()))
    angle = 2 * np.pi * (np.arange(256) + 0.5) / 256
    at = np.linspace(0.0, 200e-9, 9)
    # Independent of Fourier transforms: the rings of K laid over the dome, one by one.
    ring_x = at[:, None, None] + spread.radius[None, :, None] * np.cos(angle)
    ring_y = spread.radius[None, :, None] * np.sin(angle)
    dome = np.sqrt(np.maximum(radius**2 - ring_x**2 - ring_y**2, 0.0)).mean(axis=2)
    expected = dome @ spread.share
    seen = world.specimen.footprint(at, np.zeros(at.size)).height
    level = world.specimen.footprint(np.array([500e-9]), np.array([500e-9])).height[0]  # nothing there
    assert seen - level == pytest.approx(expected, abs=0.02 * expected.max())
    assert np.argmax(expected) == np.argmax(seen) > 0  # a ring: the dome seems highest beside its top


def test_flakes_have_the_roughness_they_were_told_and_the_seed_decides_them() -> None:
    stack = stacked_flakes(1.3e-6, 3.5e-6, 20e-6, 256, 5)
    heights, owners = stack.render()
    assert heights.std() == pytest.approx(1.3e-6, rel=1e-9)
    assert abs(heights.mean()) < 1e-15
    again, _ = stacked_flakes(1.3e-6, 3.5e-6, 20e-6, 256, 5).render()
    assert np.array_equal(heights, again)
    # Tops are planes: on one plate the second difference along a row is nothing but rounding.
    rows = owners[:, 1:-1]
    plain = (owners[:, :-2] == rows) & (owners[:, 2:] == rows)
    bend = np.abs(heights[:, :-2] - 2 * heights[:, 1:-1] + heights[:, 2:])
    assert bend[plain].max() < 1e-18 + 1e-12 * np.ptp(heights)
    assert 40 < np.unique(owners).size < 140


def test_a_plate_laid_on_the_rest_is_the_whole_drawn_anew() -> None:
    stack = stacked_flakes(1.3e-6, 3.5e-6, 20e-6, 128, 5)
    last = len(stack.plates) - 1
    for number in (0, 50, last):
        whole = stack.render({number: (3e-7, 0.0)}, (7,))
        laid = stack.render_on(stack.render(without=(7, number)), number, (3e-7, 0.0))
        assert np.array_equal(whole[0], laid[0])
        assert np.array_equal(whole[1], laid[1])
        assert np.any(whole[0] != stack.render(without=(7,))[0])


FLAKES = "{kind: flakes, rq_nm: 1300, flake_um: 3.5, size_um: 20, pixels: 256}"


def grid(world: World, n: int = 100) -> np.ndarray:
    """Heights [m] now on a grid over the square."""
    at = (np.arange(n) + 0.5) * 20e-6 / n
    x, y = (axis.ravel() for axis in np.meshgrid(at, at))
    return world.surface_now(world.specimen.footprint(x, y), world.now_ns).reshape(n, n)


def test_flakes_swell_each_by_a_share_and_the_mean_is_the_electrodes(laboratory: Laboratory) -> None:
    rig, world = twin(laboratory, FLAKES.replace("}", ", slide_nm: 0, detach_below_V: -1, lag_s: 0.1, binder_um: 1}"))
    surface = world.specimen
    assert isinstance(surface, FlakeSurface)
    origin = np.zeros(1)
    under = surface.footprint(origin, origin)
    assert under.height[0] == 0.0  # where the operator has engaged
    empty, before = grid(world), world.state_at(world.now_ns).expansion
    rig.potentiostat.apply(PotentialRamp(0.05), 0)
    rig.clock.wait_until(40_000_000_000)
    rise, mean = grid(world) - empty, world.state_at(world.now_ns).expansion - before
    assert mean > 0.3e-6
    assert rise.mean() == pytest.approx(mean, rel=0.05)
    assert 0.1 * mean < rise.std() < 0.3 * mean
    assert rise.min() > 0.0
    # The place under the origin is one of them: it rises by what lies under the tip's ring there, not by the mean.
    here = world.surface_now(under, world.now_ns)[0]
    share = surface._swelling.share[under.patch_index[0]].mean()
    assert here == pytest.approx(share * mean, rel=0.01)  # the film's part has a share of its own
    assert abs(share - 1.0) > 0.03
    swollen = grid(world)
    assert swollen.std() != pytest.approx(empty.std(), rel=1e-3)
    # Back again: what reverses has reversed, and the film's part stays, shared unequally too.
    rig.potentiostat.apply(PotentialRamp(0.4), 40_000_000_000)
    rig.clock.wait_until(400_000_000_000)
    left = grid(world) - empty
    assert abs(left.mean() - (world.state_at(world.now_ns).expansion - before)) < 0.01 * mean
    assert np.abs(left).max() < 0.05 * mean


def test_binder_evens_out_what_neighbouring_plates_do(laboratory: Laboratory) -> None:
    spread, step = {}, {}
    for reach in (0, 1, 3.5):
        settings = f", slide_nm: 0, detach_below_V: -1, lag_s: 0.02, binder_um: {reach}}}"
        rig, world = twin(laboratory, FLAKES.replace("}", settings))
        empty = grid(world)
        rig.potentiostat.apply(PotentialRamp(0.05), 0)
        rig.clock.wait_until(10_000_000_000)
        rise = grid(world) - empty
        spread[reach] = rise.std() / rise.mean()
        step[reach] = np.abs(rise - np.roll(rise, 17, axis=1)).mean() / rise.mean()  # 3.4 µm apart
    assert 0.3 < spread[0] < 0.5  # the spread that the settings state, for every column alone
    assert spread[0] > 1.5 * spread[1] > 4.0 * spread[3.5]
    assert step[0] > 0.3
    assert step[3.5] < 0.07


def test_one_flake_comes_off_below_its_potential_and_one_slides(laboratory: Laboratory) -> None:
    rig, world = twin(laboratory, FLAKES.replace("}", ", detach_below_V: 0.2, slide_nm: 800}"))
    surface = world.specimen
    assert isinstance(surface, FlakeSurface)
    empty = grid(world)
    rig.potentiostat.apply(PotentialRamp(0.25), 0)
    rig.clock.wait_until(20_000_000_000)
    above = grid(world)
    assert surface.version >= 1  # it has begun to slide
    moved = np.abs(above - empty) > 0.2e-6
    assert 0 < moved.mean() < 0.02  # at the rims of one plate only
    rig.potentiostat.apply(PotentialRamp(0.15), 20_000_000_000)
    rig.clock.wait_until(20_300_000_000)
    fallen = above - grid(world) > 0.2e-6
    assert 0.005 < fallen.mean() < 0.06  # a plate of 3.5 µm is 2 to 3 % of the square
    rig.potentiostat.apply(PotentialRamp(1.0), 20_300_000_000)
    rig.clock.wait_until(24_000_000_000)
    assert np.all((above - grid(world))[fallen] > 0.1e-6)  # for good


def gsf(heights: np.ndarray, width: float) -> bytes:
    ny, nx = heights.shape
    text = f"Gwyddion Simple Field 1.0\nXRes = {nx}\nYRes = {ny}\nXReal = {width}\nYReal = {width * ny / nx}\n".encode()
    return text + b"\0" * (4 - len(text) % 4) + heights[::-1].astype("<f4").tobytes()


def gwy(heights: np.ndarray, width: float) -> bytes:
    ny, nx = heights.shape
    unit = b"GwySIUnit\0" + struct.pack("<I", 11) + b"unitstr\0sm\0"
    parts = (
        b"xres\0i"
        + struct.pack("<i", nx)
        + b"yres\0i"
        + struct.pack("<i", ny)
        + b"xreal\0d"
        + struct.pack("<d", width)
        + b"yreal\0d"
        + struct.pack("<d", width * ny / nx)
        + b"si_unit_z\0o"
        + unit
        + b"data\0D"
        + struct.pack("<I", nx * ny)
        + heights[::-1].astype("<f8").tobytes()
    )
    field = b"/0/data\0oGwyDataField\0" + struct.pack("<I", len(parts)) + parts
    return b"GWYPGwyContainer\0" + struct.pack("<I", len(field)) + field


@pytest.mark.parametrize("kind", ["npy", "gsf", "gwy"])
def test_a_users_image_lies_centred_under_the_origin(laboratory: Laboratory, kind: str) -> None:
    n = 64
    u = (np.arange(n) - n // 2) * 10e-6 / n
    heights = 1e-7 * np.exp(-((u[None, :] - u[45]) ** 2 + (u[:, None] - u[26]) ** 2) / 1e-12)
    path = laboratory.folder / f"hill.{kind}"
    if kind == "npy":
        np.save(path, heights)
    else:
        path.write_bytes(gsf(heights, 10e-6) if kind == "gsf" else gwy(heights, 10e-6))
    _, world = twin(laboratory, f"{{kind: image, file: {path.name}, size_um: 10}}")
    x, y = np.array([u[45], 0.0, u[45]]), np.array([u[26], 0.0, -u[26]])
    top, origin, other = world.specimen.footprint(x, y).height
    assert origin == pytest.approx(0.0, abs=1e-12)
    spread = point_spread(Pipette(), distance_98(Pipette()))
    ring = float(spread.share @ np.exp(-(spread.radius**2) / 1e-12))  # the hill's top, averaged over the ring
    assert top == pytest.approx(1e-7 * ring - heights[32, 32], rel=2e-3)
    assert other == pytest.approx(heights[38, 45] - heights[32, 32], rel=0.1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"nothing of the sort", "is no .npy, .gsf or .gwy"),
        (b"GWYP GwyDataField\0\x10\0\0\0xres\0i", "is no .npy, .gsf or .gwy"),
        (b"Gwyddion Simple Field 1.0\nXRes = 9\nYRes = 9\n\0\0\0\0", "is no .npy, .gsf or .gwy"),
    ],
)
def test_a_file_that_is_no_surface_is_refused_with_its_line(
    laboratory: Laboratory, content: bytes | None, words: str
) -> None:
    if content is not None:
        Path(laboratory.folder / "bad.gwy").write_bytes(content)
    with pytest.raises(BadInput, match=rf"rig.yaml:\d+: world.surface.file is .*bad.gwy.*{words}"):
        twin(laboratory, "{kind: image, file: bad.gwy}")


def test_a_pickle_is_not_run(laboratory: Laboratory) -> None:
    np.save(laboratory.folder / "bad.npy", np.array([[{}, {}], [{}, {}]], dtype=object), allow_pickle=True)
    with pytest.raises(BadInput, match=r"is no \.npy"):
        twin(laboratory, "{kind: image, file: bad.npy}")


@pytest.mark.parametrize("name", ["calibration", "demo", "graphite", "hopg"])
def test_every_preset_makes_a_rig(name: str, laboratory: Laboratory) -> None:
    text = TEXT.replace("twin/graphite", f"twin/{name}")
    if name == "calibration":
        pytest.skip("two_electrode waits for its sign in instruments/wiring.py")
    experiment = laboratory.experiment(text)
    rig = prepare(experiment, load_rig(experiment, f"twin/{name}"), 1, lambda _: None).rig
    rig.potentiostat.apply(ConstantCurrent(-1e-5), 0)
    rig.clock.wait_until(200_000_000)
    assert rig.potentiostat.read().current == pytest.approx(-1e-5, abs=6e-6)  # six sigma of a microampere of noise
