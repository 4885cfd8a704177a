# %% [markdown]
# # 04 · Relation networks
#
# **The question: can the distance be learned?**
#
# In lesson 03 we learned the embedding but kept the distance fixed: squared Euclidean, the same for
# every task. Is it the right one? A **relation network** takes a pair (a class and a query) and
# learns to score how well the two match.
#
# **After this lesson you can**
#
# - write a relation network as a loop over pairs, and then without building a single pair;
# - explain why a concatenation before a linear layer is a sum after it;
# - predict what more shots do to a comparison that was learned with one shot;
# - compare a loss with the loss of a constant answer, and test why training gets stuck there;
# - use an expensive comparison only for the classes that a cheap one puts first;
# - find two bugs with tests that need no training.
#
# **Time:** 60 minutes to read and try, of which about 2 minutes are computing; the exercises take
# another 35.
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
from metalearn_edu.plotting import describe, use_course_style
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
fig = plot_items(rows, titles=titles, n_columns=5)
describe(fig, "Five letters, classes 0 to 4, and under each the same query: five pairs to compare")
plt.show()
print("the query belongs to class", label)

# %% [markdown]
# You answered five questions, and for none of them did you need the other four classes. You
# probably did not subtract pixels either; you looked for strokes that one letter has and the other
# lacks. A distance between pixels cannot do that. Can a network learn to?
#
# ## 2. By hand: four pairs on paper
#
# A **relation module** is a small network. Its input is a pair: the embedding of a class and the
# embedding of a query, side by side. Its output is one number $s$, the **logit**. The **relation
# score** is the **sigmoid** of the logit, $\sigma(s) = 1 / (1 + e^{-s})$, so it lies between 0 and
# 1:
#
# $$r_{q,k} = g_\phi\big([\,f_\varphi(x_k)\,;\, f_\varphi(x_q)\,]\big)$$
#
# Take embeddings of two numbers, two classes with one item each, (1, 1) and (4, 4), and the queries
# (2, 2) and (3, 4). Our relation module has one hidden layer of four units, and we choose its
# weights by hand. With $c$ for the class and $q$ for the query:
#
# $$h = \mathrm{ReLU}(c_1 - q_1,\; q_1 - c_1,\; c_2 - q_2,\; q_2 - c_2), \qquad s = 3 - (h_1 + h_2 + h_3 + h_4)$$
#
# The pair of class (1, 1) with query (2, 2) has $h = (0, 1, 0, 1)$ and $s = 3 - 2 = 1$. Work out
# the other three pairs on paper. Then compare with the loop, in which the class comes first in each
# pair.

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
#   module computes 3 minus the sum of the absolute differences, which is the Manhattan distance. So
#   a relation module can be a distance, and other weights give other comparisons. Training chooses
#   the weights.
# - **The scores of a query do not sum to 1.** Each pair is scored on its own. A query that
#   resembles no class can have five low scores, and a query between two classes can have two high
#   ones.
#
# ### Exercise 1: all pairs at once (5 minutes, easy)
#
# The double loop is slow. An easier step first: print `class_z.expand(2, 2, 2)`. It repeats the
# classes without copying a number. Which of its three axes belongs to the queries? What must you do
# to `query_z` to get the counterpart?
#
# Now write the function for any numbers of classes and queries.


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
# `torch.cat` copies each embedding many times: every class once for each query, and every query
# once for each class. None of these copies is needed. Cut the weight matrix in two, into the
# columns for the class and the columns for the query:
#
# $$W \begin{bmatrix} c \\ q \end{bmatrix} = \begin{bmatrix} W_c & W_q \end{bmatrix} \begin{bmatrix} c \\ q \end{bmatrix} = W_c\, c + W_q\, q$$
#
# **A concatenation before a linear layer is a sum after it.** So we multiply each class once and
# each query once, and add the small results for all pairs. Let us count the multiplications in that
# layer for 15 queries per class, embeddings of $d$ numbers and $h$ hidden units:

# %%
for n_way in (5, 20):
    n_queries = 15 * n_way
    with_pairs = n_queries * n_way * 2  # times d * h
    without = n_queries + n_way
    print(f"{n_way}-way, {n_queries} queries: {with_pairs} dh or {without} dh", end=", ")
    print(f"{with_pairs / without:.1f} times fewer")

# %% [markdown]
# This works because the layer is linear. The ReLU comes after the sum, so each hidden unit still
# sees class and query together. With the ReLU before the sum, nothing would compare the two.
#
# ### Exercise 2: no pairs (8 minutes, medium)
#
# This is the heart of the lesson. Compute the same logits without building a pair: one hidden layer
# with ReLU, then `score` times the hidden units, summed. There is no constant 3 here. The check
# looks at the tensors that you create, and refuses any that holds a class and a query side by side.


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
# If you see "The size of tensor a must match the size of tensor b", you have added `(n_way, h)` and
# `(Q, h)`: insert an axis into the query part with `[:, None]`.
#
# The package's version of this is `VectorRelation`; its layer `PairLinear` keeps the two halves of
# the weights apart. With our weights in this layer, and an encoder that does nothing,
# `RelationNetwork` reproduces our numbers.

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
# If a class has several support items, we must turn their embeddings into one. The paper takes
# their **sum**. A prototype is their **mean**. Take the four support items of lesson 03: class 0
# has (0, 1) and (2, 1), class 1 has (4, 3) and (4, 5). The query is (4, 4), exactly in the middle
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
# With the sum, class 1 lies at (8, 8), far from all of its items, and the query goes to class 0.
# **A sum grows with the number of shots, and a comparison that was learned at one size does not
# work at another.** With the sum, `n_shot` must therefore be the same in training and in use: the
# paper trains one network for 1-shot and another for 5-shot. With the mean, one network serves
# both. Chen et al. (2019) use the mean in their comparison, and so do we; with one shot the two are
# the same. Section 8 shows what the sum costs on images.
#
# ## 5. Images: compare place by place
#
# For images the paper embeds an item as **maps**: 64 pictures of 7 x 7 places, not one flat vector.
# `ConvMaps` has four blocks like the encoder of lesson 03, but only two of them halve the image, so
# that places remain. Class and query are stacked as 128 maps, and 3 x 3 convolutions run over them.
# So the relation module can compare the upper left of one letter with the upper left of the other
# before it sums up.

