# %% [markdown]
# # 07 · What MAML learns
#
# **The question: does it need second order?**
#
# MAML sends a gradient back through its own gradient steps. That is expensive, and lesson 05 left
# two things open: what does the start hold after training, and how much of the machinery was needed
# to find it? In this lesson we take MAML apart. We freeze its layers one by one, throw its head
# away, drop its second derivatives, drop its query set, and replace the way back through the steps
# by a formula.
#
# **After this lesson you can**
#
# - measure how much a network changes when it adapts, with **CKA**, by hand and in code;
# - say what **ANIL**, **BOIL** and **NIL** are, and what each of them shows about MAML;
# - give an example in which adapting the head is enough, and one in which it is not;
# - compute the first-order, the exact and the implicit gradient of a start on paper;
# - write **Reptile**'s outer step and **iMAML**'s gradient, and say what each needs in memory;
# - find two bugs in inner loops that no error message reports.
#
# **Time:** 50 minutes to read and try, of which about 2 minutes are computing; the exercises take
# another 65.
#
# **Prerequisites:** [05_maml](05_maml.ipynb) (inner and outer loop, meta-gradient, first order),
# [03_prototypical_networks](03_prototypical_networks.ipynb) (embedding),
# [02_honest_evaluation](02_honest_evaluation.ipynb) (intervals, seeds).
#
# The papers: Raghu et al. (2020) for ANIL and NIL, Oh et al. (2021) for BOIL, Nichol et al. (2018)
# for Reptile, Rajeswaran et al. (2019) for iMAML. Their symbols and our names:
#
# | paper | here | meaning |
# |---|---|---|
# | $\theta$ | `learner.model.parameters()` | the start |
# | $\phi$, $\theta'$ | `fast_params` | the weights after the inner loop |
# | $\alpha$ | `inner_lr` | step size of the inner loop |
# | $k$ | `num_inner_steps` | inner steps |
# | $\epsilon$ | `meta_lr` | step size of Reptile's outer loop |
# | $\lambda$ | `lam` | weight of the pull towards the start |
# | $H$ | `hessian` | second derivatives of the support loss |

# %%
import copy
import time
import warnings
import weakref

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from metalearn_edu.backbones import MLP, ConvNet
from metalearn_edu.evaluation import evaluate_meta_learner
from metalearn_edu.exercises import check, predict, progress
from metalearn_edu.exercises.lessons.what_maml_learns import cosine_scores, linear_cka
from metalearn_edu.learners import ANIL, BOIL, IMAML, MAML, MAMLModel, MetaLearner, Reptile
from metalearn_edu.plotting import describe, use_course_style
from metalearn_edu.pretrained import load_pretrained
from metalearn_edu.tasks import EpisodeSampler, Sinusoids, load_glyphs
from metalearn_edu.training import meta_train

use_course_style()
plt.rcParams["figure.dpi"] = 80
torch.set_num_threads(1)
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"

# %% [markdown]
# ## 1. One weight, three gradients
#
# First on paper. One weight, start $w = 0$. The support loss is $\frac{h}{2}(w - 1)^2$ with curvature
# $h$, and the query loss is $\frac12 (w - 3)^2$. We pull the weight towards its start, as iMAML does:
# the inner loop goes down $\frac{h}{2}(\phi - 1)^2 + \frac{\lambda}{2} (\phi - w)^2$.
#
# With $h = 1$ and $\lambda = 1$ the minimum is half the way, $\phi = 0.5$, where the query slope is
# $0.5 - 3 = -2.5$. How does the query loss change when the start $w$ moves? By the chain rule, it is
# the query slope times $d\phi / dw$. Three methods put in three numbers:
#
# - **first order** treats $d\phi/dw$ as 1. The gradient is $-2.5$;
# - **exact** goes back through the steps. A step of size $\alpha = 0.1$ is
#   $\phi \leftarrow \phi - 0.1\,\big((\phi - 1) + (\phi - w)\big) = 0.8\,\phi + 0.1\,w + 0.1$. So $d\phi/dw$ is 1 at the
#   start, $0.9$ after one step, $0.8 \cdot 0.9 + 0.1 = 0.82$ after two, and tends to $0.5$;
# - **implicit** asks for the minimum itself. It moves by $\lambda / (h + \lambda) = 1 / (1 + h / \lambda) = 0.5$
#   when the start moves by 1, whatever steps led there. The gradient is $-1.25$.

# %%
predict("one_weight_three_ways")

# %% [markdown]
# In the explorer there are two weights and three tasks. The bent lines are the inner steps of the
# three tasks; the three arrows show where each gradient would send the start. Move $\lambda$, `inner_lr`
# and the number of steps.

# %%
from metalearn_edu.explorers.three_gradients import GradientsExplorer

explorer = GradientsExplorer()
explorer

# %%
for trial in (
    {"num_inner_steps": 2},
    {"num_inner_steps": 30},
    {"pull": 5.0, "num_inner_steps": 10},
):
    print(trial, "->", explorer.describe(**explorer.state | trial), end="\n\n")

