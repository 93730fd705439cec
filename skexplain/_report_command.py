"""``skexplain report``: from a file of data to a page about a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import _command as cli
from ._command_models import MODEL, Module, Trust, is_trained_here, saved, trained
from ._report import report


@cli.app.command("report")
def report_command(
    source: cli.Source,
    target: cli.Target = None,
    task: cli.Task = None,
    model: Annotated[str | None, typer.Option(help=MODEL)] = None,
    module: Module = None,
    trust: Trust = None,
    attribution: Annotated[str | None, typer.Option(help="A strategy. [default: the model's own]")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the page.")] = Path(),
    random_state: cli.Seed = 0,
    drop: cli.Drop = None,
) -> None:
    """Write one HTML page about a model: cautions, scores, importances, a forest beside it, single predictions.

    A model that is named is trained on three quarters of the rows and looked at on the others; a saved one is looked at
    on all. NAME_report.html goes to --out; Ctrl-C leaves nothing.

    skexplain report data.csv --target y

    skexplain report breast_cancer --model keras --out pages

    skexplain report data.csv --target y --model net.keras
    """
    with cli.refusing():
        here = is_trained_here(model, module, trust)
        table = cli.read_source(source, target, task, drop or [])
        cli.prepare(out)
        for note in table.notes:
            typer.echo(note, err=True)
        case = (
            trained(model, table, random_state)
            if here
            else saved(Path(str(model)), module, trust or [], table, random_state)
        )
        with cli.bar() as progress:
            path = report(
                {case.name: case.model},
                case.X,
                case.y,
                path=out / f"{table.name}_report.html",
                title=f"{table.name}: what {case.name} looks at",
                attribution=attribution,
                training=(case.training, case.y_training) if here else None,
                held_out=True if here else None,
                random_state=random_state,
                progress=progress,
            )
        typer.echo(str(path))
