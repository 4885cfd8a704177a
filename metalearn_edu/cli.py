"""The command line, `metalearn-edu`: look around, get data, train, evaluate, do exercises."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from . import __version__

if TYPE_CHECKING:
    from .learners import MetaLearner

__all__ = ["app", "main"]

app = typer.Typer(
    name="metalearn-edu",
    help="Learning to learn, hands on: check the set-up, get data, train and evaluate learners.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

exercises_app = typer.Typer(help="The lessons' exercises: list, solutions.", add_completion=False)
app.add_typer(exercises_app, name="exercises")

Seed = Annotated[int, typer.Option(min=0, help="Seed of first weights and of episodes.")]
Way = Annotated[int | None, typer.Option(min=2, help="Classes per episode.")]
Shot = Annotated[int | None, typer.Option(min=1, help="Support items per class.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; default: torch's choice.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"metalearn-edu {__version__}")
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

    problems = 0
    for finding in examine():
        typer.echo(f"{'ok ' if finding.ok else '!! '} {finding.what}: {finding.found}")
        if not finding.ok:
            problems += 1
            typer.echo(f"    -> {finding.advice}")
    typer.echo("all is well" if not problems else f"{problems} problem(s) found")
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

    if name == "glyphs":
        if path is not None:
            raise ValueError("--path is for omniglot; glyphs are built from Matplotlib's fonts")
        for split in (None, "meta-train", "meta-val", "meta-test"):
            typer.echo(f"{split or 'all':>10}: {load_glyphs(split)}")
        return
    typer.echo(f"background: {load_omniglot('background', path=path)}")
    typer.echo(f"evaluation: {load_omniglot('evaluation', path=path)}")


@app.command()
def train(
    algorithm: Annotated[
        str,
        typer.Argument(help="prototypical, relation, maml, meta-sgd, task-conditioned or mann."),
    ],
    output: Annotated[Path, typer.Option(help="Run folder for weights, card and checkpoint.")],
    data: Annotated[
        str, typer.Option(help="glyphs, omniglot, sinusoids, or a folder of images.")
    ] = "glyphs",
    protocol: Annotated[
        Literal["official", "vinyals", "background"],
        typer.Option(help="Omniglot's split; background: all its 30 alphabets, no meta-val."),
    ] = "official",
    n_way: Way = None,
    n_shot: Shot = None,
    train_way: Annotated[
        int | None, typer.Option(min=2, help="Classes per meta-training episode.")
    ] = None,
    n_query: Annotated[
        int | None, typer.Option(min=1, help="Query items per class in meta-training.")
    ] = None,
    rotations: Annotated[
        bool | None,
        typer.Option("--rotations/--no-rotations", help="Turned images as further classes."),
    ] = None,
    augment: Annotated[
        float | None, typer.Option(min=0, help="Warp each image at random; 1: as hands do.")
    ] = None,
    n_classes: Annotated[
        int | None, typer.Option(min=2, help="Meta-train with so many classes; default: all.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Outer steps.")] = None,
    tasks_per_batch: Annotated[int | None, typer.Option(min=1, help="Tasks per step.")] = None,
    meta_lr: Annotated[float | None, typer.Option(help="Step size of the outer loop.")] = None,
    backbone: Annotated[
        Literal["conv", "pyramid", "mlp"] | None, typer.Option(help="Network.")
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Filters or hidden units.")] = None,
    downsample: Annotated[Literal["pool", "stride"] | None, typer.Option(help="Of conv.")] = None,
    norm: Annotated[
        Literal["group", "batch", "batch_transductive", "none"] | None,
        typer.Option(help="Normalisation of conv; batch_transductive lets queries mix."),
    ] = None,
    inner_lr: Annotated[float | None, typer.Option(help="Step size of the inner loop.")] = None,
    inner_steps: Annotated[int | None, typer.Option(min=0, help="Inner steps, training.")] = None,
    test_steps: Annotated[int | None, typer.Option(min=0, help="Inner steps, testing.")] = None,
    first_order: Annotated[
        bool | None,
        typer.Option("--first-order/--second-order", help="Of maml and meta-sgd."),
    ] = None,
    zero_head: Annotated[
        bool | None,
        typer.Option(
            "--zero-head/--learned-head", help="Of maml and meta-sgd: where the last layer starts."
        ),
    ] = None,
    test_views: Annotated[
        int | None, typer.Option(min=1, help="Of prototypical: looks at an image in testing.")
    ] = None,
    aggregate: Annotated[
        Literal["sum", "mean"] | None, typer.Option(help="Of relation: shots of a class.")
    ] = None,
    objective: Annotated[
        Literal["mse", "cross_entropy"] | None,
        typer.Option(help="Of relation; mse is the published one."),
    ] = None,
    conditioning: Annotated[
        Literal["concat", "film"] | None, typer.Option(help="Of task-conditioned.")
    ] = None,
    memory: Annotated[
        Literal["lrua", "none"] | None, typer.Option(help="Of mann; none: the LSTM alone.")
    ] = None,
    memory_size: Annotated[int | None, typer.Option(min=1, help="Of mann: slots.")] = None,
    memory_dim: Annotated[int | None, typer.Option(min=1, help="Of mann: slot width.")] = None,
    num_reads: Annotated[int | None, typer.Option(min=1, help="Of mann: heads.")] = None,
    write_first: Annotated[
        bool | None,
        typer.Option("--write-first/--read-first", help="Of mann: the order within a step."),
    ] = None,
    hidden_dim: Annotated[
        int | None, typer.Option(min=1, help="Of mann and task-conditioned: hidden units.")
    ] = None,
    task_embedding_dim: Annotated[
        int | None, typer.Option(min=1, help="Of task-conditioned: width of the task's vector.")
    ] = None,
    metric_weight: Annotated[
        float | None, typer.Option(min=0, help="Of mann: 0 is the published loss.")
    ] = None,
    seed: Seed = 0,
    threads: Threads = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Meta-train a learner; Ctrl-C stops it, the same command goes on where it stopped.

    Settings that are not given take the algorithm's own defaults. The best weights on meta-val
    episodes are kept; meta-test classes are never touched.
    """
    from .recipes import make_recipe, train_recipe

    _use_threads(threads)
    recipe = make_recipe(
        algorithm,
        data,
        protocol=protocol,
        n_way=n_way,
        n_shot=n_shot,
        train_way=train_way,
        n_query=n_query,
        rotations=rotations,
        augment=augment,
        n_classes=n_classes,
        n_steps=steps,
        n_tasks_per_batch=tasks_per_batch,
        meta_lr=meta_lr,
        backbone=backbone,
        width=width,
        downsample=downsample,
        norm=norm,
        inner_lr=inner_lr,
        num_inner_steps=inner_steps,
        num_test_steps=test_steps,
        first_order=first_order,
        zero_head=zero_head,
        test_views=test_views,
        aggregate=aggregate,
        objective=objective,
        conditioning=conditioning,
        memory=memory,
        memory_size=memory_size,
        memory_dim=memory_dim,
        num_reads=num_reads,
        write_first=write_first,
        hidden_dim=hidden_dim,
        task_embedding_dim=task_embedding_dim,
        metric_weight=metric_weight,
        seed=seed,
    )
    history = train_recipe(recipe, output, progress=not quiet)
    state = "stopped by hand after" if history.interrupted else "trained for"
    typer.echo(f"{state} {history.n_steps} steps in {history.seconds:.0f} s; run folder: {output}")
    for step, score in list(zip(history.val_steps, history.val_scores, strict=True))[-1:]:
        typer.echo(f"last meta-val score {score:.4f} (step {step}); best step {history.best_step}")


