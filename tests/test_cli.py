"""The command line, run as its users run it: real arguments, real files, exit status."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metalearn_edu import __version__, cli
from metalearn_edu.runs import (
    ALGORITHMS,
    Recipe,
    load_run,
    load_split,
    recipe_data,
    task_source,
    training_source,
)
from metalearn_edu.runs.recipe import every_setting

FAST = ["--steps", "3", "--width", "4", "--train-way", "5", "--quiet", "--n-query", "2"]


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Fifteen classes of twenty small pictures, each class one brightness."""
    rng = np.random.default_rng(0)
    for c in range(15):
        folder = tmp_path / "pictures" / f"class{c:02d}"
        folder.mkdir(parents=True)
        for i in range(20):
            pixels = np.clip(rng.normal(15 * c + 15, 3, (28, 28)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "pictures"


def test_help_and_version(capsys):
    for arguments in (["--help"], [], ["train", "--help"], ["evaluate", "--help"]):
        status, out, _ = run(capsys, *arguments)
        assert status == 0 and "Usage" in out
    assert run(capsys, "--version") == (0, f"metalearn-edu {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["frobnicate"], "frobnicate"),
        (["train"], "algorithm"),
        (["train", "maml"], "--output"),
        (["train", "mamml", "--output", "x"], "prototypical, relation, maml"),
        (["train", "maml", "--output", "x", "--n-way", "1"], "n-way"),
        (["train", "maml", "--output", "x", "--data", "nowhere"], "nowhere"),
        (["train", "prototypical", "--output", "x", "--data", "sinusoids"], "sinusoids"),
        (["train", "mann", "--output", "x", "--data", "sinusoids"], "needs classes"),
        (["train", "mann", "--output", "x", "--metric-weight", "-1"], "metric-weight"),
        (["train", "maml", "--output", "x", "--steps", "many"], "--steps"),
        (["train", "maml", "--output", "x", "--n-classes", "9999"], "has 890 classes"),
        (["train", "maml", "--output", "x", "--meta-lr", "-1"], "meta_lr"),
        (["evaluate", "no-such-run"], "no-such-run"),
        (["evaluate", "relation_glyphs", "--one-shot", "--data", "no.zip"], "no.zip"),
        (["evaluate", "relation_glyphs", "--data", "nowhere"], "nowhere"),
        (["check", "nowhere"], "nowhere"),
        (["data", "mnist"], "mnist"),
        (["data", "glyphs", "--path", "x"], "--path"),
        (["train", "maml", "--output", ""], "an argument is empty"),
        (["train", "maml", "--output="], "an argument is empty"),
        (["evaluate", ""], "an argument is empty"),
        (["evaluate", "mann_glyphs", "--n-way", "3", "--episodes", "2"], "trained for 5-way"),
    ],
)
def test_bad_arguments_give_one_clear_line_and_exit_2(
    capsys, tmp_path, monkeypatch, arguments, says
):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert says in err and err.count("\n") == 1 and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []  # nothing half-made stays behind


def test_train_then_evaluate_on_a_folder_of_images(capsys, tmp_path, image_folder):
    runs = tmp_path / "run"
    train = ["train", "prototypical", "--data", image_folder, "--output", runs, *FAST]
    status, out, _ = run(capsys, *train, "--n-way", 3)
    assert status == 0 and "trained for 3 steps" in out
    card = json.loads((runs / "card.json").read_text())
    assert (
        card["recipe"]["n_steps"] == 3
        and "train prototypical" in card["command"]
        and "--steps 3" in card["command"]
    )
    files = {"card.json", "checkpoint", "model.safetensors", "seen.npz"}
    assert {p.name for p in runs.iterdir()} == files

    ask = ["evaluate", runs, "--n-way", 3, "--n-query", 2, "--episodes", 10]
    status, out, _ = run(capsys, *ask)
    assert status == 0 and "meta-test" in out and "95 % interval over 10 episodes" in out
    first, second = (json.loads(run(capsys, *ask, "--json")[1]) for _ in range(2))
    assert first == second and 1 / 3 < first["mean"] <= 1


def test_a_small_folder_is_trained_on_with_the_usual_settings(capsys, tmp_path, image_folder):
    """Nine classes of seven pictures: 5, 2 and 2 to train, choose and test on."""
    for folder in sorted(image_folder.iterdir())[9:]:
        shutil.rmtree(folder)
    for file in image_folder.glob("*/1?.png"):
        file.unlink()
    (image_folder / "class00" / "7.png").write_bytes(b"no picture")
    fast = ["--data", image_folder, "--width", 4, "--steps", 2, "--quiet"]
    for algorithm, train_way in (("prototypical", 20), ("maml", 2)):
        runs = tmp_path / algorithm
        status, _, err = run(capsys, "train", algorithm, *fast, "--output", runs)
        assert status == 0
        if algorithm == "prototypical":  # said once, as the pictures are read once
            assert "left out" in err and err.count("\n") == 1
        recipe = json.loads((runs / "card.json").read_text())["recipe"]
        assert (recipe["n_way"], recipe["train_way"]) == (2, train_way)
        status, out, _ = run(capsys, "evaluate", runs, "--episodes", 5)
        assert status == 0 and "2-way 1-shot, 5 queries per class" in out
    wide = run(capsys, "train", "maml", *fast, "--n-way", 4, "--output", tmp_path / "x")
    assert wide[0] == 2 and "a 4-way episode of pictures (meta-val) needs 4 classes" in wide[2]


OF_IMAGES = [
    ["prototypical", "--n-classes", 5],
    ["ordinary-classifier", "--rule", "ridge"],
    ["ridge-head", "--strength", 0.5],
    ["relation", "--objective", "mse", "--aggregate", "sum"],
    ["relation", "--backbone", "mlp"],
    ["maml", "--inner-steps", 1],
    ["meta-sgd"],
    ["task-conditioned", "--conditioning", "concat"],
    ["mann"],
    ["mann", "--memory", "none", "--metric-weight", 0],
]


@pytest.mark.parametrize("arguments", OF_IMAGES, ids=lambda a: " ".join(map(str, a)))
def test_the_same_command_trains_every_algorithm(capsys, tmp_path, image_folder, arguments):
    first, again = tmp_path / "first", tmp_path / "again"
    fast = ["--data", image_folder, "--n-way", 3, "--train-way", 3, "--width", 4, "--steps", 2]
    status, _, err = run(capsys, "train", *arguments, *fast, "--quiet", "--output", first)
    assert status == 0, err
    # The command on the card gives the same weights.
    command = json.loads((first / "card.json").read_text())["command"]
    words = shlex.split(command.replace("FOLDER", str(again)))
    assert words[0] == "metalearn-edu"
    assert run(capsys, *words[1:], "--quiet")[0] == 0
    weights = [(folder / "model.safetensors").read_bytes() for folder in (first, again)]
    assert weights[0] == weights[1]
    # With --record the figure stands on the card, once however often it is measured.
    for _ in range(2):
        ask = ["evaluate", first, "--n-query", 2, "--episodes", 5, "--record", "--json"]
        figure = json.loads(run(capsys, *ask)[1])
    assert json.loads((first / "card.json").read_text())["figures"] == [figure]


def test_every_setting_of_a_recipe_is_an_option_of_train():
    options = {option.name: option for option in cli.whole_command().commands["train"].params}
    fields = {name for entry in ALGORITHMS.values() for name in entry.recipe.__dataclass_fields__}
    assert fields <= options.keys()
    for name, setting in every_setting().items():
        assert f"--{setting.option(name)}" in options[name].opts
        assert options[name].help == setting.help


def test_n_classes_bounds_what_is_trained_on():
    small, large = (recipe_data(Recipe("maml", n_classes=n), "meta-train") for n in (50, 200))
    assert (small.n_classes, large.n_classes) == (50, 200)
    assert set(small.class_names) < set(large.class_names)
    assert len(small.groups) > 3  # drawn from all scripts, not from the first ones
    other = recipe_data(Recipe("maml", n_classes=50, seed=1), "meta-train")
    assert set(small.class_names) != set(other.class_names)
    assert "50 classes" in repr(training_source(Recipe("mann", n_classes=50)))
    val = [task_source(Recipe("maml", n_classes=n), "meta-val") for n in (50, None)]
    assert repr(val[0]) == repr(val[1])  # the classes of meta-val stay as they are


def test_streams_are_scored_by_instance(capsys, tmp_path, image_folder):
    runs = tmp_path / "run"
    fast = ["--data", image_folder, "--n-way", 3, "--width", 4, "--steps", 1, "--quiet"]
    run(capsys, "train", "mann", *fast, "--output", runs)
    _, out, _ = run(capsys, "evaluate", runs, "--streams", "--episodes", 4, "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["at"] for line in lines] == [f"instance {k}" for k in range(1, 11)]
    run(capsys, "train", "prototypical", *fast, "--train-way", 3, "--output", tmp_path / "other")
    status, _, err = run(capsys, "evaluate", tmp_path / "other", "--streams", "--episodes", 4)
    assert status == 2 and "streams need a MANN" in err


@pytest.mark.parametrize("algorithm", ["maml", "meta-sgd", "task-conditioned"])
def test_waves_train_too(capsys, tmp_path, algorithm):
    runs = tmp_path / "run"
    fast = ["--data", "sinusoids", "--steps", 2, "--quiet"]
    assert run(capsys, "train", algorithm, *fast, "--output", runs)[0] == 0
    status, out, _ = run(capsys, "evaluate", runs, "--episodes", 5)
    assert status == 0 and "mse" in out


def test_evaluate_refuses_what_the_run_cannot_do(capsys, tmp_path, image_folder):
    runs = tmp_path / "run"
    run(capsys, "train", "maml", "--data", image_folder, "--output", runs, "--n-way", 2, *FAST[:4],
        "--learned-head", "--quiet")  # fmt: skip
    status, _, err = run(capsys, "evaluate", runs, "--n-way", 3, "--episodes", 4)
    assert status == 2 and "output_dim 2, but the tasks need 3" in err
    status, _, err = run(capsys, "evaluate", runs, "--n-way", 40, "--episodes", 4)
    assert status == 2 and "at most 3-way" in err
    (runs / "model.safetensors").write_bytes(b"broken")
    status, _, err = run(capsys, "evaluate", runs)
    assert status == 1 and "damaged" in err


def test_the_same_command_resumes_and_another_is_refused(capsys, tmp_path, image_folder):
    train = ["train", "maml", "--data", image_folder, "--n-way", 3, "--width", 4, "--quiet"]
    for folder, steps in (("a", 4), ("a", 4), ("b", 4)):
        assert run(capsys, *train, "--output", tmp_path / folder, "--steps", steps)[0] == 0
    weights = [(tmp_path / f / "model.safetensors").read_bytes() for f in "ab"]
    assert weights[0] == weights[1]
    status, _, err = run(capsys, *train, "--output", tmp_path / "a", "--steps", 4, "--seed", 1)
    assert status == 2 and "seed: 0 there, 1 here" in err


def test_doctor_gives_one_line_of_advice_per_problem(capsys, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("METALEARN_EDU_CACHE", str(blocked / "cache"))
    status, out, _ = run(capsys, "doctor")
    assert status == 1 and "METALEARN_EDU_CACHE" in out
    lines = out.splitlines()
    problems = [i for i, line in enumerate(lines) if line.startswith("!!")]
    assert problems and all(lines[i + 1].startswith("    -> ") for i in problems)


@pytest.mark.parametrize("named", ["nowhere", "file", "empty"])
def test_doctor_says_what_is_wrong_with_named_data(capsys, tmp_path, monkeypatch, named):
    (tmp_path / "file").write_text("nonsense")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("METALEARN_EDU_DATA", str(tmp_path / named))
    status, out, _ = run(capsys, "doctor")
    lines = out.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("!!  omniglot: "))
    assert status == 1 and f"METALEARN_EDU_DATA is {tmp_path / named}" in lines[place + 1]


def test_doctor_of_a_broken_torch(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    status, out, _ = run(capsys, "doctor")
    assert status == 1 and "torch cannot be loaded" in out and "-> install torch again" in out


def test_doctor_finds_a_sound_installation(capsys):
    status, out, _ = run(capsys, "doctor")
    assert status == 0 and "all is well" in out and "torch" in out and "glyphs" in out


def test_warped_images_growing_widths_and_several_looks(capsys, tmp_path, image_folder):
    runs = tmp_path / "run"
    new = ["--backbone", "pyramid", "--norm", "batch", "--augment", 1, "--test-views", 3]
    train = ["train", "prototypical", "--data", image_folder, "--output", runs, *FAST, *new]
    assert run(capsys, *train, "--n-way", 3)[0] == 0
    learner, recipe, card = load_run(runs)
    assert "Augmented" in repr(training_source(recipe))
    assert learner.encoder.n_views == 3
    assert [block[0].out_channels for block in learner.encoder.encoder.blocks] == [4, 8, 12, 16]
    assert "--backbone pyramid" in card["command"] and "--augment 1.0" in card["command"]
    assert run(capsys, "evaluate", runs, "--n-way", 3, "--episodes", 10)[0] == 0
    scores = run(capsys, "evaluate", runs, "--two-people", "--n-way", 3, "--episodes", 10)
    assert scores[0] == 0 and "OneShotTasks" in scores[1]


def test_all_background_alphabets_and_no_meta_val(omniglot_environment):
    assert load_split("omniglot", "meta-train", "background").n_classes == 964
    assert load_split("omniglot", "meta-test", "background").n_classes == 659
    with pytest.raises(ValueError, match="no meta-val"):
        load_split("omniglot", "meta-val", "background")


def test_check_names_what_is_wrong_and_draws_it(capsys, tmp_path, image_folder):
    (image_folder / "class00" / "broken.png").write_bytes(b"no picture")
    picture = tmp_path / "found.png"
    status, out, _ = run(capsys, "check", image_folder, "--picture", picture)
    assert status == 0
    assert "class00/broken.png" in out and "up to 15-way" in out
    assert Image.open(picture).width > 300
    assert run(capsys, "check", image_folder, "--n-query", 20)[0] == 1


def test_own_images_are_scored_beside_nearest_pixel(capsys, image_folder):
    (image_folder / "class00" / "broken.png").write_bytes(b"no picture")
    arguments = ["evaluate", "relation_glyphs", "--data", image_folder, "--episodes", 20]
    status, out, err = run(capsys, *arguments)
    assert status == 0 and err == ""
    for words in ("class00/broken.png", "learner", "nearest pixel", "chance", "20.0 %", "5-way"):
        assert words in out


def test_one_shot_runs_of_an_archive(capsys, tmp_path):
    ink = np.random.default_rng(0).random((20, 105, 105)) < 0.2
    for name in ("run01", "run02"):
        lines = []
        for c in range(20):
            pair = f"{name}/test/item{c + 1:02d}.png", f"{name}/training/class{c + 1:02d}.png"
            lines.append(" ".join(pair))
            for file in pair:
                (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(~ink[c]).save(tmp_path / file)
        (tmp_path / name / "class_labels.txt").write_text("\n".join(lines))
    arguments = ["evaluate", "prototypical_glyphs", "--one-shot", "--data", tmp_path]
    status, out, err = run(capsys, *arguments, "--json")
    assert err.startswith("metalearn-edu: ") and "2 runs" in err and err.count("\n") == 1
    figure = json.loads(out)
    assert status == 0 and figure["metric"] == "error rate"
    assert figure["mean"] == 0  # each question is the very drawing to learn from


# ---------------------------------------------------------------- the process


COMMANDS = (["-m", "metalearn_edu"], ["-m", "metalearn_edu.cli"])


def process(*words: object, **options) -> subprocess.CompletedProcess:
    root = Path(cli.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), **options.pop("env", {})}
    options = {"capture_output": True, "text": True, "timeout": 120, **options}
    return subprocess.run([sys.executable, *map(str, words)], env=environment, **options)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[-1])
def test_python_m_is_the_command(command):
    assert process(*command, "--version").stdout == f"metalearn-edu {__version__}\n"
    failed = process(*command, "evaluate", "nonsense")
    assert failed.returncode == 2 and failed.stdout == ""
    assert failed.stderr.startswith("metalearn-edu: nonsense") and failed.stderr.count("\n") == 1
    assert "metalearn-edu [OPTIONS]" in process(*command, "--help").stdout


@pytest.mark.parametrize("module", ["torch", "typer", "matplotlib.figure"])
def test_ctrl_c_while_something_is_loaded_says_one_word(tmp_path, module):
    """The interruption comes in the middle of an import, where it would be any kind of error."""
    (tmp_path / "sitecustomize.py").write_text(
        "import builtins, os, signal, sys\n"
        "real = builtins.__import__\n"
        "def slow(name, *rest, **named):\n"
        f"    if name == {module!r} and name not in sys.modules:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(name, *rest, **named)\n"
        "builtins.__import__ = slow\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(cli.__file__).parents[1])])
    words = ["-m", "metalearn_edu", "check", tmp_path]
    done = process(*words, env={"PYTHONPATH": path})
    assert (done.returncode, done.stderr) == (130, "stopped\n")


def test_looking_at_the_package_loads_nothing_heavy():
    code = "import sys, metalearn_edu.cli; print('torch' in sys.modules, 'numpy' in sys.modules)"
    assert process("-c", code).stdout == "False False\n"


def test_help_is_there_without_loading_anything_heavy():
    code = (
        "import atexit, sys, metalearn_edu.cli as cli\n"
        "heavy = ['torch', 'numpy', 'matplotlib', 'PIL']\n"
        "atexit.register(lambda: print([m for m in heavy if m in sys.modules], file=sys.stderr))\n"
        "cli.main(['train', 'maml', '--help'])"
    )
    done = process("-c", code, env={"COLUMNS": "120"})
    assert (done.returncode, done.stderr) == (0, "[]\n")
    panels = [line for line in done.stdout.splitlines() if "Of " in line and "──" in line]
    own = next(panel for panel in panels if "Of maml, meta-sgd, anil, boil, reptile and" in panel)
    _, _, after = done.stdout.partition(own)
    assert after.index("--inner-lr") < after.index("Of task-conditioned")


def test_a_reader_that_goes_away_is_no_error():
    code = (
        "import os, sys\nfrom metalearn_edu.cli import main\n"
        "read, write = os.pipe(); os.close(read); os.dup2(write, 1)\n"
        "main(['exercises', 'list'])"
    )
    done = process("-c", code)
    assert done.stderr == "" and done.returncode == 1


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_names_that_the_console_does_not_know_are_escaped(tmp_path, encoding):
    for name in ("кошка", "犬"):
        (tmp_path / name).mkdir()
        for i in range(6):
            noise = np.random.default_rng(i + len(name)).integers(0, 256, (30, 30), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / name / f"{i}.png")
    (tmp_path / "犬" / "плохо.jpg").write_text("no picture")
    quiet = {"env": {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}}
    done = process("-m", "metalearn_edu", "check", tmp_path, **quiet)
    assert done.returncode == 0 and "\\u043f\\u043b\\u043e\\u0445\\u043e.jpg" in done.stdout
    done = process("-m", "metalearn_edu", "check", tmp_path / "нет", **quiet)
    assert done.returncode == 2 and "\\u043d" in done.stderr


# ---------------------------------------------------------------- how errors are told


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (ValueError("n_way must be 5"), 2, "n_way must be 5 (--help shows the options)"),
        (FileNotFoundError("no x"), 2, "no x"),
        (OSError(28, "No space left on device"), 1, "No space left"),
        (ConnectionError("no network"), 1, "no network"),
        (TimeoutError("another training"), 1, "another training"),
        (FloatingPointError("the loss is nan"), 1, "the loss is nan"),
        (MemoryError(), 1, "memory"),
        (OverflowError("int too big to convert"), 1, "too large a number"),
        (RecursionError("maximum recursion depth exceeded"), 1, "too large"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "memory"),
        (TypeError("'NoneType' object\nis not iterable"), 1, "internal error"),
        (KeyError("x"), 1, "internal error"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 2, "utf-8"),
        (ValueError("class \x1b[2J"), 2, "class \\x1b[2J"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_error_is_one_line_with_its_status(capsys, monkeypatch, error, status, says):
    def fail(*_, **__):
        raise error

    monkeypatch.delenv("METALEARN_EDU_DEBUG", raising=False)
    monkeypatch.setattr("metalearn_edu.doctor.examine", fail)
    found, out, err = run(capsys, "doctor")
    assert (found, out) == (status, "") and says in err
    assert err.count("\n") == 1 and err.startswith("metalearn-edu: ") and "\x1b" not in err
    assert ("--help shows" in err) == (status == 2)


def test_the_place_of_an_error_is_shown_on_request(monkeypatch):
    monkeypatch.setattr("metalearn_edu.doctor.examine", lambda: 1 / 0)
    monkeypatch.setenv("METALEARN_EDU_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        cli.main(["doctor"])


def test_ctrl_c_in_a_command_is_one_word(capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("metalearn_edu.doctor.examine", stop)
    assert run(capsys, "doctor") == (130, "", "metalearn-edu: stopped\n")


def test_the_picture_of_check_replaces_nothing_else(capsys, tmp_path, image_folder):
    os.mkfifo(tmp_path / "pipe.png")
    inside = image_folder / "class00" / "0.png"
    before = inside.read_bytes()
    for picture in (
        inside,
        image_folder / "new.png",
        tmp_path / "pipe.png",
        tmp_path / "notes.txt",
    ):
        status, out, err = run(capsys, "check", image_folder, "--picture", picture)
        assert (status, out) == (2, "") and "--picture" in err
    assert inside.read_bytes() == before and not (tmp_path / "notes.txt").exists()


def test_a_picture_that_cannot_be_written_leaves_the_old_one(
    capsys, tmp_path, image_folder, monkeypatch
):
    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "found.png").write_bytes(b"the old one")
    monkeypatch.setattr("metalearn_edu.basics.files.os.replace", full)
    status, _, err = run(capsys, "check", image_folder, "--picture", tmp_path / "found.png")
    assert status == 1 and "No space left" in err
    assert (tmp_path / "found.png").read_bytes() == b"the old one"
    assert not list(tmp_path.glob("*.part")) and not list(tmp_path.glob(".*"))


def test_a_learner_of_five_classes_says_so_of_a_folder_of_three(capsys, tmp_path, image_folder):
    few = tmp_path / "few"
    for k in range(3):
        shutil.copytree(image_folder / f"class{k:02d}", few / f"c{k}")
    status, _, err = run(capsys, "evaluate", "mann_glyphs", "--data", few, "--episodes", 4)
    assert status == 2 and "trained for 5-way episodes: " in err and "3 classes qualify" in err


@pytest.mark.skipif(os.name == "nt", reason="a shell's way to close a stream")
def test_without_a_stdout_a_command_does_its_work(tmp_path):
    command = f"{shlex.quote(sys.executable)} -m metalearn_edu --version >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_commands_in_the_readme_are_understood():
    """Their options are read, and nothing is done."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    lines = [line.strip() for line in readme.splitlines() if line.startswith("    metalearn-edu")]
    app = cli.whole_command()
    assert len(lines) > 10
    for line in lines:
        name, *words = shlex.split(line)[1:]
        app.commands[name].make_context(name, words)
