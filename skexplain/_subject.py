"""Subject: a model and rows, made ready to be explained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, check_random_state

from ._behind import CodesBehind, behind
from ._columns import (
    Groups,
    column_names,
    columns_of_groups,
    comparable,
    dense,
    is_text,
    joint_name,
    origins,
    resolve_groups,
    varying,
)
from ._embedded import Embedded, numbers_of
from ._head import Output
from ._inputs import Inputs, Tabled, is_several
from ._network import Network
from ._pipeline import units_of
from ._sequence import REMEDY, WORDS, places_of, sequence_groups, sequence_names
from ._wrap import EstimatorNetwork, as_network, frameworks, unnested, unwrap
from .attributions._baseline import baseline_rows
from .attributions._registry import get_attribution
from .attributions._spread import alike
from .exceptions import UnsupportedModelError

#: Most background rows that are drawn by ourselves.
BACKGROUND_ROWS = 100
#: Rows beside the background on which it is tried what a network looks up.
TRIED = 1000


@dataclass(frozen=True)
class Subject:
    """A network, the rows as it reads them, and the user's groups in its columns.

    Attributes
    ----------
    network : Network
    rows, background : ndarray of shape (n, *features)
        The rows as the whole network reads them; the background as `network` does.
    names : tuple of str
        Of the groups.
    groups : list of int ndarray
        Flat columns of what `network` reads that belong to each group.
    columns : int ndarray of shape (n_groups,)
        The user's column that each group is; -1 for groups of several, and for what several columns do together.
    strategy : object
        With what it takes of the user's columns, such as a baseline, as `network` reads them.
    seed : int
    named : object
        The strategy as the user gave it, for results.
    embedded : tuple of Embedded
        What `network` stands behind, from the rows on: look-ups of codes, an encoding of numbers.
    asked : dict of str to tuple of str
        The user's groups, by the names of their columns.
    """

    network: Network
    rows: NDArray
    background: NDArray
    names: tuple[str, ...]
    groups: list[NDArray]
    columns: NDArray
    strategy: Any
    seed: int
    named: Any = None
    embedded: tuple[Embedded, ...] = ()
    asked: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def behind(self, embedded: Embedded | None) -> Subject:
        """The same with the network behind its look-ups or its encoding, if it has any."""
        if embedded is None:
            return self
        groups, background = numbers_of(embedded.owners, self.groups), embedded.checked(self.background)
        views = (*self.embedded, embedded)
        return replace(self, network=embedded.network, background=background, groups=groups, embedded=views)

    def behind_encoding(self) -> Subject:
        """The same with the network behind what it makes of each number on its own, if it does so."""
        encoded = self.network.encoded()
        if encoded is None:
            return self
        features, other = self.background.shape[1:], {}
        baseline = getattr(self.strategy, "baseline", None)
        if not (baseline is None or (isinstance(baseline, str) and baseline == "background")):
            # the mean of encoded rows is not what a row of means is encoded as
            other["baseline"] = encoded.embed(baseline_rows(baseline, self.background))
        for name in ("low", "high"):  # the range of the columns, with which encodings rise
            bound = getattr(self.strategy, name, None)
            if bound is not None and np.shape(bound) in ((), features):
                other[name] = encoded.embed(np.full((1, *features), bound, dtype=np.float64))[0]
        strategy = clone(self.strategy).set_params(**other) if other else self.strategy
        return replace(self.behind(encoded), strategy=strategy)

    def read(self, rows: NDArray) -> NDArray:
        """Some of the rows as `network` reads them."""
        for embedded in self.embedded:
            rows = embedded.checked(rows)
        return rows


def subject_of(
    model: Any,
    X: Any,
    y: Any,
    attribution: Any,
    background: Any,
    output: Output,
    groups: Groups | None,
    feature_names: Sequence[str] | None,
    random_state: Any,
) -> Subject:
    """Check all that `explain` and `importances` take; see there for the parameters."""
    own = getattr(model, "attribution", None) or "expected_gradients"
    strategy = get_attribution(own if attribution is None else attribution)
    seed = seed_of(model, random_state)
    model = getattr(model, "best_estimator_", model)
    if background is None and hasattr(model, "_known_rows"):
        background = model._known_rows  # of a pipeline's user, in the columns in front of it
    model = unnested(getattr(model, "_explained", model))
    if is_several(X) and not hasattr(model, "_check_rows"):
        model = Tabled(model, Inputs.of(X))
    if feature_names is None and isinstance(getattr(model, "_inputs", None), Inputs):  # Keras' models have a list
        feature_names = model._inputs.names
    y = None if y is None else np.asarray(y)
    if not getattr(strategy, "needs_gradient", True) and not (is_network(model) and _predicts_plainly(model)):
        local = getattr(strategy, "local", hasattr(strategy, "attribute"))
        look = _from_outside(model, X, background, output, seed, local)
    elif isinstance(model, Pipeline):
        # values of such belong to what the network reads
        fold = not any(getattr(strategy, f"needs_{what}", False) for what in ("gates", "training"))
        look = _behind_pipeline(model, X, y, background, output, feature_names, seed, fold)
    else:
        look = _directly(model, X, y, background, output, seed)
    network, rows, back, origin, joint = look
    with reading(rows):
        network.predict(rows[:1])
    # typical rows rather than those that are asked about, so that a row does not change the groups
    kept = None if isinstance(model, Pipeline) else getattr(model, "_kept_background", None)
    typical = next((rows for rows in (background, kept) if rows is not None), X)
    if typical is kept and hasattr(model, "categories_"):  # the order of codes means nothing
        typical = np.where(np.isin(np.arange(kept.shape[1]), model.categories_.columns), np.nan, kept)
    typical = model._check_rows(typical) if is_several(typical) else typical
    feature_names, groups = _of_sequence(model, X, look, feature_names, groups)
    columns = column_names(X, feature_names, model, len(origin))
    names, members = resolve_groups(groups, columns, typical)
    asked = columns_of_groups(names, columns, members)
    flat = [np.concatenate([origin[j] for j in g]).astype(np.intp) for g in members]
    single = [g[0] if len(g) == 1 else -1 for g in members]
    for sources, of_several in joint.items():
        owner = next((k for k, g in enumerate(members) if np.isin(sources, g).all()), None)
        if owner is not None:
            flat[owner] = np.append(flat[owner], of_several)
            continue
        names = (*names, joint_name([columns[j] for j in sources], names))
        flat.append(of_several)
        single.append(-1)
    embedded, named = None, strategy
    if looks_behind(strategy):
        embedded = network.embedded(rows if not len(back) else np.concatenate([rows[:TRIED], back]))
    if embedded is not None:
        strategy = _behind_look_ups(strategy, embedded, model, rows)
    subject = Subject(network, rows, back, names, flat, np.array(single), strategy, seed, named, asked=asked)
    subject = subject.behind(embedded)
    behind = looks_behind(strategy) and not getattr(strategy, "of_slopes", False)
    return subject.behind_encoding() if behind else subject


def looks_behind(strategy: Any) -> bool:
    """Whether a strategy asks networks that look codes up from behind the look-ups.

    There are slopes, and means of what is looked up. Who only shuffles columns can do so with codes; maps, attention
    weights and gates are those of the places of a row.
    """
    local = getattr(strategy, "local", hasattr(strategy, "attribute"))
    of_places = [
        getattr(strategy, f"needs_{what}", False) for what in ("convolution", "attention", "gates", "training")
    ]
    return (local or getattr(strategy, "needs_gradient", True)) and not any(of_places)


def _behind_look_ups(strategy: Any, embedded: Embedded, model: Any, rows: NDArray) -> Any:
    """The strategy with baseline rows of the user's embedded."""
    given = getattr(strategy, "baseline", None)
    if given is None or isinstance(given, str):
        return strategy
    if hasattr(model, "_check_rows") and (hasattr(given, "columns") or is_several(given)):
        given = model._check_rows(given)
    return clone(strategy).set_params(baseline=embedded.embed(baseline_rows(given, rows)))


