"""KerasNetwork: a Keras model on TensorFlow behind the Network boundary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from .._attended import by_heads, no_attention
from .._dense_network import DenseNetwork
from .._embedded import Embedded, Trial, agree, columns_looked_up, in_front_of, may_hold_codes, trials
from .._head import Head
from .._network import CHUNK, Activations, Attentions, Network, attention_rows, chunks, rows_at_once, rowwise
from .._places import no_convolution, no_maps, place_axes
from .._propagation import Rule
from .._stack import links_of, weights_of
from ..exceptions import UnsupportedModelError
from ._activation import call, calling, exclusive, unchanged, unrolled, without_activation
from ._attentions import attending
from ._default import starts_with_encoder
from ._embedded import BehindEncoder, BehindLookUps, LookedUp
from ._encoded import Encoded, Plain, encoder_of, encodes
from ._first_dense import FirstDense, each_alone, first_dense
from ._gated import ColumnGatedMLP
from ._maps import looking
from ._stack import dense_stack
from ._tape import TensorArrays, record

#: Rows predicted at once, always exactly as many: a row's float32 result then does not depend on its neighbours.
BLOCK = 128
#: Rows run at once where there are many and the last digit does not matter.
LARGE_BLOCK = 2048


class KerasNetwork(Network):
    """A Keras model as a `Network`, on TensorFlow.

    Each verb is one graph, traced at its first use.

    Parameters
    ----------
    model : keras.Model
        Built. Not changed: what is swapped for the time of a trace is put back.
    head : Head
    classes : ndarray or None
    ending : layer, operation or None
        What applies the head's activation and is taken off. None: nothing is, or it cannot be.
    recover : bool
        Whether logits are recovered from probabilities, because the activation cannot be taken off.
    rows : ndarray of shape (n, *features)
        A few inputs.
    behind : BehindLookUps or BehindEncoder, optional
        How the model is run on rows behind its look-ups, where these are the rows.
    """

    def __init__(
        self,
        model: keras.Model,
        head: Head,
        *,
        classes: NDArray | None,
        ending: Any,
        recover: bool,
        rows: NDArray,
        behind: BehindLookUps | BehindEncoder | None = None,
    ) -> None:
        self.model, self.head, self.classes = model, head, classes
        self.ending, self.recover = ending, recover
        self.dtype = tf.float64 if model.compute_dtype == "float64" else tf.float32
        self._graphs: dict[str, Callable[..., Any]] = {}
        self._look_ups: dict[tuple[int, ...], LookedUp] = {}
        self._embedded: dict[str, Embedded] = {}
        self._plain: Plain | None = None
        self._behind_encoding: KerasNetwork | None = None
        self._layouts: dict[str | None, tuple[tuple[int, ...] | None, bool]] = {}
        self._attended_shapes: dict[str, list[tuple[int, ...]]] = {}
        self._features = rows.shape[1:]
        self._rows = np.asarray(rows[:8], dtype=self.dtype.as_numpy_dtype)
        self.behind = behind
        self._layers = list(each_alone(model)) if behind is None else list(behind.layers)
        dense = not recover and None not in self._layers and model.inputs[0].dtype == self.dtype.name
        self._stack = dense_stack(self._layers, ending, self._rows, self._eagerly, head, classes) if dense else None

    def __reduce__(self) -> tuple:
        """What is sent to another process: graphs are traced anew there, and the ending is that of the copy."""
        taken_off = self.ending is not None
        made = self.model, self.head, self.classes, taken_off, self.recover, self._rows, self.behind
        return _built_again, made, {"in_front": self.in_front}

    @property
    def eps(self) -> float:
        return {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float64": 2.0**-52}.get(self.model.compute_dtype, 2.0**-23)

    @property
    def _in_numpy(self) -> DenseNetwork | Encoded | None:
        """The network in NumPy, if all it is is a stack of dense layers, maybe behind an encoding of columns."""
        return None if self._stack is None else self._stack.network()

    @cached_property
    def _first(self) -> FirstDense | None:
        """The dense layer that reads the input, if there is one."""
        first = first_dense(self._layers, self._features)
        return first if first is not None and self._is_affine(first) else None

    def raw(self, X: NDArray) -> NDArray:
        dense = self._in_numpy
        if dense is not None:
            return _in_blocks(dense.raw, X)
        return self._run(self._graph("raw", self._raw, X.shape[1:]), X, large=BLOCK)

    def gradient(self, X: NDArray, target: NDArray) -> NDArray:
        dense = self._in_numpy
        if dense is not None:
            return _in_blocks(dense.gradient, X, target)
        return self._run(self._graph("gradient", self._slope(self._raw), X.shape[1:], "target"), X, target)

    def mean_gradient(
        self, start: NDArray, stop: NDArray, nodes: NDArray, weights: NDArray, target: NDArray
    ) -> NDArray:
        """With a dense first layer the path is straight in its outputs too: its weights are applied once."""
        dense = self._in_numpy
        if dense is not None:
            return dense.mean_gradient(start, stop, nodes, weights, target)
        if self._first is None:
            return self._mean_gradient_in_batches(start, stop, nodes, weights, target)
        slope = self._graph("slope of the rest", self._slope(self._rest), self._first.weight.shape[1:], "target")
        total = np.empty(stop.shape)
        for block in chunks(len(stop), max(1, CHUNK // len(nodes))):
            z1 = self._preactivation(stop[block])
            z0 = self._preactivation(start if len(start) == 1 else start[block])
            positions = nodes[:, block] if nodes.ndim == 2 else nodes
            z = np.concatenate([z0 + rowwise(a, z1) * (z1 - z0) for a in positions])
            g = self._run(slope, z, np.tile(target[block], len(nodes))).reshape(len(nodes), *z1.shape)
            total[block] = (np.tensordot(weights, g, 1) @ self._first.weight.T).reshape(total[block].shape)
        return total

    def path_contributions(
        self, X: NDArray, background: NDArray, which: NDArray, nodes: NDArray, target: NDArray
    ) -> NDArray:
        dense = self._in_numpy
        if dense is not None:
            return dense.path_contributions(X, background, which, nodes, target)
        return super().path_contributions(X, background, which, nodes, target)

    def predict_coalitions(
        self, X: NDArray, reference: NDArray, groups: Sequence[NDArray], coalitions: NDArray
    ) -> NDArray:
        dense = self._in_numpy
        if dense is not None:
            return dense.predict_coalitions(X, reference, groups, coalitions)
        return super().predict_coalitions(X, reference, groups, coalitions)

    def mean_propagate(self, X: NDArray, references: NDArray, rule: Rule, target: NDArray) -> NDArray:
        dense = self._in_numpy
        if isinstance(dense, DenseNetwork) and dense.runs_once(rule):
            return dense.mean_propagate(X, references, rule, target)
        return super().mean_propagate(X, references, rule, target)

    def predict_replaced(
        self, X: NDArray, reference: NDArray, groups: Sequence[NDArray], coalitions: NDArray
    ) -> NDArray:
        """With a dense first layer a replaced group only adds ``(x'_g - x_g) W_g`` to its outputs."""
        dense = self._in_numpy
        if dense is not None:
            return dense.predict_replaced(X, reference, groups, coalitions)
        if self._first is None:
            return super().predict_replaced(X, reference, groups, coalitions)
        W, rest = self._first.weight, self._graph("rest", self._rest, self._first.weight.shape[1:])
        out = np.empty((len(coalitions), len(X), self.n_outputs))
        for block in chunks(len(X), max(1, CHUNK // max(1, len(coalitions)))):
            change = (reference[block] - X[block]).reshape(-1, len(W)).astype(np.float64)
            z = self._preactivation(X[block])
            changed = np.empty((len(coalitions), *z.shape))
            for k, members in enumerate(coalitions):
                columns = np.concatenate([groups[int(g)] for g in np.flatnonzero(members)] or [np.empty(0, int)])
                changed[k] = z + change[:, columns] @ W[columns]
            raw = self._run(rest, changed.reshape(-1, z.shape[1]))
            out[:, block] = self.head(raw).reshape(len(coalitions), -1, self.n_outputs)
        return out

    def propagate(self, X: NDArray, reference: NDArray, rule: Rule, target: NDArray) -> NDArray:
        others = rule.others(X, reference)
        size = min(LARGE_BLOCK if len(X) >= LARGE_BLOCK else BLOCK, rows_at_once(X))
        graph = self._backward(rule, len(others), (size, *X.shape[1:]))
        return self._run(graph, X, target, others=others, small=size, large=size)

    def _backward(self, rule: Rule, n_others: int, shape: tuple[int, ...]) -> Callable[..., Any]:
        """A rule's way back for rows of this shape and others to compare with, as a graph; traced once.

        How many rows there are is known in it, and so is the shape of every result.
        """
        settings = [v for v in vars(rule).values() if not isinstance(v, np.ndarray)]
        name = f"{type(rule).__qualname__} {settings} {n_others} {shape}"
        if name not in self._graphs:
            rows = [tf.TensorSpec(shape, self.dtype)] * (1 + n_others)

            def attributions(*arguments: tf.Tensor) -> tf.Tensor:
                *runs, target = arguments
                function = self._raw if self.head.squash is None else self._outputs
                with unrolled(self.model):
                    tapes = [record(function, x, rule.strategy) for x in runs]
                slope = tf.gather(tf.constant(self.head.slopes, self.dtype), target)
                return rule.backward(tapes, slope, TensorArrays(self.dtype))

            signature = [*rows, tf.TensorSpec(shape[:1], tf.int32)]
            self._graphs[name] = _traced(attributions, signature)
        return self._graphs[name]

    def activations(self, X: NDArray, layer: str | None, target: NDArray) -> Activations:
        size = min(BLOCK, rows_at_once(X))
        name, shape = f"activations {layer}", (size, *X.shape[1:])
        if name not in self._graphs:
            # how many rows there are is known in the graph, so that maps of other numbers of rows are seen
            signature = [tf.TensorSpec(shape, self.dtype), tf.TensorSpec(shape[:1], tf.int32)]
            self._graphs[name] = _traced(partial(self._last_maps, layer), signature)
        pairs = self._run(self._graphs[name], X, target, small=size, large=size)
        read, channels_first = self._layouts[layer]
        pairs = np.moveaxis(pairs, 1, -2) if channels_first else pairs
        axes = place_axes(X.shape[1:], pairs.ndim - 3, read, channels_first=channels_first)
        return Activations(pairs[..., 0], pairs[..., 1], axes)

    def _last_maps(self, layer: str | None, x: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """Maps and their gradient, side by side in a last axis."""
        results: list[tuple[Any, bool]] = []
        read: list[tuple[int, ...]] = []

        def reading(inputs: tf.Tensor, channels_first: bool) -> None:
            _, *features = inputs.shape
            read.append((*features[1:], features[0]) if channels_first else tuple(features))

        with tf.GradientTape(watch_accessed_variables=False) as tape:

            def keep(out: Any, channels_first: bool) -> Any:
                if tf.is_tensor(out) and out.dtype.is_floating:
                    tape.watch(out)
                    results.append((out, channels_first))
                return out

            with looking(self.model, layer, reading, keep):
                picked = tf.gather(self._squashed(self._raw(x)), target, batch_dims=1)
        gradients = tape.gradient(picked, [out for out, _ in results])
        pairs = [(out, g, first) for (out, first), g in zip(results, gradients, strict=True) if g is not None]
        if not pairs and layer is None:
            raise no_convolution()
        if not pairs:
            raise UnsupportedModelError(f"The output does not depend on a tensor that layer {layer!r} returns.")
        out, gradient, channels_first = pairs[-1]
        if len(out.shape) < 3 or out.shape[0] != x.shape[0]:
            raise no_maps(layer or "of the last convolution", out.shape, x.shape[0])
        self._layouts[layer] = next(iter(read), None), channels_first
        return tf.cast(tf.stack([out, gradient], axis=-1), self.dtype)

    def attentions(self, X: NDArray, target: NDArray | None = None) -> Attentions:
        size = min(BLOCK, attention_rows(X))
        name, shape = f"attentions {target is not None} {X.shape[1:]}", (size, *X.shape[1:])
        if name not in self._graphs:
            signature = [tf.TensorSpec(shape, self.dtype), tf.TensorSpec(shape[:1], tf.int32)]
            self._graphs[name] = _traced(partial(self._attended, name, target is not None), signature)
        index = np.zeros(len(X), int) if target is None else target
        flat = self._run(self._graphs[name], X, index, small=size, large=size)
        shapes = self._attended_shapes[name]
        parts = np.split(flat, np.cumsum([np.prod(s[1:], dtype=int) for s in shapes])[:-1], axis=1)
        arrays = [part.reshape(len(X), *s[1:]) for part, s in zip(parts, shapes, strict=True)]
        n = len(arrays) if target is None else len(arrays) // 2
        return Attentions(arrays[:n], None if target is None else arrays[n:])

    def _attended(self, name: str, differentiate: bool, x: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """The weights of all attentions, and then their gradients, side by side."""
        used: list[tf.Tensor] = []
        n = x.shape[0]
        with tf.GradientTape(watch_accessed_variables=False) as tape:

            def watch(v: Any) -> Any:
                if tf.is_tensor(v) and v.dtype.is_floating:
                    tape.watch(v)
                return v

            with attending(self.model, watch, used.append):
                picked = tf.gather(self._squashed(self._raw(x)), target, batch_dims=1)
        if not used:
            raise no_attention()
        if differentiate:
            used += tape.gradient(picked, used, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        self._attended_shapes[name] = [by_heads(v.shape, n) for v in used]
        return tf.concat([tf.cast(tf.reshape(v, (n, -1)), self.dtype) for v in used], axis=1)

    def embedded(self, rows: NDArray) -> Embedded | None:
        if self.behind is not None or not may_hold_codes(rows):
            return None
        if starts_with_encoder(self._layers):
            return self._behind("encoder", lambda: BehindEncoder(self.model, self._rows), rows)
        try:
            return self._behind_look_ups(trials(rows), rows)
        except tf.errors.InvalidArgumentError:  # it cannot read rows made up of others
            return None

    def _behind_look_ups(self, tries: Sequence[Trial], rows: NDArray) -> Embedded | None:
        seen = self._look_ups.setdefault(rows.shape[1:], LookedUp(self.model))
        graph = self._graph("look-ups", seen, rows.shape[1:])
        if not seen.shapes:
            return None
        owners = columns_looked_up([seen.codes(self._run(graph, trial.rows)) for trial in tries], tries)
        if owners is None:
            return None
        looked_up = np.unique(np.concatenate(owners))
        every = np.arange(rows[0].size)
        known = np.concatenate([*(trial.rows for trial in tries), rows])

        def results(X: NDArray) -> list[NDArray]:
            return seen.results(self._run(graph, X))

        for numbers in (np.setdiff1d(every, looked_up), every):
            make = partial(BehindLookUps, self.model, self._rows, numbers, owners, seen.shapes[1::2], results)
            found = self._behind(str([numbers.tolist(), *(c.tolist() for c in owners)]), make, rows)
            # where codes are read in no other way, it makes no difference which stand in their place
            if numbers is every or agree(found.network.predict(found.embed(known)), self.predict(known), self.eps):
                break
        return found

    def _behind(self, key: str, make: Callable[[], BehindLookUps | BehindEncoder], rows: NDArray) -> Embedded:
        """The network of the same outputs that reads embedded rows; made once, as graphs are traced at first use."""
        if key not in self._embedded:
            self._embedded[key] = self._new_behind(make(), rows)
        return self._embedded[key]

    def _new_behind(self, behind: BehindLookUps | BehindEncoder, rows: NDArray) -> Embedded:
        network = KerasNetwork(
            self.model,
            self.head,
            classes=self.classes,
            ending=self.ending,
            recover=self.recover,
            rows=behind.embed(rows[:8]),
            behind=behind,
        )
        network.in_front = in_front_of(self, rows, behind.owners)
        return Embedded(self, network, behind.embed, behind.owners, len(behind.numbers))

    def encoded(self) -> Embedded | None:
        if not encodes(self._layers):
            return None
        network = self._in_numpy
        if isinstance(network, Encoded):
            return network.behind(self, self._features)
        encoder, *layers = self._layers
        if self._plain is None:
            self._plain = Plain(layers, len(encoder.owners))
        self._plain.update()
        embed, owners = encoder_of(encoder, self._rows.dtype), np.array(encoder.owners)
        if self._behind_encoding is None:
            self._behind_encoding = KerasNetwork(
                self._plain.model,
                self.head,
                classes=self.classes,
                ending=self._plain.copy_of(self.ending),
                recover=self.recover,
                rows=embed(self._rows),
            )
        self._behind_encoding.in_front = in_front_of(self, self._rows, owners)
        return Embedded(self, self._behind_encoding, embed, owners, 0)

    def gates(self) -> NDArray:
        return self.model.gates_ if isinstance(self.model, ColumnGatedMLP) else super().gates()

    def as_dense(self) -> DenseNetwork | None:
        dense = self._in_numpy
        return dense if isinstance(dense, DenseNetwork) else None

    def dense_weights(self) -> list[NDArray]:
        name, found = "A method of weights", []

        def tensors(x: tf.Tensor) -> list[tf.Tensor]:
            with unrolled(self.model):
                found.extend(links_of(record(self._raw, x, name), self.head.kind == "softmax", name))
            return [v for v in tf.nest.flatten(found) if tf.is_tensor(v)]

        graph = _traced(tensors, [tf.TensorSpec(self._rows.shape, self.dtype)])
        with unchanged(self.model):
            values = iter(graph(tf.constant(self._rows)))
        links = tf.nest.map_structure(lambda v: next(values).numpy() if tf.is_tensor(v) else v, found)
        return weights_of(links, name)

    def _raw(self, x: tf.Tensor) -> tf.Tensor:
        """Logits or predictions, ``(n, n_raw)``."""
        with ExitStack() as stack:
            if self.ending is not None:
                stack.enter_context(without_activation(self.ending))
            out = tf.reshape(self._called(x), (tf.shape(x)[0], self.head.n_raw))
        if not self.recover:
            return out
        limits = np.finfo(out.dtype.as_numpy_dtype)
        p = tf.clip_by_value(out, limits.tiny, 1 - limits.eps / 2)
        return tf.math.log(p) if self.head.kind == "softmax" else tf.math.log(p) - tf.math.log1p(-p)

    def _called(self, x: tf.Tensor) -> Any:
        return call(self.model, x) if self.behind is None else self.behind(x)

    def _eagerly(self) -> NDArray:
        """Raw outputs of the rows that are kept, without a graph."""
        with unchanged(self.model):
            return np.asarray(self._raw(tf.constant(self._rows)), dtype=np.float64)

    def _outputs(self, x: tf.Tensor) -> tf.Tensor:
        """Outputs on the explained scale."""
        return self._squashed(self._raw(x))

    def _squashed(self, raw: tf.Tensor) -> tf.Tensor:
        out = raw @ tf.constant(self.head.matrix, raw.dtype)
        if self.head.squash is None:
            return out
        return tf.nn.softmax(out) if self.head.squash == "softmax" else tf.nn.sigmoid(out)

    def _rest(self, z: tf.Tensor) -> tf.Tensor:
        """Raw outputs, from pre-activations of the first dense layer."""
        dense = self._first_layer
        # what stands before the layer is fed with zeros and, as nothing depends on it, dropped from the graph
        with calling(dense, lambda inputs, *args, **kwargs: dense.activation(tf.cast(z, dense.compute_dtype))):
            return self._raw(tf.zeros((tf.shape(z)[0], *self._features), self.dtype))

    def _before(self, dense: Any, x: tf.Tensor) -> tf.Tensor:
        """Pre-activations of the first dense layer."""
        seen: list[tf.Tensor] = []

        def record(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            with without_activation(dense):
                seen.append(type(dense).call(dense, inputs, *args, **kwargs))
            return dense.activation(seen[0])

        with calling(dense, record):
            self._called(x)
        return seen[0]

    @property
    def _first_layer(self) -> Any:
        assert self._first is not None
        return self._first.layer

    def _preactivation(self, X: NDArray, layer: Any = None) -> NDArray:
        before = partial(self._before, layer or self._first_layer)
        return self._run(self._graph("before", before, X.shape[1:]), X)

    def _is_affine(self, first: FirstDense) -> bool:
        """Whether pre-activations are what the weights say, to rounding."""
        rows = self._rows.astype(np.float64)
        other = rows[::-1] + np.ones(rows.shape)
        z, moved = (self._preactivation(v, first.layer) for v in (rows, other))
        expected = z + (other - rows).reshape(len(rows), -1) @ first.weight
        size = np.abs(first.weight).max() * np.abs(other).max() + np.abs(z).max()
        return bool(np.abs(moved - expected).max() <= 1e-4 * size)

    def _slope(self, raw: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        """Gradient of each row's output ``target[i]`` with respect to the argument of ``raw``."""

        def slope(x: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x)
                picked = tf.gather(self._squashed(raw(x)), target, batch_dims=1)
            return tape.gradient(picked, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)

        return slope

    def _graph(
        self, name: str, function: Callable[..., Any], features: tuple[int, ...], *others: str
    ) -> Callable[..., Any]:
        """The function as a graph that takes any number of rows of these features; traced once."""
        name = f"{name} {features}"
        if name not in self._graphs:
            rows = tf.TensorSpec([None, *features], self.dtype)
            self._graphs[name] = _traced(function, [rows, *(tf.TensorSpec([None], tf.int32) for _ in others)])
        return self._graphs[name]

    def _run(
        self,
        graph: Callable[..., Any],
        X: NDArray,
        target: NDArray | None = None,
        *,
        others: Sequence[NDArray] = (),
        small: int = BLOCK,
        large: int = LARGE_BLOCK,
    ) -> NDArray:
        """Rows through a graph in blocks of fixed sizes, the last one filled up by repetition.

        ``others`` are as many rows as X has.
        """
        parts, start = [], 0
        while start < len(X):
            size = large if len(X) - start >= large else small
            index = np.minimum(np.arange(start, start + size), len(X) - 1)
            arrays = [v[index].astype(self.dtype.as_numpy_dtype) for v in (X, *others)]
            if target is not None:
                arrays.append(target[index].astype(np.int32))
            with unchanged(self.model):
                parts.append(np.asarray(graph(*map(tf.constant, arrays)), dtype=np.float64)[: len(X) - start])
            start += size
        return np.concatenate(parts)


def _in_blocks(function: Callable[..., NDArray], X: NDArray, *others: NDArray) -> NDArray:
    """Rows through a function in blocks of a fixed size, the last one filled up by repetition."""
    index = np.minimum(np.arange(-(-len(X) // BLOCK) * BLOCK), len(X) - 1)
    parts = (function(*(v[index[block]] for v in (X, *others))) for block in chunks(len(index), BLOCK))
    return np.concatenate(list(parts))[: len(X)]


def _built_again(
    model: keras.Model,
    head: Head,
    classes: NDArray | None,
    taken_off: bool,
    recover: bool,
    rows: NDArray,
    behind: BehindLookUps | BehindEncoder | None,
) -> KerasNetwork:
    from ._network import ending_of

    ending = ending_of(model, rows if behind is None else behind.rows)[1] if taken_off else None
    return KerasNetwork(model, head, classes=classes, ending=ending, recover=recover, rows=rows, behind=behind)


def _traced(function: Callable[..., Any], signature: list[Any]) -> Callable[..., Any]:
    with exclusive:
        # as a concrete function: TensorFlow would warn of retracing when several networks trace the same method
        return tf.function(function, autograph=False, input_signature=signature).get_concrete_function()
