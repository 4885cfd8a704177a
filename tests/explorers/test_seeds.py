from itertools import combinations

import pytest

from metalearn_edu.explorers.seeds import BEST, SeedExplorer
from metalearn_edu.study import compare_in_every_cell, real_ones
from tests.drawn_text import overlaps
from tests.made_up_study import PLANES, made_up, truth

STUDY = made_up(data=("glyphs", "omniglot"))


@pytest.fixture(scope="module")
def explorer():
    return SeedExplorer(STUDY)


@pytest.fixture(scope="module")
def of_the_course():
    return SeedExplorer()


def rows_of(fig):
    """(difference, is filled) of each row, over all panels."""
    bars = [container for ax in fig.axes for container in ax.containers]
    dots = [bar.lines[0] for bar in bars]
    return [(dot.get_xdata()[0], dot.get_markerfacecolor() != "white") for dot in dots]


def test_every_setting_has_a_row_at_its_difference(explorer):
    pair = ("prototypical", "maml")
    rows = rows_of(explorer.figure(pair=pair, n_seeds=3))
    expected = [
        100 * (truth("prototypical", *cell) - truth("maml", *cell))
        for _ in range(2)
        for cell in ((c.n_classes, c.n_way, c.n_shot) for c in compare_in_every_cell(made_up()))
    ]
    assert [gap for gap, _ in rows] == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("correction", ["none", "Bonferroni", "Holm"])
def test_filled_is_what_is_real(of_the_course, correction):
    study, pair = of_the_course.study, ("maml", "meta-sgd")
    for n_seeds, draw in ((1, 0), (1, 2), (2, 1), (3, 0)):
        seeds = list(combinations((0, 1, 2), n_seeds))[draw]
        found = compare_in_every_cell(study.with_seeds(seeds), *pair)
        real = real_ones(found, correction)
        state = {"pair": pair, "n_seeds": n_seeds, "draw": draw, "correction": correction}
        assert [filled for _, filled in rows_of(of_the_course.figure(**state))] == real
        said = of_the_course.describe(**state)
        assert f"{sum(real)} of 24 differences are real" in said
        assert ("One seed: the luck" in said) == (n_seeds == 1)


def test_one_seed_says_real_for_both_sides_and_three_for_hardly_any(of_the_course):
    counts = [
        sum(filled for _, filled in rows_of(of_the_course.figure(n_seeds=n, draw=draw)))
        for n, draw in ((1, 0), (1, 1), (1, 2), (3, 0))
    ]
    assert counts == [13, 14, 21, 1]
    said = [of_the_course.describe(**(of_the_course.state | {"draw": draw})) for draw in range(3)]
    assert all("for MAML (" in words and "for Meta-SGD (" in words for words in said)


def test_the_best_and_the_runner_up_differ_by_setting(explorer):
    fig = explorer.figure(pair=BEST, n_seeds=3)
    assert min(gap for gap, _ in rows_of(fig)) > 0
    colors = {c.lines[0].get_color() for ax in fig.axes for c in ax.containers}
    cells = [(c.n_classes, c.n_way, c.n_shot) for c in compare_in_every_cell(made_up())]
    best = {max(PLANES, key=lambda name, cell=cell: truth(name, *cell)) for cell in cells}
    assert len(colors) == len(best) == 2


@pytest.mark.parametrize("n_seeds", [1, 2, 3])
def test_words_have_room(of_the_course, n_seeds):
    assert overlaps(of_the_course.figure(n_seeds=n_seeds)) == []


def test_another_draw_has_other_seeds(explorer):
    seen = []
    for _ in range(4):
        seen.append(explorer.describe(**explorer.state).split("seeds ")[1].split(",")[0])
        explorer.new_episode()
    assert seen == ["0", "1", "2", "0"]
    explorer.set(n_seeds=3)
    explorer.new_episode()
    assert "all seeds, so every draw is the same" in explorer.describe(**explorer.state)
    explorer.reset()


def test_a_study_of_one_seed_has_one_draw():
    lone = SeedExplorer(made_up(seeds=(4,)))
    assert "seeds 4," in lone.describe(**lone.state) and lone.png()[:4] == b"\x89PNG"
    lone.new_episode()
    assert lone.state["draw"] == 0