#: Network, rows, background; for each of the user's columns the flat columns of the rows that come from it; and for
#: each set of columns the flat columns that come from all of it.
_Look = tuple[Network, NDArray, NDArray, list[NDArray], dict[tuple[int, ...], NDArray]]


def _from_outside(model: Any, X: Any, background: Any, output: Output, seed: int, local: bool) -> _Look:
    """An estimator that is known by its predictions, on the user's own columns."""
    network = EstimatorNetwork(model, X, output)
    rows = network.encode(X)
    given = None if background is None else network.encode(background)
    back = _background(None, rows, given, seed) if local else rows[:0]
    return network, rows, back, _each_alone(int(np.prod(rows.shape[1:]))), {}


def _behind_pipeline(
    model: Pipeline,
    X: Any,
    y: NDArray | None,
    background: Any,
    output: Output,
    feature_names: Sequence[str] | None,
    seed: int,
    fold: bool,
) -> _Look:
    """The network at the end of a pipeline, on transformed rows; linear steps that mix columns are part of it."""
    X = X if hasattr(X, "iloc") else np.asarray(X)
    last, transform = model[-1], model[:-1].transform if len(model) > 1 else lambda Z: Z
    names = column_names(X, feature_names, model, X.shape[1])

    def read(Z: Any) -> NDArray:
        # with `set_output` the last step was fitted on a frame, and wants its names
        return readable(last, Z if hasattr(Z, "iloc") or is_text(Z) else dense(Z))

    transformed = transform(X)
    T, rows = comparable(transformed), read(transformed)
    with reading(rows):
        network = as_network(last, rows[:BACKGROUND_ROWS], y=y, output=output)
    given = None if background is None else read(transform(background))
    units = units_of(model[:-1] if len(model) > 1 else None, X, len(names), background)
    in_u: NDArray | np.bool_ = np.False_
    if fold and units.affine is not None and rows.size == T.size:
        embedded = network.embedded(rows if given is None else np.concatenate([rows[:TRIED], given]))
        # what is looked up is encoded by the last step itself
        numbers = np.arange(T.shape[1]) if embedded is None else embedded.owners[: embedded.n_numbers]
        fold = np.allclose(rows.reshape(T.shape)[:, numbers], T[:, numbers], rtol=1e-5)
    if fold and units.affine is not None and rows.size == T.size:
        u, of_background = units.values[: len(X)], None if given is None else units.values[len(X) :]
        if embedded is None:
            owners, network = units.owners, behind(network, units.affine, rows.shape[1:])
            rows = u
        else:  # codes are looked up, so that no matrix stands in front of them; what else is in t is in u already
            looked_up = np.isin(np.arange(T.shape[1]), embedded.owners[embedded.n_numbers :])
            owners = np.concatenate([units.owners, units.owners_of_transformed & looked_up], axis=1)
            in_u = np.append(np.zeros(units.owners.shape[1], dtype=bool), ~looked_up)
            network = CodesBehind(embedded, units.affine, rows.shape[1:])
            rows = np.concatenate([u, rows.reshape(T.shape)], axis=1)
            if given is not None and of_background is not None:
                of_background = np.concatenate([of_background, given.reshape(len(given), -1)], axis=1)
        back = _background(None, rows, of_background, seed)
    else:
        owners = units.owners_of_transformed
        back = _background(last, rows, given, seed)
    flat = np.concatenate([rows, back]).reshape(len(rows) + len(back), -1)
    lost = np.flatnonzero(varying(flat) & ~owners.any(axis=0) & ~in_u)
    if len(lost):
        raise UnsupportedModelError(
            f"{len(lost)} columns of the pipeline's output differ between the rows and the background, but not among "
            f"the {len(X)} rows, so it cannot be seen which of the columns {list(names)} they come from. Pass "
            "`background=` with rows in front of the pipeline, in which every column varies."
        )
    return network, rows, back, *origins(owners)


