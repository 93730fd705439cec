"""A multilayer perceptron that takes raw columns, and layers for these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from .._categories import FIRST, UNKNOWN, embedding_width
from .._data import standardisation
from .._defaults import ACTIVATION, BINS, DROPOUT, EMBEDDING_STD, HIDDEN
from .._pieces import Pieces, piecewise, quantiles


@keras.saving.register_keras_serializable("skexplain")
class Standardise(keras.layers.Layer):
    """``(x - mean) / scale``, column by column, with numbers taken from the training data.

    `KerasClassifier` and `KerasRegressor` set them at ``fit``, in whatever model the layer stands. Training does
    not change them, they are saved with the weights, and attributions fold them into the first layer.

    Parameters
    ----------
    inverse : bool, default=False
        ``mean + scale * x`` instead; the numbers are then the target's.

    Examples
    --------
    >>> import numpy as np
    >>> from skexplain.keras import Standardise
    >>> layer = Standardise()
    >>> layer.build((None, 2))
    >>> layer.learn(np.array([[0.0, 1.0], [2.0, 5.0]]))
    >>> np.asarray(layer(np.array([[0.0, 5.0]]))).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(self, inverse: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inverse = inverse

    def build(self, input_shape: Sequence[int | None]) -> None:
        width = (input_shape[-1],)
        self.mean = self.add_weight(name="mean", shape=width, initializer="zeros", trainable=False)
        self.scale = self.add_weight(name="scale", shape=width, initializer="ones", trainable=False)

    def call(self, inputs: Any) -> Any:
        if self.inverse:
            return self.mean + self.scale * inputs
        return (inputs - self.mean) / self.scale

    def learn(self, values: NDArray, weight: NDArray | None = None) -> None:
        """Take mean and scale from rows ``(n, width)``, weighted by ``weight`` of shape ``(n,)``."""
        mean, scale = standardisation(values, weight)
        self.mean.assign(mean)
        self.scale.assign(scale)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "inverse": self.inverse}


@keras.saving.register_keras_serializable("skexplain")
class EncodeNumbers(keras.layers.Layer):
    """Each number of a row becomes its standardised value and pieces of its range; see `skexplain._pieces.Pieces`.

    `KerasClassifier` and `KerasRegressor` take means, scales and the quantiles between which there are pieces from the
    training data at ``fit``, in whatever model the layer stands. Training does not change them, they are saved with
    the weights, and attributions are taken behind the layer and summed over what comes from the same column.

    Parameters
    ----------
    n_numbers : int, default=None
        How many of the inputs, the first, are numbers to be encoded. The others, such as the vectors of codes, are
        passed on. None: all are.
    bins : int, default=8
        Pieces of a number.

    Attributes
    ----------
    owners : tuple of int
        The input that each number of the output comes from.
    width : int
        How many inputs are encoded.

    Examples
    --------
    >>> import numpy as np
    >>> from skexplain.keras import EncodeNumbers
    >>> layer = EncodeNumbers(bins=2)
    >>> layer.build((None, 1))
    >>> layer.learn(np.array([[0.0], [2.0], [6.0], [8.0]]))
    >>> np.asarray(layer(np.array([[4.0], [8.0]]))).astype(float).round(2).tolist()
    [[0.0, 0.25, -0.08], [2.53, 0.25, 0.25]]
    """

    def __init__(self, n_numbers: int | None = None, bins: int = BINS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n_numbers, self.bins = n_numbers, bins

    def build(self, input_shape: Sequence[int | None]) -> None:
        n = int(input_shape[-1])  # type: ignore[arg-type]
        self.width = k = n if self.n_numbers is None else self.n_numbers
        pieces = piecewise(np.zeros(k), np.ones(k), np.zeros((self.bins + 1, k)), n - k)
        self.owners = tuple(pieces.owners.tolist())
        for name in Pieces._fields[1:]:
            weight = self.add_weight(name=name, shape=(len(self.owners),), initializer="zeros", trainable=False)
            weight.assign(getattr(pieces, name))
            setattr(self, name, weight)

    def call(self, inputs: Any) -> Any:
        x = (keras.ops.take(inputs, np.array(self.owners), axis=1) - self.shift) / self.scale
        return keras.ops.minimum(keras.ops.maximum(x, self.low), self.high)

    def learn(self, values: NDArray, weight: NDArray | None = None) -> None:
        """Take mean, scale and quantiles from rows ``(n, n_numbers)``, weighted by ``weight`` of shape ``(n,)``."""
        n_more = max(self.owners) + 1 - values.shape[1]
        pieces = piecewise(*standardisation(values, weight), quantiles(values, weight, self.bins), n_more)
        for name in Pieces._fields[1:]:
            getattr(self, name).assign(getattr(pieces, name))

    @property
    def pieces(self) -> Pieces:
        """What it computes, in NumPy."""
        numbers = (keras.ops.convert_to_numpy(getattr(self, name)) for name in Pieces._fields[1:])
        return Pieces(np.array(self.owners), *numbers)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], len(self.owners))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n_numbers": self.n_numbers, "bins": self.bins}