# %%
torch.manual_seed(0)
network = RelationNetwork.convolutional(width=64, aggregate="mean")
with torch.no_grad():
    class_maps, query_maps = network.encoder(task.support_x), network.encoder(task.query_x)
print("classes", tuple(class_maps.shape), "queries", tuple(query_maps.shape))
for name in ("encoder", "relation"):
    print(name, sum(p.numel() for p in getattr(network, name).parameters()), "parameters")

# %% [markdown]
# The comparison is now half of the network. A convolution is linear, so section 3 still applies:
# the package convolves the 5 classes and the 75 queries, then adds, and never stacks 128 maps. We
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
# numbers in each layer, which is 12.5 kB. In a ProtoNet, a pair costs one distance. Section 9 comes
# back to this cost.
#
# ## 6. What are the targets of the scores?
#
# The paper treats the scores as a regression. The target is 1 for a query's own class and 0 for the
# others, and the loss is the **squared error**, averaged over all pairs:
#
# $$L = \frac{1}{Q\,N} \sum_{q,k} \big(r_{q,k} - \mathbf{1}[y_q = k]\big)^2$$
#
# ### Exercise 3: the squared error (3 minutes, easy)
#
# All pairs count: those of a query with its own class, and those with the other classes.


# %%
def my_squared_error(scores, labels):
    """The mean over all pairs of the squared error, a scalar.

    scores: (Q, n_way), between 0 and 1. labels: (Q,) int64, 0..n_way-1; a label may be missing.
    """
    raise NotImplementedError


check(my_squared_error)

# %% [markdown]
# ### Is 0.0475 good?
#
# A network that ignores its input gives every pair the same score $r$. Which $r$ is best for $N$
# classes, and what does it cost? Work it out on paper for $N = 5$ and $N = 20$. (One of the $N$
# pairs of a query has the target 1.)

# %%
predict("nearly_zero")

# %% [markdown]
# The loss of a constant score is $\frac1N (1 - r)^2 + \frac{N-1}{N} r^2$, here as a picture for
# both $N$. Its smallest value is $\frac1N \big(1 - \frac1N\big)$, at $r = 1/N$: with more ways, the
# loss of a constant comes closer to 0. **A squared error means nothing until you compare it with
# that of the constant answer.** And a loss equal to the constant's tells us about the sizes of the
# scores, not about their order. Whether a query's own class has the highest score is a question for
# the accuracy.

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
describe(
    fig,
    "Squared error of a constant score r: two parabolas, lowest at 0.1600 for 5-way (r = 0.2) and "
    "at 0.0475 for 20-way (r = 0.05)",
)
plt.show()

# %% [markdown]
# There is a second way. Leave the sigmoid out, and take the five logits of a query as the scores of
# a classifier, with softmax and cross-entropy as in lesson 03. Now the classes of a query compete,
# and only the differences between its logits count. The constant answer costs $\ln N$ nats: 1.61 in
# 5-way, 3.00 in 20-way. In the package, the loss is chosen with `objective="mse"` (sigmoid scores
# and the squared error) or `objective="cross_entropy"` (logits); the network is the same.
#
# ## 7. Training: two losses, two kinds of episodes
#
# We train the same small network (32 filters) four times: with each loss, in 5-way episodes and
# in 20-way ones. Each outer step sees 60 images: four episodes of $5 \cdot (1 + 2)$, or one of
# $20 \cdot (1 + 2)$. All four start from the same weights, and both losses see the same episodes.
#
# > **Predict.** In lesson 03 20-way episodes were better than 5-way ones. Will that hold for both
# > losses? And which loss will be ahead after 40 steps, by how much? We measure 5-way 1-shot
# > meta-val accuracy; chance is 20 %.
#
# The four runs together take about 30 seconds on one core.

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
# Losses of different kinds cannot share an axis. But we can divide each loss by that of its own
# constant answer. Then 1 means "no better than a constant".

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
describe(
    fig,
    "Left: loss over the constant answer's; the squared error stays at 1, cross-entropy falls at "
    "once. Right: meta-val accuracy after 40, 80 and 120 steps; cross-entropy is far ahead",
)
plt.show()

# %% tags=["nbval-ignore-output"]
for (n_way, kind), history in histories.items():
    percent = ", ".join(f"{100 * a:.0f}" for a in history.val_scores)
    end = sum(history.losses[-20:]) / 20 / constant[n_way, kind]
    print(f"{kind:13s} {n_way:2d}-way: {percent} % after 40, 80, 120 steps; loss ends at {end:.2f}")
for n_way in (5, 20):
    squared, entropy = (histories[n_way, kind].val_scores for kind in ("mse", "cross_entropy"))
    assert entropy[0] - squared[0] > 0.1, f"{n_way}-way after 40 steps: {entropy} and {squared}"
assert sum(histories[20, "mse"].losses[-20:]) / 20 > 0.9 * constant[20, "mse"]

