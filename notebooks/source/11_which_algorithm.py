# %% [markdown]
# # 11 · Which algorithm, and when?
#
# **The question: six algorithms, two data sets, four kinds of task. Which one would you choose for
# yours, and how would you know?**
#
# **After this lesson you can**
#
# - read a study: one table, with a row for each trained learner and each kind of task;
# - separate two kinds of luck, that of the episodes and that of the training;
# - compare two algorithms in pairs, and many pairs at once;
# - say what to expect between measured settings, and refuse to say it beyond them;
# - test a rule of thumb against evidence.
#
# **Time:** 35 minutes to read and try, of which seconds are computing; the exercises and questions
# take another 30.
#
# **Prerequisites:** [02_honest_evaluation](02_honest_evaluation.ipynb) (intervals, paired
# differences). The six algorithms are those of lessons 03 to 06, 08 and 09, but you do not need
# their details.
#
# | in the text | in code | meaning |
# |---|---|---|
# | **cell** | `n_way`, `n_shot` | a kind of task on which a learner is scored |
# | size | `n_classes` | meta-training classes (rotated by 90, 180 and 270 degrees, each counts as three more) |
# | seed | `seed` | initial weights, training episodes, and the choice of those classes |
# | **setting** | | a data set, a size and a cell |

# %%
import math

import matplotlib.pyplot as plt
import torch

from metalearn_edu import (
    judge_rule,
    load_study,
    rule_of_thumb,
    select_meta_learning_algorithm,
)
from metalearn_edu.exercises import check, predict, progress
from metalearn_edu.exercises.lessons.which_algorithm import error_of_study, expected_between
from metalearn_edu.explorers.algorithms import AlgorithmExplorer
from metalearn_edu.explorers.training_time import TrainingTimeExplorer
from metalearn_edu.plotting import use_course_style
from metalearn_edu.runs import ALGORITHMS
from metalearn_edu.study import OVER_TIME, compare_in_every_cell, real_ones
from metalearn_edu.study.figures import plot_study, plot_study_cost, plot_study_times

use_course_style()

# %% [markdown]
# ## 1. The table
#
# One command trained every learner and wrote one table: `metalearn-edu study`, with the six names as
# `--algorithms`. It takes hours, so the course includes its result; the README has the command that
# makes it again, up to rounding. Each row is one trained learner in one cell. All have convolutions of the same width, 32 filters, and
# about the same time to train: 40 seconds on one core (MANN in 20-way tasks: 80). So the table
# compares what an algorithm achieves in **equal time**.

# %%
study = load_study()
row = study.rows[0]
print(
    "algorithms:", "; ".join(ALGORITHMS[name].name_in_study for name in study.values("algorithm"))
)
print("cells:", [(way, shot) for way in study.values("n_way") for shot in study.values("n_shot")])
print("meta-training classes:", study.values("n_classes"), " seeds:", study.values("seed"))
print("episodes in each cell:", row.test_episodes)
print("trains such a learner as the first:", row.command)

# %% [markdown]
# The words in brackets matter, because four of the six are **variants** of the published methods:
#
# - *MAML and Meta-SGD (zero head, 1 step).* Each task starts with the last layer at zero, and there
#   is one inner step. While the last layer is zero, no gradient reaches the layers below it, so the
#   step changes the last layer alone. In the papers all layers move.
# - *Relation Network (cross-entropy).* The published loss is a squared error.
# - *MANN (with metric loss).* Its encoder has a second loss, with weight 3.
#
# Whatever this lesson says about "MAML" is about this variant. The study did not train the plain
# methods.
#
# > **Predict.** Prototypical Networks and MAML, 5-way 1-shot, trained on 50 classes and on all.
# > Which gains more from more classes? And in 20-way tasks?

# %%
plot_study(study)
plt.show()

