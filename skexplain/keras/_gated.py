"""The default model: columns encoded one by one, a gate for each, and a multilayer perceptron behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from .._defaults import ACTIVATION, DROPOUT, HIDDEN
from ._default import EmbedCodes, EncodeNumbers, Standardise

registered = keras.saving.register_keras_serializable("skexplain")


@registered
class SoftThreshold(keras.constraints.Constraint):
    """Brings weights nearer to 0, by the learning rate times a sparsity, to 0 at most.

    Keras applies it after each step of the optimizer. It does nothing but in the training steps of `ColumnGatedMLP`,
    which say what the optimizer is.

    Attributes
    ----------
    sparsity : keras.Variable
    optimizer : keras.optimizers.Optimizer or None
    """

    sparsity: Any = None
    optimizer: Any = None

    def __call__(self, w: Any) -> Any:
        if self.optimizer is None:
            return w
        return soft_threshold(w, self.sparsity * keras.ops.cast(_rate(self.optimizer), self.sparsity.dtype))


def soft_threshold(w: Any, by: Any) -> Any:
    """The proximal step of an L1 penalty."""
    return keras.ops.sign(w) * keras.ops.relu(keras.ops.abs(w) - by)


def _rate(optimizer: Any) -> Any:
    """The learning rate of the step that has just been made; 0 if gradients were only added up."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # that of a LossScaleOptimizer makes the steps
    rate, steps = optimizer.learning_rate, optimizer.gradient_accumulation_steps
    if not steps:
        return rate
    made = keras.ops.equal((optimizer.iterations + 1) % steps, 0)
    return keras.ops.where(made, rate, 0.0)


def _drawn(n_in: int) -> dict[str, Any]:
    """Initial weights as in the torch twin: uniform, whatever the number of units."""
    uniform = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    bound = 1 / np.sqrt(n_in)
    return {"kernel_initializer": uniform, "bias_initializer": keras.initializers.RandomUniform(-bound, bound)}


@registered
class GatedDense(keras.layers.Layer):
    """A dense layer behind one gate a column, by which all numbers of the column are multiplied.

    Parameters
    ----------
    units : int
    owners : sequence of int
        The column that each input comes from.
    n_members : int, default=1
        Networks side by side, each with gates and ``units`` outputs of its own.
    sparsity : float, default=0
        In a `ColumnGatedMLP`, gates come nearer to 0 by the learning rate times this after each step.
    activation : str or callable, default=None

    Attributes
    ----------
    gate : variable of shape (n_members, n_columns)
    kernel : variable of shape (n_inputs, n_members * units)
    bias : variable of shape (n_members * units,)
    sparsity : variable
        Not trained; may be set at any time.
    """

    def __init__(
        self,
        units: int,
        owners: Sequence[int],
        n_members: int = 1,
        sparsity: float = 0.0,
        activation: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units, self.n_members, self._first_sparsity = units, n_members, float(sparsity)
        self.owners = tuple(int(j) for j in owners)
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Any) -> None:
        n_in, n_out = len(self.owners), self.n_members * self.units
        draw = _drawn(n_in)
        closing = SoftThreshold()
        self.gate = self.add_weight(
            name="gate", shape=(self.n_members, max(self.owners) + 1), initializer="ones", constraint=closing
        )
        self.kernel = self.add_weight(name="kernel", shape=(n_in, n_out), initializer=draw["kernel_initializer"])
        self.bias = self.add_weight(name="bias", shape=(n_out,), initializer=draw["bias_initializer"])
        first = keras.initializers.Constant(self._first_sparsity)
        self.sparsity = self.add_weight(name="sparsity", shape=(), initializer=first, trainable=False)
        closing.sparsity = self.sparsity

    def call(self, inputs: Any) -> Any:
        return self.activation(keras.ops.matmul(inputs, self.gated_kernel()) + self.bias)

    def gated_kernel(self) -> Any:
        """The weights multiplied by their gates."""
        gates = keras.ops.transpose(keras.ops.take(self.gate, np.array(self.owners), axis=1))
        by_member = keras.ops.reshape(self.kernel, (len(self.owners), self.n_members, self.units))
        return keras.ops.reshape(by_member * keras.ops.expand_dims(gates, 2), self.kernel.shape)

    def shrink(self, learning_rate: float) -> None:
        """The proximal step of an L1 penalty on the gates, for training loops of your own."""
        self.gate.assign(soft_threshold(self.gate, learning_rate * self.sparsity))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.n_members * self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "owners": list(self.owners),
            "n_members": self.n_members,
            "sparsity": self._first_sparsity,
            "activation": keras.activations.serialize(self.activation),
        }


