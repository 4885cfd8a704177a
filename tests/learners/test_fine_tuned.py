"""Fine-tuning on all or few numbers, against loops with PyTorch's own optimiser and layers."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from metalearn_edu.backbones import MLP, ConvNet
from metalearn_edu.engine import network as network_module
from metalearn_edu.learners import MAML, FineTuned
from metalearn_edu.tasks import EpisodeBatch

MOVING = ["head", "biases", "film", "lora", "all"]
N_WAY, RATE, STEPS = 3, 0.3, 4


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


SUPPORT_Y = torch.tensor([0, 1, 2, 2, 1, 0])
SUPPORT, QUERY = draw(6, 1, 8, 8), draw(4, 1, 8, 8, seed=1)


def conv(**options):
    torch.manual_seed(0)
    return ConvNet(width=4, image_size=8, n_blocks=2, **options).double()


def mlp():
    torch.manual_seed(0)
    return MLP(64, 7, 16).double()


def make(moving, encoder=None, **options):
    torch.manual_seed(1)
    encoder = encoder or conv()
    width = getattr(encoder, "output_dim", 16)
    return FineTuned(encoder, width, moving, RATE, STEPS, **options).double()


def close(first, second, atol=1e-10):
    torch.testing.assert_close(first, second, rtol=0, atol=atol)


def scores_of(learner):
    return learner.adapt(SUPPORT, SUPPORT_Y)(QUERY).detach()


def tuned_by_a_loop(network, moving):
    """Scores of the queries after STEPS of torch.optim.SGD on `moving` of the network."""
    optimizer = torch.optim.SGD(moving, lr=RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        F.cross_entropy(network(SUPPORT), SUPPORT_Y).backward()
        optimizer.step()
    return network(QUERY).detach()


def with_zero_head(encoder, width=16):
    head = nn.Linear(width, N_WAY).double()
    nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    return nn.Sequential(copy.deepcopy(encoder), head)


# ------------------------------------------------------------------ against loops


@pytest.mark.parametrize("encoder", [conv(), mlp()], ids=["conv", "mlp"])
@pytest.mark.parametrize("moving", ["head", "biases", "all"])
def test_weights_that_move_themselves_do_so_as_in_a_plain_loop(moving, encoder):
    network = with_zero_head(encoder)
    chosen = {
        "head": lambda name: name.startswith("1."),
        "biases": lambda name: name.startswith("1.") or name.endswith("bias"),
        "all": lambda name: True,
    }[moving]
    parameters = [p for name, p in network.named_parameters() if chosen(name)]
    close(scores_of(make(moving, encoder)), tuned_by_a_loop(network, parameters))


class Scaled(nn.Module):
    """A layer, and FiLM as a layer after it."""

    def __init__(self, layer, n_units, n_axes):
        super().__init__()
        self.layer = layer
        shape = (n_units, *[1] * n_axes)
        self.gamma = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
        self.beta = nn.Parameter(torch.zeros(shape, dtype=torch.float64))

    def forward(self, x):
        return (1 + self.gamma) * self.layer(x) + self.beta


def test_film_is_a_layer_after_each_normalisation():
    network = with_zero_head(conv())
    films = []
    for block in network[0].blocks:
        for name, layer in list(block.named_children()):
            if isinstance(layer, nn.GroupNorm):
                films.append(Scaled(layer, 4, 2))
                setattr(block, name, films[-1])
    assert len(films) == 2
    moving = [p for film in films for p in (film.gamma, film.beta)] + [*network[1].parameters()]
    close(scores_of(make("film")), tuned_by_a_loop(network, moving))


def test_without_normalisation_film_comes_after_each_linear_layer():
    network = with_zero_head(mlp())
    films = [Scaled(network[0][1], 7, 0), Scaled(network[0][3], 16, 0)]
    network[0][1], network[0][3] = films
    network[0].check_items = lambda x: None
    moving = [p for film in films for p in (film.gamma, film.beta)] + [*network[1].parameters()]
    close(scores_of(make("film", mlp())), tuned_by_a_loop(network, moving))


class LoRA(nn.Module):
    """A convolution or a linear layer beside two thin ones: W x + B (A x)."""

    def __init__(self, layer, down):
        super().__init__()
        self.layer, (rank, _) = layer, down.shape
        self.down = nn.Parameter(down.detach().clone())
        self.up = nn.Parameter(torch.zeros(len(layer.weight), rank, dtype=torch.float64))

    def forward(self, x):
        if isinstance(self.layer, nn.Linear):
            return self.layer(x) + x @ self.down.T @ self.up.T
        thin = self.down.view(len(self.down), *self.layer.weight.shape[1:])
        z = F.conv2d(x, thin, None, self.layer.stride, self.layer.padding)
        return self.layer(x) + F.conv2d(z, self.up[:, :, None, None])


@pytest.mark.parametrize("encoder", [conv(), mlp()], ids=["conv", "mlp"])
def test_lora_is_two_thin_layers_beside_each_layer(encoder):
    learner, network, thin = make("lora", encoder, rank=2), with_zero_head(encoder), []
    down = iter(learner.change.down)
    for parent in list(network[0].modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Linear | nn.Conv2d):
                thin.append(LoRA(layer, next(down)))
                setattr(parent, name, thin[-1])
    moving = [p for each in thin for p in (each.up, each.down)] + [*network[1].parameters()]
    assert len(thin) == 2
    close(scores_of(learner), tuned_by_a_loop(network, moving))


def test_all_is_maml_with_a_zero_head():
    encoder = conv()
    network = nn.Sequential(encoder, nn.Linear(16, N_WAY).double())
    maml = MAML(network, RATE, num_inner_steps=STEPS, zero_head=True)
    assert torch.equal(scores_of(make("all", encoder)), scores_of(maml))


# ------------------------------------------------------------------ identities of LoRA and FiLM


@pytest.mark.parametrize("moving", ["film", "lora"])
@pytest.mark.parametrize("encoder", [conv(), mlp()], ids=["conv", "mlp"])
def test_before_the_first_step_all_outputs_are_equal_to_the_last_bit(moving, encoder):
    learner = make(moving, encoder)
    start = {n: p[None] for n, p in learner.change.start(learner.model).items()}
    weights = {n: w[0] for n, w in learner.change.weights(learner.model, start).items()}
    assert weights.keys() <= {n for n, _ in learner.model.named_parameters()}
    own = dict(learner.model.named_parameters())
    assert weights and all(torch.equal(w, own[n]) for n, w in weights.items())
    worn = {n.removeprefix("encoder."): w for n, w in weights.items()}
    assert torch.equal(functional_call(encoder, worn, (QUERY,)), encoder(QUERY))


@pytest.mark.parametrize("encoder", [conv(), mlp()], ids=["conv", "mlp"])
def test_full_rank_spans_every_change_of_the_weights(encoder):
    """For any change D of every matrix there is a B with B A = D."""
    rank = 64  # as the longest side of a matrix here has
    learner = make("lora", encoder, rank=rank)
    own, params, wanted = dict(learner.model.named_parameters()), {}, {}
    for i, (name, down) in enumerate(zip(learner.change.names, learner.change.down, strict=True)):
        change = draw(*own[name].flatten(1).shape, seed=i)
        params[f"{name}..A"] = down[None]
        params[f"{name}..B"] = torch.linalg.lstsq(down.T, change.T).solution.T[None]
        wanted[name] = own[name] + change.view_as(own[name])
    found = learner.change.weights(learner.model, params)
    for name, weight in wanted.items():
        close(found[name][0], weight, atol=1e-12)


def test_lora_changes_no_matrix_by_more_than_its_rank():
    learner = make("lora", mlp(), rank=2)
    weights = learner.weights(SUPPORT, SUPPORT_Y)
    for name in learner.change.names:
        change = weights[name] - learner.model.get_parameter(name)
        sizes = torch.linalg.svdvals(change)
        assert sizes[1] > 1e-6 and sizes[2] < 1e-12


def test_weights_of_a_task_give_the_scores_of_its_predictor():
    for moving in MOVING:
        learner = make(moving)
        weights = learner.weights(SUPPORT, SUPPORT_Y)
        assert weights.keys() == dict(learner.model.named_parameters()).keys()
        scores = functional_call(learner.model, weights, (QUERY,))
        close(scores.detach(), scores_of(learner))


# ------------------------------------------------------------------ how many numbers move


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_lora_moves_rank_times_in_and_out_a_layer(rank):
    head = 5 * (16 + 1)
    assert make("lora", mlp(), rank=rank).n_moving(5) == rank * (64 + 7) + rank * (7 + 16) + head
    # Two convolutions, 1 -> 4 and 4 -> 4 channels, 3 x 3.
    assert make("lora", rank=rank).n_moving(5) == rank * (9 + 4) + rank * (36 + 4) + head


@pytest.mark.parametrize(
    ("moving", "in_mlp", "in_conv"),
    [
        ("head", 0, 0),
        ("biases", 7 + 16, 2 * (4 + 4)),  # of convolution and of group norm
        ("film", 2 * (7 + 16), 2 * (4 + 4)),
        ("all", 64 * 7 + 7 + 7 * 16 + 16, (9 * 4 + 4 + 8) + (36 * 4 + 4 + 8)),
    ],
)
def test_counts_of_the_others(moving, in_mlp, in_conv):
    assert make(moving, mlp()).n_moving(5) == in_mlp + 5 * 17
    assert make(moving).n_moving(20) == in_conv + 20 * 17


MATRICES = {"blocks.0.0.weight", "blocks.1.0.weight"}
BIASES = {"blocks.0.0.bias", "blocks.1.0.bias"}
NORMED = {f"blocks.{block}.1.{part}" for block in (0, 1) for part in ("weight", "bias")}


@pytest.mark.parametrize(
    ("moving", "norm", "expected"),
    [
        ("head", "group", set()),
        ("film", "group", NORMED),
        ("lora", "group", MATRICES),
        ("biases", "none", BIASES),  # group norm of single channels takes a bias away again
        ("film", "none", MATRICES | BIASES),
        ("all", "none", MATRICES | BIASES),
    ],
)
def test_exactly_these_weights_change(moving, norm, expected):
    learner = make(moving, conv(norm=norm))
    weights, own = learner.weights(SUPPORT, SUPPORT_Y), learner.model.encoder.named_parameters()
    assert {n for n, p in own if not torch.equal(weights[f"encoder.{n}"], p)} == expected


# ------------------------------------------------------------------ trained through


@pytest.mark.parametrize("moving", MOVING)
def test_the_meta_gradient_is_the_same_with_queries_taken_piece_by_piece(moving, monkeypatch):
    """The encoder's own weights, beside which the numbers move, have their gradient too."""
    query_y = torch.tensor([[0, 1, 2, 0]]).repeat(3, 1)
    x, y = torch.stack([SUPPORT, 2 * SUPPORT, -SUPPORT]), SUPPORT_Y.repeat(3, 1)
    episodes = EpisodeBatch(x, y, torch.stack([QUERY, QUERY + 1, 2 * QUERY]), query_y)
    gradients = []
    for piece in (None, 1):
        if piece:
            monkeypatch.setattr(network_module, "PIECE", piece)
        learner = make(moving)
        learner.loss(episodes).backward()
        gradients.append({n: p.grad for n, p in learner.named_parameters() if p.requires_grad})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        close(gradients[1][name], gradient)


