"""How fast is the course, beside what a person would write by hand? `make bench` tells.

Nothing here is a test: a machine under load is no defect.
"""
