# %% [markdown]
# # 03 · Prototypical networks
#
# **The question: what if a class is its mean?**
#
# In lesson 02 we learned to measure, and we measured a network without knowing how it works. Now we
# build it: one network, one mean for each class, one distance. The method is short enough to work
# out on paper, and it is still hard to beat.
#
# **After this lesson you can**
#
# - compute prototypes by hand, in a loop, and as one matrix product;
# - say what the squared Euclidean, the Euclidean and the cosine distance do to the probabilities;
# - show that the method is a linear classifier, and say why the mean is the right representative;
# - train it, watch its embedding while it trains, and measure it against a baseline;
# - find two defects that raise no error.
#
# **Time:** 60 minutes, and 35 more with all the exercises; about 90 seconds are computing.
#
# **Prerequisites:** [01_tasks_and_episodes](01_tasks_and_episodes.ipynb) (episodes, support and
# query set) and [02_honest_evaluation](02_honest_evaluation.ipynb) (intervals, paired comparisons);
# softmax and cross-entropy. It helps if you have seen a small image network: convolution (a filter
# that slides over the picture), ReLU (negative numbers become 0), normalisation (numbers are
# shifted and scaled to mean 0 and spread 1), and Adam (gradient steps with a separate step size for
# each weight).
#
# The method is that of Snell, Swersky and Zemel (2017). Their symbols and our names:
#
# | paper | here | shape | meaning |
# |---|---|---|---|
# | $S$, $Q$ | `support_x`, `query_x` | `(T, S, 1, 28, 28)`, `(T, Q, 1, 28, 28)` | items of `T` tasks |
# | $N_C$, $N_S$ | `n_way`, `n_shot` | | classes in an episode, support items of each |
# | $f_\phi$ | `encoder` | `(B, 1, 28, 28)` to `(B, d)` | the network that we train |
# | $f_\phi(x)$ | `support_z`, `query_z` | `(T, S, d)`, `(T, Q, d)` | embeddings |
# | $c_k$ | `prototypes` | `(T, n_way, d)` | one point for each class |
# | $d(z, c)$ | `distance` | `(T, Q, n_way)` | of each query to each prototype |

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from metalearn_edu.backbones import ConvNet
from metalearn_edu.evaluation import Comparison, evaluate_meta_learner
from metalearn_edu.exercises import check, predict, progress
from metalearn_edu.learners import PrototypicalNetwork, class_prototypes, embed_dataset
from metalearn_edu.plotting import describe, use_course_style
from metalearn_edu.tasks import EpisodeSampler, load_glyphs
from metalearn_edu.training import meta_train

use_course_style()
torch.set_num_threads(1)

# %% [markdown]
# ## 1. The data and a rule to beat
#
# We use Glyphs: printed letters of 15 writing systems, redrawn as if by a shaky hand. No script is
# in two splits. We look at meta-val here, and leave meta-test alone until section 8.

# %%
train, val, test = (load_glyphs(split) for split in ("meta-train", "meta-val", "meta-test"))
for data in (train, val, test):
    print(data.name, data.n_classes, "classes:", ", ".join(data.groups))

# %% [markdown]
# Here is one 5-way 1-shot episode. On the left is all that a learner may see of each class; on the
# right are the queries that it must name.

# %%
from metalearn_edu.plotting import plot_episode

val_5way = EpisodeSampler(val, n_way=5, n_shot=1, n_query=15)
task = val_5way.episodes(seed=3, start=0, n_tasks=1)[0]
_ = plot_episode(task, n_shown=6)
plt.show()

# %% [markdown]
# Every method needs a baseline that costs nothing. Ours is nearest pixel: write each picture as
# a row of 784 numbers, and give a query the label of the nearest support picture.

# %%
support, query = task.support_x.flatten(1), task.query_x.flatten(1)  # (5, 784), (75, 784)
distance = (query[:, None] - support).square().sum(dim=-1)  # (75, 5)
answer = task.support_y[distance.argmin(dim=1)]
print("distances", tuple(distance.shape))
print("better than guessing (15 of 75):", int((answer == task.query_y).sum()) > 15)

# %% [markdown]
# > **Predict.** Over many episodes, will nearest pixel be closer to chance (20 %) or to your own
# > eye? Write down a percentage. We measure it on meta-test in section 8.
#
# ## 2. An embedding
#
# Pixels are a poor space to measure distances in: if you shift a letter by two pixels, it is far
# from where it was. So we let a network choose the space. An embedding is the vector $z =
# f_\phi(x)$ that the **encoder** $f_\phi$ computes for an item. Our encoder has four blocks: 3x3
# convolution with 64 filters, normalisation, ReLU. Each block halves the height and the width of
# the image; averaging the last maps gives 64 numbers.

# %%
encoder = ConvNet(width=64, downsample="stride")
with torch.no_grad():
    z = encoder(task.support_x)
print(tuple(task.support_x.shape), "->", tuple(z.shape))
print(sum(p.numel() for p in encoder.parameters()), "parameters")

# %% [markdown]
# We use group normalisation, not batch normalisation: it looks at one item at a time. So no query
# can inform another (lesson 02), and an item has the same embedding in every episode.
#
# ## 3. By hand: four points on paper
#
# Take an embedding of two numbers and a 2-way 2-shot episode. Class 0 has the points (0, 1) and
# (2, 1), class 1 has (4, 3) and (4, 5). The **prototype** of a class is the mean of its embedded
# support items:
#
# $$c_k = \frac{1}{N_S} \sum_{i:\, y_i = k} f_\phi(x_i)$$
#
# Compute both prototypes on paper first. Then compare with the loop.

# %%
support_z = torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 3.0], [4.0, 5.0]])
support_y = torch.tensor([0, 0, 1, 1])

prototypes = torch.zeros(2, 2)
for label in range(2):
    members = support_z[support_y == label]
    prototypes[label] = members.sum(dim=0) / len(members)
print(prototypes.tolist())

# %% [markdown]
# Class 0 is (1, 1) and class 1 is (4, 4). In the figure the numbered circles are the prototypes,
# and the star is a query at (2, 2) that we will soon classify.

# %%
from metalearn_edu.plotting import plot_embedding

ax = plot_embedding(support_z, support_y, prototypes=prototypes)
_ = ax.plot(2, 2, "k*", ms=15)
_ = ax.text(2.1, 2.15, "query")
_ = ax.set_title("two classes, two shots, one query", loc="left")
text = "Class 0 at (0, 1) and (2, 1) with prototype (1, 1), class 1 at (4, 3) and (4, 5) with prototype"
describe(ax, f"{text} (4, 4); the query (2, 2) lies nearer to prototype 0.")
plt.show()

