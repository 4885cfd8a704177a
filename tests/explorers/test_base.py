import base64
import io
import time

import ipywidgets as widgets
import numpy as np
import pytest
from matplotlib.image import imread

from metalearn_edu.explorers.base import Explorer


class Line(Explorer):
    title = "A line"
    question = "What does the slope do?"
    size = (4, 2)

    def controls(self):
        self.n_drawn = 0
        return {
            "slope": widgets.IntSlider(1, 0, 9, description="slope"),
            "style": widgets.Dropdown(options=["-", ":"], description="line style"),
        }

    def draw(self, fig, slope, style):
        self.n_drawn += 1
        if slope == 7:
            raise RuntimeError("seven is\nnot drawn")
        fig.add_subplot().plot([0, 1], [0, slope], style)

    def describe(self, slope, style):
        return f"a line of slope {slope} <here>"


def move(explorer, name, value):
    """What the browser does."""
    explorer.inputs[name].set_state({"value": value})


def test_figure_is_a_function_of_the_state():
    line = Line()
    assert list(line.figure(slope=5).axes[0].lines[0].get_ydata()) == [0, 5]
    assert line.figure(slope=5).axes[0].lines[0].get_linestyle() == "-"
    assert line.state == {"slope": 1, "style": "-"}


def test_figures_are_in_the_style_of_the_course():
    ax = Line().figure().axes[0]
    assert ax.xaxis.label.get_size() == 12 and not ax.spines["top"].get_visible()


def shown(explorer):
    """The picture in the browser, as bytes."""
    return base64.b64decode(explorer.picture.value.split("base64,")[1].split('"')[0])


def test_png_has_the_size_of_the_widget():
    line = Line()
    assert line.png(slope=2) != line.png(slope=3)
    assert imread(io.BytesIO(line.png())).shape[:2] == (144, 288)
    assert 'width="288" height="144"' in line.picture.value


def test_a_moved_slider_changes_picture_and_text():
    line = Line()
    before = shown(line)
    move(line, "slope", 4)
    assert shown(line) == line.png(slope=4) != before
    assert "slope 4 &lt;here&gt;" in line.text.value


def test_the_words_are_the_text_alternative_of_the_picture():
    line = Line()
    move(line, "slope", 4)
    assert 'alt="a line of slope 4 &lt;here&gt;"' in line.picture.value


def test_set_draws_once_and_the_same_state_not_again():
    line = Line()
    drawn = line.n_drawn
    line.set(slope=4, style=":")
    assert line.n_drawn == drawn + 1 and line.state == {"slope": 4, "style": ":"}
    line.set(slope=4)
    assert line.n_drawn == drawn + 1


def test_reset_goes_back_to_the_first_state():
    line = Line(slope=2)
    line.set(slope=4, style=":")
    line.reset_button.click()
    assert line.state == {"slope": 2, "style": "-"} and shown(line) == line.png()


@pytest.mark.parametrize(
    "state, message",
    [
        ({"slope": 99}, "slope must lie in 0 to 9, got 99"),
        ({"style": "?"}, r"style does not take '\?'"),
        ({"slope": "much"}, "slope does not take 'much'"),
        ({"colour": 1}, "Line has no control colour; it has slope, style"),
    ],
)
def test_set_refuses_what_it_cannot_do_and_moves_nothing(state, message):
    line = Line()
    with pytest.raises(ValueError, match=message):
        line.set(**{"slope": 3, **state})
    assert line.state == {"slope": 1, "style": "-"}
    with pytest.raises(ValueError, match=message):
        Line(**state)


def test_an_error_from_the_browser_is_shown_as_one_line(monkeypatch):
    monkeypatch.setattr(Explorer, "raise_errors", False)
    line = Line()
    move(line, "slope", 7)
    assert "RuntimeError: seven is</div>" in line.message.value
    move(line, "slope", 2)
    assert line.message.value == "" and shown(line) == line.png(slope=2)


