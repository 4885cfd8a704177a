"""Do queries inform each other? Compare the scores of all queries at once and one by one.

Introduced in notebook 02.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ..evaluation import ScoreFunction, query_by_query, score_episodes, scores_differ
from ..tasks import EpisodeBatch
from .report import Report, listed

__all__ = ["check_transduction"]


def check_transduction(learner: ScoreFunction, episodes: EpisodeBatch) -> Report:
    """Check whether queries inform each other: score them all at once, then one by one.

    A learner that sees one item at a time must give the same answer. Batch normalisation with the
    statistics of the query batch breaks this, and shows an accuracy that nobody gets with single
    items. Tasks of one batch must not inform each other either.

    Args:
        learner: a learner, checked in the mode it is in, or any function from support_x, support_y
            and query_x (T, Q, *item) to scores (T, Q, n_way).
        episodes: a few tasks; each query costs one call.
    Returns:
        A report with both accuracies (regression: squared errors) and the largest differences.
    Raises:
        ValueError: not a learner or not episodes, or tasks with a single query, which show nothing.
    """
    if not isinstance(episodes, EpisodeBatch) or not callable(learner):
        got = type(learner).__name__, type(episodes).__name__
        raise ValueError(f"need learner, a function, and episodes, an EpisodeBatch; got {got}")
    if episodes.query_x.shape[1] < 2:
        raise ValueError("episodes have one query per task, which has no other to be informed by")
    score = copy.deepcopy(learner) if isinstance(learner, nn.Module) else learner
    together = torch.cat([_score(score, episodes[t : t + 1]) for t in range(len(episodes))])
    if scores_differ(together[:1], _score(score, episodes[:1])):
        problem = "two equal calls give different scores: the learner is random (dropout?) or keeps"
        return Report("transduction", [f"{problem} state, so that nothing can be compared"])
    try:
        alone = query_by_query(score, episodes).detach()
    except ValueError as error:
        problem = f"a query cannot be scored alone, so queries need each other: {error}"
        return Report("transduction", [problem + _batch_norms(score)])
    return _compare_scores(score, episodes, together, alone)


def _compare_scores(
    score: ScoreFunction, episodes: EpisodeBatch, together: Tensor, alone: Tensor
) -> Report:
    batch = _score(score, episodes)
    what = "accuracy" if episodes.is_classification else "squared error"
    before, after = (score_episodes(s, episodes).mean().item() for s in (together, alone))
    problems = []
    if scores_differ(together, alone):
        shown = ".1%" if episodes.is_classification else ".3g"
        problems.append(
            f"queries inform each other: {what} {before:{shown}} with all queries at once, "
            f"{after:{shown}} one by one{_batch_norms(score)}"
        )
    if scores_differ(together, batch):
        problems.append(
            "tasks inform each other: scores change with the tasks beside them"
            + _batch_norms(score)
        )
    figures = {
        f"{what}, all queries at once": before,
        f"{what}, one by one": after,
        "largest score difference": (together - alone).abs().max().item(),
        "largest score difference between tasks": (together - batch).abs().max().item(),
    }
    return Report("transduction", problems, figures)


def _score(score: ScoreFunction, episodes: EpisodeBatch) -> Tensor:
    return score(episodes.support_x, episodes.support_y, episodes.query_x).detach()


def _batch_norms(score: Any) -> str:
    """Layers that now normalise with the statistics of the batch, as the end of a sentence."""
    modules = score.named_modules() if isinstance(score, nn.Module) else ()
    layers = [
        name
        for name, m in modules
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and (m.training or m.running_mean is None)
    ]
    return f"; normalised by batch statistics: {listed(layers)}" if layers else ""
