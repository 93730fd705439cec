"""Attention, attention rollout, and gradient times attention: which tokens a transformer looks at."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._network import Attentions, Network, attention_rows, chunks
from ..exceptions import UnsupportedModelError
from ._base import Attribution


class AttentionAttribution(Attribution):
    """Base of strategies that read the attention between tokens, of which each column or step of a row is one.

    A subclass implements `of_keys`; what the keys get is given to the columns here.
    """

    needs_attention = True
    signed = False
    #: Whether the gradient with respect to the attention is asked for.
    with_gradient = False
    cls: int

    @abstractmethod
    def of_keys(self, found: Attentions, n_tokens: int) -> NDArray:
        """Values of the keys, ``(n, n_keys)``."""

    def attribute(
        self, network: Network, X: NDArray, background: NDArray, target: NDArray, rng: np.random.Generator
    ) -> NDArray:
        """Values of the tokens, shared by the features of each."""
        if X.ndim not in (2, 3):
            raise UnsupportedModelError(
                f"Attention is between tokens: columns, or steps of features. Rows of shape {X.shape[1:]} have neither."
            )
        values = np.empty(X.shape)
        for block in chunks(len(X), attention_rows(X)):
            found = network.attentions(X[block], target[block] if self.with_gradient else None)
            tokens = self._without_cls(self.of_keys(found, X.shape[1]), X.shape[1])
            values[block] = tokens if X.ndim == 2 else tokens[..., None] / X.shape[2]
        return values

    def _without_cls(self, values: NDArray, n_tokens: int) -> NDArray:
        """Values of the row's own tokens."""
        n_keys = values.shape[1]
        check_keys(n_keys, n_tokens)
        return values if n_keys == n_tokens else np.delete(values, position(self.cls, n_keys, "cls"), axis=1)


class Attention(AttentionAttribution):
    """The weights with which a transformer looks at its tokens.

    For networks with one token a column or step, such as an FT-Transformer. It says what is looked at, and not what
    matters: what is read there may be weighed by nothing afterwards. Compare with ``"permutation"``.

    Parameters
    ----------
    layer : "mean" or int, default="mean"
        Which attention, in the order in which the network uses them; -1 for the last. "mean": their mean.
    head : "mean", "max" or int, default="mean"
        How the heads of an attention are put together, or which is taken.
    query : "cls", "mean" or int, default="cls"
        Who looks. "cls": the classification token, in front of the others or where `cls` says. "mean": the mean over
        all that look, for networks without such a token. A number: the query at this place.
    cls : int, default=0
        Place of the classification token, -1 for the last. It is there if there is one key more than tokens.

    Raises
    ------
    UnsupportedModelError
        For a network whose attention is not seen, or whose keys are not the tokens of a row, with or without a
        classification token; for ``query="cls"`` where there is none.
    ValueError
        For a layer, head or query that does not exist.

    See Also
    --------
    AttentionRollout : follows the tokens through the layers.
    GradientXAttention : counts what raises the output.

    Notes
    -----
    With the weights A of a layer after the softmax, the value of token j is ``A[q, j]``, for q the query's row. The
    defaults are those of the FT-Transformer: the mean over heads and layers of the classification token's row [1]_;
    importances are its mean over rows. What the classification token gets itself is left out, so values sum to less
    than 1. A row of steps of several features is a token a step: each feature gets an equal part.

    Axioms: none; not even an unused column has to get 0 [2]_. Not complete, and the same for all outputs. Biased by
    whatever else moves information between tokens and back to them: connections around the attention, layers between,
    and what a token says, which may be nothing. Cost: one prediction a row.

    References
    ----------
    .. [1] Y. Gorishniy et al., "Revisiting deep learning models for tabular data", NeurIPS 2021, section 5.3.
    .. [2] S. Jain, B. C. Wallace, "Attention is not explanation", NAACL 2019.

    Examples
    --------
    >>> from skexplain.attributions import Attention
    >>> Attention(layer=-1, query="mean")
    Attention(layer=-1, query='mean')
    """

    relative = True

    def __init__(
        self, *, layer: str | int = "mean", head: str | int = "mean", query: str | int = "cls", cls: int = 0
    ) -> None:
        self.layer = layer
        self.head = head
        self.query = query
        self.cls = cls

    def of_keys(self, found: Attentions, n_tokens: int) -> NDArray:
        """``A[q]``, averaged over the layers."""
        rows = [row_of(heads(A, self.head), self.query, self.cls, n_tokens) for A in layers(found.weights, self.layer)]
        return mean_over_layers(rows)


