"""What the runner asks of a probe step that is being performed, whatever it does."""

from __future__ import annotations

from typing import Protocol

from opsicm.run.hop_words import HopWords


class Performance(Protocol):
    """One probe step on its way. It may be interrupted between two turns and entered again later."""

    words: HopWords | None
    """How it hops, which may change meanwhile; None where it does not."""
    done: int
    """Hops, trips or cycles so far: what a resumed run needs."""

    @property
    def over(self) -> bool:
        """Whether it has come to its own end."""
        ...

    def enter(self) -> None:
        """Go to where it begins or goes on."""
        ...

    def turn(self, until_ns: int) -> None:
        """Do something that ends, but for the hop in flight, at `until_ns` or before."""
        ...

    def pass_time(self, until_ns: int) -> None:
        """Disturb nothing until `until_ns`: the bias is not known yet."""
        ...

    def leave(self) -> None:
        """Put back what it has changed, the bias above all. Also after its own end."""
        ...
