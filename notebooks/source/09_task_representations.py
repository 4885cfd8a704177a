# %% [markdown]
# # 09 · Task representations
#
# **The question: can a task be a vector?**
#
# MAML adapts by changing weights, a memory (lesson 08) by writing into rows. Here is a third way, and the
# shortest. One network reads the support set and writes down a few numbers, a **task vector**. A
# second network reads these numbers beside each query. To adapt is then one forward pass: no
# gradient, no step size, nothing to tune at test time.
#
# **After this lesson you can**
#
# - say why equal x with different y must give different vectors;
# - pool a set to one vector by mean and spread, on paper and without a loop;
# - tell a network about its task in two ways, by concatenation and by FiLM;
# - train such a learner on waves, and read from the vector what it knows;
# - find a width that does not fit, a spread that is NaN, and an encoder that is deaf to labels.
#
# **Time:** 50 minutes, and 40 more with all the exercises; less than 2 minutes are computing.
#
# **Prerequisites:** [03_prototypical_networks](03_prototypical_networks.ipynb) (a class as a mean)
# and [05_maml](05_maml.ipynb) (the waves and their anchors).
#
# The idea is that of deep sets and of conditional neural processes (Garnelo et al. 2018); CNAPs
# (Requeima et al. 2019) carry it to classes. Their symbols and our names:
#
# | paper | here | shape | meaning |
# |---|---|---|---|
# | $(x_i, y_i)$ | `support_x`, `support_y` | `(T, S, 1)` each | support pairs of `T` tasks |
# | $h$, $r_i$ | `TaskEncoder.item`, `z` | `(T, S, d)` | embedding of each pair |
# | $r$ | `e` | `(T, 1, E)` | the task vector; for classes `(T, n_way, E)`, one each |
# | $g(x^*, r)$ | `ConditionedMLP` | `(T, Q, out)` | the network that is told |
# | $\gamma$, $\beta$ | `gamma`, `beta` | `(d,)` | scale and shift of hidden units (FiLM) |

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from metalearn_edu.evaluation import evaluate_meta_learner
from metalearn_edu.exercises import check, predict, progress
from metalearn_edu.exercises.lessons.task_representations import (
    class_vectors,
    effect_of_targets,
    film_layer,
    mean_and_spread,
)
from metalearn_edu.learners import TaskConditionedNetwork, TaskEncoder
from metalearn_edu.plotting import LOOK, plot_curves, use_course_style
from metalearn_edu.tasks import Sinusoids
from metalearn_edu.training import meta_train

use_course_style()
plt.rcParams["figure.dpi"] = 72  # ten figures: keep the file small
torch.set_num_threads(1)

# %% [markdown]
# ## 1. Two tasks at the same places
#
# We begin with the waves of lesson 05, $y = A \sin(x - \varphi)$. Here are two of them, seen at the
# same ten values of $x$.

# %%
waves = Sinusoids(n_shot=10, n_query=20)
one = waves.episodes(seed=4, start=0, n_tasks=1)
support_x = one.support_x[0]  # (10, 1)
first_y = 3.0 * torch.sin(support_x - 0.5)
second_y = 1.5 * torch.sin(support_x - 2.5)

x = torch.linspace(-5, 5, 201)[:, None]
fig, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained", sharey=True)
for ax, y, (amplitude, phase) in zip(
    axes, (first_y, second_y), ((3.0, 0.5), (1.5, 2.5)), strict=True
):
    _ = plot_curves(x, {}, truth=amplitude * torch.sin(x - phase), support=(support_x, y), ax=ax)
    _ = ax.get_legend().remove()
    _ = ax.set_title(f"A = {amplitude}, phase = {phase}", loc="left")
plt.show()

# %% [markdown]
# The black dots are the support points, the dashed line is the truth. What differs between the two
# support sets is only the height of the dots. So an encoder that reads $x$ alone cannot tell the
# tasks apart, whatever it computes. An encoder must read **pairs**: it puts each target beside its
# item.
#
# > **Predict.** We give both support sets to a fresh, untrained encoder that reads $x$ and to one
# > that reads pairs. Which of them gives two different vectors?

# %%
torch.manual_seed(0)
reads_x = TaskEncoder(input_dim=1, hidden_dim=64, task_embedding_dim=16)
reads_pairs = TaskEncoder(input_dim=1, hidden_dim=64, task_embedding_dim=16, target_dim=1)
one_set = torch.zeros(1, 10, dtype=torch.int64)  # all items belong to one set
with torch.no_grad():
    from_x = [reads_x(support_x[None], one_set) for _ in (first_y, second_y)]
    from_pairs = [reads_pairs(support_x[None], y[None]) for y in (first_y, second_y)]
print("shape of a task vector", tuple(from_pairs[0].shape))
print("x alone: the same vector:", torch.equal(*from_x))
print("pairs: the same vector:", torch.equal(*from_pairs))

# %% [markdown]
# There is no room for $y$ in the first encoder, so we could not even hand it over. Training cannot
# mend that. We meet this defect again at the end, in a place where it hides better.
#
# ## 2. By hand: a set becomes a vector
#
# A support set has no order and no fixed size, but a network wants a vector of fixed width. So we
# embed each pair, and then **pool**: take something over the items that does not depend on their
# order. We take two things, the **mean** and the **spread**, the standard deviation around the
# mean.
#
# Say the embeddings of four items are (1, 0), (5, 0), (1, 0) and (5, 4).
#
# - The mean is $(12/4,\ 4/4) = (3, 1)$.
# - First column: each item is 2 away from 3, so the spread is 2.
# - Second column: the items are 1, 1, 1 and 3 away from 1. The mean square is $12/4 = 3$, the
#   spread $\sqrt 3 = 1.732$.
#
# Two numbers for each item have become four numbers for the set: (3, 1, 2, 1.732). Now the loop.

