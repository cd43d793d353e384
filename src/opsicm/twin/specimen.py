"""The specimen's surface as the tip sees it: heights before the run, and each place's displacement since."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import BadInput
from opsicm.experiment.data_files import read_surface
from opsicm.experiment.rig_file import LoadedRig
from opsicm.physics.cell.cell import Cell
from opsicm.physics.cell.trace import Trace
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.lateral import apparent_surface, ring_points
from opsicm.physics.pipette.tip_field import distance_98
from opsicm.physics.specimen.flakes import FlakeStack, FlakeSwelling, stacked_flakes
from opsicm.physics.specimen.surface import height_at, rough_surface, stepped_surface
from opsicm.twin import settings as twin_settings

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Footprint:
    """What lies under some points: `height` [m, n] as the tip reads it before any displacement, and which patches.

    `patch_index` [n, m] are the patches under the m points of the tip's ring, all of one weight: a point's displacement
    is the mean of theirs.
    """

    height: Floats
    patch_index: NDArray[np.intp]


class Specimen(Protocol):
    """A surface displaced in patches. `version` counts changes of what lies where: a footprint holds for one."""

    version: int

    def footprint(self, x: Floats, y: Floats) -> Footprint:
        """What lies under points x, y [m]."""
        ...

    @property
    def displacement(self) -> Floats:
        """Displacement [m, patches] since the run began, up."""
        ...

    def advance(self, dt: float, trace: Trace) -> Floats:
        """Follow the cell through steps of `dt` [s]; `displacement` [m, steps × patches] at their ends.

        Fewer steps than the cell's where something else than the displacement would change in one: that step is only
        taken when it is the first.
        """
        ...

    def keep(self) -> Any:
        """What `advance` changes; for `go_back`."""
        ...

    def go_back(self, kept: Any) -> None:
        """Return to what `keep` has recorded."""
        ...


class RisingSurface:
    """Heights [m] on a periodic rectangle of `width` × `height` [m], as the tip reads them; all of it rises alike."""

    version = 0

    def __init__(self, heights: Floats, width: float, height: float, cell: Cell) -> None:
        self._heights, self._width, self._height = heights, width, height
        self._start = cell.expansion
        self.displacement = np.zeros(1)

    def footprint(self, x: Floats, y: Floats) -> Footprint:
        height = height_at(self._heights, self._width, x, y, self._height)
        return Footprint(height, np.zeros((height.size, 1), np.intp))

    def advance(self, dt: float, trace: Trace) -> Floats:  # noqa: ARG002 - it follows at once
        displacement = (trace.expansion - self._start)[:, None]
        self.displacement = displacement[-1]
        return np.asarray(displacement)

    def keep(self) -> Floats:
        return self.displacement

    def go_back(self, kept: Floats) -> None:
        self.displacement = kept


class FlakeSurface:
    """Stacked plates: each swells by its own share and lag, one slides, one comes off at a potential.

    `slide` [m] is how far the sliding flake goes while the material's volume change passes through `slides_over` [1];
    the other flake comes off for good when the specimen's potential first falls to `detach_below` [V]; `rendered` is
    the stack before that. Height 0 is the top of the plate under the scanner's origin at rest, where the operator has
    engaged; that plate neither slides nor comes off, and swells by a share of its own as every other does.
    """

    def __init__(
        self,
        stack: FlakeStack,
        rendered: tuple[Floats, NDArray[np.int32]],
        swelling: FlakeSwelling,
        cell: Cell,
        pipette: Pipette,
        distance: float,
        slide: float,
        slides_over: tuple[float, float],
        detach_below: float,
    ) -> None:
        self._stack, self._swelling, self._pipette, self._distance = stack, swelling, pipette, distance
        self._slide, self._slides_over, self._detach_below = slide, slides_over, detach_below
        self._ring = ring_points(pipette, distance)
        self._slid, self._detached = 0, False
        self._outdated = False
        self._still: tuple[tuple[int, ...], tuple[Floats, NDArray[np.int32]]] | None = None
        self.version = 0
        self.leaving = self.sliding = -1
        self._apparent, self._plate_map = self._as_read(rendered)
        self.leaving, self.sliding = self._largest_but(int(self._plate_map[0, 0]))
        self._zero = float(self._apparent[0, 0])
        swelling.irreversible = cell.irreversible
        swelling.volume_change[:] = cell.volume_change
        self._start = swelling.displacement()
        self._become(int(self._slides(np.array(cell.volume_change))), cell.potential <= detach_below)

    def _slides(self, volume_change: Floats) -> NDArray[np.int_]:
        """Pixels by which the sliding flake has gone."""
        begins, ends = self._slides_over
        if ends == begins:  # an electrode that does not swell pushes nothing
            return np.zeros(np.shape(volume_change), int)
        gone = np.clip((volume_change - begins) / (ends - begins), 0.0, 1.0) * self._slide
        return np.asarray((gone / (self._stack.size / self._stack.pixels)).astype(int))

    def _largest_but(self, origin: int) -> tuple[int, int]:
        """The two plates that show most, that under the origin and the ground excepted."""
        shown = np.bincount(self._plate_map.ravel(), minlength=len(self._stack.plates) + 1).astype(float)
        shown[[origin, -1]] = -1.0
        order = np.argsort(shown)
        return int(order[-1]), int(order[-2])

    def _rendered(self) -> tuple[Floats, NDArray[np.int32]]:
        pixel = self._stack.size / self._stack.pixels
        gone = (self.leaving,) if self._detached else ()
        if self._still is None or self._still[0] != gone:  # all that lies still
            self._still = (gone, self._stack.render(without=(*gone, self.sliding)))
        return self._as_read(self._stack.render_on(self._still[1], self.sliding, (self._slid * pixel, 0.0)))

    def _as_read(self, rendered: tuple[Floats, NDArray[np.int32]]) -> tuple[Floats, NDArray[np.int32]]:
        heights, plate_map = rendered
        pixel = self._stack.size / self._stack.pixels
        return apparent_surface(heights, pixel, self._pipette, self._distance), plate_map

    def footprint(self, x: Floats, y: Floats) -> Footprint:
        if self._outdated:  # only where it is scanned: a parked pipette needs no map
            self._apparent, self._plate_map = self._rendered()
            self._outdated = False
        size, pixels = self._stack.size, self._stack.pixels
        height = height_at(self._apparent, size, x, y) - self._zero
        column = np.round((np.asarray(x)[:, None] + self._ring[0]) / size * pixels).astype(np.intp) % pixels
        row = np.round((np.asarray(y)[:, None] + self._ring[1]) / size * pixels).astype(np.intp) % pixels
        return Footprint(height, self._plate_map[row, column].astype(np.intp))

    @property
    def displacement(self) -> Floats:
        return np.asarray(self._swelling.displacement() - self._start)

    def advance(self, dt: float, trace: Trace) -> Floats:
        slid = self._slides(trace.volume_change)
        detached = self._detached | (trace.potential <= self._detach_below)
        changed = np.flatnonzero((slid != self._slid) | (detached != self._detached))
        steps = max(1, int(changed[0])) if changed.size else slid.size
        displacement = self._swelling.advance(dt, trace.volume_change[:steps], trace.irreversible[:steps])
        self._become(int(slid[steps - 1]), bool(detached[steps - 1]))
        return np.asarray(displacement - self._start)

    def _become(self, slid: int, detached: bool) -> None:
        if (slid, detached) != (self._slid, self._detached):
            self._slid, self._detached = slid, detached
            self._outdated = True
            self.version += 1

    def keep(self) -> tuple[Floats, float, int, bool]:
        swelling = self._swelling
        return swelling.volume_change.copy(), swelling.irreversible, self._slid, self._detached

    def go_back(self, kept: tuple[Floats, float, int, bool]) -> None:
        self._swelling.volume_change[:], self._swelling.irreversible = kept[:2]
        self._become(*kept[2:])


def specimen_of(loaded: LoadedRig, cell: Cell, pipette: Pipette, seed: int) -> Specimen:
    """The specimen, its heights as `pipette` reads them where its current has dropped by 2 %.

    Hops with other setpoints stop nearer or farther and see a little sharper or blunter; that is neglected.
    """
    kind, settings, file = twin_settings.surface(loaded)
    if kind == "flat":
        return RisingSurface(np.zeros((2, 2)), 1.0, 1.0, cell)
    if kind == "flakes":
        return _flakes(settings, cell, pipette, seed)
    if kind == "image":
        assert file is not None
        return _image(loaded, file, settings["size"], cell, pipette)
    size, pixels = settings["size"], int(settings["pixels"])
    if kind == "steps":
        heights = stepped_surface(settings["step"], settings["swollen"], settings["swollen_width"], size, pixels)
    else:
        heights = rough_surface(settings["rq"], settings["correlation"], size, pixels, seed)
    return RisingSurface(_as_read(heights, size / pixels, pipette), size, size, cell)


def _as_read(heights: NDArray[np.float64], pixel: float, pipette: Pipette) -> NDArray[np.float64]:
    return apparent_surface(heights, pixel, pipette, distance_98(pipette))


def _flakes(settings: dict[str, float], cell: Cell, pipette: Pipette, seed: int) -> Specimen:
    stack, rendered = _initial_stack(settings["rq"], settings["flake"], settings["size"], int(settings["pixels"]), seed)
    plate_map = rendered[1]
    shown = np.bincount(plate_map.ravel(), minlength=len(stack.plates) + 1) / plate_map.size
    p = cell.parameters
    swelling = FlakeSwelling(
        shown,
        np.random.default_rng([seed, 1]),
        thickness=p.thickness,
        swelling_factor=p.swelling_factor,
        volume_change=cell.volume_change,
        share_spread=settings["share_spread"],
        binder=stack.binder(settings["binder"]),
        lag=settings["lag"],
    )
    # A flake that slides has gone its whole way at the last stage before the full one; without stages, at the full one.
    material, rows = p.material, p.swelling
    empty, full = material.stoichiometry_range
    ends = material.stages[-2][1] if len(material.stages) > 1 else full
    slides_over = float(np.interp(empty, *rows.T)), float(np.interp(ends, *rows.T))
    return FlakeSurface(
        stack,
        rendered,
        swelling,
        cell,
        pipette,
        distance_98(pipette),
        settings["slide"],
        slides_over,
        settings["detach_below"],
    )


@lru_cache(maxsize=2)  # runs of a series stand on one specimen
def _initial_stack(
    rq: float, flake: float, size: float, pixels: int, seed: int
) -> tuple[FlakeStack, tuple[NDArray[np.float64], NDArray[np.int32]]]:
    """The stack of this seed, and its maps before anything has moved."""
    stack = stacked_flakes(rq, flake, size, pixels, seed)
    rendered = stack.render()
    for array in rendered:
        array.flags.writeable = False
    return stack, rendered


def _image(loaded: LoadedRig, file: Path, size: float, cell: Cell, pipette: Pipette) -> Specimen:
    """The image with its centre under the scanner's origin, its level there, mirrored at its edges."""
    try:
        read = read_surface(file)
    except BadInput as error:
        problem = error.problems[0]
        path = ("world", "surface", "file")
        raise BadInput(loaded.problem(path, file.name, problem.limit, problem.remedy)) from None
    ny, nx = read.heights.shape
    width = read.width or size
    height = read.height or width * ny / nx
    if abs(width / nx - height / ny) > 0.01 * width / nx:
        path = ("world", "surface", "file")
        limit = f"has pixels of {width / nx * 1e9:.4g} by {height / ny * 1e9:.4g} nm, and they must be square"
        raise BadInput(loaded.problem(path, file.name, limit, "scale it first"))
    tile = np.block([[read.heights, read.heights[:, ::-1]], [read.heights[::-1], read.heights[::-1, ::-1]]])
    tile = np.roll(tile, (-(ny // 2), -(nx // 2)), axis=(0, 1))
    heights = _as_read(tile, width / nx, pipette)
    return RisingSurface(heights - heights[0, 0], 2.0 * width, 2.0 * height, cell)