def _directly(model: Any, X: Any, y: NDArray | None, background: Any, output: Output, seed: int) -> _Look:
    """A network, or the wrapper of one, on rows as they are."""
    rows = readable(model, X)
    with reading(rows):
        network = as_network(model, rows[:BACKGROUND_ROWS], y=y, output=output)
    back = None if background is None else readable(model, background)
    origin = _each_alone(int(np.prod(rows.shape[1:])))
    return network, rows, _background(model, rows, back, seed), origin, {}


def _of_sequence(
    model: Any, X: Any, look: _Look, feature_names: Sequence[str] | None, groups: Groups | None
) -> tuple[Sequence[str] | None, Groups | None]:
    """Names and groups of columns, where those of a sequence's steps or features are meant."""
    network, rows, _, origin, _ = look
    asked = isinstance(groups, str) and groups in WORDS
    n_given = len(origin) if feature_names is None else len(feature_names)
    if not asked and (n_given == len(origin) or rows.ndim != 3 or n_given not in rows.shape[1:]):
        return feature_names, groups
    if isinstance(model, Pipeline) and is_network(model[-1]):
        network, rows, _, origin, joint = _behind_pipeline(model, X, None, None, "margin", None, 0, fold=False)
        if joint or any(not np.array_equal(columns, [j]) for j, columns in enumerate(origin)):
            raise ValueError(
                "Steps of the pipeline mix, add or drop columns, so those in front of it are not those of the "
                f"sequence. {REMEDY}"
            )
    elif isinstance(network, EstimatorNetwork) and is_network(model):
        network, rows, *_ = _directly(model, X, None, X, "margin", 0)
    place = places_of(network, rows)
    new = sequence_groups(place, groups, feature_names) if asked else groups  # type: ignore[arg-type]
    if feature_names is not None and n_given == place.shape[1] != len(origin):
        feature_names = sequence_names(place, feature_names)
    return feature_names, new


