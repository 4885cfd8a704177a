"""The lessons without running them: each notebook is what its source says, run and stable.

That the cells still print what is stored is nbval's part: `pytest notebooks`.
"""

import re

import pytest

from metalearn_edu.exercises import all_exercises
from tools import build_notebooks as build

SOURCES = build.find_sources()


@pytest.mark.parametrize("source", SOURCES, ids=[source.stem for source in SOURCES])
def test_notebook_is_sound(source):
    assert build.lesson_problems(source) == []


def test_every_notebook_has_a_source():
    assert build.orphans() == []


def test_no_function_is_defined_in_two_lessons():
    assert build.shared_helpers() == {}


def first_cell(source):
    """The words of a lesson's first cell in one line."""
    return " ".join(build.read_source(source).cells[0].source.split())


def minutes_of(source):
    """(minutes of the lesson, exercises included; those said to be for the exercises, or None)."""
    text = first_cell(source)
    (reading,) = re.findall(r"\*\*(\d+) minutes\*\*|\*\*Time:\*\* (\d+) minutes", text)
    more = re.search(r"and (\d+) more with|take another (\d+)", text)
    inside = re.search(r"of which (\d+) are for the (?:\w+ )?exercises? and (\d+) for", text)
    extra = int(more[1] or more[2]) if more else None
    asked = sum(map(int, inside.groups())) if inside else extra
    return int(reading[0] or reading[1]) + (extra or 0), asked


@pytest.mark.parametrize("source", SOURCES, ids=[source.stem for source in SOURCES])
def test_minutes_are_those_of_the_readme(source):
    page = (build.ROOT / "README.md").read_text(encoding="utf-8")
    (in_readme,) = re.findall(rf"\| \[{source.stem}\].*\| (\d+) \|", page)
    assert minutes_of(source)[0] == int(in_readme)


@pytest.mark.parametrize("source", SOURCES, ids=[source.stem for source in SOURCES])
def test_minutes_of_the_exercises_add_up(source):
    all_minutes, said = minutes_of(source)
    number = int(source.stem[:2])
    total = sum(item.minutes for item in all_exercises().values() if item.lesson == number)
    assert abs(total - said) <= 2 if said is not None else total < all_minutes / 2


# Words in bold that are stressed and not defined.
STRESSED = {"not", "one", "mean", "sum", "before", "after", "right"}


def terms_of(source):
    """Words in bold inside a sentence, which a lesson defines; no leads of lists."""
    cells = [c.source for c in build.read_source(source).cells if c.cell_type == "markdown"]
    found = re.findall(r"(?<=[\w,:(] )\*\*([a-z][\w -]{2,30})\*\*", "\n".join(cells))
    return {term for term in found if term not in STRESSED}


def test_no_term_is_defined_in_two_lessons():
    defined = {}
    for source in SOURCES:
        for term in terms_of(source):
            assert term not in defined, f"{term}: {defined[term]} and {source.stem}"
            defined[term] = source.stem
    assert "support set" in defined and "embedding" in defined


# Symbols that two of the papers use for different things; each table says what it means.
OTHERWISE = {r"$\alpha$", r"$\beta$", r"$\gamma$", "$S$", "$Q$", "$r$", "$k$", "$K$", "$d$"}


def symbols_of(source):
    """Symbol -> names in code, from the table at the beginning of a lesson."""
    text, found = build.read_source(source).cells[0].source, {}
    for symbols, names in re.findall(r"(?m)^\| (\$.+?) \| (.*?`.*?) \|", text):
        parts, codes = re.findall(r"\$[^$]+\$", symbols), re.findall(r"`([^`]+)`", names)
        pairs = zip(parts, codes, strict=True) if len(parts) == len(codes) else []
        found |= {part: {code} for part, code in pairs} or {part: set(codes) for part in parts}
    return found


def test_a_symbol_means_the_same_in_all_tables():
    known = {}
    for source in SOURCES:
        for symbol, codes in symbols_of(source).items():
            names = {code.rsplit(".", 2)[-1] for code in codes}
            if symbol not in OTHERWISE:
                others = known.setdefault(symbol, names)
                assert names & others, f"{source.stem}: {symbol} is {names}, before {others}"
    assert known[r"$\mathcal{S}$"] and known[r"$\theta$"] == {"parameters()"}