# %% [markdown]
# The vertical axis is that of the logit, which section 6 explains: it gives the high accuracies,
# which crowd together, more room.
#
# Read the figure one panel at a time. With 50 classes the Relation Network has the highest mean in
# every panel of both rows; with 200 classes and more, ProtoNet has. More classes help ProtoNet more
# than MAML: from 50 classes to all, by 8 to 9 points in 5-way 1-shot tasks and 16 to 17 in 20-way
# 1-shot, where MAML gains 3 to 5 in both.
#
# From 200 classes to all of them, 47 of the 48 curves change by less than 3 points, and about half
# of them fall. On Glyphs the task-conditioned network loses 2 to 3 points in every panel, and MAML 2 in
# 20-way tasks. Perhaps 40 seconds are too short to meet that many classes often enough; the study did
# not test that.
#
# MANN is at chance in 20-way tasks. That is no verdict on it: with a wider network and 35 minutes
# instead of 80 seconds, it answers 82 to 83 % of the 20-way 1-shot queries correctly. And MAML, the
# same variant, trained for 11 minutes on Omniglot, is 2.1 points below ProtoNet in 5-way 1-shot
# tasks and 1.2 below in 5-shot (both tables are in the README). Our study asked one question:
# *which is best after the same short time?*
#
# ## 2. Two kinds of luck
#
# Lesson 02 counted the luck of the episodes. A study has another kind: train again with another
# seed, and the accuracy changes. Both belong in the interval:
#
# $$\text{se}^2 = \frac{s_\text{seed}^2}{n_\text{seeds}} + \frac{s_\text{episode}^2}{n_\text{episodes}}$$
#
# First average over all episodes: $s_\text{seed}$ is the standard deviation of these means, one for
# each seed. Then average over all seeds: $s_\text{episode}$ is the standard deviation of the means,
# one for each episode.

# %%
predict("more_episodes_or_more_seeds")

# %% [markdown]
# By hand: two seeds, two episodes, with accuracies 0.5, 0.5 and 0.7, 0.7. The means of the seeds
# are 0.5 and 0.7, their variance is 0.02, and half of it is 0.01. The means of the episodes are
# both 0.6, with variance 0. So the standard error is 0.1.

# %%
print(round(error_of_study(torch.tensor([[0.5, 0.5], [0.7, 0.7]])), 6))

# %% [markdown]
# For experts: what one seed makes of one episode, beyond what both do elsewhere, is a part of both
# terms, so it is counted twice. To count it once, one would subtract
# $s_\text{rest}^2 / (n_\text{seeds} n_\text{episodes})$. We do not, so our intervals are slightly
# too wide.
#
# ### Exercise 1: the error of a study (8 minutes, medium)
#
# Write the formula. An easier step first: with one number for each seed, what is the standard error
# of their mean?


# %%
def my_error_of_study(accuracy):
    """Standard error of the mean accuracy, with both kinds of luck.

    accuracy: (seeds, episodes), at least 2 of each; all seeds answered the same episodes.
    Returns a float.
    """
    raise NotImplementedError


check(my_error_of_study)

# %% [markdown]
# ## 3. Two algorithms, the same episodes
#
# Every learner of the table answered the same meta-test episodes.

# %%
predict("why_paired")

# %% [markdown]
# So we compare in pairs: subtract episode by episode and seed by seed, and take the interval of the
# difference. If it excludes 0, the selector of this course calls the difference **real**, as one
# comparison at 95 %.
#
# Omniglot, 50 classes, 20-way 1-shot: with the first seed alone, the Relation Network was ahead of
# ProtoNet by 12.6 ± 0.8 points.
#
# > **Predict.** Two more seeds were trained. How wide is the interval now?

# %%
for part in (study.where(seed=0), study):
    answer = select_meta_learning_algorithm(1000, n_way=20, n_shot=1, data="omniglot", study=part)
    gap, half_width = 100 * answer.difference, 100 * answer.half_width
    print(f"seeds: {answer.n_seeds}  {gap:.1f} +- {half_width:.1f} points, real: {answer.is_real}")

# %% [markdown]
# Nearly ten times as wide. Nothing was wrong with the first interval, but it was about two trained
# networks, and our question is about two methods.
#
# A part of the width is the price of having only three seeds. Their standard deviation is itself
# an estimate, and three numbers have only two independent differences: two **degrees of freedom**.
# A difference divided by a standard error that is estimated in this way does not follow the normal
# distribution. It follows **Student's t-distribution**, which has longer tails. 95 % of it lie
# within ± 4.30 for 2 degrees of freedom, and within ± 1.96, as for the normal distribution, for
# very many. Our standard error has two terms, one with 2 degrees of freedom and one with 299;
# Welch's formula gives the sum a number between, which depends on which term is larger.
#
# ## 4. Many comparisons at once