# %% [markdown]
# ### Exercise 1: no loop (5 minutes, easy)
#
# A Python loop over classes is slow, and it becomes a double loop when we have many tasks. One
# matrix product does all of it.
#
# An easier step first: `F.one_hot(support_y, 2)` is a table with a row for each item and a column
# for each class, with a 1 at the class of the item. What are its column sums? And what does its
# transpose, times the embeddings, add up?
#
# Now write the function for any number of classes. Items may come in any order, and classes may
# have unequal numbers of them. (`F.one_hot` gives whole numbers; `.to(support_z.dtype)` makes them
# floats, which `@` needs.)


# %%
def my_class_means(support_z, support_y, n_way):
    """Prototypes of one task.

    support_z: (S, d) float embeddings.
    support_y: (S,) int64 labels 0..n_way-1, in any order; every class has at least one item.
    Returns (n_way, d): row c is the mean of the items with label c.
    """
    raise NotImplementedError


check(my_class_means)

# %% [markdown]
# The package version does the same for `T` tasks at once; the task axis comes first. It agrees with
# the loop:

# %%
from_package = class_prototypes(support_z[None], support_y[None])  # (1, 2, 2)
print(tuple(from_package.shape), "equal to the loop:", torch.equal(from_package[0], prototypes))

# %% [markdown]
# ### From distances to probabilities
#
# A query should belong to a prototype nearby. The softmax over **minus** the distances turns that
# into probabilities (eq. 2 of the paper), where $d$ is the squared Euclidean distance:
#
# $$p(y = k \mid x) = \frac{\exp(-d(f_\phi(x), c_k))}{\sum_{k'} \exp(-d(f_\phi(x), c_{k'}))}$$
#
# The query (2, 2) has the squared distance $1 + 1 = 2$ to class 0 and $4 + 4 = 8$ to class 1, so
# $p(0) = 1 / (1 + e^{-6}) = 0.9975$.

# %%
query_z = torch.tensor([[2.0, 2.0], [2.0, 3.0]])
query_y = torch.tensor([0, 1])
squared = (query_z[:, None] - prototypes).square().sum(dim=-1)  # (2, 2)
print("squared distances", squared.tolist())
print("p(0) of each query", [f"{p:.4f}" for p in (-squared).softmax(dim=1)[:, 0].tolist()])

# %% [markdown]
# The second query, (2, 3), lies in the middle. Its squared distance is 5 to both prototypes, so
# each class gets one half. Let its true label be 1.
#
# Training minimises the **cross-entropy**, the mean of $-\ln p(\text{true class})$ over the queries,
# in **nats** (units of the natural logarithm). By hand: $-\ln 0.9975 = 0.0025$ and $-\ln 0.5 = 0.6931$; their mean is 0.3478 nats.

# %%
by_hand = -(torch.tensor([1 / (1 + torch.tensor(-6.0).exp()), 0.5]).log()).mean()
one_call = F.cross_entropy(-squared, query_y)
print(f"by hand {by_hand:.4f}, one call {one_call:.4f} nats")

# %% [markdown]
# That is the whole method. `PrototypicalNetwork` puts these two steps around an encoder; with an
# encoder that does nothing, it must reproduce our numbers.

# %%
on_paper = PrototypicalNetwork(encoder=nn.Identity())
predictor = on_paper.adapt(support_z, support_y)  # the support set has become a predictor
scores = predictor(query_z)
print("scores", scores.tolist())
print("equal to minus the squared distance:", torch.equal(scores, -squared))

# %% [markdown]
# ## 4. Three distances
#
# The paper squares the Euclidean distance. Does that matter? Take the query (2, 2) once more.
#
# > **Predict.** Choose an answer, then run the cells below the question.

# %%
predict("root_of_the_distance")

# %% [markdown]
# > **Predict.** And what will the cosine distance, $1 - \cos$, be from (2, 2) to (1, 1) and to (4,
# > 4)?

# %%
for name in ("squared_euclidean", "euclidean", "cosine"):
    learner = PrototypicalNetwork(nn.Identity(), distance=name)
    scores = learner.adapt(support_z, support_y)(query_z[:1])[0]
    near, far = (-scores).abs().tolist()
    print(f"{name:18s} distances {near:.2f} {far:.2f}  p(0) {scores.softmax(0)[0]:.4f}")

# %% [markdown]
# - **Squared or not, the winner is the same**, because squaring preserves the order. But the
#   probability falls from 0.9975 to 0.8044, so the loss and its gradient differ.
# - **The cosine looks only at the direction.** All three points lie on one diagonal, so the cosine
#   sees no difference.
#
# The next figure shows this in the plane, with three prototypes. The colour says which class wins.
# A strong colour means a confident answer, and white means a guess. We explain the fourth panel
# below the figure.

# %%
from metalearn_edu.explorers.prototypes import plot_regions

centres = torch.tensor([[1.0, 1.0], [3.0, 5.0], [5.0, 1.0]])
kinds = (("squared_euclidean", 1), ("euclidean", 1), ("cosine", 1), ("cosine", 0.1))
fig, axes = plt.subplots(1, 4, figsize=(8.8, 2.5), layout="constrained", sharey=True)
for ax, (name, temperature) in zip(axes, kinds, strict=True):
    learner = PrototypicalNetwork(nn.Identity(), distance=name, temperature=temperature)
    predictor = learner.adapt(centres, torch.arange(3))  # one support item per class
    _ = plot_regions(predictor, (-1, 6), (-1, 6), ax=ax)
    for label, centre in enumerate(centres.tolist()):
        _ = ax.text(*centre, str(label), ha="center", va="center", fontweight="bold")
    name = name.replace("_", " ").replace("squared ", "squared\n")
    _ = ax.set_title(name if temperature == 1 else f"{name}, divided\nby 0.1")
text = "Regions of three prototypes. Squared Euclidean: strong colours, straight borders halfway."
text += (
    " Euclidean: the same borders, paler around them. Cosine: wedges from the origin, nearly white."
)
describe(fig, f"{text} Cosine divided by 0.1: the same wedges, stronger.")
plt.show()

# %% [markdown]
# The first two have the same borders, straight lines halfway between prototypes; with the unsquared
# distance, the colours stay pale for a long way around them. The cosine gives wedges that meet at
# the origin, and it is pale everywhere: its distances lie between 0 and 2, so the scores can never
# be far apart. If we divide them by 0.1, the same wedges get stronger colours.
#
# ### Temperature
#
# Dividing the scores by a **temperature** $\tau$ makes a softmax sharper ($\tau < 1$) or softer
# ($\tau > 1$). It never changes the winner. For our query the scores differ by 6, so
# $p(0) = 1/(1 + e^{-6/\tau})$:

# %%
for temperature in (0.5, 1, 3, 10, 100):
    learner = PrototypicalNetwork(nn.Identity(), temperature=temperature)
    p = learner.adapt(support_z, support_y)(query_z[:1]).softmax(dim=1)[0, 0]
    print(f"temperature {temperature:5.1f}: p(0) = {p:.4f}")

