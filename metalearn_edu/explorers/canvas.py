"""Draw your own characters, and see which of them a network recognises in the next drawing.

Introduced in notebook 00. What is unusual:

- The pad sends strokes, not pixels. Python redraws them in the size, place and pen width of
  Glyphs, so that a thick pen or a small drawing does not confuse a network trained on Glyphs.
- A mouse, a pen and a finger draw; a keyboard cannot. So each drawing can also be picked from a
  list of samples, which is what the tests do as well.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from ipywidgets import Dropdown, HBox, Text, ToggleButtons
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw
from torch import Tensor

from ..basics.files import open_atomically
from ..learners import MetaLearner
from ..plotting.style import BLUE, SMALL
from ..pretrained import list_pretrained, load_pretrained
from ..tasks import load_glyphs, load_image_folder
from ..tasks.data.picture import open_picture
from .base import Explorer
from .drawing import DARK_GREEN, blank_page, show_letter

__all__ = ["DrawYourOwn", "DrawingPad", "draw_strokes"]

SIDE = 28  # pixels of an item
# Of the middle of Glyphs' drawings, in pixels: the longer side of the ink, and the pen's width.
INK, PEN = 20.0, 2.3
FINE = 8  # dots a pixel, along each axis, before they are averaged
MOST = 10  # characters
QUERY = "query"
NO_SAMPLE = "none"
# Learners that take any number of classes; MAML's last layer, for example, has a fixed number.
ANY_WAY = ("prototypical", "relation", "task-conditioned")


def draw_strokes(strokes: Sequence[Sequence[Sequence[float]]]) -> Tensor:
    """Strokes as an item like those of Glyphs: (1, 28, 28) floats in [0, 1], with bright ink.

    Args:
        strokes: each a list of points (x, y), in any unit, y downwards; a single point is a dot.
    """
    page = Image.new("L", (FINE * SIDE, FINE * SIDE))
    if strokes:
        points = np.concatenate([np.asarray(stroke, dtype=float) for stroke in strokes])
        low, high = points.min(axis=0), points.max(axis=0)
        size = max((high - low).max(), 1e-6)
        pen = ImageDraw.Draw(page)
        for stroke in strokes:
            path = (np.asarray(stroke, dtype=float) - (low + high) / 2) / size * (INK - PEN)
            _ink(pen, FINE * (path + SIDE / 2), FINE * PEN)
    dots = np.asarray(page, dtype=np.float32).reshape(SIDE, FINE, SIDE, FINE)
    return torch.from_numpy(dots.mean(axis=(1, 3)) / 255)[None]


def _ink(pen: ImageDraw.ImageDraw, path: np.ndarray, width: float) -> None:
    """A line through the points (n, 2), with round ends and corners."""
    pen.line([tuple(point) for point in path], fill=255, width=round(width))
    for x, y in path:
        pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)


class DrawingPad(anywidget.AnyWidget):
    """A white square to draw on with mouse, pen or finger. It works offline.

    Attributes:
        strokes: what is drawn: a list of strokes, each a list of [x, y] from 0 to 1, y downwards.
            Setting it draws it.
    """

    # While a stroke is being drawn, only the pad knows its state, so it ignores all messages.
    # It tells Python ten times a second; if the kernel is busy, only the newest message is kept.
    _esm = """
    function render({ model, el }) {
      const side = 240, fine = 2;
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = fine * side;
      canvas.style.cssText = `width: ${side}px; height: ${side}px; border: 1px solid #767676;` +
        "background: white; touch-action: none; cursor: crosshair";
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", "Drawing pad, for mouse, pen and touch");
      el.append(canvas);
      const pen = canvas.getContext("2d");
      let strokes = [], pointer = null, told = 0;

      function paint() {
        pen.clearRect(0, 0, canvas.width, canvas.height);
        pen.lineWidth = 0.07 * canvas.width;
        pen.lineCap = pen.lineJoin = "round";
        for (const stroke of strokes) {
          const points = stroke.map(([x, y]) => [x * canvas.width, y * canvas.height]);
          pen.beginPath();
          pen.moveTo(...points[0]);
          for (const point of points) pen.lineTo(...point);
          pen.stroke();
        }
      }
      function tell() {
        told = performance.now();
        model.set("strokes", structuredClone(strokes));
        model.save_changes();
      }
      function listen() {
        if (pointer !== null) return;
        strokes = structuredClone(model.get("strokes"));
        paint();
      }
      function place(event) {
        const box = canvas.getBoundingClientRect();
        const x = (event.clientX - box.left) / box.width;
        const y = (event.clientY - box.top) / box.height;
        return [x, y].map((share) => Math.round(1000 * Math.min(1, Math.max(0, share))) / 1000);
      }
      canvas.addEventListener("pointerdown", (event) => {
        if (pointer !== null || event.button !== 0) return;
        pointer = event.pointerId;
        canvas.setPointerCapture(pointer);
        strokes.push([place(event)]);
        paint();
        event.preventDefault();
        event.stopPropagation();
      });
      canvas.addEventListener("pointermove", (event) => {
        if (event.pointerId !== pointer) return;
        strokes.at(-1).push(place(event));
        paint();
        if (performance.now() - told > 100) tell();
      });
      const lift = (event) => {
        if (event.pointerId !== pointer) return;
        pointer = null;
        tell();
      };
      canvas.addEventListener("pointerup", lift);
      canvas.addEventListener("pointercancel", lift);
      model.on("change:strokes", listen);
      listen();
      return () => model.off("change:strokes", listen);
    }
    export default { render };
    """
    strokes: traitlets.List[Any] = traitlets.List().tag(sync=True)


class DrawYourOwn(Explorer):
    """One drawing each of 2 to 10 characters, and a query that a pretrained network names.

    Draw a character, choose the next number, and so on; then choose "query". Drawings stay while
    the kernel runs, and `save` writes them to a folder that `load_image_folder` reads.

    Args:
        state: first values of the controls.
    """

    title = "Draw your own"
    question = (
        "Invent three characters, then draw one of them again. How different may the second "
        "drawing be (turned, larger, with a loop left out) before the network takes it for another?"
    )
    size = (7.0, 3.35)  # as high as the pad, and beside it within 760 pixels
    text_height = 66

    def __init__(self, **state: Any) -> None:
        self.learners, self._samples = _learners(), _samples()
        self.drawings: dict[str, Tensor] = {}  # by place: items (1, 28, 28)
        self._strokes: dict[str, list[Any]] = {}
        self._picked: dict[str, str] = {}  # by place: the name of the sample in it
        self._left: list[Any] = []  # strokes of the previous place, which the pad may still show
        self.pad, self.folder = DrawingPad(), Text("my_characters", description="folder")
        super().__init__(**state)
        self.pad.observe(lambda _: self._pad_changed(), names="strokes")

    def controls(self) -> dict[str, Any]:
        places = [*map(str, range(MOST)), QUERY]
        samples = [NO_SAMPLE, *self._samples]
        return {
            "learner": Dropdown(options=list(self.learners), description="learner"),
            "place": ToggleButtons(options=places, description="I draw character"),
            "sample": Dropdown(options=samples, description="or pick a sample"),
        }

    def arrange(self) -> list[Any]:
        """The pad beside the picture; below them, in two rows, what is done with a drawing."""
        title, learner, place, sample, buttons, message, picture, *rest = super().arrange()
        place.style.button_width, place.style.description_width = "48px", "initial"
        place.layout.width = "760px"
        for menu in (learner, sample):
            menu.style.description_width, menu.layout.width = "initial", "270px"
        self.undo_button = self.button("Undo", "take back the last stroke", self.undo)
        self.clear_button = self.button("Clear", "an empty pad", self.clear)
        self.save_button = self.button(
            "Save", "add a drawing of each character to the folder", self._save_here
        )
        self.load_button = self.button("Load", "read characters from the folder", self._load_here)
        self.folder.layout.width = "300px"
        changes = [self.undo_button, self.clear_button, self.reset_button]
        files = [self.folder, self.save_button, self.load_button]
        for button in (*changes, *files[1:]):
            button.layout.width = "84px"
        buttons.children = (*changes, *files)
        board = HBox([self.pad, picture], layout={"grid_gap": "12px"})
        self._enable()
        return [title, place, board, buttons, HBox([sample, learner]), message, *rest]

    def after_change(self, name: str) -> None:
        place, sample = self.state["place"], self.state["sample"]
        if name == "place":
            self._left = self.pad.strokes
            self._show_place()
        if name == "sample" and sample != NO_SAMPLE:
            self._put(place, self._samples[sample])
            self._picked[place] = sample
            self._show_place()

    def reset(self) -> None:
        """Back to the start, without the drawings."""
        self._forget()
        super().reset()
        self.refresh()

    # ------------------------------------------------------------ drawings

    def undo(self) -> None:
        """Take back the last stroke on the pad."""
        self.pad.strokes = self.pad.strokes[:-1]

    def clear(self) -> None:
        """Delete the drawing in this place."""
        self._put(self.state["place"], None)
        self._show_place()
        self.refresh()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Add each character's drawing, dark on white: `folder`/character 0/drawing 1.png, ...

        `load_image_folder(folder, ink="dark")` gives the same items again. A drawing that already
        exists is not written twice, so that characters drawn again become further drawings.

        Raises:
            ValueError: fewer than two characters are drawn.
        """
        if len(self._characters()) < 2:
            raise ValueError("draw at least two characters before you save them")
        for place in self._characters():
            home = Path(folder) / f"character {place}"
            home.mkdir(parents=True, exist_ok=True)
            page = 255 - (255 * self.drawings[place][0]).round().to(torch.uint8).numpy()
            if not any(_shows(file, page) for file in home.glob("drawing *.png")):
                free = (home / f"drawing {number}.png" for number in count(1))
                with open_atomically(next(f for f in free if not os.path.lexists(f))) as file:
                    Image.fromarray(page).save(file, format="PNG")

    def load(self, folder: str | os.PathLike[str]) -> None:
        """Take the characters from a folder of pictures, the first of each; the query stays.

        Raises:
            ValueError: there are more than 10 classes, or fewer than 2.
            FileNotFoundError: there is no such folder.
        """
        dataset = load_image_folder(folder, ink="dark")
        if dataset.n_classes > MOST:
            raise ValueError(f"{folder} has {dataset.n_classes} classes; there is room for {MOST}")
        for place in self._characters():
            self._put(place, None)
        for label in range(dataset.n_classes):
            self.drawings[str(label)] = dataset.items_of(label)[0]
        self._show_place()
        self.refresh()

    def scores(self, learner: str) -> dict[str, float]:
        """The probability of each character for a learner; empty until there are two characters."""
        places = self._characters()
        if len(places) < 2 or QUERY not in self.drawings:
            return {}
        support = torch.stack([self.drawings[place] for place in places])
        predictor = self.learners[learner].adapt(support, torch.arange(len(places)))
        with torch.no_grad():
            shares = predictor(self.drawings[QUERY][None])[0].softmax(dim=0).tolist()
        return dict(zip(places, shares, strict=True))

    def _characters(self) -> list[str]:
        return sorted(place for place in self.drawings if place != QUERY)

    def _show_place(self) -> None:
        """Menu and pad as they belong to the chosen place."""
        place = self.state["place"]
        with self._hold():
            self.inputs["sample"].value = self._picked.get(place, NO_SAMPLE)
            self.pad.strokes = self._strokes.get(place, [])
        self._enable()

    def _enable(self) -> None:
        """Only buttons that have something to do can be pressed."""
        self.undo_button.disabled = not self.pad.strokes
        self.clear_button.disabled = self.state["place"] not in self.drawings

    def _put(self, place: str, item: Tensor | None) -> None:
        """Replace the content of the place by an item, or empty it."""
        for known in (self._strokes, self._picked, self.drawings):
            known.pop(place, None)
        if item is not None:
            self.drawings[place] = item

    def _forget(self) -> None:
        for known in (self._strokes, self._picked, self.drawings):
            known.clear()
        self._show_place()

    def _pad_changed(self) -> None:
        if not self._depth:
            self._moved(self._take_strokes)

    def _take_strokes(self) -> None:
        place, strokes = self.state["place"], self._without_left(self.pad.strokes)
        self._put(place, draw_strokes(strokes) if strokes else None)
        self._strokes[place] = strokes
        self._show_place()
        self.refresh()

    def _without_left(self, strokes: list[Any]) -> list[Any]:
        """Take only strokes of this place: after a change, the pad still shows the previous one."""
        n, left, self._left = len(self._left), self._left, []
        if not 0 < n < len(strokes) or strokes[:n] != left:
            return strokes
        return [*self._strokes.get(self.state["place"], []), *strokes[n:]]

    def _save_here(self) -> None:
        self._check_folder()
        self.save(self.folder.value)
        n_drawings = len(list(Path(self.folder.value).glob("character ?/drawing *.png")))
        self._say(
            f"Saved {len(self._characters())} characters. The folder {self.folder.value} "
            f"has {n_drawings} drawings now; for another alphabet name another folder."
        )

    def _check_folder(self) -> None:
        if not self.folder.value.strip():
            raise ValueError("the folder needs a name")

    def _load_here(self) -> None:
        self._check_folder()
        self.load(self.folder.value)
        self._say(f"Loaded {len(self._characters())} characters.")

    # ------------------------------------------------------------ drawing

    def draw(self, fig: Figure, **state: Any) -> None:
        """The query on the left, the characters on the right with the share that each gets."""
        ax, scores = blank_page(fig), self.scores(state["learner"])
        best = max(scores, key=scores.__getitem__, default=None)
        ax.text(4, 14, "query", va="center", fontsize=13)
        self._tile(ax, QUERY, 4, 28, 96, state["place"])
        if best is not None:
            ax.text(4, 142, f"most like {best}", va="center", fontsize=13, color=DARK_GREEN)
            ax.text(4, 162, f"of these {len(scores)}", va="center", fontsize=SMALL)
        for place in range(MOST):
            row, column = divmod(place, MOST // 2)
            left, top, name = 120 + 78 * column, 6 + 120 * row, str(place)
            self._tile(ax, name, left, top, 68, state["place"])
            weight = "bold" if name == best else "normal"
            color = DARK_GREEN if name == best else "black"
            ax.text(left, top + 81, name, va="center", fontsize=13, color=color, weight=weight)
            if name in scores:
                ax.add_patch(Rectangle((left, top + 91), 68 * scores[name], 6, color=color))
                text: Any = {"ha": "right", "va": "center", "color": color, "weight": weight}
                ax.text(left + 68, top + 81, f"{100 * scores[name]:.0f} %", fontsize=13, **text)

    def _tile(
        self, ax: Axes, place: str, left: float, top: float, side: float, chosen: str
    ) -> None:
        frame = BLUE if place == chosen else "0.75"
        show_letter(ax, self.drawings.get(place), left, top, side, frame)

    def describe(self, **state: Any) -> str:
        scores, drawn = self.scores(state["learner"]), ", ".join(self._characters())
        start = f"Characters drawn: {drawn}." if drawn else "Nothing is drawn yet."
        if not scores:
            return f"{start} With two characters and a query, {state['learner']} gives an answer."
        shares = ", ".join(f"{place}: {100 * share:.0f} %" for place, share in scores.items())
        best = max(scores, key=scores.__getitem__)
        answer = f"{start} {state['learner']} takes the query for {best} ({shares})."
        return f'{answer} "None of these" is not among its answers: the shares add up to 100 %.'


def _shows(file: Path, page: np.ndarray) -> bool:
    """Whether a file holds this very picture."""
    with (
        contextlib.suppress(Exception),
        open_picture(file) as image,
    ):  # damaged: any error
        return np.array_equal(page, np.asarray(image))
    return False


def _learners() -> dict[str, MetaLearner]:
    """The pretrained learners that take a few classes of 28x28 grey pictures."""
    loaded = {name: load_pretrained(name) for name in list_pretrained()}
    return {
        name: learner
        for name, (learner, card) in loaded.items()
        if card["recipe"]["algorithm"] in ANY_WAY and card["item_shape"] == [1, SIDE, SIDE]
    }


def _samples() -> dict[str, Tensor]:
    """Three drawings of each of some letters that the learners have not seen, by name."""
    letters = load_glyphs("meta-test")
    return {
        f"{letters.class_names[c].lower()}, drawing {i + 1}": letters.items_of(c)[i]
        for c in range(0, letters.n_classes, 13)
        for i in range(3)
    }