class AttentionRollout(AttentionAttribution):
    """Attention followed through the layers of a transformer, back to its tokens.

    For deep networks, behind whose first layer a token is a mixture of all. Like attention it says what is looked at,
    and not what matters.

    Parameters
    ----------
    query : "cls", "mean" or int, default="cls"
        Whose mixture; as for `Attention`.
    cls : int, default=0
        Place of the classification token, -1 for the last. It is there if there is one key more than tokens.

    Raises
    ------
    UnsupportedModelError
        As for `Attention`, and for layers of which one does not look at what the one before gives.
    ValueError
        For a query that does not exist.

    See Also
    --------
    Attention : single layers and heads.
    GradientXAttention : counts what raises the output.

    Notes
    -----
    With A_l the mean over the heads of layer l, the value of token j is ``R[q, j]`` for the product
    ``R = (A_L + I)/2 ... (A_1 + I)/2``, where I stands for the connections around the attention. A layer that is asked
    by the classification token only has its row of I; one with other queries than tokens, which pools them, has no
    such connection and enters as A_l. What the classification token gets itself is left out.

    Axioms: none. Not complete, and the same for all outputs. Biased by its halves: connections count as much as the
    attention whatever their sizes are, so that a token keeps much of its own, and by the heads' mean. Cost: one
    prediction a row.

    References
    ----------
    S. Abnar, W. Zuidema, "Quantifying attention flow in transformers", ACL 2020.

    Examples
    --------
    >>> from skexplain.attributions import AttentionRollout
    >>> AttentionRollout(query="mean")
    AttentionRollout(query='mean')
    """

    relative = True

    def __init__(self, *, query: str | int = "cls", cls: int = 0) -> None:
        self.query = query
        self.cls = cls

    def of_keys(self, found: Attentions, n_tokens: int) -> NDArray:
        """``R[q]``, the product of the layers."""
        first, *others = (self._with_connection(heads(A, "mean"), n_tokens) for A in found.weights)
        R = first
        for A in others:
            if A.shape[2] != R.shape[1]:
                raise UnsupportedModelError(
                    f"Attention rollout multiplies the layers, but one with {A.shape[2]} keys comes after one that "
                    f"gives {R.shape[1]} tokens. Use attribution='gradient_x_attention', or Attention(layer=...)."
                )
            R = A @ R
        return row_of(R, self.query, self.cls, n_tokens)

    def _with_connection(self, A: NDArray, n_tokens: int) -> NDArray:
        """``(A + I)/2``, with the rows of I that belong to the queries."""
        n_queries, n_keys = A.shape[1:]
        if n_queries == n_keys:
            return (A + np.eye(n_keys)) / 2
        if n_queries == 1 and n_keys == n_tokens + 1:
            return (A + np.eye(n_keys)[position(self.cls, n_keys, "cls")]) / 2
        return A


class GradientXAttention(AttentionAttribution):
    """Attention times the gradient of the output with respect to it: what is looked at, and raises the output.

    For any transformer, with or without a classification token: who looks need not be said, as the gradient of what
    the output does not read is 0.

    Parameters
    ----------
    layer : "mean" or int, default="mean"
        Which attention, in the order in which the network uses them; -1 for the last. "mean": their mean.
    relu : bool, default=True
        Keep only what raises the output, as in the papers. False: what lowers it is negative.
    cls : int, default=0
        Place of the classification token, -1 for the last. It is there if there is one key more than tokens.

    Raises
    ------
    UnsupportedModelError
        For a network whose attention is not seen, or whose keys are not the tokens of a row, with or without a
        classification token.
    ValueError
        For a layer that does not exist.

    See Also
    --------
    Attention : the weights alone.
    GradCAM : the same idea on the maps of a convolution.

    Notes
    -----
    With the weights A of a layer and the gradient G of the output with respect to them, the value of token j is the
    mean over layers, heads h and queries i of ``A[h, i, j] * relu(G[h, i, j])``: Grad-SAM [1]_. The same product, with
    the positive part taken of it, is what each layer adds in [2]_. The output is on the scale that is asked for. What
    the classification token gets itself is left out.

    Axioms: implementation invariance as far as the attention is the same. Not complete. Biased where the softmax is
    saturated: its gradient is next to 0 then, and a column that decides may get less than others. Cost: one gradient a
    row.

    References
    ----------
    .. [1] O. Barkan et al., "Grad-SAM: explaining transformers via gradient self-attention maps", CIKM 2021.
    .. [2] H. Chefer, S. Gur, L. Wolf, "Generic attention-model explainability for interpreting bi-modal and
       encoder-decoder transformers", ICCV 2021.

    Examples
    --------
    >>> from skexplain.attributions import GradientXAttention
    >>> GradientXAttention(layer=-1)
    GradientXAttention(layer=-1)
    """

    with_gradient = True

    def __init__(self, *, layer: str | int = "mean", relu: bool = True, cls: int = 0) -> None:
        self.layer = layer
        self.relu = relu
        self.cls = cls

    @property
    def signed(self) -> bool:  # type: ignore[override]
        """Whether what lowers the output is kept."""
        return not self.relu

    def of_keys(self, found: Attentions, n_tokens: int) -> NDArray:
        """Mean over layers, heads and queries of ``A * relu(G)``."""
        assert found.gradients is not None
        pairs = zip(layers(found.weights, self.layer), layers(found.gradients, self.layer), strict=True)
        return mean_over_layers([(A * (np.maximum(G, 0) if self.relu else G)).mean(axis=(1, 2)) for A, G in pairs])