# %% [markdown]
# With the squared distance, the encoder can set its own temperature: embeddings twice as large make
# the scores four times as large, which amounts to $\tau = 1/4$. The cosine ignores the length, so
# it cannot do that. In a 5-way task, even a perfect match (distance 0, and the largest distance, 2,
# to all others) gets only $1/(1 + 4e^{-2}) = 0.65$, and no training removes this loss of 0.43 nats.
# **Cosine needs a temperature of about 0.1 or less**; with 0.1 the same match has $1/(1 +
# 4e^{-20})$, practically 1. Section 7 trains both and shows what this is worth.

# %%
perfect_match = -torch.tensor([0.0, 2.0, 2.0, 2.0, 2.0])
for temperature in (1.0, 0.1):
    p = (perfect_match / temperature).softmax(dim=0)[0]
    print(f"temperature {temperature}: p = {p:.4f}, loss {abs(p.log()):.4f} nats")

# %% [markdown]
# ## 5. It is a linear classifier
#
# Multiply the square out:
#
# $$-\lVert z - c_k \rVert^2 = \underbrace{2 c_k}_{w_k} \cdot z \; \underbrace{- \lVert c_k \rVert^2}_{b_k} \; - \lVert z \rVert^2$$
#
# The last term is the same for every class, and the softmax does not see what all classes share.
# What remains is a linear layer whose weights come from the support set, without a single gradient
# step. By hand, for (2, 2): class 0 has $w = (2, 2)$, $b = -2$ and the score $8 - 2 = 6$; class 1
# has $w = (8, 8)$, $b = -32$ and the score $32 - 32 = 0$. The scores differ by 6, as before.
#
# ### Exercise 2: the support set writes a layer (7 minutes, medium)
#
# Write the function that learns a task: from a support set to the weight and the bias of a linear
# layer, $w_k = 2c_k$ and $b_k = -\lVert c_k \rVert^2$. Take the prototypes from your function of
# exercise 1, or import ours: `from metalearn_edu.exercises.lessons.prototypical_networks import class_means`.


# %%
def my_linear_layer(support_z, support_y, n_way):
    """The linear layer that a support set writes.

    support_z, support_y: (S, d) and (S,), as in exercise 1.
    Returns weight (n_way, d) and bias (n_way,): the scores of query_z (Q, d) will be
    query_z @ weight.T + bias.
    """
    raise NotImplementedError


check(my_linear_layer)

# %% [markdown]
# We check the claim on many random points, in float64: the scores differ, the probabilities do not.

# %%
from metalearn_edu.exercises.lessons.prototypical_networks import linear_layer

generator = torch.Generator().manual_seed(0)
some_z = torch.randn(1000, 64, dtype=torch.float64, generator=generator)
some_c = torch.randn(5, 64, dtype=torch.float64, generator=generator)
weight, bias = linear_layer(some_c, torch.arange(5), n_way=5)  # one item per class
linear = some_z @ weight.T + bias
minus_squared = on_paper.predict(some_c[None], some_z[None])[0]
print("scores equal:", torch.allclose(linear, minus_squared))
print("probabilities equal:", torch.allclose(linear.softmax(1), minus_squared.softmax(1)))

# %% [markdown]
# So everything that is not linear happens in the encoder. Training shapes the encoder so that new
# classes become linearly separable from a few examples.
#
# ### What the probabilities do not notice
#
# Squared distances see only differences. Move every embedding by the same vector, or give each
# support item twice, and nothing changes. Cosine measures angles from the origin, so a shift
# changes it.

# %%
move = torch.tensor([7.0, 0.0])
for name in ("squared_euclidean", "cosine"):
    learner = PrototypicalNetwork(nn.Identity(), distance=name)
    p, shifted, doubled = (
        learner.adapt(s, y)(q).softmax(dim=1)
        for s, y, q in (
            (support_z, support_y, query_z),
            (support_z + move, support_y, query_z + move),
            (support_z.repeat(2, 1), support_y.repeat(2), query_z),
        )
    )
    print(
        f"{name:18s} shifted: {torch.allclose(p, shifted)}, doubled: {torch.allclose(p, doubled)}"
    )

# %% [markdown]
# ## 6. Why the mean?
#
# Why not the median, or the most typical item? There are two answers, and both depend on the
# square.
#
# **The mean is closest to all items together.** Put one point $c$ anywhere, and add up its squared
# distances to the items of a class. The sum is smallest at the mean, and nowhere else. For
# unsquared distances on a line, it is smallest at the median. The squared Euclidean distance
# belongs to a family, the **Bregman divergences**: for each of them, the mean is the best single
# representative. The unsquared Euclidean and the cosine distance do not belong to it.
#
# **The mean is what Bayes would use.** Suppose that each class is a round cloud, a Gaussian, and
# all clouds are equally wide ($\sigma$) and equally likely. Then Bayes' rule says exactly: softmax
# over $-\lVert z - c_k \rVert^2 / 2\sigma^2$, with $c_k$ the centre of the cloud. The best estimate
# of that centre is the mean of the items. The temperature is $2\sigma^2$.

# %%
from torch.distributions import Independent, Normal

sigma = 0.8
clouds = Independent(Normal(centres, sigma), 1)  # three round clouds in the plane
points = torch.tensor([[2.0, 2.0], [3.0, 1.0], [4.0, 2.5]])
bayes = clouds.log_prob(points[:, None]).softmax(dim=1)
rule = PrototypicalNetwork(nn.Identity(), temperature=2 * sigma**2)
by_distance = rule.predict(centres[None], points[None])[0].softmax(dim=1)
print("Bayes' rule equals the softmax of distances:", torch.allclose(bayes, by_distance, atol=1e-6))

# %% [markdown]
# The first answer in a picture: the items 0, 0, 0, 1 and 4 on a line, and the sum of their
# distances to one point $c$.

# %%
items, c = torch.tensor([0.0, 0, 0, 1, 4]), torch.linspace(-1, 4, 251)
gap = (c[:, None] - items).abs()
fig, ax = plt.subplots(figsize=(6.4, 3), layout="constrained")
for sums, name in ((gap.square().sum(dim=1), "squared"), (gap.sum(dim=1), "unsquared")):
    _ = ax.plot(c, sums, "-" if name == "squared" else "--", label=name)
    _ = ax.plot(c[sums.argmin()], sums.min(), "ko")
_ = ax.set(xlabel="c", ylabel="sum of distances", ylim=(0, 40), title="dots: the smallest sum")
_ = ax.legend()
text = "The squared sum is a parabola, smallest, 12, at the mean c = 1; the unsquared sum is a line"
describe(fig, f"{text} with bends, smallest, 5, at the median c = 0.")
plt.show()

# %% [markdown]
# The squared sum is smallest at the mean, 1, and the unsquared sum at the median, 0.
#
# The next figure shows the second answer: three round clouds, and two clouds that are long and
# thin, with the regions of the distance rule.
#
# > **Predict.** Where will the border between the two thin clouds run: between the clouds, or through
# > them?

