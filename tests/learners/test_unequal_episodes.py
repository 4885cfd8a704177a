"""Every learner takes tasks whose classes have unequal numbers of items, each in its own way."""

import math

import pytest
import torch

from metalearn_edu.evaluation import score_one_shot_runs
from metalearn_edu.tasks import EpisodeBatch
from tests.learners.test_contract import LEARNERS, every_classifier, fresh


def unequal(item):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 9, *item, dtype=torch.float64, generator=generator)
    support_y = torch.tensor([[0, 1, 2, 2, 0], [2, 1, 1, 0, 1]])
    query_y = torch.tensor([[0, 0, 1, 2], [1, 1, 1, 1]])
    return EpisodeBatch(x[:, :5], support_y, x[:, 5:], query_y)


@every_classifier
def test_unequal_tasks_are_scored_as_each_alone(entry):
    learner, batch = fresh(entry).eval(), unequal(entry.item)
    together = learner(batch.support_x, batch.support_y, batch.query_x)
    for scores, task in zip(together, batch, strict=True):
        alone = learner.adapt(task.support_x, task.support_y)(task.query_x)
        torch.testing.assert_close(scores, alone, rtol=1e-9, atol=1e-9)
    right = (together.argmax(dim=2) == batch.query_y).double().mean(dim=1)
    torch.testing.assert_close(score_one_shot_runs(learner, batch).values, 1 - right)


@pytest.mark.parametrize("name", ["ProtoNet", "RelationNetwork", "MAML", "MANN"])
def test_unequal_tasks_train_a_learner(name):
    learner = fresh(LEARNERS[name])
    assert math.isfinite(learner.outer_loop(unequal(LEARNERS[name].item)))