def _each_alone(n: int) -> list[NDArray]:
    return [np.array([j]) for j in range(n)]


def is_network(model: Any) -> bool:
    """Whether the model has a network of its own, and no steps before it."""
    model = model.model if isinstance(model, Tabled) else model
    raw = unwrap(model)[0] if frameworks(model) & {"skorch", "scikeras", "keras", "torch"} else model
    own = hasattr(model, "_network") or isinstance(raw, MLPClassifier | MLPRegressor)
    return own or bool(frameworks(raw) & {"keras", "torch"})


def _predicts_plainly(model: Any) -> bool:
    """Whether a wrapper predicts what its network says, without a threshold or nonlinearity of the user's."""
    return isinstance(getattr(model, "predict_nonlinearity", "auto"), str) and not hasattr(model, "threshold")


def readable(model: Any, X: Any) -> NDArray:
    """Rows as the network reads them, checked."""
    if hasattr(model, "_check_rows"):
        return model._check_rows(X)
    rows = check_array(X, dtype="numeric", allow_nd=True, estimator=type(model).__name__)
    return rows.astype(float) if rows.dtype == bool else rows  # True less False is an error in NumPy


@contextmanager
def reading(rows: NDArray) -> Iterator[None]:
    """Say which rows a framework could not read, in front of its own words."""
    try:
        yield
    except UnsupportedModelError:
        raise
    except (RuntimeError, IndexError, ArithmeticError, TypeError) as exc:
        raise ValueError(f"The model cannot read rows of shape {rows.shape[1:]}: {exc}") from exc


def _background(model: Any, rows: NDArray, given: NDArray | None, seed: int) -> NDArray:
    if given is None:
        kept = getattr(model, "_kept_background", None)
        if kept is not None:
            return kept
        if alike(rows):
            raise ValueError(
                f"X has {len(rows)} row(s), all alike, and would be compared with itself. Pass `background=`: typical "
                "rows, for instance some of the training data."
            )
        order = np.random.default_rng(seed).permutation(len(rows))[:BACKGROUND_ROWS]
        return rows[np.sort(order)]
    if given.shape[1:] != rows.shape[1:]:
        raise ValueError(
            f"background has rows of shape {given.shape[1:]}, X has rows of shape {rows.shape[1:]}; "
            "both must have the same columns."
        )
    return given


def seed_of(model: Any, random_state: Any) -> int:
    """The seed that repeats what is computed: the caller's, the model's own, or a fresh one."""
    own = getattr(model, "_importance_seed", None)
    if random_state is None and own is not None:
        return int(own)
    if random_state is None:  # leave NumPy's global generator alone
        return int(np.random.SeedSequence().generate_state(1)[0] >> 1)
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def truth_of(y: Any, n: int) -> NDArray:
    """Targets of n rows, a single column as one dimension."""
    y = np.asarray(y)
    y = y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y
    if len(y) != n:
        raise ValueError(f"y has {len(y)} values for {n} rows of X.")
    return y