# ------------------------------------------------------------------ what people bring


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.read = nn.GRU(8, 16, batch_first=True)

    def forward(self, x):
        return self.read(x.squeeze(1))[0][:, -1]


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 8, dropout=0.0, batch_first=True)
        self.attend = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.last = nn.Linear(8, 16)

    def forward(self, x):
        return self.last(self.attend(x.squeeze(1)).mean(1))


@pytest.mark.filterwarnings("ignore:torch.func.vmap cannot run")
@pytest.mark.parametrize("kind", [Recurrent, Attentive])
@pytest.mark.parametrize("moving", MOVING)
def test_models_of_users_are_tuned_and_left_as_they_are(kind, moving):
    if kind is Recurrent and moving == "film":
        with pytest.raises(ValueError, match="moving is film, but the encoder has no normalis"):
            make(moving, kind())
        return
    torch.manual_seed(0)
    encoder = kind().double()
    before = copy.deepcopy(encoder.state_dict())
    learner = make(moving, encoder)
    weights = learner.weights(SUPPORT, SUPPORT_Y)
    losses = [
        F.cross_entropy(functional_call(learner.model, w, (SUPPORT,)), SUPPORT_Y).item()
        for w in (_at_the_start(learner), weights)
    ]
    assert losses[1] < losses[0]
    assert all(torch.equal(t, before[name]) for name, t in encoder.state_dict().items())


