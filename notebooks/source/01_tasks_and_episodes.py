# %% [markdown]
# # 01 · What is a task?
#
# **In ordinary learning, one example is one picture. In meta-learning, one example is a whole
# small learning problem. What is such a problem made of, and how do we draw fair ones?**
#
# After this lesson you can
#
# - *draw* an episode by hand, and many at once without a loop,
# - *explain* why every episode deals its labels again,
# - *read* the shapes of an `EpisodeBatch`, the one input that every learner in the course takes,
# - *split* classes, not pictures, into meta-train, meta-val and meta-test,
# - *find* three mistakes that ruin episodes without any error message.
#
# **75 minutes**, of which 35 are for the five exercises and 5 for the two questions. Prerequisites:
# Python, indexing of arrays. Lesson 00 is a good way in, but you can do without it.
#
# | in papers | in code | meaning |
# |---|---|---|
# | $\mathcal{T}_i$ | one task, `batch[i]` | one small learning problem |
# | $p(\mathcal{T})$ | a `TaskSource`, such as `EpisodeSampler` | where tasks come from |
# | $\mathcal{S}$, $D^{\mathrm{train}}$ | `support_x`, `support_y` | what the learner learns from |
# | $\mathcal{Q}$, $D^{\mathrm{test}}$ | `query_x`, `query_y` | what it is scored on |
# | $N$ (way) | `n_way` | classes in one episode |
# | $K$ (shot) | `n_shot` | support items per class |
# | | `n_query` | query items **per class** |

# %%
import itertools
import math
import random

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from metalearn_edu import (
    EpisodeBatch,
    EpisodeSampler,
    FewShotDataset,
    PrototypicalNetwork,
    check_episodes,
    check_splits,
    create_task_batch,
    evaluate_meta_learner,
    load_glyphs,
)
from metalearn_edu.exercises import check, predict
from metalearn_edu.exercises.lessons.tasks_and_episodes import count_episodes, split_items
from metalearn_edu.explorers.by_heart import ByHeartExplorer, film_of
from metalearn_edu.explorers.episodes import EpisodeExplorer
from metalearn_edu.plotting import (
    describe,
    plot_episode,
    plot_intervals,
    plot_items,
    use_course_style,
)
from metalearn_edu.pretrained import load_pretrained

use_course_style()
torch.set_num_threads(1)

# %% [markdown]
# ## See the data: a pool of classes
#
# Our data are *Glyphs*: letters of 15 writing systems. Each letter is a **class**, and each class
# has 20 drawings, made from the printed letter as if by a shaky hand. We load the part that
# learners may train on.

# %%
glyphs = load_glyphs("meta-train")
print(glyphs)
print("items ", tuple(glyphs.items.shape), glyphs.items.dtype)
print("labels", tuple(glyphs.labels.shape), "from", 0, "to", int(glyphs.labels.max()))

# %% [markdown]
# Four classes, ten drawings of each. The drawings of one class differ in slant, size and thickness.
# Would you recognise the fourth letter after seeing it once?

# %%
shown = plot_items(torch.cat([glyphs.items_of(c)[:10] for c in (6, 300, 460, 850)]))
describe(
    shown,
    "Four rows of ten drawings, one meta-train letter per row. Within a row the drawings differ in "
    "slant, size and thickness, and keep the same strokes.",
)
plt.show()
print([glyphs.class_names[c] for c in (6, 300, 460, 850)])

# %% [markdown]
# In ordinary supervised learning, these pictures would be split into a training set and a test set,
# and one network would learn all the classes. We do something else. From this pool we draw small
# problems: *here are a few letters, with one drawing of each; now say which is which in new
# drawings.*

# %% [markdown]
# ## One episode, by hand
#
# We start with a pool so small that we can follow every number: three classes with four items each.
# An item is just a number, and its first digit is its class (1 for A, 2 for B, 3 for C).
#
# First, some vocabulary. A **task** is a small learning problem. An *episode* is what we draw from
# a task: a *support set* to learn from, with `n_shot` items of each of `n_way` classes, and a
# **query set** to be scored on, with `n_query` other items of each of the same classes. "2-way
# 1-shot" means two classes and one support item of each.

# %%
pool = {"A": [10, 11, 12, 13], "B": [20, 21, 22, 23], "C": [30, 31, 32, 33]}


def draw_episode(pool, n_way, n_shot, n_query, rng):
    """One episode as two lists of (item, label)."""
    support, query = [], []
    for label, name in enumerate(rng.sample(sorted(pool), n_way)):
        items = rng.sample(pool[name], n_shot + n_query)
        support += [(item, label) for item in items[:n_shot]]
        query += [(item, label) for item in items[n_shot:]]
    return support, query


# %% [markdown]
# Two draws do all the work: first `n_way` classes from the pool, then `n_shot + n_query` items from
# each class. We draw without replacement, so the support set and the query set share no item.

# %%
rng = random.Random(0)
for i in range(3):
    support, query = draw_episode(pool, n_way=2, n_shot=1, n_query=2, rng=rng)
    print(f"episode {i}: support {support}   query {query}")

# %% [markdown]
# Look at the labels. They are not "A", "B", "C". Inside an episode, labels are always
# `0 .. n_way - 1`, and they are dealt to the classes at random.
#
# > **Predict.** We draw eight more episodes and keep those with class A. Which label will A have?
# > Write down your guess, then run.

