import io
import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from metalearn_edu import plotting
from metalearn_edu.evaluation import Evaluation
from metalearn_edu.plotting import pictures, style
from metalearn_edu.tasks import Sinusoids, Task
from metalearn_edu.training import History
from tests.drawn_text import overlaps, texts


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def axes():
    return plotting.new_figure().add_subplot()


def evaluation(mean, n=100, metric="accuracy", chance=0.2):
    values = torch.full((n,), mean, dtype=torch.float64) + torch.linspace(-0.1, 0.1, n)
    return Evaluation(values, metric, chance, 0, "tasks")


def picture_task(n_way, n_shot, n_query):
    support_y = torch.arange(n_way).repeat_interleave(n_shot)
    query_y = torch.arange(n_way).repeat_interleave(n_query)
    # Every pixel of an item of class c holds c / n_way.
    x = [(y / n_way)[:, None, None, None].expand(-1, 1, 4, 4) for y in (support_y, query_y)]
    return Task(x[0], support_y, x[1], query_y)


def test_importing_plotting_leaves_pyplot_alone():
    code = "import sys, metalearn_edu.plotting; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_look_is_different_and_survives_without_colour():
    looks = [(look["color"], look["marker"]) for look in plotting.LOOK.values()]
    assert len(set(looks)) == len(looks)
    class_looks = [tuple(plotting.class_look(c).values()) for c in range(100)]
    assert len(set(class_looks)) == 100


def test_look_of_an_unknown_name_is_that_of_a_class():
    assert plotting.look("MAML", 3) == plotting.LOOK["MAML"]
    assert plotting.look("mine", 3) == plotting.class_look(3)


def test_course_style_is_set_on_request_only():
    before = mpl.rcParams["font.size"]
    plotting.plot_curves([0, 1], {"a": [0, 1]}, ax=axes())
    assert mpl.rcParams["font.size"] == before
    with mpl.rc_context():
        plotting.use_course_style()
        assert mpl.rcParams["font.size"] == 12


def test_figure_png_is_a_picture_of_the_size_asked_for():
    data = plotting.figure_png(plotting.new_figure(4, 2), dpi=50)
    assert Image.open(io.BytesIO(data)).size == (200, 100)


def test_png_keeps_up_to_256_colours_nearly_as_they_are():
    image = np.full((4, 6, 3), 255, dtype=np.uint8)
    image[:2] = (213, 94, 0)
    decoded = np.asarray(Image.open(io.BytesIO(plotting.encode_png(image))).convert("RGB"))
    assert np.abs(decoded.astype(int) - image).max() <= 4


# ---------------------------------------------------------------- pictures


def test_mosaic_by_hand():
    image = pictures.mosaic(np.zeros((3, 2, 2, 3)), n_columns=2)
    assert image.shape == (2 * 3, 2 * 3, 3)
    assert (image[:2, :2] == 0).all() and (image[2, 2] == 0.8).all()
    assert (image[3:, 3:] == 1).all()  # no fourth picture: white paper


def test_items_are_drawn_as_ink_on_paper_unless_told_otherwise():
    items = torch.ones(1, 1, 3, 3)
    assert pictures._pictures(items, invert=True).max() == 0
    assert pictures._pictures(items, invert=False).min() == 1
    assert pictures._pictures(torch.ones(1, 3, 2, 2), invert=True).min() == 1


@pytest.mark.parametrize("shape", [(5,), (2, 2, 4, 4), (0, 1, 4, 4), (3, 10)])
def test_items_that_are_no_pictures_are_refused(shape):
    with pytest.raises(ValueError, match=r"items must be pictures"):
        plotting.plot_items(torch.zeros(shape), fig=plotting.new_figure())


def test_items_in_two_rows_with_titles():
    titles = ["a", "b", "c"]
    items = torch.rand(3, 8, 8)
    fig = plotting.plot_items(items, titles=titles, n_columns=2, fig=plotting.new_figure(3, 3))
    assert [t.get_text() for t in texts(fig)] == titles
    assert fig.axes[0].images[0].get_array().shape[1] == 2 * (32 + 1)
    with pytest.raises(ValueError, match="titles has 2 entries for 3 items"):
        plotting.plot_items(items, titles=["a", "b"], fig=plotting.new_figure())