def _at_the_start(learner):
    return dict(learner.model.named_parameters()) | {
        "head.weight": torch.zeros(N_WAY, 16, dtype=torch.float64),
        "head.bias": torch.zeros(N_WAY, dtype=torch.float64),
    }


NORMALISED = {
    "layer norm": (nn.LayerNorm(7), ["2.weight", "2.bias"]),
    "RMS norm, which has no shift": (nn.RMSNorm(7), ["2.weight"]),
    "none with a scale": (nn.LayerNorm(7, elementwise_affine=False), ["4.weight", "4.bias"]),
}


@pytest.mark.parametrize(("norm", "changed"), NORMALISED.values(), ids=NORMALISED.keys())
def test_film_is_where_the_scales_are(norm, changed):
    """The first linear layer's own weight is normalised, and so it is no parameter."""
    torch.manual_seed(0)
    first = nn.utils.parametrizations.weight_norm(nn.Linear(64, 7))
    encoder = nn.Sequential(nn.Flatten(), first, nn.Tanh(), nn.Linear(7, 16))
    encoder = nn.Sequential(*encoder[:2], norm, *encoder[2:]).double()
    learner = FineTuned(encoder, 16, "film", RATE, STEPS)
    weights = learner.weights(SUPPORT, SUPPORT_Y)
    own = dict(encoder.named_parameters())
    moved = [n for n, p in own.items() if not torch.equal(weights[f"encoder.{n}"], p)]
    assert moved == changed