def test_an_error_besides_drawing_is_shown_too(monkeypatch):
    class Broken(Line):
        def after_change(self, name):
            raise KeyError("no such thing")

    monkeypatch.setattr(Explorer, "raise_errors", False)
    broken = Broken()
    move(broken, "slope", 2)
    assert "KeyError: " in broken.message.value and "no such thing" in broken.message.value
    button = broken.button("Do", "it", lambda: 1 / 0)
    button.click()
    assert "ZeroDivisionError: division by zero" in broken.message.value


def test_an_error_is_raised_under_test_and_from_python(monkeypatch):
    line = Line()
    with pytest.raises(RuntimeError, match="seven"):
        move(line, "slope", 7)
    monkeypatch.setattr(Explorer, "raise_errors", False)
    line.set(slope=1)
    with pytest.raises(RuntimeError, match="seven"):
        line.set(slope=7)


def test_the_first_picture_must_be_drawn():
    with pytest.raises(RuntimeError, match="seven"):
        Line(slope=7)


def test_controls_need_a_description():
    class Silent(Line):
        def controls(self):
            return {"slope": widgets.IntSlider(1, 0, 9), "style": widgets.Dropdown()}

    with pytest.raises(ValueError, match="'slope' needs a description"):
        Silent()


def test_slow_explorers_draw_when_the_slider_is_let_go():
    class Slow(Line):
        slow = True

        def draw(self, fig, **state):
            self.seen = self.message.value
            super().draw(fig, **state)

    slow = Slow()
    slow.set(slope=3)
    assert not slow.inputs["slope"].continuous_update and Line().inputs["slope"].continuous_update
    assert "Working" in slow.seen and slow.message.value == ""


def test_controls_may_depend_on_each_other():
    class Linked(Line):
        def after_change(self, name):
            if name == "slope":
                self.inputs["style"].value = "-"

    linked = Linked(style=":")
    drawn = linked.n_drawn
    move(linked, "slope", 5)
    assert linked.state == {"slope": 5, "style": "-"} and linked.n_drawn == drawn + 1
    linked.set(slope=6, style=":")
    assert linked.state == {"slope": 6, "style": ":"} and linked.n_drawn == drawn + 2


def test_new_episode_goes_round():
    class Episodes(Line):
        episode_control = "slope"

    episodes = Episodes(slope=6)
    moved = []
    for slope in (8, 9):
        episodes.set(slope=slope)
        episodes.episode_button.click()
        moved.append(episodes.state["slope"])
    assert moved == [9, 0] and episodes.episode_button in episodes.buttons.children
    assert not hasattr(Line(), "episode_button")


def test_the_episode_control_must_be_there():
    class Wrong(Line):
        episode_control = "episode"

    with pytest.raises(ValueError, match="Wrong has no control episode"):
        Wrong()


def test_the_still_picture_is_the_picture_with_its_words_below():
    line = Line(slope=3)
    picture, still = (imread(io.BytesIO(png)) for png in (line.png(), line.still()))
    assert still.shape[1] == 288 and 160 < still.shape[0] < 220
    assert np.abs(still[:144] - picture).max() < 0.05 and (still[144:] < 0.5).any()


def test_the_bundle_holds_a_picture_and_a_text_of_our_own():
    line = Line(slope=3)
    data, metadata = line._repr_mimebundle_()
    assert metadata == {"image/png": {"alt": f"A line. {line.describe(**line.state)}"}}
    assert base64.b64decode(data["image/png"]) == line.still()
    assert data["text/plain"] == "Line at slope=3, style='-' (run the cell to move it)"
    assert "application/vnd.jupyter.widget-view+json" in data


def test_title_and_question_are_shown():
    shown = [child.value for child in Line().children if isinstance(child, widgets.HTML)]
    assert "A line" in shown[0] and "What does the slope do?" in shown[-1]


def test_a_plain_picture_is_redrawn_fast_enough_to_drag():
    line = Line()
    line.set(slope=2)
    started = time.process_time()
    line.set(slope=3)
    assert time.process_time() - started < 0.3
