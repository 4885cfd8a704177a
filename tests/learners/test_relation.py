"""Relation Networks against plain loops over pairs, closed forms, and the claims of the paper."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from metalearn_edu.learners import PrototypicalNetwork, RelationNetwork
from metalearn_edu.learners.relation import SpatialRelation, VectorRelation, relation_mse
from metalearn_edu.tasks import EpisodeBatch

T, N_WAY, N_SHOT, N_QUERY, D = 2, 3, 2, 4, 5


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


SUPPORT_X, QUERY_X = draw(T, N_WAY * N_SHOT, D), draw(T, N_QUERY, D, seed=1)
SUPPORT_Y = draw(T, N_WAY * N_SHOT, seed=2).argsort(dim=1) % N_WAY  # each label N_SHOT times
UNEQUAL_Y = torch.tensor([[0, 0, 0, 1, 2, 2], [2, 1, 1, 1, 1, 0]])


def seeded(make, dtype=torch.float64):
    torch.manual_seed(0)
    return make().to(dtype)


def vector(**options):
    return seeded(lambda: RelationNetwork(D, 7, **options))


def spatial(width=4, size=16, **options):
    return seeded(lambda: RelationNetwork.convolutional(1, width, image_size=size, **options))


def close(first, second, atol=1e-12):
    torch.testing.assert_close(first, second, rtol=0, atol=atol)


def class_features(z, labels, aggregate):
    """A list with one feature a class, found with a loop over the items of one task."""
    features = []
    for label in range(N_WAY):
        members = [item for item, y in zip(z, labels.tolist(), strict=True) if y == label]
        total = sum(members[1:], members[0])
        features.append(total if aggregate == "sum" else total / len(members))
    return features


def joined(pair):
    """The weights of a pair layer as the one layer on concatenated inputs; the class first."""
    return torch.cat([pair.weight_a, pair.weight_b], dim=1)


def vector_pair(relation, class_z, query_z):
    hidden = joined(relation.pair) @ torch.cat([class_z, query_z]) + relation.pair.bias
    return relation.score(hidden.clamp(min=0))[0]


def spatial_pair(relation, class_z, query_z):
    maps = torch.cat([class_z, query_z])[None]  # (1, 2C, H, W)
    maps = F.conv2d(maps, joined(relation.pair), relation.pair.bias, padding=1)
    return relation.score(relation.block(maps))[0, 0]


def by_loops(learner, pair_logit, support_x, support_y, query_x):
    """Logits (T, Q, n_way), one pair at a time with torch.cat: the paper read aloud."""
    logits = torch.zeros(len(query_x), query_x.shape[1], N_WAY, dtype=query_x.dtype)
    for t in range(len(query_x)):
        classes = class_features(learner.encoder(support_x[t]), support_y[t], learner.aggregate)
        for q, query_z in enumerate(learner.encoder(query_x[t])):
            for k, class_z in enumerate(classes):
                logits[t, q, k] = pair_logit(learner.relation, class_z, query_z)
    return logits


@pytest.mark.parametrize("labels", [SUPPORT_Y, UNEQUAL_Y], ids=["equal shots", "unequal shots"])
@pytest.mark.parametrize("aggregate", ["sum", "mean"])
def test_vector_form_is_the_loop_over_concatenated_pairs(aggregate, labels):
    learner = vector(aggregate=aggregate)
    logits = by_loops(learner, vector_pair, SUPPORT_X, labels, QUERY_X)
    close(learner(SUPPORT_X, labels, QUERY_X), torch.sigmoid(logits))


@pytest.mark.parametrize("aggregate", ["sum", "mean"])
def test_spatial_form_is_the_loop_over_concatenated_pairs(aggregate):
    learner = spatial(aggregate=aggregate, objective="cross_entropy")
    support_x, query_x = draw(T, 6, 1, 16, 16), draw(T, 2, 1, 16, 16, seed=1)
    logits = by_loops(learner, spatial_pair, support_x, UNEQUAL_Y, query_x)
    close(learner(support_x, UNEQUAL_Y, query_x), logits)


def test_a_relation_module_can_be_the_manhattan_distance():
    """relu(x) + relu(-x) = |x|, so that four hidden units and -1 weights give -|a - b|."""
    relation = VectorRelation(2, 4)
    signs = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    weights = {"pair.weight_a": signs, "pair.weight_b": -signs, "pair.bias": torch.zeros(4)}
    weights |= {"score.weight": -torch.ones(1, 4), "score.bias": torch.zeros(1)}
    relation.load_state_dict(weights)
    learner = RelationNetwork(
        encoder=nn.Identity(), relation=relation, aggregate="mean", objective="cross_entropy"
    )
    support_x = torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 4.0]])
    predictor = learner.adapt(support_x, torch.tensor([0, 0, 1]))
    assert predictor(torch.tensor([[2.0, 3.0], [4.0, 4.0]])).tolist() == [[-3, -3], [-6, 0]]


def test_sum_and_mean_agree_for_one_shot_and_differ_for_two():
    total, mean = vector(aggregate="sum"), vector(aggregate="mean")
    one_each = torch.arange(N_WAY).expand(T, N_WAY)
    close(*(n(SUPPORT_X[:, :N_WAY], one_each, QUERY_X) for n in (total, mean)))
    gap = total(SUPPORT_X, SUPPORT_Y, QUERY_X) - mean(SUPPORT_X, SUPPORT_Y, QUERY_X)
    assert gap.abs().max() > 1e-3


@pytest.mark.parametrize("aggregate", ["sum", "mean"])
def test_what_a_duplicated_support_set_does(aggregate):
    learner = vector(aggregate=aggregate)
    once = learner.learn_task(SUPPORT_X, UNEQUAL_Y)
    twice = learner.learn_task(SUPPORT_X.repeat(1, 2, 1), UNEQUAL_Y.repeat(1, 2))
    close(twice, (2 if aggregate == "sum" else 1) * once)


def test_scores_lie_between_0_and_1_and_do_not_sum_to_1():
    scores = vector()(SUPPORT_X, SUPPORT_Y, QUERY_X)
    assert scores.min() > 0 and scores.max() < 1
    assert (scores.sum(dim=-1) - 1).abs().min() > 1e-2


def test_cross_entropy_reads_the_logits_of_the_same_network():
    scores = vector()(SUPPORT_X, SUPPORT_Y, QUERY_X)
    logits = vector(objective="cross_entropy")(SUPPORT_X, SUPPORT_Y, QUERY_X)
    close(torch.sigmoid(logits), scores)
    assert logits.min() < 0


@pytest.mark.parametrize("aggregate", ["sum", "mean"])
def test_order_inside_the_support_set_does_not_matter(aggregate):
    learner, order = vector(aggregate=aggregate), torch.tensor([4, 0, 5, 2, 1, 3])
    shuffled = learner(SUPPORT_X[:, order], UNEQUAL_Y[:, order], QUERY_X)
    close(shuffled, learner(SUPPORT_X, UNEQUAL_Y, QUERY_X))


def test_swapping_two_classes_swaps_their_columns():
    swap = torch.tensor([0, 2, 1])
    swapped = vector()(SUPPORT_X, swap[UNEQUAL_Y], QUERY_X)
    close(swapped, vector()(SUPPORT_X, UNEQUAL_Y, QUERY_X)[..., swap])


def test_a_pair_is_scored_without_regard_to_the_other_classes():
    all_three = vector()(SUPPORT_X, SUPPORT_Y, QUERY_X)
    for t in range(T):
        keep = SUPPORT_Y[t] < 2
        two = vector().adapt(SUPPORT_X[t, keep], SUPPORT_Y[t, keep])(QUERY_X[t])
        close(two, all_three[t, :, :2])


def test_the_comparison_need_not_be_symmetric():
    relation = vector().relation
    a, b = draw(1, 1, 1, 7), draw(1, 1, 1, 7, seed=1)
    assert (relation(a, b) - relation(b, a)).abs().item() > 1e-3


# ---------------------------------------------------------------- the two objectives


def test_squared_error_is_the_mean_over_pairs():
    scores, labels = torch.tensor([[0.9, 0.2, 0.0], [0.5, 0.5, 1.0]]), torch.tensor([0, 2])
    by_hand = (0.01 + 0.04 + 0 + 0.25 + 0.25 + 0) / 6
    assert relation_mse(scores, labels).item() == pytest.approx(by_hand)


@pytest.mark.parametrize(("n_way", "known"), [(5, 0.16), (20, 0.0475)])
def test_the_best_constant_answer_costs_this_much(n_way, known):
    labels = torch.arange(n_way).repeat(3)
    losses = [
        relation_mse(torch.full((3 * n_way, n_way), r / 1000, dtype=torch.float64), labels).item()
        for r in range(0, 1001, 5)
    ]
    assert min(losses) == pytest.approx(known)
    assert known == pytest.approx(1 / n_way * (1 - 1 / n_way))
    assert losses.index(min(losses)) * 5 / 1000 == 1 / n_way


@pytest.mark.parametrize(("n_way", "floor"), [(5, 0.905), (20, 2.078)])
def test_cross_entropy_on_sigmoid_scores_has_a_floor(n_way, floor):
    best = F.one_hot(torch.arange(n_way), n_way).double()
    assert F.cross_entropy(best, torch.arange(n_way)).item() == pytest.approx(floor, abs=5e-4)
    assert floor == pytest.approx(math.log(1 + (n_way - 1) / math.e), abs=5e-4)
    any_scores = torch.rand(5000, n_way, generator=torch.Generator().manual_seed(0))
    labels = any_scores.argmax(dim=1)
    assert F.cross_entropy(any_scores, labels, reduction="none").min() > floor


@pytest.mark.parametrize("objective", ["mse", "cross_entropy"])
def test_both_objectives_can_go_to_zero(objective):
    """A network that scores its own pair high and the others low has no floor above 0."""

    class Sharp(nn.Module):
        def forward(self, class_z, query_z):
            return 40 * (class_z * query_z).sum(dim=-1) - 20

    learner = RelationNetwork(encoder=nn.Identity(), relation=Sharp(), objective=objective)
    x, y = torch.eye(5)[None], torch.arange(5)[None]
    assert learner.loss(EpisodeBatch(x, y, x, y)) < 1e-6


@pytest.mark.parametrize("objective", ["mse", "cross_entropy"])
def test_a_few_steps_beat_both_chance_and_the_constant_answer(objective):
    torch.manual_seed(0)
    learner = RelationNetwork(2, 32, objective=objective, aggregate="mean")
    learner.meta_lr = 1e-2
    generator = torch.Generator().manual_seed(1)

    def episodes(n_tasks=32):
        centres = 3 * torch.randn(n_tasks, 3, 2, generator=generator)
        x = centres.repeat(1, 4, 1) + 0.3 * torch.randn(n_tasks, 12, 2, generator=generator)
        y = torch.arange(3).repeat(n_tasks, 4)
        return EpisodeBatch(x[:, :3], y[:, :3], x[:, 3:], y[:, 3:])

    for _ in range(150):
        learner.outer_loop(episodes())
    test = episodes(200)
    with torch.no_grad():
        answers = learner(test.support_x, test.support_y, test.query_x).argmax(dim=-1)
        loss = learner.loss(test).item()
    assert (answers == test.query_y).double().mean() > 0.8  # chance 0.33
    assert loss < 0.5 * (2 / 9 if objective == "mse" else math.log(3))


# ---------------------------------------------------------------- memory


class _Largest(TorchDispatchMode):
    """The number of elements in the largest tensor that any operation makes."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        made = result if isinstance(result, tuple | list) else [result]
        sizes = [t.untyped_storage().nbytes() // t.itemsize for t in made if torch.is_tensor(t)]
        self.numel = max([self.numel, *sizes])
        return result


def test_the_watch_sees_a_copied_pair():
    a, b = draw(1, N_WAY, D), draw(N_QUERY, 1, D)
    with _Largest() as made:
        torch.cat([a.expand(N_QUERY, -1, -1), b.expand(-1, N_WAY, -1)], dim=-1)
    assert made.numel == N_QUERY * N_WAY * 2 * D


def test_pairs_of_twice_the_channels_are_never_copied_out():
    channels, side, n_way, n_query = 64, 7, 5, 15
    relation = SpatialRelation(channels, side)
    class_z = torch.zeros(1, 1, n_way, channels, side, side)
    query_z = torch.zeros(1, n_query, 1, channels, side, side)
    with _Largest() as made, torch.no_grad():
        relation(class_z, query_z)
    per_pair = made.numel / (n_query * n_way)
    assert per_pair == channels * side * side
    assert 4 * per_pair == pytest.approx(12.5e3, rel=0.01)  # bytes, as the docstring says


# ---------------------------------------------------------------- images, and refusals


@pytest.mark.parametrize("size", [16, 28, 33])
def test_images_of_several_sizes(size):
    learner = spatial(size=size)
    scores = learner(draw(1, 3, 1, size, size), torch.arange(3)[None], draw(1, 2, 1, size, size))
    assert scores.shape == (1, 2, 3)


def test_the_published_form_has_the_published_layers():
    """Sung et al. (2018): 64 filters everywhere, 128 -> 64 on pairs, a hidden layer of 8."""
    learner = RelationNetwork.convolutional()
    convolutions = (9 * 64 + 64) + 3 * (9 * 64 * 64 + 64)  # the encoder
    convolutions += (9 * 128 * 64 + 64) + (9 * 64 * 64 + 64)  # the relation module
    norms, linear = 6 * 2 * 64, (64 * 8 + 8) + (8 + 1)
    assert sum(p.numel() for p in learner.parameters()) == convolutions + norms + linear
    assert (learner.aggregate, learner.objective) == ("sum", "mse")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"input_dim": 4},
        {"hidden_dim": 4},
        {"encoder": nn.Identity()},
        {"relation": VectorRelation(4, 4)},
        {"input_dim": 4, "hidden_dim": 4, "encoder": nn.Identity()},
        {"input_dim": 4, "hidden_dim": 4, "relation": VectorRelation(4, 4)},
        {"input_dim": 4, "encoder": nn.Identity(), "relation": VectorRelation(4, 4)},
        {"input_dim": 4, "hidden_dim": 4, "encoder": nn.Sequential()},  # empty, and yet given
    ],
)
def test_refuses_half_a_form_or_two(arguments):
    with pytest.raises(ValueError, match="give input_dim and hidden_dim, or else encoder and"):
        RelationNetwork(**arguments)


