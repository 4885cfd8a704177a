"""Text alternatives of figures: said by plot functions, or read back from what is drawn."""

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from metalearn_edu import plotting
from metalearn_edu.evaluation import Evaluation
from metalearn_edu.plotting import display
from metalearn_edu.tasks import Sinusoids
from metalearn_edu.training import History


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def axes():
    return plotting.new_figure().add_subplot()


def text_of(ax):
    return plotting.alt_text(ax.figure)


# ---------------------------------------------------------------- what a person says


def test_the_last_description_counts_on_one_line():
    ax = axes()
    plotting.describe(ax, "old")
    plotting.describe(ax, "The loss\n    falls.")
    assert text_of(ax) == "The loss falls."
    plotting.describe(ax.figure, "All of it.")
    assert text_of(ax) == "All of it."


def test_an_empty_description_is_refused():
    with pytest.raises(ValueError, match="say what the figure shows"):
        plotting.describe(axes(), " ")


def test_panels_are_counted_and_colour_bars_are_none():
    fig = plotting.new_figure()
    left, right = fig.subplots(1, 2)
    fig.colorbar(left.imshow([[1, 2], [3, 4]]), ax=left)
    fig.suptitle("two views")
    plotting.describe(left, "A table.")
    plotting.describe(right, "Nothing.")
    assert plotting.alt_text(fig) == ("two views. Panel 1 of 2: A table. Panel 2 of 2: Nothing.")


# ---------------------------------------------------------------- what is read back


def test_a_line_is_read_with_its_ends_and_its_turn():
    ax = axes()
    ax.plot([0, 1, 2], [1, 5000, 3], label="cost of \\$5")
    ax.set(title="a $title$", xlabel="step", ylabel="loss", xlim=(0, 2), ylim=(0, 6000))
    assert text_of(ax) == (
        "a title. Vertical axis: loss, 0 to 6,000. Horizontal axis: step, 0 to 2. "
        "cost of $5 goes from 1 at 0 to 3 at 2, highest 5,000 at 1."
    )


def test_points_rules_and_words_are_read():
    ax = axes()
    ax.plot([1, 2], [3, 4], "o", label="support")
    ax.scatter([5], [6])
    ax.axhline(20, label="chance")
    ax.axvline(0.5)
    ax.text(0, 0, "best")
    text = text_of(ax)
    assert "support: 2 points, 1 to 2 across, 3 to 4 up. Horizontal line at 20: chance." in text
    assert "Vertical line at 0.5. 6 at 5. Written in it: best." in text


def test_names_at_the_ticks_stand_for_their_numbers():
    ax = axes()
    ax.bar([0, 1], [3, 7])
    ax.set_xticks([0, 1], ["cat", "dog"])
    ax.set_xlabel("animal")
    assert "Horizontal axis: animal, cat, dog. bars: cat 3, dog 7." in text_of(ax)


def test_error_bars_are_read_with_both_ends_and_no_caps():
    ax = axes()
    ax.errorbar([70.0], [0], xerr=[2.0], capsize=3, label="MAML")
    ax.set_yticks([0], ["mine"])
    assert text_of(ax).endswith("MAML: mine at 70 (68 to 72).")


def test_many_marks_are_counted():
    ax = axes()
    ax.plot(np.zeros((2, 40)))
    assert text_of(ax).endswith("And 28 more marks of this kind.")
    ax = axes()
    ax.hist(np.arange(50) ** 2, bins=20)
    assert "20 bars, the longest" in text_of(ax)


def test_an_empty_figure_says_so():
    assert plotting.alt_text(plotting.new_figure()) == "An empty figure."


# ---------------------------------------------------------------- what plot functions say


def evaluation(mean):
    values = torch.full((100,), mean, dtype=torch.float64) + torch.linspace(-0.1, 0.1, 100)
    return Evaluation(values, "accuracy", 0.2, 0, "tasks")