# %% [markdown]
# **What we saw.** With many steps the exact and the implicit arrow lie on each other. With few steps
# the implicit one is wrong, because the inner loop has not reached its minimum. A stronger pull makes
# it right sooner: the problem is easier, and the tasks move less. First order has the right direction
# only roughly, and it does not get better with more steps.
#
# ## 2. How alike are two representations?
#
# Does a network change much when it adapts? Comparing weights says little: two networks with
# different weights can compute the same. So we compare what a layer **says** about the same items.
# **CKA** (centred kernel alignment; Kornblith et al. 2019) takes two tables with one row per item,
# $X$ and $Y$, subtracts the mean of each column, and computes
#
# $$\mathrm{CKA} = \frac{\lVert Y^\top X \rVert^2}{\lVert X^\top X \rVert \, \lVert Y^\top Y \rVert}$$
#
# where $\lVert \cdot \rVert^2$ is the sum of the squared entries. It is 1 where the two agree up to a
# rotation and a scale, and 0 where nothing in $X$ goes along with anything in $Y$.
#
# By hand, three items and one feature each: $X = (0, 1, 2)$ and $Y = (0, 0, 3)$. Centred they are
# $(-1, 0, 1)$ and $(-1, -1, 2)$. Their product is $1 + 0 + 2 = 3$, their squares are 2 and 6. So CKA is
# $3^2 / (2 \cdot 6) = 0.75$.
#
# ### Exercise 1: CKA (8 minutes, medium)


# %%
def my_linear_cka(x, y):
    """Linear CKA of two representations x (n, d) and y (n, e) of the same n items, a scalar."""
    raise NotImplementedError


check(my_linear_cka)

# %% [markdown]
# ## 3. Freeze it layer by layer
#
# Here are three MAMLs for Glyphs: four convolutional blocks of 16 filters and a linear layer, the
# **head**; all else is the **body**. They were trained alike on 5-way 1-shot episodes, with five inner
# steps of 0.4 on all weights, and differ only in their seed. The weights come with the course.

# %%
runs = [load_pretrained(f"maml_glyphs_{seed}") for seed in range(3)]
mamls = [learner.model.eval() for learner, _ in runs]
print(runs[0][1]["command"])
test_episodes = EpisodeSampler(load_glyphs("meta-test"), n_way=5, n_shot=1, n_query=15)
LAYERS = ["blocks.0", "blocks.1", "blocks.2", "blocks.3", "head"]


def adapted(model, n_frozen):
    """The model as MAML whose first n_frozen layers stay as they are in the inner loop."""
    return MAML(model, inner_lr=0.4, num_inner_steps=5, inner_params=LAYERS[n_frozen:])


# %% [markdown]
# At test time, `inner_params` says which layers may move. We first let all of them move, then freeze
# block 0, then 0 and 1, and so on, until only the head is left.

# %%
predict("nothing_moved")

# %%
frozen = [
    [evaluate_meta_learner(adapted(m, n), test_episodes, n_episodes=150) for n in range(5)]
    for m in mamls
]


# %%
def layers_said(model, params, x):
    """What each block says about the items, flat, with these parameters: five of (n, features)."""
    said = []
    parts = [*model.blocks, model.embed]
    hooks = [
        p.register_forward_hook(lambda m, i, out: said.append(out.flatten(1).double()))
        for p in parts
    ]
    with torch.no_grad():
        functional_call(model, params, (x,))
    for hook in hooks:
        hook.remove()
    return said


def mean_cka(first, second, n_tasks=12):
    """CKA by layer, mean over tasks, of what two functions from a task say about its queries."""
    tasks = test_episodes.episodes(seed=20_000, start=0, n_tasks=n_tasks)
    pairs = [zip(first(task), second(task), strict=True) for task in tasks]
    return [sum(values) / n_tasks for values in zip(
        *([linear_cka(x, y).item() for x, y in pair] for pair in pairs), strict=True
    )]  # fmt: skip


def before(model):
    return lambda task: layers_said(model, dict(model.named_parameters()), task.query_x)


def after(model):
    def said(task):
        fast_params = adapted(model, 0).inner_loop(task.support_x, task.support_y)
        fast_params = {name: p.detach() for name, p in fast_params.items()}
        return layers_said(model, fast_params, task.query_x)

    return said


torch.manual_seed(0)
untrained = ConvNet(width=16, output_dim=5, downsample="stride").eval()
changed = [mean_cka(before(m), after(m)) for m in mamls]
controls = {
    "MAML and MAML of another seed": mean_cka(before(mamls[0]), before(mamls[1])),
    "MAML and an untrained network": mean_cka(before(mamls[0]), before(untrained)),
}

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.4), layout="constrained")
for seed, (results, marker) in enumerate(zip(frozen, "osD", strict=True)):
    values = [100 * r.mean for r in results]
    bars = [100 * r.half_width for r in results]
    _ = left.errorbar(range(5), values, yerr=bars, marker=marker, capsize=3, label=f"seed {seed}")
_ = left.set_xticks(range(5), ["none", "block 0", "0 and 1", "0 to 2", "all blocks"])
_ = left.set(xlabel="frozen in the inner loop", ylabel="5-way 1-shot accuracy, %", ylim=(20, 65))
_ = left.axhline(20, color="0.4", ls=":")
_ = left.legend(fontsize=11, loc="lower left")
names = ["block 0", "block 1", "block 2", "block 3", "mean"]
for seed, (values, marker) in enumerate(zip(changed, "osD", strict=True)):
    label = "before and after adapting" if seed == 0 else None
    _ = right.plot(names, values, marker=marker, color=BLUE, label=label)
for (name, values), (style, color) in zip(
    controls.items(), (("--", GREEN), (":", ORANGE)), strict=True
):
    _ = right.plot(names, values, ls=style, color=color, marker="x", label=name)
