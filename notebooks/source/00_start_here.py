# %% [markdown]
# # 00 · Start here
#
# **Can you learn a letter from one example?** You can: you have done it all your life. Can a
# machine?
#
# After this lesson you can
#
# - *read* a 5-way 1-shot episode: what is given, what is asked,
# - *measure* a rule on many episodes and say how sure you are,
# - *explain* where a comparison of pixels succeeds and where it fails,
# - *train* a network that learns new letters from one drawing, and compare it with yourself,
# - *use* the course: predictions, exercises, explorers, and how to get a clean notebook back.
#
# **40 minutes**, of which 3 are for the exercise and about 10 for the game. Prerequisites: a little
# Python. You do not need to know PyTorch; we show what we use of it as we go. No theory today: we
# only look at what is possible.
#
# | in papers | in code | meaning |
# |---|---|---|
# | $N$ (way) | `n_way` | letters in one episode |
# | $K$ (shot) | `n_shot` | drawings of each letter that we may learn from |
# | $\mathcal{S}$ | `support_x`, `support_y` | the drawings that we learn from, and their labels |
# | $\mathcal{Q}$ | `query_x`, `query_y` | the drawings that we must name, and the right names |
#
# ## How a lesson works
#
# A notebook is made of cells. Click on a cell and press **Shift + Enter** to run it and go to the
# next. Run them from top to bottom, because each one needs those above it. The pictures and texts
# that you see before you run anything are from our own run.
#
# You will meet four things again and again:
#
# - **Predict.** A question before each result. Write your guess down first, on paper. A guess that
#   turns out wrong teaches more than a result that you only read.
# - **Exercise.** A function to write. `check` looks at it and answers at once; hints and our solution
#   are folded below its answer. Nothing later depends on your code, so you can go on at any time.
#   Some questions offer answers to choose from; each answer says why it is right or wrong.
# - **Explorer.** A figure with sliders and buttons, and a question that it answers.
# - **Recap.** At the end: what you have learned, and three questions to check it.
#
# This is the first cell. It brings in the tools, sets up the figures, and asks PyTorch to use one
# processor core, which is enough for everything here.

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn

from metalearn_edu import (
    ConvNet,
    EpisodeSampler,
    PrototypicalNetwork,
    evaluate_meta_learner,
    load_glyphs,
    meta_train,
)
from metalearn_edu.exercises import check, progress
from metalearn_edu.exercises.lessons.start_here import share_right
from metalearn_edu.explorers.canvas import DrawYourOwn
from metalearn_edu.explorers.game import LetterGame
from metalearn_edu.explorers.practice import PracticeExplorer
from metalearn_edu.plotting import (
    describe,
    plot_episode,
    plot_history,
    plot_intervals,
    plot_items,
    use_course_style,
)
from metalearn_edu.pretrained import load_pretrained

use_course_style()
torch.set_num_threads(1)

# %% [markdown]
# ## 1. See the data
#
# The data are called **Glyphs**: letters of 15 writing systems, drawn by a program with a shaky
# hand. Two sets matter today. A machine may learn as much as it likes from **meta-train**.
# **Meta-test** is only for measuring. No writing system is in both.

# %%
train, test = load_glyphs("meta-train"), load_glyphs("meta-test")
for data in (train, test):
    print(data.name, "-", data.n_classes, "letters:", ", ".join(data.groups))
print("scripts in both:", sorted(set(train.groups) & set(test.groups)))

# %% [markdown]
# Each row below shows ten drawings of one meta-test letter. They are turned, squeezed, bent, thick
# or thin, and yet you see at once that a row is *one* letter.

# %%
rows = plot_items(torch.cat([test.items_of(c)[:10] for c in (42, 57, 100, 127)]))
describe(
    rows,
    "Four rows of ten drawings. Each row is one meta-test letter, and its ten drawings differ in "
    "slant, width and thickness of the line.",
)
plt.show()

# %% [markdown]
# ## 2. One small problem
#
# Here is the problem of this course in one picture. We take five letters that no machine here has
# practised and that most people cannot read, give them the numbers 0 to 4, and show **one drawing
# of each**: the **support set**. Then come new drawings of the same five letters, the **queries**,
# and the task is to give each its number. Support set and queries together are an **episode**; this
# one is **5-way 1-shot**: five letters, one drawing each. (Now and then a letter will look like one
# that you know, because scripts borrow shapes from each other. Lesson 01 looks for such twins.)

