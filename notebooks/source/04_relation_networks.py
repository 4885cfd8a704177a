# %% [markdown]
# # 04 · Relation networks
#
# **The question: can the distance be learned?**
#
# In lesson 03 we trained the embedding and fixed the distance: squared, Euclidean, the same for
# all. Who says that it is the right one? A relation network is given a pair, a class and a query,
# and learns to say how well they go together.
#
# **After this lesson you can**
#
# - write a relation network as a loop over pairs, and then without making a single pair;
# - say why concatenation before a linear layer is a sum after it;
# - say what breaks if support items are added up and the number of shots changes;
# - read a squared error against that of a constant answer, and see a plateau for what it is;
# - find two defects: cross-entropy on sigmoid scores, and scores of items in place of classes.
#
# **Time:** 60 minutes, of which about 80 seconds are computing.
#
# **Prerequisites:** [03_prototypical_networks](03_prototypical_networks.ipynb) (embeddings,
# prototypes, distances); convolutions; sigmoid and cross-entropy.
#
# The method is that of Sung, Yang, Zhang, Xiang, Torr and Hospedales (2018). Their symbols and our
# names:
#
# | paper | here | shape | meaning |
# |---|---|---|---|
# | $C$, $K$ | `n_way`, `n_shot` | | classes in an episode, support items of each |
# | $f_\varphi$ | `encoder` | `(B, 1, 28, 28)` to `(B, 64, 7, 7)` | items to maps |
# | $\mathcal{C}(a, b)$ | `torch.cat` | | two embeddings side by side: a pair |
# | $g_\phi$ | `relation` | pairs to `(T, Q, n_way)` | the learned comparison |
# | $r_{i,j}$ | `scores[t, q, k]` | `(T, Q, n_way)` | relation score of query `q` and class `k` |

# %%
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from metalearn_edu.evaluation import Comparison, evaluate_meta_learner
from metalearn_edu.exercises import check, predict, progress
from metalearn_edu.learners import PrototypicalNetwork, RelationNetwork, embed_dataset
from metalearn_edu.plotting import use_course_style
from metalearn_edu.tasks import EpisodeSampler, load_glyphs
from metalearn_edu.training import meta_train

use_course_style()
torch.set_num_threads(1)

# %% [markdown]
# ## 1. The data, as pairs
#
# We use Glyphs with the splits of lesson 03. Here is a 5-way 1-shot episode from meta-val.

# %%
from metalearn_edu.plotting import plot_items

train, val, test = (load_glyphs(split) for split in ("meta-train", "meta-val", "meta-test"))
task = EpisodeSampler(val, n_way=5, n_shot=1).episodes(seed=3, start=0, n_tasks=1)[0]
query, label = task.query_x[20], int(task.query_y[20])
print("support", tuple(task.support_x.shape), "query", tuple(query.shape))

# %% [markdown]
# One query makes five pairs, one with each class. For each pair we ask one question: **are these
# the same letter?**

# %%
rows = torch.cat([task.support_x, query.expand(5, 1, 28, 28)])
titles = [f"class {k}" for k in range(5)] + ["query"] * 5
_ = plot_items(rows, titles=titles, n_columns=5)
plt.show()
print("the query belongs to class", label)

# %% [markdown]
# You answered five times, and you did not need the other four classes to answer once. You probably
# did not subtract pixels either: you looked for strokes that one letter has and the other lacks. A
# fixed distance cannot do that. Can a network learn to?
#
# ## 2. By hand: four pairs on paper
#
# A **relation module** is a small network that gets a pair, the embedding of a class and that of a
# query side by side, and returns one number. The **relation score** is that number after the
# **sigmoid** $\sigma(s) = 1 / (1 + e^{-s})$, so it lies between 0 and 1. The number before it, $s$,
# is called a **logit**:
#
# $$r_{q,k} = g_\phi\big([\,f_\varphi(x_k)\,;\, f_\varphi(x_q)\,]\big)$$
#
# Take embeddings of two numbers, two classes with one item each, (1, 1) and (4, 4), and the queries
# (2, 2) and (3, 4). Our relation module has one hidden layer of four units, and we choose its
# weights by hand. Write $c$ for the class and $q$ for the query:
#
# $$h = \mathrm{ReLU}(c_1 - q_1,\; q_1 - c_1,\; c_2 - q_2,\; q_2 - c_2), \qquad s = 3 - (h_1 + h_2 + h_3 + h_4)$$
#
# The pair of class (1, 1) with query (2, 2) has $h = (0, 1, 0, 1)$ and $s = 3 - 2 = 1$. Do the
# other three on paper. Then compare with the loop, in which the class comes first in each pair.

# %%
class_z = torch.tensor([[1.0, 1.0], [4.0, 4.0]])
query_z = torch.tensor([[2.0, 2.0], [3.0, 4.0]])
weight = torch.tensor([[1.0, 0, -1, 0], [-1, 0, 1, 0], [0, 1, 0, -1], [0, -1, 0, 1]])
bias, score_weight = torch.zeros(4), -torch.ones(4)

logits = torch.zeros(2, 2)
for q in range(2):
    for k in range(2):
        pair = torch.cat([class_z[k], query_z[q]])  # (4,)
        logits[q, k] = 3 + F.relu(weight @ pair + bias) @ score_weight
