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
    "basics",
    "plotting",
    "tasks",
    "tasks.data",
    "backbones",
    "engine",
    "learners",
    "baselines",
    "exact_posterior",
    "checkpoints",
    "evaluation",
    "streams",
    "training",
    "diagnostics",
    "runs",
    "recipes",
    "pretrained",
    "study",
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
        "from metalearn_edu.tasks.data.glyphs import load_glyphs\n"
        "assert late is load_glyphs"
    )


def test_modules_are_still_found_where_they_once_stood():
    run(
        "from metalearn_edu.tasks import folder_check, glyphs\n"
        "from metalearn_edu.tasks.data import folder_check as now\n"
        "from metalearn_edu.recipes import load_run\n"
        "from metalearn_edu.exercises import examine, exercise\n"
        "assert folder_check is now and exercise.examine is examine"
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


BENCHMARKS = PACKAGE.parent / "benchmarks"


def modules():
    return [p for p in sorted(PACKAGE.rglob("*.py")) if p.parent != PACKAGE or p.stem[0] != "_"]


def name_of(path):
    """A module's name as others import it: metalearn_edu.tasks.sampler."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def room_of(module):
    """The innermost room that a module is in."""
    inside = module.removeprefix("metalearn_edu.")
    return max((r for r in ROOMS if f"{inside}.".startswith(f"{r}.")), key=len, default=None)


def imported(path):
    """The names that a module imports from the package, as metalearn_edu.tasks.Task."""
    package = list(path.relative_to(PACKAGE.parent).parts[:-1])
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = [*base, *filter(None, [node.module])]
            names |= {".".join([*stem, alias.name]) for alias in node.names}
    return {name for name in names if name.partition(".")[0] in ("metalearn_edu", "benchmarks")}


def imported_rooms(path):
    """Rooms that a module imports from, its own apart; what is in no room stays as it is."""
    names = imported(path) - {"metalearn_edu.__version__"}
    return {room_of(name) or name for name in names} - {room_of(name_of(path))}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_room_imports_only_from_rooms_before_it(path):
    room = room_of(name_of(path))
    assert room, f"{name_of(path)} is in a new room: say in ROOMS where that stands"
    allowed = set(ROOMS[: ROOMS.index(room)])
    if path.name == "__init__.py":  # shows what is in the rooms inside it
        allowed |= {inner for inner in ROOMS if inner.startswith(f"{room}.")}
    assert not imported_rooms(path) - allowed


def test_no_circle_of_imports():
    """Between files, benchmarks too: of each, all that it stands on can be read before it."""
    paths = [*modules(), *BENCHMARKS.glob("*.py")]
    known = {name_of(path): path for path in paths if path.name != "__init__.py"}
    needs = {name: {module_of(n, known) for n in imported(p)} for name, p in known.items()}
    left = {name: others - {None} for name, others in needs.items()}
    while ready := {name for name, others in left.items() if not others}:
        left = {name: others - ready for name, others in left.items() if name not in ready}
    assert not left


def module_of(name, known):
    """The module of an imported name; None: it comes through the front door of a room."""
    return next((n for n in (name, name.rpartition(".")[0]) if n in known), None)


def test_imports_of_every_kind_are_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "metalearn_edu")
    path = tmp_path / "metalearn_edu" / "learners" / "new.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import torch\n"
        "from ..tasks import Task\n"
        "from .base import MetaLearner\n"
        "from .. import plotting, unknown\n"
        "def f():\n    import metalearn_edu.training\n"
        "    from metalearn_edu.tasks.data.glyphs import load_glyphs\n"
    )
    rooms = {"tasks", "plotting", "metalearn_edu.unknown", "training", "tasks.data"}
    assert imported_rooms(path) == rooms