# %%
tasks = EpisodeSampler(test, n_way=5, n_shot=1, n_query=15)
episode = tasks.episodes(seed=21, start=0, n_tasks=1)[0]
drawn = plot_episode(episode)
describe(
    drawn,
    "One episode. Left, the support set: one drawing of each of five letters, labelled 0 to 4. "
    "Right, the queries: new drawings of the same letters, those of one letter in one row.",
)
plt.show()
print("support", tuple(episode.support_x.shape), "labels", episode.support_y.tolist())
print("query  ", tuple(episode.query_x.shape))

# %% [markdown]
# Let us read the shapes. The support set is 5 pictures with 1 grey channel of 28 by 28 pixels. The
# queries are 75 such pictures, 15 of each letter. The figure puts the queries beside their letter;
# the player does not see that.
#
# A random guess is right one time in five: 20 %. That is called **chance**.
#
# ## 3. Your turn
#
# At the top is a query; below it are the five letters. Press the button with the number of the
# letter that you recognise (or go to it with the Tab key and press Space). The true letter is then
# framed, and marks below the letters show who chose which. Only the first answer in a round counts.
#
# You play against two machines. **Nearest pixel** is a rule that we will look into in a moment. (In
# code, it is a network that only puts the pixels in one long row.) **ProtoNet** comes with the
# course: a network that has practised on the letters of meta-train. In section 7 you will train one
# yourself.
#
# This is what a finished round looks like. You can also play from Python: here someone answered 2.
# That was wrong, since the true letter is 3. Nearest pixel made the same mistake, and ProtoNet was
# right.

# %%
pixel = PrototypicalNetwork(nn.Flatten())
ready, _ = load_pretrained("prototypical_glyphs")
rivals = {"nearest pixel": pixel, "ProtoNet": ready}
example = LetterGame(rivals, seed=1)
example.set(round=2, answer=2)
example

# %% [markdown]
# Now your own game.
#
# > **Predict.** In how many of 20 rounds will you be right?
#
# Run the cell and play 20 rounds. The line below the buttons keeps the score, and its link saves
# all the answers as a table. Later, you can play with more letters, or with the letters of one
# script only. The picture moves only while a kernel runs: if clicking does nothing, run the cells
# from the top.

# %%
game = LetterGame(rivals, seed=2)
game

# %% [markdown]
# How many did you get? People are good at this: in an experiment of Lake et al. (2015) they were
# right 95.5 % of the time with 20 handwritten letters to choose from, where guessing gives 5 %.
#
# Think about what you just did. You saw *one* drawing of a letter from a script that you probably
# cannot read, and you recognised it in another hand. The one drawing does not say which changes
# leave a letter the same. You have seen many letters before, in many hands. Is that experience what
# helps you? We cannot take it away from you, but in section 8 we take it away from a machine.

# %% [markdown]
# ## 4. The simplest machine
#
# Nearest pixel compares a query with each support picture, pixel by pixel, and answers with the
# label of the picture that differs the least from it. "Differs" means: subtract the two pictures,
# square, add up. We call that the **squared distance**.
#
# Do it by hand once, with pictures of 2 by 2 pixels: 1 is ink and 0 is paper. Letter 0 is a
# bar on the left, letter 1 a bar on top. The query is a bar on the left whose lower half came out
# grey.

# %%
left_bar = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
top_bar = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
query = torch.tensor([[1.0, 0.0], [0.5, 0.0]])
bars = plot_items([left_bar, top_bar, query], titles=["letter 0", "letter 1", "query"])
describe(
    bars,
    "Three pictures of 2 by 2 pixels. Letter 0: the left column is ink. Letter 1: the top row is "
    "ink. Query: the left column, its upper pixel black and its lower pixel grey.",
)
plt.show()

# %% [markdown]
# On paper: from the query to letter 0 only one pixel differs, by 0.5, so the squared distance is
# 0.25. From the query to letter 1, two pixels differ, by 1 and by 0.5, which makes 1.25. Now the
# same with loops.

# %%
for label, letter in enumerate([left_bar, top_bar]):
    total = 0.0
    for row in range(2):
        for column in range(2):
            total += float(query[row, column] - letter[row, column]) ** 2
    print(f"letter {label}: squared distance {total}")

# %% [markdown]
# PyTorch does this without loops, for all letters at once. The course package also provides the
# rule as a learner: `adapt` takes the support set and returns a predictor, and the predictor gives
# each query a **score** for each label. The score is minus the squared distance, so the largest
# score wins. (`query[None]` makes a list of one query, because a predictor always takes many.)

