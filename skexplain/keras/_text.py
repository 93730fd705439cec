"""Texts for Keras: TextVectorizer, and models that vectorise texts themselves."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import keras
import numpy as np
import tensorflow as tf  # its strings are what Keras' TextVectorization computes with, on any back end
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from ..exceptions import UnsupportedModelError
from ..text._texts import Encoded, Pieces, checked_texts
from ._default import every_layer
from ._model import Packed

PADDING, UNKNOWN = 0, 1


class TextVectorizer(TransformerMixin, BaseEstimator):
    """Ids of the words of texts, for networks that begin with an embedding.

    `keras.layers.TextVectorization` as a transformer of scikit-learn: with a network behind it, as in
    ``make_pipeline(TextVectorizer(), KerasClassifier(model=build))``, an estimator of texts, explained by words.

    Parameters
    ----------
    max_tokens : int, default=None
        Most entries of the vocabulary, with those for padding (0) and unknown words (1); the most frequent are kept.
        None: all words.
    output_sequence_length : int, default=None
        Number of ids of each text: longer ones are cut off, shorter ones padded. None: that of the longest text seen in
        ``fit``.
    standardize : str, callable or None, default="lower_and_strip_punctuation"
        As in Keras; a function is of tensors of TensorFlow.
    split : str, callable or None, default="whitespace"
        As in Keras.
    ngrams : int or tuple of int, default=None
        As in Keras.

    Attributes
    ----------
    vocabulary_ : ndarray of str
        The word of each id; the first is empty, for padding, the second ``"[UNK]"``.
    n_ids_ : int
        Number of ids of each text.

    Raises
    ------
    ValueError
        For members of X that are no texts.

    See Also
    --------
    skexplain.explain : takes texts.

    Notes
    -----
    Needs TensorFlow, whatever Keras' back end is.

    Examples
    --------
    >>> from skexplain.keras import TextVectorizer
    >>> TextVectorizer().fit_transform(["A good film.", "Good!"])
    array([[4, 2, 3],
           [2, 0, 0]])
    """

    vocabulary_: NDArray
    n_ids_: int | None

    def __init__(
        self,
        *,
        max_tokens: int | None = None,
        output_sequence_length: int | None = None,
        standardize: str | Callable | None = "lower_and_strip_punctuation",
        split: str | Callable | None = "whitespace",
        ngrams: int | tuple[int, ...] | None = None,
    ) -> None:
        self.max_tokens = max_tokens
        self.output_sequence_length = output_sequence_length
        self.standardize = standardize
        self.split = split
        self.ngrams = ngrams

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = False, True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k != "_layer"}  # made again from the vocabulary

    def fit(self, X: Sequence[str], y: Any = None) -> TextVectorizer:
        """Learn the vocabulary.

        Parameters
        ----------
        X : list, array or Series of str
        y : None
            Ignored.

        Returns
        -------
        self
        """
        texts = _texts(X)
        for name in ("max_tokens", "output_sequence_length"):
            if (given := getattr(self, name)) is not None:
                check_scalar(given, name, Integral, min_val=3 if name == "max_tokens" else 1)
        layer = self._made(max_tokens=self.max_tokens)
        layer.adapt(tf.constant(texts))
        self._remember(layer.get_vocabulary(), self.output_sequence_length)
        if self.n_ids_ is None:
            self.n_ids_ = max(1, *(len(ids) for ids in self._ids(texts)))
        return self

    def transform(self, X: Sequence[str]) -> NDArray:
        """Ids of the words of each text, ``(n, n_ids_)``."""
        check_is_fitted(self, "vocabulary_")
        return np.array([_in_length(ids, self.n_ids_) for ids in self._ids(_texts(X))])

    def _remember(self, vocabulary: Sequence[str], length: int | None) -> None:
        self.vocabulary_ = np.array(vocabulary, dtype=str)
        self.n_ids_ = length
        self.__dict__.pop("_layer", None)

    def _made(self, **more: Any) -> keras.layers.TextVectorization:
        how = {"standardize": self.standardize, "split": self.split, "ngrams": self.ngrams}
        return keras.layers.TextVectorization(**how, **more)

    def _ids(self, texts: Sequence[str]) -> list[NDArray]:
        """Ids of all words of each text."""
        if "_layer" not in self.__dict__:
            self._layer = self._made(vocabulary=list(self.vocabulary_[2:]))
        table = np.asarray(self._layer.call(tf.constant(texts)))
        return [ids[: np.max(np.flatnonzero(ids != PADDING), initial=-1) + 1] for ids in table.astype(np.int64)]

    def _text_reader(self) -> VectorizerReader:
        check_is_fitted(self, "vocabulary_")
        return VectorizerReader(self)


def _texts(X: Any) -> list[str]:
    if isinstance(X, str | bytes):
        raise ValueError(f"X={X!r} is one text; pass a list of texts.")
    return checked_texts(np.ravel(X) if hasattr(X, "ndim") else X)


def _in_length(ids: NDArray, length: int | None) -> NDArray:
    length = len(ids) if length is None else length
    return np.pad(ids[:length], (0, max(0, length - len(ids))), constant_values=PADDING)


class VectorizerReader:
    """Texts by a `TextVectorizer`; see `skexplain.text._texts.Reader`."""

    name: str | None = None
    cls: int | None = None
    pads = False

    def __init__(self, vectorizer: TextVectorizer) -> None:
        self._vectorizer = vectorizer

    def id_of(self, token: str | None) -> int:
        if token is None:
            return UNKNOWN
        found = np.flatnonzero(self._vectorizer.vocabulary_ == token)
        if not len(found):
            raise ValueError(
                f"background={token!r} is not in the vocabulary of {len(self._vectorizer.vocabulary_)} words; pass a "
                "word that is, '' for padding, or None for the entry of unknown words, to stand in a word's place."
            )
        return int(found[0])

    def encode(self, texts: Sequence[str], *, padded: bool) -> list[Encoded]:
        length, every = self._vectorizer.n_ids_, self._vectorizer._ids(texts)
        cut = sum(len(ids) > length for ids in every) if length is not None else 0
        if cut:
            warnings.warn(
                f"{cut} of {len(texts)} texts are longer than the {length} words that the network reads; their end is "
                "cut off, and is not part of the explanation.",
                UserWarning,
                stacklevel=5,
            )
        found = [list(re.finditer(r"\S+", text)) for text in texts]
        alone = sorted({m.group() for matches in found for m in matches})
        ids_of = dict(zip(alone, self._vectorizer._ids(alone), strict=True)) if alone else {}
        encoded = []
        for text, whole, matches in zip(texts, every, found, strict=True):
            ids = _in_length(whole, length)
            shown = ids != PADDING
            parts = [(m.span(), ids_of[m.group()]) for m in matches if len(ids_of[m.group()])]
            pieces = self._pieces(text, whole, parts, ids[shown])
            encoded.append(Encoded(ids, {}, shown, pieces, np.zeros(len(ids), dtype=bool)))
        return encoded

    def _pieces(
        self, text: str, whole: NDArray, parts: Sequence[tuple[tuple[int, int], NDArray]], ids: NDArray
    ) -> Pieces:
        tokens = tuple(str(word) for word in self._vectorizer.vocabulary_[ids])
        n = len(ids)
        if not np.array_equal(np.concatenate([whole[:0], *(part for _, part in parts)]), whole):
            # words are made of more than what stands between spaces
            return Pieces(text, tokens, np.full((n, 2), -1), np.arange(n), tokens)
        word = np.repeat(np.arange(len(parts)), [len(part) for _, part in parts])[:n]
        spans = np.array([span for span, _ in parts]).reshape(-1, 2)[word]
        words = tuple(" ".join(tokens[k] for k in np.flatnonzero(word == w)) for w in range(word[-1] + 1 if n else 0))
        return Pieces(text, tokens, spans, word, words)


def behind_vectorization(model: keras.Model) -> tuple[VectorizerReader, keras.Model] | None:
    """What reads the texts of a model that vectorises them itself, and the model of ids behind it; None for others.

    Raises
    ------
    UnsupportedModelError
        For a model that does more with texts than to look up ids of words.
    """
    layers = [layer for layer in every_layer(model) if isinstance(layer, keras.layers.TextVectorization)]
    if not layers:
        return None
    own = layers[0].get_config()
    if len(layers) > 1 or layers[0] not in model.layers or own["output_mode"] != "int" or own["ragged"]:
        raise UnsupportedModelError(
            "Of models that read texts, those are explained that have one TextVectorization layer, with "
            f"output_mode='int', right behind their input; this one has {len(layers)}, the first with "
            f"output_mode={own['output_mode']!r}. Fit skexplain.keras.TextVectorizer in a Pipeline, in front of a "
            "model of ids."
        )
    names = ("max_tokens", "output_sequence_length", "standardize", "split", "ngrams")
    vectorizer = TextVectorizer(**{name: own[name] for name in names})
    vectorizer._remember(layers[0].get_vocabulary(), own["output_sequence_length"])
    copy = Packed.of_parameter(model).unpack()  # its layers may be put together anew
    at = next(k for k, layer in enumerate(copy.layers) if isinstance(layer, keras.layers.TextVectorization))
    if isinstance(copy, keras.Sequential):
        rest = keras.Sequential([keras.Input((vectorizer.n_ids_,)), *copy.layers[at + 1 :]])
    else:
        rest = keras.Model(copy.layers[at].output, copy.outputs)
    return VectorizerReader(vectorizer), rest
