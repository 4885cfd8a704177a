"""Attributes of a class that an instance can set to a module."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

__all__ = ["Settable"]

_MISSING = object()


class Settable(nn.Module):
    """A module whose attributes can be set, even to modules, even if the class has them, too."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, plain or a module, even if the class has it, too.

        PyTorch keeps modules in a separate table, in which Python looks only for names that the
        class does not have; without this method, such modules would be lost silently.
        """
        of_class = inspect.getattr_static(type(self), name, _MISSING)
        if hasattr(type(of_class), "__set__"):  # a property sets itself, or refuses
            object.__setattr__(self, name, value)
            return
        modules = vars(self).get("_modules", {})
        if callable(value) and not isinstance(value, nn.Module):  # may take a module's place
            modules.pop(name, None)
        super().__setattr__(name, value)
        self._show_modules()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """For copies and pickled learners: another process has another class."""
        super().__setstate__(state)
        self._show_modules()

    def _show_modules(self) -> None:
        """Let the class's attributes give way to modules of the same names."""
        for name in vars(self).get("_modules", {}):
            of_class = inspect.getattr_static(type(self), name, _MISSING)
            if of_class is not _MISSING and not isinstance(of_class, _Default):
                setattr(type(self), name, _Default(name, of_class))


class _Default:
    """An attribute of a class that gives way to an instance's module of the same name."""

    def __init__(self, name: str, value: Any) -> None:
        self.name, self.value = name, value

    def __get__(self, learner: nn.Module | None, owner: type | None = None) -> Any:
        modules = {} if learner is None else learner._modules
        if self.name in modules:
            return modules[self.name]
        bind = getattr(type(self.value), "__get__", None)
        return bind(self.value, learner, owner) if bind else self.value
