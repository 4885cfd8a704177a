"""What is wrong with a checked folder, as a figure."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ...basics.arguments import as_integer
from ...plotting.pictures import mosaic, show
from ...plotting.style import SMALL, pyplot_figure, styled, wrap
from ...plotting.words import add_words
from .folder_check import Finding, FolderReport
from .folder_layout import pictures as pictures_in
from .picture import read_picture

__all__ = ["plot_findings"]


@styled
def plot_findings(report: FolderReport, *, n_shown: int = 8, fig: Figure | None = None) -> Figure:
    """Draw what is wrong with a checked folder, worst first: a row for each file or small class.

    Args:
        report: from `check_image_folder`.
        n_shown: the most rows drawn.
        fig: to draw on; its size is set.
    """
    found = [finding for finding in report.findings if finding.kind != "other"]
    shown = found[: as_integer("n_shown", n_shown, 0)]
    fig = fig or pyplot_figure(1, 1)
    fig.set_size_inches(6.8, 0.5 + 0.62 * max(len(shown), 1))
    ax = fig.add_subplot()
    name = wrap(report.root.name, 300, 1)
    ax.set_title(f"{name}: {len(shown)} of {len(found)} findings", loc="left")
    if not shown:
        show(ax, np.ones((1, 8, 3)))
        ax.text(0, 0, "nothing suspicious", va="center")
        add_words(ax, f"Nothing suspicious in the folder {report.root.name}.")
        return fig
    pictures = np.stack([_thumbnail(finding) for finding in shown])
    side = pictures.shape[1]
    show(ax, np.pad(mosaic(pictures, 1), ((0, 0), (0, 10 * side), (0, 0)), constant_values=1))
    for i, finding in enumerate(shown):
        name = finding.file.relative_to(report.root).as_posix()
        text = f"{wrap(name, 400, 1)}\n{wrap(finding.what, 430, 1)}"
        ax.text(1.3 * side, i * (side + 1) + side / 2, text, va="center", fontsize=SMALL)
    rows = (f"{f.file.relative_to(report.root).as_posix()}: {f.what}" for f in shown)
    add_words(
        ax, f"{len(shown)} of {len(found)} findings in {report.root.name}. {'; '.join(rows)}."
    )
    return fig


def _thumbnail(finding: Finding) -> np.ndarray:
    """(56, 56, 3) floats in [0, 1]: the picture, a class's first four pictures, or a cross."""
    if finding.kind != "small":
        return _picture_or_cross(finding.file)
    with contextlib.suppress(OSError):  # the folder may be gone
        some = [_picture_or_cross(file)[::2, ::2] for file in pictures_in(finding.file)[:4]]
        some += [np.ones((28, 28, 3))] * (4 - len(some))
        return np.stack(some).reshape(2, 2, 28, 28, 3).transpose(0, 2, 1, 3, 4).reshape(56, 56, 3)
    return _picture_or_cross(finding.file)


def _picture_or_cross(file: Path) -> np.ndarray:
    """(56, 56, 3) floats in [0, 1]: the picture, or a cross if there is none."""
    with contextlib.suppress(Exception):  # Pillow raises many kinds of errors on damaged files
        return read_picture(file, (56, 56), 3).tile.numpy().transpose(1, 2, 0) / 255
    cross = np.eye(56) + np.eye(56)[::-1] + np.eye(56, k=1) + np.eye(56, k=1)[::-1]
    return np.repeat(0.92 - 0.5 * np.clip(cross, 0, 1)[..., None], 3, axis=2)
