"""Write a table of measurements: what the scripts beside this one share."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch


def write_table(table: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Measure all rows on one thread, print each as it comes, and write them below a header."""
    torch.set_num_threads(1)
    found = []
    for row in rows:
        print(row, flush=True)
        found.append(row)
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