# %% [markdown]
# One run is a single draw, so we trained each with three seeds. (With 60 meta-val episodes, each
# number is good to about ± 3 points.)
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
# - **The squared error sits on a plateau.** In 5-way episodes, it stays at 0.16 for some 70 to 100
#   steps, and then begins to fall. In 20-way episodes, it stays at 0.0475 for the whole run, while
#   the meta-val accuracy creeps up to 30 % or a little more: the order of the scores is a little
#   better than chance, but their sizes are not.
# - **Cross-entropy has no such plateau.** After 40 steps it is at 55 to 68 %, where the squared
#   error is at 24 to 30 %.
# - **Whether more ways help depends on the loss.** With cross-entropy, the 20-way episodes end 3 to
#   6 points ahead in our three seeds, as in lesson 03. With the squared error they are far behind,
#   because the plateau is longer.
#
# On Omniglot, we saw the same in longer runs (one seed each): after 100 seconds of computing,
# cross-entropy in 20-way episodes had about 93 % on meta-val (5-way 1-shot), the squared error
# about 31 % in 20-way episodes and about 80 % in 5-way ones.
#
# ### Which of two causes?
#
# Why does the squared error stay on the plateau? There are two suspects.
#
# 1. **The majority.** In 19 of the 20 pairs of a query, the two are strangers. The squared error
#    treats each pair on its own, so the first thing that pays is to call every pair strangers.
# 2. **The flat sigmoid.** The slope of the loss with respect to a logit has a factor $r(1 - r)$,
#    the slope of the sigmoid, which is only 0.0475 at $r = 0.05$.
#
# We can separate them. The **balanced** squared error takes the majority away and keeps the
# sigmoid: the pair with the query's own class counts 19 times. The **yes-no cross-entropy** keeps
# the majority and has no factor $r(1 - r)$: each pair is a yes-no question, with the loss $-\ln r$
# for the query's own class and $-\ln(1 - r)$ for the others.

# %%
predict("which_cause")

# %% [markdown]
# Here are both losses in code. How would you write the weight yourself? We train with each loss for
# 80 steps in 20-way episodes, from the same start and on the same episodes as before. This takes
# about 10 seconds.


# %%
def balanced_squared_error(scores, labels):
    """The squared error, with the own pair of a query counted n_way - 1 times."""
    own = F.one_hot(labels, scores.shape[1]).to(scores.dtype)
    weights = 1 + own * (scores.shape[1] - 2)
    return (weights * (scores - own).square()).mean()


def yes_no_cross_entropy(logits, labels):
    """Each pair is a question of its own: the same letter, yes or no?"""
    own = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, own)


tasks = EpisodeSampler(train, 20, n_shot=1, n_query=2)
options = {"n_steps": 80, "n_tasks_per_batch": 1, "meta_lr": 2e-3, **validation}
suspects = {"balanced": ("mse", balanced_squared_error)}
suspects["yes-no"] = ("cross_entropy", yes_no_cross_entropy)
for name, (objective, loss_fn) in suspects.items():
    torch.manual_seed(0)
    small = RelationNetwork.convolutional(width=32, aggregate="mean", objective=objective)
    small.loss_fn = loss_fn
    histories[20, name] = meta_train(small, tasks, **options)

# %% [markdown]
# Again we need the constant answers. For the balanced error, $r = 1/2$ is best and costs
# $\frac{N-1}{2N} = 0.475$. For the yes-no questions, $r = 1/20$ is best and costs 0.1985 nats.

# %%
r = torch.tensor(1 / 20)
constant[20, "balanced"] = 19 / 40
constant[20, "yes-no"] = -(r * r.log() + (1 - r) * (1 - r).log()).item()
names = {"mse": "squared error", "yes-no": "yes-no cross-entropy"}
names |= {"balanced": "balanced squared error", "cross_entropy": "cross-entropy"}
fig, ax = plt.subplots(figsize=(8.4, 3.6), layout="constrained")
for (kind, name), marker in zip(names.items(), "os^D", strict=True):
    history = histories[20, kind]
    loss = torch.tensor(history.losses[:80]).view(-1, 10).mean(dim=1) / constant[20, kind]
    label = f"{name}: {100 * history.val_scores[1]:.0f} %"
    _ = ax.plot(range(10, 81, 10), loss, marker=marker, ms=6, label=label)
_ = ax.set(xlabel="outer step", ylabel="loss / constant answer's", ylim=(0.4, 1.3))
_ = ax.legend(title="meta-val accuracy after 80 steps", loc="center left", bbox_to_anchor=(1, 0.5))
describe(
    fig,
    "20-way losses over their constants: the squared error and the yes-no cross-entropy stay at 1, "
    "the balanced squared error leaves it after about 30 steps, cross-entropy at once",
)
plt.show()
assert histories[20, "balanced"].val_scores[1] > histories[20, "yes-no"].val_scores[1] + 0.1

# %% [markdown]
# With three seeds, 5-way 1-shot meta-val accuracy after 40, 80 and 120 steps in 20-way episodes:
#
# | loss | majority | factor $r(1-r)$ | 40 steps | 80 steps | 120 steps |
# |---|---|---|---|---|---|
# | squared error | yes | yes | 24, 24, 30 % | 27, 27, 34 % | 30, 31, 34 % |
# | balanced squared error | no | yes | 49, 61, 52 % | 60, 68, 67 % | 70, 72, 69 % |
# | yes-no cross-entropy | yes | no | 25, 25, 28 % | 31, 34, 28 % | 38, 56, 24 % |
# | balanced yes-no cross-entropy | no | no | 53, 63, 46 % | 62, 69, 65 % | 66, 74, 69 % |
# | cross-entropy | no | no | 61, 66, 55 % | 71, 73, 67 % | 78, 79, 73 % |
#
# **It is the majority.** Both balanced losses leave the plateau, with the flat sigmoid and without
# it. Both losses with the majority are still on it after 80 steps. The flat sigmoid contributes
# little at most: without it, one of three trainings had left the plateau after 120 steps. This is
# what we would expect of Adam, because it divides each gradient by its usual size and so cancels a
# factor that all gradients share. Cross-entropy looks only at the differences within a query. What
# all its logits have in common cancels, so a constant answer gains nothing, and the network must
# learn the letters first. (The paper trained with the squared error for up to a million episodes.
# With patience, training leaves a plateau, too.)
#
# ## 8. A trained one on meta-test
#
# A network of the published size takes longer to train than a lesson allows. The course comes with
# one: 64 filters, cross-entropy, the mean, trained in 20-way 1-shot episodes.