# %%
letters = torch.stack([left_bar, top_bar])  # (2, 2, 2): letters, rows, columns
print("without loops:", (query - letters).square().sum(dim=(1, 2)).tolist())
predictor = pixel.adapt(letters, torch.tensor([0, 1]))
print("the package:  ", predictor(query[None])[0].tolist())

# %% [markdown]
# All three agree, and the answer is letter 0.
#
# > **Predict.** Here is a new query: letter 0 again, in solid ink, but moved one pixel to the
# > right. What are its two distances? What will nearest pixel say?

# %%
moved_bar = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
scores = predictor(moved_bar[None])[0]
print("squared distances:", (-scores).tolist())
print("nearest pixel says letter", int(scores.argmax()))

# %% [markdown]
# It says letter 1, and that is wrong. The moved bar shares no ink with letter 0, so their distance
# is 4, the largest that two such pictures can have. To you a moved bar is still a bar. Pixels do not
# know that.
#
# ## 5. Warm-up exercise (3 minutes, easy)
#
# How good is nearest pixel on whole letters? To find out, we need to count. Write a function that
# takes the answers `(Q,)` and the true labels `(Q,)` and returns the **share that is right**, a
# number from 0 to 1.
#
# For example, the answers 0, 1, 1, 4, 2 and the truth 0, 1, 3, 4, 0 agree in three of five places,
# so the share is 0.6. An easier step first: what does `answers == truth` give?

# %%
answers, truth = torch.tensor([0, 1, 1, 4, 2]), torch.tensor([0, 1, 3, 4, 0])
print(answers == truth)

# %% [markdown]
# Replace the line that says `raise` with your own code, and run the cell. As long as that line is
# there, the check says that nothing was attempted.


# %%
def my_share_right(answers, truth):
    raise NotImplementedError


check(my_share_right)

# %% [markdown]
# Stuck? There are hints below the answer of a check. Click on *Hint 1*, or go there with Tab and
# press Enter, to unfold it; the next hint is inside. Our solution is below the hints. It works this
# way in every lesson.
#
# Does the check say "correct"? Then you know how every exercise of this course works. If it says
# "not attempted yet", you can still go on: from here we use the package's `share_right`.
#
# The course remembers what you have done. `progress()` shows all lessons, `progress(0)` this one;
# in a terminal it is `metalearn-edu progress`.

# %%
progress(0)

# %% [markdown]
# ## 6. Nearest pixel, measured
#
# We begin with the episode from above: learn from its five support pictures, then name its 75
# queries.

# %%
predictor = pixel.adapt(episode.support_x, episode.support_y)
answers = predictor(episode.query_x).argmax(dim=1)
share = share_right(answers, episode.query_y)
print("right:", round(75 * share), "of 75 queries")

# %% [markdown]
# One episode does not say much, because five other letters may be easier or harder. So we draw 600
# fresh episodes and take the mean. That is the **meta-test accuracy**. The mean of 600 is not exact
# either, so we always give a **95 % interval** with it, written with $\pm$: if we repeated this
# with other episodes, about 95 of 100 such intervals would contain the true value. Lesson 02 is all
# about that.
#
# > **Predict.** Chance is 20 %. Where will nearest pixel be on 600 episodes: near 20, near 50, or
# > near 90 %?

# %%
pixel_result = evaluate_meta_learner(pixel, tasks, n_episodes=600)
print(f"nearest pixel: {100 * pixel_result.mean:.0f} % of {pixel_result.n_episodes} episodes,")
print(f"± {100 * pixel_result.half_width:.1f} points; chance {100 * pixel_result.chance:.0f} %")

# %% [markdown]
# Fewer than half of the answers are right, but 45 % is well above 20 %, so pixels do carry
# information. Compare it with your own rounds.
#
# ## 7. A machine that has learned to learn
#
# You have experience with other letters, and nearest pixel has none. So let us give a machine some
# experience: 1,300 small episodes, drawn from meta-train. In each one it sees one drawing of each
# of 30 letters, answers three queries of each, and is changed a little so that it would have
# answered better. One such change is an **outer step**. The machine never practises a meta-test
# letter. It practises *learning from one drawing*.
#
# The machine is called a **Prototypical Network**, ProtoNet for short. It works like nearest pixel
# with one change: a small network first turns each picture into 32 numbers, and those are compared
# instead of pixels. Training shapes the network. You will build it yourself in lesson 03; today we
# just run it.
#
# > **Predict.** After half a minute of training, what will its meta-test accuracy be, on scripts that
# > it has never seen?
#
# The next cell trains. It takes about half a minute, more on a busy computer, and a bar shows the
# progress.

