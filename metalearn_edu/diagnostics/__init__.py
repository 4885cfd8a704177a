"""Is it sound? Checks of splits, episodes, transduction and the meta-gradient.

Each check works on any function or learner and returns a `Report`.
"""

from .episodes import check_episodes
from .meta_gradient import check_meta_gradient
from .report import Report
from .splits import check_splits
from .transduction import check_transduction

__all__ = [
    "Report",
    "check_episodes",
    "check_meta_gradient",
    "check_splits",
    "check_transduction",
]