print("logits", logits.tolist())
print("scores", [[f"{r:.3f}" for r in row] for row in torch.sigmoid(logits).tolist()])

# %% [markdown]
# Query 0 goes to class 0 and query 1 to class 1. Two things are new.
#
# - **Four hidden units are a distance.** $\mathrm{ReLU}(x) + \mathrm{ReLU}(-x) = |x|$, so this
#   module computes 3 minus the sum of the absolute differences: the Manhattan distance. So a
#   relation module can be a distance, and with other weights it is another one. Training will
#   choose.
# - **The scores of a query do not sum to 1.** Each pair is scored by itself. A query that resembles
#   no class can have five low scores, and a query between two classes can have two high ones.
#
# ### Exercise 1: all pairs at once (5 minutes, easy)
#
# The double loop is slow. An easier step first: `class_z.expand(2, 2, 2)` gives a row of all
# classes for each query, without copying a number. Which axis is new, and why is
# `query_z[:, None].expand(2, 2, 2)` the other half?
#
# Now write the function for any numbers of classes and queries. `torch.cat([a, b], dim=2)` puts two
# such tensors side by side.


# %%
def my_all_pairs(class_z, query_z):
    """All pairs of a class and a query.

    class_z: (n_way, d). query_z: (Q, d).
    Returns (Q, n_way, 2d): row q, column k is class_z[k] followed by query_z[q].
    """
    raise NotImplementedError


check(my_all_pairs)

# %% [markdown]
# The package's version gives the same logits as the loop:

# %%
from metalearn_edu.exercises.lessons.relation_networks import all_pairs, relation_logits

pairs = all_pairs(class_z, query_z)  # (2, 2, 4)
vectorised = 3 + F.relu(pairs @ weight.T + bias) @ score_weight
print(tuple(pairs.shape), "equal to the loop:", torch.equal(vectorised, logits))

# %% [markdown]
# ## 3. Concatenate before, or add after
#
# `torch.cat` makes a copy, and each embedding is copied many times: every class once for each
# query, every query once for each class. None of it is needed. Cut the weight matrix in two, the
# columns that meet the class and those that meet the query:
#
# $$W \begin{bmatrix} c \\ q \end{bmatrix} = \begin{bmatrix} W_c & W_q \end{bmatrix} \begin{bmatrix} c \\ q \end{bmatrix} = W_c\, c + W_q\, q$$
#
# **A concatenation before a linear layer is a sum after it.** So multiply each class once and each
# query once, and add the small results for all pairs. Count the multiplications of that layer with
# 75 queries, embeddings of $d$ numbers and $h$ hidden units:

# %%
for n_way in (5, 20):
    n_queries = 15 * n_way
    with_pairs = n_queries * n_way * 2  # times d * h
    without = n_queries + n_way
    print(f"{n_way}-way, {n_queries} queries: {with_pairs} dh or {without} dh", end=", ")
    print(f"{with_pairs / without:.1f} times fewer")

# %% [markdown]
# The layer must be linear for this. The ReLU comes after the sum: the hidden units still see class
# and query together. Take the ReLU of each part, and they no longer compare anything.
#
# ### Exercise 2: no pairs (8 minutes, medium)
#
# This is the heart of the lesson. Write the logits without `torch.cat`: one hidden layer with ReLU
# on a pair, then `score` times the hidden units, summed. There is no constant 3 here.


# %%
def my_relation_logits(class_z, query_z, weight, bias, score):
    """Logits of all pairs, without making the pairs.

    class_z, query_z: (n_way, d) and (Q, d).
    weight, bias: (h, 2d) and (h,), the hidden layer; the first d columns meet the class.
    score: (h,), the weights from the hidden units to the logit.
    Returns (Q, n_way).
    """
    raise NotImplementedError


check(my_relation_logits)

# %% [markdown]
# You get "The size of tensor a must match the size of tensor b"? Then you added `(n_way, h)` and
# `(Q, h)`: put an axis into the query part with `[:, None]`.
#
# The package's version of this is `VectorRelation`; its layer `PairLinear` keeps the two halves of
# the weights apart. With our weights in it, and an encoder that does nothing, `RelationNetwork`
# gives our numbers.

# %%
from metalearn_edu.learners.relation import VectorRelation

relation = VectorRelation(embedding_dim=2, hidden_dim=4)
halves = {"pair.weight_a": weight[:, :2], "pair.weight_b": weight[:, 2:], "pair.bias": bias}
last = {"score.weight": score_weight[None], "score.bias": torch.tensor([3.0])}
relation.load_state_dict(halves | last)

by_hand = RelationNetwork(encoder=nn.Identity(), relation=relation, aggregate="mean")
scores = by_hand.adapt(class_z, torch.tensor([0, 1]))(query_z)
no_pairs = 3 + relation_logits(class_z, query_z, weight, bias, score_weight)
print("exercise 2 equals the loop:", torch.equal(no_pairs, logits))
print("the package equals the loop:", torch.allclose(scores, torch.sigmoid(logits)))

