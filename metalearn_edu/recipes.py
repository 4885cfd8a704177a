"""The earlier name of `metalearn_edu.runs`, for scripts from before; its names are these."""

from .runs import *  # noqa: F403
