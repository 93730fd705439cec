"""The command ``skexplain``, what its parts share, and ``skexplain compare``."""

from __future__ import annotations

import importlib
import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from ._files import written
from ._tables import DATASETS, Table, load_dataset, read_table
from .comparison import compare
from .exceptions import CompletenessError, InterruptedWarning, UnsupportedModelError

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)

#: Name -> module, classifier, regressor; a framework is imported when its model is built.
NETWORKS = {
    "keras": ("skexplain.keras", "KerasClassifier", "KerasRegressor"),
    "torch": ("skexplain.torch", "NeuralNetClassifier", "NeuralNetRegressor"),
}
MODELS = (*NETWORKS, "forest")


TASKS = ("classification", "regression")
#: Tables of a comparison.
KINDS: tuple[Literal["scores", "importances", "correlations"], ...] = ("scores", "importances", "correlations")


def _whole(option: str) -> Callable[[Any], int]:
    """A parser that refuses as all else does, in one sentence."""

    def parse(value: Any) -> int:
        try:
            return int(value)
        except ValueError:
            _refuse(ValueError(f"{option}={value!r}; pass a whole number."))

    return parse


@app.callback()
def _app() -> None:
    """Networks as scikit-learn estimators, and what they look at."""


#: Options that several commands take.
Source = Annotated[str, typer.Argument(help=f"A CSV or Parquet file, or one of: {', '.join(DATASETS)}.")]
Target = Annotated[str | None, typer.Option(help="Column of the file to predict.")]
Task = Annotated[str | None, typer.Option(metavar="|".join(TASKS), help="Seen from the target if left out.")]
Drop = Annotated[list[str] | None, typer.Option(help="Column to leave out; may be given several times.")]
Out = Annotated[Path, typer.Option(help="Folder for the pictures and tables.")]
Seed = Annotated[
    int,
    typer.Option(parser=_whole("--random-state"), metavar="INTEGER", help="Seed of splits, models and draws."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON rather than tables.")]


@app.command("compare")
def compare_command(
    source: Source,
    target: Target = None,
    task: Task = None,
    models: Annotated[str | None, typer.Option(help="Separated by commas. [default: keras,torch,forest]")] = None,
    cv: Annotated[int, typer.Option(parser=_whole("--cv"), metavar="INTEGER", help="Number of folds.")] = 5,
    scoring: Annotated[str | None, typer.Option(help="Any scikit-learn scorer. [default: accuracy or r2]")] = None,
    out: Out = Path(),
    random_state: Seed = 0,
    drop: Drop = None,
    as_json: Json = False,
) -> None:
    """Train a Keras network, a PyTorch network and a random forest; set their importances side by side.

    The table goes to stdout, NAME_importances.png and NAME_importances.csv to --out. Ctrl-C gives those of the folds
    that are done.

    skexplain compare breast_cancer

    skexplain compare data.csv --target y --scoring roc_auc

    skexplain compare data.parquet --target y --json > importances.json
    """
    with refusing() as partial:
        table = read_source(source, target, task, drop or [])
        prepare(out)
        estimators, notes = _estimators(models, table)
        for note in [*table.notes, *notes]:
            typer.echo(note, err=True)
        with bar() as progress:
            result = compare(
                estimators, table.X, table.y, cv=cv, scoring=scoring, random_state=random_state, progress=progress
            )
        if as_json:
            parts = {kind: records(result.to_frame(kind)) for kind in KINDS}
            echo_json({"models": result.models, "notes": dict(result.notes)} | parts)
        else:
            typer.echo(repr(result))
        write(result.to_frame(), lambda path: result.plot(path=path), out / f"{table.name}_importances")
        partial.exit()


class Partial:
    """What was interrupted, and gave a result all the same."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def exit(self) -> None:
        """End the command as interrupted if anything was."""
        if self.messages:
            typer.echo(" ".join(self.messages), err=True)
            raise typer.Exit(130)


@contextmanager
def refusing() -> Iterator[Partial]:
    """Bad input is one sentence and exit code 2; Ctrl-C is told from it, and partial results from none."""
    partial = Partial()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("always", category=InterruptedWarning)
            show = warnings.showwarning

            def note(message: Any, category: type[Warning], *where: Any, **kwargs: Any) -> None:
                if issubclass(category, InterruptedWarning):
                    partial.messages.append(str(message))
                else:
                    show(message, category, *where, **kwargs)

            warnings.showwarning = note  # put back by catch_warnings
            yield partial
    except KeyboardInterrupt:
        typer.echo("Interrupted: nothing was written.", err=True)
        raise typer.Exit(130) from None
    except (ValueError, OSError, ImportError, CompletenessError, UnsupportedModelError) as exc:
        _refuse(exc)


def echo_json(content: Any) -> None:
    """One JSON document on stdout; what is not known is null."""
    typer.echo(json.dumps(content, indent=1, default=str))


def records(frame: Any) -> list[dict[str, Any]]:
    """The rows of a table, as JSON takes them."""
    return json.loads(frame.to_json(orient="records", double_precision=15))


def _refuse(exc: Exception) -> NoReturn:
    typer.echo(f"skexplain: {' '.join(str(exc).split())}", err=True)
    raise typer.Exit(2) from None


def read_source(source: str, target: str | None, task: str | None, drop: list[str], needs_target: bool = True) -> Table:
    """A file's table, or one of the data sets."""
    if task is not None and task not in TASKS:
        raise ValueError(f"--task={task!r}; choose {' or '.join(TASKS)}.")
    if source in DATASETS:
        for option, value in (("--target", target), ("--task", task), ("--drop", drop)):
            if value:
                raise ValueError(f"{option} is for files; the data set {source!r} needs none.")
        return load_dataset(source)
    if not Path(source).exists():
        raise ValueError(f"{source!r} is neither a file nor one of the data sets {', '.join(DATASETS)}.")
    return read_table(source, target, task=task, drop=drop, needs_target=needs_target)


def prepare(out: Path) -> None:
    """Find out before the training whether results can be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ValueError(f"--out={str(out)!r} cannot be made a folder: {exc.strerror}.") from None
    if not os.access(out, os.W_OK):
        raise ValueError(f"--out={str(out)!r} cannot be written to; choose another folder.")


def _estimators(models: str | None, table: Table) -> tuple[dict[str, Any], list[str]]:
    """The models by name, and a note for each that was left out."""
    names = MODELS if models is None else list(dict.fromkeys(m.strip() for m in models.split(",") if m.strip()))
    unknown = [m for m in names if m not in MODELS]
    if unknown or not names:
        what = f"contains {unknown[0]!r}" if unknown else "names no model"
        raise ValueError(f"--models={models!r} {what}; choose from {', '.join(MODELS)}.")
    result, notes = {}, []
    for name in names:
        try:
            result[name] = table.behind(estimator(name, table.classification))
        except ImportError as exc:
            if models is not None:
                raise
            notes.append(f"Left out {name}: {exc}")
    return result, notes


def estimator(name: str, classification: bool) -> Any:
    if name == "forest":
        return (RandomForestClassifier if classification else RandomForestRegressor)()
    module, classifier, regressor = NETWORKS[name]
    return getattr(importlib.import_module(module), classifier if classification else regressor)()


@contextmanager
def bar() -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on stderr, as the callback that `compare` takes."""
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %")
    console = Console(stderr=True)
    hidden = not console.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=hidden) as progress:
        line = progress.add_task("")
        yield lambda done, total, what: progress.update(line, completed=done, total=total, description=what)


def write(frame: Any, draw: Callable[[Path], Any], stem: Path) -> None:
    """The table and, with matplotlib, the picture; each under another name first, so that none is half-written."""
    table, picture = stem.with_name(f"{stem.name}.csv"), stem.with_name(f"{stem.name}.png")
    with written(table) as part:
        frame.to_csv(part, index=False)
    files = [picture, table]
    try:
        draw(picture)
    except ImportError as exc:
        typer.echo(f"No picture: {exc}", err=True)
        files = [table]
    typer.echo(f"Written: {', '.join(map(str, files))}", err=True)