# %% [markdown]
# ## 4. Several shots: sum or mean?
#
# With more than one support item a class needs one embedding. The paper takes the **sum** of the
# items' embeddings. A prototype is their **mean**. Take the four support items of lesson 03: class
# 0 has (0, 1) and (2, 1), class 1 has (4, 3) and (4, 5). The query is (4, 4), right in the middle
# of class 1.
#
# > **Predict.** Choose an answer, then run the cell below the question.

# %%
predict("sum_or_mean")

# %%
support_z = torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 3.0], [4.0, 5.0]])
support_y = torch.tensor([0, 0, 1, 1])
for aggregate in ("mean", "sum"):
    learner = RelationNetwork(
        encoder=nn.Identity(),
        relation=relation,
        aggregate=aggregate,
        objective="cross_entropy",  # scores are logits
    )
    scores = learner.adapt(support_z, support_y)(torch.tensor([[4.0, 4.0]]))[0]
    print(f"{aggregate:4s} logits {scores.tolist()} -> class {int(scores.argmax())}")

# %% [markdown]
# With the sum, class 1 lies at (8, 8), far from all its items, and the query goes to class 0.
# **A sum grows with the number of shots, and a comparison that was learned at one size does not
# fit another.** So with the sum, `n_shot` must be the same in training and in use: the paper trains
# one network for 1-shot and one for 5-shot. With the mean one network serves both. The published
# comparison of Chen et al. (2019) takes the mean, and so do we; with one shot they are the same. In
# section 8 we see what the sum costs on images.
#
# ## 5. Images: compare place by place
#
# For images the paper embeds an item as **maps**: 64 pictures of 7 x 7 places, not one flat vector.
# `ConvMaps` has four blocks like the encoder of lesson 03, but only two of them halve the image, so
# that places remain. Then class and query are stacked as 128 maps, and the relation module goes over
# them with 3 x 3 convolutions: it can compare the upper left of one letter with the upper left of
# the other before it sums up.

# %%
torch.manual_seed(0)
network = RelationNetwork.convolutional(width=64, aggregate="mean")
with torch.no_grad():
    class_maps, query_maps = network.encoder(task.support_x), network.encoder(task.query_x)
print("classes", tuple(class_maps.shape), "queries", tuple(query_maps.shape))
for name in ("encoder", "relation"):
    print(name, sum(p.numel() for p in getattr(network, name).parameters()), "parameters")

# %% [markdown]
# The comparison is now half of the network. A convolution is linear, so section 3 holds:
# the package convolves the 5 classes and the 75 queries and adds, and never stacks 128 maps. We
# check one pair against the paper's way.

# %%
pair = network.relation.pair
stacked = torch.cat([class_maps[2], query_maps[20]])  # (128, 7, 7)
whole = torch.cat([pair.weight_a, pair.weight_b], dim=1)  # (64, 128, 3, 3)
with torch.no_grad():
    the_paper = F.conv2d(stacked[None], whole, pair.bias, padding=1)  # (1, 64, 7, 7)
    all_at_once = pair(class_maps[None], query_maps[:, None])  # (75, 5, 64, 7, 7)
print(tuple(all_at_once.shape), torch.allclose(all_at_once[20, 2], the_paper[0], atol=1e-5))

# %% [markdown]
# What remains is the cost of looking at every pair: each of the 375 pairs has 64 maps of 7 x 7
# numbers in each layer, 12.5 kB. In ProtoNet a pair costs one distance.
#
# ## 6. What should the scores be pulled to?
#
# The paper treats the scores as a regression: 1 for a query's own class and 0 for the others,
# pulled there by the **squared error**, averaged over all pairs:
#
# $$L = \frac{1}{Q\,N} \sum_{q,k} \big(r_{q,k} - \mathbf{1}[y_q = k]\big)^2$$
#
# ### Exercise 3: the squared error (3 minutes, easy)
#
# All pairs count, those of a query with its own class and those with the others.


# %%
def my_squared_error(scores, labels):
    """The mean over all pairs of the squared error, a scalar.

    scores: (Q, n_way), between 0 and 1. labels: (Q,) int64, 0..n_way-1; some may not occur.
    """
    raise NotImplementedError


check(my_squared_error)

# %% [markdown]
# ### Is 0.0475 good?
#
# A network that has learned nothing about letters could give every pair the same score $r$. Which
# $r$ is best for $N$ classes, and what does it cost? Work it out on paper for $N = 5$ and $N = 20$.
# (Of the $N$ pairs of a query, one should have the score 1.)

# %%
predict("nearly_zero")

# %% [markdown]
# The loss of a constant score is $\frac1N (1 - r)^2 + \frac{N-1}{N} r^2$, here as a picture for both
# $N$. Its smallest value is $\frac1N \big(1 - \frac1N\big)$, at $r = 1/N$: the more ways, the nearer
# to 0 is the loss of knowing nothing. **A squared error means nothing until it stands beside that
# of the constant answer.**

# %%
r = torch.linspace(0, 0.6, 241)
fig, ax = plt.subplots(figsize=(6.4, 3), layout="constrained")
for n_way in (5, 20):
    loss = (1 - r).square() / n_way + r.square() * (n_way - 1) / n_way
    best = loss.argmin()
    _ = ax.plot(r, loss, label=f"{n_way}-way")
    _ = ax.plot(r[best], loss[best], "ko")
    _ = ax.annotate(f"{loss[best]:.4f}", (r[best], loss[best]), (3, 9), textcoords="offset points")
