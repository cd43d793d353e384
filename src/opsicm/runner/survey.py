"""Procedures that prepare and correct a measurement: engage, tilt survey, landmarks, exchange of the tip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import LimitCrossed, Problem
from opsicm.core.facts import Outcome
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.patterns import Pattern, at_one_point, pattern_of
from opsicm.experiment.probe_steps import Engage, ExchangeTip, Landmark, Tilt
from opsicm.runner.hopping import HoppingProcedure
from opsicm.runner.probe_context import ProbeContext

Image = NDArray[np.float64]
ImageRegistration = Callable[[Image, Image], tuple[float, float]]
"""(first image, second image) → the shift (rows, columns) [px] of the second against the first."""

_CONFIRMED_WITHIN: Final = 0.5e-6  # [m] between a contact and the one that confirms it
FARTHEST: Final = 500e-6  # [m] that engaging goes down before the surface counts as lost
_SAFE_SHARE: Final = 0.9  # of the length of an approach, that the coarse stage may go down after it


class EngageProcedure:
    """Approaches; without contact, lowers the coarse stage with the pipette withdrawn and approaches again.

    The coarse stage never goes down farther than the approach before has found free. Two contacts at one height end it.
    """

    def __init__(self, context: ProbeContext, path: str, step: Engage) -> None:
        self._context = context
        self._path = path
        low = context.rig.scanner.z_range[0]
        self._reach = min(context.approach, _SAFE_SHARE * abs(low))
        self._step = min(step.step, _SAFE_SHARE * self._reach)
        self._start_height: float | None = None
        self._last_contact: float | None = None
        self.hop: HopParameters | None = step.hop_parameters(context.approach)
        self.done = 0
        self.finished = False

    def start(self) -> None:
        """Begin at the present height of the pipette."""
        self._context.begin_segment()
        self._last_contact = None

    def stop(self) -> None:
        """Nothing to put back."""

    def wait(self, until_ns: int) -> None:
        """Stay at the top, sampling."""
        self._context.dwell(self._path, until_ns)

    def advance(self, until_ns: int) -> None:
        """Run one approach, however long it takes; then lower the coarse stage, or finish."""
        context = self._context
        if context.wait_for_stage(until_ns):
            return
        assert self.hop is not None
        if context.wait_for_steady_current(self._path, replace(self.hop, amplitude=self._reach), until_ns):
            return
        coarse = context.coarse_height()
        self._start_height = coarse if self._start_height is None else self._start_height
        points = at_one_point((0.0, 0.0), None).some(0, 1)
        plan = context.plan(self._path, points, replace(self.hop, approach=self._reach), 2**62)
        (record,) = context.run(plan, count_misses=False)
        if record["outcome"] == Outcome.CONTACT:
            height = coarse + float(record["z_stop"])
            if self._last_contact is not None and abs(height - self._last_contact) < _CONFIRMED_WITHIN:
                self._engaged(height)
            self._last_contact = height
        elif record["outcome"] == Outcome.NO_CONTACT:
            self._last_contact = None
            lowered = self._start_height - coarse
            if lowered + self._step > FARTHEST:
                raise LimitCrossed(
                    Problem(
                        "surface",
                        f"not met {lowered * 1e6:.4g} µm below the height where engage began",
                        f"engage goes down {FARTHEST * 1e6:g} µm at most",
                        "bring the pipette nearer by hand",
                    )
                )
            context.stage_arrival_ns = context.rig.coarse_stage.move_to(coarse - self._step)
            context.begin_segment()

    def _engaged(self, height: float) -> None:
        context = self._context
        start, (low, high) = context.rig.hop_controller.start_height, context.rig.scanner.z_range
        context.lift_to(start)
        data = {"message": "engaged", "surface_m": height, "z_m": -start, "z_range_m": [low, high]}
        context.fact("note", self._path, data)
        self.finished = True


class ImageProcedure(HoppingProcedure):
    """Hops once over a rectangle and keeps the heights [m] as an image (rows upwards)."""

    def __init__(self, context: ProbeContext, path: str, pattern: Pattern, hop: HopParameters) -> None:
        super().__init__(context, path, pattern, hop)
        points = pattern.points
        self.image: Image = np.full((int(points.line.max()) + 1, int(points.pixel.max()) + 1), np.nan)

    def keep(self, hops: NDArray[Any]) -> None:
        """Put the heights of the contacts into the image."""
        contacts = hops[hops["outcome"] == Outcome.CONTACT]
        self.image[contacts["line"], contacts["pixel"]] = contacts["z_stop"] + self._context.coarse_height()

    def stop(self) -> None:
        """Evaluate the image if it is complete."""
        if self.finished:
            self.conclude()

    def conclude(self) -> None:
        """Evaluate the image."""


class TiltProcedure(ImageProcedure):
    """Fits a plane to the heights of a grid: z = z0 + sx (x - xc) + sy (y - yc)."""

    def __init__(self, context: ProbeContext, path: str, step: Tilt) -> None:
        super().__init__(context, path, pattern_of(step), step.hop_parameters(context.approach))
        self._size = step.size

    def conclude(self) -> None:
        """Record the least-squares plane, and the rms of the heights about it."""
        rows, columns = self.image.shape
        y, x = np.meshgrid(
            np.linspace(-0.5, 0.5, rows) * self._size[1], np.linspace(-0.5, 0.5, columns) * self._size[0], indexing="ij"
        )
        good = np.isfinite(self.image)
        if np.count_nonzero(good) < 3:
            self._context.fact("note", self._path, {"message": "no tilt: fewer than three contacts"})
            return
        design = np.column_stack([np.ones(int(good.sum())), x[good], y[good]])
        plane, *_ = np.linalg.lstsq(design, self.image[good], rcond=None)
        residuals = self.image[good] - design @ plane
        data = {
            "message": "tilt",
            "slope_x": float(plane[1]),
            "slope_y": float(plane[2]),
            "z0_m": float(plane[0]),
            "rms_m": float(np.sqrt(np.mean(residuals**2))),
            "n": int(good.sum()),
        }
        self._context.fact("note", self._path, data)


class LandmarkProcedure(ImageProcedure):
    """Takes an image and keeps it under the landmark's name."""

    def __init__(self, context: ProbeContext, path: str, landmark: Landmark) -> None:
        super().__init__(context, path, pattern_of(landmark), landmark.hop_parameters(context.approach))
        self._landmark = landmark

    def conclude(self) -> None:
        """Keep the image for `return_to`."""
        name = self._landmark.name
        self._context.landmarks[name] = self.image
        self._context.fact("note", self._path, {"message": "landmark", "name": name})


