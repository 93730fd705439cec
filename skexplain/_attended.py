"""What is said of models whose attention cannot be looked at, and of weights that cannot be read."""

from __future__ import annotations

from collections.abc import Iterable

from .exceptions import UnsupportedModelError

INSTEAD = "Use attribution='integrated_gradients', 'expected_gradients' or 'permutation'."


def no_attention() -> UnsupportedModelError:
    """For networks without attention."""
    return UnsupportedModelError(
        "Attention strategies look at the weights of attention, and none is seen in this network. Recognised are, in "
        "torch, nn.MultiheadAttention and what is built of it, F.scaled_dot_product_attention and a softmax of a "
        "product that multiplies the values; in Keras the layers MultiHeadAttention, GroupQueryAttention, Attention "
        f"and AdditiveAttention. {INSTEAD}"
    )


def not_of_rows(shape: Iterable[int | None], n: int | None) -> UnsupportedModelError:
    """For weights that do not belong to rows, heads, queries and keys."""
    return UnsupportedModelError(
        f"An attention of the network has weights of shape {tuple(shape)} for {'the' if n is None else n} rows, which "
        f"are not those of rows, heads, queries and keys, nor of rows, queries and keys. {INSTEAD}"
    )


def by_heads(shape: Iterable[int | None], n: int) -> tuple[int, int, int, int]:
    """``(n, n_heads, n_queries, n_keys)``, where an attention without heads has one.

    Raises
    ------
    UnsupportedModelError
    """
    given = tuple(shape)
    heads = (given[0], 1, *given[1:]) if len(given) == 3 else given
    if len(heads) != 4 or heads[0] != n or None in heads:
        raise not_of_rows(given, n)
    return heads  # type: ignore[return-value]