# %%
labels_of_a = []
for _ in range(8):
    support, _ = draw_episode(pool, 2, 1, 2, rng)
    labels_of_a += [label for item, label in support if item // 10 == 1]
print("labels of class A, episode by episode:", labels_of_a)

# %% [markdown]
# Sometimes 0, sometimes 1. So the label alone means nothing; only the support set says what it
# means *in this episode*. There are three reasons for this.
#
# 1. **A learner must not be able to ignore the support set.** If A were always 0, a learner could
#    store "A is 0" in its weights during training. It would then have nothing to say about new
#    letters. (The third bug below shows a network that does just this.)
# 2. **New classes need labels too.** A meta-test letter was never seen in training. It can only get
#    one of the labels `0 .. n_way - 1`, like any other letter.
# 3. **Many networks have exactly `n_way` outputs.** None of them fits the raw class number 853.

# %% [markdown]
# ## Many episodes at once, without a loop
#
# A learner is trained on many thousands of episodes, so we draw them in batches. One trick is
# enough: *to shuffle, sort random numbers*. Give each class a random key; the classes with the
# smallest keys are a random draw, in random order.

# %%
keys = [0.7, 0.1, 0.4]
print("keys of the classes 0, 1, 2:", keys)
print("classes, smallest key first:", torch.tensor(keys).argsort().tolist())

# %% [markdown]
# With a leading axis for `T` tasks, two sorts draw everything: one over the classes, one over the
# items of each chosen class.


# %%
def draw_many(n_classes, class_size, n_way, n_need, n_tasks, generator):
    """Classes (T, n_way) and items (T, n_way, n_need) of T tasks, without repetition."""
    class_keys = torch.rand(n_tasks, n_classes, generator=generator)
    item_keys = torch.rand(n_tasks, n_way, class_size, generator=generator)
    return class_keys.argsort(dim=1)[:, :n_way], item_keys.argsort(dim=2)[..., :n_need]


classes, items = draw_many(3, 4, n_way=2, n_need=3, n_tasks=4, generator=torch.manual_seed(0))
print("classes", tuple(classes.shape), "items", tuple(items.shape))

# %% [markdown]
# The numbers to show are then a single lookup in the table of all items, `(n_classes,
# class_size)`. Row `t` is one task: its support item of label 0, then its support item of label 1.

# %%
table = torch.tensor(list(pool.values()))
chosen = table[classes[..., None], items]  # (T, n_way, n_shot + n_query)
print("chosen", tuple(chosen.shape))
print("support", chosen[..., :1].flatten(1).tolist())
print("query  ", chosen[..., 1:].flatten(1).tolist())

# %% [markdown]
# The package does the same in one call. It takes any arrays `X` (items first) and `y` (labels of
# any type). We will look at what it returns in a moment.

# %%
X = table.reshape(12, 1)
y = [name for name in pool for _ in range(4)]
batch = create_task_batch((X, y), n_way=2, n_shot=1, n_query=2, n_tasks=4, seed=0)
print(batch)
print("support", batch.support_x.flatten(1).int().tolist())

# %% [markdown]
# We now have three samplers. Do they draw from the same distribution? Their results are random, so
# we cannot compare them number by number. We compare *frequencies*: there are $3 \cdot 2 = 6$ ways
# to give two of three classes the labels 0 and 1, and all six must be equally frequent.
#
# > **Predict.** In 6,000 episodes, how often will "A is 0 and B is 1" occur? And how far from that
# > can a fair sampler stray?

# %%
N_DRAWS = 6000
loop = [[x for x, _ in draw_episode(pool, 2, 1, 2, rng)[0]] for _ in range(N_DRAWS)]
classes, items = draw_many(3, 4, 2, 3, N_DRAWS, torch.manual_seed(1))
vectorised = table[classes[..., None], items][..., 0]
package = create_task_batch((X, y), 2, 1, 2, n_tasks=N_DRAWS, seed=1).support_x[..., 0]
supports = {"loop": loop, "vectorised": vectorised, "package": package}

# %% [markdown]
# Each count is the number of hits in 6,000 tries with probability 1/6. It has the mean 1,000 and
# the standard deviation $\sqrt{6000 \cdot \frac16 \cdot \frac56} \approx 29$. The grey band is $\pm
# 1.96$ standard deviations wide: about 95 % of fair counts fall inside.

# %%
pairs = list(itertools.permutations(range(3), 2))
deviation = math.sqrt(N_DRAWS * 1 / 6 * 5 / 6)
fig, ax = plt.subplots(figsize=(6.8, 3.2), layout="constrained")
band = (1000 - 1.96 * deviation, 1000 + 1.96 * deviation)
ax.axhspan(*band, color="0.88", label="95 % of fair counts")
for shift, (name, support) in enumerate(supports.items()):
    by_class = torch.as_tensor(support).int() // 10 - 1  # (T, 2): class of label 0, of label 1
    counts = [int((by_class == torch.tensor(pair)).all(1).sum()) for pair in pairs]
    ax.plot(np.arange(6) + 0.2 * (shift - 1), counts, "os^"[shift], label=name)
    assert max(abs(c - 1000) for c in counts) < 4.5 * deviation, f"{name} is not fair: {counts}"
ax.set_xticks(range(6), ["ABC"[a] + "ABC"[b] for a, b in pairs])
ax.set(xlabel="classes of label 0 and label 1", ylabel="episodes of 6,000", ylim=(850, 1150))
ax.legend(ncols=4, loc="upper center", columnspacing=1, handletextpad=0.3)
describe(
    fig,
    "How often each of the six ordered pairs of classes came in 6,000 episodes, for the loop, the "
    "vectorised version and the package: all 18 counts scatter around 1,000, nearly all of them "
    f"inside the band from {band[0]:.0f} to {band[1]:.0f}.",
)
plt.show()
print("each of the 6 pairs is fair in all three samplers")

# %% [markdown]
# All three scatter around 1,000, and hardly any point leaves the band. (With 18 points, we expect
# about one outside.) So the readable loop, the fast version and the package deal labels equally
# fairly. This is all that we have compared; whether they draw *items* fairly would take another
# count.

# %% [markdown]
# ## Exercise 1: remap the labels (5 minutes, easy)
#
# A sampler has drawn some items. You have the class number of each, such as 7, 3, 7, 9, and the
# list of chosen classes, such as 9, 3, 7. The *position* of a class in that list is its episode
# label: 9 has the label 0, 3 has 1, 7 has 2. Write the function that turns class numbers into
# episode labels.


# %%
def my_episode_labels(class_ids, chosen):
    """Episode labels of items.

    class_ids: (S,) int64 class numbers, each of which is in `chosen`.
    chosen: (n_way,) int64 distinct class numbers; the class at place i has the label i.
    Returns (S,) int64 labels in 0..n_way-1.
    """
    raise NotImplementedError


check(my_episode_labels)

# %% [markdown]
# ## The contract: `EpisodeBatch`
#
# Every learner in this course takes the same input: an **`EpisodeBatch`**, four tensors with the
# task axis first. `T` is the number of tasks, `S = n_way * n_shot`, `Q = n_way * n_query`.
#
# > **Predict.** Choose an answer, then run the cell below the question.

# %%
predict("batch_shapes")

# %%
batch = create_task_batch(glyphs, n_way=5, n_shot=1, n_query=15, n_tasks=4, seed=3)
print(batch)
for name in ("support_x", "support_y", "query_x", "query_y", "classes"):
    tensor = getattr(batch, name)
    print(f"{name:10} {tuple(tensor.shape)!s:22} {tensor.dtype}")

# %% [markdown]
# `support_x` is `(T, S, *item)` = `(4, 5, 1, 28, 28)`; a task axis, an item axis, and whatever an
# item is. The labels are integers, `(T, S)`. `classes` `(T, n_way)` remembers which class of the
# data set each label stands for. Learners never see it; we use it to look things up.
#
# One task without the task axis is `batch[i]`, the form in which papers write an episode.

# %%
task = batch[0]
names = [glyphs.class_names[c] for c in batch.classes[0]]
print("one task:", tuple(task.support_x.shape), tuple(task.query_x.shape))
drawn = plot_episode(task, class_names=names, n_shown=8)
describe(
    drawn,
    "One 5-way 1-shot task from meta-train. Left, one support drawing of each of five letters with "
    "labels 0 to 4; right, eight of the 15 queries of each, in the row of their letter.",
)
plt.show()

# %% [markdown]
# On the left is everything that the learner is told about the five letters. On the right are the
# queries, sorted into rows that show the right answers. A learner sees the queries in no such
# order.
#
# The same class appears under other labels, too: we search 2,000 episodes for the class that had
# the label 0 just now.

# %%
many = create_task_batch(glyphs, 5, 1, 1, n_tasks=2000, seed=3)
wanted = int(batch.classes[0, 0])
found = (many.classes == wanted).nonzero()  # rows: (task, label)
print(f"{glyphs.class_names[wanted]}:")
print({f"episode {t}": f"label {label}" for t, label in found[:6].tolist()})

# %% [markdown]
# An `EpisodeBatch` checks itself when it is made. Here we hand it raw class numbers as labels and
# print what it says.

# %%
raw_labels = batch.classes  # (T, 5): class numbers instead of 0..4
try:
    EpisodeBatch(batch.support_x, raw_labels, batch.query_x, batch.query_y)
except ValueError as error:
    print(error)

# %% [markdown]
# ## Exercise 2: from drawn items to an episode (10 minutes, medium)
#
# After the draw, the items are in one tensor `(T, n_way, n_shot + n_query, *item)`. The first
# `n_shot` of each class are the support set. Split the tensor in two and make the labels, class by
# class, so that the labels of a task read 0, 0, .., 1, 1, ...
#
# An easier first step: forget `T`, and write down the `support_y` of a 3-way 2-shot task on paper.


# %%
def my_split_items(items, n_shot):
    """Support and query sets of T tasks.

    items: (T, n_way, n_shot + n_query, *item).
    Returns support_x (T, n_way * n_shot, *item), support_y (T, n_way * n_shot) int64,
    query_x (T, n_way * n_query, *item), query_y (T, n_way * n_query) int64.
    """
    raise NotImplementedError


check(my_split_items)

# %% [markdown]
# ## Your own data
#
# An item can be anything that fits in a tensor. Here are measurements, four numbers each, with
# words as labels and classes of different sizes. `create_task_batch` takes the pair `(X, y)`.

# %%
rng_flowers = np.random.default_rng(0)
sizes = {"daisy": 12, "iris": 30, "poppy": 9, "rose": 7}
X_flowers = np.concatenate([rng_flowers.normal(i, 1, (n, 4)) for i, n in enumerate(sizes.values())])
y_flowers = np.repeat(list(sizes), list(sizes.values()))
flower_batch = create_task_batch((X_flowers, y_flowers), 3, 2, 5, n_tasks=10, seed=0)
print(flower_batch)

# %% [markdown]
# Not every request can be met. A class with 7 items cannot provide 2 + 6 different ones. Some code
# quietly returns fewer queries in that case. Ours refuses, and says what would work. We ask for
# three impossible things on purpose.

# %%
for n_way, n_shot, n_query in [(4, 2, 6), (5, 1, 1), (3, 20, 20)]:
    try:
        create_task_batch((X_flowers, y_flowers), n_way, n_shot, n_query, seed=0)
    except ValueError as error:
        print(f"- {error}")

# %% [markdown]
# ## Splits: classes, not pictures
#
# A learner that has to learn *new* classes must be tested on new classes. So we split the classes:
# *meta-train* to train on, *meta-val* to make choices on, and *meta-test* to score a learner
# once, at the end. Glyphs go further: they split whole scripts, so that no test letter comes from a
# writing system that was seen in training.
#
# In this lesson we look at the meta-test letters themselves, and we score two learners on them: a
# rule that is never trained and has no settings, and, on two halves of these letters, a finished
# network that comes with the course. That is allowed, because we choose nothing by what we see. The
# networks that we train in this lesson use meta-train and meta-val only.

# %%
splits = {name: load_glyphs(name) for name in ("meta-train", "meta-val", "meta-test")}
for name, split in splits.items():
    print(f"{name:10} {split.n_classes:4} classes: {', '.join(split.groups)}")
print(check_splits(*splits.values()))

# %% [markdown]
# The check compares class names and the pictures themselves, byte for byte. What would it say about
# the usual split of supervised learning: the first 15 drawings of every class for training and the
# last 5 for testing?

# %%
val = splits["meta-val"]
per_class = torch.arange(len(val)) % 20  # drawings of a class lie together
by_pictures = [
    FewShotDataset(val.items[part], val.labels[part], val.class_names, val.class_groups, name)
    for name, part in [("train", per_class < 15), ("test", per_class >= 15)]
]
report = check_splits(*by_pictures)
print(report.problems[0][:72] + " ...")

# %% [markdown]
# The check compares names and bytes. It does not compare *shapes*. Scripts borrow from each other,
# so a letter can have a new name and a familiar shape. A trained network can help us find such
# twins. It turns each drawing into 32 numbers (lesson 03 says how). We average those of each
# letter, and look for the meta-train letter closest to each meta-test letter.
#
# > **Predict.** Do you expect exact look-alikes? And will a trained network score higher on the
# > half of the meta-test letters that look most familiar than on the other half?

# %%
trained, _ = load_pretrained("prototypical_glyphs")
trained.eval()


@torch.no_grad()
def letter_means(split):
    """(n_classes, 32): the mean embedding of the first five drawings of each letter."""
    return torch.stack(
        [trained.encoder(split.items_of(c)[:5]).mean(0) for c in range(split.n_classes)]
    )


test = splits["meta-test"]
distances, twins = torch.cdist(letter_means(test), letter_means(glyphs)).min(dim=1)
familiar = distances.argsort()  # the most familiar letters first
pairs = [(test, int(c)) for c in familiar[:8]] + [(glyphs, int(twins[c])) for c in familiar[:8]]
shown = plot_items(torch.cat([split.items_of(c)[:1] for split, c in pairs]), n_columns=8)
describe(
    shown,
    "Above, the eight meta-test letters that are closest to a meta-train letter; below each, that "
    "meta-train letter. The pairs look alike, such as an Old Italic letter and a Latin K.",
)
plt.show()

# %%
halves = {"familiar half": familiar[:78].tolist(), "unfamiliar half": familiar[78:].tolist()}
scores = {
    name: evaluate_meta_learner(
        trained, EpisodeSampler(test.subset(chosen), 5, 1, 5), n_episodes=300
    )
    for name, chosen in halves.items()
}
ax = plot_intervals(scores, split="5-way 1-shot")
describe(
    ax,
    "Accuracy of the trained network with 95 % intervals: "
    + ", ".join(f"{n} {100 * e.mean:.1f} ± {100 * e.half_width:.1f} %" for n, e in scores.items()),
)
plt.show()

# %% [markdown]
# **What we saw.** Some letters are old acquaintances: K, P, B and y come back in other scripts, and
# no check of names or bytes can see it. But the familiar half of the letters is not easier here:
# 96.0 ± 0.7 % against 95.9 ± 0.8 %. So we see no sign that the twins inflate the results on this
# split. Only a measurement could tell us that.

# %% [markdown]
# ## Episode 100 is episode 100
#
# To compare two learners, we must give both the same test episodes. To resume a training run, we
# must give step 5,000 the episodes that it would have seen without the break. A **seed** is the
# number that a run's random numbers start from. In this course, *episode i depends on the seed and
# on i alone*, whatever was drawn before.
#
# > **Predict.** We ask a sampler for the episodes 0 to 199 of seed 7, and then for episode 100
# > alone. Are the pictures of episode 100 the same? What if we ask for seed 8?

# %%
sampler = EpisodeSampler(glyphs, n_way=5, n_shot=1, n_query=15)
long_way = sampler.episodes(seed=7, start=0, n_tasks=200)[100]
short_way = sampler.episodes(seed=7, start=100, n_tasks=1)[0]
other_seed = sampler.episodes(seed=8, start=100, n_tasks=1)[0]
print("seed 7, long and short way:", torch.equal(long_way.query_x, short_way.query_x))
print("seed 7 and seed 8:         ", torch.equal(long_way.query_x, other_seed.query_x))

# %% [markdown]
# A generator with a state, like `random.Random` in our loop above, cannot do this: to reach episode
# 100, it must first draw the 100 episodes before it. The package computes each random number from
# its address instead (seed, episode, position).

# %% [markdown]
# ## Rotations: four classes from one
#
# A quarter turn makes a letter into another shape. Few-shot papers count the four turns of a
# character as four classes (Santoro et al., 2016): more classes, more different tasks. With
# `rotations=True`, class `c` turned `r` times has the number `4 * c + r`.

# %%
turned = create_task_batch(glyphs, 5, 1, 5, seed=11, rotations=True)
for label, number in enumerate(turned.classes[0].tolist()):
    name = glyphs.class_names[number // 4]
    print(f"label {label}: {name.lower()}, turned by {90 * (number % 4)} degrees")
drawn = plot_episode(turned[0])
describe(
    drawn,
    "One 5-way 1-shot episode in which letters are turned by quarters: the support drawing of each "
    "class on the left, its five queries, turned alike, on the right.",
)
plt.show()

# %% [markdown]
# Two cautions. All the turns of one character must stay in one split, or the test classes will be
# old friends lying on their sides. And some letters, such as O, look the same when turned: then two
# classes have one shape, and no learner can tell them apart more than half of the time.

# %% [markdown]
# ## What a learner does with an episode
#
# The whole course rests on one signature: *a meta-learner turns a support set into a predictor.*
# Called on a batch, it returns scores `(T, Q, n_way)`, and the class with the largest score is its
# answer. For one task, `adapt` returns the predictor itself.
#
# The simplest learner needs no training. The **nearest-pixel rule** gives each query the label of
# the support image that is closest, pixel by pixel. In the package, this is a
# `PrototypicalNetwork` (lesson 03) whose "network" only flattens the image.

# %%
nearest_pixel = PrototypicalNetwork(nn.Flatten())
scores = nearest_pixel(batch.support_x, batch.support_y, batch.query_x)
right = scores.argmax(dim=-1) == batch.query_y
print("scores:", tuple(scores.shape), " right or wrong:", tuple(right.shape))
predictor = nearest_pixel.adapt(task.support_x, task.support_y)
print("one task, from queries to scores:", tuple(predictor(task.query_x).shape))

# %% [markdown]
# The share of right answers is the accuracy of an episode. `evaluate_meta_learner` averages it
# over many episodes; we use 600.

# %% [markdown]
# ## Are letters of one script harder to tell apart?
#
# You would expect an episode from one alphabet to need finer distinctions than an episode from five
# alphabets. `within_group=True` draws all classes of an episode from one script. We let the
# nearest-pixel rule measure how hard the episodes are.

# %%
evaluations = {}
for name, split in splits.items():
    for within, label in [(False, "all scripts"), (True, "one script")]:
        episodes = EpisodeSampler(split, 5, 1, 15, within_group=within)
        key = f"{name}, {label}"
        evaluations[key] = evaluate_meta_learner(nearest_pixel, episodes, n_episodes=600)

# %% [markdown]
# > **Predict.** A random guess is right 20 % of the time. How often is the nearest-pixel rule
# > right? And in which of the three splits are one-script episodes harder?

# %%
fig, ax = plt.subplots(figsize=(6.8, 3.4), layout="constrained")
for place, (key, e) in enumerate(evaluations.items()):
    color, marker = ("C1", "s") if "one script" in key else ("C0", "o")
    ax.errorbar(100 * e.mean, -place, xerr=100 * e.half_width, color=color, fmt=marker, capsize=4)
    label = f"{100 * e.mean:.1f} ± {100 * e.half_width:.1f}"
    ax.annotate(label, (100 * e.mean, 0.22 - place), ha="center")
ax.set_yticks([-i for i in range(6)], list(evaluations))
ax.set(ylim=(-5.5, 0.8), xlim=(38, 56), xlabel="5-way 1-shot accuracy (%), 95 % intervals")
describe(
    fig,
    "Accuracy of the nearest-pixel rule with 95 % intervals: "
    + ", ".join(f"{k} {100 * e.mean:.1f} %" for k, e in evaluations.items()),
)
plt.show()
mean = {key: e.mean for key, e in evaluations.items()}
for name in splits:
    harder = mean[f"{name}, one script"] < mean[f"{name}, all scripts"]
    print(f"{name:10} one-script episodes are {'harder' if harder else 'EASIER'}")

# %% [markdown]
# The rule has about 45 to 52 % everywhere: far above chance, and far below a person. The bars are
# 95 % intervals of the mean; lesson 02 is about them. One-script episodes are harder on meta-train
# and on meta-val, by 3 to 5 points. On meta-test they come out *easier*, and the intervals are far
# apart. So was our expectation wrong? Before we believe that, we look closer: which scripts are in
# these episodes?

# %%
by_script = {}
for script in test.groups:
    episodes = EpisodeSampler(test.select_groups([script]), 5, 1, 15)
    title = f"{script}, {test.class_groups.count(script)} letters"
    by_script[title] = evaluate_meta_learner(nearest_pixel, episodes, n_episodes=600)
ax = plot_intervals(by_script, split="5-way 1-shot, one-script")
describe(
    ax,
    "Accuracy of the nearest-pixel rule within each meta-test script, with 95 % intervals: "
    + ", ".join(f"{k} {100 * e.mean:.0f} %" for k, e in by_script.items()),
)
plt.show()

# %% [markdown]
# Scripts differ a lot, and the hardest one, Georgian, has 100 of the 156 letters. All-scripts
# episodes draw *letters*, and most of these letters are Georgian. One-script episodes draw a
# *script* first, so only one episode in four is Georgian. The two averages weigh the scripts
# differently, so they answer different questions. To compare them on equal terms, we weight each
# script by its share of the letters.

# %%
shares = np.array([test.class_groups.count(script) for script in test.groups]) / test.n_classes
means = np.array([e.mean for e in by_script.values()])
halves = np.array([e.half_width for e in by_script.values()])
weighted, half = shares @ means, np.sqrt((shares**2) @ (halves**2))
reference = evaluations["meta-test, all scripts"]
fig, ax = plt.subplots(figsize=(6, 1.7), layout="constrained")
for row, (m, h) in enumerate([(weighted, half), (reference.mean, reference.half_width)]):
    ax.errorbar(100 * m, row, xerr=100 * h, fmt="o", capsize=4)
    ax.annotate(f"{100 * m:.1f} ± {100 * h:.1f}", (100 * m, row + 0.15), ha="center")
ax.set_yticks([0, 1], ["one script,\nweighted by letters", "all scripts"])
ax.set(ylim=(-0.5, 1.7), xlim=(38, 50), xlabel="meta-test accuracy (%), 95 % intervals")
describe(
    fig,
    f"Two accuracies with 95 % intervals: one-script episodes weighted by letters "
    f"{100 * weighted:.1f} ± {100 * half:.1f} %, all-scripts episodes "
    f"{100 * reference.mean:.1f} ± {100 * reference.half_width:.1f} %.",
)
plt.show()
assert weighted < mean["meta-test, one script"] - 0.03, "the shares should matter here"
print("weighted by letters, one-script episodes are no longer easier")

# %% [markdown]
# With these weights, the surprise is gone: one-script episodes are about as hard as the others or a
# little harder. A difference between two averages may come from *what was averaged* (a cousin of
# Simpson's paradox). The same rule on Omniglot's evaluation alphabets, measured with this code,
# gives 42.1 % ± 0.7 for all alphabets and 36.7 % ± 0.7 within one (600 episodes): there, episodes
# within one alphabet are clearly harder.

# %% [markdown]
# ## Exercise 3: how many episodes are there? (10 minutes, medium)
#
# Count the different episodes of a pool with `n_classes` classes of `class_size` items each. Two
# episodes are different if some label stands for a different class, or if the set of support items
# or the set of query items differs. The order of the items inside a set does not matter, but the
# labels do.
#
# An easier first step: in our pool of three classes with four items, how many 2-way 1-shot episodes
# with 2 queries per class are there? Multiply the number of ways to deal the labels by the numbers
# of ways to choose the items of each class.


# %%
def my_count_episodes(n_classes, class_size, n_way, n_shot, n_query):
    """Number of different episodes, an int. `math.perm` and `math.comb` count for you."""
    raise NotImplementedError


check(my_count_episodes)

# %% [markdown]
# Now the real pool. First we check the small case by brute force: we draw 20,000 episodes with the
# loop and count how many different ones come up.

# %%
seen = set()
for _ in range(20_000):
    support, query = draw_episode(pool, 2, 1, 2, rng)
    seen.add((tuple(support), tuple(sorted(query))))
print("small pool:", len(seen), "met,", count_episodes(3, 4, 2, 1, 2), "exist")
n_episodes = count_episodes(test.n_classes, 20, 5, 1, 15)
print(f"meta-test: {len(test):,} pictures, about 10^{math.log10(n_episodes):.0f} episodes")

# %% [markdown]
# The 3,120 pictures give more episodes than anyone could ever draw. Do not be fooled by the large
# number. All these episodes share the same 156 letters, and that is all this split can tell us
# about letters in general. *More episodes make the average over this pool more precise. They do not
# make the pool larger.*

# %% [markdown]
# ## Find the bug, three times
#
# Code that draws episodes rarely crashes. When it is wrong, the numbers still look fine, or even
# too good. Here are three samplers. Each has one defect. Look at the symptom, form a hypothesis,
# then name the defect or fix it. This function scores the nearest-pixel rule on a batch:


# %%
def pixel_accuracy(episodes):
    """Accuracy of the nearest-pixel rule over all queries of a batch, a fraction."""
    scores = nearest_pixel(episodes.support_x, episodes.support_y, episodes.query_x)
    return (scores.argmax(dim=-1) == episodes.query_y).double().mean().item()


# %% [markdown]
# ### Bug 1: too good to be true


# %%
def sampler_one(data, n_way, n_shot, n_query, n_tasks):
    """Draw n_tasks episodes."""
    tasks = []
    for class_index in torch.randperm(data.n_classes)[:n_tasks]:
        items = data.items_of(class_index)[torch.randperm(20)[: n_shot + n_query]]
        labels = torch.zeros(n_shot + n_query, dtype=torch.int64)
        tasks.append((items[:n_shot], labels[:n_shot], items[n_shot:], labels[n_shot:]))
    return EpisodeBatch(*(torch.stack(part) for part in zip(*tasks, strict=True)))


first = sampler_one(val, n_way=5, n_shot=1, n_query=15, n_tasks=60)
print(f"nearest pixel: {100 * pixel_accuracy(first):.1f} %")

# %% [markdown]
# We get a hundred percent, with a rule that had about 52 % on meta-val a minute ago. What is wrong?
# Print the batch if you want to know more.

# %%
predict("always_right")

# %% [markdown]
# A task needs all its classes at once. The package can check episodes, and it reports this fault.

# %%
print(first)
print(check_episodes(first))

# %% [markdown]
# ### Bug 2: nothing looks wrong


# %%
def sampler_two(data, n_way, n_shot, n_query, n_tasks):
    """Draw n_tasks episodes."""
    classes = torch.rand(n_tasks, data.n_classes).argsort(dim=1)[:, :n_way]
    rows = data.starts[classes][..., None] + torch.arange(n_shot + n_query)
    parts = split_items(data.gather(data.order[rows]), n_shot)
    return EpisodeBatch(*parts, classes=classes)


torch.manual_seed(0)
second = sampler_two(val, n_way=5, n_shot=1, n_query=15, n_tasks=400)
print(f"nearest pixel: {100 * pixel_accuracy(second):.0f} %")
print(check_episodes(second[:60]))

# %% [markdown]
# The accuracy is plausible, and the check finds no fault in any episode. But an episode is a
# *random* draw, and a single episode cannot show how random it is. So we look at statistics:
# among 400 episodes, how many different support pictures does a class get? We take one letter and
# compare with the package.

# %%
fair = create_task_batch(val, 5, 1, 15, n_tasks=400, seed=0)
for name, episodes in [("package", fair), ("sampler_two", second)]:
    pictures = episodes.support_x[episodes.classes == 0]  # 1-shot: a support item per label
    print(f"{name:12} letter 0 was drawn {len(pictures):2} times,", end=" ")
    print(len(pictures.flatten(1).unique(dim=0)), "different support pictures")

# %% [markdown]
# Here is the line of `sampler_two` that chooses the items, as a function: for each class of each
# task, a row of positions in the class. Fix it (exercise 4, 5 minutes, easy). All random numbers must
# come from `generator`.


# %%
def my_draw_items(class_size, n_items, n_draws, generator):
    """Positions (n_draws, n_items) of items in a class of class_size, int64; every row is a draw."""
    places = torch.arange(n_items)
    return places.repeat(n_draws, 1)


check(my_draw_items)

# %% [markdown]
# <details><summary>What the bug does</summary>
#
# `torch.arange(n_shot + n_query)` takes the *first* items of each class, every time. The support
# picture of a letter never changes, and the last four drawings are never used. A learner can
# store the one support picture of each class, and the result depends on which drawing happened to
# come first in the file. Each episode must draw its items again.
# </details>
#
# ### Bug 3: the learner that never looks


# %%
def sampler_three(data, n_way, n_shot, n_query, n_tasks):
    """Draw n_tasks episodes."""
    classes = torch.rand(n_tasks, data.n_classes).argsort(dim=1)[:, :n_way]
    classes = classes.sort(dim=1).values
    turns = torch.rand(n_tasks, n_way, 20).argsort(dim=2)[..., : n_shot + n_query]
    rows = data.starts[classes][..., None] + turns
    parts = split_items(data.gather(data.order[rows]), n_shot)
    return EpisodeBatch(*parts, classes=classes)


small = glyphs.subset(range(10))  # ten letters, so that each is met often
third = sampler_three(small, n_way=5, n_shot=1, n_query=1, n_tasks=4000)

# %% [markdown]
# To see the symptom, we build a "learner" that never looks at the support set. We tell it the
# letter of each query (a trained network can recognise the letters that it trains on), and it
# answers with the label that this letter had most often in the past. With fair episodes, it must be
# at chance, 20 %.
#
# > **Predict.** What accuracy does it reach on the episodes of `sampler_three`?


# %%
def label_shares(episodes, n_classes):
    """(n_classes, n_way): how often each class had each label, as a share of its episodes."""
    n_way = episodes.classes.shape[1]
    counts = torch.zeros(n_classes, n_way)
    for label in range(n_way):
        counts[:, label] = torch.bincount(episodes.classes[:, label], minlength=n_classes)
    return counts / counts.sum(dim=1, keepdim=True)


fair_small = create_task_batch(small, 5, 1, 1, n_tasks=4000, seed=0)
for name, episodes in [("package", fair_small), ("sampler_three", third)]:
    blind = label_shares(episodes, 10).amax(dim=1).mean().item()
    band = "near chance" if blind < 0.25 else "far above chance" if blind > 0.40 else "unclear"
    print(f"{name:14} a learner that ignores the support set is {band}")

# %% [markdown]
# Here are the shares in full. With a fair sampler, each of the ten letters gets each label in a
# fifth of its episodes.

# %%
fig, axes = plt.subplots(1, 2, figsize=(6.8, 3.4), layout="constrained", sharey=True)
for ax, name, episodes in zip(axes, ("package", "sampler_three"), (fair_small, third), strict=True):
    shares = label_shares(episodes, 10)
    image = ax.imshow(shares, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    best = 100 * shares.amax(dim=1).mean().item()
    ax.set(title=f"{name}:\nblind learner {best:.0f} %", xlabel="label", xticks=range(5))
axes[0].set(ylabel="letter", yticks=range(10))
fig.colorbar(image, ax=axes, label="share of the letter's episodes")
describe(
    fig,
    "Two tables of ten letters by five labels. Package: every share is near 0.2, and a blind learner "
    f"has {100 * label_shares(fair_small, 10).amax(dim=1).mean():.0f} %. sampler_three: the shares "
    "lie along the diagonal, from letter 0 with label 0 to letter 9 with label 4, and a blind "
    f"learner has {100 * label_shares(third, 10).amax(dim=1).mean():.0f} %.",
)
plt.show()

# %% [markdown]
# This is how `sampler_three` chooses the classes. Fix it (exercise 5, 5 minutes, easy).


# %%
def my_deal_classes(n_classes, n_way, n_tasks, generator):
    """Classes (n_tasks, n_way) of each task, int64; the class in column i has the label i."""
    classes = torch.rand(n_tasks, n_classes, generator=generator).argsort(dim=1)[:, :n_way]
    return classes.sort(dim=1).values


check(my_deal_classes)

# %% [markdown]
# <details><summary>What the bug does</summary>
#
# The `sort` puts the classes in the order of their numbers, so letter 0 always has the label 0, and
# letter 9 always has the label 4. The labels are in 0..4, as they should be, but they are not
# *dealt*. A learner can get by without the support set: about 60 % here.
#
# `torch.unique(..., return_inverse=True)` sorts as well, so labels made with it are in order too.
# Whether that matters depends on the learner. A rule such as nearest pixel treats all labels alike:
# if the same classes get other labels, its outputs only change places (lesson 03 uses `unique` for
# such a learner). A network whose outputs have fixed places can learn the order instead of the
# task.
# </details>

# %%
print(check_episodes(third[:60]))

# %% [markdown]
# ### Learned by heart
#
# The blind learner above was a table that we counted. Does a network find that table by itself? We
# train a small one on the *queries alone*: it never sees a support set, so all it can learn is which
# letter has which label. It practises on the ten letters, once with `sampler_three` and once with
# the package's sampler. After some of its steps, we score it on fresh episodes of these ten letters,
# and on the 94 letters of meta-val, which it never practises.
#
# > **Predict.** What will the four accuracies be after 160 steps?

# %%


def package_sampler(data, n_way, n_shot, n_query, n_tasks):
    """Draw n_tasks episodes."""
    return EpisodeSampler(data, n_way, n_shot, n_query).sample(n_tasks)


samplers = {"sampler_three": sampler_three, "package": package_sampler}
films = {name: film_of(sampler, small, val) for name, sampler in samplers.items()}
looking = 100 * evaluations["meta-val, all scripts"].mean
by_heart = ByHeartExplorer(films, looking, step=160)
by_heart

# %% [markdown]
# > **Explore.** Move the slider from 0 to 160 for each sampler. Which of the ten letters is the
# > network most certain about in the end, and why?

# %% [markdown]
# **What we saw.** With `sampler_three` the accuracy on practised letters rises to about 60 %: 59 to
# 60 % with three seeds, which is what the blind table has. The picture on the left becomes the
# table of label shares. The network is most certain about the first and the last letter: letter 0
# always has the label 0, and letter 9 the label 4. On new letters the same network stays near
# chance, 21 to 23 %, while nearest pixel, which was never trained but looks at the support set, has
# about 52 %. Trained on the package's sampler, the network stays at chance everywhere (18 to 21 %):
# there is nothing to learn by heart. The accuracy on practised letters alone could not have told a
# memory from a learner. Researchers call this **memorisation** (Yin et al., 2020).
#
# The general lesson is that rules can check a single episode, but only counting over many can check
# randomness.

# %% [markdown]
# ## Explore
#
# > **Explore.** Move the sliders and watch the episode change. Which settings make the task hard
# > for you? Find a script with too few letters for 10-way. What does a new seed change, and what
# > stays the same?

# %%
explorer = EpisodeExplorer()
explorer

# %% [markdown]
# **What we saw.** More ways mean more letters to compare with each query, and more shots give more
# drawings of each to compare it with. A new seed draws other letters, labels and drawings, but the
# shapes of the tensors stay the same. Lisu has only five letters in this split, so it allows 5-way
# at most:

# %%
print(explorer.describe(**explorer.state | {"script": "Lisu", "n_way": 6}))

# %% [markdown]
# ## Limits
#
# - Our episodes are neat: the same number of shots for every class, the same `n_way` each time.
#   Real problems are not. Meta-Dataset (Triantafillou et al., 2020) draws ways and shots at random,
#   with unequal class sizes.
# - A query always belongs to one of the `n_way` classes. "None of these" is not an allowed answer.
# - Tasks come from one pool. How well a learner does on tasks from *another* pool is a different
#   question.
#
# ## The data sets of the field, beside ours
#
# | data set | classes | items each | meta-train / val / test classes | split by |
# |---|---|---|---|---|
# | Omniglot (Lake et al., 2015) | 1623 characters, 50 alphabets | 20 | 964 background / 659 evaluation | alphabet |
# | Omniglot, split of Vinyals et al. | 4 turns counted as classes | 20 | 4112 / 688 / 1692 | character |
# | miniImageNet (Vinyals et al., 2016; split of Ravi & Larochelle, 2017) | 100 | 600 | 64 / 16 / 20 | class |
# | Glyphs (this course) | 1140 letters, 15 scripts | 20 | 890 / 94 / 156 | script |
#
# The next table has the accuracy of raw pixels without any learning, 1-shot. The published figures
# are for Omniglot, with the cosine as similarity (Vinyals et al., 2016, as reprinted in later
# work).
#
# | raw pixels, 1-shot | 5-way | 20-way |
# |---|---|---|
# | published, Omniglot, cosine | 41.7 | 26.7 |
# | this code, Omniglot evaluation alphabets, cosine | 46.9 ± 0.8 | 28.8 ± 0.6 |
# | this code, Glyphs meta-test, cosine | 46.9 ± 0.7 | 24.8 ± 0.5 |
# | this code, Glyphs meta-test, Euclidean | 44.8 ± 0.7 | 23.3 ± 0.5 |
#
# Ours: meta-test accuracy in %, 15 queries per class, 600 episodes (20-way: 200), 95 % intervals.
# The first row is not directly comparable: it has other splits, counts turned characters as
# classes, and shrinks the images in another way. The second and third rows can be compared: for the
# cosine of pixels, Glyphs is about as hard as Omniglot in 5-way tasks, and harder in 20-way tasks.

# %% [markdown]
# ## Recap
#
# - You drew an episode by hand: first the classes and their labels, then the items, split into
#   support and query.
# - You know why every episode deals its labels again: only the support set may give them meaning.
# - You can read an `EpisodeBatch`: `(T, S, *item)` and `(T, S)`, task axis first.
# - You split classes (here: scripts), and you have seen what a split by pictures lets through.
# - You found three silent mistakes: one-class tasks, items that never change, labels in order.
# - You saw a network learn such labels by heart and fail on new letters.
#
# **Check yourself**
#
# 1. A batch is 20-way 5-shot with 15 queries per class, 8 tasks, images 1 x 28 x 28. What are the
#    shapes of `support_x` and `query_y`?
# 2. Why is a loss of exactly 0 at the first training step no reason to celebrate?
# 3. A paper reports an accuracy on "within-alphabet" tasks and another one on "across-alphabet"
#    tasks. What should you ask before you compare them?
#
# <details><summary>Answers</summary>
#
# 1. `(8, 100, 1, 28, 28)` and `(8, 300)`.
# 2. An untrained network cannot be that confident. Most likely the episodes have one class only, or
#    the input contains the answer.
# 3. Ask how the alphabets were drawn: each alphabet equally often, or each character? The two
#    averages may be over different mixtures of alphabets.
# </details>
#
# **Next:** [02 · How good is it really?](02_honest_evaluation.ipynb), where an accuracy gets an
# interval that deserves its name.
#
# **References**
#
# - B. Lake, R. Salakhutdinov, J. Tenenbaum (2015), *Human-level concept learning through
#   probabilistic program induction*, Science 350.
# - O. Vinyals et al. (2016), *Matching networks for one shot learning*, NeurIPS.
# - A. Santoro et al. (2016), *Meta-learning with memory-augmented neural networks*, ICML.
# - S. Ravi, H. Larochelle (2017), *Optimization as a model for few-shot learning*, ICLR.
# - E. Triantafillou et al. (2020), *Meta-Dataset*, ICLR.
# - M. Yin et al. (2020), *Meta-learning without memorization*, ICLR.