@registered
class MembersDense(keras.layers.Layer):
    """Dense layers of several networks side by side.

    Parameters
    ----------
    n_members : int
    units : int
        Inputs and outputs are ``(n, n_members * n_in)`` and ``(n, n_members * units)``.
    activation : str or callable, default=None
        Of each number.

    Attributes
    ----------
    kernel : variable of shape (n_members, n_in, units)
    bias : variable of shape (n_members, units)
    """

    def __init__(self, n_members: int, units: int, activation: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n_members, self.units = n_members, units
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Any) -> None:
        m, n_in = self.n_members, input_shape[-1] // self.n_members
        bound = 1 / np.sqrt(n_in)
        draw = keras.initializers.RandomUniform(-bound, bound)
        self.kernel = self.add_weight(name="kernel", shape=(m, n_in, self.units), initializer=draw)
        self.bias = self.add_weight(name="bias", shape=(m, self.units), initializer=draw.clone())

    def call(self, inputs: Any) -> Any:
        m, n_in, units = self.kernel.shape
        members = keras.ops.reshape(inputs, (-1, m, n_in))
        out = keras.ops.einsum("nmi,mio->nmo", members, self.kernel) + self.bias
        return self.activation(keras.ops.reshape(out, (-1, m * units)))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.n_members * self.units)

    def get_config(self) -> dict[str, Any]:
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "n_members": self.n_members, "units": self.units, "activation": activation}