# %%
predict("many_comparisons")

# %% [markdown]
# Take MAML and Meta-SGD, both in the variant of section 1. There are 24 settings: two data sets,
# three sizes, four cells. First we look at a single seed, as many papers do.
#
# Somebody will object that we make 24 comparisons. There are corrections for that. The **p-value**
# of a difference is the probability that luck alone takes us at least as far from 0. An interval of
# 95 % excludes 0 when p < 5 %. **Bonferroni** requires p < 5 % / 24 in each of 24 comparisons.
# **Holm** requires that of the smallest p only; the next smallest must be below 5 % / 23, and so on
# until one fails. Both keep the probability of even one mistake among the 24 at 5 % or less, if the
# p-values are right.
#
# > **Predict.** With seed 0 alone, in how many of the 24 settings does the interval of the
# > difference exclude 0? How many of them remain after Holm's correction? And with all three seeds?

# %%
print("settings in which one is ahead and the interval excludes 0, of 24")
for seeds in ([0], [1], [2], [0, 1, 2]):
    gaps = compare_in_every_cell(study.with_seeds(seeds), "meta-sgd", "maml")
    for correction in ("none", "Holm"):
        real = [
            c.gap.value > 0 for c, ok in zip(gaps, real_ones(gaps, correction), strict=False) if ok
        ]
        ahead = f"Meta-SGD {sum(real):2}, MAML {len(real) - sum(real):2}"
        print(f"seeds {seeds!s:9}  correction {correction:4}  {ahead}")

# %% [markdown]
# With one seed, 13 to 21 differences look real, for both sides, and Holm's correction keeps 6 to 16
# of them. With three seeds, one remains (Glyphs, all classes, 20-way 5-shot: Meta-SGD by 1.7 ± 0.5
# points). The correction cannot help where the interval leaves out a kind of luck: it assumes that
# the p-values are right. To find a setting in which your favourite wins, one seed is enough. To
# learn something, you need more.
#
# Now the question that everybody asks: is the best better than the second?

# %%
for seeds in ([0], [0, 1, 2]):
    best = compare_in_every_cell(study.with_seeds(seeds))
    for correction in ("none", "Bonferroni", "Holm"):
        count = sum(real_ones(best, correction))
        print(f"seeds {seeds!s:9}  correction {correction:10}  real: {count} of {len(best)}")
print("the two are always", *sorted({name for c in best for name in (c.first, c.second)}))
for data in ("glyphs", "omniglot"):
    ok = [r for c, r in zip(best, real_ones(best, "Holm"), strict=False) if c.data == data]
    print(f"{data}: after Holm's correction {sum(ok)} of {len(ok)}")

# %% [markdown]
# With three seeds, 23 of the 24 differences are real one by one, and 12 together: all those of
# Glyphs, none of Omniglot, where the seeds differ more. "Not shown" does not mean "not there": all
# three seeds have the same winner in each of the 24 settings. More seeds would tell.
#
# ## 5. Ask the study
#
# The course's selector does these comparisons, one at a time and without a correction, and says how
# far your question lies from what was measured.

# %%
answer = select_meta_learning_algorithm(4000, n_way=5, n_shot=1, data="glyphs")
print(answer)

# %% [markdown]
# 4,000 is the number of labelled images: 200 classes of 20. `build()` makes the learner, ready for
# `meta_train`. Limits are arguments: `max_adaptation_ms` on the time to learn one task from its
# support set, `max_memory_mb`, `inductive`. If nobody measured what you ask, the answer says so:

# %%
print(type(answer.build()).__name__)
print(select_meta_learning_algorithm(10_000, n_way=30, n_shot=10, data="glyphs"))

# %% [markdown]
# An impossible request is refused, with numbers:

# %%
try:
    select_meta_learning_algorithm(60, n_way=5, n_shot=1)
except ValueError as error:
    print(error)

# %% [markdown]
# ## 6. Between the cells
#
# Nobody measured 100 classes. From 50 to 100 is as far as from 100 to 200 if we count in factors,
# so we use the logarithm of the number. And accuracies end at 1, so we do not mix them directly.
# The **odds** of an accuracy p are p / (1 − p), right answers for each wrong one; their logarithm
# is the logit (lesson 04), which has no ends. We mix the logits and convert the result back.
#
# By hand: 0.5 has odds 1, 0.8 has odds 4. Halfway between their logarithms lies log 2, so the odds
# are 2: an accuracy of 2/3.

