"""The default network, the same in both frameworks, when no module or model is given."""

from __future__ import annotations

HIDDEN = (64, 64)
ACTIVATION = "relu"
DROPOUT = 0.0
#: Stretches of a column's range in its piecewise-linear encoding; the bound of their numbers, and what standardised
#: values are multiplied by: pieces as large as values would drown what is linear.
BINS, PIECE, VALUE = 8, 0.25, 2.0
#: Sparsities that are tried, each from the best weights of the one before.
SPARSITIES = (2.0, 1.0, 0.5)
#: Epochs without a better held-out loss at the sparsities after the first, which begin with weights that are good.
PATIENCE_AFTER = 5
#: Standard deviation of the vectors of codes to begin with; standardised numbers have 1.
EMBEDDING_STD = 0.1

#: Adam's step.
LEARNING_RATE = 3e-3
BATCH_SIZE = 64
MAX_EPOCHS = 200
#: Epochs without a better held-out loss before training stops.
PATIENCE = 15
#: Share of the rows held out to decide when to stop, and the fewest rows for which this is done.
HELD_OUT = 0.1
HELD_OUT_FROM = 100
