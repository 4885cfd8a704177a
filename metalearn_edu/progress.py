"""One progress bar for terminal and notebook."""

from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm

__all__ = ["progress_bar"]


def progress_bar(items: Iterable[Any] | None = None, *, show: bool, **options: Any) -> tqdm:
    """tqdm's bar over `items`; `show=False` hides it, and so does TQDM_DISABLE=1 in any case.

    Args:
        options: of tqdm: total, desc, initial, ...
    """
    # An explicit disable=False would win over the environment variable.
    return tqdm(items, **options) if show else tqdm(items, disable=True, **options)