def test_a_frozen_encoder_is_tuned_by_the_numbers_beside_it():
    encoder = conv().requires_grad_(False)
    for moving in ("film", "lora"):
        own = conv()
        assert torch.equal(scores_of(make(moving, encoder)), scores_of(make(moving, own)))


def test_the_new_layer_follows_the_encoder():
    """An encoder that is in float64 before it is given."""
    learner = FineTuned(conv(), 16, "lora")
    assert {p.dtype for p in learner.parameters()} == {torch.float64}
    assert scores_of(learner).dtype == torch.float64
    with pytest.raises(AttributeError):
        learner.moving = "all"


def test_batch_norm_takes_its_statistics_from_the_support_set():
    encoder = conv(norm="batch")
    with pytest.raises(ValueError, match="batch_norm"):
        make("film", encoder)
    learner = make("film", encoder, batch_norm="inductive")
    close(
        learner.adapt(SUPPORT, SUPPORT_Y)(QUERY[:1]), learner.adapt(SUPPORT, SUPPORT_Y)(QUERY)[:1]
    )
    assert learner.n_moving(3) == 2 * (4 + 4) + 3 * 17


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"moving": "everything"}, "moving must be one of head, biases, film, lora, all"),
        ({"embedding_dim": 0}, "embedding_dim must be"),
        ({"moving": "lora", "rank": 0}, "rank must be an integer of at least 1"),
        ({"encoder": 3}, "encoder must be"),
        ({"encoder": nn.Flatten(), "moving": "lora"}, "lora, but the encoder has no matrix"),
        ({"encoder": nn.Linear(3, 2, bias=False), "moving": "biases"}, "has none; it has weight"),
        ({"inner_lr": -1.0}, "inner_lr must be"),
    ],
)
def test_bad_settings_are_refused(change, says):
    settings = {"encoder": MLP(4, 3, 2), "embedding_dim": 2} | change
    with pytest.raises(ValueError, match=says):
        FineTuned(**settings)


def test_a_wrong_width_and_wrong_items_are_refused_with_numbers():
    learner = FineTuned(mlp(), 15)
    with pytest.raises(ValueError, match=r"embedding_dim is 15, .* \(1, 8, 8\) .* 16 numbers"):
        learner.adapt(SUPPORT, SUPPORT_Y)
    with pytest.raises(ValueError, match=r"input_dim is 64, .* \(3,\) holds 3 numbers"):
        make("lora", mlp()).adapt(draw(6, 3), SUPPORT_Y)