# %%
from metalearn_edu.pretrained import load_pretrained

trained, card = load_pretrained("relation_glyphs")
recipe = card["recipe"]
for name in ("algorithm", "data", "train_way", "n_shot", "width", "objective", "aggregate"):
    print(f"{name:10s} {recipe[name]}")
print("how to make it again:", card["command"])

# %% [markdown]
# Its encoder looks at one item at a time, so we embed meta-test once, as in lesson 03. The pairs
# depend on the episode, so the network must compare them each time.
#
# Is the learned comparison worth its cost? We ask this in two ways.
#
# - **We take the comparison away and keep the encoder.** We use a fixed distance on the same maps,
#   averaged over the 49 places to 64 numbers, as in a ProtoNet. Because averaging could lose what
#   matters, we also try the distance on all 49 places.
# - **We give the training time to another method.** The ProtoNet that comes with the course trained
#   for 10 minutes on one core, and this network for 15.
#
# All are scored on the same 600 episodes as in lesson 03, where nearest pixel had about 45 %.
#
# > **Predict.** Will the relation network have more than 90 % on 5-way 1-shot? How many points do
# > we lose with a fixed distance on its encoder? And is the ProtoNet ahead or behind?

# %%
embedded = embed_dataset(trained.encoder, test)
protonet, protonet_card = load_pretrained("prototypical_glyphs")
protonet_embedded = embed_dataset(protonet.encoder, test)
comparison = RelationNetwork(
    encoder=nn.Identity(),
    relation=trained.relation,
    aggregate=trained.aggregate,
    objective=trained.objective,
)
average = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
learners = {
    "Euclid, same encoder": (PrototypicalNetwork(average), embedded),
    "cosine, same encoder": (PrototypicalNetwork(average, "cosine"), embedded),
    "Euclid, all 49 places": (PrototypicalNetwork(nn.Flatten()), embedded),
    "Relation Network": (comparison, embedded),
    "ProtoNet": (PrototypicalNetwork(nn.Identity()), protonet_embedded),
}
print(embedded)

# %% [markdown]
# The evaluation takes about 15 seconds, nearly all of them for the 225,000 pairs of the relation
# network.

# %%
results = {
    name: evaluate_meta_learner(learner, EpisodeSampler(items, 5, 1), chunk_size=5)
    for name, (learner, items) in learners.items()
}
print(len(results), "evaluations of 600 episodes each")

# %%
from metalearn_edu.plotting import plot_intervals

ax = plot_intervals(results)
_ = ax.set_title("5-way 1-shot", loc="left")
plt.show()

# %% [markdown]
# As in lesson 03, we also look at the paired differences on the same episodes.

# %% tags=["nbval-ignore-output"]
ours = results["Relation Network"]
ahead = {name: Comparison(ours, other).difference for name, other in results.items()}
for name in [name for name in ahead if name != "Relation Network"]:
    mean, half = 100 * ahead[name].mean, 100 * ahead[name].half_width
    print(f"Relation Network minus {name}: {mean:+.1f} ± {half:.1f} points")
assert all(ahead[name].interval[0] > 0.05 for name in list(ahead)[:3])
assert ours.mean > 0.85 and ahead["ProtoNet"].interval[1] < 0.01

# %% [markdown]
# The relation network has a 5-way 1-shot meta-test accuracy of about 96.3 % ± 0.4. With a fixed
# distance, the same encoder has 85 to 86 % ± 0.7, averaged or place by place. So for **this
# encoder**, the comparison is worth about ten points, three quarters of the errors: the encoder was
# trained for this comparison, and never for a distance.
#
# But the ProtoNet has 97.7 % ± 0.3, 1.4 points more, with less training time and a fixed distance.
# An encoder that is trained for a distance can do that part of the work itself. So these figures do
# **not** say that a learned comparison is the better method; section 11 has the same finding from
# the literature. (These are single training seeds: we have not measured how much another training
# would differ.)
#
# ### One network, other shots
#
# The network was trained with one shot, where the sum and the mean are the same. So training with
# the paper's sum would have given exactly these weights, and we can use them with either.
#
# > **Predict.** With five shots, what will the meta-test accuracy be with the mean, and what with
# > the sum?

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

ax = plot_accuracy({f"{name} of items": by_shots[name] for name in by_shots})
by_name = {name: [f"{100 * by_shots[name][k].mean:.0f}" for k in (1, 2, 5)] for name in by_shots}
_ = ax.set_title(f"sum: {', '.join(by_name['sum'])} %", loc="left")
plt.show()
assert by_shots["mean"][5].mean > by_shots["sum"][5].mean + 0.2

