"""The command line, `metalearn-edu`: check, get data, train, evaluate, do exercises."""

from __future__ import annotations

import contextlib
import errno
import inspect
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from . import __version__
from .basics.interrupts import loaded, quiet_at_exit, quiet_while_loading
from .basics.names import for_terminal

with quiet_while_loading():
    import typer

if TYPE_CHECKING:
    from .learners import MetaLearner
    from .runs import Recipe
    from .runs.own_images import Answer

__all__ = ["app", "main", "whole_command"]

app = typer.Typer(
    name="metalearn-edu",
    help="Learning to learn, hands on: check the set-up, get data, train and evaluate learners.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

exercises_app = typer.Typer(help="The lessons' exercises: list, solutions.", add_completion=False)
app.add_typer(exercises_app, name="exercises")

Seed = Annotated[int, typer.Option(min=0, help="Seed of the initial weights and of the episodes.")]
Way = Annotated[int | None, typer.Option(min=2, help="Classes per episode.")]
Shot = Annotated[int | None, typer.Option(min=1, help="Support items per class.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; default: torch's choice.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        _say(f"metalearn-edu {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Shared options of all commands."""


@app.command()
def doctor() -> None:
    """Check the installation: packages, device, data, cache; one line of advice per problem."""
    from .doctor import examine

    loaded()
    problems = 0
    for finding in examine():
        _say(f"{'ok ' if finding.ok else '!! '} {finding.what}: {_one_line(finding.found)}")
        if not finding.ok:
            problems += 1
            _say(f"    -> {_one_line(finding.advice)}")
    _say("all is well" if not problems else f"{problems} problem(s) found")
    raise typer.Exit(1 if problems else 0)


@app.command()
def data(
    name: Annotated[Literal["glyphs", "omniglot"], typer.Argument(help="Which data set.")],
    path: Annotated[
        Path | None, typer.Option(help="Omniglot: a folder or omniglot28.npz that you have.")
    ] = None,
) -> None:
    """Build the Glyphs, or download Omniglot (with progress and checksum), into the cache."""
    from .tasks import load_glyphs, load_omniglot

    loaded()
    if name == "glyphs":
        if path is not None:
            raise ValueError("--path is for omniglot; glyphs are built from Matplotlib's fonts")
        for split in (None, "meta-train", "meta-val", "meta-test"):
            _say(f"{split or 'all':>10}: {load_glyphs(split)}")
        return
    _say(f"background: {load_omniglot('background', path=path)}")
    _say(f"evaluation: {load_omniglot('evaluation', path=path)}")


@app.command()
def train(
    ctx: typer.Context,
    output: Annotated[Path, typer.Option(help="Run folder for weights, card and checkpoint.")],
    threads: Threads = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    **settings: Any,
) -> None:
    """Meta-train a learner; Ctrl-C stops it, the same command continues where it stopped.

    Settings that are not given take the algorithm's own defaults. The best weights on meta-val
    episodes are kept; meta-test classes are never touched.
    """
    from .runs.command import check_settings, make_recipe
    from .runs.options import settings_among
    from .runs.train import train_recipe

    loaded()
    _use_threads(threads)
    algorithm, data = settings["algorithm"], settings["data"]
    given = settings_among({name: settings[name] for name in _given(ctx) & settings.keys()})
    check_settings(algorithm, data, given)
    recipe = make_recipe(algorithm, data, **given)
    _describe_data(recipe)
    history = train_recipe(recipe, output, progress=not quiet)
    state = "stopped by hand after" if history.interrupted else "trained for"
    _say(f"{state} {history.n_steps} steps in {history.seconds:.0f} s; run folder: {output}")
    for step, score in list(zip(history.val_steps, history.val_scores, strict=True))[-1:]:
        _say(f"last meta-val score {score:.4f} (step {step}); best step {history.best_step}")
    if history.interrupted:
        _say(f"{recipe.n_steps} steps were requested: the same command continues", err=True)
        raise typer.Exit(130)


OF_EVERY_TRAINING = [
    option
    for option in inspect.signature(train, eval_str=True).parameters.values()
    if option.kind is not option.VAR_KEYWORD
]
"""The options of `train` beside the settings of a recipe."""


def _describe_data(recipe: Recipe) -> None:
    """Print how the pictures of a folder are read, and which classes are held out."""
    from .runs.sources import folder_of

    folder = folder_of(recipe)
    if folder is None:
        return
    counts = [f"{split} {part.n_classes}" for split, part in folder.parts.items()]
    colour = "grey" if folder.preparation.channels == 1 else "colour"
    size = " x ".join(map(str, folder.preparation.size))
    turned = ", inverted" if folder.preparation.ink == "dark" else ""
    _say(f"pictures read as {colour}, {size}{turned}; --size, --channels and --ink change it")
    none = "" if "meta-val" in folder.parts else " (too few for meta-val: the last weights stay)"
    _say(f"classes: {', '.join(counts)}{none}")


@app.command()
def evaluate(
    ctx: typer.Context,
    run: Annotated[
        Path, typer.Argument(help="Run folder that `train` left, or a name of pretrained weights.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="A folder of your own images; with --one-shot: all_runs.zip."),
    ] = None,
    one_shot: Annotated[
        bool, typer.Option("--one-shot", help="The 20 official runs of Lake's one-shot task.")
    ] = False,
    two_people: Annotated[
        bool, typer.Option("--two-people", help="Fresh tasks like those of the official runs.")
    ] = False,
    n_way: Way = None,
    n_shot: Shot = None,
    n_query: Annotated[
        int | None,
        typer.Option(min=1, help="Query items per class; default 15, of your own images 5."),
    ] = None,
    episodes: Annotated[int, typer.Option(min=2, help="Episodes.")] = 600,
    split: Annotated[
        Literal["meta-train", "meta-val", "meta-test"], typer.Option(help="Whose classes.")
    ] = "meta-test",
    within_group: Annotated[
        bool, typer.Option("--within-group", help="All classes of an episode from one script.")
    ] = False,
    seed: Seed = 20_000,
    threads: Threads = None,
    streams: Annotated[
        bool,
        typer.Option(
            "--streams", help="For mann: accuracy by instance in streams of 10 per class."
        ),
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Also write the figure to the run's card.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a trained learner on fresh episodes: mean and 95 % interval.

    On a folder of your own images, nearest pixel is scored beside it.
    """
    from .runs.finished import as_figure, score, tasks_to_score, trained_way_said
    from .runs.folder import record_figures, refuse_shipped
    from .runs.sources import OWN_QUERIES
    from .runs.train import load_run

    loaded()
    _use_threads(threads)
    folder = _run_folder(run)
    learner, recipe, card = its = load_run(folder)
    way = _way_of_evaluating(ctx, recipe)
    _refuse_unused(ctx, EVALUATE_TAKES[way], f"evaluate {way}".strip())
    _say_if_stopped(run, recipe, card)
    seed, episodes = _fitting_numbers(seed=seed, episodes=episodes)
    if record:
        refuse_shipped(folder)
    if way == "--data":
        own = {"n_way": n_way, "n_shot": n_shot or 1, "n_query": n_query or OWN_QUERIES}
        fresh = {"n_episodes": episodes, "seed": seed}
        _evaluate_own_images(folder, its, data, as_json=as_json, counts=own, fresh=fresh)
        return
    counts = {"n_way": n_way, "n_shot": n_shot, "n_query": n_query, "within_group": within_group}
    tasks = tasks_to_score(way, recipe, card, split, data, counts)
    with trained_way_said(recipe, tasks.n_way):
        results = score(way, learner, tasks, n_episodes=episodes, seed=seed)
    figures = [as_figure(name, result, split) for name, result in results.items()]
    for (name, result), figure in zip(results.items(), figures, strict=True):
        line = f"{recipe.algorithm}, {split}{', ' * bool(name)}{name}: {result}"
        _say(json.dumps(figure) if as_json else line)
    if record:
        record_figures(folder, figures)


ALWAYS = {"run", "threads", "as_json"}
EPISODES = {"episodes", "seed"}
EVALUATE_TAKES = {
    "--data": ALWAYS | EPISODES | {"data", "n_way", "n_shot", "n_query"},
    "--one-shot": ALWAYS | {"one_shot", "data", "record"},
    "--two-people": ALWAYS | EPISODES | {"two_people", "n_way", "split", "record"},
    "--streams": ALWAYS | EPISODES | {"streams", "n_way", "split", "record"},
    "on functions": ALWAYS | EPISODES | {"n_shot", "n_query", "record"},
    "": ALWAYS | EPISODES | {"n_way", "n_shot", "n_query", "split", "within_group", "record"},
}
"""The options that have a meaning for each way of evaluating."""


def _way_of_evaluating(ctx: typer.Context, recipe: Recipe) -> str:
    from .runs.recipe import FUNCTIONS

    given = _given(ctx)
    asked = [f"--{name.replace('_', '-')}" for name in ("one_shot", "two_people", "streams")
             if name in given]  # fmt: skip
    asked += ["--data"] if "data" in given and "one_shot" not in given else []
    if len(asked) > 1:
        raise ValueError(f"{' and '.join(asked)} do not go together")
    return asked[0] if asked else "on functions" if recipe.data in FUNCTIONS else ""


def _given(ctx: typer.Context) -> set[str]:
    """The parameters that were given on the command line."""
    source = ctx.get_parameter_source
    return {n for n in ctx.params if getattr(source(n), "name", "") == "COMMANDLINE"}


def _refuse_unused(ctx: typer.Context, used: Iterable[str], what: str) -> None:
    """Refuse options that would be ignored."""
    spelt = {param.name: param.opts[0] for param in ctx.command.params}
    unused = sorted(spelt[name] for name in _given(ctx) - set(used))
    if unused:
        raise ValueError(f"{', '.join(unused)} has no meaning for {what}")


def _say_if_stopped(run: Path, recipe: Recipe, card: dict[str, Any]) -> None:
    if card.get("interrupted"):
        taken = f"after {card.get('steps_taken')} of {recipe.n_steps} steps"
        _say(f"metalearn-edu: the training of {run} was stopped {taken}", err=True)


def _fitting_numbers(**numbers: int) -> list[int]:
    from .basics.arguments import as_integer

    most = {"seed": 2**63 - 1, "episodes": 10**7}
    return [as_integer(f"--{n}", value, 0, at_most=most[n]) for n, value in numbers.items()]


def _evaluate_own_images(
    run: Path,
    its: tuple[MetaLearner, Recipe, dict[str, Any]],
    folder: Path | None,
    *,
    counts: dict[str, Any],
    fresh: dict[str, Any],
    as_json: bool,
) -> None:
    """Check a folder of images and score a learner that has seen none of its pictures."""
    from .runs import ALGORITHMS
    from .runs.finished import as_figure, preparation_of, read_own_pictures, trained_way_said
    from .runs.own_images import evaluate_on_images
    from .tasks import check_image_folder

    assert folder is not None  # giving this option chooses this way of evaluating
    learner, recipe, card = its
    preparation_of(recipe, card)  # refuse a run on sinusoids before reading the pictures
    report = check_image_folder(folder, counts["n_shot"], counts["n_query"])
    if not as_json:
        _say(report)
    dataset = read_own_pictures(run, recipe, card, folder)
    if counts["n_way"] is None and not ALGORITHMS[recipe.algorithm].any_way:
        counts["n_way"] = recipe.n_way
    with trained_way_said(recipe, counts["n_way"]):
        result = evaluate_on_images(learner, dataset, **counts, **fresh)
    if not as_json:
        _say(result)
        return
    rules = {"learner": result.learner, "nearest pixel": result.nearest_pixel}
    for name, scores in rules.items():
        _say(json.dumps(as_figure(name, scores, "own images")))


def _run_folder(run: Path) -> Path:
    """A run folder, or the folder of pretrained weights with this name."""
    from .pretrained import FOLDER, list_pretrained

    return FOLDER / run if not run.exists() and str(run) in list_pretrained() else run


@app.command()
def predict(
    run: Annotated[
        Path, typer.Argument(help="Run folder that `train` left, or a name of pretrained weights.")
    ],
    pictures: Annotated[
        list[Path], typer.Argument(metavar="PICTURE...", help="Files, or folders of files.")
    ],
    support: Annotated[
        Path, typer.Option(help="Folder of pictures to learn from, one folder per class in it.")
    ],
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one line each.")] = False,
) -> None:
    """Learn from a folder of pictures, and say which of its classes other pictures show.

    Exit status 1 if a picture cannot be read.
    """
    from .runs import ALGORITHMS
    from .runs.finished import preparation_of
    from .runs.own_images import predict_pictures
    from .runs.train import load_run
    from .tasks import read_image_folder

    loaded()
    _use_threads(threads)
    files = [file for picture in pictures for file in _files_of(picture)]
    learner, recipe, card = load_run(_run_folder(run))
    _say_if_stopped(run, recipe, card)
    examples, decided = read_image_folder(support, **preparation_of(recipe, card))
    try:
        answers = predict_pictures(learner, examples, files, decided)
    except ValueError as error:
        *most, last = [name for name, entry in ALGORITHMS.items() if entry.any_way]
        raise ValueError(
            f"{run} ({recipe.algorithm}) cannot learn the {examples.n_classes} classes of "
            f"{support}: {error}; it was trained for {recipe.n_way}, while {', '.join(most)} and "
            f"{last} learners, such as prototypical_glyphs, take any number"
        ) from None
    for answer in answers:
        _say(json.dumps(_as_object(answer)) if as_json else _as_line(answer))
    if not as_json:
        _say("percentages: softmax of the learner's scores; do not rely on them as probabilities")
    raise typer.Exit(1 if any(answer.error for answer in answers) else 0)


def _files_of(picture: Path) -> list[Path]:
    """The picture itself, or the pictures in a folder."""
    from .tasks.data.folder_layout import pictures

    if not picture.exists():
        raise FileNotFoundError(f"picture {picture} does not exist")
    if not picture.is_dir():
        return [picture]
    files = pictures(picture)
    if not files:
        raise ValueError(f"folder {picture} holds no pictures; give files, or a folder of files")
    return files


def _as_line(answer: Answer) -> str:
    name = _one_line(answer.picture)
    if answer.error is not None:
        return f"{name}: cannot be read: {_one_line(answer.error)}"
    scores = [f"{_one_line(c)} {100 * share:.1f} %" for c, share in answer.scores.items()]
    more = f", and {len(scores) - 5} more" if len(scores) > 5 else ""
    twin = "" if answer.same_as is None else f" (also in the support: {_one_line(answer.same_as)})"
    return f"{name}: {', '.join(scores[:5])}{more}{twin}"


def _as_object(answer: Answer) -> dict[str, Any]:
    return {
        "picture": str(answer.picture),
        "class": answer.class_name,
        "scores": answer.scores,
        "same_as": answer.same_as,
        "error": answer.error,
    }


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of images, one folder per class in it.")],
    n_shot: Annotated[int, typer.Option(min=1, help="Support images per class to come.")] = 1,
    n_query: Annotated[int, typer.Option(min=1, help="Query images per class to come.")] = 5,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw the suspicious files, into this .png.")
    ] = None,
) -> None:
    """Look for problems in a folder of images; exit status 1 if it cannot be used."""
    from .basics.files import open_atomically
    from .plotting import figure_png, new_figure
    from .tasks import check_image_folder
    from .tasks.data.figures import plot_findings

    loaded()
    if picture is not None:
        _check_picture_to_be(picture, folder)
    report = check_image_folder(folder, n_shot, n_query)
    _say(report)
    if picture is not None:
        drawn = figure_png(plot_findings(report, fig=new_figure()), dpi=100)
        with open_atomically(picture) as file:
            file.write(drawn)
        _say(f"drawn in {picture}")
    raise typer.Exit(0 if len(report.usable) >= 2 else 1)


def _check_picture_to_be(picture: Path, folder: Path) -> None:
    """Refuse a name that would replace something that we did not create."""
    if picture.suffix.lower() != ".png":
        raise ValueError(f"--picture must end in .png, got {picture}")
    if picture.exists() and not picture.is_file():
        raise ValueError(f"--picture {picture} is there, and no plain file")
    if picture.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"--picture {picture} would lie among the pictures of {folder}")


@app.command()
def study(
    output: Annotated[Path, typer.Option(help="Folder for the table and the finished runs.")],
    small: Annotated[
        bool, typer.Option("--small", help="A grid that takes minutes, as a test.")
    ] = False,
    algorithms: Annotated[str | None, typer.Option(help="Such as prototypical,maml.")] = None,
    data: Annotated[str | None, typer.Option(help="Such as glyphs,omniglot.")] = None,
    n_classes: Annotated[str | None, typer.Option(help="Such as 50,200,all.")] = None,
    ways: Annotated[str | None, typer.Option(help="Such as 5,20.")] = None,
    shots: Annotated[str | None, typer.Option(help="Such as 1,5.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Such as 0,1,2.")] = None,
    seconds: Annotated[
        str | None,
        typer.Option(help="Score each training after so much processor time, such as 20,40,80."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Runs at a time; -1: one per core.")] = -1,
    backend: Annotated[
        Literal["local", "dask"], typer.Option(help="This machine, or a Dask cluster.")
    ] = "local",
    scheduler: Annotated[
        str | None, typer.Option(help="Address of Dask's scheduler, such as tcp://HOST:8786.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Train and score every algorithm in every cell of a grid; Ctrl-C stops it.

    The same command continues where it stopped. Without further options, this is the stored study
    of the course, which takes hours.
    """
    from .basics.files import as_path
    from .study.all_runs import run_study, state_of
    from .study.folder import check_folder
    from .study.grid import SMALL, Grid
    from .study.workers import check_workers

    loaded()
    output = as_path("--output", output)
    check_workers(jobs, backend, scheduler)
    given = {
        "algorithms": _listed("--algorithms", algorithms, str),
        "data": _listed("--data", data, str),
        "n_classes": _listed("--n-classes", n_classes, lambda n: None if n == "all" else int(n)),
        "ways": _listed("--ways", ways, int),
        "shots": _listed("--shots", shots, int),
        "seeds": _listed("--seeds", seeds, int),
        "seconds": _listed("--seconds", seconds, float),
    }
    chosen = {name: values for name, values in given.items() if values is not None}
    grid = Grid(**((SMALL if small else {}) | chosen))
    check_folder(output)
    if not dry_run:
        grid.check()  # this reads the data
    _say(state_of(grid, output, jobs))
    if not dry_run:
        where: dict[str, Any] = {"backend": backend, "scheduler": scheduler}
        try:
            table = run_study(grid, output, n_jobs=jobs, progress=not quiet, **where)
        except KeyboardInterrupt:
            _say(f"stopped; {state_of(grid, output, jobs)}", err=True)
            raise typer.Exit(130) from None
        _say(f"{len(table.rows)} rows in {output / 'study.csv'}")


def _listed(option: str, text: str | None, kind: Callable[[str], Any]) -> tuple[Any, ...] | None:
    """The values of an option that takes several, separated by commas."""
    from .basics.arguments import shown

    if text is None:
        return None
    try:
        return tuple(kind(word.strip()) for word in text.split(","))
    except ValueError:
        numbers = "numbers" if kind is float else "whole numbers"
        raise ValueError(
            f"{option} takes {numbers} with commas between, got {shown(text)}"
        ) from None


@app.command()
def progress(
    reset: Annotated[bool, typer.Option("--reset", help="Forget what was done.")] = False,
) -> None:
    """Show which exercises are done."""
    from . import exercises
    from .exercises.record import reset_record

    if reset:
        reset_record()
    _say(exercises.progress())


@exercises_app.command("list")
def list_exercises() -> None:
    """List all exercises and questions, with the purpose of each."""
    from .exercises import all_exercises

    for item in all_exercises().values():
        size = f"{item.minutes:3} min  {item.difficulty:6}"
        _say(f"{item.lesson:02d}  {item.name:28} {size}  {item.aim}")


@exercises_app.command()
def solutions(
    notebook: Annotated[str, typer.Argument(help="Number or name, such as 03.")],
) -> None:
    """The solutions of a notebook's exercises and the answers to its questions."""
    from .exercises import solutions_of

    _say(solutions_of(notebook))


def _use_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        from .basics.arguments import as_integer

        torch.set_num_threads(as_integer("--threads", threads, at_most=1024))


# ---------------------------------------------------------------- what is said, and how it ends


def main(arguments: list[str] | None = None) -> None:
    """Run the command.

    Exit status 2 means a wrong argument, 1 any other failure (one line says what), 130 Ctrl-C.
    METALEARN_EDU_DEBUG=1 shows where an error came from.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):  # a notebook's has none
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    quiet_at_exit()
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        with quiet_while_loading():
            status = _run(arguments)
    except KeyboardInterrupt:  # while the last lines were printed
        status = 130
    sys.exit(status)


def whole_command() -> Any:
    """All commands, for click; the options of `train` are the current settings."""
    from .runs.options import train_options

    train.__signature__ = inspect.Signature([*OF_EVERY_TRAINING, *train_options()])  # type: ignore[attr-defined]
    return typer.main.get_command(app)


def _run(arguments: list[str]) -> int:
    """The exit status of a command; errors have been printed."""
    try:
        command = whole_command()
        _refuse_empty(arguments)
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            with command.make_context("metalearn-edu", list(arguments)) as context:
                command.invoke(context)
            return _flushed(0)
    except typer.Exit as ended:
        return _flushed(ended.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _say("metalearn-edu: stopped", err=True)
        return 130
    except Exception as error:
        if os.environ.get("METALEARN_EDU_DEBUG", "") not in ("", "0"):
            raise
        return _fail(error)


def _refuse_empty(arguments: list[str]) -> None:
    """An empty name, such as an unset shell variable, would mean the current folder."""
    if any(not word.partition("=")[2] if word[:2] == "--" and "=" in word else not word
           for word in arguments):  # fmt: skip
        raise ValueError("an argument is empty; leave it out, or give it a value")


def _flushed(status: int) -> int:
    try:
        print(end="", flush=True)  # there may be no stdout
    except OSError as error:
        return _fail(error)
    return status


def _fail(error: Exception) -> int:
    """Print in one line what went wrong; return the exit status."""
    if isinstance(error, BrokenPipeError) or getattr(error, "errno", None) == errno.EPIPE:
        # Nobody reads the output any more; Python would complain again when it exits.
        with contextlib.suppress(AttributeError, ValueError, OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    message, status = _told(error)
    usage = " (--help shows the options)" if status == 2 else ""
    _say(f"metalearn-edu: {_one_line(message)}{usage}", err=True)
    return status


NOT_THERE = FileNotFoundError | NotADirectoryError | IsADirectoryError | FileExistsError


def _told(error: Exception) -> tuple[str, int]:
    """An error in words, and the exit status: 2 for a wrong argument, 1 for any other failure."""
    text = str(error) or type(error).__name__
    if hasattr(error, "format_message"):  # what typer says about wrong usage
        return error.format_message(), 2
    if isinstance(error, MemoryError | OverflowError | RecursionError) or "alloc" in text:
        return f"this does not fit into memory, or is too large a number: {text[:200]}", 1
    if isinstance(error, FloatingPointError) or getattr(error, "is_damage", False):
        return text, 1
    if isinstance(error, ValueError | NOT_THERE):
        return text, 2
    if isinstance(error, OSError):
        return text, 1
    where = "METALEARN_EDU_DEBUG=1 shows where"
    return f"internal error, please report it: {type(error).__name__}: {text[:300]}; {where}", 1


def _say(what: object, *, err: bool = False) -> None:
    """Print text, so that no name in it can act as a command to the terminal."""
    print(for_terminal(what), file=sys.stderr if err else sys.stdout)


def _one_line(what: object) -> str:
    return " ".join(for_terminal(what).split())


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning on its own line, without the place in the code."""
    _say(f"metalearn-edu: {_one_line(message)}", err=True)


if __name__ == "__main__":
    main()
