"""The exercises of notebook 10: gradient descent, attention, Bayes, and two masks with a bug."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor

from ..checker.draws import draw_int
from ..checker.exercise import Case, Exercise, exercise_of
from ..checker.question import Question, question_of

LESSON = "10_in_context_learning.txt"

__all__ = [
    "EXERCISES",
    "attend",
    "gradient_step",
    "pairs_seen",
    "ridge_posterior",
    "who_sees_whom",
]


# --- one step of gradient descent ------------------------------------------------------------


def gradient_step(x: Tensor, y: Tensor, query: Tensor, inner_lr: float) -> Tensor:
    """(Q,): what one step of gradient descent from w = 0 predicts for query (Q, d).

    Args:
        x, y: the N examples, (N, d) and (N,).
        inner_lr: step size for the loss sum_i (<w, x_i> - y_i)^2 / (2 N).
    """
    w = inner_lr * (y @ x) / len(y)  # (d,)
    return query @ w


def _as_attention(x: Tensor, y: Tensor, query: Tensor, inner_lr: float) -> Tensor:
    return inner_lr * (query @ x.T) @ y / len(y)


def _draw_step(generator: Generator) -> tuple[Any, ...]:
    n, d, q = draw_int(2, 8, generator), draw_int(2, 6, generator), draw_int(1, 5, generator)
    x, query = torch.randn(n, d, generator=generator), torch.randn(q, d, generator=generator)
    return x, 1 + torch.randn(n, generator=generator), query, 0.1 + draw_int(0, 20, generator) / 10


STEP = exercise_of(
    gradient_step,
    lesson=LESSON,
    cases=[
        # y @ x = (2, 6), by 0.5 / 2: w = (0.5, 1.5)
        Case(
            (
                torch.tensor([[1.0, 0.0], [0.0, 2.0]]),
                torch.tensor([2.0, 3.0]),
                torch.tensor([[1.0, 1.0], [0.0, -1.0]]),
                0.5,
            ),
            torch.tensor([2.0, -1.5]),
        ),
        # the case of the lesson: w = 0.3 * (1 * 1 + 2 * 2 + 1 * 3) / 3 = 0.8
        Case(
            (
                torch.tensor([[1.0], [2.0], [3.0]]),
                torch.tensor([1.0, 2.0, 1.0]),
                torch.tensor([[2.0]]),
                0.3,
            ),
            torch.tensor([1.6]),
        ),
    ],
    draw=_draw_step,
    ways=[_as_attention],
)


# --- attention -------------------------------------------------------------------------------


def attend(q: Tensor, k: Tensor, v: Tensor, may_see: Tensor) -> Tensor:
    """(L, e): for each token the mean of v over the tokens that it may see, weighted by q and k.

    Args:
        q, k: what each token looks for, and how others find it; both (L, d).
        v: what each token contributes, (L, e).
        may_see: (L, L) of True and False; row i is for token i, and never all False.
    """
    scores = q @ k.T / q.shape[1] ** 0.5
    weights = scores.masked_fill(~may_see, -math.inf).softmax(dim=1)
    return weights @ v


def _by_exponentials(q: Tensor, k: Tensor, v: Tensor, may_see: Tensor) -> Tensor:
    terms = (q @ k.T / math.sqrt(q.shape[1])).exp() * may_see
    return (terms / terms.sum(dim=1, keepdim=True)) @ v


def _draw_attend(generator: Generator) -> tuple[Tensor, ...]:
    n, d, e = draw_int(2, 7, generator), draw_int(2, 6, generator), draw_int(1, 5, generator)
    q, k = 2 * torch.randn(2, n, d, generator=generator)
    v = 1 + torch.randn(n, e, generator=generator)
    may_see = torch.rand(n, n, generator=generator) < 0.6
    return q, k, v, may_see | torch.eye(n, dtype=torch.bool)


_LN3 = math.log(3)

ATTEND = exercise_of(
    attend,
    lesson=LESSON,
    cases=[
        # scores (ln 3, 0) and (0, 0): weights 3/4, 1/4 and 1/2, 1/2
        Case(
            (
                torch.tensor([[_LN3], [0.0]]),
                torch.tensor([[1.0], [0.0]]),
                torch.tensor([[4.0], [8.0]]),
                torch.ones(2, 2, dtype=torch.bool),
            ),
            torch.tensor([[5.0], [6.0]]),
        ),
        # d = 4, so scores are halved; token 1 sees only token 0, token 2 sees itself and token 0
        Case(
            (
                torch.tensor([[2 * _LN3, 0, 0, 0], [1.0, 0, 0, 0], [0.0, 2 * _LN3, 0, 0]]),
                torch.tensor([[1.0, 0, 0, 0], [0.0, 0, 0, 0], [0.0, 1, 0, 0]]),
                torch.tensor([[4.0, 0.0], [8.0, 4.0], [0.0, 8.0]]),
                torch.tensor([[True, True, False], [True, False, False], [True, False, True]]),
            ),
            torch.tensor([[5.0, 1.0], [4.0, 0.0], [1.0, 6.0]]),
        ),
    ],
    draw=_draw_attend,
    ways=[_by_exponentials],
)


# --- the exact posterior ---------------------------------------------------------------------


def ridge_posterior(x: Tensor, y: Tensor, query: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of each query's target, noise included, both (Q,).

    w ~ N(0, I), y = <w, x> + noise.

    Args:
        x, y: the examples, (N, d) and (N,).
        query: (Q, d).
        noise: the variance of the noise.
    """
    precision = x.T @ x + noise * torch.eye(x.shape[1])
    mean = query @ torch.linalg.solve(precision, x.T @ y)
    spread = torch.linalg.solve(precision, query.T)  # (d, Q)
    return mean, noise + noise * (query.T * spread).sum(dim=0)


