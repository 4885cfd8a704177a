"""Small trained weights that come with the course, each with a card that says how they were made.

Every folder here is a run folder as `metalearn-edu train` leaves it: `model.safetensors`, and
`card.json` with the command, the seed, the steps, the data and the measured figures. The command on
the card makes the weights again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..learners import MetaLearner
from ..runs import load_run

__all__ = ["list_pretrained", "load_pretrained"]

FOLDER = Path(__file__).parent


def list_pretrained() -> list[str]:
    """The names that `load_pretrained` knows."""
    return sorted(card.parent.name for card in FOLDER.glob("*/card.json"))


def load_pretrained(name: str) -> tuple[MetaLearner, dict[str, Any]]:
    """A trained learner in eval mode, and its card.

    Args:
        name: one of `list_pretrained()`, for example "relation_glyphs".
    Raises:
        ValueError: an unknown name.
    """
    if name not in list_pretrained():
        raise ValueError(f"name must be one of {', '.join(list_pretrained())}; got {name!r}")
    learner, _, card = load_run(FOLDER / name)
    return learner.eval(), card