_ = ax.set(xlabel="the constant score r", ylabel="squared error", ylim=(0, 0.35))
_ = ax.legend()
plt.show()

# %% [markdown]
# There is a second way. Leave the sigmoid out, and take the five logits of a query as the scores of
# a classifier: softmax and **cross-entropy**, as in lesson 03. Now the classes of a query compete,
# and only the differences between its logits count. The constant answer costs $\ln N$ nats: 1.61 in
# 5-way, 3.00 in 20-way. In the package the two are `objective="mse"` and
# `objective="cross_entropy"`; the network is the same.
#
# ## 7. Training: two losses, two kinds of episodes
#
# We train the same small network (32 filters) four times: with either loss, in 5-way episodes and
# in 20-way ones. Each outer step sees 60 images: four episodes of $5 \cdot (1 + 2)$, or one of
# $20 \cdot (1 + 2)$. All four start from the same weights, and both losses see the same episodes.
#
# > **Predict.** Lesson 03 found 20-way episodes better than 5-way ones. Will that hold for both
# > losses? And which loss will be ahead after 40 steps, by how much? We measure 5-way 1-shot
# > meta-val accuracy; chance is 20 %.
#
# The four runs together take about 35 seconds on one core.

# %%
val_tasks = EpisodeSampler(val, n_way=5, n_shot=1, n_query=5)
validation = {"val_tasks": val_tasks, "val_every": 40, "n_val_episodes": 60}
histories = {}
for n_way, n_tasks in ((5, 4), (20, 1)):
    tasks = EpisodeSampler(train, n_way, n_shot=1, n_query=2)
    options = {"n_steps": 120, "n_tasks_per_batch": n_tasks, "meta_lr": 2e-3, **validation}
    for objective in ("mse", "cross_entropy"):
        torch.manual_seed(0)
        small = RelationNetwork.convolutional(width=32, aggregate="mean", objective=objective)
        histories[n_way, objective] = meta_train(small, tasks, **options)
print(len(histories), "runs of", histories[5, "mse"].n_steps, "outer steps")

# %% [markdown]
# Losses of different kinds cannot stand on one axis. But each can be divided by the loss of its own
# constant answer: then 1 means "knows nothing".

# %%
constant = {(n, kind): (1 - 1 / n) / n if kind == "mse" else math.log(n) for n, kind in histories}
fig, (left, right) = plt.subplots(1, 2, figsize=(9.4, 3.6), layout="constrained")
for (n_way, kind), history in histories.items():
    loss = torch.tensor(history.losses).view(-1, 10).mean(dim=1) / constant[n_way, kind]
    style = {"color": "C0" if kind == "mse" else "C1", "ls": "-" if n_way == 5 else "--"}
    style["marker"] = "o" if n_way == 5 else "s"
    name = f"{'squared error' if kind == 'mse' else 'cross-entropy'}, {n_way}-way"
    _ = left.plot(range(10, 121, 10), loss, ms=4, label=name, **style)
    _ = right.plot(history.val_steps, [100 * a for a in history.val_scores], **style)
_ = left.set(xlabel="outer step", ylabel="loss / constant answer's", ylim=(0, 1.3))
_ = right.set(xlabel="outer step", ylabel="meta-val accuracy (%)", ylim=(0, 100))
for ax, height in ((left, 1), (right, 20)):
    _ = ax.axhline(height, color="0.5", ls=":")
_ = fig.legend(loc="outside lower center", ncols=2)
plt.show()

# %%
for n_way in (5, 20):
    squared, entropy = (histories[n_way, kind].val_scores for kind in ("mse", "cross_entropy"))
    ahead = entropy[0] - squared[0]
    print(f"{n_way}-way: cross-entropy ahead by more than 10 points after 40 steps: {ahead > 0.1}")
    assert ahead > 0.1, f"{n_way}-way: cross-entropy {entropy[0]:.3f}, squared {squared[0]:.3f}"
end = sum(histories[20, "mse"].losses[-20:]) / 20 / constant[20, "mse"]
print("20-way squared error still at more than 0.9 of the constant answer's:", end > 0.9)

