"""The exercises of notebook 06: gradients with respect to step sizes, and two losses to fix."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..checker.draws import draw_int
from ..checker.edits import Edit, mistakes_of
from ..checker.exercise import Case, Exercise
from ..checker.question import Option, Question
from .maml import Loss, bowl, cube, draw_losses, draw_point, far_bowl

LESSON = "06_meta_sgd.txt"

__all__ = [
    "EXERCISES",
    "best_start_and_rate",
    "loss_after_step",
    "loss_after_steps",
    "meta_sgd_gradients",
    "scalar_gradients",
]


# --- one weight, one rate --------------------------------------------------------------------


def scalar_gradients(
    w: float, rate: float, support_target: float, query_target: float
) -> tuple[float, float]:
    """Gradients of (w' - query_target)^2 / 2 after one step, with respect to w and to the rate."""
    support_slope = w - support_target
    query_slope = w - rate * support_slope - query_target
    return query_slope * (1 - rate), -query_slope * support_slope


def _draw_scalar(generator: Generator) -> tuple[float, float, float, float]:
    w, support, query = (3 * torch.randn(3, generator=generator)).tolist()
    return w, 1.6 * torch.rand((), generator=generator).item() - 0.8, support, query


SCALAR = Exercise(
    solution=scalar_gradients,
    lesson=6,
    aim="compute the gradient with respect to a step size on paper",
    minutes=5,
    difficulty="easy",
    cases=[
        Case((2.0, 0.1, 1.0, 3.0), (-0.99, 1.1)),
        Case((-1.0, 0.5, 4.0, 0.0), (0.75, 7.5)),  # slopes -5 and 1.5
        Case((2.0, 0.0, 1.0, 3.0), (-1.0, 1.0)),  # no step: the plain slope by w
        Case((1.0, -0.3, 0.5, 2.0), (-1.105, 0.425)),  # slopes 0.5 and -0.85
        Case((1000.0, 0.1, 1.0, 3.0), (807.39, -896202.9)),  # far away: slopes 999 and 897.1
    ],
    draw=_draw_scalar,
    mistakes=mistakes_of(scalar_gradients, lesson=LESSON),
    hints=[
        "The cell after the prediction does it for w = 2, the rate 0.1 and the targets 1 and 3. "
        "Replace the numbers by names.",
        "The support slope is w - support_target, the query slope is w' - query_target. Both "
        "gradients are the query slope times something: dw'/dw, and dw'/d rate.",
        "w' = w - rate · (w - support_target): its derivative with respect to w is 1 - rate, "
        "to the rate -(w - support_target).",
    ],
)


# --- many tasks: a line ----------------------------------------------------------------------


def best_start_and_rate(support_targets: Tensor, query_targets: Tensor) -> tuple[Tensor, Tensor]:
    """Start and rate, two scalars, with the least mean query loss over tasks of one weight.

    Args:
        support_targets: (n_tasks,), not all equal.
        query_targets: (n_tasks,), whose slope on the support targets is not 1.
    """
    s = support_targets - support_targets.mean()
    rate = (s * query_targets).sum() / s.square().sum()
    w = (query_targets.mean() - rate * support_targets.mean()) / (1 - rate)
    return w, rate


def _draw_line(generator: Generator) -> tuple[Tensor, Tensor]:
    n = draw_int(4, 30, generator)
    slope, shift, height = torch.rand(3, generator=generator).tolist()
    s, noise = torch.randn(2, n, generator=generator)
    s = s + 1 + 2 * shift
    slope = 1.4 * slope - 0.8 if draw_int(0, 3, generator) else 1.5 + slope  # never near 1
    return s, slope * s + 0.3 * noise + 2 * height + 0.5


LINE = Exercise(
    solution=best_start_and_rate,
    lesson=6,
    aim="see a step size as the slope of a line",
    minutes=10,
    difficulty="medium",
    cases=[
        # the line through (0, 1) and (2, 0): slope -1/2, intercept 1 = (1 + 1/2) w
        Case(
            (torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0])),
            (torch.tensor(2 / 3), torch.tensor(-0.5)),
        ),
        # means 2 and 2; slope (-1 * -1 + 1 * 0) / 2 = 1/2, intercept 1 = w / 2
        Case(
            (torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 3.0, 2.0])),
            (torch.tensor(2.0), torch.tensor(0.5)),
        ),
        # slope (-1 * 0 + 1 * 4) / 2 = 2, intercept -2 = (1 - 2) w
        Case(
            (torch.tensor([1.0, 3.0]), torch.tensor([0.0, 4.0])),
            (torch.tensor(2.0), torch.tensor(2.0)),
        ),
        # the query target is always 4: no step, and the start is 4
        Case(
            (torch.tensor([1.0, 5.0, 3.0]), torch.full((3,), 4.0)),
            (torch.tensor(4.0), torch.tensor(0.0)),
        ),
    ],
    draw=_draw_line,
    mistakes=mistakes_of(best_start_and_rate, lesson=LESSON),
    hints=[
        "Two parts. The slope of the best line of q on s is the rate; the start follows from the "
        "fact that every best line goes through the two means.",
        "Subtract its mean from the support targets. The slope is the sum of their products with "
        "the query targets, divided by the sum of their squares.",
        "mean q = (1 - rate) · w + rate · mean s. Solve that for w.",
    ],
)


