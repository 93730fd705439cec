"""What a loss wants: form of the target, logits or probabilities; and whether the model gives it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

#: Losses of probabilities: of one class among several, and of each unit on its own.
SPARSE = ("sparse_categorical_crossentropy",)
ONE_HOT = (
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "kl_divergence",
)
UNITS = ("binary_crossentropy", "binary_focal_crossentropy")
#: Losses of a linear unit whose sign is the class.
SIGNED = ("hinge", "squared_hinge")


def loss_name(loss: Any) -> str:
    """A loss's name as ``snake_case``, whatever it is given as; "custom" for what Keras does not know."""
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    name = getattr(loss, "__name__", None) or type(loss).__name__
    for function in (*SPARSE, *ONE_HOT, *UNITS, *SIGNED, "categorical_hinge", "mean_squared_error"):
        if name in (function, "".join(part.title() for part in function.split("_"))):
            return function
    return "custom"


def from_logits(loss: Any) -> bool:
    """Whether a loss takes logits."""
    options = loss.get_config() if isinstance(loss, keras.losses.Loss) else getattr(loss, "keywords", {})
    return bool(options.get("from_logits", False))


def only_loss(model: Any) -> Any:
    """The loss that a model is compiled with, None if there is none."""
    loss = getattr(model, "loss", None) if getattr(model, "compiled", False) else None
    loss = list(loss.values()) if isinstance(loss, dict) else loss
    return loss[0] if isinstance(loss, list | tuple) and len(loss) == 1 else loss


def wants_probabilities(model: Any) -> bool:
    """Whether a compiled model was trained by a cross-entropy of probabilities."""
    loss = only_loss(model)
    return loss is not None and loss_name(loss) in (*SPARSE, *ONE_HOT, *UNITS) and not from_logits(loss)


def default_loss(classification: bool, activation: str, units: int) -> Any:
    """The loss for a model that was given none."""
    if not classification:
        return keras.losses.MeanSquaredError()
    if units == 1:
        return keras.losses.BinaryCrossentropy(from_logits=activation == "linear")
    if activation == "sigmoid":
        return keras.losses.BinaryCrossentropy()
    return keras.losses.SparseCategoricalCrossentropy(from_logits=activation == "linear")


def class_target(index: NDArray, n_classes: int, loss: Any, units: int, dtype: Any) -> NDArray:
    """Class indices ``(n,)`` in the form that the loss takes: one-hot rows, a column, or as they are."""
    name = loss_name(loss)
    if units == 1:
        return index.reshape(-1, 1).astype(dtype)
    if name in SPARSE or (name == "custom" and not _compares_shapes(loss)):
        return index.astype(np.int32)
    return np.eye(n_classes, dtype=dtype)[index]


def _compares_shapes(loss: Any) -> bool:
    """Whether a loss not named above takes y_true of the shape of y_pred: all of Keras' own, and by name."""
    loss = keras.losses.get(loss) if isinstance(loss, str) else loss
    name = (getattr(loss, "__name__", None) or type(loss).__name__).lower()
    kind = loss if hasattr(loss, "__name__") else type(loss)
    return kind.__module__.startswith("keras.") or ("categorical" in name and "sparse" not in name)


def check_classifier(loss: Any, activation: str, units: int, n_classes: int) -> None:
    """Refuse a last layer and a loss that do not fit each other, before anything is trained.

    Raises
    ------
    ValueError
        Naming the cause and the remedy.
    """
    name, logits = loss_name(loss), from_logits(loss)
    if units != n_classes and not (units == 1 and n_classes == 2):
        allowed = f"Dense({n_classes})" + (" or Dense(1)" if n_classes == 2 else "")
        raise ValueError(
            f"The model has {units} output units for {n_classes} classes; end it in {allowed}. A build function with a "
            "parameter `meta` finds the number in meta['n_classes_']."
        )
    if units == 1:
        if activation == "softmax":
            raise ValueError("A softmax over one unit is always 1; end the model in Dense(1, activation='sigmoid').")
        if name in (*SPARSE, *ONE_HOT):
            raise ValueError(
                f"loss {name!r} needs one unit a class, the model has one unit; use 'binary_crossentropy'."
            )
        if activation == "linear" and not (name in UNITS and logits) and name not in (*SIGNED, "custom"):
            raise ValueError(_no_probability(name, "sigmoid", "BinaryCrossentropy"))
    if name not in (*SPARSE, *ONE_HOT, *UNITS):
        return
    if logits and activation != "linear":
        raise ValueError(
            f"loss {name!r} has from_logits=True, but the model ends in a {activation}, so it would be applied twice. "
            "Remove the activation of the last layer, or from_logits."
        )
    if not logits and activation == "linear":
        wanted = "sigmoid" if name in UNITS else "softmax"
        raise ValueError(_no_probability(name, wanted, "".join(part.title() for part in name.split("_"))))
    if activation == "sigmoid" and name in (*SPARSE, *ONE_HOT):
        raise ValueError(
            f"loss {name!r} needs probabilities that sum to 1, but the model ends in a sigmoid; use "
            "activation='softmax'."
        )


def _no_probability(name: str, wanted: str, loss_class: str) -> str:
    return (
        f"loss {name!r} needs probabilities, but the model does not end in a {wanted}. Add activation={wanted!r} to "
        f"the last layer, or use loss=keras.losses.{loss_class}(from_logits=True)."
    )


def check_regressor(activation: str, units: int, n_outputs: int) -> None:
    """Refuse a last layer that cannot give the targets; Keras would broadcast.

    Raises
    ------
    ValueError
        Naming the cause and the remedy.
    """
    if units != n_outputs:
        raise ValueError(
            f"The model has {units} output units for {n_outputs} target columns; end it in Dense({n_outputs}). A build "
            "function with a parameter `meta` finds the number in meta['n_outputs_']."
        )
    if activation == "softmax" and units == 1:
        raise ValueError("A softmax over one unit is always 1; end the model in Dense(1).")
