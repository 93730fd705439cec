"""TextExplanation, of single texts, and WordImportances, over many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._result_text import text_table
from ..explanation import Importances
from ._texts import Pieces

if TYPE_CHECKING:
    import pandas as pd

#: Texts that are shown in a notebook, and words that are listed.
SHOWN_TEXTS, SHOWN_WORDS = 10, 10


@dataclass(frozen=True, eq=False)
class TextExplanation:
    """Attributions of the tokens of single texts, without special tokens and padding.

    Attributes
    ----------
    pieces : tuple of Pieces
        Tokens and words of each text.
    values : tuple of ndarray of shape (n_tokens,) or (n_tokens, n_outputs)
        For each text the attribution of each of its tokens, or words, to the explained output; with ``target="all"``
        the last axis runs over the outputs.
    base_values : ndarray of shape (n,) or (n, n_outputs)
        Output for the text with the background's token in the place of each of its own. For complete strategies a base
        value and the values add up to the prediction. NaN for strategies without a reference.
    predictions : ndarray of shape (n,) or (n, n_outputs)
        The explained outputs.
    strategy, output, random_state, gap
        As in `Importances`.
    error : tuple of ndarray of the shapes of values, or None
        Standard error of the sampling; of a word as if its tokens' errors were independent.
    target : ndarray of shape (n,) or None
        Label (or index, for regressors) of the output explained for each text; None for all.
    outputs : ndarray or None
        Labels of the outputs of a classifier.
    asked : str
        Which output was asked for.
    joined : bool
        Whether values are of words.
    """

    pieces: tuple[Pieces, ...]
    values: tuple[NDArray, ...]
    base_values: NDArray
    predictions: NDArray
    strategy: Any
    output: str
    random_state: int
    error: tuple[NDArray, ...] | None = None
    target: NDArray | None = None
    outputs: NDArray | None = None
    gap: float | None = None
    asked: str = "predicted"
    joined: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        """As they were passed."""
        return tuple(p.text for p in self.pieces)

    @property
    def tokens(self) -> tuple[tuple[str, ...], ...]:
        """What the values of each text are of: entries of the vocabulary, or words as they are spelled in the text."""
        return tuple(p.spelled if self.joined else p.tokens for p in self.pieces)

    @property
    def plot(self) -> Any:
        """Pictures: ``.plot.text()``, ``.plot.heat_map()``."""
        from ..plotting._text import TextPlot

        return TextPlot(self)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, which: int | slice | Sequence[int] | NDArray) -> TextExplanation:
        """Some of the texts."""
        if isinstance(which, int | np.integer):
            if not -len(self) <= which < len(self):
                raise IndexError(f"text {which} of a TextExplanation of {len(self)} texts")
            which = [int(which)]
        at = np.arange(len(self))[which]
        return replace(
            self,
            pieces=tuple(self.pieces[i] for i in at),
            values=tuple(self.values[i] for i in at),
            base_values=self.base_values[at],
            predictions=self.predictions[at],
            error=None if self.error is None else tuple(self.error[i] for i in at),
            target=None if self.target is None else self.target[at],
        )

    def words(self) -> TextExplanation:
        """The same by words: the signed sum over the tokens of each, spelled as in the text."""
        if self.joined:
            return self
        values = tuple(_sums(v, p) for v, p in zip(self.values, self.pieces, strict=True))
        error = self.error and tuple(np.sqrt(_sums(e**2, p)) for e, p in zip(self.error, self.pieces, strict=True))
        return replace(self, values=values, error=error, joined=True)

    def save(self, path: Any) -> None:
        """Write everything, the texts too, to a file that holds no code; see `Importances.save`."""
        from .._result_files import save_result

        save_result(self, path)

    @classmethod
    def load(cls, path: Any) -> TextExplanation:
        """Read a file of `save`; see `Importances.load`."""
        from .._result_files import load_result

        return load_result("texts", path)

    def to_frame(self) -> pd.DataFrame:
        """Tidy: one line a text, token, or word, and output."""
        import pandas as pd

        lengths = [len(v) for v in self.values]
        several = self.values[0].ndim == 2 if self.values else False
        k = self.values[0].shape[1] if several else 1
        text = np.repeat(np.arange(len(self)), lengths)
        if several:
            labels = np.arange(k) if self.outputs is None else np.asarray(self.outputs)
            output = np.tile(labels, len(text))
        else:
            output = (np.zeros(len(self), int) if self.target is None else self.target)[text]
        flat = np.concatenate([np.empty(0), *(v.ravel() for v in self.values)])
        frame = {
            "text": np.repeat(text, k),
            "position": np.repeat(np.concatenate([np.empty(0, int), *map(np.arange, lengths)]), k),
            "word" if self.joined else "token": np.repeat(
                np.array(list(chain.from_iterable(self.tokens)), dtype=object), k
            ),
            "output": output,
            "value": flat,
        }
        if self.error is not None:
            frame["error"] = np.concatenate([np.empty(0), *(e.ravel() for e in self.error)])
        return pd.DataFrame(frame)

    def to_importances(self) -> WordImportances:
        """How much each word matters, by this explanation: the mean absolute value over its occurrences.

        Words that the network reads alike, such as those it does not know, are one. Of an explanation that is not by
        words, these are put together first.
        """
        by_word = self.words()
        entry = _joined(p.words for p in self.pieces)
        names, of, counts = np.unique(entry, return_inverse=True, return_counts=True)
        values = np.concatenate(by_word.values).reshape(len(entry), -1)
        size, signed = np.abs(values).mean(axis=1), values.mean(axis=1)

        def mean(v: NDArray, where: NDArray | slice = slice(None)) -> NDArray:
            n = np.bincount(of[where], minlength=len(names))
            return np.bincount(of[where], v[where], len(names)) / np.maximum(n, 1)

        means = mean(size)
        squares = mean((size - means[of]) ** 2)
        error = np.sqrt(np.divide(squares, counts - 1, out=np.full(len(names), np.nan), where=counts > 1))
        per_class = {}
        if self.outputs is not None and self.target is not None:
            explained = np.repeat(self.target, [len(p.words) for p in self.pieces])
            labels = [label for label in self.outputs if np.any(explained == label)]
            per_class = {label: mean(size, explained == label) for label in labels}
        return WordImportances(
            names=tuple(names),
            values=means,
            signed=mean(signed),
            error=error,
            strategy=self.strategy,
            output=self.output,
            target=self.asked,
            n_rows=len(self),
            random_state=self.random_state,
            per_class=per_class,
            gap=self.gap,
            counts=counts,
        )

    def __repr__(self) -> str:
        what = "all outputs" if self.target is None else "one output a text"
        head = f"TextExplanation of {len(self)} texts by {self.strategy}, {what}, output={self.output!r}"
        return "\n".join([head, *text_table(self.to_importances()._rows(SHOWN_WORDS))])

    def _repr_html_(self) -> str:
        shown = self[:SHOWN_TEXTS].plot.text()
        rest = len(self) - SHOWN_TEXTS
        return f"{shown}<p>and {rest} more texts</p>" if rest > 0 else shown


@dataclass(frozen=True, eq=False)
class WordImportances(Importances):
    """How much each word, or entry of the vocabulary, matters to a network.

    An `Importances` whose names are words; ``n_rows`` is the number of texts. What is rare is measured by few
    occurrences, and ranks high by chance: look at ``counts``.

    Attributes
    ----------
    counts : ndarray of shape (n_words,)
        How often each word occurs.
    error : ndarray of shape (n_words,)
        Standard error of ``values``, over the occurrences; NaN for a word that occurs once.
    per_class : dict
        As in `Importances`; 0 for words that stand in no text explained for the class.
    """

    counts: NDArray | None = None

    def to_frame(self) -> pd.DataFrame:
        """One row a word, most important first, with the number of its occurrences."""
        frame = super().to_frame().rename(columns={"feature": "word"})
        assert self.counts is not None
        frame.insert(1, "count", self.counts[self.ranking])
        return frame

    @classmethod
    def load(cls, path: Any) -> WordImportances:
        """Read a file of `save`; see `Importances.load`."""
        from .._result_files import load_result

        return load_result("words", path)

    def __repr__(self) -> str:
        head = f"WordImportances by {self.strategy}, {self.n_rows} texts, output={self.output!r}"
        return "\n".join([head, *text_table(self._rows())])

    def _rows(self, most: int = 30) -> list[tuple[str, ...]]:
        assert self.counts is not None
        rows: list[tuple[str, ...]] = [("word", "count", "mean |value|")]
        rows += [(self.names[j], f"{self.counts[j]}", f"{self.values[j]:.4g}") for j in self.ranking[:most]]
        return rows + [(f"and {len(self) - most} more", "", "")] * (len(self) > most)


def _joined(names: Iterable[Sequence[str]]) -> NDArray:
    return np.array(list(chain.from_iterable(names)), dtype=object)


def _sums(values: NDArray, pieces: Pieces) -> NDArray:
    """Sums over the tokens of each word."""
    starts = np.searchsorted(pieces.word, np.arange(len(pieces.words)))
    return np.add.reduceat(values, starts, axis=0)
