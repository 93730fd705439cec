"""report: everything about a model on one page."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import is_classifier, is_regressor
from sklearn.utils import check_scalar
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from .. import __version__
from .._columns import column_names
from .._files import written
from .._fitted import from_fitted
from .._subject import seed_of, truth_of
from ._cautions import cautions, order_of
from ._data import Data, share_trained_on
from ._forest import beside_forest
from ._model import Chapter, last_of, measure, write_chapter
from ._parts import REFUSALS, Part
from ._scores import scores

#: Most models of a report: each has a chapter.
MOST = 6
CHECKS = (
    "too few rows, and rare classes; training rows among the rows; models no better than a guess; correlated columns; "
    "saturated outputs; too small a background; neighbours in the ranking that noise could exchange; strategies, and "
    "models, that disagree; columns of many values in a forest"
)


def report(
    models: Any,
    X: Any,
    y: Any,
    *,
    path: Any = "report.html",
    title: str = "What the model looks at",
    attribution: Any = None,
    methods: Any = "default",
    training: tuple[Any, Any] | None = None,
    held_out: bool | None = None,
    cv: Any = 3,
    n_rows: int = 6,
    random_state: Any = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Path:
    """Write one HTML file about a model, or several: to be looked at, sent by mail, or printed.

    The file needs no server and loads nothing. It holds what to be careful with, the data, the scores, the models
    beside a random forest, and for each model its importances with intervals, the agreement of strategies, partial
    dependence, single predictions to step through, and what was recorded while it was trained.

    Parameters
    ----------
    models : fitted model, or dict from a name to one
        All that `skexplain.explain` takes, and any other classifier or regressor, such as a forest. Up to six.
    X : array-like or DataFrame of shape (n, n_columns)
        Rows to measure on, best such that no model was trained on.
    y : array-like of shape (n,)
        True labels or numbers.
    path : str or Path, default="report.html"
        File to write. It is there when it is whole.
    title : str, default="What the model looks at"
    attribution : str or object, default=None
        Strategy of the importances. None: the model's own; permutation for models that are no networks.
    methods : "default", "all", list of strategies, or None, default="default"
        Strategies to set side by side: a handful that asks different questions and takes seconds, or as in
        `compare_methods`. None: no comparison.
    training : pair (X, y), default=None
        Rows that the models were trained on. The comparison with a forest trains on them, and single predictions are
        compared with them. None: the comparison trains on parts of the rows above, which are often few, and
        predictions are compared with rows that the model has kept, if any.
    held_out : bool, default=None
        Whether the rows were held out from the training. None: found out where a model keeps training rows, and said to
        be unknown elsewhere.
    cv : int, splitter or None, default=3
        Folds on which models that can be trained anew are compared with a random forest, see `compare`. None: no
        training, and no forest.
    n_rows : int, default=6
        Single predictions that are shown.
    random_state : int, RandomState or None, default=0
        Repeats the page.
    progress : callable, default=None
        ``progress(done, total, what)``, called before each step and at the end.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        For a path that cannot be written, no rows, no table, or models that cannot be measured on it. What a strategy
        refuses for a model is said on the page instead.
    ImportError
        Without jinja2 or matplotlib.

    Notes
    -----
    The page holds values of single rows, and for words the most common one of each column: treat it as you treat the
    data.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> import skexplain
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> net = MLPClassifier(max_iter=2000, random_state=0).fit(X[::2], y[::2])
    >>> skexplain.report(net, X[1::2], y[1::2], held_out=True, path="report.html", cv=None)  # doctest: +SKIP
    PosixPath('report.html')
    """
    path = _checked_path(path)
    environment = _environment()
    check_scalar(n_rows, "n_rows", int, min_val=0)
    seed = seed_of(None, random_state)
    X, y = _checked_rows(X, y)
    found = _checked_models(models, X, y, seed)
    classification = is_classifier(next(iter(found.values())))
    names = column_names(
        X, None, last_of(next(iter(found.values()))) if not hasattr(X, "columns") else None, X.shape[1]
    )
    data = Data(X, y, names, classification)
    learned = data if training is None else _checked_training(training, data)
    total = 2 * len(found) + 2
    done = 0

    def step(what: str) -> None:
        nonlocal done
        if progress is not None:
            progress(done, total, what)
        done += 1

    chapters: dict[str, Chapter] = {}
    for name, model in found.items():
        step(f"{name}: importances")
        chapters[name] = measure(name, model, data, attribution, seed)
        chapters[name].training = None if training is None else learned.X
    step("scores")
    trained = {name: None if _is_raw(models, name) else share_trained_on(model, X) for name, model in found.items()}
    known = {name: _about_training(name, trained[name], held_out) for name in found}
    scored, better = scores(found, data, known, seed)
    parts = [data.part(order_of(chapters, data)), scored]
    step("comparison with a random forest")
    compared = None
    if cv is not None:
        try:
            forest, compared = beside_forest(
                chapters, learned, "the rows" if training is None else "the training rows", cv, seed
            )
        except REFUSALS as exc:
            forest = Part("Beside a random forest", "forest", [f"Not shown: {' '.join(str(exc).split())}"])
        parts.append(forest)
    for number, chapter in enumerate(chapters.values(), 1):
        step(f"{chapter.name}: chapter")
        parts.append(write_chapter(chapter, data, methods, n_rows, seed, number))
    page = environment(
        title=title,
        summary=f"{', '.join(found)} on {len(y)} rows of {len(data.names)} columns, by skexplain {__version__}.",
        cautions=cautions(chapters, data, trained, held_out, better, compared),
        checks=CHECKS,
        parts=parts,
        seed=seed,
    )
    _write(page, path)
    if progress is not None:
        progress(total, total, str(path))
    return path


def _checked_path(path: Any) -> Path:
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"path={str(path)!r} is a folder; name a file in it, such as {str(path / 'report.html')!r}.")
    if not path.parent.is_dir():
        raise ValueError(f"path={str(path)!r} lies in a folder that does not exist; make {str(path.parent)!r} first.")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise ValueError(f"path={str(path)!r} cannot be written; choose another one.")
    return path


def _checked_rows(X: Any, y: Any) -> tuple[Any, NDArray]:
    if issparse(X):
        raise ValueError("X is sparse; pass X.toarray().")
    X = X if hasattr(X, "iloc") else np.asarray(X)
    if X.ndim != 2:
        raise ValueError(f"X has {X.ndim} dimension(s); a report is of a table, (n, n_columns).")
    if not len(X) or not X.shape[1]:
        raise ValueError(f"X has {len(X)} rows and {X.shape[1]} columns; a report needs some of both.")
    if y is None:
        raise ValueError("y is None; a report tells how good the model is, and needs the true labels or numbers.")
    y = truth_of(y, len(X))
    if y.ndim != 1:
        raise ValueError(f"y has the shape {y.shape}; a report is of one label, or one number, a row.")
    if any(v is None or v != v for v in y.tolist()):
        raise ValueError("y has missing values; leave these rows out.")
    return X, y


def _checked_training(training: tuple[Any, Any], data: Data) -> Data:
    if not isinstance(training, tuple) or len(training) != 2:
        raise ValueError("training must be a pair (X, y) of rows that the models were trained on.")
    X, y = _checked_rows(*training)
    if X.shape[1] != len(data.names):
        raise ValueError(f"training has {X.shape[1]} columns, X has {len(data.names)}; both must have the same.")
    return Data(X, y, data.names, data.classification)


def _checked_models(models: Any, X: Any, y: NDArray, seed: int) -> dict[str, Any]:
    """Fitted estimators by name; what is no estimator becomes one."""
    named = dict(models) if isinstance(models, Mapping) else {_name(models): models}
    if not 1 <= len(named) <= MOST:
        raise ValueError(f"models has {len(named)} entries; pass one to {MOST}.")
    result = {}
    for name, model in named.items():
        if not _is_estimator(model):
            regression = type_of_target(y).startswith("continuous")
            model = from_fitted(model, X, y, classes=None if regression else np.unique(y), random_state=seed)
        check_is_fitted(model)
        result[str(name)] = model
    kinds = {name: is_classifier(model) for name, model in result.items()}
    if len(set(kinds.values())) > 1:
        raise ValueError(f"models mixes classifiers and regressors: {kinds}; write a report for each kind.")
    return result


def _is_estimator(model: Any) -> bool:
    return hasattr(model, "__sklearn_tags__") and (is_classifier(model) or is_regressor(model))


def _is_raw(models: Any, name: str) -> bool:
    """Whether the model was made an estimator here, of which these rows are all that it has seen."""
    named = {str(k): m for k, m in models.items()} if isinstance(models, Mapping) else {name: models}
    return not _is_estimator(named[name])


def _name(model: Any) -> str:
    return type(last_of(model)).__name__


def _about_training(name: str, share: float | None, held_out: bool | None) -> str:
    if held_out is not None:
        return f"{name}: these rows are {'held out' if held_out else 'training rows'}, as the caller says."
    if share is None:
        return f"{name}: it is not known whether it was trained on these rows."
    if share == 0:
        return f"{name}: none of the training rows that it keeps is among these rows, so they seem to be held out."
    return f"{name}: of the training rows that it keeps, {100 * share:.0f} % are among these rows."


def _environment() -> Callable[..., str]:
    """A function that fills in the page; whatever users wrote is text in it."""
    try:
        import jinja2
    except ImportError as exc:
        raise ImportError("The report needs jinja2. Run: pip install 'skexplain[report]'") from exc
    if find_spec("matplotlib") is None:
        raise ImportError("The report needs matplotlib. Run: pip install 'skexplain[report]'")
    folder = Path(__file__).parent / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))

    def fill(**values: Any) -> str:
        return environment.get_template("page.html.j2").render(
            style=style, style_hash=_hash(style), script=script, script_hash=_hash(script), **values
        )

    return fill


def _hash(text: str) -> str:
    """By which a browser knows that it is this text, and runs no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _write(page: str, path: Path) -> None:
    with written(path) as temporary:
        Path(temporary).write_text(page, encoding="utf-8", newline="\n")
