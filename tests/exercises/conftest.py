import ast
import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

SOURCES = Path(__file__).parents[2] / "notebooks" / "source"


@pytest.fixture
def lesson():
    """From a lesson's number to the stubs of its exercises and its folded solutions."""

    def read(number):
        (source,) = SOURCES.glob(f"{number}_*.py")
        text = source.read_text(encoding="utf-8")
        return SimpleNamespace(stubs=_stubs(text), solutions=_solutions(text))

    return read


def _stubs(text):
    """{name: arguments} of the functions that raise NotImplementedError."""
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    return {
        f.name: [argument.arg for argument in f.args.args]
        for f in functions
        if isinstance(f.body[-1], ast.Raise)
    }


def _solutions(text):
    """{name: function} of the Python code in the lesson's prose."""
    defined = {"math": math, "torch": torch}
    for code in re.findall(r"^# ```python\n(.*?)^# ```", text, re.S | re.M):
        exec(re.sub(r"^# ?", "", code, flags=re.M), defined)
    return defined
