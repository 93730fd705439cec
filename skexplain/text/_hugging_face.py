"""skorch's Hugging Face tokenizers, at the front of a pipeline, as readers of texts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ..exceptions import UnsupportedModelError
from ._texts import Encoded, Pieces

#: A limit of this size is how tokenizers say that they have none.
NO_LIMIT = 10**9


def is_tokenizer(step: Any) -> bool:
    """Whether a step of a pipeline is one of skorch's tokenizers, or descends from one."""
    return any(c.__module__.startswith("skorch.hf") for c in type(step).__mro__)


class TokenizerReader:
    """Texts by a tokenizer of skorch's; see `Reader`.

    Parameters
    ----------
    step : skorch.hf.HuggingfacePretrainedTokenizer or skorch.hf.HuggingfaceTokenizer
        Fitted.
    limit : int or None
        Most ids that the network reads, if it says so.

    Raises
    ------
    sklearn.exceptions.NotFittedError
    UnsupportedModelError
        For a tokenizer that does not say which part of a text a token is.
    """

    name = "input_ids"

    def __init__(self, step: Any, limit: int | None = None) -> None:
        check_is_fitted(
            step,
            msg="This %(name)s is not fitted yet. Call `fit` of the pipeline, or of the tokenizer if the network is "
            "trained already: it is quick where the tokenizer is pretrained.",
        )
        self._step, self._tokenizer = step, step.fast_tokenizer_
        if not getattr(self._tokenizer, "is_fast", False):
            raise UnsupportedModelError(
                f"A {type(self._tokenizer).__name__} does not say which part of a text a token is. Load it with "
                "use_fast=True."
            )
        own = [step.max_length] if step.return_tensors is not None else []
        limits = [k for k in (*own, self._tokenizer.model_max_length, limit) if k is not None and k < NO_LIMIT]
        self._limit = min(limits, default=None)
        self._words: dict[tuple[str, ...], str] = {}

    @property
    def cls(self) -> int | None:
        known = self._tokenizer.cls_token_id
        return self._tokenizer.backend_tokenizer.token_to_id("[CLS]") if known is None else known

    @property
    def pads(self) -> bool:
        return self._step.return_tensors is not None

    def id_of(self, token: str | None) -> int:
        tokenizer = self._tokenizer
        if token is None:
            found = next((k for k in self._neutral() if k is not None), None)
            if found is None:
                raise ValueError(
                    "The tokenizer has no token for a masked word, for an unknown one or for padding, that could stand "
                    "in a token's place. Pass `background=` with an entry of its vocabulary."
                )
            return int(found)
        vocabulary = tokenizer.get_vocab()
        if token not in vocabulary:
            raise ValueError(
                f"background={token!r} is not an entry of the tokenizer's vocabulary of {len(vocabulary)}; pass one, "
                "such as its mask token, to stand in a token's place."
            )
        return int(vocabulary[token])

    def _neutral(self) -> Iterator[int | None]:
        """Ids that stand for no word in particular, the best first."""
        tokenizer, backend = self._tokenizer, self._tokenizer.backend_tokenizer
        # one that was trained by skorch has not been told what its special tokens are for
        yield from (tokenizer.mask_token_id, backend.token_to_id("[MASK]"), tokenizer.unk_token_id)
        unknown = getattr(backend.model, "unk_token", None)
        yield from (None if unknown is None else backend.token_to_id(unknown), tokenizer.pad_token_id)

    def encode(self, texts: Sequence[str], *, padded: bool) -> list[Encoded]:
        whole = self._tokenized(texts, truncation=False)
        cut = [] if self._limit is None else [i for i, ids in enumerate(whole["input_ids"]) if len(ids) > self._limit]
        if not cut and not padded:
            encoding = whole
        else:
            padding = {"padding": "max_length"} if padded else {}
            encoding = self._tokenized(texts, truncation=self._limit is not None, max_length=self._limit, **padding)
        if cut and not padded:  # where they are read twice, they were counted before
            side = {"right": "end", "left": "beginning"}[self._tokenizer.truncation_side]
            warnings.warn(
                f"{len(cut)} of {len(texts)} texts are longer than the {self._limit} tokens that the network reads; "
                f"their {side} is cut off, and is not part of the explanation.",
                UserWarning,
                stacklevel=5,
            )
        specials = [np.array(mask, dtype=bool) for mask in encoding["special_tokens_mask"]]
        names = [k for k in encoding if k not in ("input_ids", "special_tokens_mask")]
        return [
            Encoded(
                np.array(encoding["input_ids"][i]),
                {k: np.array(encoding[k][i]) for k in names},
                ~special,
                _pieces(text, encoding[i], np.flatnonzero(~special), self._joined),
                special,
            )
            for i, (text, special) in enumerate(zip(texts, specials, strict=True))
        ]

    def _tokenized(self, texts: Sequence[str], **how: Any) -> Any:
        step = self._step
        return self._tokenizer(
            list(texts),
            return_special_tokens_mask=True,
            return_token_type_ids=step.return_token_type_ids,
            return_attention_mask=step.return_attention_mask,
            return_length=step.return_length,
            verbose=False,
            **how,
        )

    def _joined(self, tokens: tuple[str, ...]) -> str:
        """A word, put together from its tokens."""
        if tokens not in self._words:
            backend = self._tokenizer.backend_tokenizer
            if backend.decoder is not None:
                word = self._tokenizer.convert_tokens_to_string(list(tokens)).strip()
            else:
                prefix = getattr(backend.model, "continuing_subword_prefix", None) or ""
                word = tokens[0] + "".join(token.removeprefix(prefix) for token in tokens[1:])
            self._words[tokens] = word or "".join(tokens)
        return self._words[tokens]


def _pieces(text: str, encoding: Any, shown: NDArray, joined: Callable[[tuple[str, ...]], str]) -> Pieces:
    """The tokens of one text, and its words."""
    tokens, of = tuple(encoding.tokens[k] for k in shown), [encoding.word_ids[k] for k in shown]
    # special tokens that stand in the text are words by themselves
    new = [k == 0 or of[k] is None or of[k] != of[k - 1] for k in range(len(shown))]
    word = np.cumsum(new) - 1
    starts = [*np.flatnonzero(new), len(shown)]
    words = tuple(joined(tokens[a:b]) for a, b in pairwise(starts))
    return Pieces(text, tokens, np.array([encoding.offsets[k] for k in shown]).reshape(-1, 2), word, words)
