"""Are the splits disjoint, in classes and in items?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

from torch import Tensor

from ..tasks import FewShotDataset
from ..tasks.dataset import scale
from .episodes import fingerprints
from .report import Report, listed

__all__ = ["check_splits"]


def check_splits(*datasets: FewShotDataset, **named: FewShotDataset) -> Report:
    """Check whether splits share classes, by group and name, or hold the same items.

    Args:
        datasets: the splits, called by their `name`; or `train=..., test=...` with your own names.
    Raises:
        ValueError: fewer than two splits, one name twice, or something other than data sets.
    """
    for name, dataset in [*enumerate(datasets, 1), *named.items()]:
        if not isinstance(dataset, FewShotDataset):
            raise ValueError(f"split {name} must be a FewShotDataset, got {type(dataset).__name__}")
    numbered = _numbered(datasets)
    if numbered.keys() & named.keys():
        raise ValueError(
            f"two splits are called {min(numbered.keys() & named.keys())!r}; rename one"
        )
    splits: Mapping[str, FewShotDataset] = numbered | named
    if len(splits) < 2:
        raise ValueError(f"need at least two splits to compare, got {len(splits)}")
    classes = {n: set(zip(d.class_groups, d.class_names, strict=True)) for n, d in splits.items()}
    items = {n: set(fingerprints(some[None])[0]) for n, some in _alike(splits).items()}
    problems, figures = [], {}
    for first, second in combinations(splits, 2):
        both = sorted(classes[first] & classes[second])
        figures[f"shared classes: {first}, {second}"] = float(len(both))
        if both:
            some = listed([f"{name} ({group})" for group, name in both])
            problems.append(f"{first} and {second} share {len(both)} classes: {some}")
        n_items = len(items[first] & items[second])
        figures[f"shared items: {first}, {second}"] = float(n_items)
        if n_items and not both:
            problems.append(f"{first} and {second} hold {n_items} equal items under other names")
    return Report("splits", problems, figures)


def _alike(splits: Mapping[str, FewShotDataset]) -> dict[str, Tensor]:
    """The items of each split; all as float32 in [0, 1] if the splits store them differently."""
    items = {name: dataset.items for name, dataset in splits.items()}
    if len({some.dtype for some in items.values()}) == 1:
        return items
    return {name: scale(some).float() for name, some in items.items()}


def _numbered(datasets: Sequence[FewShotDataset]) -> dict[str, FewShotDataset]:
    """Splits by name; several with the same name get a number as well."""
    counts = Counter(d.name for d in datasets)
    return {
        d.name if counts[d.name] == 1 else f"{d.name} ({i})": d for i, d in enumerate(datasets, 1)
    }
