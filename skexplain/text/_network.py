"""TextNetwork: what reads texts, and the network behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from .._embedded import Embedded
from .._head import Output
from .._inputs import Input, Inputs, Tabled
from .._network import Network
from .._subject import TRIED, reading
from .._wrap import as_network, frameworks, unnested, unwrap
from ..exceptions import UnsupportedModelError
from ._hugging_face import TokenizerReader, is_tokenizer
from ._texts import Encoded, Reader

#: Texts on which it is tried whether padding makes a difference.
TRIED_TEXTS = 100
#: How far outputs may be from those with padding, as a fraction of their size.
TOLERANCE = 1e-3


class Batch(NamedTuple):
    """Texts that one network reads, with the same ids in the places that are not shown.

    Attributes
    ----------
    at : int ndarray of shape (n,)
        Which of the texts.
    rows : ndarray of shape (n, n_ids)
    shown : bool ndarray of shape (n_ids,)
    network : Network
    embedded : Embedded or None
        The network behind its look-ups, where that was asked for and there are any.
    """

    at: NDArray
    rows: NDArray
    shown: NDArray
    network: Network
    embedded: Embedded | None


@dataclass(frozen=True, eq=False)
class TextNetwork:
    """A reader of texts and the network that it reads them for.

    Attributes
    ----------
    reader : Reader
    model : object
        A raw network, or the fitted wrapper of one.
    y, classes : ndarray or None
        As for `as_network`.
    """

    reader: Reader
    model: Any
    y: NDArray | None = None
    classes: NDArray | None = None

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Texts as the network reads them: without padding, unless that changes what the network says.

        Raises
        ------
        ValueError
            For a text without a token.
        """
        encoded = self.reader.encode(texts, padded=False)
        empty = [i for i, e in enumerate(encoded) if not e.shown.any()]
        if empty:
            raise ValueError(
                f"{len(empty)} of {len(texts)} texts, the first of them X[{empty[0]}] = {texts[empty[0]]!r}, have no "
                "token to explain; leave them out."
            )
        self._check_ids(encoded)
        if not self.reader.pads:
            return encoded
        some = np.unique(np.linspace(0, len(texts) - 1, TRIED_TEXTS).astype(int))
        padded = self.reader.encode([texts[i] for i in some], padded=True)
        want, got = self._predict_padded(padded), self.predict([encoded[i] for i in some])
        if np.all(np.abs(got - want) <= TOLERANCE * np.abs(want).max()):
            return encoded
        return self.reader.encode(texts, padded=True)

    def _check_ids(self, encoded: Sequence[Encoded]) -> None:
        """Refuse ids that the network, where it says how many it knows, would look up behind the end of its table."""
        sizes = _configured(unwrap(self.model)[0], "vocab_size")
        worst = max(encoded, key=lambda e: int(e.ids.max()))
        if sizes and worst.ids.max() >= max(sizes):
            raise ValueError(
                f"The tokenizer reads a token of {worst.pieces.text!r} as number {worst.ids.max()} of its vocabulary, "
                f"and the network's has {max(sizes)} entries, from 0: the two do not belong together."
            )

    def predict(self, encoded: Sequence[Encoded], output: Output = "margin") -> NDArray:
        """Outputs ``(n, n_outputs)``."""
        parts = [(batch.at, batch.network.predict(batch.rows)) for batch in self.batches(encoded, output)]
        order = np.argsort(np.concatenate([at for at, _ in parts]))
        return np.concatenate([outputs for _, outputs in parts])[order]

    def batches(self, encoded: Sequence[Encoded], output: Output, *, behind: bool = False) -> Iterator[Batch]:
        """The texts, put together where a network reads them alike.

        Parameters
        ----------
        behind : bool
            Whether the network is wanted behind its look-ups, too.
        """
        for of_layout in _alike([e.layout for e in encoded]):
            first, rows = encoded[of_layout[0]], np.array([encoded[i].ids for i in of_layout], dtype=np.float64)
            with reading(rows):
                network = self._network(rows, first.others, output)
                network.predict(rows[:1])
            embedded = (
                network.embedded(np.concatenate([rows[:TRIED], self._others(rows, ~first.fixed)])) if behind else None
            )
            shown = np.array([encoded[i].shown for i in of_layout])
            for part in _alike([s.tobytes() for s in shown]):
                yield Batch(of_layout[part], rows[part], shown[part[0]], network, embedded)

    def _others(self, rows: NDArray, free: NDArray) -> NDArray:
        """Made-up rows, between which all ids that are free differ."""
        known = np.unique(rows[:, free])
        pair = known[-2:] if len(known) > 1 else np.array([known[0], known[0] - 1 if known[0] else 1.0])
        return np.where(free, pair[:, None], rows[0])

    def _network(self, rows: NDArray, others: Mapping[str, NDArray], output: Output) -> Network:
        name = self.reader.name
        if name is None:
            return as_network(self.model, rows, y=self.y, classes=self.classes, output=output)
        parts = [Input(name, np.arange(rows.shape[1]), rows.shape[1:], True)]
        parts += [Input(k, np.arange(0), v.shape, v.dtype.kind in "iu", constant=v) for k, v in others.items()]
        return self._of_inputs(Inputs(tuple(parts)), rows, output)

    def _of_inputs(self, inputs: Inputs, rows: NDArray, output: Output) -> Network:
        raw, labels, regressor = unwrap(self.model)
        labels = labels if self.classes is None else self.classes
        model = Tabled(raw, inputs)
        return as_network(model, rows, y=self.y, classes=labels, regression=regressor, output=output)

    def _predict_padded(self, encoded: Sequence[Encoded]) -> NDArray:
        """Outputs as the network gives them for all texts together."""
        whole = {str(self.reader.name): np.array([e.ids for e in encoded])}
        whole |= {name: np.array([e.others[name] for e in encoded]) for name in encoded[0].others}
        inputs = Inputs.of(whole)
        rows = inputs.table(whole)
        with reading(rows):
            return self._of_inputs(inputs, rows, "margin").predict(rows)