# %%
print(math.isclose(expected_between(50.0, 200.0, 0.5, 0.8, 100.0), 2 / 3))

# %% [markdown]
# Beyond the cells the same line would continue, but nobody has measured whether the accuracy
# follows it.
#
# ### Exercise 2: between two cells (8 minutes, medium)
#
# `p_low` was measured at `low`, `p_high` at `high`. What do you expect at `x`? Between them, and at
# both ends, mix the logits as above; beyond them return `math.nan`, "not a number".


# %%
def my_expected_between(low, high, p_low, p_high, x):
    """Expected accuracy at x: the logit is linear in the logarithm of x.

    low, high: floats, 0 < low < high; p_low, p_high: the accuracies there, between 0 and 1.
    Returns a float; math.nan if x is below low or above high.
    """
    raise NotImplementedError


check(my_expected_between)

# %% [markdown]
# ### Explore
#
# Dots are measurements; the lines between them are straight on these axes. Beyond the dots the
# selector does draw a line, dashed. It also widens the band by the length of that guess, keeps the
# ranking that the algorithms have at the edge, and calls no difference real.

# %%
AlgorithmExplorer(n_way=20, n_shot=1, n_classes=200)

# %% [markdown]
# What we saw: on Glyphs in 20-way 1-shot tasks, the lines of the Relation Network and ProtoNet
# cross between 100 and 200 classes. On Omniglot they do, too, but there the difference is not real
# at 100 classes: 2.6 ± 4.9 points. At 1,600 classes the bands are wider than at the last dots, and
# the text below the figure says that nobody has measured there.
#
# ## 7. Accuracy over time
#
# All this was equal time, and 40 seconds are little. So we made a second, smaller study: Glyphs,
# all classes, 5-way, three seeds. Each training was scored after 10, 20, 40 and 80 seconds of one
# core. It has a seventh line, **without meta-learning**: an ordinary classifier of all
# meta-training classes, whose last layer is then removed; a new image gets the class with the
# nearest mean embedding. Chen et al. (2019) showed how strong such classifiers can be.
#
# To score a training while it goes on, its step size must not depend on when it will end. So the
# step size is constant here, half of the initial one in the large study, where it falls to 0. Do
# not compare the two studies to the last point: after 40 seconds they differ by up to 4.
#
# > **Predict.** MANN is far below the others after 10 seconds. Is it last after 80? Which lines
# > cross? And where does the ordinary classifier stand?

# %%
over_time = load_study(OVER_TIME)
plot_study_times(over_time)
plt.show()

# %%
TrainingTimeExplorer(over_time)

# %% [markdown]
# What we saw, in 1-shot tasks, as means of three seeds:
#
# - All lines still rise at 80 seconds, so none of these accuracies is the best that a method can
#   reach.
# - ProtoNet leads at every moment. In points its lead over MAML shrinks from 11.8 after 40 seconds
#   to 9.1 after 80. On the logit axis the two lines stay about as far apart.
# - MANN is at or near chance for 20 seconds. After 80 it is level with the task-conditioned network:
#   the difference is 0.4 ± 4.2 points.
# - The ordinary classifier starts at 42 % and ends at 90 %. After 20 seconds it is 15 points behind
#   both MAML and Meta-SGD; after 40, no difference is real; after 80, it is ahead of MAML by 4.1 ± 1.8
#   points and of Meta-SGD by 3.2 ± 1.4. ProtoNet is still ahead of it, by 5.0 ± 0.6, and the
#   Relation Network by 3.0 ± 1.2.
#
# Does meta-learning pay? After 20 seconds, everything but MANN and the task-conditioned network
# beats the classifier clearly. After 80, only two of the six do. Choosing the time means choosing a
# part of the answer, so a study must name its time, and so must you when you quote it.
#
# ## 8. What it costs
#
# Accuracy is half of the answer. The other half is the cost of a new task: the time to learn it
# from its support set, once the learner is trained.

# %%
plot_study_cost(study, n_way=5, n_shot=1)
plt.show()

