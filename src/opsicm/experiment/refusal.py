"""A refusal: a problem of keys that are each valid alone but not together, and the path of the key to change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

KeyPath = tuple[str | int, ...]
REFUSED = "refused"  # the pydantic error type that carries a refusal
UNUSABLE = "unusable"  # the type for one value, which no other check should then use


@dataclass(frozen=True, slots=True)
class Refusal:
    """`path` leads from the model that refuses to the key that should be changed."""

    path: KeyPath
    value: Any
    limit: str
    remedy: str

    def below(self, *parents: str | int) -> Refusal:
        """This refusal with a path from a model further up."""
        return replace(self, path=(*parents, *self.path))


def below(refusals: Iterable[Refusal], *parents: str | int) -> Iterator[Refusal]:
    """The refusals with paths from a model further up."""
    return (refusal.below(*parents) for refusal in refusals)


def raise_refusals(title: str, refusals: Iterable[Refusal]) -> None:
    """Raise all `refusals` as one `ValidationError`, each with its path; do nothing when there is none."""
    details = [
        InitErrorDetails(
            type=PydanticCustomError(REFUSED, "{limit}; {remedy}", {"limit": refusal.limit, "remedy": refusal.remedy}),
            loc=refusal.path,
            input=refusal.value,
        )
        for refusal in refusals
    ]
    if details:
        raise ValidationError.from_exception_data(title, details)


def path_text(path: KeyPath) -> str:
    """A path as a person writes it: `cell[0].sweep.rate_mV_s`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
