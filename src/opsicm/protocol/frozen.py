"""The kind of model that everything in a file is: frozen, strict about keys and about numbers.

A number in a file is a number: `"0.3"` and `true` are refused where a number belongs, and so are NaN and
infinity, because a limit compared with NaN never trips.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from opsicm.protocol.refusal import Refusal, raise_refusals

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
Scalar = Flag | Whole | Number | Text
Seconds = Annotated[Number, Field(gt=0, le=1e7)]
Potential = Annotated[Number, Field(ge=-10, le=10)]


class Frozen(BaseModel):
    """A frozen model that refuses unknown keys.

    A subclass says in `refusals` what its keys must satisfy *together*; what each must satisfy alone stands
    in its annotation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
    called: ClassVar[str] = ""
    """By which a person knows the model where that is not its class's name."""

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:  # noqa: ARG003
        """What is wrong between the keys in `given`, the file's form of this model.

        A file with five mistakes is told of five, so this is asked of files with other mistakes too: a key
        that is wrong in itself stands in `given` as None, and one that must be there may be missing.
        """
        yield from ()

    @model_validator(mode="after")
    def _refuse(self) -> Self:
        raise_refusals(type(self).__name__, self.refusals(self.model_dump(exclude_none=True)))
        return self
