"""Weights on disk: safetensors, never pickle; written whole or not at all.

A checkpoint folder holds one file of tensors and a state.json that names it. The tensors are
written first and state.json is swapped in last, so a run that is killed at any moment leaves a
folder that can be resumed from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from .tasks.cache import open_atomically

__all__ = ["CheckpointFolder", "remove_leftovers", "save_json", "save_weights"]


def save_weights(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors to `path` (safetensors), whole or not at all. Raises OSError."""
    # The format holds neither strides nor memory that two names share.
    plain = {n: t.detach().clone(memory_format=torch.contiguous_format) for n, t in tensors.items()}
    with open_atomically(path) as file:
        file.write(save(plain))


def save_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` to `path` (JSON), whole or not at all. Raises OSError."""
    with open_atomically(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run left half-written in `folder`: the parts of weights and JSON files.

    Only who holds the folder's lock may call this; others may be writing.
    """
    for kind in ("safetensors", "json"):
        for part in folder.glob(f".*.{kind}.*.part"):
            if part.is_file() and not part.is_symlink():
                part.unlink(missing_ok=True)


class CheckpointFolder:
    """Save and load the state of a training run.

    Args:
        folder: made when first saved to.
        settings: what must be equal for a run to resume: seed, tasks, step size, ...
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder, self.settings = folder, settings

    def save(self, step: int, tensors: dict[str, Tensor], history: dict[str, Any]) -> None:
        """Write the state after `step`; what was there before is removed once it is complete.

        Raises:
            OSError: the folder cannot be made or written; what was there before is still whole.
        """
        name = f"step-{step:08d}.safetensors"
        state = {"tensors": name, "settings": self.settings, "history": history}
        try:
            save_weights(self.folder / name, tensors)
            save_json(self.folder / "state.json", state)
        except OSError as error:
            raise OSError(
                f"checkpoint folder {self.folder} cannot be written ({error}); give another folder"
            ) from error
        for old in self.folder.glob("step-*.safetensors"):
            if old.name != name:
                old.unlink(missing_ok=True)
        remove_leftovers(self.folder)

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """(tensors, history) of the last save; None where nothing has been saved.

        Raises:
            ValueError: the folder belongs to a run of other settings, or its files are damaged.
        """
        path = self.folder / "state.json"
        if not path.exists():
            return None
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            settings, history = dict(state["settings"]), dict(state["history"])
            tensors = load_file(self.folder / state["tensors"])
        except (FileNotFoundError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise ValueError(
                f"checkpoint {self.folder} is damaged ({type(error).__name__}: {error}); "
                "remove it to start afresh"
            ) from error
        self._check_settings(settings)
        return tensors, history

    def _check_settings(self, saved: dict[str, Any]) -> None:
        names = sorted(saved.keys() | self.settings.keys())
        different = [n for n in names if saved.get(n) != self.settings.get(n)]
        if different:
            changes = "; ".join(
                f"{n}: {saved.get(n)} there, {self.settings.get(n)} here" for n in different
            )
            raise ValueError(
                f"checkpoint {self.folder} is of another run ({changes}); give another folder, "
                "or remove it to start afresh"
            )
