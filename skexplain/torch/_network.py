"""TorchNetwork: a torch module behind the Network boundary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from .._attended import not_of_rows
from .._dense_network import DenseNetwork
from .._embedded import Embedded, in_front_of, may_hold_codes, trials
from .._head import Head, Output, decide_head
from .._inputs import Inputs
from .._network import PATH_ROWS, Activations, Attentions, Network, attention_rows, chunks, joined, rows_at_once
from .._places import place_axes
from .._propagation import Rule, Tape, against_each
from .._stack import dense_network, links_of, weights_of
from ..exceptions import UnsupportedLayerError, UnsupportedModelError
from ._attentions import Attended, attending
from ._coalitions import outputs_of_coalitions
from ._embedded import behind_look_ups, looks_up
from ._ending import LastActivation, first_output, last_activation
from ._first_layer import FirstLayer, first_layer
from ._gated import ColumnGatedMLP, EncodeNumbers, as_linear
from ._maps import Maps, maps_of
from ._module import EmbedCodes, layers_of
from ._replacement import Replacement
from ._table import TakesTable
from ._tape import TorchArrays, record
from ._untouched import as_tensor, untouched


@torch.inference_mode(False)  # tensors made here take part in gradients later
def torch_network(
    module: nn.Module,
    X: NDArray,
    *,
    y: NDArray | None = None,
    classes: NDArray | None = None,
    regression: bool = False,
    output: Output = "margin",
    inputs: Inputs | None = None,
) -> TorchNetwork:
    """Put a trained module behind the boundary; see `skexplain._wrap.as_network` for the parameters.

    ``inputs`` says which columns of X become which input of the module; None: X is its only one.
    """
    module = getattr(module, "_orig_mod", module)  # torch.compile hides operations from observers
    gates = module.gates_ if isinstance(module, ColumnGatedMLP) else None
    module = as_linear(layers_of(module)) if type(module) is ColumnGatedMLP else module
    module = module if inputs is None else TakesTable(module, inputs)
    anchor = next(module.parameters(), None)
    dtype = anchor.dtype if anchor is not None and anchor.is_floating_point() else torch.get_default_dtype()
    device = anchor.device if anchor is not None else torch.device("cpu")
    if dtype in (torch.float16, torch.bfloat16):
        raise UnsupportedModelError(
            f"The module computes in {dtype}, too coarse to explain; pass a copy in `.float()`."
        )
    rows = as_tensor(X[:8]).to(dtype=dtype, device=device)
    with untouched(module):
        activation, separable = last_activation(module, rows)
        with torch.no_grad():
            out = first_output(module(rows))
            _check_rows_are_independent(module, rows, out)
    n_raw = 1 if out.ndim == 1 else int(out[0].numel())
    # log-probabilities are logits, up to a constant a row that no scale of ours sees
    kind = "softmax" if activation == "log_softmax" else activation
    head, labels = decide_head(kind, n_raw, output=output, y=y, classes=classes, regression=regression)
    unwrap = head.kind == activation != "linear"
    network = TorchNetwork(
        module, head, classes=labels, dtype=dtype, device=device, unwrap=unwrap, separable=separable, rows=rows
    )
    network.gate_sizes = gates
    return network


def _check_rows_are_independent(module: nn.Module, rows: Tensor, out: Tensor) -> None:
    """Refuse modules whose output for a row is not a function of the row."""
    half = len(rows) // 2
    if half < 2 or len(out) != len(rows) or not torch.isfinite(out).all():
        return
    again = first_output(module(rows[:half]))
    size = out.abs().amax() + torch.finfo(out.dtype).tiny
    if again.shape != out[:half].shape or not (again - out[:half]).abs().amax() <= 1e-3 * size:
        raise UnsupportedModelError(
            "In evaluation mode the module's output for a row depends on the other rows, or on chance, as in batch "
            "normalisation without running statistics. What a column does to a row cannot be said then."
        )


class TorchNetwork(Network):
    """A torch module as a `Network`.

    Parameters
    ----------
    module : nn.Module or callable
        From ``(n, *features)`` to outputs. Not changed.
    head : Head
    classes : ndarray or None
    dtype, device
        Of the module's weights.
    unwrap : bool
        Whether the module ends in the head's activation, which is taken off.
    separable : bool
        Whether its argument can be had; if not, logits are recovered from the probabilities.
    rows : Tensor
        A few inputs, to look for a linear first layer.

    Attributes
    ----------
    gate_sizes : ndarray of shape (n_columns,) or None
        Where each column has a gate.
    """

    gate_sizes: NDArray | None = None

    def __init__(
        self,
        module: nn.Module,
        head: Head,
        *,
        classes: NDArray | None,
        dtype: torch.dtype,
        device: torch.device,
        unwrap: bool,
        separable: bool,
        rows: Tensor,
    ) -> None:
        self.module, self.head, self.classes = module, head, classes
        self.dtype, self.device, self.unwrap, self.separable = dtype, device, unwrap, separable
        self._matrix = torch.as_tensor(head.matrix, dtype=dtype, device=device)
        self._rows = rows
        with untouched(module):
            first = first_layer(self._raw, rows)
        self._first: FirstLayer | None = first if first is not None and self._has_its_gradient(first) else None

    def _has_its_gradient(self, first: FirstLayer) -> bool:
        """Whether the way through the first layer has the module's gradient, which may be cut or turned on purpose."""
        target = np.arange(len(self._rows)) % self.n_outputs
        try:
            with self._differentiating():
                x, z = self._rows.detach().clone().requires_grad_(), first(self._rows).detach().requires_grad_()
                theirs = self._slope(self._raw(x), x, target).flatten(1)
                ours = self._slope(first_output(first.rest(z)), z, target) @ first.weight.T
        except RuntimeError:  # it cannot be differentiated
            return True
        return bool((ours - theirs).abs().amax() <= 1e-3 * theirs.abs().amax())

    @property
    def eps(self) -> float:
        return torch.finfo(self.dtype).eps

    def raw(self, X: NDArray) -> NDArray:
        out = np.empty((len(X), self.head.n_raw))
        with untouched(self.module), torch.no_grad():
            for block in chunks(len(X), rows_at_once(X)):
                out[block] = self._raw(self._tensor(X[block])).double().cpu().numpy()
        return out

    def gradient(self, X: NDArray, target: NDArray) -> NDArray:
        out = np.empty(X.shape)
        with self._differentiating():
            for block in chunks(len(X), rows_at_once(X)):
                x = self._tensor(X[block]).requires_grad_()
                out[block] = self._slope(self._raw(x), x, target[block]).double().cpu().numpy()
        return out

    def mean_gradient(
        self, start: NDArray, stop: NDArray, nodes: NDArray, weights: NDArray, target: NDArray
    ) -> NDArray:
        """With a linear first layer the path is straight in its outputs too: its weights are applied once."""
        if self._dense is not None:
            return self._dense.mean_gradient(start, stop, nodes, weights, target)
        if self._first is None or len(nodes) == 1:
            return self._mean_gradient_in_batches(start, stop, nodes, weights, target)
        first, total = self._first, np.empty(stop.shape)
        per_row = nodes.ndim == 2
        w = self._tensor(weights)
        with self._differentiating():
            for block in chunks(len(stop), max(1, PATH_ROWS // len(nodes))):
                z1 = self._preactivation(stop[block])
                z0 = self._preactivation(start if len(start) == 1 else start[block])
                a = self._tensor(nodes[:, block] if per_row else nodes).reshape(len(nodes), -1, 1)
                z = torch.lerp(z0.expand_as(z1), z1, a).flatten(0, 1).requires_grad_()
                t = np.tile(target[block], len(nodes))
                g = self._slope(first_output(first.rest(z)), z, t).view(len(nodes), len(z1), -1)
                mean = torch.einsum("kni,k->ni", g, w) @ first.weight.T
                total[block] = mean.double().cpu().numpy().reshape(total[block].shape)
        return total

    def path_contributions(
        self, X: NDArray, background: NDArray, which: NDArray, nodes: NDArray, target: NDArray
    ) -> NDArray:
        if self._dense is not None:
            return self._dense.path_contributions(X, background, which, nodes, target)
        return super().path_contributions(X, background, which, nodes, target)

    def predict_replaced(
        self, X: NDArray, reference: NDArray, groups: Sequence[NDArray], coalitions: NDArray
    ) -> NDArray:
        """With a linear first layer a replaced group only adds ``(x'_g - x_g) W_g`` to its outputs."""
        if self._first is None:
            return super().predict_replaced(X, reference, groups, coalitions)
        first, replacement = self._first, Replacement(self._first, groups, coalitions)
        out = np.empty((len(coalitions), len(X), self.n_outputs))
        with untouched(self.module), torch.no_grad():
            for rows in replacement.blocks(X):
                x, r = self._tensor(X[rows]).flatten(1), self._tensor(reference[rows]).flatten(1)
                for part, z in replacement.preactivations(x, r):
                    raw = first_output(first.rest(z.flatten(0, 1))).reshape(*z.shape[:2], self.head.n_raw)
                    out[part, rows] = self.head(raw.double().cpu().numpy())
        return out

    def predict_coalitions(
        self, X: NDArray, reference: NDArray, groups: Sequence[NDArray], coalitions: NDArray
    ) -> NDArray:
        if self._dense is not None:
            return self._dense.predict_coalitions(X, reference, groups, coalitions)
        if sum(len(g) for g in groups) < self._rows[0].numel() or "O" in (X.dtype.kind, reference.dtype.kind):
            return super().predict_coalitions(X, reference, groups, coalitions)

        def outputs(rows: Tensor) -> NDArray:
            return self.head(self._raw(rows).double().cpu().numpy())

        rows = self._tensor(X), self._tensor(reference)
        with untouched(self.module), torch.no_grad():
            return outputs_of_coalitions(outputs, self.n_outputs, *rows, groups, coalitions)

    def activations(self, X: NDArray, layer: str | None, target: NDArray) -> Activations:
        with self._differentiating():
            with self._maps(layer) as maps:
                picked = self._picked(self._raw(self._tensor(X)), target)
            values, gradient = maps.last(picked, len(X))
        axes = place_axes(X.shape[1:], values.ndim - 2, maps.read, channels_first=maps.channels_first)
        return Activations(values.double().cpu().numpy(), gradient.double().cpu().numpy(), axes)

    def _maps(self, layer: str | None) -> AbstractContextManager[Maps]:
        """What a layer, or every convolution, returns in the block."""
        return maps_of(self.module, layer)

    def embedded(self, rows: NDArray) -> Embedded | None:
        if not may_hold_codes(rows):
            return None
        layers = layers_of(self.module)
        if layers and isinstance(layers[0], EmbedCodes):  # what is behind it may be a stack of dense layers
            first = layers[0]
            return self._behind(nn.Sequential(*layers[1:]), first, np.array(first.owners), len(first.numbers), rows)
        try:
            with untouched(self.module), torch.no_grad():
                if not looks_up(self.module, self._tensor(rows[:1])):
                    return None
                tries = trials(rows)
                for behind in behind_look_ups(self.module, tries, [self._tensor(trial.rows) for trial in tries]):
                    found = self._behind(behind, behind.embed, behind.owners, len(behind.numbers), rows)
                    if found.agrees(np.concatenate([rows, *(trial.rows for trial in tries)])):
                        return found
        except Exception:  # whatever the module raises: it cannot read rows made up of others
            return None
        return None

    def encoded(self) -> Embedded | None:
        layers = layers_of(self.module)
        if not layers or not isinstance(layers[0], EncodeNumbers):
            return None
        owners = layers[0].owners.cpu().numpy()
        return self._behind(nn.Sequential(*layers[1:]), layers[0], owners, 0, self._rows.cpu().numpy())

    def _behind(
        self, module: nn.Module, embed: Callable[[Tensor], Tensor], owners: NDArray, n_numbers: int, rows: NDArray
    ) -> Embedded:
        """The network of the same outputs that reads embedded rows."""

        def embedded(X: NDArray) -> NDArray:
            with untouched(self.module), torch.no_grad():
                parts = [embed(self._tensor(X[block])) for block in chunks(len(X), rows_at_once(X))]
            return torch.cat(parts).double().cpu().numpy()

        network = TorchNetwork(
            module,
            self.head,
            classes=self.classes,
            dtype=self.dtype,
            device=self.device,
            unwrap=self.unwrap,
            separable=self.separable,
            rows=self._tensor(embedded(rows[:8])),
        )
        network.in_front = in_front_of(self, rows, owners)
        return Embedded(self, network, embedded, owners, n_numbers)

    def gates(self) -> NDArray:
        return super().gates() if self.gate_sizes is None else self.gate_sizes

    def attentions(self, X: NDArray, target: NDArray | None = None) -> Attentions:
        blocks = chunks(len(X), attention_rows(X))
        return joined(self._attended(X[b], None if target is None else target[b]) for b in blocks)

    def _attended(self, X: NDArray, target: NDArray | None) -> Attentions:
        with self._differentiating(), torch.set_grad_enabled(target is not None):
            with self._attending() as attended:
                raw = self._raw(self._tensor(X))
            picked = None if target is None else self._picked(raw, target)
            found = attended.of_rows(len(X), picked)
        if attended.merged(len(X)):  # a single row says which axis is that of the heads
            for ours, alone in zip(found.weights, self._attended(X[:1], None).weights, strict=True):
                if not np.allclose(ours[:1], alone, atol=1e-4):
                    raise not_of_rows((len(X) * ours.shape[1], *ours.shape[2:]), len(X))
        return found

    def _attending(self) -> AbstractContextManager[Attended]:
        """The attention that is used in the block."""
        return attending()

    def as_dense(self) -> DenseNetwork | None:
        return self._dense

    def dense_weights(self) -> list[NDArray]:
        name = "A method of weights"
        links = links_of(self._tape(self._raw, self._rows, name), self.head.kind == "softmax", name)
        return weights_of(tree_map_only(Tensor, lambda v: v.detach().cpu().numpy(), links), name)

    def propagate(self, X: NDArray, reference: NDArray, rule: Rule, target: NDArray) -> NDArray:
        out, xp = np.empty(X.shape), TorchArrays(self.dtype)
        function, slopes = self._explained()
        with torch.no_grad():
            for block in chunks(len(X), rows_at_once(X)):
                r = reference if len(reference) == 1 else reference[block]
                rows = (X[block], *rule.others(X[block], r))
                tapes = [self._tape(function, self._tensor(v), rule.strategy) for v in rows]
                slope = slopes[as_tensor(target[block]).to(self.device)]
                out[block] = rule.backward(tapes, slope, xp).double().cpu().numpy()
        return out

    def mean_propagate(self, X: NDArray, references: NDArray, rule: Rule, target: NDArray) -> NDArray:
        """Where rows do not get mixed up, each row and each reference is run once, not once a pair."""
        if self._dense is not None and self._dense.runs_once(rule):
            return self._dense.mean_propagate(X, references, rule, target)
        xp, (function, slopes) = TorchArrays(self.dtype), self._explained()
        with torch.no_grad():
            run = self._tape(function, self._tensor(references), rule.strategy)
            if against_each(run, run) is None:
                return super().mean_propagate(X, references, rule, target)
            out, pairs = np.empty(X.shape), PATH_ROWS // len(references)
            slope = slopes[as_tensor(target).to(self.device)]
            for rows in chunks(len(X), max(pairs, rows_at_once(X))):
                tape = self._tape(function, self._tensor(X[rows]), rule.strategy)
                for part in chunks(len(tape.values[0]), pairs):
                    tapes = against_each(replace(tape, values=[v[part] for v in tape.values]), run)
                    assert tapes is not None
                    block = slice(rows.start + part.start, rows.start + part.stop)
                    out[block] = rule.backward(tapes, slope[block], xp).mean(0).double().cpu().numpy()
        return out

    @cached_property
    def _dense(self) -> DenseNetwork | None:
        """The network in NumPy, if all it is is a stack of dense layers, on the CPU."""
        if self.device.type != "cpu":
            return None
        try:
            tape = self._tape(self._raw, self._rows, "deeplift")
            dense = dense_network(tape, self.head, self.classes, lambda v: torch.as_tensor(v).detach().numpy())
            same = dense is not None and dense.agrees_with(self, self._rows.numpy())
        except (UnsupportedLayerError, IndexError, RuntimeError, ValueError):  # it cannot read rows made up
            return None
        return dense if same else None

    def _tape(self, function: Callable[[Tensor], Tensor], x: Tensor, strategy: str) -> Tape:
        with untouched(self.module):  # each run for itself: a module may keep what it computed for the rows before
            return record(function, x, strategy)

    def _explained(self) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        """A function of rows, and for each explained output the weights of the function's results."""
        slopes = torch.as_tensor(self.head.slopes, dtype=self.dtype, device=self.device)
        return (self._raw if self.head.squash is None else self._outputs), slopes

    def _raw(self, x: Tensor) -> Tensor:
        """Logits or predictions, ``(n, n_raw)``."""
        if not self.unwrap:
            return first_output(self.module(x)).reshape(len(x), -1)
        if self.separable:
            with LastActivation() as seen:
                out = first_output(self.module(x))
            last = seen.before(out)
            if last is not None:
                return last[1].reshape(len(x), -1)
        out = first_output(self.module(x)).reshape(len(x), -1)
        p = out.clamp(torch.finfo(out.dtype).tiny, 1 - torch.finfo(out.dtype).eps / 2)
        return torch.log(p) if self.head.kind == "softmax" else torch.log(p) - torch.log1p(-p)

    def _slope(self, raw: Tensor, x: Tensor, target: NDArray) -> Tensor:
        """Gradient with respect to x of each row's output ``target[i]``."""
        picked = self._picked(raw, target)
        if not picked.requires_grad:
            return torch.zeros_like(x)
        (g,) = torch.autograd.grad(picked, x, allow_unused=True)
        return torch.zeros_like(x) if g is None else g

    def _picked(self, raw: Tensor, target: NDArray) -> Tensor:
        """Sum over the rows of each row's output ``target[i]``."""
        out = self._squashed(raw.reshape(len(target), -1))
        return out.gather(1, as_tensor(target).to(self.device)[:, None]).sum()

    def _outputs(self, x: Tensor) -> Tensor:
        """Outputs on the explained scale."""
        return self._squashed(self._raw(x))

    def _squashed(self, raw: Tensor) -> Tensor:
        out = raw @ self._matrix
        if self.head.squash is None:
            return out
        return out.softmax(1) if self.head.squash == "softmax" else out.sigmoid()

    def _preactivation(self, X: NDArray) -> Tensor:
        assert self._first is not None
        with torch.no_grad():
            return self._first(self._tensor(X))

    def _tensor(self, X: NDArray) -> Tensor:
        return as_tensor(X).to(dtype=self.dtype, device=self.device)

    @contextmanager
    def _differentiating(self) -> Iterator[None]:
        """Gradients on; fused recurrent kernels off, which on CUDA cannot be differentiated in evaluation mode."""
        fused = torch.backends.cudnn.flags(enabled=False)
        with untouched(self.module), torch.inference_mode(False), torch.enable_grad(), fused:
            yield