# %%
long_centres = torch.tensor([[2.0, 1.5], [3.5, 3.0]])
noise = torch.randn(3, 60, 2, generator=generator)
stretched = noise[:2] * torch.tensor([1.6, 0.35])
pictures = {
    "round and equally wide": (centres, sigma * noise),
    "long and thin": (long_centres, stretched),
}
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.2), layout="constrained")
for ax, (title, (middle, cloud)) in zip(axes, pictures.items(), strict=True):
    labels = torch.arange(len(middle))
    z = (middle[:, None] + cloud).flatten(0, 1)
    _ = plot_embedding(z, labels.repeat_interleave(60), prototypes=middle, ax=ax)
    _ = plot_regions(rule.adapt(middle, labels), (-2, 7), (-2, 7), ax=ax)
    _ = ax.set_title(title, loc="left")
plt.show()

# %% [markdown]
# On the left, no borders could be better. On the right, a horizontal border would separate the two
# clouds. But the rule draws its border halfway between the means, at a right angle to the line that
# joins them, whatever the shape of the clouds. So the encoder has work to do. Training rewards any
# embedding in which straight borders halfway between the means separate the classes. Round, equally
# wide clouds would do; section 9 looks at what the encoder finds.
#
# ## 7. Training
#
# Now the encoder learns. One outer step draws episodes from meta-train, computes prototypes
# from the support set, and lowers the cross-entropy of the queries with Adam; the **outer loop**
# repeats it. Other methods have an **inner loop** too, the gradient steps that adapt a network to
# one task. Here there is none, because learning a new task means taking a mean.
#
# We will test with 5 ways. Should we train with 5 ways, too? In a 20-way episode, the network must
# tell each query from 19 other letters, not just 4. We compare the two at the same number of images
# per outer step: one 20-way episode of $20 \cdot (1 + 5) = 120$ images, or four 5-way episodes of
# $5 \cdot (1 + 5) = 30$.
#
# > **Predict.** Both are tested 5-way 1-shot on meta-val. Which is ahead after 300 steps, and by
# > how much?
#
# The first run takes about 40 seconds on one core, the second about 15. During the first run, we
# keep the embeddings of every fifth meta-val letter after some of the steps, to make a film.

# %%
from metalearn_edu.explorers.training_film import TrainingFilm, filming

val_tasks = EpisodeSampler(val, n_way=5, n_shot=1, n_query=5)
settings = {"meta_lr": 3e-3, "val_tasks": val_tasks, "val_every": 150, "n_val_episodes": 200}

torch.manual_seed(0)
protonet = PrototypicalNetwork(ConvNet(width=64, downsample="stride"))
train_20way = EpisodeSampler(train, n_way=20, n_shot=1, n_query=5)
new_letters = val.subset(range(0, val.n_classes, 5))  # every fifth letter of meta-val
with filming(protonet, new_letters, (0, 10, 25, 50, 100, 200, 400, 750)) as frames:
    history_20way = meta_train(protonet, train_20way, n_steps=750, n_tasks_per_batch=1, **settings)
print(history_20way.n_steps, "outer steps; meta-val measured after", history_20way.val_steps)
print("frames after", list(frames), "steps, of", new_letters.n_classes, "letters")

# %%
torch.manual_seed(0)
other = PrototypicalNetwork(ConvNet(width=64, downsample="stride"))
train_5way = EpisodeSampler(train, n_way=5, n_shot=1, n_query=5)
history_5way = meta_train(other, train_5way, n_steps=300, n_tasks_per_batch=4, **settings)
print(history_5way.n_steps, "outer steps; meta-val measured after", history_5way.val_steps)

# %% [markdown]
# Both curves are measured on the same 200 meta-val episodes.

# %%
from metalearn_edu.plotting import plot_history

fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
for row, (history, name) in enumerate(((history_20way, "20-way"), (history_5way, "5-way"))):
    label = f"{name} training"
    _ = plot_history(history, quantity="validation", label=label, index=row, ax=ax)
_ = ax.set_title("5-way 1-shot, 200 meta-val episodes", loc="left")
plt.show()

# %%
at_300 = [h.val_scores[h.val_steps.index(300)] for h in (history_20way, history_5way)]
print("20-way training is ahead after 300 steps:", at_300[0] > at_300[1])
assert at_300[0] > at_300[1], f"20-way {at_300[0]:.3f}, 5-way {at_300[1]:.3f}"
assert history_20way.val_scores[-1] > 0.85, f"meta-val {history_20way.val_scores[-1]:.3f}"

# %% [markdown]
# The same number of images teaches more when it is arranged in harder episodes. (The losses of the
# two runs would tell us nothing: guessing costs $\ln 20 = 3.0$ nats in 20-way and $\ln 5 = 1.6$ in
# 5-way.)
#
# One run is a single draw. So we trained each kind with three seeds for 300 steps, and scored 600
# meta-val episodes: 89.4, 89.8 and 90.5 % with 20-way training, 82.7, 86.6 and 83.6 % with 5-way
# training. Lesson 02 says how to read this: pair the runs by seed, and treat the three differences,
# 6.7, 3.2 and 6.9 points, as a sample. Their mean is 5.6, and Student's factor for three values is
# 4.30: 5.6 ± 4.30 · 2.1 / √3 = **5.6 ± 5.2 points**. This interval excludes 0, but not by much. The
# interval over episodes, ± 0.7, would have been the wrong yardstick, because it says nothing about
# other seeds.
#
# The paper found the same, and trains with 60 ways for 5-way tests. But more ways do not help
# forever; see section 12.
#
# <details><summary>How to remake these six numbers (a few minutes)</summary>
#
# ```python
# for seed in (0, 1, 2):
#     for tasks, n_tasks in ((train_20way, 1), (train_5way, 4)):
#         torch.manual_seed(seed)
#         learner = PrototypicalNetwork(ConvNet(width=64, downsample="stride"))
#         meta_train(learner, tasks, n_steps=300, n_tasks_per_batch=n_tasks, meta_lr=3e-3, seed=seed)
#         print(seed, tasks.n_way, evaluate_meta_learner(learner, EpisodeSampler(val, 5, 1)))
# ```
# </details>
#
# ### Explore: the film
#
# The film shows one task of five letters that the network never trains on, after 0, 10, 25, ... 750
# outer steps, in its **principal plane**, the plane in which its prototypes differ most. Numbered
# circles are prototypes, small marks are queries, a black ring is a query that gets the wrong
# class. On the right is the loss of new episodes against the temperature, with one line for each
# frame: each line is a valley.
#
# > **Predict.** The temperature is 1 throughout training, and the training episodes have one shot.
# > If we test the trained network with five shots, will the lowest loss be at a temperature above
# > or below 1?
#
# 1. Press **Next frame** seven times. What happens to the clouds, the rings, and the numbers on the
#    axes? What happens to the position and the depth of the valley?
# 2. Move only the temperature. What changes in the left picture, and what does not?
# 3. In the last frame, go from one shot to five. Where is the bottom of the valley now?

# %%
film = TrainingFilm(frames)
film

# %% [markdown]
# The first and the last frame in words, from code:

# %% tags=["nbval-ignore-output"]
for frame in (0, len(frames) - 1):
    print(film.describe(**{**film.state, "frame": frame}))

# %% [markdown]
# <details><summary>What we saw</summary>
#
# 1. The prototypes move apart, the axes become about twice as long, the queries gather near their
#    prototypes, and most rings disappear. The valley becomes deeper, from about 1.4 nats to 0.2,
#    and its bottom stays near temperature 1. That is no coincidence. Small networks that we trained
#    with temperature 0.2, 1 and 5 (three seeds each, as in the experiment below) had theirs at 0.2,
#    0.8 to 1, and 4: the encoder adjusts its scale to the temperature that it trains with.
# 2. Only the colours change. No border moves, and no ring appears or disappears.
# 3. It is at about 0.5, half as high as before (in the small networks too: 0.1, 0.5 to 0.6, and 2).
#    A prototype of five items lies nearer to the centre of its cloud than one item does, so the
#    distances are smaller. For Gaussian clouds, queries scatter around the mean of $K$ items with
#    variance $\sigma^2 (1 + 1/K)$: that is $2\sigma^2$ with one shot and $1.2\sigma^2$ with five, a
#    factor of 0.6. (Section 9 shows that the clouds are not quite Gaussian.)
# </details>
#
# ### An experiment: which distance trains best?
#
# Section 4 compared distances on paper. Now four small networks train with 20-way episodes for 150
# steps, from the same first weights and with the same episodes. Only the distance and its
# temperature differ.
#
# > **Predict.** Rank the four: squared Euclidean, Euclidean, cosine, and cosine with temperature
# > 0.05. How far apart are the best and the worst?

# %%
small = {}
for name, temperature in (
    ("squared_euclidean", 1),
    ("euclidean", 1),
    ("cosine", 1),
    ("cosine", 0.05),
):
    torch.manual_seed(0)
    learner = PrototypicalNetwork(ConvNet(width=32, downsample="stride"), name, temperature)
    meta_train(learner, train_20way, n_steps=150, n_tasks_per_batch=1, meta_lr=3e-3)
    tasks = EpisodeSampler(embed_dataset(learner.encoder, val), n_way=5, n_shot=1)
    label = name.replace("_", " ") + f", temperature {temperature}" * (name == "cosine")
    small[label] = evaluate_meta_learner(PrototypicalNetwork(nn.Identity(), name), tasks)

# %%
from metalearn_edu.plotting import plot_intervals

ax = plot_intervals(small, split="meta-val")
_ = ax.set_title("5-way 1-shot after 150 steps, one seed", loc="left")
plt.show()
scores = [e.mean for e in small.values()]
assert scores[2] < min(scores[0], scores[1], scores[3]) - 0.05, scores
print("cosine with temperature 1 is last, by more than 5 points")

# %% [markdown]
# With seeds 0, 1 and 2 these small networks scored 75, 78 and 75 % (squared), 69, 74 and 71 %
# (unsquared), 59, 60 and 60 % (cosine, temperature 1) and 76, 78 and 75 % (cosine, temperature
# 0.05). The larger network after 300 steps: 89 to 91, 87 to 89, 68 to 72 and 88 to 90 %. Paired by
# seed as above, cosine with temperature 0.05 is 0.9 ± 1.4 points behind squared Euclidean there, so
# we cannot tell them apart. **Cosine is not the worse distance; cosine without a temperature is.**
# Unsquared Euclidean is behind by 1.7 ± 1.8 points after 300 steps, and by 4 to 5 in the short
# runs.
#
# ## 8. Meta-test
#
# The settings are fixed now, so we may open meta-test. Three kinds of episodes, 600 of each, have
# about 270,000 queries. There is a shortcut for methods that do not change their encoder: **the
# embedding of an item does not depend on the task**. So we embed the whole meta-test set once,
# about 3,100 images, and draw the episodes from the embeddings. `embed_dataset` keeps the classes
# and their order, so the sampler draws exactly the same episodes.

# %%
embedded = embed_dataset(protonet.encoder, test)
print(test)
print(embedded)

images, vectors = (EpisodeSampler(d, n_way=5, n_shot=1).episodes(0, 0, 1) for d in (test, embedded))
with torch.no_grad():
    long_way = protonet(images.support_x, images.support_y, images.query_x)
    short_cut = on_paper(vectors.support_x, vectors.support_y, vectors.query_x)
print("same scores:", torch.allclose(long_way, short_cut, rtol=1e-3))

# %% [markdown]
# Nearest pixel needs no code of its own: it is `PrototypicalNetwork(nn.Flatten())`, whose embedding
# is the picture itself. With one shot, the mean of one item is that item. With five shots, the rule
# is the nearest mean picture.
#
# > **Predict.** ProtoNet on 5-way 1-shot: 70, 80 or 90 %? And what will it be with 20 ways, and
# > with five shots?

# %%
learners = {
    "ProtoNet": (on_paper, embedded),
    "nearest pixel": (PrototypicalNetwork(nn.Flatten()), test),
}
kinds = ((5, 1), (5, 5), (20, 1))  # n_way, n_shot
results = {
    (name, *kind): evaluate_meta_learner(
        learner, EpisodeSampler(data, *kind), n_episodes=600, chunk_size=5
    )
    for name, (learner, data) in learners.items()
    for kind in kinds
}
print(len(results), "evaluations of 600 episodes each")

# %%
fig, axes = plt.subplots(3, 1, figsize=(5.6, 4.8), layout="constrained")
for ax, (n_way, n_shot) in zip(axes, kinds, strict=True):
    _ = plot_intervals({name: results[name, n_way, n_shot] for name in learners}, ax=ax)
    _ = ax.set_title(f"{n_way}-way {n_shot}-shot", loc="left")
    if ax is not axes[-1]:
        _ = ax.set_xlabel("")
plt.show()

# %% [markdown]
# The bars are 95 % intervals over 600 meta-test episodes with 15 queries per class; most are
# smaller than the dot. They are about the episodes drawn, not about the luck of one training run.
# We also compute the paired difference on the same episodes, as in lesson 02.

# %% tags=["nbval-ignore-output"]
for n_way, n_shot in kinds:
    pair = Comparison(*(results[name, n_way, n_shot] for name in learners))
    assert pair.difference.interval[0] > 0.15, pair
    print(f"{n_way}-way {n_shot}-shot, ProtoNet minus nearest pixel: {pair.difference}")

# %%
one_shot = results["ProtoNet", 5, 1].mean
print("ProtoNet 5-way 1-shot above 80 %:", one_shot > 0.8)
assert one_shot > 0.8, f"meta-test accuracy {one_shot:.3f}"