# %%
z = torch.tensor([[1.0, 0.0], [5.0, 0.0], [1.0, 0.0], [5.0, 4.0]])  # (S, d)
by_loop = []
for column in z.T:
    mean = sum(column.tolist()) / len(column)
    variance = sum((value - mean) ** 2 for value in column.tolist()) / len(column)
    by_loop.append((mean, (variance + 1e-6) ** 0.5))
print("means", [f"{mean:.3f}" for mean, _ in by_loop])
print("spreads", [f"{spread:.3f}" for _, spread in by_loop])

# %% [markdown]
# Two choices in these lines will matter. We divide by $n$ and not by $n - 1$. And we add 0.000001
# under the root. Keep in mind what they do for a set of one item.
#
# ### Exercise 1: no loop (5 minutes, easy)
#
# Write the same without a loop: first all means, then all spreads. An easier step first: what is the
# shape of `z.mean(dim=0)`, and what does `z - z.mean(dim=0)` do to each row?


# %%
def my_mean_and_spread(z):
    """One vector of a set: the mean of each column, then the spread of each.

    z: (S, d) embedded items, S = 1 included. The spread is the root of (mean square distance from
    the mean + 1e-6).
    Returns (2 * d,).
    """
    raise NotImplementedError


check(my_mean_and_spread)

# %% [markdown]
# The package's `pool_by_class` does it for many tasks, and for each class of a task. With the label
# 0 for all items there is one set. It agrees with the loop, and it cares neither for the order nor
# for how often the whole set is given.

# %%
from metalearn_edu.learners.task_conditioned import pool_by_class

label = torch.zeros(1, 4, dtype=torch.int64)
pooled = pool_by_class(z[None], label)[0, 0]  # (4,)
print("package:", [f"{value:.3f}" for value in pooled.tolist()])
print("equal to the exercise:", torch.allclose(pooled, mean_and_spread(z)))
print("other order:", torch.allclose(mean_and_spread(z.flip(0)), pooled))
print("given twice:", torch.allclose(mean_and_spread(z.repeat(2, 1)), pooled))

# %% [markdown]
# ### What the mean cannot see (4 minutes, on paper)
#
# Take no embedding at all, $z = (x, y)$, and two support sets of two points each:
#
# - A: (0, 1) and (1, 0). The line through them falls.
# - B: (0, 0) and (1, 1). The line through them rises.
#
# Work out mean and spread of both. What would a network that is told these four numbers know?

# %%
predict("mean_cannot_see")

# %% [markdown]
# <details><summary>What follows from it</summary>
#
# Both sets have the mean (0.5, 0.5) and the spread (0.5, 0.5): the vector is the same, and falling
# and rising cannot be told apart. The product $xy$ helps: its mean is 0 for A and 0.5 for B. So does
# <code>relu(x + y - 1)</code>, which is 0, 0 for A and 0, 1 for B. The plain sum $x + y$ helps the
# spread (it is 1, 1 for A and 0, 2 for B), but never the mean. So there are two lessons. Each pair
# goes through a network with a hidden layer <b>before</b> the pooling, whose units learn which
# products and thresholds are worth a mean. And the spread beside the mean tells more than the mean
# alone.
# </details>

# %%
falls, rises = torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([[0.0, 0.0], [1.0, 1.0]])
print("pairs, the same vector:", torch.equal(mean_and_spread(falls), mean_and_spread(rises)))
for name, further in {"xy": torch.prod, "x + y": torch.sum}.items():
    more = [torch.cat([s, further(s, dim=1, keepdim=True)], dim=1) for s in (falls, rises)]
    print(f"with {name}, the same:", torch.equal(*(mean_and_spread(s) for s in more)))

# %% [markdown]
# ## 3. Telling the network
#
# The second network computes $y$ from a query $x$, in the light of the task vector $e$. Two ways to
# tell it:
#
# - **Concatenation**: put $e$ beside $x$ and go on as usual. The first layer then computes
#   $W_x x + W_e e + b$. So the task **shifts** the hidden units of the first layer, and does no
#   more.
# - **FiLM** (feature-wise linear modulation, Perez et al. 2018): let the task **scale and shift**
#   the hidden units, in every hidden layer. A linear layer makes the numbers from $e$:
#
# $$\gamma, \beta = W e + b, \qquad h' = \mathrm{relu}\big((1 + \gamma) \odot h + \beta\big)$$
#
# Here $\odot$ is the product unit by unit. The 1 makes "no modulation" the easy case: with
# $\gamma = \beta = 0$ the network is what it was without a task.
#
# By hand: two hidden units $h = (1, -2)$ and a task vector of one number, $e = 2$. With
# $\gamma = (0.5 e, 0) = (1, 0)$ and $\beta = (e, -2e) = (2, -4)$, the first unit becomes
# $2 \cdot 1 + 2 = 4$. The second becomes $1 \cdot (-2) - 4 = -6$, which the ReLU sets to 0.
#
# ### Exercise 2: FiLM (8 minutes, medium)
#
# Write the layer. One linear layer, `weight @ e + bias`, makes 2 d numbers: the first d are $\gamma$,
# the last d are $\beta$. In the case from paper `weight` is (0.5, 0, 1, -2), one column, for e has one
# number, and `bias` is 0.


# %%
def my_film_layer(h, e, weight, bias):
    """Hidden units, scaled and shifted as the task's vector says, after the ReLU.

    h: (Q, d) hidden units of Q queries; e: (E,) the task's vector.
    weight: (2 * d, E); bias: (2 * d,).
    Returns (Q, d).
    """
    raise NotImplementedError


check(my_film_layer)

# %% [markdown]
# Our case from paper, then a check that holds for every task: with $W = 0$ and $b = 0$ the layer is
# a plain ReLU.

# %%
h, e = torch.tensor([[1.0, -2.0]]), torch.tensor([2.0])
weight = torch.tensor([[0.5], [0.0], [1.0], [-2.0]])
print("on paper (4, 0):", film_layer(h, e, weight, torch.zeros(4)).tolist())
print("without modulation:", film_layer(h, e, 0 * weight, torch.zeros(4)).tolist())