@keras.saving.register_keras_serializable("skexplain")
class UnknownIsZero(keras.constraints.Constraint):
    """The vector of code 0, of a level that was not there in training, stays zero whatever is learned."""

    def __call__(self, w: Any) -> Any:
        learned = keras.ops.expand_dims(keras.ops.arange(w.shape[0]) != UNKNOWN, 1)
        return w * keras.ops.cast(learned, w.dtype)


def _first_vectors(shape: Sequence[int], dtype: Any = None) -> Any:
    """Small random vectors; zero for levels that were not seen, and to begin with for missing values."""
    drawn = keras.random.normal((shape[0] - FIRST, shape[1]), stddev=EMBEDDING_STD, dtype=dtype)
    return keras.ops.concatenate([keras.ops.zeros((FIRST, shape[1]), dtype=dtype), drawn])


@keras.saving.register_keras_serializable("skexplain")
class EmbedCodes(keras.layers.Layer):
    """Codes of categorical columns become learned vectors, beside the other columns as they are.

    Parameters
    ----------
    n_features : int
        Columns of the table, codes and numbers.
    cardinalities : mapping of int to int
        For each column of codes how many there are; code 0, of a level that was not there in training, is always the
        zero vector.
    widths : mapping of int to int, default=None
        Numbers in a vector of each column; None: by fastai's rule, ``min(600, 1.6 cardinality^0.56)``.

    Attributes
    ----------
    owners : list of int
        The column that each number of the output comes from.

    Examples
    --------
    >>> import numpy as np
    >>> from skexplain.keras import EmbedCodes
    >>> embed = EmbedCodes(3, {1: 5}, {1: 2})
    >>> list(embed.owners), tuple(embed(np.array([[0.5, 3.0, -1.0]])).shape)
    ([0, 2, 1, 1], (1, 4))
    """

    def __init__(
        self,
        n_features: int,
        cardinalities: Mapping[int, int],
        widths: Mapping[int, int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs, autocast=False)  # codes beyond 2048 are not all numbers of half precision
        # a file of Keras has text for the keys of a mapping
        self.cardinalities = {int(j): n for j, n in cardinalities.items()}
        given = None if widths is None else {int(j): n for j, n in widths.items()}
        self.n_features, self.codes = n_features, sorted(self.cardinalities)
        self.numbers = [j for j in range(n_features) if j not in self.cardinalities]
        self.widths = {j: embedding_width(self.cardinalities[j]) if given is None else given[j] for j in self.codes}
        self.tables = [
            keras.layers.Embedding(
                self.cardinalities[j],
                self.widths[j],
                embeddings_initializer=_first_vectors,
                embeddings_constraint=UnknownIsZero(),
                dtype=self.dtype_policy,
                name=f"column_{j}",
            )
            for j in self.codes
        ]
        self.owners = self.numbers + [j for j in self.codes for _ in range(self.widths[j])]

    def build(self, input_shape: Any) -> None:
        for table in self.tables:
            table.build((None,))

    def call(self, inputs: Any) -> Any:
        parts = [table(keras.ops.cast(inputs[:, j], "int32")) for j, table in zip(self.codes, self.tables, strict=True)]
        if self.numbers:
            numbers = keras.ops.take(inputs, self.numbers, axis=1)
            parts.insert(0, keras.ops.cast(numbers, self.compute_dtype))
        return keras.ops.concatenate(parts, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], len(self.owners))

    def get_config(self) -> dict[str, Any]:
        of_codes = {"cardinalities": dict(self.cardinalities), "widths": dict(self.widths)}
        return {**super().get_config(), "n_features": self.n_features, **of_codes}