# %% [markdown]
# So the network sees a letter of a new script once, and then picks it out of five about nine times
# in ten. With three training seeds, the 5-way 1-shot meta-test accuracy was 91 to 93 %, where
# nearest pixel has 45 %. With five shots it was 97 to 98 %, and among twenty letters 75 to 78 %,
# where a random guess has 5 %. How close were your three predictions? More shots make a better
# mean: the error of a mean of five items is smaller than that of one item by a factor $\sqrt 5$.
#
# (Lesson 02 had 67 to 72 % with this method, lesson 00 had 93 to 94 %. The networks differ in width
# and training: 60 outer steps there, 750 here, and 1,300 in lesson 00, in 30-way episodes.)
#
# ## 9. A look at the embedding
#
# We take one meta-test episode, 5-way 5-shot. Its 75 queries and five prototypes have 64 numbers
# each. We look at them in the principal plane.

# %%
from metalearn_edu.explorers.prototypes import principal_plane

seen = EpisodeSampler(embedded, n_way=5, n_shot=5).episodes(seed=3, start=0, n_tasks=1)
prototypes_z = class_prototypes(seen.support_x, seen.support_y)[0]  # (5, 64)
mean, plane = principal_plane(prototypes_z)  # (64,), (64, 2)
names = [test.class_names[c].title() for c in seen.classes[0]]
ax = plot_embedding(
    (seen.query_x[0] - mean) @ plane,
    seen.query_y[0],
    prototypes=(prototypes_z - mean) @ plane,
    class_names=names,
)
_ = ax.figure.set_size_inches(8.4, 3.9)
plt.show()

# %% [markdown]
# Queries (small marks) gather around the prototype of their class (numbered circles). Are the
# clouds round, as the Gaussian view of section 6 assumes? A plane shows only a shadow of the 64
# directions, so we measure in all 64: for each of the 156 classes, we compute the share of its
# variance that lies along its longest direction. As a control, we do the same with round clouds of
# the same size.
#
# > **Predict.** Will the shares of the classes be equal to those of the round clouds, larger, or
# > smaller?


# %%
def longest_share(z):
    """Share (C,) of the variance of z (C, items, d) along the longest direction of each class."""
    spread = torch.linalg.svdvals(z - z.mean(dim=1, keepdim=True)).square()
    return spread[:, 0] / spread.sum(dim=1)


by_class = torch.stack([embedded.items[embedded.labels == c] for c in range(embedded.n_classes)])
round_clouds = torch.randn(by_class.shape, generator=generator)
fig, ax = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
shares = {
    "letters of meta-test": longest_share(by_class),
    "round clouds": longest_share(round_clouds),
}
for hatch, (name, share) in zip(("", "///"), shares.items(), strict=True):
    bins, label = torch.linspace(0, 0.6, 31).tolist(), f"{name}, mean {100 * share.mean():.0f} %"
    _ = ax.hist(share, bins=bins, alpha=0.6, label=label, hatch=hatch)
_ = ax.set(xlabel="share of a class's variance along one direction", ylabel="classes")
_ = ax.legend()
text = ", ".join(f"{name} {100 * share.mean():.0f} %" for name, share in shares.items())
describe(ax, f"Two histograms of the longest direction's share that hardly overlap. Means: {text}.")
plt.show()
assert shares["letters of meta-test"].mean() > 1.5 * shares["round clouds"].mean()

# %% [markdown]
# The clouds are far from round: each has a direction with more than twice the share of a round one.
# The network has not learned the embedding of the Gaussian view. It does not need to, because
# straight borders halfway between the means separate these clouds well enough.
#
# ### Explore
#
# The explorer colours the plane by the class that wins. With `n_way=3` it is not just a shadow:
# three prototypes span a plane, and with a Euclidean distance, squared or not, the borders that you
# see are those that the network uses. A black ring marks a query that gets the wrong class.
#
# 1. Move `n_shot` from 1 to 10. How do the prototypes move, and what happens to the rings?
# 2. Change `distance`. Which borders move? What do the colours do?
# 3. With `cosine`, lower the `temperature`. Does a ring appear or disappear?

# %%
from metalearn_edu.explorers.prototypes import PrototypeExplorer

explorer = PrototypeExplorer(embedded)
explorer

# %% [markdown]
# You can move the controls from Python, too; the picture above follows. Then we reset it.

# %%
explorer.set(n_way=5, n_shot=5, distance="euclidean")
print(explorer.state)
explorer.reset()

# %% [markdown]
# <details><summary>What we saw</summary>
#
# 1. With more shots, the prototypes move to the middle of their clouds, and most of the rings
#    disappear; try several episodes, and more ways.
# 2. From squared to unsquared, no border moves, and no ring appears or disappears; only the colours
#    fade. Cosine moves the borders, and its colours are nearly white at temperature 1.
# 3. None does. The colours become stronger; the temperature changes only how confident the answers
#    are.
# </details>
#
# ## 10. A relative: Matching Networks
#
# A year earlier, Vinyals et al. (2016) published a method that keeps every support item. A query
# pays **attention** to each item, a softmax over all support items, and the probability of a class
# is the sum of the attention to its items:
#
# $$p(y = k \mid x) = \sum_{i:\, y_i = k} a(x, x_i), \qquad a = \mathrm{softmax}_i\big(-d(f(x), f(x_i))\big)$$
#
# (They used cosine similarity; we use the squared distance, so that we can compare.) One method
# first averages the points and then measures distances; the other first measures distances and then
# adds up.
#
# > **Predict.** Choose an answer. The cell after exercise 3 will show the result.

# %%
predict("when_the_two_agree")

# %% [markdown]
# ### Exercise 3: attention (8 minutes, medium)
#
# Write the class probabilities: the formula above with the squared distance. Try it by hand first:
# three items have the squared distances $\ln 2$, $2 \ln 2$ and $2 \ln 2$ from a query, and the
# labels 0, 1, 0. The exponentials of minus these distances are 1/2, 1/4 and 1/4, which already sum
# to 1. What is the probability of class 0?


# %%
def my_attention_probabilities(query_z, support_z, support_y, n_way):
    """Class probabilities by attention to each support item.

    query_z: (Q, d). support_z: (S, d) with labels support_y (S,) in any order.
    Returns (Q, n_way); every row sums to 1.
    """
    raise NotImplementedError


check(my_attention_probabilities)

# %% [markdown]
# Now we run both methods on the same embeddings, with one shot and with five.

# %%
from metalearn_edu.exercises.lessons.prototypical_networks import attention_probabilities

for n_shot in (1, 5):
    episode = EpisodeSampler(embedded, 5, n_shot).episodes(seed=3, start=0, n_tasks=1)[0]
    matching = attention_probabilities(episode.query_x, episode.support_x, episode.support_y, 5)
    proto = on_paper.adapt(episode.support_x, episode.support_y)(episode.query_x).softmax(dim=1)
    print(f"{n_shot}-shot: the same probabilities: {torch.allclose(matching, proto, atol=1e-4)}")

# %% [markdown]
# With one shot, the mean of one item is the item itself, so the two methods are the same. With more
# shots they differ: Matching Networks follow the nearest items, Prototypical Networks the middle of
# the class.
#
# ## 11. Find the bug
#
# ### A: the probabilities are too soft
#
# A colleague reimplements the method and reports: "The accuracy is right to the last digit, but my
# network is never confident." Here is the code, beside the package's, on the trained embeddings.


