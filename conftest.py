"""What every test and every notebook kernel sees, also where pytest is started by hand.

One thread in each process, so that several run side by side; no progress bars in the notebooks'
outputs; the course's data cache where course.py has it; no record of exercises.
"""

import os

import course

pytest_plugins = ["tools.fast_tests"]

# Begun in this order and before all others: what is quick to fail, then the longest file.
FIRST = ("tests/test_lint.py", "tests/test_setup.py", "tests/browser/")

for _name, _value in (course.ONE_THREAD | course.NO_BARS).items():
    os.environ.setdefault(_name, _value)
if "METALEARN_EDU_CACHE" not in os.environ:
    os.environ["METALEARN_EDU_CACHE"] = str(course.caches() / "metalearn_edu")
os.environ["METALEARN_EDU_PROGRESS"] = "off"  # nobody's own progress is touched
os.environ.pop("MPLBACKEND", None)  # the notebooks' kernels choose their own


def pytest_collection_modifyitems(items):
    """Begin with FIRST; the others keep their order."""
    items.sort(key=lambda item: [not item.nodeid.startswith(name) for name in FIRST])
