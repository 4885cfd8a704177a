"""Weights on disk: safetensors, never pickle; written whole or not at all.

A checkpoint folder holds one file of tensors and a state.json that names it. The tensors are
written first and state.json is swapped in last, so a run that is killed at any moment leaves a
folder that can be resumed from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from .tasks.cache import open_atomically

__all__ = ["CheckpointFolder", "save_json", "save_weights"]


def save_weights(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors to `path` (safetensors), whole or not at all. Raises OSError."""
    with open_atomically(path) as file:
        file.write(save({name: t.contiguous() for name, t in tensors.items()}))


def save_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` to `path` (JSON), whole or not at all. Raises OSError."""
    with open_atomically(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


class CheckpointFolder:
    """Save and load the state of a training run.

    Args:
        folder: made when first saved to.
        settings: what must be equal for a run to resume: seed, tasks, step size, ...
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder, self.settings = folder, settings

    def save(self, step: int, tensors: dict[str, Tensor], history: dict[str, Any]) -> None:
        """Write the state after `step`; earlier tensors are removed once it is complete."""
        name = f"step-{step:08d}.safetensors"
        save_weights(self.folder / name, tensors)
        state = {"tensors": name, "settings": self.settings, "history": history}
        save_json(self.folder / "state.json", state)
        for old in self.folder.glob("step-*.safetensors"):
            if old.name != name:
                old.unlink()

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
            tensors = load_file(self.folder / state["tensors"])
        except Exception as error:
            raise ValueError(
                f"checkpoint {self.folder} is damaged ({error}); remove it to start afresh"
            ) from error
        self._check_settings(state["settings"])
        return tensors, state["history"]

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
