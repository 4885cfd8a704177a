"""Streams scored by hand, and what their best score can be."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from metalearn_edu.learners import MANN, LSTMController
from metalearn_edu.streams import evaluate_streams, first_instance_ceiling, instance_numbers
from metalearn_edu.tasks import Streams
from tests.test_evaluation import Nearest, tasks_of


class Recalls(MANN):
    """Gives the label of the nearest item that has come, or 0: a memory without training."""

    def __init__(self, n_way):
        super().__init__(None, LSTMController(2 + n_way, 1), n_way)

    def stream(self, x, y):
        scores = F.one_hot(torch.zeros_like(y), self.n_way).double()
        for task in range(len(x)):
            for t in range(1, x.shape[1]):
                nearest = (x[task, :t] - x[task, t]).square().sum(dim=1).argmin()
                scores[task, t] = F.one_hot(y[task, nearest], self.n_way)
        return scores


def streams_of(spread, n_way=3, n_instances=4):
    return Streams(tasks_of(spread).dataset, n_way, n_instances)


def test_instance_numbers_by_hand():
    y = torch.tensor([[2, 0, 2, 2, 0, 1], [0, 0, 0, 1, 1, 2]])
    assert instance_numbers(y).tolist() == [[1, 1, 2, 3, 2, 1], [1, 2, 3, 1, 2, 1]]


def test_streams_are_scored_by_instance_by_hand():
    streams = streams_of(0.8)
    results = evaluate_streams(Recalls(3), streams, n_episodes=30, seed=5)
    assert sorted(results) == [1, 2, 3, 4]
    by_hand = {k: [] for k in results}
    for i in range(30):
        x, y = (part[0] for part in streams.episodes(5, i, 1).stream())
        seen, right = [0, 0, 0], {k: [] for k in results}
        for t in range(12):
            distances = [math.dist(x[t], x[s]) for s in range(t)]
            answer = int(y[np.argmin(distances)]) if t else 0
            seen[y[t]] += 1
            right[seen[y[t]]].append(answer == y[t].item())
        for k in results:
            by_hand[k].append(np.mean(right[k]))
    for k, result in results.items():
        assert result.values.tolist() == pytest.approx(by_hand[k])
        assert result.chance == pytest.approx(1 / 3) and result.transductive is False
    assert len(set(by_hand[2])) > 2


def test_a_perfect_recall_is_perfect_from_the_second_instance_on():
    results = evaluate_streams(Recalls(3), streams_of(0.0), n_episodes=50)
    assert [results[k].mean for k in (2, 3, 4)] == [1, 1, 1]
    assert results[1].mean < first_instance_ceiling(3)


@pytest.mark.parametrize("chunk_size", [1, 7, 100])
def test_chunks_do_not_change_the_scores_of_streams(chunk_size):
    options = {"n_episodes": 20, "seed": 1}
    whole = evaluate_streams(Recalls(3), streams_of(0.8), **options)
    parts = evaluate_streams(Recalls(3), streams_of(0.8), **options, chunk_size=chunk_size)
    assert all(torch.equal(whole[k].values, parts[k].values) for k in whole)


def test_streams_leave_the_mode_and_refuse_other_learners():
    learner = Recalls(3).train()
    evaluate_streams(learner, streams_of(0.8), n_episodes=2)
    assert learner.training
    with pytest.raises(ValueError, match=r"streams need a MANN, .* got Nearest"):
        evaluate_streams(Nearest(), streams_of(0.8), n_episodes=2)
    with pytest.raises(ValueError, match="n_episodes must be an integer of at least 2"):
        evaluate_streams(learner, streams_of(0.8), n_episodes=1)


def test_a_learner_says_itself_that_it_reads_streams():
    class Guesses(Nearest):
        reads_streams = True

        def stream(self, x, y):
            return F.one_hot(y, 3).double()

    results = evaluate_streams(Guesses(), streams_of(0.8), n_episodes=2)
    assert [result.mean for result in results.values()] == [1.0] * 4


@pytest.mark.parametrize(("n_way", "ceiling"), [(2, 3 / 4), (3, 11 / 18), (5, 137 / 300)])
def test_first_instance_ceiling_as_a_fraction(n_way, ceiling):
    assert first_instance_ceiling(n_way) == pytest.approx(ceiling)


@pytest.mark.parametrize("tasks", [None, tasks_of(0.5), tasks_of(0.5).episodes(0, 0, 2)])
def test_what_are_no_streams_is_refused(tasks):
    with pytest.raises(ValueError, match="tasks must be Streams, got"):
        evaluate_streams(Recalls(3), tasks)


@pytest.mark.parametrize("n_way", [0, 2.0, None, float("nan"), 10**9])
def test_a_ceiling_of_no_number_of_ways_is_refused(n_way):
    with pytest.raises(ValueError, match="n_way must be an integer"):
        first_instance_ceiling(n_way)


@pytest.mark.parametrize("y", [None, [0, 1], [[0.5, 1.0]], torch.zeros(2, 2, 2).long(), "x"])
def test_instances_of_no_labels_are_refused(y):
    with pytest.raises(ValueError, match="y must be"):
        instance_numbers(y)


def test_instances_of_any_labels_are_counted():
    y = np.array([[10**12, -3, 10**12]], dtype=np.int64)
    assert instance_numbers(y).tolist() == [[1, 1, 2]]
