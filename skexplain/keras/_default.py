"""The default model: a multilayer perceptron that takes raw columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from .._data import standardisation
from .._defaults import ACTIVATION, DROPOUT, HIDDEN


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


def mlp(
    meta: Mapping[str, Any],
    *,
    hidden: Sequence[int] = HIDDEN,
    activation: str = ACTIVATION,
    dropout: float = DROPOUT,
) -> keras.Sequential:
    """Build a multilayer perceptron on raw columns: standardise, hidden layers, linear output.

    What `KerasClassifier` and `KerasRegressor` build when ``model`` is left out; the others are then set as
    ``model__hidden`` and so on. The same network as `skexplain.torch.MLP`.

    Parameters
    ----------
    meta : mapping
        Given by the estimator: ``n_features_in_``, and ``n_classes_`` for a classifier or ``n_outputs_`` for a
        regressor.
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
    model = keras.Sequential([keras.layers.Input((meta["n_features_in_"],)), Standardise()])
    for width in hidden:
        model.add(keras.layers.Dense(width, activation=activation))
        if dropout:
            model.add(keras.layers.Dropout(dropout))
    model.add(keras.layers.Dense(meta["n_classes_"] if classification else meta["n_outputs_"]))
    if not classification:
        model.add(Standardise(inverse=True))
    return model


def standardise(model: keras.Model, X: NDArray, y: NDArray | None, weight: NDArray | None) -> None:
    """Set the numbers of every `Standardise` layer; ``y`` is None for classifiers."""
    for layer in every_layer(model):
        if isinstance(layer, Standardise) and not layer.inverse:
            layer.learn(X, weight)
        elif isinstance(layer, Standardise) and y is not None:
            layer.learn(np.asarray(y, dtype=np.float64), weight)


def every_layer(model: Any) -> list[Any]:
    """All layers, also those inside nested models and layers."""
    return model._flatten_layers(include_self=False)