@registered
class MeanOfMembers(keras.layers.Layer):
    """Outputs ``(n, n_members * k)`` of several networks become their mean ``(n, k)``.

    In training each is to predict on its own: it returns ``(n, n_members, k)`` then, and each gets the gradient that it
    would get alone from a loss that is the mean over all.

    Parameters
    ----------
    n_members : int
    """

    def __init__(self, n_members: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n_members = n_members

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        members = keras.ops.reshape(inputs, (-1, self.n_members, inputs.shape[-1] // self.n_members))
        if not training:
            return keras.ops.mean(members, axis=1)
        return members + (self.n_members - 1) * (members - keras.ops.stop_gradient(members))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], input_shape[-1] // self.n_members)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n_members": self.n_members}


@registered
class ColumnGatedMLP(keras.Sequential):
    """A `keras.Sequential` that shrinks the gates of its `GatedDense` after each step of the optimizer.

    What `column_gated_mlp` returns; ``Model.fit`` and the estimators train it. In a training loop of your own, call
    `shrink_gates` after each step. Where there is a `MeanOfMembers`, each network's loss counts for itself.

    Attributes
    ----------
    gates_ : ndarray of shape (n_columns,)
        Size of the gates, mean over the networks. 0 is a column that the network does not read.
    sparsity : float
        How fast gates shrink; may be set.
    """

    @property
    def gated_layer(self) -> GatedDense:
        return next(layer for layer in self.layers if isinstance(layer, GatedDense))

    @property
    def gates_(self) -> NDArray:
        """Size of each column's gate, mean over the networks."""
        return np.abs(keras.ops.convert_to_numpy(self.gated_layer.gate)).mean(axis=0)

    @property
    def sparsity(self) -> float:
        """How fast gates shrink."""
        return float(keras.ops.convert_to_numpy(self.gated_layer.sparsity))

    @sparsity.setter
    def sparsity(self, value: float) -> None:
        self.gated_layer.sparsity.assign(value)

    def close_constant(self) -> None:
        """What says nothing gets weights and gates of 0, as no gradient would ever move them; see `EncodeNumbers`."""
        encoder = next(layer for layer in self.layers if isinstance(layer, EncodeNumbers))
        layer, pieces = self.gated_layer, encoder.pieces
        varies = pieces.low < pieces.high
        layer.kernel.assign(keras.ops.where(varies[:, None], layer.kernel, 0.0))
        alone = varies & np.isfinite(pieces.high) | (pieces.owners >= encoder.width)  # pieces, and what is passed on
        heard = np.isin(np.arange(layer.gate.shape[1]), np.array(layer.owners)[alone])
        layer.gate.assign(keras.ops.where(heard[None], layer.gate, 0.0))

    def shrink_gates(self, learning_rate: float) -> None:
        """After a step of the optimizer with this learning rate: the proximal step of the penalty on the gates."""
        self.gated_layer.shrink(learning_rate)

    def train_step(self, *args: Any) -> Any:
        """Keras', in which `SoftThreshold` knows the optimizer."""
        closing = [layer.gate.constraint for layer in self.layers if isinstance(layer, GatedDense)]
        try:
            for constraint in closing:
                constraint.optimizer = self.optimizer
            return super().train_step(*args)
        finally:
            for constraint in closing:
                constraint.optimizer = None

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Keras', of all members' predictions in training."""
        if self._apart(y_pred):
            m, k = y_pred.shape[1:]
            y_pred = keras.ops.reshape(y_pred, (-1, k))
            y, sample_weight = (v if v is None else keras.ops.repeat(v, m, axis=0) for v in (y, sample_weight))
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Keras', of the members' mean."""
        y_pred = keras.ops.mean(y_pred, axis=1) if self._apart(y_pred) else y_pred
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def _apart(self, y_pred: Any) -> bool:
        """Whether these are the members' predictions one by one, as `MeanOfMembers` returns them in training."""
        return len(y_pred.shape) == 3 and any(isinstance(layer, MeanOfMembers) for layer in self.layers)


def column_gated_mlp(
    meta: Mapping[str, Any],
    *,
    hidden: Sequence[int] = HIDDEN,
    activation: str = ACTIVATION,
    dropout: float = DROPOUT,
    sparsity: float | str = "auto",
    n_ensemble: int = 1,
) -> ColumnGatedMLP:
    """Build a network that finds the columns that matter: each is encoded on its own and multiplied by one gate.

    What `KerasClassifier` and `KerasRegressor` build when ``model`` is left out; the others are then set as
    ``model__hidden`` and so on. The same network as `skexplain.torch.ColumnGatedMLP`.

    Parameters
    ----------
    meta : mapping
        Given by the estimator: ``n_features_in_``, and ``n_classes_`` for a classifier or ``n_outputs_`` for a
        regressor; with categorical columns, which are embedded, ``cardinalities_``.
    hidden : sequence of int, default=(64, 64)
        Widths of the hidden layers, at least one.
    activation : str, default="relu"
        Of the hidden layers, in Keras' names.
    dropout : float, default=0.0
        Probability with which a hidden unit is dropped in training.
    sparsity : float or "auto", default="auto"
        After each step of the optimizer, gates come nearer to 0 by the learning rate times this; an optimizer such as
        Adam moves them by the learning rate at most, so that above 1 all of them close in the end, those that matter
        last, and the epoch of the best held-out loss says which are open. "auto": the estimators try a few values
        and take the largest whose held-out loss is within one standard error of the best; 0 where no rows are held
        out.
    n_ensemble : int, default=1
        Networks that are trained side by side from different weights; predictions are means of theirs.

    Returns
    -------
    ColumnGatedMLP
        Not compiled. Its outputs are logits, one a class, or predictions in the target's units. What of it is learned
        from the columns before the training (`EncodeNumbers`) is set by the estimators; `EncodeNumbers.learn` does it
        elsewhere.

    Raises
    ------
    ValueError
        For an unknown activation, a width below 1, no hidden layer, a negative sparsity, no network.

    See Also
    --------
    mlp : without encoding and gates.

    References
    ----------
    Y. Gorishniy, I. Rubachev, A. Babenko, "On embeddings for numerical features in tabular deep learning", NeurIPS
    2022 (encoding). I. Lemhadri, F. Ruan, L. Abraham, R. Tibshirani, "LassoNet: a neural network with feature
    sparsity", JMLR 2021 (proximal steps, a path of penalties).

    Examples
    --------
    >>> from skexplain.keras import column_gated_mlp
    >>> model = column_gated_mlp({"n_features_in_": 3, "n_classes_": 2}, hidden=(4,))
    >>> model.output_shape, model.gates_.tolist()
    ((None, 2), [1.0, 1.0, 1.0])
    """
    if any(width < 1 for width in hidden):
        raise ValueError(f"hidden={tuple(hidden)} has a width below 1.")
    if not len(hidden):
        raise ValueError("hidden=() leaves no hidden layer; use model=mlp, or a width such as (64,).")
    if not isinstance(n_ensemble, Integral) or n_ensemble < 1:
        raise ValueError(f"n_ensemble={n_ensemble!r} must be a whole number of at least 1.")
    if sparsity != "auto" and not (isinstance(sparsity, Real) and 0 <= sparsity < np.inf):
        raise ValueError(f"sparsity={sparsity!r} must be 'auto' or a number of at least 0.")
    classification = "n_classes_" in meta
    n_features, cardinalities = meta["n_features_in_"], meta.get("cardinalities_")
    embed = [EmbedCodes(n_features, cardinalities)] if cardinalities else []
    encode = EncodeNumbers(len(embed[0].numbers) if embed else None)
    model = ColumnGatedMLP([keras.layers.Input((n_features,)), *embed, encode])
    owners = np.array(embed[0].owners)[list(encode.owners)] if embed else encode.owners
    first = 0.0 if isinstance(sparsity, str) else float(sparsity)
    model.add(GatedDense(hidden[0], owners, int(n_ensemble), first, activation))
    widths = [*hidden[1:], meta["n_classes_"] if classification else meta["n_outputs_"]]
    for n_in, n_out, function in zip(hidden, widths, [activation] * (len(hidden) - 1) + [None], strict=True):
        if dropout:
            model.add(keras.layers.Dropout(dropout))
        if n_ensemble == 1:
            model.add(keras.layers.Dense(n_out, function, **_drawn(n_in)))
        else:
            model.add(MembersDense(int(n_ensemble), n_out, function))
    if n_ensemble > 1:
        model.add(MeanOfMembers(int(n_ensemble)))
    if not classification:
        model.add(Standardise(inverse=True))
    return model