def mlp(
    meta: Mapping[str, Any],
    *,
    hidden: Sequence[int] = HIDDEN,
    activation: str = ACTIVATION,
    dropout: float = DROPOUT,
) -> keras.Sequential:
    """Build a multilayer perceptron on raw columns: standardise, hidden layers, linear output.

    With ``model=mlp``, `KerasClassifier` and `KerasRegressor` train as they do their default, `column_gated_mlp`; the
    others are set as ``model__hidden`` and so on. The same network as `skexplain.torch.MLP`.

    Parameters
    ----------
    meta : mapping
        Given by the estimator: ``n_features_in_``, and ``n_classes_`` for a classifier or ``n_outputs_`` for a
        regressor; with categorical columns, which are embedded, ``cardinalities_``.
    hidden : sequence of int, default=(64, 64)
        Widths of the hidden layers.
    activation : str, default="relu"
        Of the hidden layers, in Keras' names.
    dropout : float, default=0.0
        Probability with which a hidden unit is dropped in training.

    Returns
    -------
    keras.Sequential
        Not compiled. Its outputs are logits, one a class, or predictions in the target's units.

    Raises
    ------
    ValueError
        For an unknown activation, or a width below 1.

    Examples
    --------
    >>> from skexplain.keras import mlp
    >>> mlp({"n_features_in_": 3, "n_classes_": 2}, hidden=(4,)).output_shape
    (None, 2)
    """
    if any(width < 1 for width in hidden):
        raise ValueError(f"hidden={tuple(hidden)} has a width below 1.")
    classification = "n_classes_" in meta
    n_features, cardinalities = meta["n_features_in_"], meta.get("cardinalities_")
    embed = [EmbedCodes(n_features, cardinalities)] if cardinalities else []
    model = keras.Sequential([keras.layers.Input((n_features,)), *embed, Standardise()])
    for width in hidden:
        model.add(keras.layers.Dense(width, activation=activation))
        if dropout:
            model.add(keras.layers.Dropout(dropout))
    model.add(keras.layers.Dense(meta["n_classes_"] if classification else meta["n_outputs_"]))
    if not classification:
        model.add(Standardise(inverse=True))
    return model


def standardise(
    model: keras.Model, X: NDArray, y: NDArray | None, weight: NDArray | None, codes: Sequence[int] = ()
) -> None:
    """Set what layers take from the data; ``y`` is None for classifiers, ``codes`` are columns of X.

    These are `Standardise` and `EncodeNumbers`.
    """
    layers = every_layer(model)
    numbers = np.setdiff1d(np.arange(X.shape[-1]), codes)
    embedded = any(isinstance(layer, EmbedCodes) for layer in layers)
    for layer in layers:
        if isinstance(layer, Standardise) and not layer.inverse and not len(codes):
            layer.learn(X, weight)
        elif isinstance(layer, Standardise) and not layer.inverse:
            # codes, and the vectors behind the numbers, are on no scale
            mean, scale = np.zeros(layer.mean.shape), np.ones(layer.mean.shape)
            places = numbers if len(mean) == X.shape[-1] and not embedded else np.arange(len(numbers))
            mean[places], scale[places] = standardisation(X[:, numbers], weight)
            layer.mean.assign(mean)
            layer.scale.assign(scale)
        elif isinstance(layer, Standardise) and y is not None:
            layer.learn(np.asarray(y, dtype=np.float64), weight)
        elif isinstance(layer, EncodeNumbers):
            read = numbers if embedded else np.arange(X.shape[-1])
            if X.ndim != 2 or layer.width != len(read):
                raise ValueError(
                    f"EncodeNumbers(n_numbers={layer.n_numbers}) encodes {layer.width} numbers, but rows of X have "
                    f"shape {X.shape[1:]}, of which {len(read)} columns are numbers. Put it first, or behind "
                    f"EmbedCodes with n_numbers={len(read)}."
                )
            layer.learn(X[:, read], weight)


def starts_with_encoder(layers: Sequence[Any]) -> bool:
    """Whether a model's first layer embeds codes, and is the only one to see them."""
    return bool(layers) and type(layers[0]) is EmbedCodes and "call" not in vars(layers[0])


def every_layer(model: Any) -> list[Any]:
    """All layers, also those inside nested models and layers."""
    return model._flatten_layers(include_self=False)