# %% [markdown]
# - **The squared error sits on a plateau.** In 5-way it stays at 0.16 for some 70 to 100 steps, and
#   then begins to fall. In 20-way it stays at 0.0475 for the whole run, while the meta-val accuracy
#   creeps upwards: the order of the scores is a little better than chance, their sizes are not.
# - **Cross-entropy has no such plateau.** After 40 steps it is at 60 to 70 %, with either kind of
#   episodes, where the squared error has 20 to 30 %.
# - **Whether more ways help depends on the loss.** With cross-entropy the 20-way episodes are ahead
#   in the end, as in lesson 03. With the squared error they are far behind, since the plateau is
#   longer.
#
# One run is one draw, so we trained each with three seeds (60 meta-val episodes each, so about
# ± 3 points):
#
# | loss | episodes | after 40 steps | after 120 steps |
# |---|---|---|---|
# | squared error | 5-way | 24, 30, 27 % | 54, 61, 46 % |
# | squared error | 20-way | 24, 24, 30 % | 30, 31, 34 % |
# | cross-entropy | 5-way | 68, 64, 62 % | 75, 73, 68 % |
# | cross-entropy | 20-way | 61, 66, 55 % | 78, 79, 73 % |
#
# <details><summary>How to remake the table</summary>
#
# Set both <code>torch.manual_seed(seed)</code> and <code>meta_train(..., seed=seed)</code> to 0, 1
# and 2 in the training cell.
# </details>
#
# On Omniglot we saw the same in longer runs: after 100 seconds of computing cross-entropy in 20-way
# episodes had about 93 % on meta-val (5-way 1-shot), the squared error about 31 % in 20-way
# episodes and about 80 % in 5-way ones.
#
# **Why?** Most pairs of a query are strangers: 4 of 5, or 19 of 20. The squared error treats each
# pair alone, so the first thing that pays is to call everybody a stranger. There the sigmoid is
# flat: the slope of the loss in a logit carries a factor $r(1 - r)$, 0.0475 at $r = 0.05$.
# Cross-entropy looks at the differences within a query, and what all its logits share cancels. So
# it cannot earn anything with the constant answer, and starts with the letters at once. (Adam undoes
# a factor that all gradients share, so the flat sigmoid is only a part of the story. The paper
# trained for up to a million episodes.)
#
# ## 8. A trained one on meta-test
#
# A network of the published size needs more than the minutes of a lesson. One comes with the
# course: 64 filters, cross-entropy, the mean, trained in 20-way 1-shot episodes.

# %%
from metalearn_edu.pretrained import load_pretrained

trained, card = load_pretrained("relation_glyphs")
recipe = card["recipe"]
for name in ("algorithm", "data", "train_way", "n_shot", "width", "objective", "aggregate"):
    print(f"{name:10s} {recipe[name]}")
print("how to make it again:", card["command"])

# %% [markdown]
# Its encoder looks at one item at a time, so we embed meta-test once, as in lesson 03. The pairs
# depend on the episode and must be compared anew.
#
# Is the learned comparison worth it? For an answer we take the comparison away and keep the
# encoder: **a fixed distance on the same maps**, averaged over the 49 places to 64 numbers, as a
# ProtoNet's are. All see the same 600 episodes, those of lesson 03, where nearest pixel had about
# 45 %.
#
# > **Predict.** The relation network on 5-way 1-shot: above 90 %? How many points do we lose with
# > the squared Euclidean distance, and how many with cosine?

# %%
embedded = embed_dataset(trained.encoder, test)
comparison = RelationNetwork(
    encoder=nn.Identity(),
    relation=trained.relation,
    aggregate=trained.aggregate,
    objective=trained.objective,
)
average = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
learners = {
    "Euclid, same encoder": PrototypicalNetwork(average),
    "cosine, same encoder": PrototypicalNetwork(average, "cosine"),
    "Relation Network": comparison,
}
print(embedded)

# %% [markdown]
# The evaluation takes about 15 seconds, nearly all of them for the 225,000 pairs of the relation
# network.

# %%
results = {
    name: evaluate_meta_learner(learner, EpisodeSampler(embedded, 5, 1), chunk_size=5)
    for name, learner in learners.items()
}
print(len(results), "evaluations of 600 episodes each")

# %%
from metalearn_edu.plotting import plot_intervals

ax = plot_intervals(results)
_ = ax.set_title("5-way 1-shot", loc="left")
plt.show()

# %% [markdown]
# As in lesson 03 we also look at the paired differences, on the same episodes.

# %%
best = results["Relation Network"]
for name in list(results)[:2]:
    low, _ = Comparison(best, results[name]).difference.interval
    print(f"ahead of {name}, paired: by more than 5 points: {low > 0.05}")
assert best.mean > 0.85, f"meta-test accuracy {best.mean:.3f}"

# %% [markdown]
# The relation network has a 5-way 1-shot meta-test accuracy of about 96.3 % ± 0.4. With either fixed
# distance the same encoder has about 86 % ± 0.7. So some ten points, three quarters of the errors,
# are the comparison's. Be fair in two ways. The encoder was trained for its own comparison, and
# never for a distance. And this network trained for 15 minutes, the ProtoNet of lesson 03 (about
# 91 %) for less than one, so the figures do not say that one method is better.
#
# ### One network, other shots
#
# It was trained with one shot, where sum and mean are the same. So these very weights are what the
# paper's sum would have learned, too, and we can use them either way.
#
# > **Predict.** With five shots, what do the mean and the sum do to the meta-test accuracy?

# %%
by_shots = {}
for aggregate in ("mean", "sum"):
    use = RelationNetwork(
        encoder=nn.Identity(),
        relation=trained.relation,
        aggregate=aggregate,
        objective=trained.objective,
    )
    by_shots[aggregate] = {
        k: evaluate_meta_learner(use, EpisodeSampler(embedded, 5, k), n_episodes=60, chunk_size=5)
        for k in (1, 2, 5)
    }

# %%
from metalearn_edu.plotting import plot_accuracy

