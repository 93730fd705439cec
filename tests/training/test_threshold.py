"""Stop when a metric is good enough."""

import numpy as np
import pytest

from skexplain.training import MetricThreshold

from .loop import Weights


def run(values, name="val_accuracy", **params):
    stop = MetricThreshold(**params)
    stop.on_train_begin(Weights(np.zeros((1, 1))))
    for k, value in enumerate(values, start=1):
        stop.on_epoch_end(k - 1, {name: value})
        if stop.stop_training:
            return k, stop.stopped_epoch
    return None, stop.stopped_epoch


def test_stops_when_the_metric_is_reached():
    assert run([0.5, 0.9, 0.94, 0.95, 0.99], min_epochs=0) == (4, 4)


def test_not_before_the_first_epochs_are_over():
    assert run([1.0] * 9) == (5, 5)
    assert run([1.0] * 9, min_epochs=7) == (7, 7)


def test_never():
    assert run([0.5] * 9) == (None, None)


def test_losses_fall():
    assert run([3, 2, 1, 0.4], "val_loss", monitor="val_loss", threshold=0.5, min_epochs=1) == (4, 4)
    assert run([3, 2, 1], "gain", monitor="gain", threshold=2, min_epochs=1, mode="min") == (2, 2)


def test_negated_losses_rise():
    assert run([-3, -1, -0.4], "neg_log_loss", monitor="neg_log_loss", threshold=-0.5, min_epochs=1) == (3, 3)
    assert run([-3, -1, 0.9], "d2_log_loss_score", monitor="d2_log_loss_score", threshold=0.5, min_epochs=1) == (3, 3)
    for name in ("poisson", "log_cosh", "huber", "false_positives"):
        assert run([3, 1, 0.4], name, monitor=name, threshold=0.5, min_epochs=1) == (3, 3)


def test_validation_is_not_due_in_every_epoch():
    stop = MetricThreshold("val_loss", threshold=0.5, min_epochs=2)
    stop.on_train_begin(Weights(np.zeros((1, 1))))
    for epoch, logs in enumerate([{"loss": 1}, {"loss": 1, "val_loss": 1}, {"loss": 1}, {"val_loss": 0.4}]):
        assert not stop.stop_training
        stop.on_epoch_end(epoch, logs)
    assert stop.stopped_epoch == 4


def test_by_hand():
    stop = MetricThreshold(min_epochs=1)
    stop.on_train_begin(Weights(np.zeros((1, 1))))
    stop.on_epoch_end({"val_accuracy": 0.99})
    assert stop.stop_training


def test_skorchs_names():
    assert run([0.99] * 9, "valid_acc") == (5, 5)
    assert run([0.1] * 9, "train_loss", monitor="loss", threshold=1) == (5, 5)


def test_bad_input():
    with pytest.raises(
        ValueError, match=r"monitor='val_accuracy' is not among the metrics of this training: \['loss'\]"
    ):
        run([1.0], "loss", min_epochs=1)
    with pytest.raises(ValueError, match="mode='up' must be"):
        run([1.0], mode="up")
    with pytest.raises(ValueError, match="min_epochs == -1, must be >= 0"):
        run([1.0], min_epochs=-1)
    with pytest.raises(TypeError, match="threshold must be an instance of"):
        run([1.0], threshold="high")


def test_serves_again():
    stop = MetricThreshold(min_epochs=1)
    for _ in range(2):
        stop.on_train_begin(Weights(np.zeros((1, 1))))
        assert not stop.stop_training
        stop.on_epoch_end(0, {"val_accuracy": 1.0})
        assert stop.stop_training