# %% [markdown]
# The package's `ConditionedMLP` has both ways. Here its three layers are run one by one with our
# function.

# %%
from metalearn_edu.learners.task_conditioned import ConditionedMLP

network = ConditionedMLP(1, 16, 64, 1, conditioning="film")
some_e = from_pairs[0][0, 0]  # (16,)
weights, biases = network.film.weight.chunk(2), network.film.bias.chunk(2)
with torch.no_grad():
    h = film_layer(network.first(x), some_e, weights[0], biases[0])
    h = film_layer(network.second(h), some_e, weights[1], biases[1])
    print("the same numbers:", torch.allclose(network.last(h), network(x, some_e), atol=1e-5))

# %% [markdown]
# ## 4. Training on waves
#
# `TaskConditionedNetwork` is the encoder and the network, trained as one. Each outer step draws 50
# tasks. The support sets go through the encoder, the queries through the network, and the squared
# error of the queries goes back through both. There is no inner loop to differentiate through.
#
# The anchors from lesson 05: to predict zero costs 4.25, and the best curve that is blind to the
# task costs 3.01. MAML, on ten support points, was at 0.130 ± 0.018 after five inner steps.
#
# > **Predict.** One forward pass, 800 outer steps, vectors of 16 numbers. Will the error be nearer
# > to 3.01 or to MAML's 0.13? And which way of telling wins, concatenation or FiLM?
#
# Each run takes about 5 seconds.


# %%
def train_conditioned(task_embedding_dim, conditioning):
    """A learner trained for 800 steps on ten-point waves."""
    torch.manual_seed(0)
    options = {"regression": True, "conditioning": conditioning}
    learner = TaskConditionedNetwork(1, task_embedding_dim, 64, 1, **options)
    settings = {"n_tasks_per_batch": 50, "meta_lr": 1e-2, "schedule": "cosine"}
    _ = meta_train(learner, waves, n_steps=800, **settings)
    return learner


learners = {name: train_conditioned(16, name) for name in ("concat", "film")}

# %% [markdown]
# First one new wave, with an amplitude of 4 and a phase of 1, and what each network makes of ten
# points of it.

# %%
support = (support_x, 4.0 * torch.sin(support_x - 1.0))
with torch.no_grad():
    curves = {name: learner.adapt(*support)(x) for name, learner in learners.items()}
ax = plot_curves(x, curves, truth=4.0 * torch.sin(x - 1.0), support=support)
_ = ax.figure.set_size_inches(6.2, 2.4)
_ = ax.set_title("one forward pass through the support set", loc="left")
plt.show()

# %% [markdown]
# Both have found the wave. One task proves nothing, so we take 600 meta-test tasks with 100 query
# points each, the same as in lesson 05.

# %%
test_waves = Sinusoids(n_shot=10, n_query=100)
errors = {
    name: evaluate_meta_learner(learner, test_waves, chunk_size=200)
    for name, learner in learners.items()
}
anchors = {"predict zero": 4.25, "blind to the task": 3.01, "MAML, 5 steps (lesson 05)": 0.13}

fig, ax = plt.subplots(figsize=(8, 3), layout="constrained")
for row, result in enumerate(errors.values()):
    look = {**LOOK["Task-conditioned"], "capsize": 4}
    _ = ax.errorbar([result.mean], [row], xerr=[result.half_width], **look)
    text = f"{result.mean:.3f} ± {result.half_width:.3f}"
    _ = ax.text(result.mean, row - 0.2, text, ha="center", fontsize=11)
for row, value in enumerate(anchors.values(), start=2):
    _ = ax.plot(value, row, "|", color="0.4", ms=14)
    _ = ax.text(value, row - 0.25, str(value), ha="center", fontsize=11, color="0.4")