# %% [markdown]
# With the mean, more shots help: about 96, 98 and 99 %. With the sum, every additional shot makes
# it worse: about 90 % with two shots and between 50 and 60 % with five. The comparison was trained
# on maps of the size of one item, and a sum of five is like nothing it has seen.
#
# ### Explore: every pair
#
# The explorer shows ten queries of a meta-test episode. Rows are queries and columns are classes; a
# darker cell has a higher score. A green frame marks a query's own class, and a dot marks the class
# with the highest score. Only these cells show their score as a number; the row of the chosen query
# shows all its scores, and its pairs appear on the right. The scores are logits, because the
# network was trained with cross-entropy: only differences within a row count.
#
# 1. Two queries in this episode are assigned to the wrong class. Choose each of them. Which letter
#    won, by how much, and would you have made the same mistake? Find more mistakes in other
#    episodes.
# 2. Set `n_shot` to 5 and change the support items from mean to sum. What happens to the logits?
# 3. Is there a row with two high scores, or a row with none?

# %%
from metalearn_edu.explorers.relations import RelationExplorer

explorer = RelationExplorer(trained, test, episode=2)
explorer

# %% [markdown]
# You can move the controls from Python, too; the picture above follows.

# %%
explorer.set(n_shot=5, aggregate="sum", query=3)
print(explorer.state)

# %% [markdown]
# <details><summary>What we saw</summary>
#
# 1. They are queries 0 and 7 of episode 2: each goes to the class of the other. The two letters
#    look alike, yet the network is not in doubt. The wrong class is ahead by 3.5 and by 3.1, so the
#    softmax gives it 33 and 22 times the probability of the right one. A clear answer can be a
#    wrong one.
# 2. With the mean, the best logit of most rows is above 0 or near it. With the sum, all are far
#    below 0: the network says that the query belongs to none of the classes. In episode 2, one
#    class gets nearly all the queries.
# 3. Both occur. In rows with two high scores, two classes look alike; rows without a high score
#    belong to queries that are drawn quite differently from the rest of their class.
# </details>
#
# ### Explore: what decides?
#
# The network compares place by place. Which places decide? A simple test is **occlusion**: cover a
# part of the query with a square of paper, and see how the logits change. The maps show the change
# of the logit for every position of the square: on the left for the query's own class, and on the
# right for the best of the others, the rival.
#
# 1. Uncovered, query 12 gets the right class. In how many of the 49 positions does the square send
#    it to a wrong class, and which strokes lie there?
# 2. Uncovered, query 0 gets a wrong class. Which stroke makes the rival win? Cover it.
# 3. Put the square where there is no ink. Why does nothing change?

# %%
from metalearn_edu.explorers.occlusion import OcclusionExplorer

occlusion = OcclusionExplorer(trained, test, episode=2, query=12)
occlusion

# %%
occlusion.set(query=0, row=2, column=4)
print(occlusion.state)

# %% [markdown]
# <details><summary>What we saw</summary>
#
# 1. In 11 positions, all on the strokes on the right. Where they are covered, the logit of the own
#    class falls by up to 11; what is left looks like the rival.
# 2. Query 0 stays wrong in 44 of the 49 positions. It becomes right in five positions around the
#    middle of its right-hand stroke (rows 2 to 4, columns 3 and 4). With the square in row 2,
#    column 4, the rival loses most of its logit: that stroke was the evidence for the rival. So
#    covering the stroke, that is, *less* ink, makes the answer right.
# 3. Paper on top of paper gives the same picture, so the logits are the same to the last digit.
# </details>
#
# ### What does a learned comparison promise?
#
# A distance is symmetric, and nothing is closer to an item than the item itself. A learned
# comparison has neither property by construction. Does it learn them? We take one drawing of each
# of 60 meta-test letters, and score all pairs: each letter with every other, and with itself. Then
# we do the same with 60 pictures of pure noise.
#
# > **Predict.** For how many of the 60 letters is the best partner the letter itself? And for how
# > many of the 60 noise pictures?

# %%
letters = torch.stack([test.items_of(k)[0] for k in range(60)])
noises = torch.rand(letters.shape, generator=torch.Generator().manual_seed(0))
tables = {}
with torch.no_grad():
    for name, pictures in (("letters", letters), ("noises", noises)):
        z = trained.encoder(pictures)
        tables[name] = trained.relation(z[None, None], z[None, :, None])[0]  # (60, 60)

# %% tags=["nbval-ignore-output"]
itself = {name: int((t.argmax(dim=1) == torch.arange(60)).sum()) for name, t in tables.items()}
for name, t in tables.items():
    others = t[~torch.eye(60, dtype=torch.bool)]
    print(f"{name}: {itself[name]} of 60 are best with themselves, logit {t.diag().mean():.1f};")
    print(
        f"    with others {others.mean():.1f}; swapped, it changes by {(t - t.T).abs().mean():.2f}"
    )
assert itself["letters"] > 50 and itself["noises"] < 15

# %% [markdown]
# On letters, it has learned what a distance has for free: all 60 match themselves best, and
# swapping query and class changes a logit by about 1.5, where the logits are about 10 in size. On
# noise, nothing of this is left. The network has never seen noise. It takes every pair of noise
# pictures for the same letter, with a logit of 8, higher than a letter gets with itself (5). A
# Euclidean distance between equal embeddings is 0 everywhere, trained or not.
#
# ## 9. A short list
#
# A distance is cheap, because each item is embedded once and for all. A relation network must look
# at each pair: 20 pairs per query in 20-way, and a million pairs with a million classes. Search
# engines have the same problem, and they solve it in two stages. A **bi-encoder**, such as a
# ProtoNet, embeds the query and the items separately, and proposes a short list by distance. A
# **cross-encoder**, such as our relation network, looks at both together, and **re-ranks** only
# this list.

# %%
from metalearn_edu.explorers.reranking import reranked