_ = plot_accuracy({f"{name} of items": by_shots[name] for name in by_shots})
plt.show()
mean_5, sum_5 = (by_shots[name][5].mean for name in ("mean", "sum"))
print("five shots, the mean ahead of the sum:", mean_5 > sum_5)

# %% [markdown]
# With the mean, more shots help: about 96, 98 and 99 %. With the sum each shot does harm: about 90 %
# with two shots and between 50 and 60 % with five. The comparison is trained on maps of the size of
# one item, and a sum of five is like nothing it has seen.
#
# ### Explore
#
# The explorer shows ten queries of a meta-test episode with the score of every pair. Rows are
# queries, columns are classes, and the darker a cell, the higher its score; a green frame is a
# query's own class and a dot is the class with the highest score. These two have their numbers, and
# the chosen query has all. On the right are its pairs. The scores are logits, since the
# network was trained with cross-entropy: only differences within a row count.
#
# 1. Two queries of this episode are given to the wrong class. Choose each. Which letter took it,
#    and would you have made the same mistake? Find more mistakes in other episodes.
# 2. Set `n_shot` to 5 and change the support items from mean to sum. What happens to the logits?
# 3. Is there a row with two high scores, or with none?

# %%
from metalearn_edu.explorers.relations import RelationExplorer

explorer = RelationExplorer(trained, test, episode=2)
explorer

# %% [markdown]
# The controls can be moved from Python, too; the picture above follows.

# %%
explorer.set(n_shot=5, aggregate="sum", query=3)
print(explorer.state)

# %% [markdown]
# <details><summary>What we saw</summary>
#
# 1. Queries 0 and 7 of episode 2 are exchanged: the letters of class 0 and class 3 resemble each
#    other, and the two best logits of these rows are near each other. Most mistakes are of this
#    kind; with eight ways there are more of them.
# 2. With the mean, the best logit of most rows is above 0 or near it. With the sum all are far
#    below 0: the network says of every class that the query does not belong to it. In episode 2 one
#    class takes nearly all queries.
# 3. Both exist. In rows with two high scores two classes look alike; rows with none are queries
#    that are drawn unlike their own class.
# </details>
#
# ## 9. Find the bug
#
# ### A: the loss that will not fall
#
# A colleague likes both halves of the paper's idea: scores between 0 and 1, and the cross-entropy
# that trained so well in section 7. So: sigmoid scores, and cross-entropy as the loss. We try it on
# an easy world: 36 classes are points of a grid in the plane, items lie close around them. Beside
# it runs the package's way, cross-entropy on logits, on the same episodes.

# %%
grid = torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0))  # (36, 2)
generator = torch.Generator().manual_seed(0)
items = grid.repeat_interleave(20, dim=0) + 0.1 * torch.randn(720, 2, generator=generator)
easy = EpisodeSampler((items, torch.arange(36).repeat_interleave(20)), 5, 1, 5)

losses = {}
for name, objective in (("theirs", "mse"), ("ours", "cross_entropy")):
    torch.manual_seed(0)
    learner = RelationNetwork(2, 64, aggregate="mean", objective=objective)
    learner.loss_fn = F.cross_entropy
    losses[name] = meta_train(learner, easy, n_steps=200, meta_lr=5e-3).losses
    accuracy = evaluate_meta_learner(learner, easy, n_episodes=100).mean
    print(f"{name}: accuracy above 95 %: {accuracy > 0.95}")

# %%
fig, ax = plt.subplots(figsize=(6.4, 3), layout="constrained")
for name, values in losses.items():
    _ = ax.plot(values, lw=1.2, label=name)
_ = ax.set(xlabel="outer step", ylabel="loss (nats)", ylim=(0, 1.8))
_ = ax.legend()
plt.show()
print("theirs ever below 0.9:", min(losses["theirs"]) < 0.9)
print("ours ends below 0.2:", sum(losses["ours"][-20:]) / 20 < 0.2)

# %% [markdown]
# Both answer nearly every query right, and no error is raised. Yet their loss stops just above 0.9,
# as if there were a floor, and a loss that cannot fall has little left to teach.
#
# **Question.** There is one. Where is it for `n_way` classes, and why? (What are the best scores
# that such a network can give, and what does cross-entropy make of them?)
#
# ### Exercise 4: mend the loss (2 minutes, easy)
#
# Here is their loss as a function of the logits. Mend it and keep the cross-entropy.


# %%
def my_entropy_of_logits(logits, labels):
    """A loss, a scalar in nats, from logits (Q, n_way), any numbers, and labels (Q,)."""
    scores = torch.sigmoid(logits)
    return F.cross_entropy(scores, labels)


check(my_entropy_of_logits)

# %% [markdown]
# <details><summary>What the bug does</summary>
#
# Cross-entropy takes the softmax of what it is given. The best scores between 0 and 1 are 1 for the
# own class and 0 for the others, and their softmax gives the own class only
# $e / (e + N - 1)$. So the loss is at least $\ln\big(1 + (N - 1)/e\big)$: 0.905 for 5-way, 2.078 for
# 20-way. To come near it the sigmoid must be driven to its flat ends, where its gradient vanishes.
# One normalisation too many: softmax wants logits, any numbers at all. The repair is to leave out
# the sigmoid, or to keep it and take the squared error (or the cross-entropy of each pair as a
# yes-no question).
# </details>

