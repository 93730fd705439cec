"""Layer-wise relevance propagation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._network import Network
from .._propagation import LRP_RULES, Relevance, Rescale
from ._base import Attributed, Attribution
from ._checks import check_finite
from ._completeness import CHECKED_ROWS, check_sums, pick, spread_of

#: Composites: rule for dense layers, for convolutions, and for those that read the input.
COMPOSITES: dict[str, tuple[str, str, str | None]] = {
    "epsilon_plus": ("epsilon", "z_plus", None),
    "epsilon_gamma_box": ("epsilon", "gamma", "z_box"),
    "epsilon_alpha2_beta1": ("epsilon", "alpha_beta", None),
}
#: Rules that are meant for layers that read the input.
FIRST = ("z_box", "w_square", "flat")


class LRP(Attribution):
    """The output, divided among the inputs of each layer in proportion to what they contribute.

    Parameters
    ----------
    rule : str, default="epsilon_plus"
        How linear layers (dense, convolutions) divide what they got. With contributions ``c_ij = x_i w_ij``:

        - ``"epsilon"``: by ``c_ij / (sum + epsilon)``. **On a network of dense layers and ReLUs this is input times
          gradient**, and adds nothing to it; there ``"gamma"`` or ``"alpha_beta"`` say something of their own.
        - ``"gamma"``: contributions of the sign of the sum count ``1 + gamma`` times.
        - ``"alpha_beta"``: positive contributions share ``alpha``, negative ones ``alpha - 1``.
        - ``"z_plus"``: positive contributions only.
        - ``"z_box"``: for layers that read the input, whose columns lie in a box; elsewhere epsilon.
        - ``"w_square"``, ``"flat"``: for layers that read the input, by squared weights or evenly, whatever the
          input is; elsewhere epsilon.

        Or a composite: ``"epsilon_plus"`` (dense: epsilon; convolutions: z_plus), ``"epsilon_gamma_box"`` (dense:
        epsilon; convolutions: gamma; input: z_box), ``"epsilon_alpha2_beta1"`` (dense: epsilon; convolutions:
        alpha_beta with alpha 2).
    epsilon : float, default=1e-9
        Added to denominators, with their sign. It is absolute: sums inside the network of its size or smaller lose
        relevance to it, so a network whose outputs are of size 1e-6 or less wants a smaller one.
    gamma : float, default=0.25
    alpha : float, default=2.0
        At least 1.
    low, high : float or array-like of the features' shape, default=None
        Ends of the box, in the space that the network reads. None: those of the background, stretched by a row that
        lies outside.

    Raises
    ------
    ValueError
        For an unknown rule, ``output="probability"``, or a row outside the box that was given.
    UnsupportedLayerError
        For an operation that there is no rule for.

    See Also
    --------
    DeepLIFT : compares with a reference, and adds up whatever the biases are.

    Notes
    -----
    What is conserved: with the explained output as the total, every operation hands on what it got, except what its
    *bias* and epsilon contributed: these absorb their share, so values sum to the output only for a network
    without biases. The share that is lost is reported as `gap`: the largest ``|f(x) - sum|`` in units of the spread
    of f. Rules w_square, flat and z_box let biases absorb nothing. There is no reference: a column that is 0 gets 0,
    so columns should be centred where 0 is to mean "typical" (the default networks standardise, and relevance is that
    of the standardised columns).

    Batch normalisation, and scales or shifts after a layer, are folded into its weights first. Functions of one number
    pass relevance on; sums of branches divide it by ``c / sum``. A product with a gate (a sigmoid, the ``1 /
    deviation`` of a normalisation, which so counts as constant) gives all to the other factor; of other products either
    factor takes half. Softmax is expanded to first order, a maximum goes to the winner.

    Axioms: dummy, symmetry. Not complete, not implementation invariant. Biased by the choice of rule: there is no
    theory that prefers one for tables. Cost: one forward and one backward pass a row, up to four for rules that look at
    signs.

    References
    ----------
    S. Bach et al., "On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance
    propagation", PLOS ONE 2015, eq. 56-60 (epsilon, alpha-beta); G. Montavon et al., "Layer-wise relevance
    propagation: an overview", 2019 (gamma, composites); G. Montavon et al., "Explaining nonlinear classification
    decisions with deep Taylor decomposition", Pattern Recognition 2017 (z_plus, z_box, w_square); L. Arras et al.,
    "Explaining recurrent neural network predictions in sentiment analysis", 2017 (gates); A. Ali et al., "XAI for
    transformers: better explanations through conservative propagation", ICML 2022 (layer normalisation); R. Achtibat
    et al., "AttnLRP", ICML 2024 (softmax, products).

    Examples
    --------
    >>> from skexplain.attributions import LRP
    >>> LRP(rule="gamma")
    LRP(rule='gamma')
    """

    def __init__(
        self,
        *,
        rule: str = "epsilon_plus",
        epsilon: float = 1e-9,
        gamma: float = 0.25,
        alpha: float = 2.0,
        low: float | ArrayLike | None = None,
        high: float | ArrayLike | None = None,
    ) -> None:
        self.rule = rule
        self.epsilon = epsilon
        self.gamma = gamma
        self.alpha = alpha
        self.low = low
        self.high = high

    def attribute(
        self, network: Network, X: NDArray, background: NDArray, target: NDArray, rng: np.random.Generator
    ) -> Attributed:
        """Relevance of each feature."""
        rule = self._rule(X, background)
        if network.head.squash is not None:
            raise ValueError(
                "LRP divides a logit, and output='probability' has none; use output='margin' or 'logit', or "
                "attribution='deeplift'."
            )
        values = network.propagate(X, background[:1], rule, target)
        # nothing tells that relevance was lost where an operation is not what it seems; DeepLIFT on the same
        # operations adds up, or something is wrong
        rows, one = slice(CHECKED_ROWS), background[:1]
        lifted = network.propagate(X[rows], one, Rescale("lrp"), target[rows])
        check_sums(network, lifted, X[rows], one, background, target[rows])
        f, flat = pick(network.predict(X), target), values.reshape(len(X), -1)
        alone = np.maximum(np.abs(f), np.abs(flat).sum(axis=1))
        spread = spread_of(network.predict(background), target, alone, network.eps * np.abs(f))
        lost = np.abs(f - flat.sum(axis=1))
        return Attributed(values, gap=float(np.max(lost / spread, initial=0.0)))

    def reference(self, background: NDArray) -> NDArray:
        """Zeros, whose relevance is zero; the values do not sum to a difference from it, see Notes."""
        return np.zeros((1, *background.shape[1:]))

    def _rule(self, X: NDArray, background: NDArray) -> Relevance:
        check_finite(self.epsilon, "epsilon", min_val=0)
        check_finite(self.gamma, "gamma", min_val=0)
        check_finite(self.alpha, "alpha", min_val=1)
        if self.rule in COMPOSITES:
            dense, convolution, first = COMPOSITES[self.rule]
        elif self.rule in FIRST:
            dense, convolution, first = "epsilon", "epsilon", self.rule
        elif self.rule in LRP_RULES:
            dense, convolution, first = self.rule, self.rule, None
        else:
            raise ValueError(f"Unknown rule {self.rule!r}; valid names are {[*LRP_RULES, *COMPOSITES]}.")
        alpha = 2.0 if self.rule == "epsilon_alpha2_beta1" else float(self.alpha)
        low, high = self._box(X, background)
        return Relevance(dense, convolution, first, float(self.epsilon), float(self.gamma), alpha, low, high)

    def _box(self, X: NDArray, background: NDArray) -> tuple[NDArray, NDArray]:
        """Ends of the range of every feature; rows must lie in what the user gave."""
        ends = []
        for name, given, found in (
            ("low", self.low, background.min(axis=0)),
            ("high", self.high, background.max(axis=0)),
        ):
            if given is None:
                ends.append(found.astype(np.float64))
                continue
            try:
                end = np.asarray(given, dtype=np.float64)
            except (TypeError, ValueError) as exc:
                raise ValueError(f"{name}={given!r} must be a number, or one for each feature.") from exc
            if not np.isfinite(end).all():
                raise ValueError(f"{name}={given!r} must be finite; leave it out to take the range of the background.")
            if end.ndim and end.size != found.size:
                raise ValueError(
                    f"{name} has shape {end.shape}, but a row of the network's input has shape {found.shape}."
                )
            end = np.broadcast_to(end, found.shape) if end.ndim == 0 else end.reshape(found.shape)
            beyond = (end - X if name == "low" else X - end).reshape(len(X), -1)
            if np.any(beyond > 0):
                i, j = np.argwhere(beyond > 0)[0]
                raise ValueError(
                    f"{name}={given!r} does not bound the rows: row {i} has {X.reshape(len(X), -1)[i, j]:.6g} in "
                    f"column {j}. Widen it, or leave it out to take the range of the background."
                )
            ends.append(end)
        if np.any(ends[0] > ends[1]):
            raise ValueError(f"low={self.low!r} lies above high={self.high!r}.")
        return ends[0], ends[1]