@pytest.mark.parametrize("n_columns", [2, 10, 20])
def test_titles_stand_below_their_pictures(n_columns):
    titles = [f"a title of picture {i}" for i in range(20)]
    fig = plotting.plot_items(torch.rand(20, 8, 8), titles=titles, n_columns=n_columns)
    assert overlaps(fig) == []
    to_data = fig.axes[0].transData.inverted()
    tops = [to_data.transform(t.get_window_extent().max)[1] for t in texts(fig)]
    row_height = fig.axes[0].images[0].get_array().shape[0] / (20 / n_columns)
    assert all(top % row_height > pictures.FINE for top in tops)


def test_episode_rows_are_classes():
    fig = plotting.plot_episode(picture_task(3, 2, 4), fig=plotting.new_figure())
    support, query = (ax.images[0].get_array() for ax in fig.axes)
    assert support.shape == (3 * 29, 2 * 29, 3) and query.shape == (3 * 29, 4 * 29, 3)
    for row in range(3):
        assert support[29 * row, 0, 0] == pytest.approx(1 - row / 3)
        assert query[29 * row, 3 * 29, 0] == pytest.approx(1 - row / 3)


def test_episode_in_any_order_of_items():
    task = picture_task(3, 2, 4)
    flip = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    shuffled = task._replace(query_x=task.query_x[flip], query_y=task.query_y[flip])
    first, second = (plotting.plot_episode(t, fig=plotting.new_figure()) for t in (task, shuffled))
    images = [f.axes[1].images[0].get_array() for f in (first, second)]
    assert (images[0] == images[1]).all()


