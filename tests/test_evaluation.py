import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from metalearn_edu import evaluation
from metalearn_edu.evaluation import (
    TEST_SEED,
    Comparison,
    Evaluation,
    compare_meta_learners,
    evaluate_meta_learner,
    score_episodes,
    score_one_shot_runs,
)
from metalearn_edu.learners import EnhancedProtoNet, MetaLearner
from metalearn_edu.tasks import EpisodeBatch, EpisodeSampler, FewShotDataset, Sinusoids
from metalearn_edu.tasks.episodes import count_classes

# ---------------------------------------------------------------- learners of known accuracy


class Constant(MetaLearner):
    """The same score for every class: it answers label 0."""

    def learn_task(self, support_x, support_y):
        return count_classes(support_y)

    def predict(self, state, query_x):
        return query_x.new_zeros(*query_x.shape[:2], state)


class Nearest(MetaLearner):
    """The label of the nearest support item; no parameters."""

    def learn_task(self, support_x, support_y):
        return support_x

    def predict(self, state, query_x):
        return -(query_x[:, :, None] - state[:, None]).square().sum(dim=-1)


class Diverged(Nearest):
    """Scores that are not numbers for queries above 0 in their first feature."""

    def predict(self, state, query_x):
        return super().predict(state, query_x).where(query_x[..., :1] <= 0, float("nan"))


class Zero(MetaLearner):
    """Regression: always 0."""

    def learn_task(self, support_x, support_y):
        return support_y.shape[-1]

    def predict(self, state, query_x):
        return query_x.new_zeros(*query_x.shape[:2], state)


