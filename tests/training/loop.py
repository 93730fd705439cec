"""A network that is nothing but an array of weights, and a loop that sets them."""

import numpy as np

from skexplain.training._input_weights import InputWeights, Kernel


class Weights:
    """Weights ``(n_columns, n_units)`` that a test changes; stands for a model."""

    __module__ = "torch.fake"  # what `frameworks` looks at

    def __init__(self, values):
        self.values = np.array(values)

    def input_weights(self, spread=None):
        n = len(self.values)
        each = np.arange(n)
        kernel = Kernel(lambda: self.values, self.values.shape, 0, each, each)
        return InputWeights((kernel,), n, lambda X: X.std(axis=0) if spread is None else spread)


def train(watcher, samples, per_epoch=1, model=None):
    """Let a watcher see a sequence of weights, the first of which are the initial ones."""
    model = Weights(samples[0]) if model is None else model
    model.values = np.array(samples[0])
    watcher.on_train_begin(model)
    for k, values in enumerate(samples[1:], start=1):
        model.values = np.array(values)
        watcher.on_batch_end()
        if k % per_epoch == 0:
            watcher.on_epoch_end()
    watcher.on_train_end()
    return watcher
