"""What is public, what an import costs, and which room may import from which."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import metalearn_edu
from metalearn_edu import learners, tasks

PACKAGE = Path(metalearn_edu.__file__).parent
# From the ground up: a room imports only from rooms before it.
ROOMS = [
    "interrupts",
    "arguments",
    "memory",
    "names",
    "progress",
    "tasks",
    "backbones",
    "learners",
    "baselines",
    "checkpoints",
    "runs",
    "evaluation",
    "own_images",
    "training",
    "diagnostics",
    "recipes",
    "pretrained",
    "study",
    "selection",
    "plotting",
    "explorers",
    "exercises",
    "doctor",
    "cli",
]
PROMISED = [
    "EnhancedProtoNet",
    "MAML",
    "MAMLModel",
    "MANN",
    "MANNController",
    "MetaSGD",
    "PrototypicalNetwork",
    "RelationNetwork",
    "TaskConditionedNetwork",
    "TaskEncoder",
    "create_task_batch",
    "evaluate_meta_learner",
    "meta_train",
    "select_meta_learning_algorithm",
]


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", metalearn_edu.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(metalearn_edu, name).__doc__
    assert name in dir(metalearn_edu)


def test_promised_names_are_public():
    assert set(PROMISED) <= set(metalearn_edu.__all__)


def test_learners_and_tasks_are_public_at_the_top():
    assert {*learners.__all__, *tasks.__all__} <= set(metalearn_edu.__all__)


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'meta_trian'"):
        metalearn_edu.meta_trian  # noqa: B018


def test_import_brings_no_figures_and_no_widgets():
    late = ["matplotlib", "ipywidgets", "IPython", "anywidget", "PIL", "typer", "pooch", "higher"]
    late += ["joblib"]
    code = f"import sys, metalearn_edu; print([m for m in {late} if m in sys.modules])"
    assert run(code) == "[]\n"


def test_names_loaded_late_are_the_real_ones():
    run(
        "import metalearn_edu\n"
        "late = metalearn_edu.load_glyphs\n"
        "from metalearn_edu.tasks.glyphs import load_glyphs\n"
        "assert late is load_glyphs"
    )


def test_import_costs_little_beyond_torch():
    code = (
        "import time, torch\n"
        "start = time.process_time()\n"
        "import metalearn_edu\n"
        "print(time.process_time() - start)"
    )
    assert min(float(run(code)) for _ in range(3)) < 0.3  # seconds of processor time


def test_type_checkers_see_the_names_loaded_late(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import metalearn_edu\nreveal_type(metalearn_edu.load_glyphs)\n")
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", str(script)]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True)
    assert "FewShotDataset" in done.stdout, done.stdout + done.stderr


# ---------------------------------------------------------------- rooms


def modules():
    return [p for p in sorted(PACKAGE.rglob("*.py")) if p.parent != PACKAGE or p.stem[0] != "_"]


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path):
    """Rooms that a module imports from, its own apart."""
    package = ["metalearn_edu", *path.relative_to(PACKAGE).parts[:-1]]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = [*base, *filter(None, [node.module])]
            names |= {".".join([*stem, alias.name]) for alias in node.names}
    parts = (name.split(".") for name in names)
    rooms = {p[1] for p in parts if p[0] == "metalearn_edu" and len(p) > 1}
    return rooms - {room_of(path), "__version__"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_rooms_before_it(path):
    room = room_of(path)
    assert room in ROOMS, f"{room} is a new room: say in ROOMS where it stands"
    unknown_or_later = imported_rooms(path) - set(ROOMS[: ROOMS.index(room)])
    assert not unknown_or_later


def test_no_module_imports_a_notebook():
    for path in modules():
        assert "notebooks" not in imported_rooms(path)


def test_imported_rooms_sees_every_kind_of_import(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (tmp_path / "learners").mkdir()
    path = tmp_path / "learners" / "new.py"
    path.write_text(
        "import torch\n"
        "from ..tasks import Task\n"
        "from .base import MetaLearner\n"
        "from .. import plotting\n"
        "def f():\n    import metalearn_edu.training\n"
        "    from metalearn_edu.cli import main\n"
    )
    assert imported_rooms(path) == {"tasks", "plotting", "training", "cli"}