def scores_of(learner, items):
    """Scores (episodes, 100, 20) of 30 episodes, 20-way 1-shot with 5 queries per class."""
    sampler = EpisodeSampler(items, 20, 1, 5)
    tasks = [sampler.episodes(seed=20_000, start=i, n_tasks=1)[0] for i in range(30)]
    with torch.no_grad():
        return torch.stack([learner.adapt(t.support_x, t.support_y)(t.query_x) for t in tasks])


cheap, costly = scores_of(*learners["Euclid, same encoder"]), scores_of(comparison, embedded)
listed = cheap[0, 0].topk(2).indices
print("query 0, list:", listed.tolist(), "of 20; two pairs are compared")
print("re-ranked:", int(listed[costly[0, 0][listed].argmax()]), end=", ")
print("the package:", int(reranked(cheap[0, :1], costly[0, :1], n_kept=2)))

# %% [markdown]
# > **Predict.** By distance alone, about 64 % of these queries are right, and with all 20 pairs
# > about 86 %. How much of the gain will a list of two bring, and a list of five? And what if the
# > ProtoNet of section 8 makes the list, with its own encoder?

# %%
own = torch.arange(20).repeat_interleave(5).repeat(30)  # queries come class by class
proposers = {"Euclid, same encoder": cheap, "ProtoNet": scores_of(*learners["ProtoNet"])}
lengths = (1, 2, 3, 4, 5, 7, 10, 15, 20)
right = {
    name: torch.stack([reranked(s.flatten(0, 1), costly.flatten(0, 1), m) == own for m in lengths])
    for name, s in proposers.items()
}  # (lengths, queries)
right = {
    name: 100 * r.double().view(len(lengths), 30, 100).mean(dim=2) for name, r in right.items()
}

# %%
fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
for (name, r), look in zip(right.items(), ("^-", "o--"), strict=True):
    half = 1.96 * r.std(dim=1) / 30**0.5
    means = ", ".join(f"{r[i].mean():.0f}" for i in (0, 1, 4, 8))
    _ = ax.errorbar(lengths, r.mean(dim=1), half, fmt=look, capsize=3, label=f"{name}: {means} %")
_ = ax.set(
    xlabel="classes compared in full, of 20", ylabel="meta-test accuracy (%)", ylim=(60, 100)
)
_ = ax.set_xticks(lengths, ["none"] + [str(m) for m in lengths[1:]])
_ = ax.legend(title="list by (% with none, 2, 5, 20 pairs)", loc="lower right")
describe(
    ax,
    "Accuracy against pairs compared. From Euclid's list it rises from 64 % to 86 %, most of it "
    "with 2 to 5 pairs; from the ProtoNet's list it starts at 88 % and falls a little",
)
plt.show()

# %% tags=["nbval-ignore-output"]
for name, r in right.items():
    for i in (1, 4, 8):
        gain = r[i] - r[0]
        half = 1.96 * gain.std() / 30**0.5
        print(f"{name}: {lengths[i]:2d} pairs gain {gain.mean():+.1f} ± {half:.1f} points, paired")
gains = right["Euclid, same encoder"].mean(dim=1) - right["Euclid, same encoder"][0].mean()
assert gains[1] > 0.4 * gains[8] and gains[4] > 0.8 * gains[8]

# %% [markdown]
# From the list of its own encoder's distance, **two of twenty pairs bring more than half of the
# gain, and five bring nearly all**: 13 and 21 of 22 points, with a tenth and a quarter of the work.
# The list sets a ceiling, because a class that is not on it cannot be chosen.
#
# With the ProtoNet's list there is nothing to gain. With no pair at all it has about 88 %, and the
# more pairs the relation network compares, the closer the result comes to its own 86 %. (A list of
# two changed it by -0.8 to +1.2 points in three draws of episodes, a change that we cannot tell
# from 0.) **Re-ranking pays if the second stage is better than the first on the classes of the
# list**, and costs accuracy if it is worse. Measure it, on meta-val.
#
# ### Explore: how long must the list be?
#
# On the left are the 20 classes in the order of the proposer. Those on the list show their logit;
# the others are pale, because the relation network does not compare them.
#
# 1. Find a query whose own class is not on the list of two. Make the list longer until it is. Is
#    the answer right then?
# 2. Find a query that the Euclidean distance alone gets right and the relation network gets wrong.
# 3. Change the proposer to the ProtoNet. Which length would you use?

# %%
from metalearn_edu.explorers.reranking import RerankExplorer

by = {name: learners[name] for name in proposers}
explorer = RerankExplorer(test, (comparison, embedded), by)
explorer

# %%
explorer.set(n_kept=5, query=7)
print(explorer.state)

# %% [markdown]
# <details><summary>What we saw</summary>
#
# 1. In episode 0, the distance puts the own class of query 7 in seventh place: from a list of 7 on,
#    the query is right. It puts the own class of query 12 in fourth place, and the query stays
#    wrong even when this class is on the list.
# 2. Query 9 of episode 0 is right with no pair, and wrong from a list of 2 on.
# 3. The curve of the ProtoNet is nearly flat: from 88.6 % with no pair to 89.8 % with two and 88.5
#    % with all. With intervals of about 1.5 points, these cannot be told apart, and no pair at all
#    is the cheapest.
# </details>
#
# ## 10. Find the bug
#
# ### A: the loss that will not fall
#
# A colleague likes both halves of the paper's idea: scores between 0 and 1, and the cross-entropy
# that trained so well in section 7. Below is the colleague's loss. We try it in an easy world: 36
# classes are points of a grid in the plane, and their items lie close to them. The package's loss
# for logits runs beside it, on the same episodes.