def _by_covariance(x: Tensor, y: Tensor, query: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    covariance = torch.linalg.inv(x.T @ x / noise + torch.eye(x.shape[1]))  # of w
    w = covariance @ x.T @ y / noise
    return query @ w, ((query @ covariance) * query).sum(dim=1) + noise


def _draw_ridge(generator: Generator) -> tuple[Any, ...]:
    n, d, q = draw_int(1, 7, generator), draw_int(1, 5, generator), draw_int(1, 5, generator)
    x, query = torch.randn(n, d, generator=generator), torch.randn(q, d, generator=generator)
    y = 2 * torch.randn(n, generator=generator)
    return x, y, query, 0.25 + draw_int(0, 8, generator) / 4


RIDGE = exercise_of(
    ridge_posterior,
    lesson=LESSON,
    cases=[
        # x'x = 2, precision 3; x'y = 3, so w = 1
        Case(
            (
                torch.tensor([[1.0], [1.0]]),
                torch.tensor([1.0, 2.0]),
                torch.tensor([[1.0], [3.0]]),
                1.0,
            ),
            (torch.tensor([1.0, 3.0]), torch.tensor([4 / 3, 4.0])),
        ),
        # precision diag(1.5, 4.5), x'y = (3, 9): w = (2, 2)
        Case(
            (
                torch.tensor([[1.0, 0.0], [0.0, 2.0]]),
                torch.tensor([3.0, 4.5]),
                torch.tensor([[1.0, 0.0], [3.0, 3.0]]),
                0.5,
            ),
            (torch.tensor([2.0, 12.0]), torch.tensor([0.5 + 1 / 3, 0.5 + 3.0 + 1.0])),
        ),
    ],
    draw=_draw_ridge,
    ways=[_by_covariance],
)


# --- find the bug: queries that see each other -----------------------------------------------


def who_sees_whom(n_context: int, n_items: int) -> Tensor:
    """(L, L) of True and False: row i says which tokens token i may see.

    The first n_context of the n_items tokens are the context, the others are queries.
    """
    is_context = torch.arange(n_items) < n_context
    return is_context[None, :] | torch.eye(n_items, dtype=torch.bool)


def _by_repeating(n_context: int, n_items: int) -> Tensor:
    rows = (torch.arange(n_items) < n_context).repeat(n_items, 1)
    return rows.fill_diagonal_(True)


def _all_for_queries(n_context: int, n_items: int) -> Tensor:
    is_context = torch.arange(n_items) < n_context
    return is_context[None, :] | ~is_context[:, None]


def _draw_sizes(generator: Generator) -> tuple[int, int]:
    n_items = draw_int(2, 9, generator)
    return draw_int(0, n_items + 1, generator), n_items


WHO = exercise_of(
    who_sees_whom,
    lesson=LESSON,
    buggy=_all_for_queries,
    cases=[
        Case(
            (2, 4),
            torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 1]]).bool(),
        ),
        Case((0, 2), torch.tensor([[1, 0], [0, 1]]).bool()),
        Case((3, 3), torch.ones(3, 3).bool()),
    ],
    draw=_draw_sizes,
    ways=[_by_repeating],
)


# --- find the bug: one off, and the answer shows ---------------------------------------------


def pairs_seen(n_items: int) -> Tensor:
    """(L, L) of True and False: row i says which pairs query i may see in a causal training.

    There are a pair (x_i, y_i) and a query x_i for each of the n_items places. The answer to query
    i comes from the i pairs before it.
    """
    place = torch.arange(n_items)
    return place[None, :] < place[:, None]


def _by_triangle(n_items: int) -> Tensor:
    return torch.ones(n_items, n_items, dtype=torch.bool).tril(diagonal=-1)


def _with_the_answer(n_items: int) -> Tensor:
    place = torch.arange(n_items)
    return place[None, :] <= place[:, None]


SEEN = exercise_of(
    pairs_seen,
    lesson=LESSON,
    buggy=_with_the_answer,
    cases=[
        Case((3,), torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0]]).bool()),
        Case((1,), torch.tensor([[0]]).bool()),
        Case((4,), torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]]).bool()),
    ],
    draw=lambda generator: (draw_int(2, 12, generator),),
    ways=[_by_triangle],
)


# --- questions -------------------------------------------------------------------------------

EXERCISES: list[Exercise | Question] = [
    STEP,
    question_of("where_the_step_starts", lesson=LESSON),
    ATTEND,
    RIDGE,
    question_of("below_the_line", lesson=LESSON),
    question_of("four_functions", lesson=LESSON),
    WHO,
    SEEN,
]