@pytest.mark.parametrize("most", [2, 15])
def test_episode_of_unequal_numbers_shows_each_item_in_its_row(most):
    task = picture_task(3, 1, 1)
    labels = torch.tensor([2] * most + [0])  # none of class 1
    shades = torch.linspace(0.2, 0.8, most + 1)
    x = shades[:, None, None, None].expand(-1, *task.query_x.shape[1:])
    fig = plotting.plot_episode(
        task._replace(query_x=x, query_y=labels), n_shown=5, fig=plotting.new_figure()
    )
    shown = np.asarray(fig.axes[1].images[0].get_array())
    side = shown.shape[0] // 3
    middles = shown[side // 2 :: side, side // 2 :: side, 0]
    expected = np.ones((3, min(most, 5)))
    expected[2] = 1 - shades[: min(most, 5)]
    expected[0, 0] = 1 - shades[-1]
    assert middles == pytest.approx(expected)
    assert "up to" in fig.axes[1].get_title(loc="left")
    assert overlaps(fig) == []


def test_episode_says_when_it_leaves_queries_out():
    fig = plotting.plot_episode(picture_task(2, 1, 15), n_shown=5, fig=plotting.new_figure())
    assert [ax.get_title(loc="left") for ax in fig.axes] == [
        "support\n1 per class",
        "query\n5 of 15 per class",
    ]


@pytest.mark.parametrize("n_way, n_shot, n_query", [(2, 1, 1), (5, 1, 15), (20, 1, 5), (20, 5, 15)])
@pytest.mark.parametrize("name", ["", "x", "GEORGIAN SMALL LETTER WITH A LONG NAME"])
def test_episode_text_never_overlaps(n_way, n_shot, n_query, name):
    names = [f"{name} {c}" for c in range(n_way)] if name else None
    fig = plotting.plot_episode(picture_task(n_way, n_shot, n_query), class_names=names)
    assert overlaps(fig) == []
    assert min(t.get_fontsize() for t in texts(fig)) >= 11


def test_episode_names_must_fit():
    with pytest.raises(ValueError, match="class_names has 2 entries for 3 classes"):
        plotting.plot_episode(picture_task(3, 1, 1), class_names=["a", "b"])


def test_regression_episode_is_drawn_as_points():
    task = Sinusoids(5, 7).episodes(0, 0, 1)[0]
    ax = plotting.plot_episode(task, fig=plotting.new_figure()).axes[0]
    support, query = ax.lines
    assert support.get_xdata() == pytest.approx(task.support_x.flatten())
    assert query.get_ydata() == pytest.approx(task.query_y.flatten())


# ---------------------------------------------------------------- results


def test_history_draws_the_running_mean():
    ax = plotting.plot_history(History(losses=[1.0, 3.0] * 50), ax=axes())
    raw, mean = ax.lines
    assert len(raw.get_ydata()) == 100
    assert mean.get_ydata() == pytest.approx([2.0] * 99)
    assert mean.get_xdata()[0] == 1.5


def test_history_draws_the_validation():
    history = History(losses=[1.0], val_steps=[5, 10], val_scores=[0.5, 0.75])
    ax = plotting.plot_history(history, quantity="validation", label="MAML", ax=axes())
    assert ax.lines[0].get_ydata() == pytest.approx([50, 75])
    assert ax.get_ylabel() == "meta-val accuracy (%)"


def test_history_without_the_quantity_is_refused():
    with pytest.raises(ValueError, match="holds no validation"):
        plotting.plot_history(History(losses=[1.0]), quantity="validation", ax=axes())
    with pytest.raises(ValueError, match="got 'accuracy'"):
        plotting.plot_history(History(losses=[1.0]), quantity="accuracy", ax=axes())


def test_intervals_in_percent_with_chance():
    one = evaluation(0.5)
    ax = plotting.plot_intervals({"MAML": one}, ax=axes())
    assert ax.lines[0].get_xdata() == pytest.approx([50.0])
    low, high = ax.collections[0].get_segments()[0][:, 0]
    assert (low, high) == pytest.approx([100 * v for v in one.interval])
    assert ax.collections[1].get_segments()[0][0, 0] == pytest.approx(20)
    assert ax.get_xlim() == (0, 100)
    assert "meta-test accuracy (%)" in ax.get_xlabel() and "100 episodes" in ax.get_xlabel()


def test_intervals_of_a_difference_stand_against_zero():
    difference = evaluation(0.02, metric="difference of accuracy", chance=None)
    ax = plotting.plot_intervals({"a minus b": difference}, ax=axes())
    assert "percentage points" in ax.get_xlabel()
    assert ax.texts[-1].get_text() == " no difference"


def test_metrics_are_not_mixed():
    mixed = {"a": evaluation(0.5), "b": evaluation(2.0, metric="mse", chance=None)}
    with pytest.raises(ValueError, match=r"one metric, got \['accuracy', 'mse'\]"):
        plotting.plot_intervals(mixed, ax=axes())
    with pytest.raises(ValueError, match="no evaluation"):
        plotting.plot_intervals({}, ax=axes())


@pytest.mark.parametrize("mean", [0.01, 0.2, 0.99])
@pytest.mark.parametrize("n_rows", [1, 2, 14])
def test_intervals_text_never_overlaps(mean, n_rows):
    names = [*list(plotting.LOOK)[: n_rows - 1], "a method with a name that goes on and on and on"]
    ax = plotting.plot_intervals({name: evaluation(mean) for name in names})
    assert overlaps(ax.figure) == []


def test_accuracy_against_shots():
    results = {"MAML": {5: evaluation(0.8), 1: evaluation(0.5)}}
    ax = plotting.plot_accuracy(results, ax=axes())
    assert list(ax.lines[0].get_xdata()) == [1, 5]
    assert ax.lines[0].get_ydata() == pytest.approx([50, 80])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "5"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["chance 20 %", "MAML"]


def test_accuracy_with_every_algorithm_stays_readable():
    results = {n: {k: evaluation(0.5) for k in (1, 2, 5, 10, 20)} for n in plotting.LOOK}
    assert overlaps(plotting.plot_accuracy(results).figure) == []


def test_curves_take_tensors_with_a_column():
    x = torch.linspace(-1, 1, 5)[:, None]
    ax = plotting.plot_curves(x, {"MAML": 2 * x}, truth=x, support=(x[:2], x[:2]), ax=axes())
    truth, curve, support = ax.lines
    assert truth.get_ydata() == pytest.approx(x.flatten())
    assert curve.get_ydata() == pytest.approx(2 * x.flatten())
    assert len(support.get_xdata()) == 2


def test_embedding_draws_each_class_and_its_prototype():
    z, labels = torch.rand(6, 2), torch.tensor([0, 0, 1, 1, 2, 2])
    ax = plotting.plot_embedding(z, labels, prototypes=z[::2], ax=axes())
    assert [len(line.get_xdata()) for line in ax.lines] == [2, 2, 2, 1, 1, 1]
    assert [t.get_text() for t in ax.texts] == ["0", "1", "2"]
    with pytest.raises(ValueError, match=r"z must be \(N, 2\), got \(6, 3\)"):
        plotting.plot_embedding(torch.rand(6, 3), labels, ax=axes())


def test_functions_draw_on_the_axes_given():
    ax = axes()
    assert plotting.plot_curves([0, 1], {"a": [0, 1]}, ax=ax) is ax
    fig = plotting.new_figure()
    assert isinstance(fig, Figure) and plotting.plot_items(torch.rand(1, 4, 4), fig=fig) is fig


# ---------------------------------------------------------------- names are text

NASTY = [
    "price $5 and $6",
    "$x_{",
    r"\$x$",
    "_hidden",
    "a\x1b[2Jb",
    "two\nlines $a$",
    "lone \ud800 half",
    "$" * 301,
    "50 % {x} \\frac",
    "",
    " ",
]


def by_name(name):
    """Each kind of figure, with a name wherever one is drawn."""
    made = {name: evaluation(0.5), "other": evaluation(0.6)}
    of_metric = {name: evaluation(0.5, metric=name or "x", chance=None)}
    history = History(losses=[1.0, 2.0], val_steps=[1, 2], val_scores=[0.5, 0.6])
    z, labels = torch.rand(4, 2), torch.tensor([0, 0, 1, 1])
    options = {"metric": name, "unit": name, "label": name}
    yield plotting.plot_items(torch.rand(2, 8, 8), titles=[name, "b"])
    yield plotting.plot_episode(picture_task(2, 1, 1), class_names=[name, "b"])
    yield plotting.plot_history(history, **options)
    yield plotting.plot_history(history, quantity="validation", **options)
    yield plotting.plot_intervals(made, split=name)
    yield plotting.plot_intervals(of_metric)
    yield plotting.plot_accuracy({name: {1: evaluation(0.5), 5: evaluation(0.6)}}, split=name)
    yield plotting.plot_curves([0, 1], {name: [0, 1]})
    yield plotting.plot_embedding(z, labels, class_names=[name, "b"])


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("name", NASTY, ids=ascii)
def test_every_name_is_drawn_as_text(name):
    for drawn in by_name(name):
        fig = drawn if isinstance(drawn, Figure) else drawn.figure
        assert plotting.figure_png(fig)
        for text in fig.findobj(mpl.text.Text):
            shown = text.get_text()
            assert text._preprocess_math(shown)[1] is False, shown  # not a formula
            assert shown.isprintable() or shown.replace("\n", "").isprintable()
        plt.close(fig)


def test_a_name_is_wrapped_before_it_is_escaped():
    lines = style.wrap("$" * 40, 12 * 0.56 * style.SMALL + 1, 2).split("\n")
    assert lines[0] == r"\$" * 12 and len(lines) == 2
    assert lines[1].replace(r"\$", "") == "…"


def test_a_legend_leaves_no_name_out():
    ax = plotting.plot_curves([0, 1], {"_cat": [0, 1], "dog": [1, 0]}, ax=axes())
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [" _cat", "dog"]


def test_numbers_that_no_figure_can_have_are_refused():
    items, task = torch.rand(3, 8, 8), picture_task(3, 2, 4)
    for value in (0, -1, 2.5, None, True):
        with pytest.raises(ValueError, match="n_columns must be an integer of at least 1"):
            plotting.plot_items(items, n_columns=value, fig=plotting.new_figure())
        with pytest.raises(ValueError, match="n_shown must be an integer of at least 1"):
            plotting.plot_episode(task, n_shown=value, fig=plotting.new_figure())
    with pytest.raises(ValueError, match=r"3 items, labels \(2,\)"):
        plotting.plot_embedding(torch.rand(3, 2), [0, 1])
    for labels in ([0, 1], [-1, 0]):
        with pytest.raises(ValueError, match="class_names has 1 entries for labels up to"):
            plotting.plot_embedding(torch.rand(2, 2), labels, class_names=["a"])


def test_pictures_of_one_large_number_and_of_short_floats():
    assert np.array_equal(
        pictures._pictures(torch.full((2, 1, 28, 28), 7.0), False), np.zeros((2, 28, 28, 3))
    )
    items = torch.rand(2, 3, 28, 28).bfloat16()
    assert np.array_equal(
        pictures._pictures(items, False), items.float().permute(0, 2, 3, 1).numpy()
    )
