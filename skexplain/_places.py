"""Which axes of a row are the places that a convolution slides over."""

from __future__ import annotations

from collections.abc import Iterable

from .exceptions import UnsupportedModelError


def place_axes(
    features: tuple[int, ...], n_axes: int, read: tuple[int, ...] | None, *, channels_first: bool
) -> tuple[int, ...]:
    """Axes of X along which a layer's places lie.

    Parameters
    ----------
    features : tuple of int
        Shape of a row.
    n_axes : int
        How many axes the places have: 1 for sequences, 2 for pictures.
    read : tuple of int or None
        Shape ``(*places, n_channels)`` of what the first convolution reads of a row, if there is one.
    channels_first : bool
        Where a row's channels stand, if the first convolution does not tell.

    Raises
    ------
    UnsupportedModelError
        For rows that the network gives another shape before a convolution reads them.

    Examples
    --------
    >>> place_axes((28, 28, 3), 2, None, channels_first=False)
    (1, 2)
    >>> place_axes((20, 3), 1, (20, 8), channels_first=True)  # steps whose 3 features have become 8
    (1,)
    """
    if len(features) == n_axes + 1 and (read is None or len(read) == len(features)):
        first, last = _likeness(features[1:], features[0], read), _likeness(features[:-1], features[-1], read)
        if first or last or read is None:
            channels_first = channels_first if first == last else first > last
            return tuple(range(2, n_axes + 2)) if channels_first else tuple(range(1, n_axes + 1))
    # a flat row that is cut into channels would be taken for one sequence
    if len(features) == n_axes and (n_axes > 1 or read is None or read[-1] == 1):
        return tuple(range(1, n_axes + 1))
    raise UnsupportedModelError(
        f"The layer's maps have {n_axes} axis(es) of places, but rows of shape {features} have no such axes. Pass rows "
        "in the shape of pictures or sequences, to estimators by input_shape=, rather than have the network reshape "
        "them."
    )


def _likeness(places: tuple[int, ...], n_channels: int, read: tuple[int, ...] | None) -> int:
    """How much a row of such places and channels is like what a convolution reads.

    Layers before it may change either.
    """
    return 0 if read is None else 2 * (places == read[:-1]) + (n_channels == read[-1])


def no_convolution() -> UnsupportedModelError:
    """For networks that have no maps to look at."""
    return UnsupportedModelError(
        "Grad-CAM looks at the maps of a convolution, and the output of this network depends on none that is seen. "
        "Use attribution='integrated_gradients' or 'expected_gradients', or name a layer that gives maps: "
        "attribution=GradCAM(layer=...)."
    )


def no_maps(layer: str, shape: Iterable[int | None], n: int | None) -> UnsupportedModelError:
    """For a layer whose results are not channels of places."""
    return UnsupportedModelError(
        f"Layer {layer!r} gives numbers of shape {tuple(shape)} for {'the' if n is None else n} rows, which are not "
        "maps: rows, channels and places. Name a convolution, or a layer behind one that keeps its places."
    )


def no_places(layer: str | None) -> UnsupportedModelError:
    """For maps that say nothing of where, such as those of a convolution behind pooling."""
    which = "the last convolution" if layer is None else f"layer {layer!r}"
    return UnsupportedModelError(
        f"The maps of {which} have a single place, so all of a row would get the same. Name a layer before it: "
        "attribution=GradCAM(layer=...)."
    )


def unknown_layer(layer: str, candidates: Iterable[str]) -> ValueError:
    return ValueError(f"layer={layer!r} is not a layer of the network; its layers are {list(candidates)}.")
