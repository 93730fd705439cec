"""save and load: fitted estimators and results as files that hold no code."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ._archive import UnreadableError, opened, write
from ._encoding import INSTEAD, Reader, Writer
from ._files import written
from ._kinds import KINDS, own_names
from .exceptions import UnsupportedModelError

#: Estimators that can be saved, and the half that knows their framework.
HALVES = {
    "torch.NeuralNetClassifier": ".torch._saving",
    "torch.NeuralNetRegressor": ".torch._saving",
    "keras.KerasClassifier": ".keras._saving",
    "keras.KerasRegressor": ".keras._saving",
}
#: What `fit` leaves in an estimator beside its network, as far as it is there. One more is one more name here, and a
#: `Kind` if it is of a class of its own.
FITTED = (
    "n_features_in_",
    "feature_names_in_",
    "categories_",
    "classes_",
    "y_ndim_",
    "n_outputs_",
    "n_iter_",
    "_inputs",
    "_importance_seed",
    "_importances",
    "_kept",
    "_kept_index",
    "_seen_training",
)
#: Fraction of the largest output by which answers of the same network may differ between machines.
ALIKE = 1e-3


def save(estimator: Any, path: Any) -> None:
    """Write a fitted estimator of this library to a file that holds no code.

    For files that others will load, or that are kept for long. `pickle` and joblib are for files that only you load,
    such as caches: they keep any object, and run any code.

    Parameters
    ----------
    estimator : NeuralNetClassifier, NeuralNetRegressor, KerasClassifier or KerasRegressor
        Fitted.
    path : str or Path
        Of the file, under any name. It is written beside it first, read back, and takes its place when it is whole.

    Raises
    ------
    TypeError
        For another object, or a parameter that is code: a lambda, a callback, an instance of a class that is not known.
        The message names it and the remedy.
    sklearn.exceptions.NotFittedError
        For an estimator that is not fitted.
    ValueError
        When the network cannot be made again from its class and parameters.

    See Also
    --------
    load : the way back.
    Importances.save, Explanation.save : the same for results.

    Notes
    -----
    A zip archive: ``skexplain.json`` with parameters and fitted attributes, ``arrays/*.npy`` with importances, kept
    rows and all other arrays, and the weights in the framework's own format, ``weights.safetensors`` or
    ``model.keras``. The state of the optimizer is in it, so that training can go on. So are the rows that the estimator
    keeps, unless ``keep_rows=False``.

    Examples
    --------
    >>> import os, tempfile
    >>> import skexplain
    >>> from sklearn.datasets import load_diabetes
    >>> from skexplain.torch import NeuralNetRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> net = NeuralNetRegressor(max_epochs=5, random_state=0).fit(X, y)
    >>> path = os.path.join(tempfile.mkdtemp(), "net.skx")
    >>> skexplain.save(net, path)
    >>> bool((skexplain.load(path).predict(X) == net.predict(X)).all())
    True
    """
    name, half = _half_of(estimator)
    check_is_fitted(estimator)
    writer = Writer((*half.KINDS, *KINDS), own_names() | half.known())
    state = vars(estimator)
    content = {
        "estimator": name,
        "parameters": {k: writer.plain(v, k) for k, v in half.parameters(estimator).items()},
        "fitted": {k: writer.plain(state[k], k) for k in (*FITTED, *half.FITTED) if k in state},
        "network": half.network(estimator, writer),
        "answers": writer.plain(_answers(estimator, half.PROBE), "answers"),
        "names": sorted(writer.named),
    }
    with written(path) as temporary:
        write(temporary, "estimator", content, writer.arrays, writer.blobs)
        given = {key.replace(":", "."): item for key, item in writer.named.items()}
        try:
            load(temporary, custom_objects=given)
        except UnreadableError as exc:
            why = str(exc).replace(temporary, "the file")
            raise ValueError(f"This {type(estimator).__name__} cannot be saved safely: {why} {INSTEAD}") from exc


def load(path: Any, *, custom_objects: Mapping[str, Any] | None = None, trusted: Iterable[str] = ()) -> Any:
    """Read an estimator from a file of `save`. No code in the file is run, and nothing is imported that it names.

    Parameters
    ----------
    path : str or Path
    custom_objects : dict of str to class or function, default=None
        What stands behind the names in the file that are not this library's or the framework's, such as the class of
        the module, ``{"Net": Net}``; by the last part of the name or all of it.
    trusted : iterable of str, default=()
        Names that may be imported instead, such as ``["mypackage.nets.Net"]``: importing runs the code of that package.

    Returns
    -------
    estimator
        With the same predictions, importances and explanations; ``partial_fit`` and ``warm_start`` go on where training
        was.

    Raises
    ------
    ValueError
        For a file that is truncated, foreign, damaged or of a later version; that names what is neither in
        ``custom_objects`` nor trusted; or whose network no longer answers as it did.
    OSError
        For a file that cannot be opened.

    See Also
    --------
    save : writes the file, and has an example.
    """
    with opened(path, ["estimator"]) as archive:
        content = archive.content
        if content["estimator"] not in HALVES:
            raise UnreadableError(f"{path} holds a {content['estimator']!r}, which this version does not know.")
        room, _, name = content["estimator"].partition(".")
        kind = getattr(importlib.import_module(f".{room}", __package__), name)  # says which package is missing
        half = importlib.import_module(HALVES[content["estimator"]], __package__)
        reader = Reader(
            archive.array, archive.blob, (*half.KINDS, *KINDS), own_names() | half.known(), custom_objects, trusted
        )
        reader.refuse_unknown(content["names"], path)
        parameters = {name: reader.value(item) for name, item in content["parameters"].items()}
        hidden = [name for name in parameters if name.startswith("_") or hasattr(kind, name)]
        unknown = content["fitted"].keys() - {*FITTED, *half.FITTED}
        if hidden or unknown:
            raise UnreadableError(f"{path} sets {[*hidden, *unknown][0]!r}, which is no parameter.")
        estimator = half.restored(kind, parameters, content["network"], reader)
        vars(estimator).update({name: reader.value(item) for name, item in content["fitted"].items()})
        if not _alike(reader.value(content["answers"]), _answers(estimator, half.PROBE)):
            raise UnreadableError(
                f"The network made from {path} does not answer as it did when it was saved: its class has changed, or "
                "keeps what counts outside its weights."
            )
        return estimator


def _half_of(estimator: Any) -> tuple[str, Any]:
    """Name of an estimator in files, and the module that knows its framework."""
    kind = type(estimator)
    room = kind.__module__.removeprefix(f"{__package__}.").split(".")[0]
    name = f"{room}.{kind.__name__}"
    if kind.__module__.startswith(f"{__package__}.{room}.") and name in HALVES:
        return name, importlib.import_module(HALVES[name], __package__)
    steps = "Save its last step, and the steps in front of it by skops. " if hasattr(estimator, "steps") else ""
    best = "Save its best_estimator_. " if hasattr(estimator, "best_estimator_") else ""
    raise TypeError(
        f"skexplain.save takes {', '.join(name.split('.')[1] for name in HALVES)}, not a {kind.__name__}. "
        f"{steps}{best}{INSTEAD}"
    )


def _answers(estimator: Any, probe: str) -> NDArray | None:
    """Outputs for a few made-up rows; None where they are not known or not twice the same."""
    rows = getattr(estimator, probe, None)
    if rows is None:
        return None
    try:
        network = estimator._network()
    except UnsupportedModelError:
        return None
    answers = network.predict(rows)
    return answers if np.array_equal(answers, network.predict(rows)) else None


def _alike(before: NDArray | None, now: NDArray | None) -> bool:
    """Whether answers are those of the same network, as far as they are known."""
    if before is None or now is None:
        return before is None
    return now.shape == before.shape and bool(np.abs(now - before).max() <= ALIKE * np.abs(before).max())