# --- any two losses --------------------------------------------------------------------------


def meta_sgd_gradients(
    support_loss: Loss, query_loss: Loss, w: Tensor, rates: Tensor, num_inner_steps: int
) -> tuple[Tensor, Tensor]:
    """Gradients of the query loss after the inner steps, with respect to w and to rates.

    Source: Li et al. (2017), eq. 2, with one or more steps of the same rates.
    """
    w, rates = w.detach().requires_grad_(), rates.detach().requires_grad_()
    fast_w = w
    for _ in range(num_inner_steps):
        (gradient,) = torch.autograd.grad(support_loss(fast_w), fast_w, create_graph=True)
        fast_w = fast_w - rates * gradient
    by_w, by_rates = torch.autograd.grad(query_loss(fast_w), (w, rates))
    return by_w, by_rates


def _draw_meta(generator: Generator) -> tuple[Loss, Loss, Tensor, Tensor, int]:
    support_loss, query_loss = draw_losses(generator)
    w = draw_point(generator)
    rates = 0.2 * torch.randn(w.shape, generator=generator) + 0.05
    return support_loss, query_loss, w, rates, draw_int(1, 4, generator)


_TWO, _TENTH = torch.tensor([2.0]), torch.tensor([0.1])
META = Exercise(
    solution=meta_sgd_gradients,
    lesson=6,
    aim="write Meta-SGD for any two losses",
    minutes=10,
    difficulty="medium",
    cases=[
        Case((bowl, far_bowl, _TWO, _TENTH, 1), (torch.tensor([-0.99]), torch.tensor([1.1]))),
        # w' = (1.9, -0.2), slopes of the query loss -1.1 and -3.2, of the support loss 1 and -1
        Case(
            (bowl, far_bowl, torch.tensor([2.0, 0.0]), torch.tensor([0.1, -0.2]), 1),
            (torch.tensor([-0.99, -3.84]), torch.tensor([1.1, -3.2])),
        ),
        # 1.9, 1.81: by w -1.19 * 0.81, by the rate -1.19 * (-0.9 - 0.9)
        Case((bowl, far_bowl, _TWO, _TENTH, 2), (torch.tensor([-0.9639]), torch.tensor([2.142]))),
        # 1, 0.9, 0.819: by w -0.181 * 0.8 * 0.82, by the rate -0.181 * (-1 * 0.82 - 0.81)
        Case(
            (cube, bowl, torch.ones(1), _TENTH, 2),
            (torch.tensor([-0.118736]), torch.tensor([0.29503])),
        ),
        # far away, where a gradient that is clipped shows: slopes 999 and 897.1
        Case(
            (bowl, far_bowl, torch.tensor([1000.0]), _TENTH, 1),
            (torch.tensor([807.39]), torch.tensor([-896202.9])),
        ),
    ],
    draw=_draw_meta,
    mistakes=mistakes_of(meta_sgd_gradients, lesson=LESSON),
    hints=[
        "The loop of `meta_sgd_loss`, with one tensor instead of a dict. At the end, "
        "`torch.autograd.grad(loss, (w, rates))` gives both gradients at once.",
        "Begin with `w, rates = w.detach().requires_grad_(), rates.detach().requires_grad_()` and "
        "`fast_w = w`.",
        "In the loop: the gradient of `support_loss(fast_w)` with `create_graph=True`, "
        "then `fast_w = fast_w - rates * gradient`.",
    ],
)


