"""Find words in the course's prose that read as a translation.

Run it as `python tools/english.py [FILE ...]`; without files it reads all that `SCOPE` names. The
patterns and what to write instead are in `tools/english.txt`. Prose is text files, and in Python
files the comments, docstrings and messages.
"""

import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PATTERNS = ROOT / "tools" / "english.txt"
SCOPE = (
    "*.md",
    "course.py",
    "benchmarks/**/*.py",
    "benchmarks/*.md",
    "tools/*.py",
    "metalearn_edu/**/*.py",
    "metalearn_edu/**/*.md",
    "metalearn_edu/exercises/hints/*.txt",
    "metalearn_edu/exercises/questions/*.txt",
    "docs/*.md",
    "notebooks/source/*.py",
)
INSIDE_LINE = (tokenize.NL, tokenize.INDENT, tokenize.DEDENT)


class Prose(NamedTuple):
    """A paragraph, with the line that it begins on."""

    line: int
    text: str


def main(arguments: Sequence[str]) -> int:
    """Print what is found; returns 1 if that is anything."""
    found = [line for path in map(Path, arguments) for line in findings(path)]
    found = found if arguments else [line for path in files() for line in findings(path)]
    print("\n".join([*found, f"English: {len(found)} findings"]))
    return 1 if found else 0


def files() -> list[Path]:
    """All files whose prose is read."""
    return sorted({path for pattern in SCOPE for path in ROOT.glob(pattern)})


def patterns() -> list[tuple[re.Pattern[str], str]]:
    """Each pattern with what to write instead.

    Raises:
        ValueError: a line without ` -> `.
    """
    found = []
    for number, line in enumerate(PATTERNS.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            pattern, arrow, instead = line.partition(" -> ")
            if not arrow:
                raise ValueError(f"{PATTERNS.name}, line {number}: no ' -> ' in {line!r}")
            found.append((re.compile(pattern, re.IGNORECASE), instead))
    return found


def findings(path: Path) -> list[str]:
    """The words to replace in a file, each with its line and what to write instead."""
    read = python_prose if path.suffix == ".py" else paragraphs
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return [
        f"{shown}:{line}: {near(text, match)!r}: {instead}"
        for line, text in read(path.read_text(encoding="utf-8"))
        for pattern, instead in patterns()
        for match in pattern.finditer(text)
    ]


def paragraphs(text: str) -> Iterator[Prose]:
    """The paragraphs of a text, each on one line."""
    line = 1
    for part in re.split(r"(\n\s*\n)", text):
        if part.strip():
            yield Prose(line, one_line(part))
        line += part.count("\n")


def python_prose(code: str) -> Iterator[Prose]:
    """Comments and strings of Python code; what continues in the next line is one text."""
    kind, begun, parts = None, 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        text = words_of(token)
        if parts and (token.type in INSIDE_LINE or (text and kind_of(token) == kind)):
            parts += [text] * bool(text)
            continue
        if parts:
            yield from (Prose(begun, prose) for _, prose in paragraphs("\n".join(parts)))
        kind, begun, parts = kind_of(token), token.start[0], [text] * bool(text)


def kind_of(token: tokenize.TokenInfo) -> str:
    """Comment or string, also the parts that newer Pythons cut an f-string into."""
    return "comment" if token.type == tokenize.COMMENT else "string"


def words_of(token: tokenize.TokenInfo) -> str:
    """The words of a comment or a string, without its signs; empty for code."""
    if token.type == tokenize.COMMENT:
        return token.string.lstrip("# ")
    if token.type == tokenize.STRING:
        return re.sub(r"^\w*(\"\"\"|'''|\"|')|(\"\"\"|'''|\"|')$", "", token.string)
    is_part = tokenize.tok_name[token.type] == "FSTRING_MIDDLE"
    return token.string if is_part else ""


def one_line(text: str) -> str:
    """Text without line breaks and indents."""
    return " ".join(text.split())


def near(text: str, match: re.Match[str]) -> str:
    """A match with the words around it."""
    return text[max(0, match.start() - 30) : match.end() + 20]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