@app.command()
def evaluate(
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
        typer.Option("--streams", help="Of mann: accuracy by instance in streams of 10 a class."),
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Also write the figure on the run's card.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a trained learner on fresh episodes: mean and 95 % interval.

    On a folder of your own images, nearest pixel is scored beside it.
    """
    from .evaluation import Evaluation, evaluate_meta_learner, evaluate_streams, score_one_shot_runs
    from .recipes import (
        OWN_QUERIES,
        load_run,
        recipe_data,
        record_figures,
        stream_source,
        task_source,
    )
    from .tasks import OneShotTasks, load_one_shot_runs

    _use_threads(threads)
    folder = _run_folder(run)
    learner, recipe, card = load_run(folder)
    if data is not None and not one_shot:
        counts = {"n_shot": n_shot or 1, "n_query": n_query or OWN_QUERIES, "n_episodes": episodes}
        _evaluate_own_images(learner, card, data, n_way=n_way, seed=seed, **counts)
        return
    fresh: dict[str, Any] = {"n_episodes": episodes, "seed": seed}
    results: dict[str, Evaluation]
    if one_shot:
        results = {"official one-shot runs": score_one_shot_runs(learner, load_one_shot_runs(data))}
    elif streams:
        source = stream_source(recipe, split, n_way=n_way)
        by_instance = evaluate_streams(learner, source, **fresh)
        results = {f"instance {k}": result for k, result in by_instance.items()}
    elif two_people:
        pairs = OneShotTasks(recipe_data(recipe, split), n_way or 20)
        results = {"": evaluate_meta_learner(learner, pairs, **fresh)}
    else:
        tasks = task_source(
            recipe,
            split,
            n_way=n_way,
            n_shot=n_shot,
            n_query=n_query,
            within_group=within_group,
        )
        results = {"": evaluate_meta_learner(learner, tasks, **fresh)}
    figures = []
    for name, result in results.items():
        settings = {"split": split, "tasks": result.tasks, "episodes": result.n_episodes}
        figure: dict[str, Any] = {
            "mean": result.mean,
            "half_width": result.half_width,
            "std": result.std,
        }
        figure |= {"metric": result.metric} | settings | {"seed": result.seed}
        figure |= {"at": name} if name else {}
        figures.append(figure)
        line = f"{recipe.algorithm}, {split}{', ' * bool(name)}{name}: {result}"
        typer.echo(json.dumps(figure) if as_json else line)
    if record:
        record_figures(folder, figures)


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of images, one folder a class in it.")],
    n_shot: Annotated[int, typer.Option(min=1, help="Support images per class to come.")] = 1,
    n_query: Annotated[int, typer.Option(min=1, help="Query images per class to come.")] = 5,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw the suspicious files, into this .png.")
    ] = None,
) -> None:
    """Look for what is wrong with a folder of images; exit status 1 if it cannot be used."""
    from .plotting import figure_png, new_figure, plot_findings
    from .tasks import check_image_folder

    report = check_image_folder(folder, n_shot, n_query)
    typer.echo(report)
    if picture is not None:
        picture.write_bytes(figure_png(plot_findings(report, fig=new_figure()), dpi=100))
        typer.echo(f"drawn in {picture}")
    raise typer.Exit(0 if len(report.usable) >= 2 else 1)


def _evaluate_own_images(
    learner: MetaLearner,
    card: dict[str, Any],
    folder: Path,
    *,
    n_way: int | None,
    n_shot: int,
    n_query: int,
    n_episodes: int,
    seed: int,
) -> None:
    """Check a folder of images and score a learner that has seen none of its classes."""
    from .own_images import evaluate_on_images
    from .recipes import ALGORITHMS, Recipe
    from .tasks import check_image_folder, load_image_folder

    recipe = Recipe(**card["recipe"])
    if recipe.data == "sinusoids":
        raise ValueError("the run was trained on sinusoids; --data needs one trained on images")
    if Path(recipe.data).resolve() == folder.resolve():
        raise ValueError(f"the run was trained on {folder}; leave out --data to use its meta-test")
    typer.echo(check_image_folder(folder, n_shot, n_query))
    channels, size, _ = card["item_shape"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the report has named what is left out
        dataset = load_image_folder(folder, size=size, channels=channels, ink="auto")
    if n_way is None and not ALGORITHMS[recipe.algorithm].any_way:
        n_way = recipe.n_way
    counts: dict[str, Any] = {"n_way": n_way, "n_shot": n_shot, "n_query": n_query}
    result = evaluate_on_images(learner, dataset, **counts, n_episodes=n_episodes, seed=seed)
    typer.echo(result)


def _run_folder(run: Path) -> Path:
    """A run folder, or that of pretrained weights given by name."""
    from .pretrained import FOLDER, list_pretrained

    return FOLDER / run if not run.exists() and str(run) in list_pretrained() else run


@app.command()
def study(
    output: Annotated[Path, typer.Option(help="Folder for the table and the finished runs.")],
    small: Annotated[
        bool, typer.Option("--small", help="A grid of minutes, to see that all works.")
    ] = False,
    algorithms: Annotated[str | None, typer.Option(help="Such as prototypical,maml.")] = None,
    data: Annotated[str | None, typer.Option(help="Such as glyphs,omniglot.")] = None,
    n_classes: Annotated[str | None, typer.Option(help="Such as 50,200,all.")] = None,
    ways: Annotated[str | None, typer.Option(help="Such as 5,20.")] = None,
    shots: Annotated[str | None, typer.Option(help="Such as 1,5.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Such as 0,1,2.")] = None,
    jobs: Annotated[int, typer.Option(help="Runs at a time; -1: one a core.")] = -1,
    backend: Annotated[
        Literal["local", "dask"], typer.Option(help="This machine, or a Dask cluster.")
    ] = "local",
    scheduler: Annotated[
        str | None, typer.Option(help="Of Dask: its address, as tcp://HOST:8786.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Train and score every algorithm in every cell of a grid; Ctrl-C stops it.

    The same command goes on where it stopped. Without further options it is the stored study of the
    course, which takes hours.
    """
    from .study import SMALL, Grid, check_folder, check_workers, run_study, state_of

    check_workers(jobs, backend, scheduler)
    given = {
        "algorithms": _listed("--algorithms", algorithms, str),
        "data": _listed("--data", data, str),
        "n_classes": _listed("--n-classes", n_classes, lambda n: None if n == "all" else int(n)),
        "ways": _listed("--ways", ways, int),
        "shots": _listed("--shots", shots, int),
        "seeds": _listed("--seeds", seeds, int),
    }
    chosen = {name: values for name, values in given.items() if values is not None}
    grid = Grid(**((SMALL if small else {}) | chosen))
    check_folder(output)
    if not dry_run:
        grid.check()  # which reads the data
    typer.echo(state_of(grid, output, jobs))
    if not dry_run:
        where: dict[str, Any] = {"backend": backend, "scheduler": scheduler}
        try:
            table = run_study(grid, output, n_jobs=jobs, progress=not quiet, **where)
        except KeyboardInterrupt:
            typer.echo(f"stopped; {state_of(grid, output, jobs)}", err=True)
            raise typer.Exit(130) from None
        typer.echo(f"{len(table.rows)} rows in {output / 'study.csv'}")


def _listed(option: str, text: str | None, kind: Callable[[str], Any]) -> tuple[Any, ...] | None:
    """The values of an option that takes several, with commas between."""
    if text is None:
        return None
    try:
        return tuple(kind(word.strip()) for word in text.split(","))
    except ValueError:
        raise ValueError(
            f"{option} takes whole numbers with commas between, got {text!r}"
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
    typer.echo(exercises.progress())


@exercises_app.command("list")
def list_exercises() -> None:
    """All exercises and questions, with what each is for."""
    from .exercises import all_exercises

    for item in all_exercises().values():
        size = f"{item.minutes:3} min  {item.difficulty:6}"
        typer.echo(f"{item.lesson:02d}  {item.name:28} {size}  {item.aim}")


@exercises_app.command()
def solutions(
    notebook: Annotated[str, typer.Argument(help="Number or name, such as 03.")],
) -> None:
    """The solutions of a notebook's exercises and the answers to its questions."""
    from .exercises import solutions_of

    typer.echo(solutions_of(notebook))


def _use_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def main(arguments: list[str] | None = None) -> None:
    """Run the command; what is wrong with the arguments is said in one line, exit status 2."""
    command = typer.main.get_command(app)
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _say
            status = command.main(arguments, prog_name="metalearn-edu", standalone_mode=False)
    except (ValueError, OSError, FloatingPointError) as error:
        _fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("stopped", err=True)
        sys.exit(130)
    except Exception as error:
        if not hasattr(error, "format_message"):  # what typer says of wrong usage has one
            raise
        _fail(error.format_message())
    sys.exit(status or 0)


def _say(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning as a line of its own, without the place in the code."""
    typer.echo(f"metalearn-edu: {message}", err=True)


def _fail(message: str) -> None:
    typer.echo(f"metalearn-edu: {' '.join(message.split())} (--help shows the options)", err=True)
    sys.exit(2)
