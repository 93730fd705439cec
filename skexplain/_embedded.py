"""Networks that look codes up: seen from behind the look-ups, where there are slopes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .exceptions import UnsupportedModelError

if TYPE_CHECKING:
    from ._network import Network

#: Pairs of rows between which it is tried which columns a look-up reads.
PAIRS = 3
#: How far outputs behind the look-ups may be from the network's own, in roundings of their spread and of their size.
OF_SPREAD, OF_SIZE = 1e4, 32
TINY = 1e-30


@dataclass(frozen=True, eq=False)
class Embedded:
    """A network as a function of what it looks up for codes, and of the columns that it reads as numbers.

    Or else of what it makes of each number on its own before it reads several together; `n_numbers` is 0 then.

    Attributes
    ----------
    whole : Network
        In front of the look-ups.
    network : Network
        Behind them, on embedded rows ``(n, p)``.
    embed : callable
        From rows ``(n, *features)`` to embedded rows.
    owners : int ndarray of shape (p,)
        The flat column of the rows that each number comes from.
    n_numbers : int
        How many of the numbers, the first, are columns as they are.
    """

    whole: Network
    network: Network
    embed: Callable[[NDArray], NDArray]
    owners: NDArray
    n_numbers: int

    def checked(self, X: NDArray) -> NDArray:
        """Embedded rows, for which the network behind the look-ups gives what the whole network gives.

        Raises
        ------
        UnsupportedModelError
            When it does not: codes are read in yet another way.
        """
        Z = self.embed(X)
        if not self._agrees(X, Z):
            raise UnsupportedModelError(
                "The network looks codes up, but for some rows also reads them in another way, so that what it looks "
                "up does not say all. Use a strategy without gradients, such as attribution='permutation'."
            )
        return Z

    def agrees(self, X: NDArray) -> bool:
        """Whether the network behind the look-ups gives for these rows what the whole network gives."""
        return self._agrees(X, self.embed(X))

    def _agrees(self, X: NDArray, Z: NDArray) -> bool:
        return agree(self.network.predict(Z), self.whole.predict(X), self.whole.eps)


def in_front_of(network: Network, rows: NDArray, owners: NDArray) -> tuple[tuple[int, ...], NDArray]:
    """`Network.in_front` of what stands behind a network's look-ups or encoding, whose numbers come from ``owners``."""
    if network.in_front is None:
        return rows.shape[1:], owners
    features, columns = network.in_front
    return features, columns[owners]


def agree(outputs: NDArray, others: NDArray, eps: float) -> bool:
    """Whether outputs ``(n, k)`` behind look-ups are those in front of them, but for rounding.

    Outputs that lie far from 0, such as prices, are compared by what they differ in.
    """
    size = np.abs(others).max(axis=0, initial=0.0) + TINY
    spread = np.ptp(others, axis=0) if len(others) > 1 else size
    return bool(np.all(np.abs(outputs - others) <= eps * (OF_SPREAD * spread + OF_SIZE * size)))


def numbers_of(owners: NDArray, groups: Sequence[NDArray]) -> list[NDArray]:
    """The numbers of an embedded row that come from each group of flat columns."""
    order = np.argsort(owners, kind="stable")
    last = max((int(g.max()) for g in groups if len(g)), default=-1)
    starts = np.searchsorted(owners[order], np.arange(last + 2))
    return [
        np.sort(np.concatenate([order[starts[j] : starts[j + 1]] for j in group] or [order[:0]])) for group in groups
    ]


def may_hold_codes(X: NDArray) -> bool:
    """Whether some column has nothing but whole numbers."""
    flat = X.reshape(len(X), -1)
    return X.dtype.kind in "iuf" and bool(np.any(np.all(flat == np.round(flat), axis=0)))


@dataclass(frozen=True, eq=False)
class Trial:
    """Rows that are alike but for some columns, by which it is seen what depends on which column.

    Each column has a number, and each binary digit of it two rows: one in which the columns are changed whose digit is
    1, one in which the others are. What depends on one column changes in just one of the two, for every digit.

    Attributes
    ----------
    rows : ndarray of shape (n_trials, *features)
        The first is the one that the others are compared with.
    """

    rows: NDArray

    @classmethod
    def between(cls, row: NDArray, other: NDArray) -> Trial:
        """The trial that changes columns of ``row`` to what they are in ``other``."""
        d = row.size
        digits = np.arange(d) >> np.arange(max(1, int(d - 1).bit_length()))[:, None] & 1
        changed = np.stack([digits, 1 - digits], axis=1).reshape(-1, d).astype(bool)
        changed = np.concatenate([np.zeros((1, d), dtype=bool), changed])
        return cls(np.where(changed, other.ravel(), row.ravel()).reshape(-1, *row.shape))

    def owners(self, values: NDArray) -> NDArray:
        """The flat column that each number of values ``(n_trials, k)`` depends on; -1: none, -2: several."""
        changed = values[1:] != values[0]
        on, off = changed[0::2], changed[1::2]
        column = (on << np.arange(len(on))[:, None]).sum(axis=0)
        one = (on ^ off).all(axis=0)
        return np.where(one, column, np.where(changed.any(axis=0), -2, -1))


def trials(X: NDArray) -> list[Trial]:
    """Trials between rows that differ, in every column that varies where that can be."""
    flat = X.reshape(len(X), -1)
    found = []
    for at in dict.fromkeys(np.linspace(0, len(X) - 1, PAIRS).astype(int).tolist()):
        differs = flat != flat[at]
        first = np.where(differs.any(axis=0), differs.argmax(axis=0), at)
        found.append(Trial.between(X[at], flat[first, np.arange(flat.shape[1])].reshape(X.shape[1:])))
    return found


def merged(owners: Sequence[NDArray]) -> NDArray:
    """What several trials say of the same numbers: a column that one of them sees, -2 where they differ."""
    every = np.array(owners)
    most = every.max(axis=0)
    mixed = (every == -2) | ((every >= 0) & (every != most))
    return np.where(mixed.any(axis=0), -2, most)


def columns_looked_up(codes: Sequence[Sequence[NDArray]], tries: Sequence[Trial]) -> list[NDArray] | None:
    """For each look-up the column that each place of it depends on; None if no look-up is of single columns.

    Parameters
    ----------
    codes : sequence of sequence of ndarray of shape (n_trials, *places)
        For each trial what each look-up of the network was asked for, in order.
    tries : sequence of Trial
    """
    calls = [[_columns(asked, trial) for asked in run] for run, trial in zip(codes, tries, strict=True)]
    if not calls[0] or any([c.shape for c in run] != [c.shape for c in calls[0]] for run in calls):
        return None
    owners = [merged(same) for same in zip(*calls, strict=True)]
    return owners if any((c >= 0).any() for c in owners) else None


def _columns(codes: NDArray, trial: Trial) -> NDArray:
    """The column that each place of a look-up depends on."""
    flat = codes.reshape(len(codes), -1)
    return trial.owners(flat) if len(flat) == len(trial.rows) else np.full(flat.shape[1], -2)
