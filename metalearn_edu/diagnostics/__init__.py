"""Is it sound? Checks of splits, episodes, transduction and the meta-gradient."""

from .diagnostics import (
    Report,
    check_episodes,
    check_meta_gradient,
    check_splits,
    check_transduction,
)

__all__ = [
    "Report",
    "check_episodes",
    "check_meta_gradient",
    "check_splits",
    "check_transduction",
]