def said():
    """{function: the text of what it drew}."""
    z, labels = torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 1.0]]), torch.tensor([0, 0, 1])
    scores = {"MAML": evaluation(0.5), "ProtoNet": evaluation(0.75)}
    shots = {"MAML": {5: evaluation(0.8), 1: evaluation(0.5)}}
    history = History(losses=[3.0, 1.0], val_steps=[1, 9], val_scores=[0.5, 0.25])
    drawn = {
        "items": plotting.plot_items(torch.rand(3, 8, 8), titles=["a", "b", "c"]),
        "episode": plotting.plot_episode(Sinusoids(5, 7).episodes(0, 0, 1)[0]),
        "intervals": plotting.plot_intervals(scores).figure,
        "accuracy": plotting.plot_accuracy(shots).figure,
        "loss": plotting.plot_history(history).figure,
        "validation": plotting.plot_history(history, quantity="validation", label="MAML").figure,
        "curves": plotting.plot_curves([0, 1], {"MAML": [2, 3]}, truth=[0, 1]).figure,
        "embedding": plotting.plot_embedding(z, labels, class_names=["cat", "dog"]).figure,
    }
    return {name: plotting.alt_text(fig) for name, fig in drawn.items()}


def test_each_plot_function_says_what_it_drew():
    expected = {
        "items": "3 pictures in one row: a, b, c.",
        "episode": "query, 7: 7 points, ",
        "intervals": "MAML 50.0 ± 1.1, ProtoNet 75.0 ± 1.1. Highest: ProtoNet. Dotted line: "
        "chance, 20 %.",
        "accuracy": "against n_shot, with 95 % intervals: MAML 50 at 1, 80 at 5.",
        "loss": "mean of 1 steps goes from 3 at 1 to 1 at 2.",
        "validation": "MAML goes from 50 at 1 to 25 at 9.",
        "curves": "truth goes from 0 at 0 to 1 at 1. MAML goes from 2 at 0 to 3 at 1.",
        "embedding": "3 embedded items in the plane. By label, 0 (cat): 2 around (1, 0); 1 (dog): "
        "1 around (5, 1).",
    }
    texts = said()
    assert {name: text for name, text in texts.items() if expected[name] not in text} == {}


def test_the_title_that_a_lesson_sets_later_comes_first():
    ax = plotting.plot_intervals({"MAML": evaluation(0.5)}, ax=axes())
    ax.set_title("after an hour", loc="left")
    assert text_of(ax).startswith("after an hour. Dots with 95 % intervals")


def test_two_functions_on_the_same_axes_are_both_heard():
    ax = plotting.plot_embedding(torch.zeros(2, 2), [0, 1], ax=axes())
    plotting.plot_intervals({"MAML": evaluation(0.5)}, ax=ax)
    assert "2 embedded items" in text_of(ax) and "MAML 50.0" in text_of(ax)


# ---------------------------------------------------------------- what the notebook gets


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="png")
    return buffer.getvalue()


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def test_a_notebook_shows_a_small_picture_with_its_text():
    fig = plotting.plot_curves([0, 1], {"MAML": [2, 3]}).figure
    data, metadata = display.notebook_png(fig)
    assert metadata == {"alt": plotting.alt_text(fig)}
    full = io.BytesIO()
    fig.savefig(full, dpi=fig.dpi, bbox_inches="tight")
    small = base64.b64decode(data)
    assert len(small) < 0.6 * len(full.getvalue())
    assert np.abs(pixels(small) - pixels(full.getvalue())).max() <= 2


def test_256_colours_stay_and_more_change_little():
    ramp = np.arange(256, dtype=np.uint8)
    grey = np.repeat(ramp[:, None, None], 3, axis=2).repeat(20, axis=1)
    assert (pixels(display.fewer_colors(png(grey))) == grey).all()
    colors = np.stack([*np.meshgrid(ramp, ramp), np.full((256, 256), 90)], -1).astype(np.uint8)
    assert np.abs(pixels(display.fewer_colors(png(colors))) - colors).max() <= 24


def test_a_transparent_picture_stays_as_it_is():
    clear = png(np.zeros((4, 4, 4), dtype=np.uint8))
    assert display.fewer_colors(clear) == clear


def test_an_empty_figure_is_not_shown():
    assert display.notebook_png(plotting.new_figure()) is None


def test_without_a_notebook_the_style_alone_is_set():
    display.show_with_words()
    assert display._shell() is None
