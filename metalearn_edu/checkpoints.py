"""Weights on disk: safetensors, never pickle; written completely or not at all.

A checkpoint folder holds one file of tensors and a state.json that names it. The tensors are
written first and state.json is swapped in last, so a run that is killed at any moment leaves a
folder that can be resumed from.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from .basics.files import digest, locked, remove_leftovers, save_json, save_weights

__all__ = [
    "CheckpointFolder",
    "describe",
    "is_plain",
]


PATIENCE = 30.0
"""How many seconds a training run waits for another run in its folder to end."""


class CheckpointFolder:
    """Save and load the state of a training run.

    Args:
        folder: created by the first save.
        settings: what must be equal for a run to resume: seed, tasks, step size, ...
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder, self.settings = folder, settings

    def save(self, step: int, tensors: dict[str, Tensor], history: dict[str, Any]) -> None:
        """Write the state after `step`; the previous state is removed once the new one is complete.

        Raises:
            OSError: the folder cannot be created or written; the previous state is still complete.
        """
        name = f"step-{step:08d}.safetensors"
        state = {"tensors": name, "settings": self.settings, "history": history}
        try:
            state["digest"] = save_weights(self.folder / name, tensors)
            save_json(self.folder / "state.json", state)
        except OSError as error:
            raise OSError(
                f"checkpoint folder {self.folder} cannot be written ({error}); give another folder"
            ) from error
        for old in self.folder.glob("step-*.safetensors"):
            if old.name != name:
                old.unlink(missing_ok=True)
        for kind in ("safetensors", "json"):
            remove_leftovers(self.folder, f"*.{kind}", alone=True)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Inside the block, no other run trains in the folder; we wait a while for one to end.

        Raises:
            OSError: another run is still training in it.
        """
        lock = self.folder / ".lock"
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(lock, patience=PATIENCE))
            except TimeoutError:
                raise OSError(
                    f"another training is running in {self.folder}; wait for its end, or give "
                    "another folder"
                ) from None
            stack.callback(_remove_quietly, lock)  # before it is let go
            yield

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """(tensors, history) of the last save; None if nothing has been saved.

        Raises:
            ValueError: the folder belongs to a run with other settings, or its files are damaged.
        """
        try:
            content = _read(self.folder / "state.json")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise self._damaged(error) from error
        try:
            state = json.loads(content)
            settings, history = dict(state["settings"]), dict(state["history"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise self._damaged(error) from error
        self._check_settings(settings)
        return self._tensors(state), history

    def _tensors(self, state: dict[str, Any]) -> dict[str, Tensor]:
        try:
            # It must be a name, not a path, so that nothing outside the folder is read.
            if not re.fullmatch(r"step-\d+\.safetensors", state["tensors"]):
                raise ValueError(f"its tensors are said to be in {state['tensors']!r:.60}")
            content = _read(self.folder / state["tensors"])
            if digest(content) != state["digest"]:
                raise ValueError(f"{state['tensors']} is not the file that was saved")
            return load(content)
        except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> ValueError:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return ValueError(
            f"checkpoint {self.folder} is damaged ({text}); remove it to start afresh"
        )

    def _check_settings(self, saved: dict[str, Any]) -> None:
        names = sorted(saved.keys() | self.settings.keys())
        ours = json.loads(json.dumps(self.settings))
        missing = object()
        different = [n for n in names if saved.get(n, missing) != ours.get(n, missing)]
        if different:
            changes = "; ".join(
                f"{n}: {saved.get(n)} there, {self.settings.get(n)} here" for n in different
            )
            raise ValueError(
                f"checkpoint {self.folder} is of another run ({changes}); give another folder, "
                "or remove it to start afresh"
            )


def _read(path: Path) -> bytes:
    """The bytes of a regular file; we never wait for a pipe or a device."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path.name} is not a regular file")
    return path.read_bytes()


