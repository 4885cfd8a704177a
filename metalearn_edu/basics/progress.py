"""One progress bar for terminals and notebooks."""

import os
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm

__all__ = ["progress_bar"]


def progress_bar(items: Iterable[Any] | None = None, *, show: bool, **options: Any) -> tqdm:
    """tqdm's bar over `items`; `show=False` hides it, and so does TQDM_DISABLE=1 in any case.

    Args:
        options: of tqdm: total, desc, initial, ...
    """
    # tqdm's notebook bar does not look at this variable itself.
    hidden = os.environ.get("TQDM_DISABLE", "") not in ("", "0")
    return tqdm(items, disable=hidden or not show, **options)