def test_refuses_unknown_names():
    with pytest.raises(ValueError, match="aggregate must be sum or mean, got 'max'"):
        RelationNetwork(4, 4, aggregate="max")
    with pytest.raises(ValueError, match="objective must be one of mse, cross_entropy; got 'bce'"):
        RelationNetwork.convolutional(objective="bce")


def test_refuses_maps_too_small_to_halve_twice():
    with pytest.raises(ValueError, match="maps of 3 x 3 cannot be halved twice; side must be >= 4"):
        RelationNetwork.convolutional(image_size=15)


def test_refuses_a_class_without_support():
    with pytest.raises(ValueError, match="task 1 has no item with label 1"):
        vector()(SUPPORT_X, torch.tensor([[0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 2, 2]]), QUERY_X)


def test_one_shot_with_an_identity_encoder_is_not_a_fixed_distance():
    """The fixed rule of ProtoNet sees no shift; a learned comparison may."""
    relation = seeded(lambda: VectorRelation(D, 6))
    learned = RelationNetwork(encoder=nn.Identity(), relation=relation, aggregate="mean")
    fixed = PrototypicalNetwork(nn.Identity())
    here = [n(SUPPORT_X, SUPPORT_Y, QUERY_X).softmax(dim=-1) for n in (learned, fixed)]
    there = [n(SUPPORT_X + 3, SUPPORT_Y, QUERY_X + 3).softmax(dim=-1) for n in (learned, fixed)]
    close(here[1], there[1], atol=1e-10)
    assert (here[0] - there[0]).abs().max() > 1e-3


