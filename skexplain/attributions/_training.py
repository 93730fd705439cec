"""Importances read off the weights on the columns while the network trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ._base import Attribution

if TYPE_CHECKING:
    from ..training._watcher import Watcher


class _Watched(Attribution):
    """Base: what the training itself tells, the same for all rows."""

    local = False
    signed = False
    needs_gradient = True  # a network's own columns are meant, behind the steps of a pipeline
    needs_training = True


class VIANN(_Watched):
    """Sum over a column's weights of their variance during training times their final size.

    Costs next to nothing, as it falls out of the training: set it before ``fit``. Choose it to compare with papers that
    report it, or as a first look; what the trained network does with the columns is told by the other strategies.

    Parameters
    ----------
    per : {"epoch", "step"}, default="epoch"
        When a sample of the weights is taken.
    include_initial : bool, default=True
        Whether the initial weights are a sample too. False: the original formula, in which the way from the initial
        weights to those after the first epoch does not count; after one epoch all scores are 0.

    Raises
    ------
    UnsupportedModelError
        When the estimator was not fitted with this strategy, or no layer has weights on single columns.

    Warns
    -----
    UserWarning
        At ``fit``, when the columns that reach the first layer are on different scales.

    See Also
    --------
    skexplain.training.VarianceImportanceTorch, skexplain.training.VarianceImportanceKeras :
        the same for a training of your own.
    WeightPathLength : how far the weights went.
    Permutation : what the trained network relies on.

    Notes
    -----
    ``s_i = sum_h Var_t(w_ih) |w_ih|`` over the weights of the first layer that takes the columns, with the variance
    over the samples of the training (divided by their number) and the size at its end. What only standardises,
    reshapes or drops columns is looked through; an embedding too: a column's weights are those of its outputs in the
    layer behind. A convolution's or recurrent layer's weights belong to the channel, and its steps share them.
    ``warm_start`` and ``partial_fit`` go on with the statistics.

    Axioms: none of those of a function's attributions. Not even dummy: the weights of a column that the later layers
    ignore may vary. A column that is always 0, as a constant one is behind standardisation, keeps its initial weights,
    and scores 0 without weight decay. There is no standard error: train with several seeds to see the spread. On a
    linear network trained by small steps from small weights the score grows with ``|w_i|^3``. Biased by units: a column
    measured in smaller ones has larger weights, hence the warning; by noise in the steps, which moves the weights of
    useless columns too; and by all that the layers behind do. Cost: a pass over the first layer's weights each epoch or
    step, no prediction.

    References
    ----------
    C. R. de Sá, "Variance-based feature importance in neural networks", Discovery Science 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skexplain.torch import NeuralNetRegressor
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> net = NeuralNetRegressor(attribution="viann", random_state=0).fit(X, y)
    >>> net.feature_importances_.shape
    (10,)
    """

    def __init__(self, *, per: str = "epoch", include_initial: bool = True) -> None:
        self.per = per
        self.include_initial = include_initial

    def watcher(self) -> Watcher:
        """A `VarianceImportance` of the same parameters."""
        from ..training._variance import VarianceImportance

        return VarianceImportance(per=self.per, include_initial=self.include_initial)

    def watched(self, watcher: Any) -> NDArray:
        """The scores before they are normalised."""
        return watcher.raw_scores


class _Figure(_Watched):
    """Base: a figure of all weights on a column, summed."""

    #: Method of `WeightFigures`.
    figure: str

    def __init__(self, *, per: str = "epoch") -> None:
        self.per = per

    def watcher(self) -> Watcher:
        """A `WeightFigures` of the same parameters."""
        from ..training._weight_figures import WeightFigures

        return WeightFigures(per=self.per)

    def watched(self, watcher: Any) -> NDArray:
        """The figure of each column."""
        return getattr(watcher, self.figure)()


_PARAMETERS = """
    Parameters
    ----------
    per : {"epoch", "step"}, default="epoch"
        When a sample of the weights is taken; the initial weights are one.

    Raises
    ------
    UnsupportedModelError
        When the estimator was not fitted with this strategy, or no layer has weights on single columns.

    Warns
    -----
    UserWarning
        At ``fit``, when the columns that reach the first layer are on different scales.

    See Also
    --------
    VIANN : the variance, times the final size; which weights are meant, and what holds for all of these.
    skexplain.training.WeightHistory : the samples themselves, and pictures of them.
"""

#: What holds for all of these figures, behind what is said of each.
_NOTES = """
    Axioms: none of those of a function's attributions, not even dummy; see `VIANN`. Cost: a pass over the first layer's
    weights each epoch or step, no prediction.

    References
    ----------
    C. R. de Sá, "Variance-based feature importance in neural networks", Discovery Science 2019, for the idea to watch
    the weights of the first layer; this figure of them is not from there.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skexplain.torch import NeuralNetRegressor
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> net = NeuralNetRegressor(attribution="<name>", random_state=0).fit(X, y)
    >>> net.feature_importances_.shape
    (10,)
    """


class WeightStd(_Figure):
    __doc__ = f"""Sum over a column's weights of their standard deviation during training.

    How much the weights moved about; choose it beside `VIANN`, which also asks how large they are at the end.
{_PARAMETERS}
    Notes
    -----
    ``s_i = sum_h sd_t(w_ih)``, the deviation over the samples (divided by their number). Biased by units and by noise
    in the steps, as `VIANN` is: a weight that swings about its final value scores like one that went there from afar.
{_NOTES.replace("<name>", "weight_std")}"""

    figure = "std"


class WeightRange(_Figure):
    __doc__ = f"""Sum over a column's weights of their largest less their smallest value during training.

    How far the weights ever got; a single wild step counts in full.
{_PARAMETERS}
    Notes
    -----
    ``s_i = sum_h (max_t w_ih - min_t w_ih)``. Biased by units, as `VIANN` is, and by outliers: two samples count.
{_NOTES.replace("<name>", "weight_range")}"""

    figure = "range"


class WeightMeanAbs(_Figure):
    __doc__ = f"""Sum over a column's weights of their mean size during training.

    How large the weights were all along. The initial weights, which know nothing of the data, count like any other
    sample, so the sizes of unused columns are not 0.
{_PARAMETERS}
    Notes
    -----
    ``s_i = sum_h mean_t |w_ih|``. Biased by units, as `VIANN` is, and towards what the weights were before training.
{_NOTES.replace("<name>", "weight_mean_abs")}"""

    figure = "mean_abs"


class WeightPathLength(_Figure):
    __doc__ = f"""Sum over a column's weights of the length of their way during training.

    All changes count, there and back again. Noise in the steps lengthens the way of every column, used or not, so
    large batches and small steps tell more.
{_PARAMETERS}
    Notes
    -----
    ``s_i = sum_h sum_t |w_ih(t + 1) - w_ih(t)|`` over successive samples: from step to step the ways are longer
    than from epoch to epoch. Biased by units, as `VIANN` is, and by noise in the steps, which only ever adds.
{_NOTES.replace("<name>", "weight_path_length")}"""

    figure = "path_length"
