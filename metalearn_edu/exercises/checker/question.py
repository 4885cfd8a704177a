"""Questions with a few answers to choose from; each answer says why it is right or wrong.

They are in the texts of the folder `questions`, one for each lesson:

    # one_alphabet
    2 minutes, easy: say what makes a task hard

    Twenty letters to learn from one drawing each. When will a learner err more often?

    a: If they come from anywhere
        More variety makes the letters easier to tell apart, not harder.
    b, right: If all come from one alphabet
        Letters of one alphabet share strokes and style, as b, d, p and q do.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from ..record import read_record, update_record
from .texts import facts_of, part_of

__all__ = ["Option", "Question", "QuestionWidget", "as_html", "question_of"]

PART = re.compile(r".+\n\n(.+)\n\n((?:\w(?:, right)?: .+\n    .+\n)+)")
OPTION = re.compile(r"(\w)(, right)?: (.+)\n    (.+)\n")


@dataclass(frozen=True)
class Option:
    """An answer to choose, and what we say about it."""

    text: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """A prediction, or a piece of reasoning.

    Attributes:
        name: how `predict` finds it.
        lesson: the number of the notebook.
        aim: what it teaches, as a verb phrase.
        minutes, difficulty: what to expect.
        text: the question; words between backticks are code.
        options: by letter, a, b, c, ...
        right: the letter of the right one.
    """

    name: str
    lesson: int
    aim: str
    minutes: int
    difficulty: str
    text: str
    options: Mapping[str, Option]
    right: str

    def __post_init__(self) -> None:
        letters = "abcdefgh"[: len(self.options)]
        if list(self.options) != list(letters) or self.right not in self.options:
            raise ValueError(
                f"question {self.name}: options must be lettered {', '.join(letters)} and hold the "
                f"right one; got {list(self.options)} and right={self.right!r}"
            )

    def answer(self, choice: str) -> str:
        """The reason for an option; the choice is remembered.

        Raises:
            ValueError: there is no such option.
        """
        letter = str(choice).strip().lower()
        if letter not in self.options:
            raise ValueError(f"choose one of {', '.join(self.options)}; got {choice!r}")
        state = "correct" if letter == self.right else "tried"
        update_record(self.name, state, choice=letter)
        verdict = "correct" if letter == self.right else "not right yet"
        return f"{letter}: {verdict}. {self.options[letter].reason}"

    def key(self) -> str:
        """The question with its right option and the reason."""
        option = self.options[self.right]
        return f"{self.text}\n{self.right}: {option.text}\n{option.reason}"

    def __str__(self) -> str:
        lines = [f"  {letter}: {option.text}" for letter, option in self.options.items()]
        answer = f'Answer with predict("{self.name}", "a"), or another letter.'
        return "\n".join([self.text, *lines, answer])


def question_of(name: str, lesson: str) -> Question:
    """The question under `# name` in a text of the folder `questions`.

    Raises:
        ValueError: there is none, or it is not written as above.
    """
    file = f"questions/{lesson}"
    found = PART.fullmatch(part_of(file, name).strip() + "\n")
    options = OPTION.findall(found[2]) if found else []
    rights = [letter for letter, right, _, _ in options if right]
    if found is None or len(rights) != 1:
        raise ValueError(f"{file}: write {name} as {__name__} says, with one right option")
    return Question(
        name=name,
        text=found[1],
        options={letter: Option(text, reason) for letter, _, text, reason in options},
        right=rights[0],
        **facts_of(file, name),
    )


class QuestionWidget(widgets.VBox):
    """A question to click or, with Tab, the arrow keys and Enter, to type; remembers the choice.

    Attributes:
        choice: the options, a RadioButtons.
        button: gives the answer.
        reply: what the chosen option says.
    """

    def __init__(self, question: Question) -> None:
        self.question = question
        self.choice = widgets.RadioButtons(
            options=[(f"{k}: {o.text}".replace("`", ""), k) for k, o in question.options.items()],
            value=None,
            layout=widgets.Layout(width="auto"),
        )
        self.button = widgets.Button(description="Answer", disabled=True)
        self.reply = widgets.HTML()
        self.choice.observe(self._chosen, names="value")
        self.button.on_click(lambda _: self._say(question.answer(str(self.choice.value))))
        text = widgets.HTML(as_html(question.text))
        super().__init__([text, self.choice, self.button, self.reply])
        earlier = str(read_record().get(question.name, {}).get("choice"))
        if earlier in question.options:
            self.choice.value = earlier
            self._say(question.answer(earlier))

    def _chosen(self, change: Any) -> None:
        self.button.disabled = change["new"] is None
        self.reply.value = ""

    def _say(self, text: str) -> None:
        self.reply.value = f'<div role="status">{as_html(text)}</div>'

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **kwargs: Any) -> Any:
        """The widget, and where none can run, the question with its answer folded."""
        data = super()._repr_mimebundle_(include=include, exclude=exclude, **kwargs)
        stills = {"text/html": _still(self.question), "text/plain": str(self.question)}
        return {**dict(data or {}), **stills}, {}


def _still(question: Question) -> str:
    options = "".join(
        f"<li>{letter}: {as_html(option.text)}</li>" for letter, option in question.options.items()
    )
    reason = as_html(question.options[question.right].reason)
    return (
        f'<p>{as_html(question.text)}</p><ul style="list-style: none">{options}</ul>'
        f"<details><summary>Answer</summary>{question.right}: {reason}</details>"
    )


def as_html(text: str) -> str:
    """Plain text as HTML: text between backticks is code; line breaks stay."""
    code = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
    return code.replace("\n", "<br>")