def _remove_quietly(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


# ------------------------------------------------------------------ is it the same setting?

_KNOWN = ("builtins", "functools", "math", "numpy", "torch")
"""Packages whose functions are identified by their names."""

_FUNCTIONS = FunctionType | BuiltinFunctionType | np.ufunc


def is_plain(value: Any) -> bool:
    """Whether a value cannot change: a number, a text, None, or a tuple of these."""
    if isinstance(value, tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, bool | int | float | complex | str | bytes)


def describe(value: Any, learned: Collection[int] = ()) -> str:
    """A text that differs if a setting differs: a number, a container, a tensor, a loss function.

    A function is described by its name, its code and the values that it uses; an object or a module
    by its class, the code of the class, its attributes and its tensors.

    Args:
        learned: ids of the tensors that training changes: only their shape counts.
    """
    return _describe(value, learned, ())


def _describe(value: Any, learned: Collection[int], outer: tuple[int, ...]) -> str:
    """`describe` inside the objects whose ids are `outer`."""
    if is_plain(value) and not isinstance(value, tuple):
        return str(value)
    if id(value) in outer:
        return "itself"
    inside = partial(_describe, learned=learned, outer=(*outer, id(value)))
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return _array(value, id(value) in learned)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{inside(k)}: {inside(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inside, value)) + "]"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(map(inside, value))) + "}"
    if isinstance(value, type | ModuleType) or _is_known(value):
        return _name(value)
    return f"{_name(value)} {digest(*_parts(value, inside))}"


def _array(value: Tensor | np.ndarray | np.generic, learned: bool) -> str:
    shape = f"{tuple(value.shape)} {value.dtype}"
    if learned:
        return shape
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return f"{shape} {digest(value.tobytes())}"


def _is_known(value: Any) -> bool:
    """Whether the name of a function, or of an object inside PyTorch, identifies it."""
    place = getattr(value, "__module__", None) or "builtins"
    known = isinstance(value, _FUNCTIONS) and place.split(".")[0] in _KNOWN
    return known or place.startswith("torch._")


def _name(value: Any) -> str:
    named = value if hasattr(value, "__qualname__") else type(value)
    name = getattr(named, "__qualname__", None) or getattr(named, "__name__", "object")
    return f"{getattr(named, '__module__', None) or ''}.{name}".lstrip(".")


Inside = Callable[[Any], str]


def _parts(value: Any, inside: Inside) -> list[str]:
    """The parts that a function or an object is made of, each as a text."""
    if isinstance(value, MethodType):
        return [inside(value.__func__), inside(value.__self__)]
    if isinstance(value, FunctionType):
        return _parts_of_function(value, inside)
    if isinstance(value, partial):
        return [inside(value.func), inside(value.args), inside(value.keywords)]
    attributes = _attributes(value)
    # An object that keeps its values elsewhere shows them in its repr, sometimes with an address.
    said = [] if attributes else [re.sub(" at 0x[0-9a-f]+", "", repr(value))]
    return [*said, inside(attributes), *_own_code(type(value), inside)]


def _attributes(value: Any) -> dict[str, Any]:
    slots = [n for kind in type(value).__mro__ for n in getattr(kind, "__slots__", ())]
    held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    held |= getattr(value, "__dict__", {})
    held.pop("training", None)  # the mode of a module is not a setting
    return held


def _parts_of_function(function: FunctionType, inside: Inside) -> list[str]:
    code, cells = function.__code__, function.__closure__ or ()
    used = {n: function.__globals__[n] for n in _names(code) if n in function.__globals__}
    values = [cell.cell_contents for cell in cells if _is_filled(cell)]
    kept = (values, used, function.__defaults__, function.__kwdefaults__)
    return [*_code(code, inside), *map(inside, kept)]


def _own_code(kind: type, inside: Inside) -> list[str]:
    """The code of a class and of its base classes, down to the packages in _KNOWN."""
    classes = [c for c in kind.__mro__ if c.__module__.split(".")[0] not in _KNOWN]
    members = [getattr(f, "__func__", f) for c in classes for f in vars(c).values()]
    codes = [f.__code__ for f in members if isinstance(f, FunctionType)]
    return [text for code in codes for text in _code(code, inside)]


def _code(code: CodeType, inside: Inside) -> list[str]:
    nested = [c for c in code.co_consts if isinstance(c, CodeType)]
    constants = [c for c in code.co_consts if not isinstance(c, CodeType)]
    own = [code.co_code.hex(), inside(constants), inside(code.co_names)]
    return [*own, *(text for c in nested for text in _code(c, inside))]


def _names(code: CodeType) -> list[str]:
    nested = [n for c in code.co_consts if isinstance(c, CodeType) for n in _names(c)]
    return [*code.co_names, *nested]


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is cell.cell_contents
    except ValueError:  # a name that is assigned later, if ever
        return False
