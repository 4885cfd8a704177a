"""An ordinary classifier: trained on the classes of the data set, in use as its rule says."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from metalearn_edu.backbones import MLP, ConvNet
from metalearn_edu.learners import OrdinaryClassifier, PrototypicalNetwork
from metalearn_edu.learners.ordinary_classifier import logistic_weights
from metalearn_edu.tasks import Augmented, EpisodeSampler, load_glyphs
from metalearn_edu.training import meta_train

N_CLASSES = 890
RULES = ["nearest_mean", "cosine", "logistic", "ridge"]


@pytest.fixture(scope="module")
def glyphs():
    return load_glyphs("meta-train")


def make(rule="nearest_mean", n_classes=N_CLASSES, **options):
    torch.manual_seed(0)
    return OrdinaryClassifier(MLP(784, 16, 12), 12, n_classes, rule, **options).double()


def draw(glyphs, n_tasks=2, n_way=4, **options):
    tasks = EpisodeSampler(glyphs, n_way, 2, 3, **options).episodes(1, 0, n_tasks)
    return tasks.to(dtype=torch.float64)


# ------------------------------------------------------------------ training


def test_its_loss_is_that_of_a_plain_loop_over_pictures(glyphs):
    """One picture after the other, with the label that its row has in the data set."""
    learner, episodes = make(), draw(glyphs)
    losses = []
    for rows in (episodes.support_rows, episodes.query_rows):
        for row in rows.flatten().tolist():
            z = learner.encoder(glyphs.gather(torch.tensor([row])).double())
            scores = z @ learner.head.weight.T + learner.head.bias
            losses.append(scores.logsumexp(1) - scores[0, int(glyphs.labels[row])])
    torch.testing.assert_close(learner.loss(episodes), torch.stack(losses).mean())


def test_the_labels_within_an_episode_do_not_matter(glyphs):
    learner, episodes = make(), draw(glyphs)
    sides = {side: 3 - getattr(episodes, side) for side in ("support_y", "query_y")}
    other = replace(episodes, **sides, classes=episodes.classes.flip(1))
    torch.testing.assert_close(learner.loss(other), learner.loss(episodes))


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_does_not_matter_in_training(glyphs, rule):
    assert torch.equal(make(rule).loss(draw(glyphs)), make().loss(draw(glyphs)))


def test_turned_pictures_are_classes_of_their_own(glyphs):
    few = glyphs.subset(range(20))
    turned = draw(few, n_way=30, rotations=True)
    learner = make(n_classes=80)
    loss = learner.loss(turned)
    numbers = turned.classes.gather(1, turned.stream()[1])
    assert numbers.max() > 20
    scores = learner.head(learner.encoder(turned.stream()[0].flatten(0, 1)))
    right = scores.log_softmax(1)[torch.arange(len(scores)), numbers.flatten()]
    torch.testing.assert_close(loss, -right.mean())
    with pytest.raises(ValueError, match=r"n_classes is 20, .* classes \d+ to \d+ .* 4 for each"):
        make(n_classes=20).loss(turned)


def test_a_batch_that_does_not_name_its_classes_is_refused(glyphs):
    with pytest.raises(ValueError, match=r"`classes`, as those of EpisodeSampler"):
        make().loss(replace(draw(glyphs), classes=None))


def test_it_learns_its_classes_in_the_trainer_of_all_learners(glyphs):
    """Ten classes: a chance of 10 %, and more than half right after 60 small steps."""
    few = glyphs.subset(range(10))
    learner = make(n_classes=10).float()
    tasks = Augmented(EpisodeSampler(few, 10, 1, 3), 0.1)
    history = meta_train(learner, tasks, n_steps=60, n_tasks_per_batch=1, progress=False)
    assert history.losses[-1] < 0.7 * history.losses[0]
    with torch.no_grad():
        scores = learner.head(learner.encoder(few.gather(torch.arange(len(few)))))
    assert (scores.argmax(1) == few.labels).double().mean() > 0.5


# ------------------------------------------------------------------ use


@pytest.mark.parametrize("encoder", [MLP(784, 16, 12), ConvNet(width=8)])
def test_nearest_mean_is_what_a_prototypical_network_does(glyphs, encoder):
    width = encoder.output_dim
    learner = OrdinaryClassifier(encoder, width, N_CLASSES).double()
    network = PrototypicalNetwork(copy.deepcopy(encoder)).double()
    for task in draw(glyphs):
        predictors = [each.adapt(task.support_x, task.support_y) for each in (learner, network)]
        assert torch.equal(*(predictor(task.query_x) for predictor in predictors))


def test_cosine_by_hand(glyphs):
    learner, task = make("cosine"), draw(glyphs)[0]
    scores = learner.adapt(task.support_x, task.support_y)(task.query_x)
    support_z, query_z = learner.encoder(task.support_x), learner.encoder(task.query_x)
    cosines = torch.empty(len(query_z), 4, dtype=torch.float64)
    for i, z in enumerate(query_z):
        for label in range(4):
            mean = support_z[task.support_y == label].mean(dim=0)
            cosines[i, label] = z @ mean / (z.norm() * mean.norm())
    torch.testing.assert_close(scores, (cosines - 1) / 0.1)


def test_ridge_is_least_squares_with_extra_rows(glyphs):
    """|z W - Y|^2 / S + strength |W|^2 as one least-squares problem, solved by QR."""
    learner, task = make("ridge", strength=0.3), draw(glyphs)[0]
    scores = learner.adapt(task.support_x, task.support_y)(task.query_x)
    z = _length_1(learner.encoder(task.support_x))
    rows = torch.cat([z / len(z) ** 0.5, 0.3**0.5 * torch.eye(13, dtype=torch.float64)])
    labels = nn.functional.one_hot(task.support_y).double() / len(z) ** 0.5
    targets = torch.cat([labels, torch.zeros(13, 4, dtype=torch.float64)])
    weights = torch.linalg.lstsq(rows, targets).solution
    torch.testing.assert_close(scores, _length_1(learner.encoder(task.query_x)) @ weights)


def _length_1(z):
    z = z / z.square().sum(1, keepdim=True).sqrt()
    return torch.cat([z, torch.ones(len(z), 1, dtype=torch.float64)], dim=1)


@pytest.mark.parametrize("strength", [1e-3, 0.1, 10.0])
def test_logistic_regression_is_at_its_optimum(strength):
    """There the gradient of the penalised loss is 0; nearby it costs more. The loss is convex."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 9, 4, dtype=torch.float64, generator=generator)
    y = torch.arange(9) % 3
    one_hot = nn.functional.one_hot(y).double().expand(2, -1, -1)
    weights = logistic_weights(z, one_hot, strength).requires_grad_()
    loss = sum(
        nn.functional.cross_entropy(z_task @ w, y) + strength / 2 * w.square().sum()
        for z_task, w in zip(z, weights, strict=True)
    )
    (slope,) = torch.autograd.grad(loss, weights)
    assert slope.abs().max() < 1e-8


