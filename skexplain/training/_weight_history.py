"""WeightHistory: the weights on the input columns through the training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.utils.validation import check_scalar

from .._files import finished, unfinished
from ._weight_figures import WeightFigures

if TYPE_CHECKING:
    import pandas as pd


class WeightHistory(WeightFigures):
    """Records the weights on the input columns while a network trains.

    Choose it to look at how a first layer settles, by `skexplain.plotting`, and for the figures of single columns:
    ``std()``, ``range()``, ``mean_abs()`` and ``path_length()``, which the strategies ``weight_std``, ``weight_range``,
    ``weight_mean_abs`` and ``weight_path_length`` are made of, and ``density_figures()``.
    For ``callbacks=`` of Keras, skorch and this library's estimators; in a loop of your own call
    ``on_train_begin(model)``, after each step ``on_batch_end()`` if ``per="step"``, after each epoch
    ``on_epoch_end()``, and ``on_train_end()``.

    Parameters
    ----------
    per : {"epoch", "step"}, default="epoch"
        When a sample is taken.
    every : int, default=1
        Epochs or steps from one sample to the next.
    max_samples : int, default=512
        Most samples that are kept in memory. When they are full every second is dropped, and from then on only every
        second is taken, and so on: what is kept is always evenly spaced, the initial weights first. ``std()`` and the
        like count all samples, also those that were dropped.
    path : str or path-like, default=None
        A file for the samples, as float16, of which ``weights`` reads through `numpy.memmap`. ``max_samples`` then
        does not apply, and a sample keeps 3 digits. It is replaced when the training is over.
    feature_names : sequence of str, default=None
        Names of the columns. None: those of the DataFrame that an estimator of this library was fitted on, if any.

    Attributes
    ----------
    weights : ndarray of shape (n_samples, n_columns, n_weights)
        Of each column the weights to all hidden units; NaN where columns have fewer weights than others. The first
        sample holds the initial weights.
    times : int ndarray of shape (n_samples,)
        Epochs or steps after which the samples were taken.
    stride : int
        Epochs or steps from one sample to the next, after what was dropped.
    names : tuple of str

    Raises
    ------
    UnsupportedModelError
        When no layer has weights on single columns.
    sklearn.exceptions.NotFittedError
        When the weights are read before a training is over.

    See Also
    --------
    skexplain.plotting.weight_animation : and other pictures of it.
    VarianceImportanceTorch, VarianceImportanceKeras : one figure a column, without a history.

    Notes
    -----
    Used for another training it starts afresh, unless the weights are those that the last one ended with.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skexplain.torch import NeuralNetRegressor
    >>> from skexplain.training import WeightHistory
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> history = WeightHistory()
    >>> net = NeuralNetRegressor(max_epochs=20, callbacks=[history], random_state=0).fit(X, y)
    >>> history.weights.shape, history.names[2]  # 64 units read nine numbers of each column
    ((21, 10, 576), 'bmi')
    """

    def __init__(
        self,
        *,
        per: str = "epoch",
        every: int = 1,
        max_samples: int = 512,
        path: Any = None,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        self.per = per
        self.every = every
        self.max_samples = max_samples
        self.path = path
        self.feature_names = feature_names

    @property
    def weights(self) -> NDArray:
        return self._watched().by_column(np.asarray(self._samples()))

    @property
    def times(self) -> NDArray:
        self._watched()
        return np.array(self._times)

    @property
    def names(self) -> tuple[str, ...]:
        return self._named(self.feature_names, self._watched().n_columns)

    def density_figures(self, above: float = 1.0) -> pd.DataFrame:
        """Figures of the part of each column's density curve that lies above a height.

        All values that a column's weights took are described by the normal density with their mean and standard
        deviation, not by the kernels of `skexplain.plotting.weight_density`; the density is read at each of the values,
        and figures are made of the densities above ``above``. A column whose weights stay together has a high, narrow
        curve; one whose weights move has a low one.

        Parameters
        ----------
        above : float, default=1
            Densities up to it are left out.

        Returns
        -------
        DataFrame
            One row a column of the data; ``len``, ``max``, ``sum``, ``mean`` and ``stdev`` (divided by n - 1) of its
            densities above the height, NaN where there are too few. Infinite where the weights never differ.

        References
        ----------
        "Feature importance in neural networks", 2022, github.com/SkinnyPigeon/weights-in-neural-networks.
        """
        import pandas as pd

        rows = []
        for values in np.moveaxis(self.weights.astype(np.float64), 1, 0):
            density = self._density(values[np.isfinite(values)])
            high = density[density > above]
            n = len(high)
            with np.errstate(invalid="ignore"):
                rows.append(
                    {
                        "len": n,
                        "max": high.max() if n else np.nan,
                        "sum": high.sum(),
                        "mean": high.mean() if n else np.nan,
                        "stdev": high.std(ddof=1) if n > 1 else np.nan,
                    }
                )
        return pd.DataFrame(rows, index=pd.Index(self.names, name="feature"))

    @staticmethod
    def _density(values: NDArray) -> NDArray:
        """Normal density of values at themselves."""
        scale = values.std(ddof=1) if len(values) > 1 else 0.0
        return norm.pdf(values, values.mean(), scale) if scale > 0 else np.full(len(values), np.inf)

    def _begin(self) -> None:
        check_scalar(self.max_samples, "max_samples", Integral, min_val=2)
        if self.path is not None:
            if not isinstance(self.path, str | os.PathLike):
                raise TypeError(f"path={self.path!r} must be the name of a file, or None.")
            self._unfinished = unfinished(self.path)
        self._goes_on = True
        super()._begin()
        if self.path is not None and self._goes_on:
            self._in_the_file().tofile(self._unfinished)

    def _end(self) -> None:
        super()._end()
        if self.path is not None:
            finished(self._unfinished, self.path)

    def release(self) -> None:
        """Let go of the model and the rows, and of the samples of a training that broke off."""
        super().release()
        temporary = self.__dict__.pop("_unfinished", None)
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)

    def _reset(self, size: int) -> None:
        super()._reset(size)
        self._size, self.stride = size, int(self.every)
        self._times: list[int] = []
        self._kept: list[NDArray] = []
        self._goes_on = False

    def _take(self, samples: NDArray, times: NDArray) -> None:
        super()._take(samples, times)
        for sample, time in zip(samples, times.tolist(), strict=True):
            if time % self.stride:
                continue
            if self.path is not None:
                self._append(sample)
            else:
                if len(self._kept) == self.max_samples:
                    self._thin_out()
                    if time % self.stride:
                        continue
                self._kept.append(sample.astype(np.float32))
            self._times.append(time)

    def _thin_out(self) -> None:
        self.stride *= 2
        self._kept, self._times = self._kept[::2], self._times[::2]

    def _append(self, sample: NDArray) -> None:
        with np.errstate(over="ignore"):
            half = sample.astype(np.float16)
        if not np.isfinite(half).all():
            raise ValueError(
                f"WeightHistory: a weight of {np.abs(sample).max():.3g} is too large for float16, in which samples are "
                f"written to path={str(self.path)!r}. Leave path out."
            )
        with open(self._unfinished, "ab") as file:
            file.write(half.tobytes())
        self._last_written = half

    def _samples(self) -> NDArray:
        """``(n_samples, size)``."""
        self._watched()
        return np.array(self._kept) if self.path is None else self._in_the_file()

    def _in_the_file(self) -> NDArray:
        """The samples in the file, if it is still the one that this object has written."""
        shape = len(self._times), self._size
        if os.path.exists(self.path) and os.path.getsize(self.path) == 2 * shape[0] * shape[1]:
            samples = np.memmap(self.path, dtype=np.float16, mode="r", shape=shape)
            if np.array_equal(samples[-1], self._last_written):
                return samples
        raise ValueError(
            f"path={str(self.path)!r} is not, or no longer, the file with the samples of this training. Give each "
            "training a path of its own; copies of an estimator, as in a grid search, share theirs."
        )