# %%
torch.manual_seed(0)
protonet = PrototypicalNetwork(ConvNet(width=32, downsample="stride"))
practice = EpisodeSampler(train, n_way=30, n_shot=1, n_query=3)
history = meta_train(
    protonet, practice, n_steps=1300, n_tasks_per_batch=1, meta_lr=0.006, schedule="cosine"
)
print("episodes practised:", history.n_steps)

# %% [markdown]
# The **loss** measures how wrong the answers are; 0 would mean always right, with full confidence.
# (It is minus the natural logarithm of the probability given to the right answer, hence its unit,
# the **nat**. A random guess among 30 letters has the loss $\ln 30 = 3.4$.) Each point of the pale
# line is one episode, always with other letters, and the dark line is a running mean.

# %%
ax = plot_history(history, label="ProtoNet")
ax.set(ylim=(0, 4))
describe(
    ax,
    "Loss in nats against the outer step, 0 to 1,300, with its running mean: it falls steeply in the "
    f"first hundred steps and then slowly; the last 100 steps average {sum(history.losses[-100:]) / 100:.1f}.",
)
plt.show()

# %% [markdown]
# The loss falls fast at first and then slowly. That shows how well the machine does in practice
# episodes. What counts is how it does on new letters of new scripts, so we score it on the same 600
# meta-test episodes as nearest pixel.

# %%
protonet_result = evaluate_meta_learner(protonet, tasks, n_episodes=600)
ax = plot_intervals({"nearest pixel": pixel_result, "ProtoNet": protonet_result})
describe(
    ax,
    "Meta-test accuracy, 5-way 1-shot, with 95 % intervals: nearest pixel "
    f"{100 * pixel_result.mean:.1f} ± {100 * pixel_result.half_width:.1f} %, ProtoNet "
    f"{100 * protonet_result.mean:.1f} ± {100 * protonet_result.half_width:.1f} %, chance 20 %.",
)
plt.show()
assert protonet_result.mean > 0.85, f"{protonet_result.mean:.3f}: was it trained?"

# %% [markdown]
# ProtoNet has 93 to 94 %: three trainings with different random numbers gave 93.9, 93.2 and 93.5 %,
# each ± 0.5 points. Nearest pixel has about 45 %, and chance is 20 %. Your own run may differ from
# ours by a point or so, because computers round differently and training amplifies the difference.
# So a machine, too, needs only one drawing of each letter. It *practised* learning from one
# drawing, on other letters: that is *learning to learn*, or **meta-learning**, and it is what this
# course is about.
#
# Two remarks about these numbers, because this course is strict about numbers. The interval is
# about the *episodes*: it says how much the mean would move with other episodes, not with another
# training run. And we did not choose the settings of the training by looking at meta-test; there is
# a third set for such choices, **meta-val**, with scripts of its own.
#
# ## 8. How much practice?
#
# Is it the *other letters* that help, or just the 1,300 steps of training? To find out, we keep the
# steps and take letters away. We trained the same network with the same recipe on 10, 50, 200 and
# all 890 letters of meta-train, three times each, with different random numbers. The practice
# episodes are 10-way, because ten letters allow no more. (The twelve runs take about five minutes,
# so we stored their results; `python tools/practice_letters.py` measures them again.)
#
# > **Predict.** A network practises on ten letters until it never confuses them. What is its
# > accuracy on *new* letters: the same as nearest pixel's, halfway to 94 %, or almost 94 %?
#
# > **Explore.** Move the slider from left to right, and guess each point before it appears. If you
# > have played, your own score stands on the right.

# %%
practice_explorer = PracticeExplorer(game)
practice_explorer

# %% [markdown]
# **What we saw.** The network learns ten letters by heart: it has 100 % on the practised ones, but
# only 48 to 51 % on new ones, hardly more than nearest pixel's 45 %. With 50 letters it is 68 to 71
# %, with 200 it is 84 to 85 %, and with all 890 it is 86 % (ranges over the three trainings). The
# number of steps is the same each time, so what makes the difference is the number of *different*
# letters. On the practised letters, the accuracy falls from 100 to 92 %, so the two curves come
# closer together. (Section 7 has a higher figure for the same 890 letters: its practice is 30-way.)
#
# ## 9. You against the machine
#
# Let the network that you trained join your game. It answers all rounds, including those that you
# have already played. Run the cell, then play on above or here; both show the same game.
#
# > **Explore.** Which letters fool the machines but not you? And which fool you? What do they have in
# > common? Then play ten rounds with `n_way` 20: who loses most?