# %%
grid = torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0))  # (36, 2)
generator = torch.Generator().manual_seed(0)
items = grid.repeat_interleave(20, dim=0) + 0.1 * torch.randn(720, 2, generator=generator)
easy = EpisodeSampler((items, torch.arange(36).repeat_interleave(20)), 5, 1, 5)


def their_loss(logits, labels):
    scores = torch.sigmoid(logits)  # relation scores, between 0 and 1
    return F.cross_entropy(scores, labels)


losses, accuracies = {}, {}
for name, loss_fn in (("theirs", their_loss), ("the package's", F.cross_entropy)):
    torch.manual_seed(0)
    learner = RelationNetwork(2, 64, aggregate="mean", objective="cross_entropy")
    learner.loss_fn = loss_fn
    losses[name] = meta_train(learner, easy, n_steps=200, meta_lr=5e-3).losses
    accuracies[name] = evaluate_meta_learner(learner, easy, n_episodes=100).mean

# %%
fig, ax = plt.subplots(figsize=(6.4, 3), layout="constrained")
for (name, values), line in zip(losses.items(), ("-", "--"), strict=True):
    label = f"{name}, ends at {sum(values[-20:]) / 20:.2f}; accuracy {100 * accuracies[name]:.0f} %"
    _ = ax.plot(values, line, lw=1.4, label=label)
_ = ax.set(xlabel="outer step", ylabel="loss (nats)", ylim=(0, 1.9))
_ = ax.legend(loc="upper right")
describe(
    ax,
    "Loss over 200 outer steps: theirs falls to just above 0.9 and stays, the package's falls "
    "below 0.2; both are right on more than 95 % of the queries",
)
plt.show()
assert min(losses["theirs"]) > 0.9 and sum(losses["the package's"][-20:]) / 20 < 0.2
assert min(accuracies.values()) > 0.95

# %% [markdown]
# Both networks answer nearly every query correctly, and there is no error message. Yet the
# colleague's loss stops just above 0.9, as if there were a floor, and a loss that cannot fall has
# little left to teach.
#
# **Question.** There is a floor. Where is it for `n_way` classes, and why? (What are the best
# scores that such a network can give, and what does cross-entropy make of them?)
#
# ### Exercise 4: fix the loss (2 minutes, easy)
#
# Here is their loss as a function of the logits. Fix it, but keep the cross-entropy.


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
# own class and 0 for the others, and their softmax gives the own class only $e / (e + N - 1)$. So
# the loss is at least $\ln\big(1 + (N - 1)/e\big)$: 0.905 for 5-way, 2.078 for 20-way. To come
# close to it, training must push the sigmoid to its flat ends, where its gradient vanishes. There
# is one normalisation too many: softmax expects logits, which may be any numbers. The fix is to
# leave out the sigmoid. (If you want scores between 0 and 1, keep the sigmoid and take the squared
# error or the yes-no cross-entropy. But these have the plateau of section 7.)
# </details>

# %%
for n_way in (5, 20):
    perfect = torch.eye(n_way)  # the best scores of a sigmoid: 1 for the own class, 0 for others
    floor = F.cross_entropy(perfect, torch.arange(n_way))
    formula = math.log(1 + (n_way - 1) / math.e)
    print(f"{n_way}-way: perfect scores cost {floor:.3f} nats, the formula says {formula:.3f}")

# %% [markdown]
# A test that needs no training: **give the loss a perfect answer, and ask whether it is (nearly)
# 0.** The test takes a minute to write, and it finds this mistake in any network.
#
# ### B: right with one shot, worse than chance with five
#
# Another colleague has rewritten the comparison around our trained relation module. Here is the
# code, applied to the embeddings of meta-test.


# %%
def colleagues_scores(support_z, query_z):
    return trained.relation(support_z[None, None], query_z[None, :, None])[0]


# %% tags=["nbval-ignore-output"]
accuracy = {}
for n_shot in (1, 5):
    batch = EpisodeSampler(embedded, 5, n_shot).episodes(seed=0, start=0, n_tasks=40)
    with torch.no_grad():
        answers = torch.stack([colleagues_scores(t.support_x, t.query_x) for t in batch]).argmax(2)
    accuracy[n_shot] = (answers == batch.query_y).double().mean().item()
    print(f"{n_shot}-shot: {100 * accuracy[n_shot]:.1f} % (chance 20 %)")
assert accuracy[1] > 0.8 and accuracy[5] < 0.2

# %% [markdown]
# **Question.** With more examples, it does worse than guessing. What is wrong? Look at the
# arguments of the function, and think about the shape of its result.

# %%
predict("worse_than_chance")

# %% [markdown]
# The package looks for this mistake. `score_episodes`, which every evaluation uses, knows how many
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
# One fix is what the package does: make one embedding for each class, then compare. The colleague
# keeps the scores of the items, and adds up those of each class, using the labels this time. We try
# this with five items of each class, and then with five items of class 0 and one of every other
# class.
#
# > **Predict.** In which of the two cases will the sum go wrong, and for the queries of which
# > class?


# %%
def summed_scores(item_scores, support_y, n_way):
    """From scores of items (Q, S) to scores of classes (Q, n_way)."""
    one_hot = F.one_hot(support_y, n_way).to(item_scores.dtype)  # (S, n_way)
    return item_scores @ one_hot


def share_of_class_0(function, kept):
    """Percentage of the queries of class 0 that are named 0, if these support items are kept."""
    right = []
    for t in batch:
        with torch.no_grad():
            item_scores = colleagues_scores(t.support_x[kept], t.query_x)
        answers = function(item_scores, t.support_y[kept], 5).argmax(dim=1)
        right.append((answers == 0)[t.query_y == 0].double().mean())
    return 100 * sum(right).item() / len(right)