# %%
for n_way in (5, 20):
    perfect = torch.eye(n_way)  # the best scores of a sigmoid: 1 for the own class, 0 for others
    floor = F.cross_entropy(perfect, torch.arange(n_way))
    formula = math.log(1 + (n_way - 1) / math.e)
    print(f"{n_way}-way: perfect scores cost {floor:.3f} nats, the formula says {formula:.3f}")

# %% [markdown]
# A test that needs no training: **give the loss a perfect answer, and ask whether it is (nearly)
# 0.** It takes a minute to write, and it finds this mistake in any network.
#
# ### B: right with one shot, worse than chance with five
#
# Another colleague has written the comparison anew, around our trained relation module. Here it is,
# on the embeddings of meta-test.


# %%
def colleagues_scores(support_z, query_z):
    return trained.relation(support_z[None, None], query_z[None, :, None])[0]


for n_shot in (1, 5):
    batch = EpisodeSampler(embedded, 5, n_shot).episodes(seed=0, start=0, n_tasks=40)
    with torch.no_grad():
        answers = torch.stack([colleagues_scores(t.support_x, t.query_x) for t in batch]).argmax(2)
    accuracy = (answers == batch.query_y).double().mean()
    print(
        f"{n_shot}-shot: above 80 %: {bool(accuracy > 0.8)}, below chance: {bool(accuracy < 0.2)}"
    )

# %% [markdown]
# **Question.** More examples, and it is worse than guessing. What is wrong? Look at what the
# function is given, and think of the shape of what it returns.

# %%
predict("worse_than_chance")

# %% [markdown]
# The package looks for this. `score_episodes`, which every evaluation goes through, knows how many
# columns there must be:

# %%
from metalearn_edu.evaluation import score_episodes

one = batch[:1]
with torch.no_grad():
    item_scores = colleagues_scores(one.support_x[0], one.query_x[0])
try:
    score_episodes(item_scores[None], one)
except ValueError as error:
    print(error)

# %% [markdown]
# One repair is what the package does: one embedding for each class, then compare. The colleague
# keeps the scores of the items and adds up those of each class, with the labels this time. We try
# it with five items of each class, and then with five items of class 0 and one of each other class.
#
# > **Predict.** In which of the two will the sum go wrong, and for the queries of which class?


# %%
def summed_scores(item_scores, support_y, n_way):
    """From scores of items (Q, S) to scores of classes (Q, n_way)."""
    one_hot = F.one_hot(support_y, n_way).to(item_scores.dtype)  # (S, n_way)
    return item_scores @ one_hot


def share_of_class_0(function, kept):
    """Share of the queries of class 0 that are named 0, if these support items are kept."""
    right = []
    for t in batch:
        with torch.no_grad():
            item_scores = colleagues_scores(t.support_x[kept], t.query_x)
        answers = function(item_scores, t.support_y[kept], 5).argmax(dim=1)
        right.append((answers == 0)[t.query_y == 0].double().mean())
    return sum(right) / len(right)


every, fewer = torch.arange(25), torch.tensor([0, 1, 2, 3, 4, 5, 10, 15, 20])
with_five, with_one = (share_of_class_0(summed_scores, kept) for kept in (every, fewer))
print("class 0, five items of each class: above 95 %:", bool(with_five > 0.95))
print("class 0, one item of each other:   below 90 %:", bool(with_one < 0.9))

# %% [markdown]
# With equal shots the sum is the mean times five, and no order changes. With unequal shots it goes
# wrong, and for the very class that we know best: its queries fall from about 99 to about 85 %. Most
# logits of this network are below 0, so the class with the most items has the lowest sum.
#
# ### Exercise 5: mend it (5 minutes, easy)
#
# Mend the function: the score of a class shall be the **mean** of the scores of its items.


# %%
def my_class_scores(item_scores, support_y, n_way):
    """Scores (Q, n_way) of classes.

    item_scores: (Q, S) scores of each query with each support item.
    support_y: (S,) int64 labels 0..n_way-1, in any order; every class has at least one item.
    """
    one_hot = F.one_hot(support_y, n_way).to(item_scores.dtype)  # (S, n_way)
    return item_scores @ one_hot


check(my_class_scores)

# %% [markdown]
# With the mean, class 0 is safe, and five shots of each class are as good as they should be.

# %%
from metalearn_edu.exercises.lessons.relation_networks import class_scores

mended = share_of_class_0(class_scores, fewer)
print("class 0, one item of each other: above 93 %:", bool(mended > 0.93))
repaired = torch.zeros(len(batch), 75, 5)
with torch.no_grad():
    for i, t in enumerate(batch):
        items_of_task = colleagues_scores(t.support_x, t.query_x)  # (75, 25)
        repaired[i] = class_scores(items_of_task, t.support_y, 5)
    packages = comparison(batch.support_x, batch.support_y, batch.query_x)
for name, scores in (("mean of scores", repaired), ("mean of embeddings", packages)):
    accuracy = score_episodes(scores, batch).mean()
    print(f"{name}: above 90 %: {bool(accuracy > 0.9)}")