# %%
game.add_rival("my ProtoNet", protonet)
game

# %% [markdown]
# Your score over 20 rounds is a rough figure: if you were right in 18 of 20, your true share may
# well be anywhere between 70 and 97 %. So if you and the machine differ by two rounds, call it a
# draw.

# %%
print(game.score())

# %% [markdown]
# For the machines we can play far more rounds. Here are 200 episodes with 20 letters.

# %%
twenty = EpisodeSampler(test, n_way=20, n_shot=1, n_query=5)
results = {
    name: evaluate_meta_learner(learner, twenty, n_episodes=200)
    for name, learner in {"nearest pixel": pixel, "ProtoNet": protonet}.items()
}
ax = plot_intervals(results, split="20-way 1-shot")
describe(
    ax,
    "The same two learners with 20 letters to choose from: "
    + ", ".join(f"{n} {100 * e.mean:.1f} ± {100 * e.half_width:.1f} %" for n, e in results.items())
    + "; chance is 5 %.",
)
plt.show()

# %% [markdown]
# **What we saw.** With 20 letters everyone does worse, but some lose more than others. Nearest
# pixel falls from about 45 to about 23 %, while the network still has 78 to 79 % (the same three
# trainings). In the first 50 rounds of this game, the ProtoNet that comes with the course is right
# 48 times with 5 letters and 42 times with 20; nearest pixel is right 20 and 10 times. Your own
# rounds show whether the network confuses the same letters as you do.

# %% [markdown]
# ### Draw your own (optional)
#
# So far, all the letters were ours. Now invent some. This part is only for fun: nothing later
# builds on it. Draw a character on the white square with the mouse, a pen or a finger, choose the
# next number and draw another, two to ten in all. Then choose *query* and draw one of them again.
# While you draw, the network says which character it recognises, and how sure it is. If you cannot
# draw or prefer not to, pick samples from the menu.
#
# Here we pick three letters and a query from Python.

# %%
drawing = DrawYourOwn()
drawing.set(place="0", sample="tifinagh letter yey, drawing 1")
drawing.set(place="1", sample="lisu letter kha, drawing 1")
drawing.set(place="2", sample="old italic letter esh, drawing 1")
drawing.set(place="query", sample="lisu letter kha, drawing 2")
drawing

# %% [markdown]
# *Start again* gives you an empty square. *Save* adds your characters to a folder, one folder per
# character, which `load_image_folder` reads as a data set of your own. If you draw them once more and
# save again, it holds two drawings of each.
#
# > **Explore.** How much can you change the second drawing (turn it, squeeze it, leave out a loop)
# > before the network takes it for another character? Is another learner from the menu more
# > tolerant?
#
# We can test turning on many letters: we turn every query, but not its support picture.

# %% tags=["nbval-ignore-output"]
protonet.eval()  # as in a test: no picture depends on the others
batch = tasks.episodes(seed=0, start=0, n_tasks=200)
for turns in (0, 1, 2):
    queries = torch.rot90(batch.query_x, turns, dims=(-2, -1))
    with torch.no_grad():
        answers = protonet(batch.support_x, batch.support_y, queries).argmax(dim=-1)
    right = 100 * share_right(answers.flatten(), batch.query_y.flatten())
    print(f"queries turned by {90 * turns:3} degrees: {right:.0f} % right")

# %% [markdown]
# **What we saw.** The network names about 94 % of the queries correctly as they are, 35 to 37 %
# after a quarter turn, and 44 to 47 % upside down (the three trainings again). The network has
# practised on letters that lean a little, and never on the same letter lying on its side. Whether
# that is a fault depends on the task: a turned letter can be another letter.

