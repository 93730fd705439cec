"""``skexplain explain``: the importances of one model, and single predictions in plain words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import _command as cli
from ._command_models import MODEL, Case, Module, Trust, is_trained_here, saved, trained
from ._explain import importances
from .explanation import Importances
from .methods import MethodComparison, compare_methods
from .row_report import RowReport, explain_row


@cli.app.command("explain")
def explain_command(
    source: cli.Source,
    target: cli.Target = None,
    task: cli.Task = None,
    model: Annotated[str | None, typer.Option(help=MODEL)] = None,
    module: Module = None,
    trust: Trust = None,
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
        here = is_trained_here(model, module, trust)
        table = cli.read_source(source, target, task, drop or [], needs_target=here)
        rows = [_checked_row(k, len(table.X)) for k in row or []]
        cli.prepare(out)
        for note in table.notes:
            typer.echo(note, err=True)
        s = (
            trained(model, table, random_state)
            if here
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


def _checked_row(k: int, n: int) -> int:
    if not 0 <= k < n:
        raise ValueError(f"--row={k}; the table has {n} rows, numbered from 0 to {n - 1}.")
    return k


def _explained(s: Case, attribution: str | None, random_state: int) -> Importances | MethodComparison:
    if attribution == "all":
        with cli.bar() as progress:
            return compare_methods(
                s.model, s.X, s.y, background=s.background, random_state=random_state, progress=progress
            )
    strategy = s.attribution(attribution, "importances")
    return importances(s.model, s.X, s.y, attribution=strategy, background=s.background, random_state=random_state)


def _report(s: Case, row: Any, attribution: str | None, random_state: int) -> RowReport:
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


def _as_text(s: Case, result: Any, reports: dict[int, RowReport]) -> str:
    score = ", ".join(f"{name} {value:.3f}" for name, value in s.score().items())
    where = "rows that it was not trained on" if s.training is not None else "rows of the file"
    head = f"{s.name}: {score + ' ' if score else ''}on {len(s.X)} {where}"
    parts = [head, repr(result), *(f"Row {k}: {report!r}" for k, report in reports.items())]
    return "\n\n".join(parts)


def _as_json(s: Case, result: Any, reports: dict[int, RowReport]) -> dict[str, Any]:
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