_ = ax.set_yticks(range(5), [*errors, *anchors])
_ = ax.set(xscale="log", xlim=(0.05, 6), ylim=(4.5, -0.6))
ticks = (0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_ = ax.set_xticks(ticks, [str(tick) for tick in ticks])
_ = ax.set_xlabel("meta-test squared error (95 % interval over 600 tasks; logarithmic)")
ax.minorticks_off()
plt.show()

# %%
for name, result in errors.items():
    print(f"{name}: below 0.5, a sixth of the task-blind error: {result.mean < 0.5}")
    assert result.mean < 0.5, f"{name}: {result.mean:.3f}"

# %% [markdown]
# With FiLM the error is about 0.14, with concatenation about 0.15 (± 0.02, the 95 % interval over 600
# tasks). That is where MAML was after five inner steps, and we have used less than half as many
# training tasks: 40,000 instead of 85,000. At test time there is no gradient at all.
#
# Does FiLM win? With three training seeds, on 600 other tasks, FiLM had 0.12, 0.13 and 0.12, and
# concatenation 0.14, 0.16 and 0.14. So FiLM is probably a little ahead, by about the width of one
# interval. And neither is at its end: one FiLM run of 2,000 steps came to 0.051 ± 0.006.
#
# <details><summary>How to remake these seven numbers (a minute)</summary>
#
# In <code>train_conditioned</code> make the seed 0, 1, 2 in <code>torch.manual_seed</code> and in
# <code>meta_train(..., seed=...)</code>, or <code>n_steps=2000</code>; measure with
# <code>evaluate_meta_learner(learner, test_waves, seed=10_000, chunk_size=200)</code>.
# </details>
#
# ## 5. What does the vector know?
#
# Sixteen numbers, and nobody said what they should mean. What do they hold? A rule for sines helps:
#
# $$A \sin(x - \varphi) = \underbrace{A \cos\varphi}_{a}\, \sin x - \underbrace{A \sin\varphi}_{b}\, \cos x$$
#
# Every wave is a point $(a, b)$ in a plane, and these two numbers say all about it. Since $\varphi$
# runs from 0 to $\pi$, the tasks fill half a disc. If the vector has understood the task, it should
# be possible to read $a$ and $b$ from it. The usual reading device is a **linear probe**: fit
# $a \approx w \cdot e + c$ by least squares on half of the tasks, and measure $R^2$ on the other
# half. $R^2$ is the share of the variance that is explained: 1 is perfect, 0 is no better than the
# mean.
#
# > **Predict.** $R^2$ of $a$ and of $b$ for vectors that saw the pairs? And for the same encoder, if
# > all targets are replaced by 0?


# %%
from metalearn_edu.explorers.task_space import task_plane


def r_squared(vectors, plane):
    """R^2 (2,) of a linear probe of a and b: fitted on half of the tasks, measured on the rest."""
    design = torch.cat([vectors, torch.ones(len(vectors), 1)], dim=1).double()
    half = len(design) // 2
    weights = torch.linalg.lstsq(design[:half], plane[:half]).solution
    rest = plane[half:]
    error = (rest - design[half:] @ weights).square().sum(dim=0)
    return 1 - error / (rest - rest.mean(dim=0)).square().sum(dim=0)


held_out = waves.episodes(seed=7, start=0, n_tasks=2000)
plane = task_plane(*waves.task_parameters(seed=7, start=0, n_tasks=2000)).double()  # (2000, 2)
film = learners["film"]
with torch.no_grad():
    vectors = film.learn_task(held_out.support_x, held_out.support_y)[:, 0]  # (2000, 16)
    silenced = film.learn_task(held_out.support_x, 0 * held_out.support_y)[:, 0]
products = (vectors[:, :, None] * vectors[:, None]).flatten(1)  # (2000, 256)

# %%
read = {
    "targets all 0": r_squared(silenced, plane),
    "pairs": r_squared(vectors, plane),
    "pairs, and products": r_squared(torch.cat([vectors, products], dim=1), plane),
}
fig, ax = plt.subplots(figsize=(7.4, 2.9), layout="constrained")
for row, values in enumerate(read.values()):
    for place, (value, letter) in enumerate(zip(values.tolist(), "ab", strict=True)):
        height = row + 0.38 * place - 0.19
        _ = ax.barh(height, max(value, 0), 0.34, color=("0.35", "0.7")[place])
        _ = ax.text(
            max(value, 0) + 0.01, height, f"{letter}  {value:.2f}", va="center", fontsize=11
        )
_ = ax.set_yticks(range(3), list(read))
_ = ax.set(xlim=(0, 1.15), xlabel="$R^2$ on 1,000 held-out tasks", ylim=(2.6, -0.6))
plt.show()

# %%
print("targets all 0: R^2 below 0.1:", bool(read["targets all 0"].max() < 0.1))
print("pairs: R^2 of a above 0.8:", bool(read["pairs"][0] > 0.8))
print("with products: R^2 of b above 0.75:", bool(read["pairs, and products"][1] > 0.75))
assert read["targets all 0"].max() < 0.1 and read["pairs"][0] > 0.8

# %% [markdown]
# With all targets 0 nothing can be read: where the points lie does not say which wave it is. With the
# pairs a linear probe reads $a$ with $R^2$ of about 0.95, though nobody ever showed the encoder an
# $a$. For $b$ it is less, about 0.77 here. If the probe may also use
# products of two numbers of the vector, $b$ comes to about 0.9. So the vector does hold $b$, but it
# does not hold it along a straight line. The training asked for a vector that the network can use,
# and not for one that is laid out straight.
#
# A picture shows it. On the left are the tasks as they are, on the right their vectors, dropped on
# the plane of their two **principal directions**, in which they differ most (lesson 03). Colour is
# the phase, size is the amplitude.

# %%
from metalearn_edu.explorers.prototypes import principal_plane

amplitude, phase = waves.task_parameters(seed=7, start=0, n_tasks=160)
middle, directions = principal_plane(vectors)
places = {"tasks: a and b": plane[:160], "vectors": (vectors[:160] - middle) @ directions}
fig, axes = plt.subplots(1, 2, figsize=(7.8, 2.9), layout="constrained")
for ax, (title, points) in zip(axes, places.items(), strict=True):
    dots = ax.scatter(*points.T, c=phase, s=4 + 8 * amplitude)
    _ = ax.set_title(title, loc="left")
_ = axes[0].set(xlabel="A cos phase", ylabel="A sin phase")
_ = axes[1].set(xlabel="first principal direction", ylabel="second direction")
_ = fig.colorbar(dots, ax=axes, label="phase (radians)")
plt.show()

# %% [markdown]
# The colours come in the same order, and large waves (large dots) lie far from the corner where the
# small ones meet. Nobody told the encoder of amplitude and phase. The half-disc is still there, but
# it has been bent into a wedge: neighbours stay neighbours, straight lines do not stay straight.
#
# ### Is the vector really used?
#
# A test that every such learner should pass: give each task the vector **of another task**.
#
# > **Predict.** You can work it out.

# %%
predict("wrong_vector")


# %%
def error_with(state):
    """Mean squared error on the held-out tasks, told these vectors."""
    with torch.no_grad():
        return (film.predict(state, held_out.query_x) - held_out.query_y).square().mean().item()


own, other = error_with(vectors[:, None]), error_with(vectors[:, None].roll(1, dims=0))
print("its own vector: below 0.5:", own < 0.5)
print("that of another task: within 1 of 6.02:", abs(other - 6.02) < 1)

# %% [markdown]
# **Twice 3.01.** The task-blind error 3.01 is the variance of the waves around their mean. Two
# waves drawn independently differ by the sum of two such variances, 6.02. To be told wrongly costs
# more than to be told nothing, and the network believes what it is told. If shuffling changed
# nothing, we would know that the vector is ignored.
#
# ## 6. How many numbers does a task need?
#
# By the rule for sines two numbers say all. Would a vector of two do? Of one?
#
# > **Predict.** Sketch the error for vectors of 1, 2, 4 and 16 numbers, with the same training.
#
# About 15 seconds for the three further runs.

# %%
by_size = {
    1: train_conditioned(1, "film"),
    2: train_conditioned(2, "film"),
    4: train_conditioned(4, "film"),
}
size_errors = {
    size: evaluate_meta_learner(learner, test_waves, chunk_size=200)
    for size, learner in by_size.items()
}
size_errors[16] = errors["film"]

# %%
fig, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
mean, half = zip(*((r.mean, r.half_width) for r in size_errors.values()), strict=True)
_ = ax.errorbar(range(4), mean, yerr=half, capsize=4, **LOOK["Task-conditioned"])
for place, value in enumerate(mean):
    _ = ax.annotate(
        f"{value:.2f}", (place, value), xytext=(12, 6), textcoords="offset points", fontsize=11
    )
_ = ax.set_xticks(range(4), [str(size) for size in size_errors])
_ = ax.set(xlabel="numbers in a task vector", ylabel="meta-test squared error", ylim=(0, None))
_ = ax.set(xlim=(-0.3, 3.5), title="600 tasks, 95 % intervals")
plt.show()

# %%
print("one number: below the task-blind 3.01:", mean[0] < 3.01)
print("two numbers: less than half the error of one:", mean[1] < mean[0] / 2)
assert mean[1] < mean[0] / 2, mean

# %% [markdown]
# One number is not enough: about 0.8, for whatever it holds, one direction of the plane is missing.
# With two numbers the error falls to about 0.2 or below, and that is most of the way. So two numbers
# nearly suffice, as the rule for sines promised. Further numbers help a little (about 0.14 with
# 16). A task has no more to say, so it must be that training finds its way more easily. In two more
# seeds the errors were 0.81 and 0.79 with one number, 0.17 and 0.16 with two.
#
# ## 7. Explore
#
# The explorer holds the FiLM network with its 16 numbers. On the left are tasks, in the middle their
# vectors; colour is the phase. The cross is the task that you set and its vector, rings are the five
# tasks with the nearest vectors.

# %%
from metalearn_edu.explorers.task_space import TaskSpaceExplorer

explorer = TaskSpaceExplorer(film)
explorer

# %% [markdown]
# Three things to try. Go along the border of the half-disc, with amplitude 5 and the phase from 0
# to 3.1. Take away support points: when does the cross leave its neighbourhood? Change "other
# points" with `n_shot=2`: the task stays the same, what about its vector?

# %%
explorer.set(amplitude=4.5, phase=2.5, n_shot=2)
print(explorer.state)

# %% [markdown]
# With two points the rings lie far from the cross, towards the middle of the half-disc. Several waves
# pass through two points, and the vector is a guess between them. The network was trained on ten
# points and has no way to say that it is not sure.
#
# ## 8. Classes: a vector for each
#
# Now letters: Glyphs, 5-way 1-shot. One vector for the whole task would have to say in some order
# what class 0, class 1, ... look like, and could serve only one `n_way`. CNAPs show the better way:
# pool **class by class**. The vector $e_k$ says what class $k$ is like. Then the network gives the
# query $x$ one score for each class:
#
# $$\text{score}_k = g(x, e_k)$$
#
# Labels enter by the pooling; the columns of the scores follow the classes; one network serves any
# number of them.
#
# ### Exercise 3: pool by class (10 minutes, medium)
#
# Write mean and spread for each class, without a loop. The mean is that of lesson 03: a table
# `F.one_hot(y, n_way)` (in floats, turned on its side) times `z` gives the sums of the classes, and
# its column sums are their numbers of items. For the spread you need the distance of each item to
# the mean of **its own** class: what is `mean[y]`? Then pool the squared distances in the same way,
# add 1e-6, and take the root.


# %%
def my_class_vectors(z, y, n_way):
    """Mean and spread of each class, side by side.

    z: (S, d); y: (S,) int64 labels in 0..n_way-1, each at least once, not all equally often.
    Returns (n_way, 2 * d); row k belongs to the class k.
    """
    raise NotImplementedError


check(my_class_vectors)

# %%
y = torch.tensor([0, 1, 1, 0])
from_package = pool_by_class(z[None], y[None])[0]
for row in from_package.tolist():
    print([f"{value:.3f}" for value in row])
print("equal:", torch.allclose(from_package, class_vectors(z, y, 2)))

# %% [markdown]
# In front of everything stands a convolutional network, the **item encoder**, for support and query
# pictures alike. We train in 20-way episodes, as in lesson 03. This takes about 30 seconds.

# %%
from metalearn_edu.backbones import ConvNet
from metalearn_edu.tasks import EpisodeSampler, load_glyphs

torch.manual_seed(0)
encoder = ConvNet(width=32)
glyph_learner = TaskConditionedNetwork(
    encoder.output_dim, 64, 128, conditioning="film", item_encoder=encoder
)
train_episodes = EpisodeSampler(load_glyphs("meta-train"), n_way=20, n_shot=1, n_query=3)
settings = {"n_tasks_per_batch": 1, "meta_lr": 2e-3, "schedule": "cosine", "max_grad_norm": 10.0}
history = meta_train(glyph_learner, train_episodes, n_steps=550, **settings)

# %% [markdown]
# For the measurement a shortcut, as in lesson 03: the item encoder looks at one picture at a time,
# so we encode all of meta-test once. What stays is a learner of 32 numbers.
#
# > **Predict.** 5-way 1-shot meta-test accuracy, where nearest pixel has about 45 % and ProtoNet
# > about 91 %? And with five shots: better or worse than with one?

# %%
from metalearn_edu.learners import PrototypicalNetwork, embed_dataset

test = load_glyphs("meta-test")
encoded = embed_dataset(glyph_learner.item_encoder, test)
glyph_learner.item_encoder = nn.Flatten()  # the items are encoded already
pixels = PrototypicalNetwork(nn.Flatten())
results = {
    name: {
        n_shot: evaluate_meta_learner(learner, EpisodeSampler(data, 5, n_shot), chunk_size=10)
        for n_shot in (1, 5)
    }
    for name, learner, data in (
        ("Task-conditioned", glyph_learner, encoded),
        ("nearest pixel", pixels, test),
    )
}

# %%
from metalearn_edu.plotting import plot_accuracy

ax = plot_accuracy(results)
ours = [
    f"{100 * r.mean:.1f} ± {100 * r.half_width:.1f} %" for r in results["Task-conditioned"].values()
]
_ = ax.set_title(f"Task-conditioned: 1-shot {ours[0]}, 5-shot {ours[1]}", loc="left")
plt.show()

# %%
one_shot, five_shot = (result.mean for result in results["Task-conditioned"].values())
print("1-shot above 55 %:", one_shot > 0.55)
print("1-shot above nearest pixel:", one_shot > results["nearest pixel"][1].mean)
assert one_shot > 0.55, f"meta-test accuracy {one_shot:.3f}"

# %% [markdown]
# About 72 ± 1 % with one shot (95 % interval over 600 meta-test episodes; a second training seed gave
# the same). That is far above nearest pixel, near MAML's 69 % in lesson 05, and far below
# ProtoNet's 91 % in lesson 03, all after a similar time of training. ProtoNet is given a distance;
# here the network must find out what "alike" means.
#
# Five shots help. That is less obvious than it sounds. In training each class had **one** item, and
# one item has no spread. With five items the vector suddenly holds 128 spreads that were never
# there. The package takes care: the weights of the spread start at 0, and since training showed no
# spread, they are still 0. What if they had started at small random values, like all others?
#
# > **Predict.** We give them the usual random start now, after training. With one shot nothing
# > changes. With five, does the accuracy stay, fall a little, or fall a lot?

# %%
five = EpisodeSampler(encoded, 5, 5).episodes(seed=20_000, start=0, n_tasks=200)
of_the_spread = glyph_learner.task_encoder.task.weight.data[:, 128:]  # 128 means, then 128 spreads
print("still at 0 after training:", bool(of_the_spread.abs().max() < 1e-4))

share = []
for size in (0.0, 256**-0.5):  # a linear layer of 256 inputs starts within 1 / sqrt(256)
    generator = torch.Generator().manual_seed(0)
    _ = of_the_spread.uniform_(-size, size, generator=generator)
    with torch.no_grad():
        right = glyph_learner(five.support_x, five.support_y, five.query_x).argmax(-1)
    share.append((right == five.query_y).double().mean().item())
_ = of_the_spread.zero_()
print("worse with a random start:", share[1] < share[0])

# %% [markdown]
# It falls: our first version of the encoder had such a start, and five shots were hardly better than
# one. Weights that training cannot reach are not harmless; they stir noise into the vector as soon
# as their input moves. If the spread is to be used, train with the shots of the test. **A vector is
# a language, and the network knows only the words that it heard in training.**
#
# Two properties hold whatever the training did. If the classes are numbered anew, the columns
# move along, unlike in MAML. And with the vectors of another episode nothing is left but chance.

# %%
episode = EpisodeSampler(encoded, 5, 1).episodes(seed=20_000, start=0, n_tasks=200)
new_number = torch.tensor([3, 0, 4, 1, 2])
with torch.no_grad():
    state = glyph_learner.learn_task(episode.support_x, episode.support_y)  # (200, 5, 64)
    scores = glyph_learner.predict(state, episode.query_x)  # (200, 75, 5)
    again = glyph_learner(episode.support_x, new_number[episode.support_y], episode.query_x)
    wrong_task = glyph_learner.predict(state.roll(1, dims=0), episode.query_x)
right = (wrong_task.argmax(dim=-1) == episode.query_y).double().mean().item()
print("columns follow the classes:", torch.allclose(again[..., new_number], scores, atol=1e-3))
print("another episode's vectors: chance, within 4 points:", abs(right - 0.2) < 0.04)

# %% [markdown]
# ## 9. Find the bug
#
# ### A: it does not fit
#
# A colleague writes a small version: embed the pairs to `E = 8` numbers, pool by mean and spread,
# put the result beside the query.


# %%
class FirstTry(nn.Module):
    def __init__(self, n_numbers=8):
        super().__init__()
        self.item = nn.Linear(2, n_numbers)
        self.network = nn.Linear(1 + n_numbers, 1)

    def forward(self, support_x, support_y, query_x):
        e = mean_and_spread(self.item(torch.cat([support_x, support_y], dim=1)))
        return self.network(torch.cat([query_x, e.expand(len(query_x), -1)], dim=1))


try:
    FirstTry()(support_x, first_y, x)
except RuntimeError as error:
    print(f"{type(error).__name__} in the first call, about shapes: {'shapes' in str(error)}")

# %% [markdown]
# ### Exercise 4: make it fit (5 minutes, easy)
#
# How many numbers does `self.network` expect, and how many does it get? A second version has a
# linear layer from mean and spread to a vector of E numbers, `weight` and `bias`. It still does not
# fit. Mend it, so that nothing of what was pooled is thrown away.


# %%
def my_network_input(z, query_x, weight, bias):
    """What the network reads, (Q, 1 + E): each query beside the task's vector.

    z: (S, E) embedded pairs; query_x: (Q, 1); weight: (E, 2 * E); bias: (E,).
    """
    e = mean_and_spread(z)
    return torch.cat([query_x, e.expand(len(query_x), -1)], dim=1)


check(my_network_input)

# %% [markdown]
# <details><summary>What the bug does</summary>
#
# The network expects 1 + 8 = 9 numbers and gets 1 + 16 = 17, for mean and spread together are 2E
# numbers. Either the network takes <code>1 + 2 * n_numbers</code>; or a linear layer from 2E to E
# stands behind the pooling, as in <code>TaskEncoder.task</code>. The second keeps the width of the
# vector free of how we pool. To cut off the spread would fit, too, and lose half of what was seen.
# </details>
#
# This defect is kind: it shouts in the first call. The next two do not.
#
# ### B: the spread of one example
#
# The width is mended, and it trains well on ten points. Then somebody asks for one.


# %%
def usual_spread(z):
    """Mean, and standard deviation with n - 1 in the denominator, as taught in statistics."""
    mean = z.mean(dim=0)
    return torch.cat([mean, ((z - mean).square().sum(dim=0) / (len(z) - 1)).sqrt()])


for n_shot in (4, 2, 1):
    print(f"n_shot {n_shot}: NaN in", int(usual_spread(z[:n_shot]).isnan().sum()), "of 4 numbers")

# %% [markdown]
# With one item $n - 1 = 0$, and $0/0$ is NaN: half of the vector, and then all of the scores. "Divide
# by $n$", says somebody, and the spread of one item is 0. The forward pass is right now.
#
# > **Predict.** Is the gradient right, too?

# %%
for constant in (0.0, 1e-6):
    item = z[:1].clone().requires_grad_()
    variance = (item - item.mean(dim=0)).square().mean(dim=0)
    spread = (variance + constant).sqrt()
    (slope,) = torch.autograd.grad(spread.sum(), item)
    print(f"constant {constant}: spread {spread[0]:.3f}, gradient {slope[0, 0]:.3f}")

# %% [markdown]
# Where does the NaN come from?

# %%
predict("slope_of_no_spread")

# %% [markdown]
# One backward pass writes such a NaN into every weight of the encoder.
# The package refuses to take such a step: `meta_train` stops with a `FloatingPointError` that names
# the step, and keeps the weights as they were.
#
# ### C: it trains, but it never gets good
#
# The third version has the right widths and the right spread, and it reads pairs. It is put in place
# of the package's encoder and trained like the others, for 300 steps.


# %%
class QuickEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.item = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64))
        self.task = nn.Linear(128, 16)

    def forward(self, support_x, support_y):
        pairs = torch.cat([support_x, support_x], dim=-1)  # (T, S, 2)
        z = self.item(pairs)  # (T, S, 64)
        spread = (z.var(dim=1, correction=0) + 1e-6).sqrt()
        return self.task(torch.cat([z.mean(dim=1), spread], dim=1))[:, None]


