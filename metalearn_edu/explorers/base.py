"""Base class of the explorers: a pure drawing function with a thin shell of controls.

An explorer's state is the values of its controls, by name. The picture depends only on the state,
so we can test it without a browser; the shell redraws it when a control moves. What is unusual, and
why:

- The picture is an <img> element in an HTML widget, not an Output widget: it does not flicker, it
has a fixed size, and it can carry a text for people who cannot see it (an Image widget cannot). -
Nothing queues up while a slider is dragged: the browser holds back the values of a control until
the kernel has answered, and then sends only the newest one. So we need no timer. - If no kernel
runs, the notebook shows a still picture with its words drawn below it. - JupyterLab does not show
exceptions that a moved slider causes. We catch them and show them as one line; changes made from
Python through `set` raise them as usual.
"""

from __future__ import annotations

import html
from abc import abstractmethod
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets
import matplotlib as mpl
from matplotlib.figure import Figure

from ..basics.names import for_terminal
from ..plotting import figure_png, new_figure
from ..plotting.style import STYLE
from .drawing import with_caption
from .page import as_html, live_line, picture_tag

__all__ = ["Explorer"]


class Explorer(widgets.VBox):
    """A figure that moves. Subclasses give `controls`, `draw` and `describe`.

    Attributes:
        title: one line above the controls.
        question: what a user can find out with the explorer; shown below the picture.
        size: of the picture, (width, height) in inches; shown at `dpi` pixels per inch.
        text_height: room for the text in pixels, so that nothing below it jumps; 88: four lines.
        slow: True if a picture takes more than about 0.1 s. Then we draw when a slider is
            released, not while it is dragged, and say that we are busy.
        episode_control: the control, an IntSlider, that the button `episode_label` moves on by one
            (from its end back to its start); empty: no such button.
        inputs: the controls by name.
        raise_errors: also raise the errors that a moved control causes; the tests set it.
    """

    title: str = ""
    question: str = ""
    size: tuple[float, float] = (6.4, 3.6)
    dpi: int = 72
    text_height: int = 88
    slow: bool = False
    episode_control: str = ""
    episode_label: str = "New episode"
    raise_errors: bool = False

    def __init__(self, **state: Any) -> None:
        self.inputs: dict[str, Any] = self.controls()
        self._depth = 0
        self._drawn: dict[str, Any] | None = None
        self._set_up_inputs()
        self._check_names(state)
        self._assign_all(state)
        self._initial = self.state
        # We keep room for one line of message and for the text, so that nothing below them jumps.
        self.picture = widgets.HTML()
        room = widgets.Layout(min_height=f"{self.text_height}px", max_width="760px")
        self.text = widgets.HTML(layout=room)
        self.message = widgets.HTML(layout=widgets.Layout(min_height="28px", max_width="760px"))
        self.reset_button = self.button("Start again", "the first settings", self.reset)
        self.buttons = widgets.HBox([self.reset_button])
        if self.episode_control:
            self._check_names({self.episode_control: None})
            self.episode_button = self.button(
                self.episode_label, f"the next {self.episode_control}", self.new_episode
            )
            self.buttons.children = (self.episode_button, self.reset_button)
        super().__init__(self.arrange())
        self._redraw()
        for name, control in self.inputs.items():
            control.observe(lambda _, name=name: self._control_moved(name), names="value")

    # ------------------------------------------------------------ for subclasses

    @abstractmethod
    def controls(self) -> dict[str, Any]:
        """The controls by the name of the state that they set, each with a description."""

    @abstractmethod
    def draw(self, fig: Figure, **state: Any) -> None:
        """Draw the state on an empty figure; nothing else must change."""

    @abstractmethod
    def describe(self, **state: Any) -> str:
        """What the picture shows, in words, for people who can see it and people who cannot."""

    def after_change(self, name: str) -> None:
        """Called when control `name` has moved, before drawing; may set other controls."""

    def arrange(self) -> list[Any]:
        """The widgets from top to bottom."""
        title = widgets.HTML(f"<b>{html.escape(self.title)}</b>")
        question = widgets.HTML(f"<b>Question.</b> {html.escape(self.question)}")
        inputs = list(self.inputs.values())
        return [title, *inputs, self.buttons, self.message, self.picture, self.text, question]

    def button(self, label: str, tooltip: str, action: Callable[[], Any]) -> widgets.Button:
        """A button that does something; a failure becomes one line under the controls."""
        button = widgets.Button(description=label, tooltip=tooltip)
        button.on_click(lambda _: self._moved(action))
        return button

    # ------------------------------------------------------------ for everyone

    @property
    def state(self) -> dict[str, Any]:
        """The value of each control."""
        return {name: control.value for name, control in self.inputs.items()}

    def figure(self, **state: Any) -> Figure:
        """The figure of a state; missing values are those at the start."""
        self._check_names(state)
        fig = new_figure(*self.size)
        with mpl.rc_context(STYLE):
            self.draw(fig, **{**self._initial, **state})
        return fig

    def png(self, **state: Any) -> bytes:
        """The figure of a state as the bytes of a PNG picture."""
        return figure_png(self.figure(**state), self.dpi)

    def still(self) -> bytes:
        """The current picture with its words below it, as the bytes of a PNG picture."""
        return with_caption(self._png, self.describe(**self.state), self.size[0], self.dpi)

    def set(self, **state: Any) -> None:
        """Move controls from Python, then draw once.

        Raises:
            ValueError: there is no such control, or it does not accept the value; nothing moves.
        """
        self._check_names(state)
        before = self.state
        with self._hold():
            try:
                self._assign_all(state)
            except Exception:
                for name, value in before.items():
                    self.inputs[name].value = value
                raise
        self._redraw()

    def reset(self) -> None:
        """Go back to the state at the start."""
        self.set(**self._initial)

    def new_episode(self) -> None:
        """Move `episode_control` on by one; the first value follows the last."""
        control = self.inputs[self.episode_control]
        last = control.value >= control.max
        self.set(**{self.episode_control: control.min if last else control.value + control.step})

    def refresh(self) -> None:
        """Draw again, after a change to something that is not part of the state."""
        self._drawn = None
        self._redraw()

    # ------------------------------------------------------------ the shell

    def _set_up_inputs(self) -> None:
        for name, control in self.inputs.items():
            if not getattr(control, "description", ""):
                raise ValueError(f"control {name!r} needs a description")
            if control.has_trait("continuous_update"):
                control.continuous_update = not self.slow
        self._align_inputs()

    def _align_inputs(self) -> None:
        """Align all controls, to the right of the longest description."""
        inputs = self.inputs.values()
        on_the_left = [c.description for c in inputs if not isinstance(c, widgets.Checkbox)]
        label = 16 + 7 * max(map(len, on_the_left))
        for control in inputs:
            control.style.description_width = f"{label}px"
            control.layout.width = f"{label + 320}px"

    def _check_names(self, state: dict[str, Any]) -> None:
        unknown = sorted(set(state) - set(self.inputs))
        if unknown:
            raise ValueError(
                f"{type(self).__name__} has no control {', '.join(unknown)}; "
                f"it has {', '.join(self.inputs)}"
            )

    def _assign_all(self, state: dict[str, Any]) -> None:
        """Values in the order of the controls, because an earlier one can limit a later one."""
        for name in self.inputs:
            if name in state:
                self._assign(name, state[name])

    def _assign(self, name: str, value: Any) -> None:
        control = self.inputs[name]
        try:
            control.value = value
        except Exception as error:
            raise ValueError(f"{name} does not take {value!r}: {error}") from error
        if control.value != value:
            limits = f"{getattr(control, 'min', '?')} to {getattr(control, 'max', '?')}"
            raise ValueError(f"{name} must lie in {limits}, got {value!r}")

    @contextmanager
    def _hold(self) -> Iterator[None]:
        """Inside the block, controls move without a redraw."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def _control_moved(self, name: str) -> None:
        if self._depth:
            self.after_change(name)
            return
        self._moved(lambda: self._follow(name))

    def _follow(self, name: str) -> None:
        with self._hold():
            self.after_change(name)
        self._redraw()

    def _moved(self, action: Callable[[], Any]) -> None:
        """Do what a person requested; a failure becomes one line under the controls."""
        try:
            action()
        except Exception as error:
            self._say_error(error)
            if self.raise_errors:
                raise

    def _redraw(self) -> None:
        state = self.state
        if state == self._drawn:
            return
        if self.slow:
            self._say("Working ...")
        try:
            self._png, words = self.png(**state), as_html(self.describe(**state))
        except Exception as error:
            self._drawn = None
            self._say_error(error)
            raise
        self.picture.value = picture_tag(self._png, words, *(self.dpi * side for side in self.size))
        self.text.value = live_line("status", words)
        self._drawn = state
        self._say("")

    def _say_error(self, error: Exception) -> None:
        lines = str(error).splitlines() or ["no message"]
        self._say(f"That did not work. {type(error).__name__}: {lines[0]}")

    def _say(self, text: str) -> None:
        self.message.value = live_line("alert", as_html(text)) if text else ""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **kwargs: Any) -> Any:
        """The widget, and the same as a picture and as text, for places where no widget runs."""
        data = super()._repr_mimebundle_(include=include, exclude=exclude, **kwargs)
        settings = ", ".join(f"{name}={value!r}" for name, value in self.state.items())
        text = for_terminal(f"{type(self).__name__} at {settings} (run the cell to move it)")
        image = b64encode(self.still()).decode()
        alt = for_terminal(f"{self.title}. {self.describe(**self.state)}").strip()
        bundle = {**dict(data or {}), "image/png": image, "text/plain": text}
        return bundle, {"image/png": {"alt": alt}}
