"""MetricThreshold: stop when a metric is good enough."""

from __future__ import annotations

import operator
from collections.abc import Callable
from numbers import Integral, Real

from sklearn.utils.validation import check_scalar

from ._watcher import Watcher

#: Names of Keras' logs and of skorch's history for the same numbers.
NAMES = {"loss": "train_loss", "val_loss": "valid_loss", "accuracy": "train_acc", "val_accuracy": "valid_acc"}
#: Parts of the names of metrics that are better the lower they are.
LOWER = "loss error mse mae mape msle entropy deviance divergence hinge poisson huber cosh false".split()
#: Beginnings of names of scikit-learn's scorers that turn such numbers round.
NEGATED = ("neg_", "d2_")


class MetricThreshold(Watcher):
    """Stop training when a metric reaches a threshold, after some epochs at least.

    Choose it to give networks the same quality rather than the same time, as VIANN's paper does; `EarlyStopping` of
    Keras or skorch stops when nothing gets better. In skorch list it last: callbacks after one that stops do not see
    the last epoch. For ``callbacks=`` of Keras, skorch and this library's estimators.
    In a loop of your own call ``on_train_begin(model)`` and ``on_epoch_end(logs={"val_accuracy": ...})``, and read
    ``stop_training``.

    Parameters
    ----------
    monitor : str, default="val_accuracy"
        Name in Keras' logs or in skorch's history; "loss", "val_loss", "accuracy" and "val_accuracy" stand for skorch's
        names too.
    threshold : float, default=0.95
    min_epochs : int, default=5
        Epochs of this training that are run in any case.
    mode : {"auto", "max", "min"}, default="auto"
        Whether the metric rises or falls to the threshold. "auto": losses and errors fall, unless they
        are turned round, as in scikit-learn's ``neg_...`` and ``d2_...``.

    Attributes
    ----------
    stopped_epoch : int or None
        Number of epochs after which training was stopped; None if the threshold was not reached.

    Raises
    ------
    ValueError
        When there is no such metric, after ``min_epochs``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skexplain.torch import NeuralNetClassifier
    >>> from skexplain.training import MetricThreshold
    >>> X, y = load_iris(return_X_y=True)
    >>> stop = MetricThreshold(monitor="val_accuracy", threshold=0.9)
    >>> net = NeuralNetClassifier(callbacks=[stop], random_state=0).fit(X, y)
    >>> stop.stopped_epoch == net.n_iter_ < 100
    True
    """

    stopped_epoch: int | None = None

    def __init__(
        self, monitor: str = "val_accuracy", threshold: float = 0.95, min_epochs: int = 5, mode: str = "auto"
    ) -> None:
        self.monitor = monitor
        self.threshold = threshold
        self.min_epochs = min_epochs
        self.mode = mode

    def _begin(self) -> None:
        check_scalar(self.threshold, "threshold", Real)
        check_scalar(self.min_epochs, "min_epochs", Integral, min_val=0)
        if self.mode not in ("auto", "max", "min"):
            raise ValueError(f"mode={self.mode!r} must be 'auto', 'max' or 'min'.")
        self.stopped_epoch, self.stop_training, self._n_epochs, self._was_seen = None, False, 0, False

    def _epoch(self, logs: dict[str, float]) -> None:
        self._n_epochs += 1
        value = next((logs[name] for name in (self.monitor, NAMES.get(self.monitor)) if name in logs), None)
        self._was_seen |= value is not None
        if self._n_epochs < self.min_epochs or (value is None and self._was_seen):
            return  # validation may not be due in every epoch
        if value is None:
            numbers = sorted(name for name in logs if not name.endswith(("_best", "_count")) and name not in TIMES)
            raise ValueError(
                f"monitor={self.monitor!r} is not among the metrics of this training: {numbers}. Choose one of them, "
                "or add the metric (Keras: metrics=['accuracy']; skorch: an EpochScoring callback before this one), or "
                "hold rows out (Keras: validation_split=; skorch: train_split=)."
            )
        if self._reaches(value, self.threshold):
            self.stopped_epoch = self._n_epochs
            self._stop()

    @property
    def _reaches(self) -> Callable[[float, float], bool]:
        name = self.monitor.lower()
        falls = any(part in name for part in LOWER) and not any(part in name for part in NEGATED)
        lower = self.mode == "min" or (self.mode == "auto" and falls)
        return operator.le if lower else operator.ge


#: Numbers of skorch's history that measure nothing of the network.
TIMES = {"epoch", "dur"}
