"""The exercises of notebook 02: intervals, and two evaluations to mend."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from .draws import draw_int
from .exercise import Case, Exercise, Mistake
from .question import Option, Question

__all__ = [
    "EXERCISES",
    "episodes_needed",
    "half_width_of_rounds",
    "normalise_queries",
    "paired_difference",
    "read_interval",
]


def _between(low: float, high: float, generator: Generator) -> float:
    return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()


Spreads = tuple[float, float]


# --- how many episodes -----------------------------------------------------------------------


def episodes_needed(std: float, half_width: float) -> int:
    """Smallest number n of episodes with 1.96 * std / sqrt(n) <= half_width."""
    return math.ceil((1.96 * std / half_width) ** 2)


def _rounds_down(std: float, half_width: float) -> int:
    return math.floor((1.96 * std / half_width) ** 2)


def _rounds_to_nearest(std: float, half_width: float) -> int:
    return round((1.96 * std / half_width) ** 2)


def _not_whole(std: float, half_width: float) -> float:
    return (1.96 * std / half_width) ** 2


def _no_square(std: float, half_width: float) -> int:
    return math.ceil(1.96 * std / half_width)


def _no_factor(std: float, half_width: float) -> int:
    return math.ceil((std / half_width) ** 2)


def _factor_outside(std: float, half_width: float) -> int:
    return math.ceil(1.96 * (std / half_width) ** 2)


def _whole_width(std: float, half_width: float) -> int:
    return math.ceil((1.96 * std / (half_width / 2)) ** 2)


def _half_of_it(std: float, half_width: float) -> int:
    return math.ceil((1.96 * std / (2 * half_width)) ** 2)


def _upside_down(std: float, half_width: float) -> int:
    return math.ceil((half_width / (1.96 * std)) ** 2)


def _always_one_more(std: float, half_width: float) -> int:
    return math.floor((1.96 * std / half_width) ** 2) + 1


def _two(std: float, half_width: float) -> int:
    return math.ceil((2 * std / half_width) ** 2)


def _std_not_squared(std: float, half_width: float) -> int:
    return math.ceil(1.96**2 * std / half_width**2)


def _width_not_squared(std: float, half_width: float) -> int:
    return math.ceil((1.96 * std) ** 2 / half_width)


def _root_of_root(std: float, half_width: float) -> int:
    return math.ceil(math.sqrt(1.96 * std / half_width))


def _up_too_early(std: float, half_width: float) -> int:
    return math.ceil(1.96 * std / half_width) ** 2


def _ninety_percent(std: float, half_width: float) -> int:
    return math.ceil((1.645 * std / half_width) ** 2)


def _draw_needed(generator: Generator) -> tuple[float, float]:
    std = _between(0.05, 25, generator)
    return std, std / _between(1.5, 20, generator)


NEEDED = Exercise(
    solution=episodes_needed,
    lesson=2,
    aim="say how many episodes an interval needs",
    minutes=5,
    difficulty="easy",
    cases=[
        Case((9.0, 1.0), 312),  # 17.64 squared is 311.2
        Case((9.0, 5.0), 13),  # 3.528 squared is 12.4
        Case((0.1, 0.05), 16),  # 3.92 squared is 15.4
        Case((0.03, 0.01176), 25),  # 5 squared; no way of computing it goes beyond in floats
    ],
    draw=_draw_needed,
    mistakes=[
        Mistake(_rounds_down, "rounded down, the interval is a little wider than asked for"),
        Mistake(
            _rounds_to_nearest,
            "rounded to the nearest, n is too small in half of the cases; round up, `math.ceil`",
        ),
        Mistake(_not_whole, "n is a number of episodes: round it up with `math.ceil`"),
        Mistake(
            _no_square,
            "this is the root of n: for half the width you need four times the episodes, so square "
            "before you round up",
        ),
        Mistake(_no_factor, "the factor 1.96 of the 95 % interval is missing"),
        Mistake(_factor_outside, "the factor 1.96 is squared too"),
        Mistake(
            _always_one_more,
            "where the square is a whole number already, this is one too many: `<=` includes it. "
            "`math.ceil` rounds up only what is not whole",
        ),
        Mistake(_two, "the factor is 1.96, not 2"),
        Mistake(_ninety_percent, "1.645 belongs to a 90 % interval; for 95 % it is 1.96"),
        Mistake(_std_not_squared, "std is squared too"),
        Mistake(_width_not_squared, "half_width is squared too"),
        Mistake(_root_of_root, "1.96 std / half_width is √n; square it, and take no root"),
        Mistake(_up_too_early, "round up once, at the end: square first"),
        Mistake(
            _whole_width,
            "this takes `half_width` for the whole width of the interval; it is the ± part already",
        ),
        Mistake(_half_of_it, "`half_width` is the ± part already; do not double it"),
        Mistake(_upside_down, "this fraction is upside down: a larger std needs more episodes"),
    ],
    hints=[
        "Solve 1.96 · std / √n = half_width for n, then round up.",
        "√n = 1.96 · std / half_width. Square both sides.",
        "`math.ceil` rounds up and gives an int.",
    ],
)


# --- a published interval --------------------------------------------------------------------


def read_interval(
    mean: float, half_width: float, n_episodes: int, n_queries: int
) -> tuple[float, float]:
    """Standard deviation of an episode, and of n_queries independent queries; all fractions."""
    s = half_width * math.sqrt(n_episodes) / 1.96
    return s, math.sqrt(mean * (1 - mean) / n_queries)


def _no_root_of_n(mean: float, half_width: float, n_episodes: int, n_queries: int) -> Spreads:
    return half_width / 1.96, read_interval(mean, half_width, n_episodes, n_queries)[1]


def _no_196(mean: float, half_width: float, n_episodes: int, n_queries: int) -> Spreads:
    s, binomial = read_interval(mean, half_width, n_episodes, n_queries)
    return 1.96 * s, binomial


def _times_196(mean: float, half_width: float, n_episodes: int, n_queries: int) -> Spreads:
    s, binomial = read_interval(mean, half_width, n_episodes, n_queries)
    return 1.96**2 * s, binomial


def _full_width(mean: float, half_width: float, n_episodes: int, n_queries: int) -> Spreads:
    s, binomial = read_interval(mean, half_width, n_episodes, n_queries)
    return s / 2, binomial


def _times_n(mean: float, half_width: float, n_episodes: int, n_queries: int) -> Spreads:
    s, binomial = read_interval(mean, half_width, n_episodes, n_queries)
    return s * math.sqrt(n_episodes), binomial


def _variance(mean: float, half_width: float, n_episodes: int, n_queries: int) -> Spreads:
    s, binomial = read_interval(mean, half_width, n_episodes, n_queries)
    return s, binomial**2


def _one_query(mean: float, half_width: float, n_episodes: int, n_queries: int) -> Spreads:
    s, binomial = read_interval(mean, half_width, n_episodes, n_queries)
    return s, binomial * math.sqrt(n_queries)


def _all_queries(mean: float, half_width: float, n_episodes: int, n_queries: int) -> Spreads:
    s, binomial = read_interval(mean, half_width, n_episodes, n_queries)
    return s, binomial / math.sqrt(n_episodes)


def _in_percent(mean: float, half_width: float, n_episodes: int, n_queries: int) -> Spreads:
    s, binomial = read_interval(mean, half_width, n_episodes, n_queries)
    return 100 * s, 100 * binomial


def _exchanged(mean: float, half_width: float, n_episodes: int, n_queries: int) -> Spreads:
    s, binomial = read_interval(mean, half_width, n_episodes, n_queries)
    return binomial, s


def _unexplained(mean: float, half_width: float, n_episodes: int, n_queries: int) -> Spreads:
    s, binomial = read_interval(mean, half_width, n_episodes, n_queries)
    return s, math.sqrt(abs(s**2 - binomial**2))


def _share_of_it(mean: float, half_width: float, n_episodes: int, n_queries: int) -> Spreads:
    s, binomial = read_interval(mean, half_width, n_episodes, n_queries)
    return s, binomial / s


def _share_of_variance(mean: float, half_width: float, n_episodes: int, n_queries: int) -> Spreads:
    s, binomial = read_interval(mean, half_width, n_episodes, n_queries)
    return s, binomial**2 / s**2


def _right_only(mean: float, half_width: float, n_episodes: int, n_queries: int) -> Spreads:
    s, _ = read_interval(mean, half_width, n_episodes, n_queries)
    return s, math.sqrt(mean**2 / n_queries)


def _half_of_95(mean: float, half_width: float, n_episodes: int, n_queries: int) -> Spreads:
    s, binomial = read_interval(mean, half_width, n_episodes, n_queries)
    return s, 1.96 * binomial


def _root_of_part(mean: float, half_width: float, n_episodes: int, n_queries: int) -> Spreads:
    s, _ = read_interval(mean, half_width, n_episodes, n_queries)
    return s, math.sqrt(mean * (1 - mean)) / n_queries


def _over_queries(mean: float, half_width: float, n_episodes: int, n_queries: int) -> Spreads:
    s, binomial = read_interval(mean, half_width, n_episodes, n_queries)
    return s * math.sqrt(n_queries), binomial


def _five_way(mean: float, half_width: float, n_episodes: int, n_queries: int) -> Spreads:
    s, binomial = read_interval(mean, half_width, n_episodes, n_queries)
    return s, binomial / math.sqrt(5)


def _draw_read(generator: Generator) -> tuple[float, float, int, int]:
    mean, half_width = _between(0.1, 0.9, generator), _between(0.002, 0.03, generator)
    return mean, half_width, draw_int(50, 2000, generator), draw_int(4, 120, generator)


READ = Exercise(
    solution=read_interval,
    lesson=2,
    aim="read the spread of episodes out of a published interval",
    minutes=10,
    difficulty="medium",
    cases=[
        Case((0.5, 0.0196, 100, 25), (0.1, 0.1)),  # 0.0196 * 10 / 1.96; sqrt(0.25 / 25)
        Case((0.2, 0.049, 4, 16), (0.05, 0.1)),  # 0.049 * 2 / 1.96; sqrt(0.16 / 16)
    ],
    draw=_draw_read,
    mistakes=[
        Mistake(
            _no_root_of_n,
            "this s belongs to the mean of all episodes; for one episode, times √n_episodes",
        ),
        Mistake(_no_196, "the half-width is 1.96 times the standard error; divide by 1.96"),
        Mistake(_times_196, "divide by 1.96, do not multiply by it"),
        Mistake(_full_width, "`half_width` is the ± part already; do not halve it"),
        Mistake(_times_n, "times √n_episodes, not times n_episodes"),
        Mistake(_variance, "the second value is a variance; take its square root"),
        Mistake(
            _one_query,
            "this is the spread of a single query; the variance of a mean of n_queries is divided "
            "by n_queries",
        ),
        Mistake(
            _all_queries,
            "this is the luck of all queries of all episodes together; s is of one episode, so "
            "look at the queries of one",
        ),
        Mistake(
            _in_percent,
            "these are points of 100; the arguments are fractions, and so are the results",
        ),
        Mistake(_exchanged, "first s, then the part of the queries"),
        Mistake(
            _unexplained,
            "the second value is what the queries do not explain; what they do is asked for, the "
            "binomial formula alone",
        ),
        Mistake(
            _share_of_it,
            "the second value is divided by s; the binomial formula alone is asked for",
        ),
        Mistake(
            _share_of_variance,
            "the second value is a share of s²; the binomial formula alone is asked for",
        ),
        Mistake(
            _right_only,
            "the variance of a coin is mean · (1 - mean): the second factor is missing",
        ),
        Mistake(
            _half_of_95,
            "both values are spreads, without the 1.96 of an interval; the second has it still",
        ),
        Mistake(_root_of_part, "n_queries stands under the root, too"),
        Mistake(
            _over_queries,
            "the interval is that of n_episodes scores, one for each episode; the queries are not "
            "counted again",
        ),
        Mistake(_five_way, "n_queries counts the queries of the whole episode, all classes"),
    ],
    hints=[
        "half_width = 1.96 · s / √n_episodes: solve it for s. The other one is given in the text: "
        "√(mean · (1 - mean) / n_queries).",
        "s = half_width · √n_episodes / 1.96.",
        "The arguments are fractions: 48.70 % is 0.487, ± 1.84 points are 0.0184.",
    ],
)


# --- two learners on the same episodes -------------------------------------------------------


def paired_difference(first: Tensor, second: Tensor) -> tuple[float, float]:
    """Mean of first - second, scores (n,) on the same episodes, and half of its 95 % interval."""
    difference = first - second
    half = 1.96 * difference.std() / math.sqrt(len(difference))
    return difference.mean().item(), half.item()


def _unpaired(first: Tensor, second: Tensor) -> Spreads:
    half = 1.96 * torch.sqrt((first.var() + second.var()) / len(first))
    return (first - second).mean().item(), half.item()


def _sum_of_halves(first: Tensor, second: Tensor) -> Spreads:
    half = 1.96 * (first.std() + second.std()) / math.sqrt(len(first))
    return (first - second).mean().item(), half.item()


def _difference_of_halves(first: Tensor, second: Tensor) -> Spreads:
    half = 1.96 * (first.std() - second.std()) / math.sqrt(len(first))
    return (first - second).mean().item(), half.item()


def _other_way_round(first: Tensor, second: Tensor) -> Spreads:
    return paired_difference(second, first)


def _absolute(first: Tensor, second: Tensor) -> Spreads:
    return paired_difference((first - second).abs(), torch.zeros_like(first))


def _biased(first: Tensor, second: Tensor) -> Spreads:
    mean, half = paired_difference(first, second)
    return mean, half * math.sqrt((len(first) - 1) / len(first))


def _standard_error(first: Tensor, second: Tensor) -> Spreads:
    mean, half = paired_difference(first, second)
    return mean, half / 1.96


def _whole_interval(first: Tensor, second: Tensor) -> Spreads:
    mean, half = paired_difference(first, second)
    return mean, 2 * half


def _no_root(first: Tensor, second: Tensor) -> Spreads:
    mean, half = paired_difference(first, second)
    return mean, half * math.sqrt(len(first))


def _by_n(first: Tensor, second: Tensor) -> Spreads:
    mean, half = paired_difference(first, second)
    return mean, half / math.sqrt(len(first))


def _variance_of_difference(first: Tensor, second: Tensor) -> Spreads:
    difference = first - second
    return difference.mean().item(), (1.96 * difference.var() / math.sqrt(len(first))).item()


def _two_ends(first: Tensor, second: Tensor) -> Spreads:
    mean, half = paired_difference(first, second)
    return mean - half, mean + half


def _twice_n(first: Tensor, second: Tensor) -> Spreads:
    mean, half = paired_difference(first, second)
    return mean, half / math.sqrt(2)


def _two_for_196(first: Tensor, second: Tensor) -> Spreads:
    mean, half = paired_difference(first, second)
    return mean, 2 * half / 1.96


def _each_episode(first: Tensor, second: Tensor) -> tuple[Tensor, float]:
    return first - second, paired_difference(first, second)[1]


def _draw_paired(generator: Generator) -> tuple[Tensor, Tensor]:
    n = draw_int(3, 40, generator)
    tasks = torch.rand(n, generator=generator, dtype=torch.float64)
    noise = torch.rand(2, n, generator=generator, dtype=torch.float64)
    first, second = 0.3 + 0.4 * tasks + 0.3 * noise
    return first, second - 0.1


_FIRST = torch.tensor([0.6, 0.8, 0.7, 0.9], dtype=torch.float64)
_SECOND = torch.tensor([0.5, 0.8, 0.5, 0.8], dtype=torch.float64)

PAIRED = Exercise(
    solution=paired_difference,
    lesson=2,
    aim="compare two learners on the same episodes",
    minutes=5,
    difficulty="easy",
    cases=[
        # differences 0.1, 0, 0.2, 0.1: squared deviations 0.02, over 3, root 0.081650
        Case((_FIRST, _SECOND), (0.1, 0.0800167)),
        Case((_SECOND, _SECOND), (0.0, 0.0)),
    ],
    draw=_draw_paired,
    mistakes=[
        Mistake(
            _unpaired,
            "this is the unpaired formula; it throws away that the episodes were the same. "
            "Subtract episode by episode, then take the spread",
        ),
        Mistake(_sum_of_halves, "two half-widths do not add; subtract first, then take the spread"),
        Mistake(
            _difference_of_halves,
            "the spread of a difference is not the difference of the spreads; subtract first",
        ),
        Mistake(_other_way_round, "first minus second, not second minus first"),
        Mistake(_absolute, "the sign counts: without it two equal learners seem to differ"),
        Mistake(_biased, "s of a sample is divided by n - 1, as `difference.std()` does"),
        Mistake(_standard_error, "the factor 1.96 of the 95 % interval is missing"),
        Mistake(_whole_interval, "this is the whole width; half of it is asked for"),
        Mistake(_no_root, "this is the spread of episodes; the mean of n of them has s / √n"),
        Mistake(_by_n, "divide s by √n, not by n"),
        Mistake(_variance_of_difference, "this uses the variance; take its root, `std`"),
        Mistake(_two_ends, "these are the two ends of the interval; its middle and half its width"),
        Mistake(_twice_n, "there are n differences, not 2 n"),
        Mistake(_two_for_196, "the factor is 1.96, not 2"),
        Mistake(_each_episode, "the first value is one difference an episode; take their mean"),
    ],
    hints=[
        "Subtract first, then treat the differences as you treated the four scores above.",
        "`difference = first - second` is `(n,)`; the half-width is 1.96 · s / √n of it.",
        "`.mean().item()` and `.item()` turn tensors of one value into floats.",
    ],
)


# --- find the bug: rounds over the same tasks ------------------------------------------------


def half_width_of_rounds(scores: Tensor) -> float:
    """Half of the 95 % interval of the mean of scores (n_rounds, n_tasks), the tasks the same."""
    of_tasks = scores.mean(dim=0)  # (n_tasks,)
    return (1.96 * of_tasks.std() / math.sqrt(len(of_tasks))).item()


def _pooled(scores: Tensor) -> float:
    return (1.96 * scores.std() / math.sqrt(scores.numel())).item()


def _between_rounds(scores: Tensor) -> float:
    means = scores.mean(dim=1)
    return (1.96 * means.std() / math.sqrt(len(means))).item()


def _pooled_spread(scores: Tensor) -> float:
    return (1.96 * scores.std() / math.sqrt(scores.shape[1])).item()


def _still_all(scores: Tensor) -> float:
    return (1.96 * scores.mean(dim=0).std() / math.sqrt(scores.numel())).item()


def _by_rounds(scores: Tensor) -> float:
    return (1.96 * scores.mean(dim=0).std() / math.sqrt(len(scores))).item()


def _first_round(scores: Tensor) -> float:
    return (1.96 * scores[0].std() / math.sqrt(scores.shape[1])).item()


def _not_196(scores: Tensor) -> float:
    return half_width_of_rounds(scores) / 1.96


def _n_in_std(scores: Tensor) -> float:
    n_tasks = scores.shape[1]
    return half_width_of_rounds(scores) * math.sqrt((n_tasks - 1) / n_tasks)


def _mean_of_rounds(scores: Tensor) -> float:
    return (1.96 * scores.std(dim=1).mean() / math.sqrt(scores.shape[1])).item()


def _mean_within_tasks(scores: Tensor) -> float:
    return (1.96 * scores.std(dim=0).mean() / math.sqrt(scores.shape[1])).item()


def _within_tasks(scores: Tensor) -> Tensor:
    return 1.96 * scores.std(dim=0) / math.sqrt(scores.shape[1])


def _variance_of_tasks(scores: Tensor) -> float:
    return (1.96 * scores.mean(dim=0).var() / math.sqrt(scores.shape[1])).item()


def _median_of_rounds(scores: Tensor) -> float:
    return half_width_of_rounds(scores.median(dim=0, keepdim=True).values)


def _draw_rounds(generator: Generator) -> tuple[Tensor]:
    n_rounds, n_tasks = draw_int(2, 7, generator), draw_int(8, 30, generator)
    tasks = torch.rand(n_tasks, generator=generator, dtype=torch.float64)
    noise = torch.rand(n_rounds, n_tasks, generator=generator, dtype=torch.float64)
    return (0.2 + 0.6 * tasks + 0.2 * noise,)


ROUNDS = Exercise(
    solution=half_width_of_rounds,
    buggy=_pooled,
    lesson=2,
    aim="find what makes an interval too narrow",
    minutes=10,
    difficulty="medium",
    cases=[
        # two equal rounds over tasks with 0.4 and 0.6: s = 0.141421, over the root of 2 tasks
        Case((torch.tensor([[0.4, 0.6], [0.4, 0.6]]),), 0.196),
        Case((torch.tensor([[0.5, 0.5], [0.7, 0.7], [0.3, 0.3]]),), 0.0),
        # means of the tasks 0.3, 0.6, 0.9: s = 0.3, over the root of 3
        Case((torch.tensor([[0.2, 0.5, 0.8], [0.4, 0.7, 1.0]]),), 0.339482),
        # means 0.4, 0.6, 0.5: s = 0.1, over the root of 3
        Case((torch.tensor([[0.1, 0.9, 0.5], [0.7, 0.3, 0.5]]),), 0.113161),
    ],
    draw=_draw_rounds,
    mistakes=[
        Mistake(
            _between_rounds,
            "this is the spread between rounds, which all have the same tasks; the question is "
            "what other tasks would give",
        ),
        Mistake(
            _pooled_spread,
            "n is right, but s still mixes rounds and tasks; take the mean of each task first",
        ),
        Mistake(_still_all, "the means of the tasks are right; how many of them are there?"),
        Mistake(_by_rounds, "n is the number of tasks, not of rounds; the rounds bring none"),
        Mistake(_first_round, "this uses one round only; the mean over rounds is what we report"),
        Mistake(_not_196, "the factor 1.96 of the 95 % interval is missing"),
        Mistake(_n_in_std, "s of a sample is divided by n - 1, as `std()` does"),
        Mistake(
            _mean_of_rounds,
            "this is the spread of one round, on average; the mean over rounds strays less, so "
            "take it first",
        ),
        Mistake(
            _mean_within_tasks,
            "this is the spread of the rounds within a task; take the mean over the rounds first, "
            "and then the spread of the tasks",
        ),
        Mistake(
            _within_tasks,
            "this is the spread of the rounds within each task; take the mean over the rounds "
            "first, and then the spread of the tasks",
        ),
        Mistake(_variance_of_tasks, "this uses the variance; take its root, `std`"),
        Mistake(_median_of_rounds, "we report the mean over the rounds, not the median"),
    ],
    hints=[
        "How many different tasks are there? Repeating them tells nothing about other tasks.",
        "Take the mean over the rounds, `(n_tasks,)`. These are independent.",
        "`scores.mean(dim=0)`, then 1.96 · s / √n_tasks as always.",
    ],
)


# --- find the bug: queries that inform each other --------------------------------------------


def normalise_queries(support_z: Tensor, query_z: Tensor) -> Tensor:
    """Queries (Q, d) in units of the support set (S, d): minus its mean, by its spread, by column.

    Each query is judged on its own. The spread is the root of the mean squared deviation + 1e-5.
    """
    mean = support_z.mean(dim=0)
    variance = support_z.var(dim=0, correction=0)
    return (query_z - mean) / (variance + 1e-5).sqrt()


def _by_queries(support_z: Tensor, query_z: Tensor) -> Tensor:
    mean = query_z.mean(dim=0)
    variance = query_z.var(dim=0, correction=0)
    return (query_z - mean) / (variance + 1e-5).sqrt()


def _by_both(support_z: Tensor, query_z: Tensor) -> Tensor:
    return normalise_queries(torch.cat([support_z, query_z]), query_z)


def _mean_of_queries(support_z: Tensor, query_z: Tensor) -> Tensor:
    variance = support_z.var(dim=0, correction=0)
    return (query_z - query_z.mean(dim=0)) / (variance + 1e-5).sqrt()


def _spread_of_queries(support_z: Tensor, query_z: Tensor) -> Tensor:
    variance = query_z.var(dim=0, correction=0)
    return (query_z - support_z.mean(dim=0)) / (variance + 1e-5).sqrt()


def _each_by_itself(support_z: Tensor, query_z: Tensor) -> Tensor:
    mean, variance = query_z.mean(dim=1), query_z.var(dim=1, correction=0)
    return (query_z - mean[:, None]) / (variance[:, None] + 1e-5).sqrt()


def _over_columns(support_z: Tensor, query_z: Tensor) -> Tensor:
    return (query_z - support_z.mean()) / (support_z.var(correction=0) + 1e-5).sqrt()


def _sample_spread(support_z: Tensor, query_z: Tensor) -> Tensor:
    return (query_z - support_z.mean(dim=0)) / (support_z.var(dim=0) + 1e-5).sqrt()


def _support_itself(support_z: Tensor, query_z: Tensor) -> Tensor:
    return normalise_queries(support_z, support_z)


def _no_root_of_variance(support_z: Tensor, query_z: Tensor) -> Tensor:
    return (query_z - support_z.mean(dim=0)) / (support_z.var(dim=0, correction=0) + 1e-5)


def _no_spread(support_z: Tensor, query_z: Tensor) -> Tensor:
    return query_z - support_z.mean(dim=0)


def _added_to_root(support_z: Tensor, query_z: Tensor) -> Tensor:
    return (query_z - support_z.mean(dim=0)) / (support_z.std(dim=0, correction=0) + 1e-5)


def _nothing_added(support_z: Tensor, query_z: Tensor) -> Tensor:
    return (query_z - support_z.mean(dim=0)) / support_z.std(dim=0, correction=0)


def _queries_about_support(support_z: Tensor, query_z: Tensor) -> Tensor:
    away = query_z - support_z.mean(dim=0)
    return away / (away.square().mean(dim=0) + 1e-5).sqrt()


def _draw_normalise(generator: Generator) -> tuple[Tensor, Tensor]:
    n_support, n_queries, d = (draw_int(2, 8, generator) for _ in range(3))
    shift = 3 * torch.rand(d + 1, generator=generator)
    support_z = shift + torch.randn(n_support + 2, d + 1, generator=generator)
    return support_z, 1 + 2 * torch.randn(n_queries, d + 1, generator=generator)


NORMALISE = Exercise(
    solution=normalise_queries,
    buggy=_by_queries,
    lesson=2,
    aim="find how queries inform each other",
    minutes=5,
    difficulty="easy",
    cases=[
        # columns of the support set: mean 1 and 0, spread 1 and 2
        Case(
            (torch.tensor([[0.0, 2.0], [2.0, -2.0]]), torch.tensor([[3.0, 1.0]])),
            torch.tensor([[1.99999, 0.499999]]),
        ),
        # one support item: the spread is the root of 0.00001, 0.0031623
        Case(
            (torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.01], [1.02, 2.0]])),
            torch.tensor([[0.0, 3.16228], [6.32456, 0.0]]),
        ),
    ],
    draw=_draw_normalise,
    mistakes=[
        Mistake(
            _by_both,
            "the queries still take part in the statistics, together with the support set; only "
            "the support set may",
        ),
        Mistake(_mean_of_queries, "the spread is that of the support set, the mean is not yet"),
        Mistake(_spread_of_queries, "the mean is that of the support set, the spread is not yet"),
        Mistake(
            _each_by_itself,
            "this takes mean and spread over the columns of one query; take them over the support "
            "items, dim=0",
        ),
        Mistake(_over_columns, "each column has a mean and a spread of its own; dim=0"),
        Mistake(_sample_spread, "the spread divides by n here, `correction=0`"),
        Mistake(_support_itself, "these are the support items; the queries are asked for"),
        Mistake(_no_root_of_variance, "this divides by the variance; divide by its root"),
        Mistake(_no_spread, "the mean is subtracted; the division by the spread is missing"),
        Mistake(
            _added_to_root,
            "1e-5 is added to the variance, under the root: with one support item that is the "
            "whole spread",
        ),
        Mistake(
            _nothing_added,
            "1e-5 is missing under the root: with one support item the spread would be 0",
        ),
        Mistake(
            _queries_about_support,
            "the mean is that of the support set, but the spread is still made of the queries",
        ),
    ],
    hints=[
        "Which lines look at more than one query? What else could they look at?",
        "Mean and variance of the support set do not change with the queries.",
    ],
)


# --- questions -------------------------------------------------------------------------------

EXERCISES: list[Exercise | Question] = [
    NEEDED,
    READ,
    PAIRED,
    ROUNDS,
    NORMALISE,
    Question(
        name="half_as_wide",
        lesson=2,
        aim="know the price of a narrow interval",
        minutes=1,
        difficulty="easy",
        text="An interval from 600 episodes is ± 0.8 points. You want ± 0.4. How many episodes?",
        options={
            "a": Option("850", "√2 times the episodes make the interval 1.19 times narrower."),
            "b": Option("1,200", "Twice the episodes make the interval √2 = 1.4 times narrower."),
            "c": Option("2,400", "The width goes with 1/√n: half of it needs four times n."),
            "d": Option("360,000", "600² would be far more than needed: the width goes with 1/√n."),
        },
        right="c",
    ),
    Question(
        name="no_spread_at_all",
        lesson=2,
        aim="find a bug from its symptom",
        minutes=3,
        difficulty="easy",
        text="`evaluate_thirty_times` finds an uncertainty of zero. Why?",
        options={
            "a": Option(
                "Every round scores the same twenty episodes.",
                "Seed 1 from episode 0 on, thirty times. The rule is deterministic, so all thirty "
                "means are equal. There are 20 independent scores, not 600.",
            ),
            "b": Option(
                "600 episodes are enough to remove all luck.",
                "The width goes with 1/√n; it never reaches zero. Ours for 600 is ± 0.7.",
            ),
            "c": Option(
                "The standard deviation is taken over the wrong axis.",
                "`means` has one axis only, the rounds. What is the same in all rounds?",
            ),
            "d": Option(
                "The learner has seen these episodes in training.",
                "The nearest-pixel rule was never trained. And a trained one would be too good, "
                "not too sure.",
            ),
        },
        right="a",
    ),
]
