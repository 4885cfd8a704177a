"""The text of a figure: what there is, and which pieces of it lie over each other."""

import matplotlib as mpl


def texts(fig):
    fig.draw_without_rendering()
    return [t for t in fig.findobj(mpl.text.Text) if t.get_text().strip() and t.get_visible()]


def overlaps(fig):
    boxes = [(t.get_text(), t.get_window_extent().padded(-1)) for t in texts(fig)]
    return [
        (a, b)
        for i, (a, box_a) in enumerate(boxes)
        for b, box_b in boxes[:i]
        if box_a.overlaps(box_b)
    ]
