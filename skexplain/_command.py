"""``skexplain compare``: from a table to a picture."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from ._tables import DATASETS, Table, load_dataset, read_table
from .comparison import Comparison, compare
from .exceptions import CompletenessError, UnsupportedModelError

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)

#: Name -> module, classifier, regressor; a framework is imported when its model is built.
NETWORKS = {
    "keras": ("skexplain.keras", "KerasClassifier", "KerasRegressor"),
    "torch": ("skexplain.torch", "NeuralNetClassifier", "NeuralNetRegressor"),
}
MODELS = (*NETWORKS, "forest")


TASKS = ("classification", "regression")


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


@app.command("compare")
def compare_command(
    source: Annotated[str, typer.Argument(help=f"A CSV file, or one of: {', '.join(DATASETS)}.")],
    target: Annotated[str | None, typer.Option(help="Column of the CSV file to predict.")] = None,
    task: Annotated[str | None, typer.Option(metavar="|".join(TASKS), help="Seen from the target if left out.")] = None,
    models: Annotated[str | None, typer.Option(help="Separated by commas. [default: keras,torch,forest]")] = None,
    cv: Annotated[int, typer.Option(parser=_whole("--cv"), metavar="INTEGER", help="Number of folds.")] = 5,
    scoring: Annotated[str | None, typer.Option(help="Any scikit-learn scorer. [default: accuracy or r2]")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the picture and the table.")] = Path(),
    random_state: Annotated[
        int,
        typer.Option(parser=_whole("--random-state"), metavar="INTEGER", help="Seed of folds, models, shuffles."),
    ] = 0,
    drop: Annotated[list[str] | None, typer.Option(help="Column to leave out; may be given several times.")] = None,
) -> None:
    """Train a Keras network, a PyTorch network and a random forest; set their importances side by side.

    The table goes to stdout, NAME_importances.png and NAME_importances.csv to --out.

    skexplain compare breast_cancer

    skexplain compare data.csv --target y --scoring roc_auc
    """
    try:
        table = _table(source, target, task, drop or [])
        _prepare(out)
        estimators, notes = _estimators(models, table)
        for note in [*table.notes, *notes]:
            typer.echo(note, err=True)
        with _bar() as progress:
            result = compare(
                estimators, table.X, table.y, cv=cv, scoring=scoring, random_state=random_state, progress=progress
            )
        typer.echo(repr(result))
        typer.echo(f"Written: {', '.join(map(str, _write(result, out, table.name)))}", err=True)
    except KeyboardInterrupt:
        typer.echo("Interrupted: nothing was written.", err=True)
        raise typer.Exit(130) from None
    except (ValueError, OSError, ImportError, CompletenessError, UnsupportedModelError) as exc:
        _refuse(exc)


def _refuse(exc: Exception) -> NoReturn:
    typer.echo(f"skexplain: {' '.join(str(exc).split())}", err=True)
    raise typer.Exit(2) from None


def _table(source: str, target: str | None, task: str | None, drop: list[str]) -> Table:
    if task is not None and task not in TASKS:
        raise ValueError(f"--task={task!r}; choose {' or '.join(TASKS)}.")
    if source in DATASETS:
        for option, value in (("--target", target), ("--task", task), ("--drop", drop)):
            if value:
                raise ValueError(f"{option} is for CSV files; the data set {source!r} needs none.")
        return load_dataset(source)
    if not Path(source).exists():
        raise ValueError(f"{source!r} is neither a file nor one of the data sets {', '.join(DATASETS)}.")
    return read_table(source, target, task=task, drop=drop)


def _prepare(out: Path) -> None:
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
            result[name] = table.behind(_estimator(name, table.classification))
        except ImportError as exc:
            if models is not None:
                raise
            notes.append(f"Left out {name}: {exc}")
    return result, notes


def _estimator(name: str, classification: bool) -> Any:
    if name == "forest":
        return (RandomForestClassifier if classification else RandomForestRegressor)()
    module, classifier, regressor = NETWORKS[name]
    return getattr(importlib.import_module(module), classifier if classification else regressor)()


@contextmanager
def _bar() -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on stderr, as the callback that `compare` takes."""
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %")
    console = Console(stderr=True)
    hidden = not console.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=hidden) as progress:
        line = progress.add_task("")
        yield lambda done, total, what: progress.update(line, completed=done, total=total, description=what)


def _write(result: Comparison, out: Path, name: str) -> list[Path]:
    """The table and, with matplotlib, the picture; each under another name first, so that none is half-written."""
    table, picture = out / f"{name}_importances.csv", out / f"{name}_importances.png"
    with tempfile.TemporaryDirectory(dir=out, prefix=".skexplain") as folder:
        part = Path(folder) / table.name
        result.to_frame().to_csv(part, index=False)
        part.replace(table)
    try:
        result.plot(path=picture)
    except ImportError as exc:
        typer.echo(f"No picture: {exc}", err=True)
        return [table]
    return [picture, table]