torch.manual_seed(0)
theirs = TaskConditionedNetwork(1, 16, 64, 1, regression=True)
theirs.task_encoder = QuickEncoder()
their_history = meta_train(theirs, waves, n_steps=300, n_tasks_per_batch=50, meta_lr=5e-3)
their_error = evaluate_meta_learner(theirs, test_waves, chunk_size=200).mean
print("error within 0.5 of 3.01:", abs(their_error - 3.01) < 0.5)

# %%
from metalearn_edu.plotting import plot_history

fig, ax = plt.subplots(figsize=(5, 2.3), layout="constrained")
_ = plot_history(their_history, unit="squared error", label="Task-conditioned", ax=ax)
_ = ax.axhline(3.01, color="0.3", ls=":")
_ = ax.text(318, 3.01, "3.01", va="center", fontsize=11)
_ = ax.get_legend().remove()
_ = ax.set_ylabel("training loss")
_ = ax.set_title(f"meta-test squared error {their_error:.2f}", loc="left")
plt.show()

# %% [markdown]
# The loss falls, and then stays. No message.

# %%
predict("stays_at_three")

# %% [markdown]
# ### Exercise 5: let it listen (4 minutes, easy)
#
# Here is the first layer of such an encoder, as a function. Mend it.


# %%
def my_encode_pairs(support_x, support_y, weight, bias):
    """Embedding (T, S, h) of each support pair, after a linear layer and a ReLU.

    support_x, support_y: (T, S, 1) each; weight: (h, 2), its columns are for x, then for y;
    bias: (h,).
    """
    pairs = torch.cat([support_x, support_x], dim=-1)  # (T, S, 2)
    return F.relu(F.linear(pairs, weight, bias))


