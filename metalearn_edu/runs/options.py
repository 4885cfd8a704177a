"""The options of `metalearn-edu train`, made from the settings of the algorithms.

Nothing here loads PyTorch, so that `--help` is immediate.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from .algorithms import ALGORITHMS
from .recipe import algorithms_with, every_setting
from .settings import Setting

__all__ = ["settings_among", "train_options"]


def train_options() -> list[inspect.Parameter]:
    """The argument and the options of the command, for its signature, where typer reads them."""
    return [_algorithm(), *(_option(name, each) for name, each in every_setting().items())]


def settings_among(params: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among the command's parameters, as in a recipe; `data` separately.

    Raises:
        ValueError: a text that cannot be read.
    """
    own = {name: each for name, each in every_setting().items() if name in params}
    return {name: each.read(params[name]) for name, each in own.items() if name != "data"}


def _algorithm() -> inspect.Parameter:
    *most, last = ALGORITHMS
    info = typer.Argument(help=f"{', '.join(most)} or {last}.")
    return _parameter("algorithm", Annotated[str, info])


def _option(name: str, setting: Setting) -> inspect.Parameter:
    spelt = f"--{setting.option(name)}" + (f"/--{setting.off}" if setting.off else "")
    panel = setting.panel or f"Of {_listed(algorithms_with(name))}"
    info = typer.Option(spelt, min=setting.least, help=setting.help, rich_help_panel=panel)
    kind: Any = setting.kind
    return _parameter(name, Annotated[kind | None, info], _usual(name, setting))


def _listed(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _parameter(
    name: str, annotation: Any, default: Any = inspect.Parameter.empty
) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _usual(name: str, setting: Setting) -> Any:
    """The default of a setting, for the help; None if algorithms differ in it."""
    found = set()
    for entry in (ALGORITHMS[each] for each in algorithms_with(name)):
        default, kinds = getattr(entry.recipe, name), (entry.images, entry.sinusoids)
        found |= {usual.get(name, default) for usual in kinds if usual is not None}
    (value, *others) = found
    if others or value is None:
        return None
    return setting.show(value) if setting.kind is str else value