def tasks_of(spread: float, n_way=3, n_query=4) -> EpisodeSampler:
    """Classes at random places in the plane; items lie around them."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(20, 1, 2, generator=generator)
    items = centres + spread * torch.randn(20, 8, 2, generator=generator)
    labels = torch.arange(20).repeat_interleave(8)
    return EpisodeSampler(FewShotDataset(items.flatten(0, 1), labels), n_way, 1, n_query)


# ---------------------------------------------------------------- one evaluation


def test_perfect_and_constant_learners():
    perfect = evaluate_meta_learner(Nearest(), tasks_of(0.0), n_episodes=50)
    assert (perfect.mean, perfect.std, perfect.half_width) == (1.0, 0.0, 0.0)
    constant = evaluate_meta_learner(Constant(), tasks_of(1.0), n_episodes=50)
    assert constant.mean == pytest.approx(1 / 3) == constant.chance


def test_figures_are_those_of_the_values():
    result = evaluate_meta_learner(Nearest(), tasks_of(0.5), n_episodes=70, seed=3)
    by_hand = []
    for i in range(70):
        (task,) = tasks_of(0.5).episodes(3, i, 1)
        nearest = torch.cdist(task.query_x, task.support_x).argmin(dim=1)
        by_hand.append((nearest == task.query_y).double().mean().item())
    assert result.values.tolist() == by_hand
    assert (result.n_episodes, len(set(by_hand)) > 3) == (70, True)
    assert result.mean == pytest.approx(np.mean(by_hand))
    assert result.std == pytest.approx(np.std(by_hand, ddof=1))
    half = 1.96 * np.std(by_hand, ddof=1) / math.sqrt(70)
    assert result.interval == pytest.approx((np.mean(by_hand) - half, np.mean(by_hand) + half))
    assert result.values.dtype == torch.float64


@pytest.mark.parametrize("chunk_size", [1, 7, 70, 1000])
def test_chunks_do_not_change_the_result(chunk_size):
    options = {"n_episodes": 70, "seed": 3}
    whole = evaluate_meta_learner(Nearest(), tasks_of(0.5), **options)
    chunked = evaluate_meta_learner(Nearest(), tasks_of(0.5), **options, chunk_size=chunk_size)
    assert torch.equal(chunked.values, whole.values)


class Wide(Nearest):
    """Computes `width` numbers a task on the way; remembers how many tasks it was given at once."""

    def __init__(self, width):
        super().__init__()
        self.width, self.seen = width, []

    def learn_task(self, support_x, support_y):
        self.seen.append(len(support_x))
        return support_x + support_x.new_ones(len(support_x), self.width).mean() - 1


def test_chunks_shrink_with_the_work_of_a_task(monkeypatch):
    monkeypatch.setattr(evaluation, "WORK", 2**22)
    options = {"n_episodes": 70, "seed": 3}
    small, large, huge = Wide(10), Wide(2**16), Wide(2**20)  # floats of 4 bytes
    results = [evaluate_meta_learner(w, tasks_of(0.5), **options) for w in (small, large, huge)]
    assert small.seen == [1, 70]  # one to see how much it computes
    assert large.seen == [1, 15, 15, 15, 15, 10]
    assert huge.seen == [1] * 71
    assert all(torch.equal(result.values, results[0].values) for result in results)


def test_the_episodes_are_fixed_by_the_seed():
    learner, tasks = Nearest(), tasks_of(0.5)
    default = evaluate_meta_learner(learner, tasks, n_episodes=40)
    assert default.seed == TEST_SEED
    again = evaluate_meta_learner(learner, tasks, n_episodes=40, seed=TEST_SEED)
    assert torch.equal(default.values, again.values)
    longer = evaluate_meta_learner(learner, tasks, n_episodes=60)
    assert torch.equal(longer.values[:40], default.values)
    other = evaluate_meta_learner(learner, tasks, n_episodes=40, seed=1)
    assert not torch.equal(other.values, default.values)


def test_intervals_cover_the_truth_as_often_as_they_say():
    # Items of pure noise: whatever the learner does, its true accuracy is chance.
    noise = FewShotDataset(torch.randn(4000, 2), torch.arange(4000) // 4)
    tasks, covered = EpisodeSampler(noise, 2, 1, 3), 0
    for seed in range(200):
        low, high = evaluate_meta_learner(
            Nearest(), tasks, n_episodes=60, seed=seed, chunk_size=60
        ).interval
        covered += low <= 0.5 <= high
    assert abs(covered / 200 - 0.95) < 4 * (0.95 * 0.05 / 200) ** 0.5


def test_squared_error_of_regression():
    tasks = Sinusoids(3, 5)
    result = evaluate_meta_learner(Zero(), tasks, n_episodes=30, seed=2)
    expected = tasks.episodes(2, 0, 30).query_y.double().square().mean(dim=(1, 2))
    torch.testing.assert_close(result.values, expected)
    assert (result.metric, result.chance) == ("mse", None)
    assert str(result).startswith(
        f"mse {result.mean:.3f} +- {result.half_width:.3f} (95 % interval"
    )


def test_str_says_what_an_honest_figure_needs():
    result = evaluate_meta_learner(Constant(), tasks_of(1.0), n_episodes=50)
    assert (
        str(result)
        == repr(result)
        == (
            "33.3 % +- 0.0 (95 % interval over 50 episodes, chance 33.3 %; "
            "EpisodeSampler(data, 20 classes: 3-way 1-shot, 4 queries per class))"
        )
    )


# ---------------------------------------------------------------- the learner is left as it was


def mixed_modes() -> EnhancedProtoNet:
    learner = EnhancedProtoNet(2, 8, 4)
    learner.encoder.add_module("frozen", nn.Dropout(0.9).eval())
    return learner.train(True)


def modes(learner) -> list[bool]:
    return [module.training for module in learner.modules()]


def test_every_module_gets_its_own_mode_back():
    learner = mixed_modes()
    next(iter(learner.encoder.children())).eval()
    before = modes(learner)
    assert len(set(before)) == 2
    seen = []
    learner.encoder.register_forward_pre_hook(lambda *_: seen.append(modes(learner)))
    evaluate_meta_learner(learner, tasks_of(0.5), n_episodes=4)
    assert modes(learner) == before
    assert not any(any(during) for during in seen)


def test_modes_come_back_after_an_error_too():
    learner = EnhancedProtoNet(3, 8, 4)  # expects three features, the tasks have two
    with pytest.raises((RuntimeError, ValueError)):
        evaluate_meta_learner(learner, tasks_of(0.5), n_episodes=4)
    assert all(modes(learner))


def test_weights_and_gradients_are_untouched():
    learner = EnhancedProtoNet(2, 8, 4)
    before = {name: t.clone() for name, t in learner.state_dict().items()}
    result = evaluate_meta_learner(learner, tasks_of(0.5), n_episodes=4)
    assert not result.values.requires_grad
    assert all(p.grad is None for p in learner.parameters())
    assert all(torch.equal(before[name], t) for name, t in learner.state_dict().items())


def test_the_learner_s_precision_decides():
    result = evaluate_meta_learner(EnhancedProtoNet(2, 8, 4).double(), tasks_of(0.5), n_episodes=4)
    assert result.n_episodes == 4


# ---------------------------------------------------------------- scores that mean nothing


def test_a_query_without_an_answer_is_wrong():
    plain = evaluate_meta_learner(Nearest(), tasks_of(0.1), n_episodes=60)
    diverged = evaluate_meta_learner(Diverged(), tasks_of(0.1), n_episodes=60)
    above = torch.cat([e.query_x for e in [tasks_of(0.1).episodes(TEST_SEED, 0, 60)]])[..., 0] > 0
    assert plain.mean > 0.9
    assert (diverged.values <= 1 - above.double().mean(dim=1) + 1e-12).all()
    assert diverged.mean < plain.mean
    assert (plain.n_lost, diverged.n_lost) == (0, int((above.any(dim=1)).sum()))
    assert f"60 episodes, {diverged.n_lost} of them with scores that are not finite, ch" in str(
        diverged
    )
    assert "finite" not in str(plain)


class Lost(Nearest):
    """No score is a number."""

    def predict(self, state, query_x):
        return super().predict(state, query_x) * float("nan")


class LostAtTimes(Zero):
    """Regression: infinite where the first query lies above `low`."""

    def __init__(self, low=0.0):
        super().__init__()
        self.low = low

    def predict(self, state, query_x):
        answers = super().predict(state, query_x)
        return answers.where(query_x[:, :1] <= self.low, float("inf"))


def test_no_finite_score_at_all_is_no_result():
    with pytest.raises(FloatingPointError, match="in none of 4 episodes is a score finite"):
        evaluate_meta_learner(Lost(), tasks_of(0.1), n_episodes=4)
    with pytest.raises(FloatingPointError, match="in none of 2 episodes"):
        score_one_shot_runs(Lost(), tasks_of(0.1).episodes(0, 0, 2))
    with pytest.raises(FloatingPointError, match="in none of 3 episodes"):
        evaluate_meta_learner(LostAtTimes(low=-9), Sinusoids(3, 5), n_episodes=3)


def test_a_squared_error_that_is_not_finite_is_counted_and_said():
    tasks = Sinusoids(3, 5)
    lost = tasks.episodes(0, 0, 30).query_x[:, 0, 0] > 0
    assert 0 < lost.sum() < 30
    result = evaluate_meta_learner(LostAtTimes(), tasks, n_episodes=30, seed=0)
    assert torch.equal(result.values.isinf(), lost)
    assert result.n_lost == int(lost.sum()) and not math.isfinite(result.mean)
    assert str(result).startswith("mse inf +- nan")
    assert f"{result.n_lost} of them with scores that are not finite" in str(result)


class WithoutFloat64(TorchDispatchMode):
    """A device that has no float64, as Apple's: whatever gives such a tensor fails."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
        if any(t.dtype == torch.float64 for t in tensors):
            raise TypeError(f"{func}: no float64 here")
        return result


