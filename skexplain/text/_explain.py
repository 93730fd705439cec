"""explain and importances of texts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from .._explain import Explained, explained_rows
from .._head import Output
from .._subject import Subject, looks_behind, seed_of
from .._targets import checked_target, target_name
from ..attributions._registry import get_attribution
from ..exceptions import UnsupportedModelError
from ._explanation import TextExplanation
from ._network import Batch, TextNetwork, text_network
from ._texts import checked_texts

#: Most entries of the vocabulary over which the spread of what is looked up is taken.
SPREAD_OVER = 100


def explain_texts(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    attribution: Any = None,
    background: Any = None,
    target: Any = "predicted",
    output: Output = "margin",
    random_state: Any = None,
) -> TextExplanation:
    """Which tokens move the network's output, text by text; see `skexplain.explain` for the parameters."""
    texts = checked_texts(X)
    own = getattr(model, "attribution", None) or "expected_gradients"
    strategy = get_attribution(own if attribution is None else attribution)
    if not getattr(strategy, "local", hasattr(strategy, "attribute")):
        raise ValueError(
            f"attribution={strategy} compares columns over all rows or reads them from weights, and texts have no "
            "columns: a place in a text means something else in each. Use one of the local strategies, such as "
            "'expected_gradients', 'ablation' or 'shapley_sampling', whose values are averaged over the occurrences of "
            "each word."
        )
    if not (background is None or isinstance(background, str)):
        raise ValueError(
            f"background={background!r} must be an entry of the vocabulary, that stands in the place of a token which "
            "is left out, or None for the mask token or the one for unknown words."
        )
    seed = seed_of(model, random_state)
    network = getattr(model, "_text_network", None) or text_network(model, None if y is None else np.asarray(y))
    encoded = network.encode(texts)
    token = network.reader.id_of(background)
    behind = looks_behind(strategy)
    known = np.unique(np.concatenate([e.ids[e.shown] for e in encoded]))
    parts: list[Explained | None] = [None] * len(texts)
    unit: NDArray | None = None
    for batch in network.batches(encoded, output, behind=behind):
        if batch.embedded is not None:  # of a text and its background alone it is not known how much outputs differ
            if unit is None:
                logits = batch.network.head.kind != "linear"
                unit = np.ones(1) if logits else network.predict(encoded, output).std(axis=0)
            batch.embedded.network.unit = float(unit.max())
        asked = checked_target(target, len(texts), batch.network.classes)
        of_batch = asked[batch.at] if isinstance(asked, np.ndarray) else asked
        subject = _subject(network, batch, strategy, token, known, seed)
        explained = explained_rows(subject, of_batch)
        classes = batch.network.classes
        for k, i in enumerate(batch.at):
            values: Any = [v if v is None or np.ndim(v) == 0 else np.asarray(v)[k] for v in explained]
            parts[i] = Explained(*values)
    found = [part for part in parts if part is not None]
    if getattr(strategy, "needs_attention", False) and not any(np.any(part.values) for part in found):
        raise UnsupportedModelError(
            f"attribution={strategy} gives every token of every text 0: who looks sees none of them, as where each "
            "token looks at those before it only. Set query='mean', or query=-1 for the last, or use "
            "attribution='gradient_x_attention'."
        )
    gaps = [part.gap for part in found if part.gap is not None]
    return TextExplanation(
        pieces=tuple(e.pieces for e in encoded),
        values=tuple(part.values for part in found),
        base_values=np.array([part.base_values for part in found]),
        predictions=np.array([part.predictions for part in found]),
        strategy=strategy,
        output=output,
        random_state=seed,
        error=None if found[0].error is None else tuple(part.error for part in found),  # type: ignore[misc]
        target=None if found[0].target is None else np.array([part.target for part in found]),
        outputs=classes,
        gap=max(gaps, default=None),
        asked=target_name(np.asarray(target) if isinstance(target, list) else target),
    )


def _subject(network: TextNetwork, batch: Batch, strategy: Any, token: int, known: NDArray, seed: int) -> Subject:
    """Texts of one layout, with their tokens as the groups, and the token that stands in their place as background."""
    places = np.flatnonzero(batch.shown)
    if batch.embedded is None and getattr(strategy, "needs_gradient", True) and looks_behind(strategy):
        raise UnsupportedModelError(
            f"attribution={strategy} needs the gradient behind the look-up of ids, and no look-up of single ids is "
            "seen in this network. Use attribution='ablation', 'occlusion' or 'shapley_sampling', which replace ids."
        )
    back = batch.rows[:1].copy()
    back[:, places] = token
    if hasattr(strategy, "scaled"):  # the background is only what a spread is taken over
        few = np.random.default_rng(seed).permutation(known)[:SPREAD_OVER]
        back = np.repeat(back, len(few), axis=0)
        back[:, places] = few[:, None]
    if getattr(strategy, "query", None) == "cls" and network.reader.cls in batch.rows[0]:
        # keys are the ids of a row, of which the classification token is one
        strategy = clone(strategy).set_params(query=int(np.flatnonzero(batch.rows[0] == network.reader.cls)[0]))
    names, groups = tuple(f"token {k}" for k in places), [np.array([k]) for k in places]
    return Subject(batch.network, batch.rows, back, names, groups, places, strategy, seed).behind(batch.embedded)
