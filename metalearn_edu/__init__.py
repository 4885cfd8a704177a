"""metalearn_edu: a hands-on course on learning to learn."""

__version__ = "0.1.0"
