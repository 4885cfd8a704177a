"""Fresh answers, right and wrong, that are in no lesson's table: none is refused, none accepted."""

import io
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from metalearn_edu.exercises import find
from metalearn_edu.exercises.checker import examination as engine

T = torch.Tensor


def verdict(name, answer):
    *_, last = engine._verdicts(find(name), answer)
    return last


def table(answers):
    return [
        pytest.param(name, answer, id=f"{name}-{i}")
        for name, those in answers.items()
        for i, answer in enumerate(those)
    ]


# --- right answers ---------------------------------------------------------------------------


def needed_by_search(std, half_width):
    return next(n for n in range(1, 10**6) if 1.96 * std / math.sqrt(n) <= half_width)


def spread_by_squares(z):
    """Mean of squares minus square of mean, which float32 rounds."""
    variance = z.square().mean(dim=0) - z.mean(dim=0).square()
    return torch.cat([z.mean(dim=0), (variance.clamp(min=0) + 1e-6).sqrt()])


def vectors_by_squares(z, y, n_way):
    rows = [z[y == k] for k in range(n_way)]
    return torch.stack([spread_by_squares(row) for row in rows])


def adding_in_place(memory, keys, writes, rows, sharpness):
    memory, reads = memory.clone(), []
    for key, write, row in zip(keys, writes, rows, strict=True):
        memory += write[:, None] * row
        weights = F.softmax(sharpness * F.cosine_similarity(memory, key[None]), dim=0)
        reads.append(weights @ memory)
    return torch.stack(reads), memory


def hausdorff_in_python(p, q):
    ways = [
        sum(min(math.dist(a, b) for b in other) for a in one) / len(one)
        for one, other in ((p.tolist(), q.tolist()), (q.tolist(), p.tolist()))
    ]
    return max(ways)


def means_in_numpy(support_z, support_y, n_way):
    z, y = support_z.numpy(), support_y.numpy()
    return torch.from_numpy(np.stack([z[y == c].mean(axis=0) for c in range(n_way)]))


def film_in_numpy(h, e, weight, bias):
    gamma, beta = np.split(weight.numpy() @ e.numpy() + bias.numpy(), 2)
    return torch.from_numpy(np.maximum((1 + gamma) * h.numpy() + beta, 0))


def logits_in_parts(class_z, query_z, weight, bias, score):
    by_class, by_query = weight.chunk(2, dim=1)
    rows = [[F.relu(by_class @ c + by_query @ q + bias) @ score for c in class_z] for q in query_z]
    return torch.stack([torch.stack(row) for row in rows])


def meta_by_func(support_loss, query_loss, w, inner_lr, num_inner_steps, first_order):
    def after(w):
        for _ in range(num_inner_steps):
            step = torch.func.grad(support_loss)(w)
            w = w - inner_lr * (step.detach() if first_order else step)
        return query_loss(w)

    return torch.func.grad(after)(w)


def pairs_by_lists(class_z, query_z):
    return torch.tensor([[c.tolist() + q.tolist() for c in class_z] for q in query_z])


def line_by_polyfit(s, q):
    rate, height = np.polyfit(s.double().numpy(), q.double().numpy(), 1)
    return height / (1 - rate), rate


