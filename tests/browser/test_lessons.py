"""Every lesson in a real JupyterLab: it runs, its explorers move, and no one complains."""

import nbformat
import pytest

from tests.browser import driver
from tools import build_notebooks as build
from tools.instructor import changes, solved


def learner(name):
    return nbformat.read(build.NOTEBOOKS / f"{name}.ipynb", as_version=4)


def assert_solved(name, copy):
    """Each check says "correct", and nothing else differs from the learner's notebook."""
    build.strip(copy)
    assert changes(learner(name), copy) == []


@pytest.mark.skipif(not driver.why_not(), reason="they run in the browser, below")
@pytest.mark.parametrize("name", driver.lessons())
def test_solved_lesson_without_a_browser(name):
    copy = solved(learner(name))
    build.execute(copy, None)
    assert_solved(name, copy)


@pytest.mark.parametrize("name", driver.lessons())
def test_lesson(open_lesson, name):
    lesson = open_lesson(name)
    assert lesson.run_all() == []
    assert_solved(name, lesson.notebook())
    explorers = {explorer.title: explorer for explorer in lesson.explorers()}
    assert explorers
    if name.startswith("00"):
        assert set(BY_HAND) <= set(explorers)
    for explorer in explorers.values():
        move_everything(explorer)
    assert lesson.state()["errors"] == [] and lesson.console == []
    lesson.close()


def test_hints_unfold_by_keyboard_before_anything_is_run(open_lesson):
    lesson = open_lesson("stored_11_which_algorithm")
    folds = lesson.page.locator(".jp-OutputArea-output summary")
    first, second, ours = (folds.filter(has_text=t).first for t in ("Hint 1", "Hint 2", "Our"))
    first.scroll_into_view_if_needed()
    assert not second.is_visible() and ours.is_visible()
    first.focus()
    for fold in (first, second, ours):
        assert fold.evaluate("fold => fold === document.activeElement")
        lesson.page.keyboard.press("Enter")
        assert fold.evaluate("fold => fold.parentElement.open")
        lesson.page.keyboard.press("Tab")
    assert lesson.page.get_by_text("def my_error_of_study(accuracy: Tensor)").is_visible()
    lesson.close()


def move_everything(explorer):
    """Each control, sliders by keyboard, and then back: all must be as it was."""
    start = restart(explorer)
    if explorer.title in BY_HAND:
        BY_HAND[explorer.title](explorer)
    for name, slider in explorer.sliders().items():
        move_slider(explorer, slider, name)
    for name, menu in explorer.menus().items():
        move_menu(explorer, menu, name)
    assert restart(explorer) == start, f"{explorer.title}: it does not start again as it was"
    if name := explorer.episode_button():
        explorer.click(name)
        explorer.changed(start, name)
    explorer.check_no_error("a button")


def restart(explorer):
    explorer.click("Start again")
    return explorer.settled()


def move_slider(explorer, slider, name):
    """To both ends, and to and fro faster than the kernel draws."""
    explorer.focus(slider)
    explorer.press("Home")
    low = explorer.settled()
    explorer.press(*["ArrowRight"] * 8, *["ArrowLeft"] * 8)
    assert explorer.settled() == low, f"{explorer.title}: {name} lost count when moved fast"
    explorer.press("End")
    explorer.changed(low, f"{name} at its end")
    explorer.check_no_error(name)


def move_menu(explorer, menu, name):
    pictures = set()
    for index in range(min(menu.locator("option").count(), 4)):
        menu.select_option(index=index)
        pictures.add(explorer.settled())
        explorer.check_no_error(name)
    assert len(pictures) > 1, f"{explorer.title}: {name} changed nothing"


def play_three_rounds(game):
    for n in (1, 2, 3):
        before = game.settled()
        game.click("0")
        game.changed(before, "an answer")
        assert f", {n} round{'s' * (n > 1)} answered. Right: you " in game.words()
        assert game.box.get_by_role("link", name="CSV").count() == 1
        game.click("Next round")
        game.settled()
    game.check_no_error("three rounds")


SHAPES = {
    "1": [(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8), (0.2, 0.2)],
    "2": [(0.1, 0.1), (0.9, 0.9), (0.5, 0.5), (0.1, 0.9)],
    "0": [(0.5, 0.1), (0.5, 0.9)],
}


def draw_three_characters(board):
    for place, shape in {**SHAPES, "query": SHAPES["1"]}.items():
        before = board.settled()
        board.click(place)
        board.changed(before, "another place")
        draw(board, shape)
    assert "takes the query for 1" in board.words(), board.words()
    board.check_no_error("drawing")


def draw(board, shape):
    """A line through the points, with the mouse held down."""
    canvas = board.box.locator("canvas")
    canvas.scroll_into_view_if_needed()
    before, edge = board.settled(), canvas.bounding_box()
    mouse = board.page.mouse
    for i, (x, y) in enumerate(shape):
        mouse.move(edge["x"] + x * edge["width"], edge["y"] + y * edge["height"], steps=8)
        if i == 0:
            mouse.down()
    mouse.up()
    board.changed(before, "a stroke")


BY_HAND = {"You against the machine": play_three_rounds, "Draw your own": draw_three_characters}
