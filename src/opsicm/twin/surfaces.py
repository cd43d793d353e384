"""A twin's specimen from what its rig file says of the surface."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opsicm.errors import BadInput
from opsicm.physics.cell import Cell
from opsicm.physics.flake_stack import FlakeStack, stacked_flakes
from opsicm.physics.flakes import FlakeSwelling
from opsicm.physics.lateral import apparent_surface
from opsicm.physics.pipette import Pipette
from opsicm.physics.surface import rough_surface, stepped_surface
from opsicm.physics.tip_field import distance_98
from opsicm.protocol.rig_file import LoadedRig
from opsicm.protocol.surface_file import read_surface
from opsicm.twin import settings as twin_settings
from opsicm.twin.specimen import FlakeSurface, RisingSurface, Specimen


def specimen_of(loaded: LoadedRig, cell: Cell, pipette: Pipette, seed: int) -> Specimen:
    """The specimen, its heights as `pipette` reads them where its current has dropped by 2 %.

    Hops with other setpoints stop nearer or farther and see a little sharper or blunter; that is neglected.
    """
    kind, said, file = twin_settings.surface(loaded)
    if kind == "flat":
        return RisingSurface(np.zeros((2, 2)), 1.0, 1.0, cell)
    if kind == "flakes":
        return _flakes(said, cell, pipette, seed)
    if kind == "image":
        assert file is not None
        return _image(loaded, file, said["size"], cell, pipette)
    size, pixels = said["size"], int(said["pixels"])
    if kind == "steps":
        heights = stepped_surface(said["step"], said["swollen"], said["swollen_width"], size, pixels)
    else:
        heights = rough_surface(said["rq"], said["correlation"], size, pixels, seed)
    return RisingSurface(_seen(heights, size / pixels, pipette), size, size, cell)


def _seen(heights: NDArray[np.float64], pixel: float, pipette: Pipette) -> NDArray[np.float64]:
    return apparent_surface(heights, pixel, pipette, distance_98(pipette))


def _flakes(said: dict[str, float], cell: Cell, pipette: Pipette, seed: int) -> Specimen:
    stack, drawn = _fresh(said["rq"], said["flake"], said["size"], int(said["pixels"]), seed)
    owners = drawn[1]
    shown = np.bincount(owners.ravel(), minlength=len(stack.plates) + 1) / owners.size
    p = cell.parameters
    swelling = FlakeSwelling(
        shown, np.random.default_rng([seed, 1]), thickness=p.thickness, swelling_factor=p.swelling_factor,
        volume_change=cell.volume_change, share_spread=said["share_spread"], lag=said["lag"],
    )  # fmt: skip
    swelling.make_typical(int(owners[0, 0]))
    return FlakeSurface(
        stack, drawn, swelling, cell, pipette, distance_98(pipette), said["slide"], said["detach_below"]
    )


@lru_cache(maxsize=2)  # runs of a series stand on one specimen
def _fresh(
    rq: float, flake: float, size: float, pixels: int, seed: int
) -> tuple[FlakeStack, tuple[NDArray[np.float64], NDArray[np.int32]]]:
    """The stack of this seed, and drawn before anything has moved."""
    stack = stacked_flakes(rq, flake, size, pixels, seed)
    drawn = stack.drawn()
    for array in drawn:
        array.flags.writeable = False
    return stack, drawn


def _image(loaded: LoadedRig, file: Path, size: float, cell: Cell, pipette: Pipette) -> Specimen:
    """The image with its centre under the scanner's origin, its level there, mirrored at its edges."""
    try:
        read = read_surface(file)
    except BadInput as error:
        found = error.problems[0]
        path = ("world", "surface", "file")
        raise BadInput(loaded.problem(path, file.name, found.limit, found.remedy)) from None
    ny, nx = read.heights.shape
    width = read.width or size
    height = read.height or width * ny / nx
    if abs(width / nx - height / ny) > 0.01 * width / nx:
        path = ("world", "surface", "file")
        limit = f"has pixels of {width / nx * 1e9:.4g} by {height / ny * 1e9:.4g} nm, and they must be square"
        raise BadInput(loaded.problem(path, file.name, limit, "scale it first"))
    tile = np.block([[read.heights, read.heights[:, ::-1]], [read.heights[::-1], read.heights[::-1, ::-1]]])
    tile = np.roll(tile, (-(ny // 2), -(nx // 2)), axis=(0, 1))
    heights = _seen(tile, width / nx, pipette)
    return RisingSurface(heights - heights[0, 0], 2.0 * width, 2.0 * height, cell)