RIGHT = {
    "share_right": [
        lambda a, t: (a == t).float().mean(),
        lambda a, t: np.mean(a.numpy() == t.numpy()),
        lambda a, t: Fraction(int((a == t).sum()), len(t)),
        lambda a, t: sum(x == y for x, y in zip(a.tolist(), t.tolist(), strict=True)) / len(a),
    ],
    "episodes_needed": [
        lambda s, h: math.ceil(3.8416 * s**2 / h**2),
        lambda s, h: math.ceil(1.96**2 * s**2 / h**2),
        lambda s, h: np.int64(np.ceil((1.96 * s / h) ** 2)),
        lambda s, h: torch.tensor((1.96 * s / h) ** 2, dtype=torch.float64).ceil().long(),
        needed_by_search,
    ],
    "paired_difference": [
        lambda a, b: ((a - b).mean(), 1.96 * (a - b).std() / len(a) ** 0.5),
        lambda a, b: (
            np.mean((a - b).numpy()),
            1.96 * np.std((a - b).numpy(), ddof=1) / len(a) ** 0.5,
        ),
    ],
    "deal_classes": [
        lambda n, k, t, g: torch.stack([torch.randperm(n, generator=g)[:k] for _ in range(t)]),
        lambda n, k, t, g: torch.ones(t, n).multinomial(k, generator=g),
    ],
    "class_means": [means_in_numpy],
    "log_probabilities": [
        lambda q, c: F.log_softmax(-torch.cdist(q, c).square(), -1),
        lambda q, c: F.log_softmax(-(torch.cdist(q, c) ** 2), -1),
        lambda q, c: F.log_softmax(-(torch.linalg.vector_norm(q[:, None] - c, dim=-1) ** 2), -1),
    ],
    "all_pairs": [pairs_by_lists],
    "relation_logits": [
        logits_in_parts,
        lambda c, q, w, b, s: torch.einsum(
            "qkh,h->qk",
            F.relu((c @ w[:, : c.shape[1]].T)[None] + (q @ w[:, c.shape[1] :].T)[:, None] + b),
            s,
        ),
    ],
    "squared_error": [
        lambda s, y: (s - F.one_hot(y, s.shape[1])).square().mean().item(),
        lambda s, y: np.mean((s.numpy() - np.eye(s.shape[1])[y.numpy()]) ** 2),
        lambda s, y: F.mse_loss(s, F.one_hot(y, s.shape[1]).float()),
    ],
    "entropy_of_logits": [
        lambda z, y: F.nll_loss(z.log_softmax(1), y).item(),
        lambda z, y: (z.logsumexp(1) - z[range(len(y)), y]).mean(),
    ],
    "meta_gradient": [meta_by_func],
    "best_start_and_rate": [line_by_polyfit],
    "late_labels": [
        lambda y, n: torch.tensor([[0.0] * n, *np.eye(n)[y[:-1].numpy()].tolist()]).view(-1, n),
        lambda y, n: torch.from_numpy(np.vstack([np.zeros(n), np.eye(n)[y[:-1].numpy()]])),
    ],
    "read_and_write": [adding_in_place],
    "mean_and_spread": [spread_by_squares],
    "class_vectors": [vectors_by_squares],
    "film_layer": [film_in_numpy],
    "effect_of_targets": [
        lambda f, x, y: np.abs((f(x, y + 1) - f(x, y)).numpy()).max(),
        lambda f, x, y: (f(x, y + 1) - f(x, y)).abs().max(),
    ],
    "hausdorff_distance": [hausdorff_in_python, lambda p, q: np.float32(hausdorff_in_python(p, q))],
}


@pytest.mark.parametrize("name, answer", table(RIGHT))
def test_a_right_answer_is_never_refused(name, answer):
    n_checks = 10 if find(name).draw else 3  # without a draw a property makes thousands of rows
    for _ in range(n_checks):  # other arguments each time
        assert verdict(name, answer).text == "correct"


# --- wrong answers ---------------------------------------------------------------------------


def own_generator(generator):
    return torch.Generator().manual_seed(generator.initial_seed())


def order_by(numbers, width):
    return numbers.argsort(dim=1)[:, :width]


def middle_sorted(size, width, rows, generator):
    places = order_by(torch.rand(rows, size, generator=generator), width)
    if width > 3:
        places[:, 1:-1] = places[:, 1:-1].sort(dim=1).values
    return places


def globally_seeded(size, width, rows, generator):
    torch.manual_seed(generator.initial_seed())
    return order_by(torch.rand(rows, size), width)


def seeded_numpy(size, width, rows, generator):
    numbers = np.random.default_rng(generator.initial_seed()).random((rows, size))
    return order_by(torch.from_numpy(numbers), width)


SAMPLERS = [
    lambda n, k, t, g: order_by(torch.rand(t, n, generator=torch.Generator().manual_seed(0)), k),
    lambda n, k, t, g: order_by(torch.rand(t, n, generator=own_generator(g)), k),
    middle_sorted,
    globally_seeded,
    seeded_numpy,
]


def sorted_then_shuffled_by(seed):
    def deal(n, k, t, g):
        classes = order_by(torch.rand(t, n, generator=g), k).sort(dim=1).values
        order = torch.rand(t, k, generator=seed(g)).argsort(dim=1)
        return classes.gather(1, order)

    return deal


def count_in_int64(n_classes, class_size, n_way, n_shot, n_query):
    items = math.comb(class_size, n_shot) * math.comb(class_size - n_shot, n_query)
    with np.errstate(over="ignore"):
        whole = np.prod([np.int64(items % 2**63)] * n_way, dtype=np.int64)
        return int(whole) * math.perm(n_classes, n_way)


def count_by_gamma(n_classes, class_size, n_way, n_shot, n_query):
    def log_comb(n, k):
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    items = log_comb(class_size, n_shot) + log_comb(class_size - n_shot, n_query)
    ways = math.lgamma(n_classes + 1) - math.lgamma(n_classes - n_way + 1)
    return round(math.exp(ways + n_way * items))


def by_a_table_of_1000(class_ids, chosen):
    places = torch.zeros(1000, dtype=torch.int64)
    places[chosen] = torch.arange(len(chosen))
    return places[class_ids]


def remapped_by_a_table(support_y, query_y):
    classes = support_y.unique()
    places = torch.zeros(1000, dtype=torch.int64)
    places[classes] = torch.arange(len(classes))
    return classes, places[support_y], places[query_y]


