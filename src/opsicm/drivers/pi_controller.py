"""A line to a PI controller by `pipython`, General Command Set 2.0: what it refuses and how it fails."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opsicm.core.errors import LimitCrossed, Problem
from opsicm.instruments.link import Link
from opsicm.instruments.registry import installed
from opsicm.instruments.roles import Identity

if TYPE_CHECKING:
    from opsicm.drivers.gcs_socket import GcsSocket

CLIENT: Final = "pipython"
MOVE_WITHOUT_SERVO: Final = 5  # PI's error numbers, pipython.pidevice.gcserror
_STOPPED: Final = 10
ANALOGUE_ACTIVE: Final = 72
_PASSING: Final = frozenset({53, 61, 63})  # a motion, the zeroing or the initialisation of the controller is under way
REMEDIES: Final = {
    MOVE_WITHOUT_SERVO: "switch its servo on, and reference it with the pipette off, in PIMikroMove",
    ANALOGUE_ACTIVE: "write analogue: true, or take the axis off its analogue input in PIMikroMove",
}
Answer = TypeVar("Answer")


class PiController:
    """One connection to a controller, for the axes of one role. It is open when it is made, else `BadInput`."""

    def __init__(self, role: str, host: str, port: int) -> None:
        self.name = f"PI controller at {host}:{port}"
        self._where = host, port
        self._link: Link[Any] = Link(role, self.name, self._connect, _close, _failures())
        self._link.open()
        self.revive, self.close = self._link.revive, self._link.close

    @property
    def lost(self) -> str:
        """Why the line is lost."""
        return self._link.lost

    def _connect(self) -> Any:
        from opsicm.drivers.gcs_socket import GcsSocket

        gateway = GcsSocket(*self._where)
        self._where = gateway.peer
        return _open(gateway)

    def ask(self, what: Callable[[Any], Answer]) -> Answer:
        """What `what` gets from the controller; `LimitCrossed` where it refuses."""
        return self._link.ask(lambda device: self._refusing(device, what))

    def _refusing(self, device: Any, what: Callable[[Any], Answer]) -> Answer:
        from pipython import GCSError

        try:
            try:
                return what(device)
            except GCSError as error:
                if error.val != _STOPPED:
                    raise
                # Somebody has stopped the axes, and the controller tells the next who asks. Now it has told.
                return what(device)
        except GCSError as error:
            if error.val <= 0 or error.val in _PASSING:  # the line's own errors are negative: asked again
                raise
            remedy = REMEDIES.get(error.val, "look at the controller with PIMikroMove")
            raise LimitCrossed(Problem(self.name, f"refusing ({error})", f"its error {error.val}", remedy)) from error

    def identity(self) -> Identity:
        """`*IDN?`: maker, model, serial number, firmware."""
        parts = [part.strip() for part in str(self.ask(lambda device: device.qIDN())).strip().split(",")]
        _, model, serial, firmware = (*parts, "", "", "", "")[:4]
        return Identity(f"PI {model}", serial, firmware, f"{CLIENT} {installed(CLIENT) or 'unknown'}")


def _open(gateway: GcsSocket) -> Any:
    from pipython import GCS2Device

    # Not `GCSDevice`, which asks twice which of PI's two languages the controller speaks, and takes silence for one.
    device = GCS2Device(gateway=gateway)
    try:
        device.qERR()  # an error that somebody else has left would be taken for that of our first command
        device.qIDN()
    except _failures():
        device.dll.close()
        raise
    return device


def _close(device: Any) -> None:
    device.dll.close()


def _failures() -> tuple[type[Exception], ...]:
    from pipython import GCSError

    # The client takes answers apart without looking: half of one, or another, is one of the last four.
    return GCSError, OSError, ValueError, LookupError, TypeError, AttributeError


def number(value: Any) -> float:
    """A position, or whatever else is a number in an answer; `ValueError`, and so asked again, where it is none."""
    if not math.isfinite(value):
        raise ValueError(f"it answers {value} where a position belongs")
    return float(value)