check(my_encode_pairs)

# %% [markdown]
# <details><summary>What the bug does</summary>
#
# <code>support_x</code> stands in the pair twice, and <code>support_y</code> is never used. All
# shapes fit. But the vector depends on where the points lie and not on how high, so the network can
# only learn the mean of all waves, whose error is 3.01 (lesson 05).
# </details>
#
# A floor that one can derive is the best alarm. The other one is a test that needs no training.
#
# ### Exercise 6: the test that finds it (5 minutes, easy)
#
# How far does the vector move if the targets change and the places do not? Call
# `encode(support_x, support_y)` yourself, once as it is and once with 1 added to every target. Return
# the largest absolute change of a number in the vector. An encoder for which that is 0 is **deaf**.
# (Shuffled or negated targets would not do: an encoder may use only their mean, or only their
# squares, and is not deaf.)


# %%
def my_effect_of_targets(encode, support_x, support_y):
    """By how much a number of the vector moves at most if every target grows by 1, a float.

    encode: a function of support_x (S, 1) and support_y (S, 1) to a vector.
    """
    raise NotImplementedError


check(my_effect_of_targets)

# %%
for name, learner in {"theirs": theirs, "ours": film}.items():
    with torch.no_grad():
        effect = effect_of_targets(learner.task_encoder, support_x[None], first_y[None])
    print(f"{name}: deaf: {effect == 0}")

