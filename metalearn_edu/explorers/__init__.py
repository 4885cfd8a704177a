"""Widgets of the lessons: pure figures with a thin shell of controls."""
