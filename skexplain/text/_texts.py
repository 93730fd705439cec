"""Texts as they are passed, and as a network reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Pieces(NamedTuple):
    """The tokens of one text, without special ones and padding.

    Attributes
    ----------
    text : str
    tokens : tuple of str
        Entries of the vocabulary.
    spans : int ndarray of shape (n_tokens, 2)
        Where in the text each token begins and ends; -1 where it is not known.
    word : int ndarray of shape (n_tokens,)
        The word that each token belongs to, from 0.
    words : tuple of str
        Each word as the network reads it, put together from entries of the vocabulary.
    """

    text: str
    tokens: tuple[str, ...]
    spans: NDArray
    word: NDArray
    words: tuple[str, ...]

    @property
    def spelled(self) -> tuple[str, ...]:
        """Each word as it is spelled in the text."""
        starts = np.searchsorted(self.word, np.arange(len(self.words)))
        stops = np.append(starts[1:], len(self.word))
        spans = [(self.spans[a, 0], self.spans[b - 1, 1]) for a, b in zip(starts, stops, strict=True)]
        found = [self.text[a:b].strip() if a >= 0 else "" for a, b in spans]
        return tuple(own or word for own, word in zip(found, self.words, strict=True))


@dataclass(frozen=True, eq=False)
class Encoded:
    """One text as a network reads it.

    Attributes
    ----------
    ids : int ndarray of shape (n_ids,)
    others : dict of str to ndarray
        What else the network takes for the text, such as a mask, by name.
    shown : bool ndarray of shape (n_ids,)
        Which ids are tokens of the text, and neither special nor padding.
    pieces : Pieces
        Of the ids that are shown.
    fixed : bool ndarray of shape (n_ids,)
        Which ids the network may look for, and are never tried to be another.
    """

    ids: NDArray
    others: Mapping[str, NDArray]
    shown: NDArray
    pieces: Pieces
    fixed: NDArray

    @property
    def layout(self) -> tuple:
        """What texts must share to be read by one network: length, other inputs, and the ids that are fixed."""
        others = tuple((name, values.tobytes()) for name, values in self.others.items())
        return len(self.ids), others, self.fixed.tobytes(), self.ids[self.fixed].tobytes()


class Reader(Protocol):
    """What makes ids of texts.

    Attributes
    ----------
    name : str or None
        Under which the network takes ids; None: as its only input.
    cls : int or None
        The id of the classification token.
    """

    @property
    def name(self) -> str | None: ...

    @property
    def cls(self) -> int | None: ...

    def encode(self, texts: Sequence[str], *, padded: bool) -> list[Encoded]:
        """Texts as the network reads them, as long as they are, or padded as it was trained."""

    @property
    def pads(self) -> bool:
        """Whether texts may be read without the padding with which the network was trained."""

    def id_of(self, token: str | None) -> int:
        """The id of an entry of the vocabulary, None: of what stands for no word in particular.

        Raises
        ------
        ValueError
            When there is none.
        """


def is_texts(X: Any) -> bool:
    """Whether X is a list, array or Series of texts, rather than rows of columns."""
    if isinstance(X, str | bytes) or hasattr(X, "columns") or not hasattr(X, "__len__") or isinstance(X, Mapping):
        return False
    dtype = getattr(X, "dtype", None)
    if dtype is not None and (np.ndim(X) != 1 or getattr(dtype, "kind", "O") not in "OUT"):
        return False
    return any(isinstance(text, str) for text in X)


def checked_texts(X: Any) -> list[str]:
    """The texts as a list.

    Raises
    ------
    ValueError
        For a member that is no text.
    """
    texts = list(X)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(
                f"X[{i}] is {text!r}, of type {type(text).__name__}, but the others are texts; leave it out, or put a "
                "text in its place."
            )
    return [str(text) for text in texts]


def refuse_columns(groups: Any, feature_names: Any) -> None:
    """Texts have no columns that could be grouped or named."""
    for name, given in (("groups", groups), ("feature_names", feature_names)):
        if given is not None:
            raise ValueError(
                f"{name}={given!r} is about columns, but X is a list of texts, which has none; leave it out."
            )
