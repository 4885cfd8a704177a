"""Widgets of the lessons: pure figures under a thin shell of controls."""