# %% tags=["nbval-ignore-output"]
every, fewer = torch.arange(25), torch.tensor([0, 1, 2, 3, 4, 5, 10, 15, 20])
with_five, with_one = (share_of_class_0(summed_scores, kept) for kept in (every, fewer))
print(f"queries of class 0, five items of every class:     {with_five:.1f} % right")
print(f"queries of class 0, one item of every other class: {with_one:.1f} % right")
assert with_five > 95 and with_one < 90

# %% [markdown]
# With equal shots, the sum is the mean times five, and no order changes. With unequal shots it goes
# wrong, and it does so for the very class that we know best: the accuracy on its queries falls from
# about 99 to about 85 %. Most logits of this network are below 0, so the class with the most items
# has the lowest sum.
#
# ### Exercise 5: fix it (5 minutes, easy)
#
# Fix the function: the score of a class should be the **mean** of the scores of its items.


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
# With the mean, class 0 keeps its accuracy, and five shots of each class help as they should.

# %%
from metalearn_edu.exercises.lessons.relation_networks import class_scores

fixed = share_of_class_0(class_scores, fewer)
by_items = torch.zeros(len(batch), 75, 5)
with torch.no_grad():
    for i, t in enumerate(batch):
        items_of_task = colleagues_scores(t.support_x, t.query_x)  # (75, 25)
        by_items[i] = class_scores(items_of_task, t.support_y, 5)
    packages = comparison(batch.support_x, batch.support_y, batch.query_x)

# %% tags=["nbval-ignore-output"]
print(f"queries of class 0, one item of every other class: {fixed:.1f} % right")
for name, scores in (("mean of scores", by_items), ("mean of embeddings", packages)):
    five_shot = score_episodes(scores, batch).mean()
    print(f"5-way 5-shot, {name}: {100 * five_shot:.1f} %")
    assert five_shot > 0.9
assert fixed > 93

# %% [markdown]
# Both work, but they are two different methods: one compares with the middle of the class, the
# other with every item, at `n_shot` times the cost. This is again the difference between
# Prototypical and Matching Networks (lesson 03, section 10).
#
# ## 11. Limits
#
# - **Every pair costs a run of a network.** ProtoNet compares with a distance; here, each query
#   passes through two convolutions for each class. A short list makes the comparison affordable, if
#   something cheap can propose the list.
# - **A learned comparison can be wrong where it has not been trained.** On noise, we saw that it
#   calls everything the same. On Meta-Dataset (ten data sets; training on ImageNet only), relation
#   networks had the worst average rank of the methods in the authors' table: 15.6, where the best
#   had 9.3, prototypical networks 10.8 and nearest neighbours without any meta-learning 14.6.
# - **The support set moves the embeddings of classes and nothing else**, as in lesson 03. No weight
#   adapts to the task.
# - **Is the gain due to the comparison?** The network is larger too. Chen et al. (2019) trained all
#   methods in the same way on miniImageNet: relation networks had 49.3 % and ProtoNet 44.4 % with
#   one shot, 66.6 and 64.2 % with five shots. With a deeper encoder (ResNet-18, five shots) it was
#   69.8 against 73.7 %. There, a plain distance was enough, as it was for our ProtoNet in section
#   8.
#
# ## 12. The paper's figures beside ours
#
# Meta-test accuracy in percent; ours with the 95 % interval over 600 episodes of 15 queries per
# class (20-way: 100 episodes on Glyphs, 200 on Omniglot), one training seed. On Glyphs, it is the
# network of section 8; on Omniglot, `metalearn-edu train relation --data omniglot` trains it.
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
# each number of shots. Its released code also normalises each test batch by the batch's own
# statistics, so that queries inform each other (lesson 02), and it kept the weights that were best
# on the test characters (lesson 02 again). So read its 99.6 as an upper estimate.
#
# ## 13. Recap
#
# What you have done in this lesson, as far as the checks know:

# %%
progress(4)

# %% [markdown]
# You can now
#
# - score pairs in a loop, in one call, and without building pairs: $W[c; q] = W_c c + W_q q$;
# - explain that a relation module contains distances as special cases, and that its scores need not
#   sum to 1;
# - choose the mean of the support items if the number of shots can change, because a sum grows with
#   it;
# - compare a squared error with $\frac1N (1 - \frac1N)$, and a cross-entropy with $\ln N$, before
#   you believe it, and separate two causes by removing one at a time;
# - re-rank a short list, and say when that pays: when the second stage is better than the first;
# - test a loss with a perfect answer, and scores by their shape.
#
# **Check yourself**
#
# 1. A 10-way run has a squared error of 0.09. What does the network know?
# 2. Why can the ReLU come after the sum $W_c c + W_q q$ but not before it?
# 3. You trained with the sum and five shots. A user has three examples of each class. What can they
#    do without any training?
# 4. A distance has the right class on its list of ten for 95 % of the queries. How good can any
#    re-ranker of this list be?
#
# <details><summary>Answers</summary>
#
# 1. The loss shows only the number of classes: $0.1 \cdot 0.9 = 0.09$. The order of the scores
#    could already be better than chance, so look at the accuracy.
# 2. A unit after the sum sees class and query together, and can fire for their difference. With the
#    ReLU before the sum, the result is a function of the class plus a function of the query, so the
#    order of the classes would be the same for every query.
# 3. Multiply the sum by 5/3, which is five times the mean: the size that the comparison knows.
# 4. 95 % at best, because a class that is not on the list cannot be chosen.
# </details>
#
# **Next:** so far, the weights stay the same in every task. What if a few gradient steps could
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