def text_network(model: Any, y: NDArray | None = None, classes: NDArray | None = None) -> TextNetwork:
    """What reads texts in a model, and the network behind it.

    Raises
    ------
    UnsupportedModelError
        For a model that reads no texts by tokens.
    """
    model = unnested(model)
    if isinstance(model, Pipeline):
        first, last = model.steps[0][1], model.steps[-1][1]
        between = [name for name, step in model.steps[1:-1] if step not in (None, "passthrough")]
        reader = _reader_of(first, last) if len(model.steps) > 1 and not between else None
        if reader is not None:
            return TextNetwork(reader, last, y, classes)
    elif "keras" in frameworks(model):
        from ..keras._text import behind_vectorization

        found = behind_vectorization(model)
        if found is not None:
            return TextNetwork(*found, y, classes)
    raise UnsupportedModelError(
        f"X is a list of texts, but this {type(model).__name__} does not read them by tokens. Texts are explained for "
        "a Pipeline of a tokenizer (skorch.hf.HuggingfacePretrainedTokenizer, skorch.hf.HuggingfaceTokenizer or "
        "skexplain.keras.TextVectorizer) and, right behind it, a network, and for a keras.Model with a "
        "TextVectorization layer in front. Where texts become columns, such as by TfidfVectorizer, pass these columns "
        "and the network, or a data frame with a column of texts."
    )


def _reader_of(first: Any, last: Any) -> Reader | None:
    if is_tokenizer(first):
        return TokenizerReader(first, min(_configured(unwrap(last)[0], "max_position_embeddings"), default=None))
    return first._text_reader() if hasattr(first, "_text_reader") else None


def _configured(module: Any, name: str) -> list[int]:
    """What parts of a network say in their configuration, as transformers do."""
    parts = module.modules() if hasattr(module, "modules") else [module]
    found = (getattr(getattr(part, "config", None), name, None) for part in parts)
    return [k for k in found if isinstance(k, int) and k > 0]


def _alike(keys: Sequence[Any]) -> list[NDArray]:
    """Positions of each key, in the order in which keys come first."""
    found: dict[Any, list[int]] = {}
    for i, key in enumerate(keys):
        found.setdefault(key, []).append(i)
    return [np.array(at) for at in found.values()]