_ = right.set(ylim=(0, 1.04), ylabel="CKA", xlabel="layer")
_ = right.legend(fontsize=11, loc="lower left")
ends = [100 * torch.tensor([row[i].mean for row in frozen]) for i in (0, 3, 4)]
shown = ", ".join(f"{v.min():.0f} to {v.max():.0f}" for v in ends)
_ = left.set_title(f"{shown} % with 0, 3 and 4 frozen", loc="left", fontsize=11)
describe(
    left,
    "Accuracy against how many blocks are frozen at test time, three seeds: level while blocks 0 to 2 "
    f"are frozen, then a fall when all blocks are. Ranges with 0, 3 and 4 frozen: {shown} percent",
)
describe(
    right,
    "CKA by layer. Before and after adapting, seed 0: "
    + ", ".join(f"{value:.2f}" for value in changed[0])
    + ". "
    + ". ".join(f"{name}: {values[3]:.2f} in block 3" for name, values in controls.items()),
)
plt.show()

# %%
full, three, four = ([row[i].mean for row in frozen] for i in (0, 3, 4))
reused = all(abs(a - b) < 0.03 for a, b in zip(full, three, strict=True))
needed = all(a - b > 0.1 for a, b in zip(full, four, strict=True))
assert reused and needed, (full, three, four)
print("blocks 0 to 2 frozen, within 3 points of all free:", reused)
print("all blocks frozen, more than 10 points lower:", needed)

# %% [markdown]
# **What we saw.** Three of the four blocks might as well stay as they are: freezing them costs
# nothing that we can see, and what they say hardly changes. Their features are **reused**. The last
# block is another matter. It does change, and without its change accuracy falls by 16 to 25 points
# (600 outer steps, 150 episodes each, three seeds).
#
# Lesson 05 found the opposite: there, the head did all the work. The difference is the inner loop. We
# trained the same network with **one** step of 2.0 instead of five of 0.4 (three seeds, meta-val,
# 150 episodes): with everything free it has 60 to 67 %, with the head alone 60 to 67 %, and with all
# but the head 30 to 42 %. With five small steps these are 59 to 62, 34 to 44 and 57 to 62 %. So the
# tasks alone do not decide which part moves. It is a habit that training forms.
#
# Why does the head fail alone after five small steps? A guess: it was never asked to do the work alone, because in training
# the last block always helped. The test is to train without the block's help. **ANIL** ("almost no
# inner loop"; Raghu et al. 2020) moves the head alone, in training too. Its body still gets an outer
# gradient.

# %%
anils = [load_pretrained(f"anil_glyphs_{seed}") for seed in range(3)]
print(anils[0][1]["command"])
trained_so = [evaluate_meta_learner(learner, test_episodes, n_episodes=150) for learner, _ in anils]
task = test_episodes.episodes(seed=20_000, start=0, n_tasks=1)[0]
learner = anils[0][0]
fast_params = learner.inner_loop(task.support_x, task.support_y)
print("what moves in the inner loop:", sorted({name.split(".")[0] for name in fast_params}))

# %% [markdown]
# The body of ANIL is the same before and after; only the head is copied and moved. How well this
# does stands in the next figure.
#
# ## 4. Without a head
#
# **NIL**, "no inner loop", goes one step further: after training, throw the head away. What is left is
# a body, an embedding. Label a query by its cosine with the support items, and adapt nothing.
#
# By hand: support items $(2, 0)$ of class 0, $(0, 5)$ and $(-1, 0)$ of class 1, and the query $(3, 0)$. The
# cosines are 1, 0 and $-1$: lengths do not count. The score of class 0 is 1, that of class 1 is the mean
# $-0.5$.
#
# ### Exercise 2: scores by cosine (8 minutes, easy)


# %%
def my_cosine_scores(support_z, support_y, query_z, n_way):
    """Score (Q, n_way) of each class: the mean cosine of a query with its support items.

    support_z, query_z: features (S, d) and (Q, d).
    support_y: labels (S,), each of 0..n_way-1 at least once.
    """
    raise NotImplementedError


check(my_cosine_scores)

# %% [markdown]
# Now the control that makes the number mean something. If NIL on MAML's body does well, is it because
# of MAML? We give the same test to four other bodies: ANIL's; an untrained one; none at all, which
# compares pixels; and the body of an **ordinary classifier**. It is trained on the same letters for a few
# seconds, all 890 classes at once, without a single episode.


