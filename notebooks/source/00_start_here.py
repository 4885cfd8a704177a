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
# - *explain* why comparing pixels is a poor way to compare letters,
# - *train* a network that has learned how to learn letters, and compare it with yourself,
# - *use* the course: predictions, exercises, explorers, and how to get a clean notebook back.
#
# **30 minutes.** Prerequisites: a little Python. You need not know PyTorch; what we use of it is
# shown as we go. No theory today: we only look at what is possible.
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
# next. Run them from top to bottom; each one needs those above it. The pictures and texts that you
# see before you run anything are from our own run.
#
# You will meet four things again and again:
#
# - **Predict.** A question before each result. Write your guess down first, on paper. A guess that
#   turns out wrong teaches more than a result that you only read.
# - **Exercise.** A function to write. `check` looks at it and answers at once; hints and our solution
#   are folded below its answer. Nothing later depends on your code, so you can go on at any time.
#   Some questions come with answers to choose from; each answer says why it is right or not.
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
from metalearn_edu.plotting import (
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
# hand. There are two piles that matter today. From **meta-train** a machine may learn all it
# likes. **Meta-test** is for judging. No writing system is in both.

# %%
train, test = load_glyphs("meta-train"), load_glyphs("meta-test")
for data in (train, test):
    print(data.name, "-", data.n_classes, "letters:", ", ".join(data.groups))
print("scripts in both:", sorted(set(train.groups) & set(test.groups)))

# %% [markdown]
# Each row below shows ten drawings of one letter of the meta-test pile. They are turned, squeezed,
# bent, thick or thin, and still you see at once that a row is *one* letter.

# %%
plot_items(torch.cat([test.items_of(c)[:10] for c in (3, 60, 100, 150)]))
plt.show()

# %% [markdown]
# ## 2. One small problem
#
# Here is the problem of this course in one picture. We take five letters that you have never seen,
# give them the numbers 0 to 4, and show **one drawing of each**: the **support set**. Then come new
# drawings of the same five letters, the **queries**, and each must be given its number. Support set
# and queries together are an **episode**; this one is **5-way 1-shot**: five letters, one drawing
# each.

# %%
tasks = EpisodeSampler(test, n_way=5, n_shot=1, n_query=15)
episode = tasks.episodes(seed=4, start=0, n_tasks=1)[0]
plot_episode(episode)
plt.show()
print("support", tuple(episode.support_x.shape), "labels", episode.support_y.tolist())
print("query  ", tuple(episode.query_x.shape))

# %% [markdown]
# Let us read the shapes. The support set is 5 pictures with 1 grey channel of 28 by 28 pixels. The
# queries are 75 such pictures, 15 of each letter. In the figure the queries stand beside their
# letter; the one who must answer does not see that.
#
# Whoever guesses is right in one of five cases, 20 %. That is called **chance**.
#
# ## 3. Your turn
#
# Now play. On top is a query, below it are the five letters. Press the button with the number of
# the letter (or go to it with the Tab key and press Space). The true letter is then framed, and
# marks below the letters show who chose which. Only the first answer in a round counts.
#
# You play against two machines. **Nearest pixel** is a rule that we will look into in a moment. (In
# code it is a network that does nothing but write the pixels in a row.) **ProtoNet** comes with the
# course: a network that has practised on the letters of meta-train. In section 7 you will train one
# yourself.
#
# > **Predict.** In how many of 20 rounds will you be right?

# %%
pixel = PrototypicalNetwork(nn.Flatten())
ready, _ = load_pretrained("prototypical_glyphs")
game = LetterGame({"nearest pixel": pixel, "ProtoNet": ready})
game

# %% [markdown]
# The picture moves only while a kernel runs: if clicking does nothing, run the cells from the top.
# The game can also be moved from Python. Here someone gave the answer 3 in round 2. That was wrong:
# the true letter is 4, and both machines knew.

# %%
game.set(round=2, answer=3)
game

# %% [markdown]
# The next line starts the game again, for you. Then play your 20 rounds. The line below the buttons
# keeps the score, and its link saves all answers as a table. Later, if you like, play with more
# letters, or with those of one script only.

# %%
game.reset()

# %% [markdown]
# How many did you get? People are good at this: in an experiment of Lake et al. (2015) they were
# right in 95.5 % of the cases with 20 handwritten letters to choose from, where guessing gives 5 %.
#
# Think about what you just did. You saw *one* drawing of a letter from a script that you probably
# cannot read, and you knew it again. You could not have learned that from the one drawing alone. You
# have seen thousands of letters before, and you know what a change of hand does to a letter, and
# what it does not.

# %% [markdown]
# ## 4. The simplest machine
#
# **Nearest pixel** compares a query with each support picture, pixel by pixel, and answers with the
# label of the picture that differs least. "Differs" means: subtract the two pictures, square, add
# up. We call that the **squared distance**.
#
# Do it by hand once. Pictures of 2 by 2 pixels, with 1 for ink and 0 for paper. Letter 0 is a bar
# on the left, letter 1 a bar on top. The query is a bar on the left whose lower half came out grey.

# %%
left_bar = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
top_bar = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
query = torch.tensor([[1.0, 0.0], [0.5, 0.0]])
plot_items([left_bar, top_bar, query], titles=["letter 0", "letter 1", "query"])
plt.show()

# %% [markdown]
# On paper: from the query to letter 0 only one pixel differs, by 0.5, so the squared distance is
# 0.25. To letter 1, two pixels differ, by 1 and by 0.5: that makes 1.25. Now the same with loops.

# %%
for label, letter in enumerate([left_bar, top_bar]):
    total = 0.0
    for row in range(2):
        for column in range(2):
            total += float(query[row, column] - letter[row, column]) ** 2
    print(f"letter {label}: squared distance {total}")

# %% [markdown]
# PyTorch does that without loops, for all letters at once. And the course's package has it as a
# learner: `adapt` takes the support set and gives back a predictor, and the predictor gives each
# query a **score** for each label. The score is minus the squared distance, so the largest score
# wins. (Writing `query[None]` makes a list of one query, for a predictor always takes many.)

# %%
letters = torch.stack([left_bar, top_bar])  # (2, 2, 2): letters, rows, columns
print("without loops:", (query - letters).square().sum(dim=(1, 2)).tolist())
predictor = pixel.adapt(letters, torch.tensor([0, 1]))
print("the package:  ", predictor(query[None])[0].tolist())

# %% [markdown]
# All three agree, and the answer is letter 0.
#
# > **Predict.** A new query: letter 0 once more, in perfect ink, but moved to the right by one
# > pixel. What are its two distances? What will nearest pixel say?

# %%
moved_bar = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
scores = predictor(moved_bar[None])[0]
print("squared distances:", (-scores).tolist())
print("nearest pixel says letter", int(scores.argmax()))

# %% [markdown]
# It says letter 1, and that is wrong. The moved bar shares no pixel with letter 0, so their
# distance is 4, the largest that there is. To you a moved bar is still a bar. Pixels do not know
# that.
#
# ## 5. Warm-up exercise (3 minutes, easy)
#
# How good is nearest pixel on real letters? To say so we need to count. Write a function that takes
# the answers `(Q,)` and the true labels `(Q,)` and returns the **share that is right**, a number
# from 0 to 1.
#
# For example, the answers 0, 1, 1, 4, 2 and the truth 0, 1, 3, 4, 0 agree in three of five places,
# so the share is 0.6. An easier step first: what does `answers == truth` give?

# %%
answers, truth = torch.tensor([0, 1, 1, 4, 2]), torch.tensor([0, 1, 3, 4, 0])
print(answers == truth)

# %% [markdown]
# Replace the line with `raise` by your own, and run the cell. As long as the line stands there, the
# check says that nothing was attempted.


# %%
def my_share_right(answers, truth):
    raise NotImplementedError


check(my_share_right)

# %% [markdown]
# Stuck? Below the answer of a check stand hints. Click on *Hint 1*, or go there with Tab and press
# Enter, to unfold it; the next hint is inside. Our solution is below the hints. So it is in every
# lesson.
#
# Does the check say "correct"? Then you know how every exercise of this course works. If it says
# "not attempted yet" you can still go on: from here we use the package's `share_right`.
#
# The course remembers what you have done. `progress()` shows all lessons, `progress(0)` this one;
# in a terminal it is `metalearn-edu progress`.

# %%
progress(0)

# %% [markdown]
# ## 6. Nearest pixel, measured
#
# First the one episode from above: learn from its five support pictures, name its 75 queries.

# %%
predictor = pixel.adapt(episode.support_x, episode.support_y)
answers = predictor(episode.query_x).argmax(dim=1)
share = share_right(answers, episode.query_y)
print("right:", round(75 * share), "of 75 queries")

# %% [markdown]
# One episode says little: five other letters may be easier or harder. So we draw 600 fresh episodes
# and take the mean. That is the **meta-test accuracy**. The mean of 600 is not exact either, so we
# always give a **95 % interval** with it, written with $\pm$: were we to repeat the whole thing with
# other episodes, about 95 of 100 such intervals would hold the true value. Lesson 02 is all about
# that.
#
# > **Predict.** Chance is 20 %. Where will nearest pixel be on 600 episodes: near 20, near 50, or
# > near 90 %?

# %%
pixel_result = evaluate_meta_learner(pixel, tasks, n_episodes=600)
print("episodes:", pixel_result.n_episodes)
print("better than chance:", pixel_result.interval[0] > pixel_result.chance)
print("between 38 and 52 %:", 0.38 < pixel_result.mean < 0.52)

# %% [markdown]
# The mean is about 45 %, less than half, with an interval of less than one percentage point to
# either side; the exact figures stand in a plot below. So pixels do tell something: 45 is well above
# 20. But compare it with your own rounds.
#
# ## 7. A machine that has learned to learn
#
# What did you have that nearest pixel lacks? Experience with other letters. So let us give a
# machine that: more than a thousand small episodes, drawn from the meta-train pile. In each one it sees one
# drawing of each of 30 letters, answers three queries of each, and is changed a little so that it
# would have answered better. It never practises a meta-test letter. It practises *learning from one
# drawing*.
#
# The machine is called a **Prototypical Network**, ProtoNet for short. It works like nearest pixel
# with one change: a small network first turns each picture into 32 numbers, and those are compared
# instead of pixels. Training shapes the network. In three lessons you will have built it from
# nothing; today we just let it run.
#
# > **Predict.** After half a minute of training, what will its meta-test accuracy be, on scripts that
# > it has never seen?
#
# The next cell trains. It takes about half a minute, more on a busy computer, and a bar shows how
# far it is.

# %%
torch.manual_seed(0)
protonet = PrototypicalNetwork(ConvNet(width=32, downsample="stride"))
practice = EpisodeSampler(train, n_way=30, n_shot=1, n_query=3)
history = meta_train(
    protonet, practice, n_steps=1300, n_tasks_per_batch=1, meta_lr=0.006, schedule="cosine"
)
print("episodes practised:", history.n_steps)

# %% [markdown]
# The **loss** says how far the answers are from right; 0 would be perfect and sure. Every dot of
# the pale line is one episode, always with other letters, and the dark line is a running mean.

# %%
ax = plot_history(history, label="ProtoNet")
ax.set(ylim=(0, 4))
plt.show()

# %% [markdown]
# The loss falls fast at first and then slowly. That is how well the machine does at practice. What
# counts is the other pile: new letters, new scripts, 600 episodes, the very same ones that nearest
# pixel had.

# %%
protonet_result = evaluate_meta_learner(protonet, tasks, n_episodes=600)
plot_intervals({"nearest pixel": pixel_result, "ProtoNet": protonet_result})
plt.show()
print("intervals apart:", pixel_result.interval[1] < protonet_result.interval[0])
print("above 85 %:", protonet_result.mean > 0.85)

# %% [markdown]
# About 94 % in our run, with an interval of about half a point to either side, where nearest pixel
# has about 45 % and chance is 20 %. Your own run may differ from ours by a point or so, for
# computers round differently and training magnifies it. One drawing of each letter is enough for
# the machine as well, **once it has practised on other letters**. That is *learning to learn*, or
# **meta-learning**, and it is what this course is about.
#
# Two things about these numbers, since the course is strict with numbers. The interval speaks of
# the *episodes*: it says how much the mean would move with other episodes, not with another
# training run. And we did not choose the settings of the training by looking at meta-test; there is
# a third pile for that, **meta-val**, with scripts of its own.
#
# ## 8. You against the machine
#
# Let the network that you trained join your game. It answers all rounds, those that you have played
# too. Run the cell, then play on above or here; both show the same game.
#
# > **Explore.** Which letters fool the machines and not you? And which fool you? Can you say what
# > they have in common? Then play ten rounds with `n_way` 20: who suffers most?

# %%
game.add_rival("my ProtoNet", protonet)
game

# %% [markdown]
# Your share of 20 rounds is a rough figure: if you were right in 18 of 20, your true share may well
# be anywhere between 70 and 97 %. So if you and the machine differ by two rounds, call it a draw.

# %%
print(game.score())

# %% [markdown]
# ### Draw your own (optional)
#
# So far all letters were ours. Now invent some: this part is only for play, needs no data, and
# nothing later builds on it. Draw a character on the white square with the mouse, a pen or a finger,
# choose the next number and draw another, two to ten in all. Then choose *query* and draw one of them
# again. While you draw, the network says which one it takes it for and how sure it is. If you cannot
# or do not want to draw, pick samples from the menu.
#
# Here three letters and a query are picked from Python.

# %%
drawing = DrawYourOwn()
drawing.set(place="0", sample="tifinagh letter yey, drawing 1")
drawing.set(place="1", sample="lisu letter kha, drawing 1")
drawing.set(place="2", sample="old italic letter esh, drawing 1")
drawing.set(place="query", sample="lisu letter kha, drawing 2")
drawing

# %% [markdown]
# *Start again* gives you an empty square. *Save* adds your characters to a folder, one folder a
# character, which `load_image_folder` reads as a data set of your own; drawn anew and saved again,
# they are two drawings of each.
#
# > **Explore.** How different may the second drawing be, turned, squeezed, with a loop left out, until
# > the network takes it for another? Does another learner from the menu forgive more?

# %% [markdown]
# ## 9. Limits, and the papers' numbers
#
# Real handwriting is harder than our glyphs in one way: the 20 drawings of a glyph all come from
# one printed shape, while 20 people do not draw a letter by the same plan. The classic data set for
# one-shot learning is **Omniglot**: 1,623 letters of 50 alphabets, each drawn by 20 people.
#
# | what | letters | way, shot | accuracy | source |
# |---|---|---|---|---|
# | nearest pixel | Glyphs, meta-test | 5-way 1-shot | about 45 % | ours, 600 episodes |
# | ProtoNet, half a minute of training | Glyphs, meta-test | 5-way 1-shot | about 94 % | ours, 600 episodes |
# | pixels, compared by cosine | Omniglot | 5-way 1-shot | 41.7 % | Vinyals et al. (2016) |
# | ProtoNet, fully trained | Omniglot | 5-way 1-shot | 98.8 % | Snell et al. (2017) |
# | people | Omniglot, letters of one alphabet | 20-way 1-shot | 95.5 % | Lake et al. (2015) |
#
# **Do not compare the rows across data sets.** The letters differ, the drawings vary in other ways,
# and the network of the paper is larger and was trained far longer. The people even had another
# task: 20 letters of a single alphabet look more alike than five from anywhere. What does carry
# over is the pattern: pixels do badly, and practice on *other* letters helps greatly.
#
# ## 10. The course
#
# Each lesson asks one question. This is the plan; what lies in the folder beside this notebook is
# ready to open.
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
# It brings back every notebook as it came and **throws your changes away**, so copy what you want
# to keep first (in JupyterLab: right-click on the file, *Duplicate*). If you have the course from a
# ZIP file and not from git, unpack it once more. If cells behave strangely,
# choose *Restart Kernel and Run All Cells...* in the menu *Kernel* first: that cures most troubles.
#
# ## Recap
#
# - You can **read an episode**: a support set to learn from, queries to name; `n_way` letters with
#   `n_shot` drawings each.
# - You can **measure a rule**: the mean over many fresh episodes, with a 95 % interval, beside chance.
# - You can **explain what is wrong with pixels**: a bar that moves by one pixel is as far from
#   itself as can be.
# - You have **trained a network that learns from one drawing**, on letters that it had never seen.
# - You can **use the course**: predict, try, check, explore, and restore.
#
# **Check yourself.**
#
# <details><summary>1. What is chance in a 20-way 1-shot episode? And in 20-way 5-shot?</summary>
# Both times one in twenty, 5 %. Guessing does not look at the drawings, so their number does not
# matter.
# </details>
# <details><summary>2. Why must the meta-test letters be kept out of training?</summary>
# The question is how well the machine learns <em>new</em> letters. Had it practised these very
# letters, a good result could be memory and not learning.
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