# --- find the bug: a start that is overwritten -----------------------------------------------


def loss_after_step(support_loss: Loss, query_loss: Loss, w: Tensor, rates: Tensor) -> Tensor:
    """Query loss after one step of rates from w, with a graph back to both."""
    (gradient,) = torch.autograd.grad(support_loss(w), w, create_graph=True)
    fast_w = w - rates * gradient
    return query_loss(fast_w)


def _draw_one(generator: Generator) -> tuple[Loss, Loss, Tensor, Tensor]:
    support_loss, query_loss, w, rates, _ = _draw_meta(generator)
    return support_loss, query_loss, w.requires_grad_(), rates


def _leaf(*values: float) -> Tensor:
    return torch.tensor(values, requires_grad=True)


DATA = Exercise(
    solution=loss_after_step,
    buggy=Edit(
        (loss_after_step,),
        "fast_w = w - -> w.data = w.data - ; query_loss(fast_w) -> query_loss(w)",
        "",
    ).wrong,
    lesson=6,
    aim="find what overwrites a start",
    minutes=5,
    difficulty="easy",
    cases=[
        Case((bowl, far_bowl, _leaf(2.0), _TENTH), torch.tensor(0.605)),  # 1.1^2 / 2 at 1.9
        # w' = (1.9, -0.2): 1.1^2 / 2 + 3.2^2 / 2
        Case((bowl, far_bowl, _leaf(2.0, 0.0), torch.tensor([0.1, -0.2])), torch.tensor(5.725)),
        # 1 - 0.1 = 0.9: 0.1^2 / 2; the slope of a cube needs the weights that it was taken at
        Case((cube, bowl, _leaf(1.0), _TENTH), torch.tensor(0.005)),
        Case((bowl, far_bowl, _leaf(1000.0), _TENTH), torch.tensor(402394.2)),  # 897.1^2 / 2
    ],
    draw=_draw_one,
    mistakes=mistakes_of(loss_after_step, lesson=LESSON),
    hints=[
        "Which line changes something that belongs to the caller?",
        "The same line hides the step from autograd. Give the adapted weights a name of their own.",
        "`fast_w = w - rates * gradient` is a new tensor with a graph.",
    ],
    gradients=("w", "rates"),
)


# --- find the bug: a stale loss --------------------------------------------------------------


def loss_after_steps(
    support_loss: Loss, query_loss: Loss, w: Tensor, rates: Tensor, num_inner_steps: int
) -> Tensor:
    """Query loss after steps of rates from w, with a graph back to both."""
    fast_w = w
    for _ in range(num_inner_steps):
        loss = support_loss(fast_w)
        (gradient,) = torch.autograd.grad(loss, fast_w, create_graph=True)
        fast_w = fast_w - rates * gradient
    return query_loss(fast_w)


def _thrifty(
    support_loss: Loss, query_loss: Loss, w: Tensor, rates: Tensor, num_inner_steps: int
) -> Tensor:
    fast_w = w
    loss = support_loss(fast_w)
    (gradient,) = torch.autograd.grad(loss, fast_w, create_graph=True)
    for _ in range(num_inner_steps):
        fast_w = fast_w - rates * gradient
    return query_loss(fast_w)


def _draw_several(generator: Generator) -> tuple[Loss, Loss, Tensor, Tensor, int]:
    support_loss, query_loss, w, rates, steps = _draw_meta(generator)
    return support_loss, query_loss, w.requires_grad_(), rates, steps