def test_tasks_of_unlike_difficulty_do_not_disturb_each_other():
    """The number of steps is that of the hardest; the others stay at their optimum."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 6, 4, dtype=torch.float64, generator=generator)
    z[1] *= 30
    one_hot = nn.functional.one_hot(torch.arange(6) % 2).double().expand(2, -1, -1)
    together = logistic_weights(z, one_hot, 0.1)
    alone = torch.cat([logistic_weights(z[t : t + 1], one_hot[:1], 0.1) for t in range(2)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-8)


@pytest.mark.parametrize("rule", RULES)
def test_a_query_counts_alone_and_any_number_of_ways_will_do(glyphs, rule):
    learner = make(rule)
    for n_way in (2, 30):
        task = draw(glyphs, 1, n_way)[0]
        predictor = learner.adapt(task.support_x, task.support_y)
        scores = predictor(task.query_x)
        assert scores.shape == (3 * n_way, n_way)
        torch.testing.assert_close(predictor(task.query_x[:1]), scores[:1])


def test_another_rule_on_the_same_network(glyphs):
    learner, task = make(), draw(glyphs)[0]
    predictor = learner.adapt(task.support_x, task.support_y)
    before = predictor(task.query_x)
    other = learner.with_rule("ridge", 0.2)
    assert other.encoder is learner.encoder and other.head is learner.head
    scores = [each.adapt(task.support_x, task.support_y)(task.query_x) for each in (other, learner)]
    assert torch.equal(scores[1], before) and torch.equal(predictor(task.query_x), before)
    fresh = make("ridge", strength=0.2).adapt(task.support_x, task.support_y)
    assert torch.equal(scores[0], fresh(task.query_x))
    with pytest.raises(AttributeError):
        learner.rule = "ridge"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rule": "nearest"}, "rule must be one of nearest_mean, cosine, logistic, ridge"),
        ({"n_classes": 1}, "n_classes must be an integer of at least 2, got 1"),
        ({"embedding_dim": 0}, "embedding_dim must be an integer of at least 1"),
        ({"strength": 0.0}, "strength must be .*above 0"),
        ({"encoder": 3}, "encoder must be"),
    ],
)
def test_bad_settings_are_refused(change, says):
    settings = {"encoder": MLP(4, 3, 2), "embedding_dim": 2, "n_classes": 9} | change
    with pytest.raises(ValueError, match=says):
        OrdinaryClassifier(**settings)


def test_a_wrong_width_is_refused_with_numbers(glyphs):
    learner = OrdinaryClassifier(MLP(784, 8, 5), 6, N_CLASSES).double()
    with pytest.raises(ValueError, match=r"embedding_dim is 6, .* \(1, 28, 28\) .* 5 numbers"):
        learner.loss(draw(glyphs))
