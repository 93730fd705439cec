"""``skexplain explain``: the importances of one model, and single predictions in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from . import _command as cli
from ._columns import column_names
from ._explain import importances
from ._fitted import from_fitted
from ._saved import read_model
from ._subject import BACKGROUND_ROWS, is_network
from ._tables import Table
from ._wrap import unnested
from .explanation import Importances
from .methods import MethodComparison, compare_methods
from .row_report import RowReport, explain_row

#: Share of the rows that a model is not trained on.
HELD_OUT = 0.25
#: Strategies for what is no network.
WITHOUT_GRADIENT = {"importances": "permutation", "rows": "shapley_sampling"}


@dataclass
class Subject:
    """A trained model, the rows to measure on, and what was told on the way.

    Attributes
    ----------
    model : object
    name : str
    X : DataFrame of shape (n, n_columns)
    y : ndarray of shape (n,) or None
    background : DataFrame or None
        None: what the model has kept.
    training : DataFrame or None
        What the model was trained on, if it was here.
    """

    model: Any
    name: str
    X: Any
    y: NDArray | None
    background: Any = None
    training: Any = None

    @property
    def is_network(self) -> bool:
        last = unnested(self.model)
        return is_network(last[-1] if isinstance(last, Pipeline) else last)

    def attribution(self, given: str | None, of: str) -> str | None:
        """The caller's strategy; otherwise the network's own, or one that asks for predictions only."""
        return WITHOUT_GRADIENT[of] if given is None and not self.is_network else given

    def score(self) -> dict[str, Any]:
        """How good the model is on the rows; nothing if the truth is not known."""
        if self.y is None or not hasattr(self.model, "predict"):
            return {}
        name, measure = ("accuracy", accuracy_score) if is_classifier(self.model) else ("r2", r2_score)
        return {name: float(measure(self.y, self.model.predict(self.X)))}


@cli.app.command("explain")
def explain_command(
    source: cli.Source,
    target: cli.Target = None,
    task: cli.Task = None,
    model: Annotated[
        str | None,
        typer.Option(help="torch, keras or forest, to be trained; or a file: .keras, .pt, .safetensors, .skops."),
    ] = None,
    module: Annotated[
        str | None, typer.Option(help="package.module:Class, which makes the torch module, or a Keras model needs.")
    ] = None,
    trust: Annotated[list[str] | None, typer.Option(help="Type in a .skops file that may be imported.")] = None,
    attribution: Annotated[
        str | None, typer.Option(help="A strategy, or all. [default: expected_gradients; forest: permutation]")
    ] = None,
    row: Annotated[
        list[int] | None, typer.Option(help="Row of the file, from 0, to explain in words; may be given several times.")
    ] = None,
    out: cli.Out = Path(),
    random_state: cli.Seed = 0,
    drop: cli.Drop = None,
    as_json: cli.Json = False,
) -> None:
    """Explain one model: which columns matter, and why single rows are predicted as they are.

    A model that is named is trained on three quarters of the rows and explained on the others; a saved one is explained
    on all. The table goes to stdout, NAME_explained.png and NAME_explained.csv to --out. With --attribution all they
    are of all strategies, and Ctrl-C gives those that are done.

    skexplain explain breast_cancer --model torch --row 3

    skexplain explain data.csv --target y --attribution all

    skexplain explain data.parquet --target y --model net.keras

    skexplain explain data.csv --target y --model weights.pt --module mypackage.nets:Net --json
    """
    with cli.refusing() as partial:
        named = model is None or model in cli.MODELS
        if named and (module or trust):
            raise ValueError(f"{'--module' if module else '--trust'} is for saved models; give the file as --model.")
        table = cli.read_source(source, target, task, drop or [], needs_target=named)
        rows = [_checked_row(k, len(table.X)) for k in row or []]
        cli.prepare(out)
        for note in table.notes:
            typer.echo(note, err=True)
        s = (
            trained(model, table, random_state)
            if named
            else saved(Path(str(model)), module, trust or [], table, random_state)
        )
        result = _explained(s, attribution, random_state)
        reports = {k: _report(s, table.X.iloc[[k]], attribution, random_state) for k in rows}
        if as_json:
            cli.echo_json(_as_json(s, result, reports))
        else:
            typer.echo(_as_text(s, result, reports))
        draw = result.plot.bar if isinstance(result, Importances) else result.plot.shares
        cli.write(result.to_frame(), lambda path: draw(path=path), out / f"{table.name}_explained")
        partial.exit()


def trained(model: str | None, table: Table, random_state: int) -> Subject:
    """A new model, trained on most of the rows."""
    assert table.y is not None
    few = np.unique(table.y, return_counts=True)[1].min() if table.classification else 0
    if len(table.X) < 8:
        raise ValueError(
            f"{table.name} has {len(table.X)} rows, too few to train on some and explain on others; 8 are needed."
        )
    X, X_test, y, y_test = train_test_split(
        table.X,
        table.y,
        test_size=HELD_OUT,
        random_state=random_state,
        stratify=table.y if few > 1 and len(np.unique(table.y)) <= HELD_OUT * len(table.y) else None,
    )
    name, estimator = _first(model, table.classification)
    fitted = table.behind(estimator.set_params(random_state=random_state)).fit(X, y)
    return Subject(fitted, name, X_test, y_test, _some(X, random_state), X)


def saved(path: Path, module: str | None, trusted: list[str], table: Table, random_state: int) -> Subject:
    """A model from a file, with the columns that it was trained on, in their order."""
    model = read_model(path, module, trusted)
    X = table.X
    if hasattr(model, "feature_names_in_"):
        wanted = column_names(None, None, model, len(model.feature_names_in_))
        missing = [name for name in wanted if name not in X.columns]
        if missing:
            raise ValueError(f"{path.name} reads a column {missing[0]!r}, which {table.name} does not have.")
        X = X[wanted]
    elif table.texts:
        raise ValueError(
            f"{path.name} reads numbers, but the column {X.columns[table.texts[0]]!r} holds text; leave it out with "
            f"--drop {X.columns[table.texts[0]]!r}."
        )
    if not hasattr(model, "fit") or not hasattr(model, "get_params"):  # a bare network
        X = X.astype(np.float32)
        model = from_fitted(model, X, table.y, random_state=random_state)
    kept = getattr(model, "_kept", None) is not None
    return Subject(model, path.name, X, table.y, None if kept else _some(X, random_state))


def _first(model: str | None, classification: bool) -> tuple[str, Any]:
    """The model that was named, or the first that is installed."""
    for name in ("torch", "keras", "forest") if model is None else (model,):
        try:
            return name, cli.estimator(name, classification)
        except ImportError:
            if model is not None:
                raise
    raise AssertionError  # a forest is always there


def _some(X: Any, random_state: int) -> Any:
    return X.sample(min(BACKGROUND_ROWS, len(X)), random_state=random_state)


def _checked_row(k: int, n: int) -> int:
    if not 0 <= k < n:
        raise ValueError(f"--row={k}; the table has {n} rows, numbered from 0 to {n - 1}.")
    return k


def _explained(s: Subject, attribution: str | None, random_state: int) -> Importances | MethodComparison:
    if attribution == "all":
        with cli.bar() as progress:
            return compare_methods(
                s.model, s.X, s.y, background=s.background, random_state=random_state, progress=progress
            )
    strategy = s.attribution(attribution, "importances")
    return importances(s.model, s.X, s.y, attribution=strategy, background=s.background, random_state=random_state)


def _report(s: Subject, row: Any, attribution: str | None, random_state: int) -> RowReport:
    strategy = s.attribution(None if attribution == "all" else attribution, "rows")
    row = row[list(s.X.columns)].astype(s.X.dtypes.to_dict())
    return explain_row(
        s.model,
        row,
        attribution=strategy,
        background=s.background,
        training=s.training,
        random_state=random_state,
    )


def _as_text(s: Subject, result: Any, reports: dict[int, RowReport]) -> str:
    score = ", ".join(f"{name} {value:.3f}" for name, value in s.score().items())
    where = "rows that it was not trained on" if s.training is not None else "rows of the file"
    head = f"{s.name}: {score + ' ' if score else ''}on {len(s.X)} {where}"
    parts = [head, repr(result), *(f"Row {k}: {report!r}" for k, report in reports.items())]
    return "\n\n".join(parts)


def _as_json(s: Subject, result: Any, reports: dict[int, RowReport]) -> dict[str, Any]:
    content: dict[str, Any] = {"model": s.name, "rows": len(s.X), "score": s.score()}
    content["importances"] = cli.records(result.to_frame())
    if isinstance(result, MethodComparison):
        content["consensus"] = [result.names[j] for j in result.ranking]
        content["cautions"] = list(result.cautions)
        content["refused"] = dict(result.refused)
    else:
        content["attribution"] = repr(result.strategy)
    content["explained"] = [
        {
            "row": k,
            "text": report.explanation.to_text(),
            "attribution": repr(report.explanation.strategy),
            "values": dict(zip(report.explanation.names, report.values.tolist(), strict=True)),
            "cautions": list(report.cautions),
        }
        for k, report in reports.items()
    ]
    return content
