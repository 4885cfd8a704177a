"""Weights on disk: safetensors, never pickle; written whole or not at all.

A checkpoint folder holds one file of tensors and a state.json that names it. The tensors are
written first and state.json is swapped in last, so a run that is killed at any moment leaves a
folder that can be resumed from.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

__all__ = ["CheckpointFolder", "write_atomically"]


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; it takes the place of `path` if the block succeeds.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
        with write_atomically(self.folder / name) as temporary:
            save_file({n: t.contiguous() for n, t in tensors.items()}, temporary)
        state = {"tensors": name, "settings": self.settings, "history": history}
        with write_atomically(self.folder / "state.json") as temporary:
            temporary.write_text(json.dumps(state), encoding="utf-8")
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
            changes = "; ".join(f"{n}: {saved.get(n)} there, {self.settings.get(n)} here"
                                for n in different)
            raise ValueError(
                f"checkpoint {self.folder} is of another run ({changes}); give another folder, "
                "or remove it to start afresh"
            )