# %%
class CosineLabels(MetaLearner):
    """NIL: a body, and labels by cosine; nothing adapts."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def embed(self, x):
        return self.body(x.flatten(0, 1)).unflatten(0, x.shape[:2])  # (T, S, d)

    def learn_task(self, support_x, support_y):
        return self.embed(support_x), support_y

    def predict(self, state, query_x):
        tasks = zip(*state, self.embed(query_x), strict=True)
        return torch.stack([cosine_scores(z, y, q, int(y.max()) + 1) for z, y, q in tasks])


def ordinary_classifier(seed, n_steps=600, batch_size=128):
    """The same network trained to name all classes of meta-train, without episodes."""
    letters = load_glyphs("meta-train")
    torch.manual_seed(seed)
    network = ConvNet(width=16, output_dim=letters.n_classes, downsample="stride")
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for _ in range(n_steps):
        rows = torch.randint(len(letters.labels), (batch_size,))
        loss = F.cross_entropy(network(letters.items[rows].float()), letters.labels[rows].long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()
    return network.eval()


def without_head(model):
    return nn.Sequential(model.blocks, model.embed)


started = time.process_time()
classifiers = [ordinary_classifier(seed) for seed in range(3)]
seconds = (time.process_time() - started) / 3
bodies = {
    "untrained": [without_head(untrained)],
    "pixels": [nn.Flatten()],
    "MAML": [without_head(m) for m in mamls],
    "ANIL": [without_head(learner.model) for learner, _ in anils],
    "ordinary\nclassifier": [without_head(m) for m in classifiers],
}
nil = {
    name: [evaluate_meta_learner(CosineLabels(b), test_episodes, n_episodes=150) for b in group]
    for name, group in bodies.items()
}

# %%
fig, ax = plt.subplots(figsize=(8.4, 3.3), layout="constrained")
groups = {f"NIL:\n{name}": results for name, results in nil.items()}
groups |= {"adapted:\nMAML": [row[0] for row in frozen], "adapted:\nANIL": trained_so}
for place, (name, results) in enumerate(groups.items()):
    color = BLUE if name.startswith("NIL") else ORANGE
    marker = "o" if name.startswith("NIL") else "s"
    for shift, r in enumerate(results):
        _ = ax.errorbar(
            place + 0.12 * (shift - (len(results) - 1) / 2), 100 * r.mean, yerr=100 * r.half_width,
            color=color, marker=marker, capsize=3,
        )  # fmt: skip
_ = ax.set_xticks(range(len(groups)), list(groups))
_ = ax.axhline(20, color="0.4", ls=":")
_ = ax.set(ylabel="5-way 1-shot accuracy, %", ylim=(15, None))
ranges = {n: [100 * r.mean for r in results] for n, results in groups.items()}
text = "; ".join(
    f"{n.split(chr(10), 1)[1].replace(chr(10), ' ')} {min(v):.0f} to {max(v):.0f}"
    for n, v in ranges.items() if len(v) > 1 and n.startswith("NIL")
)  # fmt: skip
_ = ax.set_title(f"NIL: {text}", loc="left", fontsize=11)
describe(
    ax,
    "Accuracy of seven ways in percent, lowest to highest seed: "
    + "; ".join(f"{' '.join(n.split())} {min(v):.0f} to {max(v):.0f}" for n, v in ranges.items()),
)
plt.show()

# %%
best = {name: max(r.mean for r in results) for name, results in nil.items()}
worst = {name: min(r.mean for r in results) for name, results in nil.items()}
ahead = worst["ANIL"] > best["MAML"] + 0.1
assert ahead and worst["ordinary\nclassifier"] > best["untrained"] + 0.2, (worst, best)
print("by cosine, ANIL's bodies are more than 10 points above MAML's:", ahead)
print("every classifier is trained in less than 30 s:", seconds < 30)

# %% [markdown]
# **What we saw** (three seeds, 600 outer steps, 150 episodes):
#
# - ANIL reaches 65 to 70 % and is above MAML, 55 to 57 %, in every seed. So the head alone can do the
#   work, if training asks it to. That was the test of our explanation, and it passed.
# - ANIL's body needs no head at all: by cosine it has 67 to 71 %. The steps of the head add nothing
#   that we can see.
# - MAML's body has 46 to 51 % by cosine, about what bare pixels have, 47 %. It is good for the
#   steps that it was trained with, not by itself.
# - The ordinary classifier's body has 56 to 66 %, without a single episode. An untrained body has 22 %.
#   So "NIL works" says that a body has good features. It does not say that MAML was needed for them.
#
# In the paper the order is another: there MAML's body by cosine is ahead of an ordinary classifier's
# (section 10). Our network has 16 filters and trained for a minute; MAML with five steps through all
# of its layers is the slowest to train among these. Do not read the ranking as a law.
#
# ## 5. Where the head is not enough
#
# Pictures are one family of tasks. Does the head alone do on the waves of lesson 05, too?

# %%
predict("waves_from_the_head")

# %% [markdown]
# So a body with the right features exists. To see when it is missing, we vary the width of the last
# hidden layer: 40 units, or a **single** one. With one unit, the head can only scale one fixed curve
# and lift it. Lesson 09 computes what one number costs at least for these waves: 0.76, even with
# endless support points. Beside MAML and ANIL stands **BOIL** ("body only inner loop"), its mirror
# image: the head stays as it is, and all else moves.
#
# > **Predict.** Which of the six has the largest error? Always answering zero has 4.25.

# %%
waves = Sinusoids(n_shot=10, n_query=20)
test_waves = Sinusoids(n_shot=10, n_query=100)


def train_on_waves(learner, n_steps=400):
    options = {"n_tasks_per_batch": 25, "schedule": "cosine", "max_grad_norm": 5}
    _ = meta_train(learner, waves, n_steps=n_steps, **options)
    return learner


def wave_network(last_width=40):
    torch.manual_seed(0)
    return MLP(1, [40, 40, last_width], 1)


def error_on_waves(learner):
    return evaluate_meta_learner(learner, test_waves, n_episodes=300)


SETTINGS = {"inner_lr": 0.02, "meta_lr": 0.01, "num_inner_steps": 5, "loss_fn": F.mse_loss}
on_waves = {
    (method.__name__, width): error_on_waves(
        train_on_waves(method(wave_network(width), **SETTINGS))
    )
    for width in (40, 1)
    for method in (MAML, ANIL, BOIL)
}


# %%
def plot_errors(ax, results, colors):
    """A point for each result, with its interval and its number."""
    for place, r in enumerate(results.values()):
        _ = ax.errorbar(
            r.mean, -place, xerr=r.half_width, color=colors[place], marker="o", capsize=3
        )
        _ = ax.annotate(
            f"{r.mean:.2f}", (r.mean, -place), xytext=(0, 7), textcoords="offset points",
            ha="center", fontsize=11,
        )  # fmt: skip
    _ = ax.set_yticks([-place for place in range(len(results))], list(results))
    _ = ax.set(
        xscale="log", xlabel="squared error", xlim=(0.05, 6), ylim=(-len(results) + 0.4, 0.7)
    )
    _ = ax.set_xticks([0.1, 0.3, 1, 3], ["0.1", "0.3", "1", "3"])
    ax.minorticks_off()


fig, ax = plt.subplots(figsize=(7.6, 3.4), layout="constrained")
bars = {f"{name}, {width} unit{'s' * (width > 1)}": r for (name, width), r in on_waves.items()}
plot_errors(ax, bars, [BLUE] * 3 + [ORANGE] * 3)
_ = ax.axvline(0.764, color="0.4", ls=":", label="one number at best")
_ = ax.legend(fontsize=11, loc="upper right")
describe(
    ax,
    "Squared error on waves by what moves and by the width of the last hidden layer: "
    + ", ".join(f"{name} {r.mean:.2f}" for name, r in bars.items()),
)
plt.show()

# %%
error = {name: r.mean for name, r in on_waves.items()}
fails = error["ANIL", 1] > max(error["MAML", 1], error["BOIL", 1])
assert fails and max(error["ANIL", 40], error["MAML", 40]) < 1, error
print("a single unit: ANIL has the largest error:", fails)

# %% [markdown]
# **What we saw** (400 outer steps; ranges over three seeds, of which the figure shows the first). With 40
# units the head alone does as well as any part of the network: ANIL has 0.12 to 0.15, MAML 0.24 to
# 0.25, BOIL 0.26 to 0.28. With a single unit ANIL is last in every seed: 2.4 to 2.9, where MAML has 1.1
# to 2.1 and BOIL 1.1 to 2.3. Network, data and steps are the same, and only what may move differs. So
# here it is the movement of the body that helps. (ANIL is also far above the 0.76 that one fixed curve
# allows. Our short training has not found that curve.)
#
# So "feature reuse" is no property of MAML. It depends on whether the last layer holds enough features for
# all tasks of the family.
#
# ## 6. Reptile: no way back at all
#
# First order drops the second derivatives and keeps the query gradient. **Reptile** drops the query
# set as well. It trains on each task as usual, and then moves the start a part of the way to where
# that led:
#
# $$\theta \leftarrow \theta + \epsilon \cdot \mathrm{mean}_\tau (\phi_\tau - \theta)$$
#
# With a single inner step this is ordinary training on all tasks together: $\phi_\tau - \theta$ is then
# minus $\alpha$ times the gradient. With two or more steps it is not. Nichol et al. expand the mean
# outer gradient of $k$ inner steps for small $\alpha$. Two terms matter: $A$, the gradient of the mean
# task, which makes every task easier from the start, and $B$, half the gradient of the scalar product of two
# gradients of one task. Going against $B$ makes a step on one half of a task's data help the other half:
#
# | method | times $A$ | times $B$ |
# |---|---|---|
# | MAML | 1 | $-2 (k - 1) \alpha$ |
# | first order | 1 | $-(k - 1) \alpha$ |
# | Reptile | $k$ | $-\frac12 k (k - 1) \alpha$ |
#
# So all three learn to learn, and for $k = 1$ none does. ($k$ counts the minibatches here, for MAML
# the query set among them.) The package tests these coefficients on quadratic losses.
#
# By hand: one weight at $w = 2$, loss $w^2/2$, two steps of 0.1: $2 \to 1.8 \to 1.62$. With
# $\epsilon = 0.5$ the start moves to $2 + 0.5\,(1.62 - 2) = 1.81$.
#
# ### Exercise 3: Reptile (10 minutes, medium)


# %%
def my_reptile_step(losses, w, inner_lr, num_inner_steps, epsilon):
    """The start after one step of Reptile: w moved by epsilon towards where the tasks end.

    losses: one for each task, from a tensor shaped like w to a scalar tensor.
    """
    raise NotImplementedError


check(my_reptile_step)

# %% [markdown]
# ### Exercise 4: find the bug (6 minutes, medium)
#
# A colleague adapts to several tasks with momentum. On one task alone, the function is right.


# %%
def my_adapt_each_task(losses, w, inner_lr, num_inner_steps, momentum):
    """Weights (T, *shape) of each task after steps with momentum from the same start w.

    losses: one for each task, from a tensor shaped like w to a scalar tensor. In each step the
    velocity becomes momentum * velocity + gradient, and the weights move by -inner_lr * velocity.
    It is 0 before the first step.
    """
    velocity = torch.zeros_like(w)
    ends = []
    for loss in losses:
        fast_w = w.detach()
        for _ in range(num_inner_steps):
            fast_w = fast_w.requires_grad_()
            (gradient,) = torch.autograd.grad(loss(fast_w), fast_w)
            velocity = momentum * velocity + gradient
            fast_w = (fast_w - inner_lr * velocity).detach()
        ends.append(fast_w)
    return torch.stack(ends)


check(my_adapt_each_task)

# %% [markdown]
# What an optimiser remembers belongs to one task. If it is kept, each task is pushed in the
# direction of the one before it, results depend on the order of the tasks, and at test time one task learns from
# another. The code of the Reptile paper keeps Adam's second moments across training tasks, and
# restores them in testing: it is a choice there, and it must be said.
#
# ## 7. The implicit gradient
#
# **iMAML** keeps the query set and the exact gradient, but not the steps. Its inner problem has a
# pull to the start, so that it has a minimum to reach:
#
# $$\phi^* = \arg\min_\phi \; \mathcal{L}_S(\phi) + \frac{\lambda}{2} \lVert \phi - \theta \rVert^2$$
#
# At the minimum the slope is 0: $\nabla \mathcal{L}_S(\phi^*) + \lambda (\phi^* - \theta) = 0$. This holds for
# every start. So differentiate it with respect to $\theta$: $H D + \lambda (D - I) = 0$ with
# $D = d\phi^* / d\theta$. Hence $D = (I + H / \lambda)^{-1}$, and the gradient of the start is
#
# $$g = (I + H / \lambda)^{-1} \, \nabla \mathcal{L}_Q(\phi^*)$$
#
# By hand: $H = \mathrm{diag}(4, 1)$, $\lambda = 2$, query gradient $(3, 3)$. $I + H/2$ is
# $\mathrm{diag}(3, 1.5)$, so $g = (1, 2)$. A direction that is steep in the support loss loses most: the
# inner loop goes to its minimum there, wherever it started.
#
# ### Exercise 5: the implicit gradient (8 minutes, medium)


# %%
def my_implicit_gradient(hessian, query_gradient, pull):
    """Meta-gradient (d,) at the minimum of the support loss plus pull / 2 times |phi - start|^2.

    hessian: of the support loss at the minimum, (d, d).
    query_gradient: of the query loss at the minimum, (d,).
    """
    raise NotImplementedError


check(my_implicit_gradient)

# %% [markdown]
# A network with a million weights has a Hessian of a million times a million numbers. Nobody writes it
# down. Conjugate gradients solve the linear system from products of $H$ with a vector, and such a
# product is the derivative of a scalar product with the gradient. In exact arithmetic, they are done after
# as many products as there are weights; often a few are enough.

# %% [markdown]
# ### Exercise 6: find the bug (8 minutes, hard)
#
# The support loss is $\frac12 (\phi - \text{optimum})^\top H (\phi - \text{optimum})$ and the query loss
# $\frac12 \lVert \phi - \text{target} \rVert^2$. The learning rate suits $H$. The formula at the end is right.


# %%
def my_solved_meta_gradient(hessian, optimum, target, w, pull, inner_lr):
    """Implicit meta-gradient (d,) with respect to the start w, by gradient steps to the minimum.

    hessian: H, (d, d); optimum, target, w: (d,).
    pull: the inner loop adds pull / 2 times |phi - w|^2 to the support loss.
    """
    phi, slope = w, hessian @ (w - optimum)
    for _ in range(5):
        phi = phi - inner_lr * slope
        slope = hessian @ (phi - optimum) + pull * (phi - w)
    eye = torch.eye(len(w))
    return torch.linalg.solve(eye + hessian / pull, phi - target)


check(my_solved_meta_gradient)

# %%
predict("before_the_minimum")

# %% [markdown]
# How large is the mistake in a network? Here is one small enough to differentiate through 400 inner
# steps, in double precision, on one wave. We take that as the exact gradient of the solved problem,
# and look at iMAML after 1, 2, ... 200 steps, with two strengths of the pull.

# %%
smooth = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()
one_wave = waves.episodes(seed=2, start=0, n_tasks=1).to(dtype=torch.float64)


def gradient_of(learner):
    """The outer gradient on one wave, as one vector."""
    learner.model.zero_grad()
    learner.loss(one_wave).backward()
    return torch.cat([p.grad.flatten() for p in learner.model.parameters()])


def implicit(num_inner_steps, lam):
    return IMAML(
        copy.deepcopy(smooth), 0.05, 0.01, num_inner_steps, F.mse_loss,
        lam=lam, num_cg_steps=25, tolerance=0,
    )  # fmt: skip


def exact(lam, num_inner_steps=400):
    """The gradient through all the steps, by autograd."""
    start = tuple(p.detach().clone().requires_grad_() for p in smooth.parameters())
    names = [name for name, _ in smooth.named_parameters()]
    task = one_wave[0]

    def loss(weights, x, y):
        return F.mse_loss(functional_call(smooth, dict(zip(names, weights, strict=True)), (x,)), y)

    weights = start
    for _ in range(num_inner_steps):
        slopes = torch.autograd.grad(
            loss(weights, task.support_x, task.support_y), weights, create_graph=True
        )
        weights = tuple(
            w - 0.05 * (s + lam * (w - w_0))
            for w, s, w_0 in zip(weights, slopes, start, strict=True)
        )
    found = torch.autograd.grad(loss(weights, task.query_x, task.query_y), start)
    return torch.cat([g.flatten() for g in found])


step_counts = (1, 2, 5, 10, 20, 50, 100, 200)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # each of them warns that it has not reached its minimum
    too_early = {}
    for lam in (0.5, 2.0):
        goal = exact(lam)
        too_early[lam] = [
            ((gradient_of(implicit(k, lam)) - goal).norm() / goal.norm()).item()
            for k in step_counts
        ]

# %%
fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
for (lam, errors), marker, color in zip(too_early.items(), "os", (BLUE, ORANGE), strict=True):
    _ = ax.plot(step_counts, errors, marker=marker, color=color, label=f"lambda {lam}")
_ = ax.set(xscale="log", yscale="log", xlabel="inner steps", ylabel="error / exact gradient")
_ = ax.set_xticks(step_counts, step_counts)
ax.minorticks_off()
_ = ax.legend(fontsize=11)
describe(
    ax,
    "The error of the implicit gradient against inner steps, on two logarithmic axes: of the size "
    "of the gradient itself after a few steps, then falling ever faster; sooner with lambda 2",
)
plt.show()
print("after 1 step, off by more than half:", all(e[0] > 0.5 for e in too_early.values()))
print("after 200 steps, lambda 2, off by less than a millionth:", too_early[2.0][-1] < 1e-6)

# %% [markdown]
# After a few steps, the implicit gradient is off by about as much as the gradient is long. With
# $\lambda = 2$ the error is about 1 % after 20 steps and below a hundred-thousandth after 100. With
# $\lambda = 0.5$ the inner problem is flatter, and 200 steps still leave 0.2 %. The package's `IMAML` measures
# how far the inner loop came (`learner.residual`), and warns if that is not far enough.
#
# ## 8. What it costs
#
# How much must be kept until the outer gradient is taken? We count the bytes that autograd holds
# after the loss of 25 waves, and the processor time of loss and gradient together, while the inner steps
# grow from 1 to 50.

# %%
predict("fifty_steps")


# %%
def kept_bytes(learner, tasks):
    """Bytes that autograd holds until the outer gradient is taken."""
    held = []

    def remember(tensor):
        held.append(weakref.ref(tensor))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        loss = learner.loss(tasks)
    alive = [tensor for tensor in (r() for r in held) if tensor is not None]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in alive}
    loss.backward()
    return sum(storages.values())


def seconds_of(learner, tasks):
    """Processor time of loss and gradient, the best of five."""
    seconds = []
    for _ in range(5):
        began = time.process_time()
        learner.loss(tasks).backward()
        seconds.append(time.process_time() - began)
    return min(seconds)


METHODS = {
    "second order": (MAML, {}),
    "first order": (MAML, {"first_order": True}),
    "implicit": (IMAML, {"lam": 2.0, "tolerance": 0}),
    "Reptile": (Reptile, {}),
}
inner_steps = (1, 2, 5, 10, 20, 50)
batch = waves.episodes(seed=0, start=0, n_tasks=25)
cost = {}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for name, (method, options) in METHODS.items():
        for k in inner_steps:
            learner = method(MAMLModel(1, 40, 1), 0.01, 0.01, k, F.mse_loss, **options)
            _ = learner.loss(batch).backward()
            cost[name, k] = kept_bytes(learner, batch), seconds_of(learner, batch)

# %%
fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.4), layout="constrained")
looks = zip(METHODS, "osD^", (BLUE, ORANGE, GREEN, PURPLE), ("-", "--", "-.", ":"), strict=True)
for name, marker, color, style in looks:
    look = {"marker": marker, "color": color, "ls": style, "label": name}
    _ = axes[0].plot(inner_steps, [cost[name, k][0] / 1e6 for k in inner_steps], **look)
    _ = axes[1].plot(inner_steps, [1000 * cost[name, k][1] for k in inner_steps], **look)
_ = axes[0].set(xlabel="inner steps", ylabel="megabytes kept")
_ = axes[1].set(xlabel="inner steps", ylabel="milliseconds")
_ = axes[0].legend(fontsize=11)
growth = {name: cost[name, 50][0] / max(cost[name, 1][0], 1) for name in METHODS}
_ = axes[0].set_title(
    f"50 steps / 1 step: second order {growth['second order']:.0f}, "
    f"implicit {growth['implicit']:.1f}", loc="left", fontsize=11,
)  # fmt: skip
describe(axes[0], "Memory against inner steps: second order rises in a line, the others are flat")
describe(axes[1], "Time against inner steps: all rise; second order is steepest")
plt.show()

# %%
grows, flat = growth["second order"] > 20, max(growth["first order"], growth["implicit"]) < 1.5
assert grows and flat, growth
print("second order keeps more than 20 times as much at 50 steps as at 1:", grows)
print("first order and implicit keep less than 1.5 times as much:", flat)

# %% [markdown]
# **What we saw.** Only second order pays for each step in memory: about 0.5 megabytes at one step, and 30
# times as much at 50. First order and implicit keep the same at 1 and at 50 steps; Reptile keeps next
# to nothing. Time is another matter. Every method must take the steps, so all lines rise. Implicit pays
# for its conjugate gradients on top, whatever the number of steps, and is slower than second order up
# to about 20 steps. What it saves is memory. For networks that fill the memory of a GPU, that decides.
#
# ## 9. Does it need second order?
#
# Now train all of them on the waves, with the same network, five inner steps of 0.02, and 400 outer
# steps of 25 waves. Two need settings of their own. Reptile trains on all 30 points of each wave,
# ten steps, because it has no query set; iMAML takes 16 steps of 0.005 and $\lambda = 2$.
#
# > **Predict.** Order them by their error: second order, first order, ANIL, Reptile, iMAML.

# %%
contest = {
    "second order": MAML(wave_network(), **SETTINGS),
    "first order": MAML(wave_network(), **SETTINGS, first_order=True),
    "Reptile": Reptile(wave_network(), **SETTINGS | {"num_inner_steps": 10}, with_queries=True),
    "iMAML": IMAML(
        wave_network(), **SETTINGS | {"inner_lr": 0.005, "num_inner_steps": 16, "meta_lr": 2e-3}
    ),
}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ReLU networks seldom reach the minimum to 0.1 %
    results = {
        name: on_waves["MAML", 40]
        if name == "second order"
        else error_on_waves(train_on_waves(learner))
        for name, learner in contest.items()
    }
results["ANIL"] = on_waves["ANIL", 40]

# %%
fig, ax = plt.subplots(figsize=(7.6, 3), layout="constrained")
plot_errors(ax, results, [BLUE, ORANGE, PURPLE, GREEN, "0.35"])
_ = ax.axvline(3.006, color="0.4", ls=":", label="without a support set")
_ = ax.legend(fontsize=11)
describe(
    ax,
    "Squared error on waves of five ways to learn a start: "
    + ", ".join(f"{name} {r.mean:.2f}" for name, r in results.items()),
)
plt.show()

# %% [markdown]
# **What we saw** (ranges over three seeds; the intervals in the figure are over 300 tasks). At this
# setting second order more than halves the error of first order: 0.24 to 0.25 against 0.54 to 0.66.
# Reptile is between them with 0.29 to 0.31, but it has seen three times as many points of each wave.
# ANIL is best with 0.12 to 0.15. It goes back through the steps of the head alone, which has 41 of the
# 3,401 weights. iMAML comes last with 0.66 to 0.78. Its 16 steps end far from the minimum, so its
# gradient is not the one that the formula promises; `IMAML` says so in a warning, which we have
# silenced here.
#
# So the answer to the lesson's question depends. All five ways learn: without a support set, no answer
# is better than 3.0. How far apart they are is a matter of settings, too. On a network with two
# hidden layers and 500 outer steps, we measured 0.38 for second and 0.45 for first order with
# `inner_lr` 0.02, and 1.06 against 2.14 with 0.05 (one training each). Lesson 05 has the same
# comparison on letters.
#
# ## 10. The papers' figures beside ours
#
# Accuracy in percent, from Raghu et al. (2020), Omniglot 20-way and miniImageNet 5-way:
#
# | method | Omniglot 1-shot | 5-shot | miniImageNet 1-shot | 5-shot |
# |---|---|---|---|---|
# | MAML | 93.7 | 96.4 | 46.9 | 63.1 |
# | ANIL | 96.2 | 98.0 | 46.7 | 61.5 |
# | NIL, on MAML's body | 96.7 | 98.0 | 48.0 | 62.2 |
# | NIL, on an ordinary classifier's body | | | 39.7 | 54.4 |
# | NIL, on an untrained body | | | 32.9 | 43.2 |
#
# They report ANIL as 1.7 times as fast as MAML in a training step, and 4.1 times in use. In their table
# as in ours, ANIL loses nothing against MAML. The order of MAML's body and the classifier's is
# different.
#
# From Rajeswaran et al. (2019), Omniglot:
#
# | iMAML | 5-way 1-shot | 5-way 5-shot | 20-way 1-shot | 20-way 5-shot |
# |---|---|---|---|---|
# | inner loop by gradient descent | 99.16 ± 0.35 | 99.67 ± 0.12 | 94.46 ± 0.42 | 98.69 ± 0.1 |
# | without Hessians ("Hessian-free") | 99.50 ± 0.26 | 99.74 ± 0.11 | 96.18 ± 0.36 | 99.14 ± 0.1 |
#
# ## 11. Limits
#
# - One small network and short trainings. Seeds differ by up to ten points, and other step sizes can
#   change who is ahead.
# - Freezing at test time asks what a trained network needs, not what it could have learned. Only
#   training again, as with ANIL, answers the second.
# - CKA compares features on the queries of one task. It is blind to any change that turns or scales
#   all of them alike, and a head does see such a change.
# - The implicit gradient is exact only at a minimum of the inner problem. A network with ReLUs may have
#   its minimum on a kink, where the gradient does not become small.
#
# ## 12. Recap
#
# You can now
#
# - compute CKA, and say what it does not see;
# - tell apart what a network needs at test time (freeze), and what training could do without (ANIL);
# - name the control that an experiment on feature reuse needs: another body;
# - say why ANIL fails with one unit in the last hidden layer: the head can only scale one curve;
# - write Reptile's step and the implicit gradient, and say when each is right;
# - answer the lesson's question for these tasks: at one setting on waves, second order halved the error
#   of first order; ANIL needed it through the head alone; first order, Reptile and implicit
#   gradients keep memory flat.
#
# What you have solved in this lesson:

# %%
progress(7)

# %% [markdown]
# **Check yourself**
#
# 1. A colleague shows that CKA before and after adaptation is 0.99, and concludes that the inner loop
#    is useless. What would you ask for?
# 2. ANIL's body does not move in the inner loop. How can it learn?
# 3. One weight, support curvature $h = 3$, $\lambda = 1$, query slope 2 at the minimum. What is the
#    implicit gradient? What does it become as $\lambda \to \infty$?
# 4. Reptile with one inner step of SGD is trained on waves. What will its start be good for?
#
# <details><summary>Answers</summary>
#
# 1. The accuracy with the inner loop, and with its layers frozen. A small change of features can be
#    all that a head needs, and CKA does not see a turn or a scale.
# 2. From the outer loop: the query loss after the head's steps depends on the body, both directly and
#    through the head's steps.
# 3. $2 / (1 + 3) = 0.5$. As $\lambda$ grows it tends to 2, the gradient without adaptation: nothing moves.
# 4. For the mean task. With one step it is ordinary training on all tasks together, and the mean of
#    all waves is nearly flat.
# </details>
#
# **Next:** learning inside an episode without any gradient, by writing into a memory.
# [08_memory_augmented_networks](08_memory_augmented_networks.ipynb)
#
# **References**
#
# - A. Raghu, M. Raghu, S. Bengio, O. Vinyals (2020). *Rapid Learning or Feature Reuse? Towards
#   Understanding the Effectiveness of MAML.* ICLR.
# - J. Oh, H. Yoo, C. Kim, S.-Y. Yun (2021). *BOIL: Towards Representation Change for Few-shot
#   Learning.* ICLR.
# - A. Nichol, J. Achiam, J. Schulman (2018). *On First-Order Meta-Learning Algorithms.*
#   arXiv:1803.02999.
# - A. Rajeswaran, C. Finn, S. Kakade, S. Levine (2019). *Meta-Learning with Implicit Gradients.*
#   NeurIPS.
# - S. Kornblith, M. Norouzi, H. Lee, G. Hinton (2019). *Similarity of Neural Network Representations
#   Revisited.* ICML.