def test_no_float64_is_asked_of_the_learner_s_device():
    classifier, waves = EnhancedProtoNet(2, 8, 4), Sinusoids(3, 5).episodes(0, 0, 4)
    with WithoutFloat64():
        result = evaluate_meta_learner(classifier, tasks_of(0.5), n_episodes=6)
        errors = score_episodes(torch.zeros(4, 5, 1), waves)
    assert result.values.dtype == errors.dtype == torch.float64


def test_half_precision_is_scored_in_full():
    batch = Sinusoids(3, 5).episodes(0, 0, 4)
    half = batch.query_y.to(torch.bfloat16)
    errors = score_episodes(half, batch.to(dtype=torch.bfloat16))
    assert errors.tolist() == [0.0] * 4


@pytest.mark.parametrize("learner", [None, Nearest, "maml", torch.nn.Linear(2, 2)])
def test_what_is_no_learner_is_refused(learner):
    with pytest.raises(ValueError, match="learner must be a MetaLearner, got"):
        evaluate_meta_learner(learner, tasks_of(0.5))
    with pytest.raises(ValueError, match="second must be a MetaLearner, got"):
        compare_meta_learners(Nearest(), learner, tasks_of(0.5))
    with pytest.raises(ValueError, match="learner must be a MetaLearner, got"):
        score_one_shot_runs(learner, tasks_of(0.5).episodes(0, 0, 2))


