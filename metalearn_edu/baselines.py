"""Rules without meta-training, which compare pictures as they are. Introduced in notebook 12.

A meta-learner that does not beat them has learned nothing useful. Both rules fulfil the contract of
all learners, so that they can be scored on the same episodes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .basics.arguments import as_number
from .learners import MetaLearner, PrototypicalNetwork
from .tasks.episodes import count_classes

__all__ = ["ModifiedHausdorff", "nearest_pixel"]


def nearest_pixel() -> PrototypicalNetwork:
    """The class whose mean picture is nearest, pixel by pixel."""
    return PrototypicalNetwork(nn.Flatten())


class ModifiedHausdorff(MetaLearner):
    """The class with the nearest drawing, where drawings are sets of inked points.

    Each point of one drawing has a nearest point in the other. The distance of two drawings is the
    mean over the points of one, or of the other, whichever is larger (Dubuisson & Jain 1994); both
    drawings are first moved so that their centres of gravity meet. This is the rule in the
    demonstration of Lake's one-shot task, where it makes 38.8 % errors on drawings of 105x105
    pixels.

    Args:
        threshold: a pixel with more ink than this is a point.
    Raises:
        ValueError: the threshold is not a finite number; in use: pictures are not (1, H, W).
    """

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = as_number("threshold", threshold)

    def learn_task(self, support_x: Tensor, support_y: Tensor) -> tuple[Tensor, Tensor]:
        """The drawings (T, S, 1, H, W) and their labels (T, S): there is nothing to learn."""
        if support_x.ndim != 5 or support_x.shape[2] != 1:
            raise ValueError(
                f"support_x must be pictures of one channel, (1, H, W), got "
                f"{tuple(support_x.shape[2:])}"
            )
        return support_x, support_y

    def predict(self, state: tuple[Tensor, Tensor], query_x: Tensor) -> Tensor:
        """Minus the distance to the nearest drawing of each class, (T, Q, n_way)."""
        support_x, support_y = state
        n_way = count_classes(support_y)
        scores = query_x.new_full((*query_x.shape[:2], n_way), -torch.inf)
        for task, (drawings, labels, queries) in enumerate(
            zip(support_x, support_y, query_x, strict=True)
        ):
            distances = self._distances(queries, drawings)  # (Q, S)
            index = labels.expand(len(queries), -1)
            scores[task].scatter_reduce_(1, index, -distances, "amax")
        return scores

    def _distances(self, a: Tensor, b: Tensor) -> Tensor:
        """(A, B) distances between drawings a (A, 1, H, W) and b (B, 1, H, W)."""
        first, second = ([self._points(picture) for picture in side] for side in (a, b))
        rows = [torch.stack([_apart(p, q) for q in second]) for p in first]
        return torch.stack(rows)

    def _points(self, picture: Tensor) -> Tensor:
        """(n, 2) inked pixels relative to their centre; a picture without ink gives its middle."""
        points = (picture[0] > self.threshold).nonzero().to(picture.dtype)
        return points - points.mean(dim=0) if len(points) else picture.new_zeros(1, 2)


def _apart(p: Tensor, q: Tensor) -> Tensor:
    distances = torch.cdist(p, q, compute_mode="donot_use_mm_for_euclid_dist")
    return torch.maximum(distances.amin(dim=1).mean(), distances.amin(dim=0).mean())