# %% [markdown]
# ## 10. Limits, and the papers' numbers
#
# Real handwriting differs from our glyphs in one way: the 20 drawings of a glyph all come from one
# printed shape, while 20 people may draw the same letter with different strokes. The classic data
# set for one-shot learning is **Omniglot**: 1,623 letters of 50 alphabets, each drawn by 20 people.
#
# | what | letters | way, shot | accuracy | source |
# |---|---|---|---|---|
# | nearest pixel | Glyphs, meta-test | 5-way 1-shot | about 45 % | ours, 600 episodes |
# | ProtoNet, half a minute of training | Glyphs, meta-test | 5-way 1-shot | 93 to 94 % | ours, 600 episodes, three trainings |
# | pixels, compared by cosine | Omniglot | 5-way 1-shot | 41.7 % | Vinyals et al. (2016) |
# | ProtoNet, fully trained | Omniglot | 5-way 1-shot | 98.8 % | Snell et al. (2017) |
# | people | Omniglot, letters of one alphabet | 20-way 1-shot | 95.5 % | Lake et al. (2015) |
#
# **Do not compare the rows across data sets.** The letters differ, the drawings vary in other ways,
# and the network of the paper is larger and was trained far longer. The people even had a different
# task, with 20 letters of a single alphabet. What the rows share is the pattern: on both data sets,
# pixels do badly, and a network that practised on *other* letters does well.
#
# ## 11. The course
#
# Each lesson asks one question. This is the plan; you find the lessons in the folder of this
# notebook.
#
# | lesson | question |
# |---|---|
# | 00 start here | Can you learn a letter from one example? |
# | 01 tasks and episodes | What is a task? |
# | 02 honest evaluation | How good is it really? |
# | 03 Prototypical Networks | What if a class is its mean? |
# | 04 Relation Networks | Can the distance be learned? |
# | 05 MAML | What if the start is learned? |
# | 06 Meta-SGD | ... and the step sizes too? |
# | 07 what MAML learns | Does it need second order? |
# | 08 memory-augmented networks | Can a memory learn within the episode? |
# | 09 task representations | Can a task be a vector? |
# | 10 in-context learning | Is in-context learning meta-learning? |
# | 11 which algorithm | Which one, when? |
# | 12 capstone | Does it work on real data, and on yours? |
#
# Take 01 to 03 in order. After these, each lesson names what it builds on.
#
# **Your own copy.** Running cells changes the notebook file. That is fine. When you want our version
# back, close the notebook and type in a terminal, in the folder of the course:
#
# ```
# git restore notebooks
# ```
#
# It restores every notebook and **throws your changes away**, so first copy what you want to keep (in
# JupyterLab: right-click on the file, *Duplicate*). If you have the course from a ZIP file and not
# from git, unpack it again. If cells behave strangely, first choose *Restart Kernel and Run All
# Cells...* in the menu *Kernel*: that solves most problems.
#
# ## Recap
#
# - You can **read an episode**: a support set to learn from, queries to name; `n_way` letters with
#   `n_shot` drawings each.
# - You can **measure a rule**: the mean over many fresh episodes, with a 95 % interval, beside chance.
# - You can **explain what is wrong with pixels**: a bar that moves by one pixel is as far as
#   possible from where it was.
# - You have **trained a network that can learn a letter it has never seen from a single drawing**,
#   and you have seen that the number of *other* letters it practised makes the difference.
# - You can **use the course**: predict, try, check, explore, and restore.
#
# **Check yourself.**
#
# <details><summary>1. What is chance in a 20-way 1-shot episode? And in 20-way 5-shot?</summary>
# Both times one in twenty, 5 %. A random guess does not look at the drawings, so their number does
# not matter.
# </details>
# <details><summary>2. Why must the meta-test letters be kept out of training?</summary>
# The question is how well the machine learns <em>new</em> letters. Had it practised these very
# letters, a good result could be memory and not learning. Section 8 shows the difference: the
# network knew ten letters by heart, and hardly any new ones.
# </details>
# <details><summary>3. Machine A has 91.0 ± 0.7 %, machine B has 90.6 ± 0.7 %, both over 600
# episodes. Is A better?</summary>
# These numbers do not show it: the difference is smaller than either interval. Lesson 02 shows how
# to compare two machines more sharply, on the same episodes.
# </details>
#
# **Next:** [01 · What is a task?](01_tasks_and_episodes.ipynb)
#
# **References.** Lake, Salakhutdinov & Tenenbaum (2015), *Human-level concept learning through
# probabilistic program induction*, Science 350. Vinyals et al. (2016), *Matching Networks for
# One Shot Learning*, NeurIPS. Snell, Swersky & Zemel (2017), *Prototypical Networks for Few-shot
# Learning*, NeurIPS.