def layers(weights: Sequence[NDArray], layer: str | int) -> list[NDArray]:
    """All attentions of a network, or the one that is asked for."""
    if layer == "mean":
        return list(weights)
    return [weights[position(layer, len(weights), "layer", "attentions of the network", '"mean"')]]


def heads(A: NDArray, head: str | int) -> NDArray:
    """Weights ``(n, n_queries, n_keys)`` of the heads together, or of one.

    Examples
    --------
    >>> A = np.array([0.2, 0.6]).reshape(1, 2, 1, 1)
    >>> heads(A, "mean").item(), heads(A, "max").item(), heads(A, 0).item()
    (0.4, 0.6, 0.2)
    """
    if head == "mean":
        return A.mean(axis=1)
    if head == "max":
        return A.max(axis=1)
    return A[:, position(head, A.shape[1], "head", "heads of an attention", '"mean" or "max"')]


def row_of(A: NDArray, query: str | int, cls: int, n_tokens: int) -> NDArray:
    """The row ``(n, n_keys)`` of the one who looks."""
    n_queries, n_keys = A.shape[1:]
    check_keys(n_keys, n_tokens)
    if query == "mean":
        return A.mean(axis=1)
    if query != "cls":
        return A[:, position(query, n_queries, "query", "queries of an attention", '"cls" or "mean"')]
    if n_keys == n_tokens or n_queries not in (1, n_keys):
        raise UnsupportedModelError(
            f"query='cls' is the row of a classification token, but an attention with {n_queries} queries and {n_keys} "
            f"keys, for rows of {n_tokens} tokens, has none. Set query='mean', or the place of a query."
        )
    return A[:, 0 if n_queries == 1 else position(cls, n_keys, "cls")]


def mean_over_layers(values: Sequence[NDArray]) -> NDArray:
    """The mean of values ``(n, n_keys)`` of layers."""
    if len({v.shape for v in values}) > 1:
        raise UnsupportedModelError(
            f"The attentions of the network have {[v.shape[1] for v in values]} keys, which have no mean. Set layer to "
            "the place of one of them."
        )
    return np.mean(values, axis=0)


def check_keys(n_keys: int, n_tokens: int) -> None:
    """Refuse keys that are not the tokens of a row."""
    if n_keys not in (n_tokens, n_tokens + 1):
        raise UnsupportedModelError(
            f"An attention of the network has {n_keys} keys, but a row has {n_tokens} tokens (columns, or steps of "
            f"features), so that keys would have to be {n_tokens}, or {n_tokens + 1} with a classification token. Set "
            "layer to an attention between the row's tokens, or use attribution='integrated_gradients' or "
            "'permutation'."
        )


def position(value: Any, n: int, name: str, of: str = "keys of an attention", words: str = "") -> int:
    """A place among n, from the end where it is negative.

    Raises
    ------
    ValueError
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or not -n <= int(value) < n:
        words = f"{words} or " if words else ""
        raise ValueError(f"{name}={value!r} must be {words}a place among the {n} {of}: {-n} to {n - 1}.")
    return int(value) % n
