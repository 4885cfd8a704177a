"""Settings of a recipe, each written once, with its values, its purpose and its spelling.

A setting is a field of a frozen dataclass, made by one of the functions below. From these fields
come the checks, the options of `metalearn-edu train` with their help, the card and the command.

    @dataclass(frozen=True)
    class Prototypical(Recipe):
        test_views: int = whole(1, 1, 1000, "Looks at an image in testing.")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from ..basics.arguments import as_integer, as_number

__all__ = [
    "LARGEST_SEED",
    "MANY",
    "WIDE",
    "Setting",
    "amount",
    "either",
    "one_of",
    "other",
    "settings_of",
    "step_size",
    "whole",
]

MANY, LARGEST_SEED = 10**9, 2**63 - 1
WIDE = 2**20
"""The largest values of the settings that decide how many weights there are."""

Check = Callable[[str, Any], Any]


def _itself(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Setting:
    """What a field of a recipe has besides its name and its default.

    Attributes:
        kind: type of the option.
        check: (name, value) -> the value in its own type; raises ValueError.
        help: of the option, a sentence.
        flag: the option, without dashes, if it is not spelt like the field.
        off: for a boolean: the option that means False.
        least, most: bounds of a number, if any.
        panel: the panel of the help with this option; an algorithm's own panel has its name.
        of: the data for which it has a meaning; "": all.
        unless: another setting and its value, beside which it means nothing.
        read, show: from what the option gives to a value, and back to text.
    """

    kind: Any
    check: Check
    help: str
    flag: str = ""
    off: str = ""
    least: int | None = None
    most: int | None = None
    panel: str = ""
    of: str = ""
    unless: tuple[str, Any] | None = None
    read: Callable[[Any], Any] = _itself
    show: Callable[[Any], str] = str

    def option(self, name: str) -> str:
        """How `metalearn-edu train` spells the field of this name, without dashes."""
        return self.flag or name.replace("_", "-")

    def words(self, name: str, value: Any) -> str:
        """The option that gives this value."""
        if isinstance(value, bool):
            return f"--{self.option(name) if value else self.off}"
        return f"--{self.option(name)} {self.show(value)}"


def settings_of(recipe: Any) -> dict[str, Setting]:
    """The settings of a recipe, or of a class of recipes, by name and in order."""
    return {f.name: f.metadata["setting"] for f in fields(recipe) if "setting" in f.metadata}


# ---------------------------------------------------------------- fields; `more` is of Setting


def other(default: Any, kind: Any, check: Check, help: str, **more: Any) -> Any:
    """A field with its own check."""
    return field(default=default, metadata={"setting": Setting(kind, check, help, **more)})


def whole(default: int | None, least: int, most: int | None, help: str, **more: Any) -> Any:
    """A whole number from `least` to `most`; also None, if the default is None."""

    def check(name: str, value: Any) -> int | None:
        return value if value is default is None else as_integer(name, value, least, at_most=most)

    return other(default, int, check, help, least=least, most=most, **more)


def step_size(default: float, help: str, **more: Any) -> Any:
    """A number above 0."""
    return other(default, float, lambda n, v: as_number(n, v, above=0, at_most=1e6), help, **more)


def amount(default: float, help: str, **more: Any) -> Any:
    """A number of at least 0."""

    def check(name: str, value: Any) -> float:
        return as_number(name, value, at_least=0, at_most=1e6)

    return other(default, float, check, help, least=0, **more)


def one_of(default: str, allowed: tuple[str, ...], help: str, **more: Any) -> Any:
    """One of some words."""

    def check(name: str, value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
        return value

    return other(default, Literal[allowed], check, help, **more)


def either(default: bool, on: str, off: str, help: str, **more: Any) -> Any:
    """True or false; `on` and `off` are the options that say so."""

    def check(name: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, got {value!r}")
        return value

    return other(default, bool, check, help, flag=on, off=off, **more)
