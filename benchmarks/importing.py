"""Workload 9: `import metalearn_edu` takes at most 0.3 s longer than `import torch`.

Each import has an interpreter of its own. The peer imports torch and waits for 0.3 s, which is all
that we may take.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

from torch import Tensor

from benchmarks.workload import Aim, Run, Workload

__all__ = ["WORKLOADS"]

ROOT = Path(__file__).parent.parent
CODE = {
    "import torch": "import torch",
    "import torch, then 0.3 s": "import time, torch; time.sleep(0.3)",
    "import metalearn_edu": "import metalearn_edu",
}


def interpreter(code: str) -> Run:
    """A fresh interpreter that runs `code`; there is no result to compare."""

    def run() -> list[Tensor]:
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
        return []

    return run


WORKLOADS = {
    "9-import": Workload(
        {name: partial(interpreter, code) for name, code in CODE.items()},
        (Aim("import metalearn_edu", "import torch, then 0.3 s", 1.0),),
        threads=(1,),
        memory=False,
    )
}