# %%
def their_log_probabilities(query_z, prototypes):
    distance = torch.cdist(query_z, prototypes)  # (Q, n_way)
    return F.log_softmax(-distance, dim=-1)


z = seen.query_x[0]
theirs = their_log_probabilities(z, prototypes_z).exp()
ours = on_paper.predict(prototypes_z[None], z[None])[0].softmax(dim=1)
print("same answers:", torch.equal(theirs.argmax(dim=1), ours.argmax(dim=1)))
print("their top probability is lower:", bool(theirs.amax(1).mean() < ours.amax(1).mean() - 0.1))

# %%
fig, ax = plt.subplots(figsize=(6.4, 3), layout="constrained")
for p, name in ((theirs, "theirs"), (ours, "ours")):
    top = p.amax(dim=1)
    label = f"{name}, mean {top.mean():.2f}"
    look = {"hatch": "///"} if name == "theirs" else {}
    _ = ax.hist(top.numpy(), torch.linspace(0.2, 1, 17).tolist(), alpha=0.6, label=label, **look)
_ = ax.set(xlabel="top probability of a query", ylabel="queries")
_ = ax.legend()
means = theirs.amax(1).mean(), ours.amax(1).mean()
text = "Histograms of the top probability of 75 queries: theirs lies between 0.2 and 0.8, mean"
describe(ax, f"{text} {means[0]:.2f}; ours is heaped up just below 1, mean {means[1]:.2f}.")
plt.show()

# %% [markdown]
# On our embeddings, the mean top probability is about 0.9 with the package's function and about 0.5
# with theirs.
#
# **Question.** What is wrong? Think of a test that tells the two functions apart and needs no
# training. (Section 4 has what you need: what happens to the scores if all embeddings are made
# twice as large?)
#
# ### Exercise 4: fix it (3 minutes, easy)
#
# Here is the function again. Fix it so that it gives the log-probabilities of section 3.


# %%
def my_log_probabilities(query_z, prototypes):
    """Log-probabilities (Q, n_way) of query_z (Q, d), from the distances to prototypes (n_way, d)."""
    distance = torch.cdist(query_z, prototypes)  # (Q, n_way)
    return F.log_softmax(-distance, dim=-1)


check(my_log_probabilities)

# %% [markdown]
# <details><summary>What the bug does</summary>
#
# <code>torch.cdist</code> gives the distance, not its square. The winner is the same, so the
# accuracy does not show it. But the probabilities, the loss and its gradient belong to another
# method: the linear view of section 5 and the Gaussian clouds of section 6 no longer apply. Section
# 7 shows the price: a few points. The fix is <code>torch.cdist(...).square()</code>, or better, the
# explicit differences that the package uses; we will see why below.
# </details>
#
# Here is the test. With squared distances, embeddings twice as large make every difference between
# scores four times as large; with unsquared distances, only twice as large.

# %%
functions = {
    "theirs": their_log_probabilities,
    "ours": lambda z, c: on_paper.predict(c[None], z[None])[0].log_softmax(dim=1),
}
for name, function in functions.items():
    once, twice = (function(s * query_z[:1], s * prototypes)[0] for s in (1, 2))
    print(f"{name}: {((twice[0] - twice[1]) / (once[0] - once[1])):.1f} times as large")

# %% [markdown]
# There is a second trap in the same function. For more than 25 rows, `torch.cdist` multiplies the
# square out, as we did in section 5. That is fast, but far from the origin it subtracts large
# numbers that are almost equal. Here are 40 points at about 1000, each measured against itself; the
# true distance is 0.

# %%
far_away = 1000 + torch.randn(40, 64, generator=torch.Generator().manual_seed(0))
by_cdist = torch.cdist(far_away, far_away).diagonal()
by_difference = (far_away[:, None] - far_away).square().sum(dim=-1).diagonal()
print("largest distance of a point to itself, cdist: above 1:", bool(by_cdist.max() > 1))
print("largest distance of a point to itself, differences:", by_difference.max().item())

# %% [markdown]
# Section 5 said that a shift changes nothing. That holds on paper; in float32 it holds only if the
# distances are computed from differences.
#
# ### B: a large loss for perfect answers
#
# The next function takes labels as they come from a data set. It finds the classes in the support
# set with `torch.unique`, makes a prototype for each, and computes the loss.


# %%
def loss_from_class_ids(support_z, support_y, query_z, query_y):
    prototypes = torch.stack(
        [support_z[support_y == c].mean(dim=0) for c in torch.unique(support_y)]
    )
    scores = -(query_z[:, None] - prototypes).square().sum(dim=-1)
    return F.cross_entropy(scores, query_y)


three_z = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])  # one support item per class
try:
    loss_from_class_ids(three_z, torch.tensor([3, 7, 9]), three_z, torch.tensor([3, 7, 9]))
except IndexError as error:
    print("classes 3, 7, 9:", type(error).__name__)

# %% [markdown]
# That failure is loud. Now we take the classes 1, 2, 4, and two queries that lie exactly on the
# prototypes of class 1 and class 2.
#
# > **Predict.** What is the loss of these two perfect queries?

# %%
loss = loss_from_class_ids(three_z, torch.tensor([1, 2, 4]), three_z[:2], torch.tensor([1, 2]))
print(f"classes 1, 2, 4: loss {loss:.2f} nats")

# %% [markdown]
# There is no error, but a loss of about 13 nats where it should be nearly 0. Training would teach
# the network wrong answers.
#
# **Question.** Why is the first case loud and the second silent?

# %%
predict("loud_and_silent")

# %% [markdown]
# The package looks for this. `EpisodeBatch` refuses such labels, and `check_episodes` explains them
# for any four tensors:

# %%
from metalearn_edu.diagnostics import check_episodes

print(check_episodes(three_z, torch.tensor([1, 2, 4]), three_z + 1, torch.tensor([1, 2, 4])))

# %% [markdown]
# ### Exercise 5: remap the labels (5 minutes, easy)
#
# Here is the step that is missing, as a function. It returns the class ids of the columns, and then
# the support and the query labels, which must give the column of each item. It keeps the ids,
# because without them nobody can say which letter was meant. Fix it.
#
# Two functions help. `torch.unique(y, return_inverse=True)` gives the sorted ids and the position
# of each item of `y` among them; `torch.searchsorted(classes, y)` gives the positions of `y` in a
# tensor that is already sorted. The queries of an episode may happen to have fewer classes than the
# support set.
#
# (Lesson 01 calls sorted labels a bug, and here we sort. For a Prototypical Network the order of the
# columns makes no difference, because it permutes the prototypes with them. For a network with a
# fixed output for each label, such as MAML's, sorted labels give the classes away: there the labels
# must also be shuffled, as in lesson 01.)


