"""Near misses: right answers with one thing changed by a rule.

An operator, an axis, an argument, a number, a call that is dropped: with these we can ask whether a
wrong answer is such a slip, and whether a check lets one pass.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from .edits import compiled, source_of

__all__ = ["NearMiss", "near_misses"]

Answer = Callable[..., Any]

OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
CONFUSED = [  # people take either for the other
    ("mean", "sum"),
    ("var", "std"),
    ("any", "all"),
    ("comb", "perm"),
    ("log", "exp"),
    ("ceil", "floor"),
    ("softmax", "log_softmax"),
    ("amin", "amax"),
    ("min", "max"),
    ("argmin", "argmax"),
    ("minimum", "maximum"),
]
CALLS = {a: b for pair in CONFUSED for a, b in (pair, pair[::-1])} | {
    "sqrt": "square",
    "square": "abs",
    "repeat_interleave": "repeat",
    "zeros": "ones",
}


@dataclass(frozen=True)
class NearMiss:
    """A right way with one thing changed.

    Attributes:
        kind: what was changed, in a few words.
        old, new: the line before and after.
        function: the changed function.
    """

    kind: str
    old: str
    new: str
    function: Answer

    @property
    def name(self) -> str:
        """The edit, in the form that it would have among the hints of a lesson."""
        return f"{self.old} -> {self.new}"


@cache
def near_misses(way: Answer) -> tuple[NearMiss, ...]:
    """All single changes of a right way that give another text; none for a way with a `while`.

    If it were changed, its condition might hold forever.
    """
    tree = ast.parse(source_of(way))
    if any(isinstance(node, ast.While) for node in ast.walk(tree)):
        return ()
    before = ast.unparse(tree).splitlines()
    found: dict[str, NearMiss] = {}
    for kind, text in _changed_texts(way, tree):
        old, new = _line_that_differs(before, text.splitlines())
        if new and text not in found:
            found[text] = NearMiss(kind, old, new, compiled(way, text, f"{old} -> {new}"))
    return tuple(found.values())


def _line_that_differs(before: list[str], after: list[str]) -> tuple[str, str]:
    pairs = (pair for pair in zip(before, after, strict=False) if pair[0] != pair[1])
    old, new = next(pairs, ("", ""))
    return old.strip(), new.strip()


def _changed_texts(way: Answer, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(kind, source) of each change of one node, which is put back after it."""
    for parent in list(ast.walk(tree)):
        for name, value in list(ast.iter_fields(parent)):
            children = value if isinstance(value, list) else [value]
            for place, node in enumerate(children):
                if not isinstance(node, ast.AST) or _watches(parent):
                    continue
                for kind, new in list(_replacements(way, node)):
                    changed = [*children[:place], new, *children[place + 1 :]]
                    setattr(parent, name, changed if isinstance(value, list) else new)
                    yield kind, ast.unparse(ast.fix_missing_locations(tree))
                setattr(parent, name, value)


def _watches(node: ast.AST) -> bool:
    """Whether this only checks lengths, like `strict=True`."""
    return isinstance(node, ast.keyword) and node.arg == "strict"


def _replacements(way: Answer, node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    for rule in (_operator, _sign, _number, _call, _argument, _slice):
        yield from rule(way, node)


def _operator(way: Answer, node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if type(node) in OPERATORS:
        yield "an operator", OPERATORS[type(node)]()
    if isinstance(node, ast.BinOp):
        yield "a part that is left out", node.left
        yield "a part that is left out", node.right


def _sign(way: Answer, node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        if not isinstance(node.operand, ast.Constant):
            yield "a sign", node.operand
    elif isinstance(node, ast.Return) and isinstance(node.value, ast.BinOp | ast.Call):
        yield "a sign", ast.Return(ast.UnaryOp(ast.USub(), node.value))


def _number(way: Answer, node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.keyword) and node.arg == "dim":
        axis = ast.literal_eval(node.value)
        for other in {0, 1, 2} - {axis} if axis >= 0 else {0, -2}:
            yield "an axis", ast.keyword("dim", ast.Constant(other))
    elif isinstance(node, ast.Constant):
        value: Any = node.value
        if isinstance(value, bool):
            yield "a flag", ast.Constant(not value)
        elif isinstance(value, int | float):
            for near in (value + 1, value - 1, 2 * value):
                yield "a number", ast.Constant(near)


def _call(way: Answer, node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return
    name, owner = node.func.attr, node.func.value
    if name == "item":
        return  # a number is a number in any container
    if name in CALLS:
        func = ast.Attribute(owner, CALLS[name], ast.Load())
        yield "a function", ast.Call(func, node.args, node.keywords)
    is_module = isinstance(owner, ast.Name) and owner.id in ("torch", "F", "math", "np")
    kept = node.args[0] if is_module and node.args else owner
    if not (is_module and not node.args):
        yield "a call that is left out", kept


def _argument(way: Answer, node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    names = list(inspect.signature(way).parameters)
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
        for other in names:
            if other != node.id:
                yield "an argument", ast.Name(other, ast.Load())


def _slice(way: Answer, node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Slice) and (node.lower or node.upper):
        yield "a slice", ast.Slice(node.upper, node.lower, node.step)
