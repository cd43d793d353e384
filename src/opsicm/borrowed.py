"""Arrays whose references a kernel does not count.

Numba counts references wherever an array goes from function to function, by atomic additions of some nanoseconds each.
A kernel that calls twenty small functions for a block of 256 samples spends a fifth of its time on that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core.cgutils import get_null_value
from numba.extending import intrinsic

from opsicm.compiled import compiled


@intrinsic  # type: ignore[untyped-decorator]
def borrowed(_typing: Any, array: Any) -> tuple[Any, Callable[..., Any]]:
    """The same array without an owner, inside compiled functions only: for the length of one call.

    The owner must outlive every use: an argument of the caller does; what the caller has allocated does if `held`
    stands behind the call.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        view.meminfo, view.parent = get_null_value(view.meminfo.type), get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), generate


@compiled
def held(array: Any) -> int:
    """The number of the array's rows: a last use, which keeps what `borrowed` has lent until here."""
    return int(array.shape[0])