def test_pictures_need_not_be_square():
    learner = RelationNetwork.convolutional(width=4, image_size=(16, 32))
    x = torch.rand(2, 6, 1, 16, 32, generator=torch.Generator().manual_seed(0))
    y = torch.arange(3).repeat(2, 2)
    assert learner(x, y, x[:, :5]).shape == (2, 5, 3)
    with pytest.raises(ValueError, match="maps of 4 x 2 cannot be halved twice"):
        RelationNetwork.convolutional(width=4, image_size=(16, 8))


@pytest.mark.parametrize("width", [0, -1, 1.5, float("nan"), "x", True])
def test_widths_that_are_none_are_refused(width):
    for make in (
        lambda: VectorRelation(width, 4),
        lambda: VectorRelation(4, width),
        lambda: SpatialRelation(width, 8),
        lambda: SpatialRelation(4, width),
    ):
        with pytest.raises(ValueError, match="must be an integer of at least 1"):
            make()


def test_what_is_no_encoder_or_relation_is_refused():
    with pytest.raises(ValueError, match="encoder must be a module or a function, got int"):
        RelationNetwork(encoder=3, relation=VectorRelation(4, 4))
    with pytest.raises(ValueError, match="relation must be a module or a function, got str"):
        RelationNetwork(encoder=nn.Identity(), relation="vector")


def test_a_loss_that_is_assigned_is_the_objective():
    """The scores stay in (0, 1), as the objective "mse" wants them."""
    learner, labels = vector(), QUERY_X.new_zeros(QUERY_X.shape[:2]).long()
    learner.loss_fn = nn.NLLLoss()
    scores = learner(SUPPORT_X, SUPPORT_Y, QUERY_X)
    by_hand = -scores[..., 0].mean()
    close(learner._score_loss(scores, labels), by_hand)
