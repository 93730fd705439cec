"""How much strategies agree on the order of the columns, what noise explains of it, and what they say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ._agreement import _tau_rho

#: What strategies measure -> those that do. Those of a family are variants of each other, down to equality: LRP by
#: epsilon is input times gradient on ReLU networks. A strategy that is in none is a family of its own.
FAMILIES = {
    "output": (
        "expected_gradients",
        "integrated_gradients",
        "deeplift",
        "deepshap",
        "exact_shapley",
        "shapley_sampling",
        "kernel_shap",
    ),
    "product": ("input_x_gradient", "lrp"),
    "slope": ("saliency", "smoothgrad"),
    "replacement": ("ablation", "occlusion"),
    "maps": ("gradcam",),
    "loss": ("permutation", "sage"),
    "retraining": ("loco", "conditional_permutation"),
    "attention": ("attention", "attention_rollout", "gradient_x_attention"),
    "weights": ("connection_weights", "garson", "gates"),
    "training": ("viann", "weight_std", "weight_range", "weight_mean_abs", "weight_path_length"),
}
#: Families that do not ask what the trained network does with the rows, and have no vote in the consensus.
ASIDE = ("retraining", "attention", "weights", "training")
#: Probability that two strategies which measure the same are said to disagree.
LEVEL = 0.05


@dataclass(frozen=True)
class MethodAgreement:
    """How much two strategies agree on the order of the columns.

    Attributes
    ----------
    first, second : str
        Names of the strategies.
    kendall : float
        Kendall's tau-b of the measured values; NaN if one of them is constant.
    allowed : float
        The highest tau that noise allows: the one they would have if every pair of columns whose order is not certain
        for both were in the same order. 1: noise may be all that they disagree by. NaN where no error is known.
    reversed : int
        Pairs of columns that both put in order with certainty, but not in the same one.
    n_pairs : int
        Pairs of columns.
    example : tuple of two str or None
        The clearest of the reversed pairs: the first strategy puts the first column above the second.
    """

    first: str
    second: str
    kendall: float
    allowed: float
    reversed: int
    n_pairs: int
    example: tuple[str, str] | None


def family_of(name: str) -> str:
    """Family of a registered strategy; the name itself of another."""
    return next((family for family, members in FAMILIES.items() if name in members), name)


def agreements(methods: Sequence[str], names: Sequence[str], values: NDArray, error: NDArray) -> list[MethodAgreement]:
    """Agreement of every pair of strategies.

    Parameters
    ----------
    methods, names : sequence of str
        Strategies, columns.
    values, error : ndarray of shape (n_methods, n_features)
        What was measured, and its standard errors; NaN where they are not known.
    """
    d = len(names)
    i, j = np.triu_indices(d, k=1)
    n_pairs = len(i)
    # Two strategies that measure the same reverse a pair of equal columns with probability 2 p², and other pairs less
    # often: p such that it happens to one of all pairs with probability LEVEL.
    z = stats.norm.isf(np.sqrt(LEVEL / 2 / max(n_pairs, 1)))
    difference = values[:, i] - values[:, j]
    # errors of columns of the same rows go together, so that the error of a difference is rather smaller
    scale = np.sqrt(error[:, i] ** 2 + error[:, j] ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.where(difference == 0, 0, difference / scale)  # NaN where the error is unknown
    score[np.abs(score) <= z] = 0  # the order is not certain
    result = []
    for a, b in combinations(range(len(methods)), 2):
        opposite = np.sign(score[a]) * np.sign(score[b]) == -1  # False for NaN
        both = np.where(opposite, np.minimum(np.abs(score[a]), np.abs(score[b])), 0)
        n_reversed = int(np.count_nonzero(both))
        example = None
        if n_reversed:
            k = int(both.argmax())
            pair = names[i[k]], names[j[k]]
            example = pair if score[a, k] > 0 else pair[::-1]
        known = not np.isnan(error[[a, b]]).all(axis=1).any() and n_pairs > 0
        result.append(
            MethodAgreement(
                first=methods[a],
                second=methods[b],
                kendall=_tau_rho(values[a], values[b])[1] if d > 1 else np.nan,
                allowed=1 - 2 * n_reversed / n_pairs if known else np.nan,
                reversed=n_reversed,
                n_pairs=n_pairs,
                example=example,
            )
        )
    return result


def consensus(values: Mapping[str, NDArray], families: Mapping[str, str]) -> tuple[NDArray, tuple[str, ...]]:
    """Mean rank of each column, ``(n_features,)``, 1 the most important, and the families that voted.

    Borda's count with one vote for a family: the mean rank over its strategies.
    """
    present = list(dict.fromkeys(families[m] for m in values))
    voters = [f for f in present if f not in ASIDE] or present
    votes = [
        np.mean([stats.rankdata(-v) for method, v in values.items() if families[method] == family], axis=0)
        for family in voters
    ]
    return np.mean(votes, axis=0), tuple(voters)
