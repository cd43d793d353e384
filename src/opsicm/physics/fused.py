"""a·b + c with one rounding, the same bits on every machine.

Plain Numba never fuses (nor may it: a fused and an unfused version of one formula differ in the last bit). Asked for by
name it is one instruction where the processor has it, half of a polynomial's cost, and a library call elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.extending import intrinsic


@intrinsic  # type: ignore[untyped-decorator]
def fma(_typing: Any, a: Any, b: Any, c: Any) -> tuple[Any, Callable[..., Any]]:
    """a·b + c for three numbers of one floating type, inside compiled functions only (IEEE 754-2008, 5.4.1)."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return a(a, b, c), generate
