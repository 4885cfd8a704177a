"""The exercises of notebook 10: gradient descent, attention, Bayes, and two masks with a bug."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor

from ..checker.draws import draw_int
from ..checker.edits import mistakes_of
from ..checker.exercise import Case, Exercise
from ..checker.question import Option, Question

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
    """(Q,): what one step of gradient descent from w = 0 answers to query (Q, d).

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


STEP = Exercise(
    solution=gradient_step,
    lesson=10,
    aim="write a step of gradient descent as a sum over examples",
    minutes=8,
    difficulty="medium",
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
    mistakes=mistakes_of(gradient_step, _as_attention, lesson=LESSON),
    ways=[_as_attention],
    hints=[
        "At w = 0 every prediction is 0, so the gradient is minus the mean of y_i x_i. The step "
        "goes against it.",
        "`y @ x` is `(d,)`: the sum of y_i x_i. `query @ w` is `(Q,)`.",
        "`w = inner_lr * (y @ x) / len(y)`.",
    ],
)


# --- attention -------------------------------------------------------------------------------


def attend(q: Tensor, k: Tensor, v: Tensor, may_see: Tensor) -> Tensor:
    """(L, e): for each token the mean of v over the tokens that it may see, weighted by q and k.

    Args:
        q, k: what each token looks for and what it can be found by, (L, d) both.
        v: what each token says, (L, e).
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

ATTEND = Exercise(
    solution=attend,
    lesson=10,
    aim="write attention with a mask",
    minutes=10,
    difficulty="medium",
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
        # d = 4, so scores are halved; token 1 sees token 0 alone, token 2 itself and token 0
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
    mistakes=mistakes_of(attend, _by_exponentials, lesson=LESSON),
    ways=[_by_exponentials],
    hints=[
        "A score for each pair of tokens; no score where a token may not see; softmax makes "
        "weights of each row; the weights take a mean of v.",
        "`q @ k.T` is `(L, L)`, row i for token i. `softmax(dim=1)` makes each row sum to 1.",
        "`scores.masked_fill(~may_see, -math.inf)` before the softmax: e to the minus infinity "
        "is 0.",
    ],
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


RIDGE = Exercise(
    solution=ridge_posterior,
    lesson=10,
    aim="work out the line that nobody can pass",
    minutes=10,
    difficulty="medium",
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
    mistakes=mistakes_of(ridge_posterior, _by_covariance, lesson=LESSON),
    ways=[_by_covariance],
    hints=[
        "Both lines need (X'X + noise I): once with X'y, once with each query.",
        "`torch.linalg.solve(A, b)` is A^-1 b. With `query.T` as b it is `(d, Q)`, a column for "
        "each query.",
        "The variance is `noise + noise * (query.T * spread).sum(dim=0)`: that of a new "
        "measurement, and what is not known of w.",
    ],
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


WHO = Exercise(
    solution=who_sees_whom,
    buggy=_all_for_queries,
    lesson=10,
    aim="keep queries apart",
    minutes=5,
    difficulty="easy",
    cases=[
        Case(
            (2, 4),
            torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 1]]).bool(),
        ),
        Case((0, 2), torch.tensor([[1, 0], [0, 1]]).bool()),
        Case((3, 3), torch.ones(3, 3).bool()),
    ],
    draw=_draw_sizes,
    mistakes=mistakes_of(who_sees_whom, _by_repeating, lesson=LESSON),
    ways=[_by_repeating],
    hints=[
        "Write the mask for two context tokens and two queries on paper. What may row 2 see?",
        "Every row has the context; beside it, each token sees itself: that is a diagonal.",
        "`is_context[None, :] | torch.eye(n_items, dtype=torch.bool)`.",
    ],
)


# --- find the bug: one off, and the answer shows ---------------------------------------------


def pairs_seen(n_items: int) -> Tensor:
    """(L, L) of True and False: row i says which pairs query i may see in a causal training.

    There are a pair (x_i, y_i) and a query x_i for each of the n_items places. Query i is answered
    from the i pairs before it.
    """
    place = torch.arange(n_items)
    return place[None, :] < place[:, None]


def _by_triangle(n_items: int) -> Tensor:
    return torch.ones(n_items, n_items, dtype=torch.bool).tril(diagonal=-1)


def _with_the_answer(n_items: int) -> Tensor:
    place = torch.arange(n_items)
    return place[None, :] <= place[:, None]


SEEN = Exercise(
    solution=pairs_seen,
    buggy=_with_the_answer,
    lesson=10,
    aim="find a mask that shows the answer",
    minutes=4,
    difficulty="easy",
    cases=[
        Case((3,), torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0]]).bool()),
        Case((1,), torch.tensor([[0]]).bool()),
        Case((4,), torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]]).bool()),
    ],
    draw=lambda generator: (draw_int(2, 12, generator),),
    mistakes=mistakes_of(pairs_seen, _by_triangle, lesson=LESSON),
    ways=[_by_triangle],
    hints=[
        "How many pairs has query 0 to be answered from? How many does its row allow?",
        "Pair j is known to query i if it came before: what must hold for j and i?",
        "`place[None, :]` runs over the pairs, `place[:, None]` over the queries: `<`, not `<=`.",
    ],
)


# --- questions -------------------------------------------------------------------------------

EXERCISES: list[Exercise | Question] = [
    STEP,
    Question(
        name="where_the_step_starts",
        lesson=10,
        aim="know what the proof needs",
        minutes=3,
        difficulty="medium",
        text="The layer is one step of gradient descent from w = 0. Now all functions of the "
        "family have weights near 1: w ~ N(1, I), where 1 is a vector of ones. Is the trained "
        "layer still a good step of gradient descent?",
        options={
            "a": Option(
                "Yes: it finds the step from w = 0 again.",
                "It may, but that step starts far from where the functions are. The layer has no "
                "better one, and its loss is much larger than that of a step from w = 1.",
            ),
            "b": Option(
                "Yes: it finds the step from w = 1.",
                "The answer of that step has the term <1, query>, which does not depend on the "
                "examples. Every term of the layer is a product with two numbers of an example.",
            ),
            "c": Option(
                "No: a step from w = 1 has a term that this layer cannot make.",
                "The start adds <1, query> to every answer, whatever the examples say. The layer "
                "has only sums over examples. So the equality is one for a prior mean of 0.",
            ),
            "d": Option(
                "No: with another mean gradient descent does not converge.",
                "Gradient descent does not know what the mean is. Where it starts is another "
                "matter.",
            ),
        },
        right="c",
    ),
    ATTEND,
    RIDGE,
    Question(
        name="below_the_line",
        lesson=10,
        aim="read a result that is too good",
        minutes=2,
        difficulty="easy",
        text="A transformer is trained on Gaussian processes. On 2,000 new tasks its negative "
        "log-likelihood is 0.30 nats below that of the exact posterior, with an interval of 0.02. "
        "What do you conclude?",
        options={
            "a": Option(
                "It has found a better rule than Bayes.",
                "For tasks that are drawn from this law there is none: the exact posterior has the "
                "smallest expected negative log-likelihood of all that use the context alone.",
            ),
            "b": Option(
                "It is a lucky draw of tasks.",
                "Both were asked on the same tasks, and the difference is 30 times its standard "
                "error.",
            ),
            "c": Option(
                "Something leaks: it knows more than the context.",
                "Only more knowledge beats the exact posterior: queries that see each other, or a "
                "mask that shows the answer. Or the tasks are not drawn from the law at all.",
            ),
            "d": Option(
                "It is over-confident: its standard deviations are too small.",
                "That would make its likelihood worse, not better: the score punishes it.",
            ),
        },
        right="c",
    ),
    Question(
        name="four_functions",
        lesson=10,
        aim="tell memory from learning",
        minutes=3,
        difficulty="medium",
        text="A transformer is meta-trained on 4 linear functions, with new points and new noise "
        "each time. Then it gets 15 examples of a fifth. What does it most likely do?",
        options={
            "a": Option(
                "It finds the fifth by ridge regression.",
                "Nothing in its training asked for that. With four functions there is a better "
                "rule, and a simpler one.",
            ),
            "b": Option(
                "It answers with whichever of the four fits best.",
                "That is the exact posterior of its own training tasks, with an error of 0.25 "
                "there, the noise alone. On a new function it is worse than predicting 0.",
            ),
            "c": Option(
                "It predicts 0, since the function is unknown.",
                "It cannot know that there are others than the four: it has never met one.",
            ),
            "d": Option(
                "It gives the mean of the four.",
                "That is what it says before any example. Fifteen of them choose one.",
            ),
        },
        right="b",
    ),
    WHO,
    SEEN,
]