def with_pairs(class_z, query_z, weight, bias, score):
    shape = (len(query_z), len(class_z), -1)
    pairs = torch.cat([class_z.expand(shape), query_z[:, None].expand(shape)], dim=2)
    return F.relu(pairs @ weight.T + bias) @ score


def with_pairs_in_loops(class_z, query_z, weight, bias, score):
    rows = [[F.relu(weight @ torch.cat([c, q]) + bias) @ score for c in class_z] for q in query_z]
    return torch.stack([torch.stack(row) for row in rows])


def with_padded_pairs(class_z, query_z, weight, bias, score):
    d = class_z.shape[1]
    pairs = F.pad(class_z, (0, d)) + F.pad(query_z, (d, 0))[:, None]
    return F.relu(pairs @ weight.T + bias) @ score


def step_in_place(support_loss, query_loss, w, rates):
    fast_w = w.clone()
    (gradient,) = torch.autograd.grad(support_loss(fast_w), fast_w, create_graph=True)
    fast_w -= rates * gradient
    return query_loss(fast_w)


def steps_in_place(support_loss, query_loss, w, rates, num_inner_steps):
    fast_w = w.clone()
    for _ in range(num_inner_steps):
        (gradient,) = torch.autograd.grad(support_loss(fast_w), fast_w, create_graph=True)
        fast_w.sub_(rates * gradient)
    return query_loss(fast_w)


def marks_the_start(support_loss, query_loss, w, inner_lr, num_inner_steps, first_order):
    w.requires_grad_()
    return find("meta_gradient").solution(
        support_loss, query_loss, w, inner_lr, num_inner_steps, first_order
    )


def rate_held_below(most):
    def answer(s, q):
        rate = find("best_start_and_rate").solution(s, q)[1].clamp(max=most)
        return (q.mean() - rate * s.mean()) / (1 - rate), rate

    return answer


def writes_by(least_of):
    def answer(memory, usage, read_before, read_now, gate, row, decay):
        least = least_of(usage)
        write = gate * read_before + (1 - gate) * least
        memory = memory * (1 - least)[:, None] + write[:, None] * row
        return memory, decay * usage + read_now + write

    return answer


def one_at(place, usage):
    return F.one_hot(place, len(usage)).to(usage.dtype)


def heard_by(changed, other_label):
    def answer(stream, x, y, t):
        other = y.clone()
        other[t] = other_label(y, t)
        moved = changed(stream(x, y), stream(x, other)).nonzero()
        return int(moved[0]) if len(moved) else len(y)

    return answer


def any_change(a, b):
    return (a != b).any(dim=1)


WRONG = {
    "episode_labels": [by_a_table_of_1000],
    "remap_labels": [remapped_by_a_table],
    "count_episodes": [count_in_int64, count_by_gamma],
    "draw_items": SAMPLERS,
    "deal_classes": [
        *SAMPLERS,
        sorted_then_shuffled_by(lambda g: torch.Generator().manual_seed(0)),
        sorted_then_shuffled_by(own_generator),
    ],
    "relation_logits": [with_pairs, with_pairs_in_loops, with_padded_pairs],
    "scalar_meta_gradient": [
        lambda w, s, q, r, first: (w - r * (w - s) - q) * (1 if first else abs(1 - r)),
        lambda w, s, q, r, first: (w - r * (w - s) - q) * (1 if first else max(0, 1 - r)),
    ],
    "entropy_of_logits": [
        lambda z, y: -(z.softmax(1)[range(len(y)), y] + 1e-8).log().mean(),
        lambda z, y: -z.softmax(1)[range(len(y)), y].log().mean(),
        lambda z, y: -(z.exp()[range(len(y)), y] / z.exp().sum(1)).log().mean(),
    ],
    "meta_gradient": [marks_the_start],
    "loss_after_step": [step_in_place],
    "loss_after_steps": [steps_in_place],
    "best_start_and_rate": [rate_held_below(0.95), rate_held_below(0.99)],
    "least_used": [
        lambda usage, n: F.one_hot(usage.argsort(stable=True)[:n], len(usage)).float(),
    ],
    "write_step": [
        writes_by(lambda usage: (usage == usage.min()).to(usage.dtype)),
        writes_by(lambda usage: one_at(len(usage) - 1 - usage.flip(0).argmin(), usage)),
    ],
    "heard_at": [
        heard_by(lambda a, b: ((a - b).abs() > 0.1).any(dim=1), lambda y, t: (y[t] + 1) % 5),
        heard_by(any_change, lambda y, t: (y[t] + 1) % (int(y.max()) + 1)),
    ],
}


@pytest.mark.parametrize("name, answer", table(WRONG))
def test_a_wrong_answer_is_never_accepted(name, answer):
    with engine._as_ever(io.StringIO()):
        assert all(engine._first_failure(find(name), answer) for _ in range(3))