# %%
def my_remap_labels(support_y, query_y):
    """Labels of an episode from class ids.

    support_y, query_y: (S,) and (Q,) int64 class ids; each id of query_y is in support_y, too.
    Returns classes (n_way,), sorted, and int64 labels (S,) and (Q,) in 0..n_way-1.
    """
    classes = torch.unique(support_y)
    return classes, support_y, query_y


check(my_remap_labels)

# %% [markdown]
# With the labels remapped, the loss of the two perfect queries is nearly 0.

# %%
from metalearn_edu.exercises.lessons.prototypical_networks import remap_labels

classes, new_support_y, new_query_y = remap_labels(torch.tensor([1, 2, 4]), torch.tensor([1, 2]))
repaired = loss_from_class_ids(three_z, new_support_y, three_z[:2], new_query_y)
print("classes", classes.tolist(), "labels", new_support_y.tolist(), new_query_y.tolist())
print(f"loss {repaired:.4f} nats")

# %% [markdown]
# ## 12. Limits
#
# - **One mean for each class.** A class that consists of two clouds, such as capital and small
#   letters together, has its mean in between, where there are none of its items. The next cell
#   shows the worst case.
# - **The encoder is fixed at test time.** The support set moves the means and nothing else. If the
#   new classes differ in something that the encoder has learned to ignore, more shots cannot bring
#   it back. MAML (lesson 05) can change its features.
# - **The numbers of shots should match.** Means of one item scatter more than means of five. The
#   paper found 65.0 % for 5-shot tests after 1-shot training on miniImageNet, and 68.2 % when both
#   were 5-shot. We trained with one shot.
# - **More ways help only up to a point.** In the paper, 5-shot accuracy on miniImageNet fell from
#   68.2 to 66.8 % between 20-way and 30-way training.
# - **Simple methods come close.** In a careful rerun (Chen et al. 2019), a plain classifier with a
#   new head reached 62.5 to 66.4 % on miniImageNet 5-shot with the same small network, and ProtoNet
#   64.2 %.

# %%
two_clouds = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, 0.5], [0.0, -0.5]])
labels = torch.tensor([0, 0, 1, 1])  # class 0 lies on both sides of class 1
both = class_prototypes(two_clouds[None], labels[None])[0]
p = on_paper.adapt(two_clouds, labels)(two_clouds).softmax(dim=1)
print("prototypes", both.tolist())
print("p(class 0) of the four support items", p[:, 0].tolist())

# %% [markdown]
# The two prototypes are the same point, so every answer is a guess, even for the items that it was
# shown. A network can avoid this only with an encoder that brings both clouds together.
#
# ## 13. The paper's figures beside ours
#
# Meta-test accuracy in percent; ours with the 95 % interval over 600 episodes of 15 queries per
# class, as in the figure of section 8.
#
# | method and data | 5-way 1-shot | 5-way 5-shot | 20-way 1-shot |
# |---|---|---|---|
# | ProtoNet, Omniglot (Snell et al. 2017, Table 1) | 98.8 | 99.7 | 96.0 |
# | Matching Networks, Omniglot (Vinyals et al. 2016) | 98.1 | 98.9 | 93.8 |
# | raw pixels, cosine, Omniglot (Vinyals et al. 2016) | 41.7 | 63.2 | 26.7 |
# | ProtoNet, Glyphs (ours, inductive, three seeds) | 91 to 93, each ± 0.6 | 97 to 98, each ± 0.3 | 75 to 78, each ± 0.5 |
# | nearest pixel, Glyphs (ours, the same episodes) | about 45 ± 0.7 | about 69 ± 0.7 | about 23 ± 0.3 |
#
# They are not directly comparable. The data differ: Omniglot was drawn by 20 people, ours from
# print; the paper counts turned letters as further classes (4,112 to train on; we have about 900).
# The network differs a little (pooling and batch normalisation there). Above all, the paper trains
# to convergence, in 60-way episodes and with the shots of the test; we stop after a minute. What
# agrees is the order.
#
# For the claims of this lesson, the paper has these figures on miniImageNet:
#
# | claim | published |
# |---|---|
# | more ways in training help (5-way 1-shot) | 5-way 46.1, 10-way 48.3, 15-way 48.6, 20-way 48.6, 30-way 49.4 |
# | squared Euclidean beats plain cosine (5-way 5-shot, 20-way training) | cosine 51.5, squared Euclidean 68.2 |
# | squared Euclidean beats plain cosine (5-way 1-shot, 20-way training) | cosine 43.6, squared Euclidean 49.2 |
#
# The paper mentions no temperature for its cosine. In our experiment of section 7 a temperature of
# 0.05 closes the gap; we have not tried it on miniImageNet.
#
# ## 14. Recap
#
# What you have done in this lesson, as far as the checks know:

# %%
progress(3)

# %% [markdown]
# You can now
#
# - compute a prototype on paper, in a loop and as a product with the one-hot labels;
# - say that the square root changes the probabilities but not the winner, that the cosine sees only
#   directions, and that with a suitable temperature it trains about as well as the squared
#   distance;
# - write the method as a linear layer, $w = 2c$ and $b = -\lVert c \rVert^2$, and say why the mean
#   is right: it minimises squared distances, and it is Bayes' rule for equal round clouds (which
#   trained embeddings do not have);
# - train it in episodes with more ways than the test has, and measure it with an interval against
#   nearest pixel on the same episodes;
# - spot an unsquared distance and labels that were not remapped.
#
# **Check yourself**
#
# 1. Two prototypes are (0, 0) and (2, 0). Where is the border, and does it move if you take the
#    square root of the distances?
# 2. We multiply all embeddings by 10. What happens to accuracy and to the top probability?
# 3. Why can we embed the meta-test set once and for all, and when would that be wrong?
#
# <details><summary>Answers</summary>
#
# 1. The border is the line on which the first coordinate is 1, halfway between them. The square
#    root does not move it.
# 2. The accuracy stays the same. The squared distances become 100 times as large, so the top
#    probability goes to 1. This is the temperature 1/100.
# 3. We can, because the encoder sees one item at a time and is not adapted to the task. With batch
#    normalisation over the episode, or with a method that changes its weights for each task, an
#    item has another embedding in every episode.
# </details>
#
# **Next:** we learned the embedding but kept the distance fixed. Can the distance be learned, too?
# [04_relation_networks](04_relation_networks.ipynb)
#
# **References**
#
# - J. Snell, K. Swersky, R. Zemel (2017). *Prototypical Networks for Few-shot Learning.* NeurIPS.
# - O. Vinyals, C. Blundell, T. Lillicrap, K. Kavukcuoglu, D. Wierstra (2016). *Matching Networks
#   for One Shot Learning.* NeurIPS.
# - W.-Y. Chen, Y.-C. Liu, Z. Kira, Y.-C. Wang, J.-B. Huang (2019). *A Closer Look at Few-shot
#   Classification.* ICLR.
# - B. Lake, R. Salakhutdinov, J. Tenenbaum (2015). *Human-level concept learning through
#   probabilistic program induction.* Science.