@pytest.mark.parametrize("runs", [None, tasks_of(0.5), Sinusoids(2, 2).episodes(0, 0, 2)])
def test_what_are_no_runs_is_refused(runs):
    with pytest.raises(ValueError, match=r"runs must be classification tasks .* got"):
        score_one_shot_runs(Nearest(), runs)


def test_all_not_a_number_is_zero_and_not_chance():
    batch = tasks_of(0.5).episodes(0, 0, 5)
    nothing = torch.full((5, 12, 3), float("nan"))
    assert score_episodes(nothing, batch).tolist() == [0.0] * 5


@pytest.mark.parametrize("shape", [(5, 12), (5, 12, 4), (5, 4, 3), (4, 12, 3)])
def test_scores_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"scores must be \(5, 12, 3\), got"):
        score_episodes(torch.zeros(shape), tasks_of(0.5).episodes(0, 0, 5))


def test_regression_scores_may_not_broadcast():
    batch = Sinusoids(3, 5).episodes(0, 0, 2)
    with pytest.raises(ValueError, match=r"scores must be \(2, 5, 1\), got \(2, 5\)"):
        score_episodes(torch.zeros(2, 5), batch)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n_episodes": 1}, "n_episodes must be an integer of at least 2, got 1"),
        ({"n_episodes": 10.0}, "n_episodes must be an integer of at least 2, got 10.0"),
        ({"chunk_size": 0}, "chunk_size must be an integer of at least 1, got 0"),
        ({"seed": "0"}, "seed must be an integer, got '0'"),
    ],
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate_meta_learner(Nearest(), tasks_of(0.5), **arguments)


def test_a_fixed_batch_is_no_source_of_fresh_episodes():
    batch = tasks_of(0.5).episodes(0, 0, 5)
    assert isinstance(batch, EpisodeBatch)
    with pytest.raises(
        ValueError, match=r"tasks must be a source of fresh episodes, .*EpisodeBatch"
    ):
        evaluate_meta_learner(Nearest(), batch)


def test_numpy_integers_are_welcome():
    result = evaluate_meta_learner(
        Nearest(), tasks_of(0.5), n_episodes=np.int64(4), chunk_size=np.int32(3), seed=np.int64(1)
    )
    assert result.n_episodes == 4


# ---------------------------------------------------------------- two learners


def test_a_comparison_is_paired():
    options = {"n_episodes": 100, "seed": 5}
    result = compare_meta_learners(Nearest(), Constant(), tasks_of(0.5), **options)
    assert isinstance(result, Comparison)
    nearest = evaluate_meta_learner(Nearest(), tasks_of(0.5), **options)
    constant = evaluate_meta_learner(Constant(), tasks_of(0.5), **options)
    differences = nearest.values - constant.values
    assert torch.equal(result.difference.values, differences)
    assert result.difference.mean == pytest.approx(nearest.mean - constant.mean)
    assert result.difference.std == pytest.approx(differences.std().item())
    assert result.is_real
    assert str(result).endswith("the interval excludes 0")


def test_pairing_narrows_the_interval():
    # Two learners that nearly agree: the episodes' own difficulty cancels out.
    tasks, options = tasks_of(1.0), {"n_episodes": 300}
    result = compare_meta_learners(Nearest(), Diverged(), tasks_of(1.0), **options)
    self_comparison = compare_meta_learners(Nearest(), Nearest(), tasks, **options)
    assert self_comparison.difference.half_width == 0 and not self_comparison.is_real
    assert str(self_comparison).endswith("the interval includes 0")
    apart = math.hypot(result.first.half_width, result.second.half_width)
    covariance = torch.cov(torch.stack([result.first.values, result.second.values]))[0, 1].item()
    together = result.difference.half_width
    assert together**2 == pytest.approx(apart**2 - 2 * covariance * 1.96**2 / 300, rel=1e-6)


def test_a_difference_is_in_percentage_points():
    values = torch.tensor([0.2, 0.4, 0.3], dtype=torch.float64)
    first = Evaluation(values, "accuracy", 0.2, 0, "tasks")
    second = Evaluation(values - torch.tensor([0.1, 0.2, 0.0]), "accuracy", 0.2, 0, "tasks")
    text = str(Comparison(first, second))
    assert text.startswith(
        "first minus second: 10.0 +- 11.3 percentage points (95 % interval over 3"
    )