class ReturnToProcedure(LandmarkProcedure):
    """Images the landmark again; x and y of every later hop are shifted as the landmark was."""

    def __init__(self, context: ProbeContext, path: str, landmark: Landmark, register: ImageRegistration) -> None:
        super().__init__(context, path, landmark)
        self._register = register

    def conclude(self) -> None:
        """Add the landmark's shift to the offset of every later hop."""
        context, name = self._context, self._landmark.name
        first = context.landmarks.get(name)
        if first is None:  # a run resumed after its landmark: the image is in the run before
            context.fact("note", self._path, {"message": "no landmark to return to", "name": name})
            return
        rows, columns = self._register(first, self.image)
        width, height = (length / (n - 1) for length, n in zip(self._landmark.size, self._landmark.pixels, strict=True))
        shift = (columns * width, rows * height)
        x, y = context.offset
        context.offset = (x + shift[0], y + shift[1])
        data = {"message": "returned", "name": name, "shift_m": list(shift), "offset_m": list(context.offset)}
        context.fact("note", self._path, data)


class ExchangeTipProcedure:
    """Withdraws the pipette and records the exchange, so that data before and after it are kept apart."""

    hop: HopParameters | None = None

    def __init__(self, context: ProbeContext, path: str, step: ExchangeTip) -> None:
        self._context = context
        self._path = path
        self._note = step.note
        self.done = 0

    @property
    def finished(self) -> bool:
        """Whether the exchange is recorded."""
        return self.done > 0

    def start(self) -> None:
        """Withdraw, at once by the scanner and then by the coarse stage."""
        self._context.rig.hop_controller.safe()
        self._context.withdraw()

    def stop(self) -> None:
        """Nothing to restore: the next step approaches again."""

    def wait(self, until_ns: int) -> None:
        """Stay in place."""
        self._context.rig.clock.wait_until(until_ns)

    def advance(self, until_ns: int) -> None:
        """Record the exchange once withdrawn; the far current of the old tip is no limit for the new one."""
        if self._context.wait_for_stage(until_ns):
            return
        self._context.fact("tip_exchanged", self._path, {"note": self._note})
        self._context.limits.forget_tip()
        self.done = 1