# %% [markdown]
# ## 10. Limits
#
# What happens with other numbers of support points than in training? And what if we think longer?
#
# > **Predict.** The FiLM network was trained on ten points. Sketch its error from 1 to 100 points.

# %%
shots = (1, 2, 3, 5, 10, 20, 50, 100)
by_shots = [
    evaluate_meta_learner(film, Sinusoids(n, 100), n_episodes=300, chunk_size=100) for n in shots
]
mean, half = zip(*((result.mean, result.half_width) for result in by_shots), strict=True)
fig, ax = plt.subplots(figsize=(6.6, 3.2), layout="constrained")
_ = ax.errorbar(shots, mean, yerr=half, capsize=4, **LOOK["Task-conditioned"])
_ = ax.axhline(3.01, color="0.4", ls=":")
_ = ax.text(100, 3.2, "blind to the task, 3.01", ha="right", va="bottom", fontsize=11)
_ = ax.axvline(10, color="0.8", lw=5, zorder=0)
_ = ax.set(xscale="log", yscale="log", xlabel="support points, n_shot (grey: in training)")
_ = ax.set(ylabel="meta-test squared error", title="300 tasks, 95 % intervals")
_ = ax.set_xticks(shots, [str(n) for n in shots])
ticks = (0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_ = ax.set_yticks(ticks, [str(tick) for tick in ticks])
ax.minorticks_off()
plt.show()

# %%
print("three points: more than twice the error of ten:", mean[2] > 2 * mean[4])
print("a hundred points: less than that of ten:", mean[-1] < mean[4])

# %% [markdown]
# More points than in training help: from about 0.13 at ten to about 0.04 at a hundred, where the curve
# flattens, for there the network's own errors remain. Fewer points hurt fast. With a single point
# the error is about 3.4, **above** the 3.01 of looking at nothing: such a vector, with no spread,
# never occurred in training, and the network takes it at its word.
#
#
# - **All must fit through the vector.** Waves need two numbers. A task that is a picture, or a
#   function with many bends, needs more, and a mean over items blurs what is rare. The remedy is
#   to let each query look at the support items themselves, by attention: lesson 10.
# - **No better with more computing.** MAML went from 0.13 to about 0.08 when given ten steps instead
#   of five. Here there is nothing to repeat: one pass is all, at a tiny price, and what the encoder
#   misses stays missed. The curve need not even pass through its own support points. (CAVIA,
#   Zintgraf et al. 2019, is a way between: gradient steps that change the vector and nothing else.)
# - **Only tasks as in training.** A gradient step fits any wave; the encoder has learned waves of
#   amplitude up to 5 and phases up to $\pi$. For others it has no rule.
# - **It learns to compare from scratch.** On classes that takes more training than a method that is
#   given its distance.
#
# ## 11. Published figures beside ours
#
# | learner | data | figure |
# |---|---|---|
# | context vector, adapted by gradient steps (control in Finn et al. 2017) | Omniglot, 5-way 1-shot | 94.9 ± 0.9 % |
# | MAML (the same) | Omniglot, 5-way 1-shot | 98.7 ± 0.4 % |
# | CNAPs (Requeima et al. 2019), trained on all of Meta-Dataset | Omniglot part of Meta-Dataset | 91.7 ± 0.5 % |
# | task-conditioned (ours, FiLM, 550 steps, 600 episodes) | Glyphs meta-test, 5-way 1-shot | about 72 ± 1 % |
# | task-conditioned (ours, shipped, FiLM, 48 filters, 800 steps, 600 episodes) | Glyphs meta-test, 5-way 1-shot | 87.1 ± 0.8 % |
# | task-conditioned (ours, FiLM, 2,000 steps, 600 episodes) | Omniglot, official split, 5-way 1-shot | 91.0 ± 0.6 % |
# | MAML, 10 points, 5 steps (ours, lesson 05) | sine waves | squared error 0.130 ± 0.018 |
# | task-conditioned, 10 points (ours, FiLM, 800 steps) | sine waves | squared error about 0.14 ± 0.02 |
#
# They are not directly comparable. The control and MAML take gradient steps and use batch statistics
# of the queries. CNAPs stand on a ResNet-18 that was trained before and is kept fixed, and
# their episodes vary in ways and shots. Ours is a small network and inductive. On Glyphs the first
# was trained for half a minute in this lesson; the shipped one (`load_pretrained`, name
# `task_conditioned_glyphs`) for four minutes on one thread. On Omniglot it was
# `metalearn-edu train task-conditioned --data omniglot`.
#
# ## 12. Recap
#
# You can now
#
# - say why an encoder must read pairs: places alone do not say which wave it is;
# - pool a set by mean and spread, with $n$ below and a small constant under the root;
# - tell a network about its task by a shift (concatenation) or by scale and shift (FiLM), and check
#   that zero modulation changes nothing;
# - read from a vector what it knows, with a probe, and see that it is used, by shuffling;
# - spot E against 2E, a NaN of one example, and an encoder that stays at the task-blind error.
#
# Which exercises are done:

# %%
progress(9)

# %% [markdown]
# **Check yourself**
#
# 1. The embeddings of a class are (2, 0) and (4, 0). What are mean and spread? And of (2, 0) alone?
# 2. $h = 3$, $\gamma = -1$, $\beta = 2$. What does FiLM make of it, and of any other $h$?
# 3. Your learner has the same accuracy with shuffled task vectors. Name two causes.
#
# <details><summary>Answers</summary>
#
# 1. Mean (3, 0), spread (1, 0.001). Alone: mean (2, 0), spread (0.001, 0.001).
# 2. $(1 - 1) \cdot 3 + 2 = 2$, for every $h$: the task has switched this unit to a constant.
# 3. The encoder is deaf to the labels; or the network ignores the vector, for instance because it
#    has not learned yet to use it, or because the support sets say nothing about the queries.
# </details>
#
# **Next:** one vector for all is a narrow gate. What if each query may look at every support pair?
# [10_in_context_learning](10_in_context_learning.ipynb)
#
# **References**
#
# - M. Garnelo et al. (2018). *Conditional Neural Processes.* ICML.
# - J. Requeima, J. Gordon, J. Bronskill, S. Nowozin, R. Turner (2019). *Fast and Flexible Multi-Task
#   Classification Using Conditional Neural Adaptive Processes.* NeurIPS.
# - E. Perez, F. Strub, H. de Vries, V. Dumoulin, A. Courville (2018). *FiLM: Visual Reasoning with a
#   General Conditioning Layer.* AAAI.
# - M. Zaheer et al. (2017). *Deep Sets.* NeurIPS.
# - L. Zintgraf, K. Shiarlis, V. Kurin, K. Hofmann, S. Whiteson (2019). *Fast Context Adaptation via
#   Meta-Learning.* ICML.
# - C. Finn, P. Abbeel, S. Levine (2017). *Model-Agnostic Meta-Learning for Fast Adaptation of Deep
#   Networks.* ICML.
