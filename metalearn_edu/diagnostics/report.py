"""What a check found, in words and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Report", "listed"]


@dataclass(frozen=True, repr=False)
class Report:
    """What a check found; it is true if nothing is wrong.

    Attributes:
        check: what was checked, in a few words.
        problems: each fault in plain words; empty if all is well.
        figures: what was measured, by name.
    """

    check: str
    problems: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.problems

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        if self.ok:
            return f"{self.check}: no problem found"
        return "\n".join([f"{self.check}:", *(f"- {problem}" for problem in self.problems)])

    __repr__ = __str__

    def require(self) -> None:
        """Do nothing if all is well.

        Raises:
            AssertionError: with the problems as its text.
        """
        if not self.ok:
            raise AssertionError(str(self))


def listed(names: Sequence[str], most: int = 6) -> str:
    """Names separated by commas; if there are many, the first few and how many more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
