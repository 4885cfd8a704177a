"""Figures of the course in one common style: pictures, results, curves.

Accuracies are fractions in code and percent on axes, with their 95 % interval and the line of
chance. Functions draw on the axes or the figure that they are given and return it. Without one,
they make one with pyplot, so that a notebook shows it; end the cell with `plt.show()`. Figures of a
single feature are beside that feature: `study.figures`, `tasks.data.figures`.
"""

from .curves import plot_curves, plot_embedding
from .pictures import plot_episode, plot_items
from .results import plot_accuracy, plot_history, plot_intervals
from .style import (
    LOOK,
    class_look,
    encode_png,
    figure_png,
    look,
    new_figure,
    use_course_style,
)
from .words import alt_text, describe

__all__ = [
    "LOOK",
    "alt_text",
    "class_look",
    "describe",
    "encode_png",
    "figure_png",
    "look",
    "new_figure",
    "plot_accuracy",
    "plot_curves",
    "plot_embedding",
    "plot_episode",
    "plot_history",
    "plot_intervals",
    "plot_items",
    "use_course_style",
]