# %% [markdown]
# Both are right, and they are two methods: one compares with the middle of the class, the other
# with every item, at `n_shot` times the cost. It is the difference between Prototypical and
# Matching Networks, once more (lesson 03, section 10).
#
# ## 10. Limits
#
# - **Every pair costs a network.** ProtoNet compares with a distance; here each query passes
#   through two convolutions for each class. With thousands of classes that is too much.
# - **A learned comparison can be wrong where it has not been trained.** A distance is 0 for two
#   equal items, by definition. A relation module promises nothing: it need not be symmetric, and it
#   need not score an item highest with itself. Far from the training data it can be arbitrary. In
#   Meta-Dataset, ten data sets and training on ImageNet alone, relation networks had the
#   worst average rank of the methods compared (15.6, against 10.8 for prototypical networks).
# - **The support set moves the embeddings of classes and nothing else**, as in lesson 03. No weight
#   adapts to the task.
# - **Is the gain the comparison's?** The network is larger too. Chen et al. (2019) trained all
#   methods alike on miniImageNet: relation networks 49.3 % and ProtoNet 44.4 % with one shot, 66.6
#   and 64.2 % with five shots; and with a deeper encoder (ResNet-18, five shots) 69.8 against
#   73.7 %. With a better embedding a plain distance is enough.
#
# ## 11. The paper's figures beside ours
#
# Meta-test accuracy in percent; ours with the 95 % interval over 600 episodes of 15 queries a
# class (20-way: 100 episodes on Glyphs, 200 on Omniglot), one training seed. On Glyphs it is the
# network of section 8; on Omniglot `metalearn-edu train relation --data omniglot` makes it.
#
# | method and data | 5-way 1-shot | 5-way 5-shot | 20-way 1-shot | 20-way 5-shot |
# |---|---|---|---|---|
# | Relation Network, Omniglot (Sung et al. 2018) | 99.6 ± 0.2 | 99.8 ± 0.1 | 97.6 ± 0.2 | 99.1 ± 0.1 |
# | ProtoNet, Omniglot (Snell et al. 2017) | 98.8 | 99.7 | 96.0 | 98.9 |
# | Relation Network, miniImageNet (Sung et al. 2018) | 50.4 ± 0.8 | 65.3 ± 0.7 | | |
# | ProtoNet, miniImageNet (Snell et al. 2017) | 49.4 ± 0.8 | 68.2 ± 0.7 | | |
# | Relation Network, Glyphs (ours, inductive) | about 96.3 ± 0.4 | about 98.8 ± 0.2 | about 86.3 ± 0.9 | |
# | Relation Network, Omniglot, official split (ours, inductive) | 97.5 ± 0.3 | 99.3 ± 0.1 | 92.5 ± 0.4 | |
#
# They are not directly comparable. The data differ, and so does the training: the paper trained for
# up to a million episodes with the squared error, the sum of the support items and a network for
# each number of shots. Its released code normalises each batch by its own statistics at test time
# too, so that queries inform each other (lesson 02), and it kept the weights that were best on the
# characters of the test (lesson 02 again). So read its 99.6 as an upper estimate.
#
# ## 12. Recap
#
# What you have done in this lesson, as far as the checks know:

# %%
progress(4)

# %% [markdown]
# You can now
#
# - score pairs in a loop, in one call, and without making pairs: $W[c; q] = W_c c + W_q q$;
# - say that a relation module contains distances as special cases, and that its scores need not sum
#   to 1;
# - choose the mean of the support items if the number of shots may change, since a sum grows with
#   it;
# - put a squared error beside $\frac1N (1 - \frac1N)$, and cross-entropy beside $\ln N$, before you
#   believe it;
# - test a loss with a perfect answer, and the scores with their shape.
#
# **Check yourself**
#
# 1. A 10-way run has a squared error of 0.09. What does the network know?
# 2. Why may the ReLU stand after the sum $W_c c + W_q q$ but not before it?
# 3. You trained with the sum and five shots. A user has three examples of each class. What can you
#    tell them to do without training anew?
#
# <details><summary>Answers</summary>
#
# 1. Nothing but the number of classes: $0.1 \cdot 0.9 = 0.09$.
# 2. A unit after the sum sees class and query together, and can fire for their difference. With the
#    ReLU before it, the result is a function of the class plus a function of the query: the order of
#    the classes would be the same for every query.
# 3. Multiply the sum by 5/3, which is five times the mean: the size that the comparison knows.
# </details>
#
# **Next:** so far the weights stay as they are in every task. What if a few gradient steps could
# change them? [05_maml](05_maml.ipynb)
#
# **References**
#
# - F. Sung, Y. Yang, L. Zhang, T. Xiang, P. Torr, T. Hospedales (2018). *Learning to Compare:
#   Relation Network for Few-Shot Learning.* CVPR.
# - J. Snell, K. Swersky, R. Zemel (2017). *Prototypical Networks for Few-shot Learning.* NeurIPS.
# - W.-Y. Chen, Y.-C. Liu, Z. Kira, Y.-C. Wang, J.-B. Huang (2019). *A Closer Look at Few-shot
#   Classification.* ICLR.
# - E. Triantafillou et al. (2020). *Meta-Dataset: A Dataset of Datasets for Learning to Learn from
#   Few Examples.* ICLR.