EXERCISES: list[Exercise | Question] = [
    Question(
        name="where_the_rate_goes",
        lesson=6,
        aim="read the sign of a gradient with respect to a step size",
        minutes=1,
        difficulty="easy",
        text="The support set pulls `w` from 2 towards 1, the query set wants it at 3. What will "
        "the outer loop do to the step size 0.1, if it goes on for long?",
        options={
            "a": Option(
                "Make it larger",
                "A longer step leads further down, away from 3. The gradient for the step size is "
                "+1.10, and gradient descent goes against it.",
            ),
            "b": Option(
                "Make it smaller, until it is 0",
                "Smaller is right. But at 0 the query loss still falls if the step goes the other "
                "way, and nothing stops it there.",
            ),
            "c": Option(
                "Make it smaller, and then negative",
                "The gradient is (query slope) · (-support slope) = -1.1 · -1 = +1.10, so the "
                "step size falls. A negative one leads from 2 up to 3: nothing forbids it.",
            ),
        },
        right="c",
    ),
    SCALAR,
    LINE,
    META,
    Question(
        name="why_a_bias_steps_back",
        lesson=6,
        aim="choose the experiment that tests an explanation",
        minutes=5,
        difficulty="medium",
        text="The colleague's cause is that the features are never negative. Which experiment "
        "tests this cause?",
        options={
            "a": Option(
                "Set the step sizes of the biases to 0, and look at the accuracy.",
                "That shows whether these step sizes matter, not why they are negative. We do it "
                "as well.",
            ),
            "b": Option(
                "Train with tanh, whose values have both signs, and look again.",
                "It takes the cause away and leaves the rest. If the cause is right, the biases "
                "should stay positive. Run the next cells.",
            ),
            "c": Option(
                "Train with other seeds, and see if they turn negative again.",
                "That shows whether the effect is chance. A real effect can have a wrong "
                "explanation.",
            ),
            "d": Option(
                "Compute the gradients of the biases, and see if their signs differ.",
                "They do: that is how a step size becomes negative (section 3). It is the effect "
                "once more, not its cause.",
            ),
        },
        right="b",
    ),
    DATA,
    Question(
        name="three_steps_for_one",
        lesson=6,
        aim="say what a stale loss costs",
        minutes=2,
        difficulty="easy",
        text="`thrifty_meta_sgd_loss` with learned step sizes trains without any sign of trouble. "
        "What have we lost?",
        options={
            "a": Option(
                "Nothing: three steps are taken, and one gradient is enough.",
                "The printed line says otherwise: three steps equal one that is three times as "
                "long. Training makes the step sizes a third as large, and that is all.",
            ),
            "b": Option(
                "The second and third step: they do not react to the first.",
                "The loss belongs to the start, and so does its gradient. Three steps along one "
                "gradient are one step, under the name of three.",
            ),
            "c": Option(
                "The gradient for the step sizes, which is now wrong.",
                "It is the exact gradient of this loss. The loss itself is not the one we want, "
                "and finite differences cannot see that.",
            ),
            "d": Option(
                "The start: it no longer gets a gradient of its own.",
                "It does: the graph leads through `params` back to the start.",
            ),
        },
        right="b",
    ),
    Exercise(
        solution=loss_after_steps,
        buggy=_thrifty,
        lesson=6,
        aim="find what makes three steps one",
        minutes=5,
        difficulty="easy",
        cases=[
            Case((bowl, far_bowl, _leaf(2.0), _TENTH, 1), torch.tensor(0.605)),
            # 1.9, 1.81: 1.19^2 / 2
            Case((bowl, far_bowl, _leaf(2.0), _TENTH, 2), torch.tensor(0.70805)),
            # 1, 0.9, 0.819: 0.181^2 / 2
            Case((cube, bowl, _leaf(1.0), _TENTH, 2), torch.tensor(0.0163805)),
            Case((bowl, far_bowl, _leaf(1000.0), _TENTH, 1), torch.tensor(402394.2)),  # 897.1^2 / 2
        ],
        draw=_draw_several,
        mistakes=mistakes_of(loss_after_steps, lesson=LESSON),
        hints=[
            "At which weights is the loss computed? And at which should it be, in the second step?",
            "Two lines stand before the loop that belong in it.",
            "In each step: `loss = support_loss(fast_w)`, its gradient at `fast_w`, then the step.",
        ],
        gradients=("w", "rates"),
    ),
]