# %% [markdown]
# ProtoNet is the most accurate and one of the two quickest: less than a millisecond. The variants
# of MAML and Meta-SGD take about five to nine times as long. All are quick on this small network;
# the study has no large one.
#
# ## 9. Find the bug: the rule without evidence
#
# A rule that is often copied says: below 5 shots prototypes; otherwise, with fewer than 1000
# examples, a relation network; otherwise MAML. It comes without a table. We have one.
#
# > **Predict.** In how many of the 24 settings does the rule name the best algorithm?

# %%
record = judge_rule(rule_of_thumb, study)
print(record)

# %% [markdown]
# Where does it fail? Below 5 shots it says prototypes, which have the highest mean with 200 classes
# or more, but not with 50. With 5 shots it always says MAML here, because even 50 classes are 1,000
# images, and MAML, in the variant of section 1, is best nowhere. Its author may have had other
# data, the plain method, and hours to train. We cannot know.
#
# ### Exercise 3: look at the evidence (8 minutes, medium)
#
# The function below is that rule. It receives evidence and a request. Fix it: find the measured
# setting nearest to the request, and return the number of the column that is best there. The
# distance is the sum over the three numbers of a setting of the squared difference of their
# logarithms.


# %%
def my_best_measured(accuracy, settings, request):
    """The number of the algorithm that did best in the setting nearest to the request.

    accuracy: (settings, algorithms).
    settings: (settings, 3) and request: (3,), each the number of images, n_way and n_shot.
    Returns an int, a column of accuracy.
    """
    n_images, _, n_shot = request.tolist()
    if n_shot < 5:
        return 0  # prototypes
    return 1 if n_images < 1000 else 2  # a relation network, or MAML


check(my_best_measured)

# %% [markdown]
# ## Limits
#
# - Everything here is equal time, and little of it: 80 seconds at most.
# - Four of the six algorithms are variants (section 1).
# - Three seeds are few. A difference that their wide interval leaves open may still be there.
# - Two data sets of characters, handwriting and warped print. Photographs are another matter;
#   lesson 12 uses your own.
# - All trained on 1 shot (MANN on streams of 10 items per class) and were scored on 1 and 5.
# - One small network. A larger one may suit one algorithm more than another.
# - We took the best of six: the winner's mean is a little too high (lesson 02).
#
# ## Recap
#
# - A study is a table, and every row says how it was made.
# - A name is not enough: say which variant of a method was trained.
# - An interval counts the luck of training too; three seeds make it wide.
# - Pair by episode and seed before you call a difference real, and count your comparisons.
# - Between cells interpolate; beyond them say that you do not know.
#
# Which exercises are done:

# %%
progress(11)

# %% [markdown]
# **Check yourself**
#
# 1. Why is one seed not enough for the sentence "A is better than B"?
# 2. Two intervals overlap. Does that settle the comparison?
# 3. 0.8 was measured with 50 classes and 0.5 with 200. What do you expect with 100? With 400?
# 4. A paper compares two methods on 20 data sets with one seed each and corrects for the 20
#    comparisons. What is still missing?
#
# <details><summary>Answers</summary>
#
# 1. One seed compares two trained networks. Another seed trains others, and the question is about
#    the methods.
# 2. No. Pair on the same episodes and look at the interval of the difference.
# 3. With 100: odds 4 and 1; halfway in the logarithm the odds are 2, an accuracy of 0.67. With 400:
#    we do not know, because nobody has measured beyond 200.
# 4. The luck of training. The correction assumes p-values that count it.
# </details>
#
# **Next:** [12_capstone](12_capstone.ipynb): real data, and yours.
#
# **References**
#
# - W.-Y. Chen et al. (2019). *A Closer Look at Few-shot Classification.* ICLR: the same networks and
#   the same training for all, and the order of methods changes.
# - S. Holm (1979). *A simple sequentially rejective multiple test procedure.* Scandinavian Journal
#   of Statistics.
# - C.-H. Kao, W.-C. Chiu, P.-Y. Chen (2022). *MAML is a noisy contrastive learner in
#   classification.* ICLR: the zero head.
# - B. L. Welch (1947). *The generalization of "Student's" problem when several different population
#   variances are involved.* Biometrika.
