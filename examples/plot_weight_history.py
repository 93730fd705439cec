"""
What weights tell while a network trains, and where they mislead
================================================================

Four columns, of which one matters: ``y = ms * xs + cs``, where ``ms`` is always 2 and ``cs`` always 50, and a column of
noise. The weights on the columns are recorded while a network trains, and held against what the trained network uses.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import nn

from skexplain import plotting
from skexplain.torch import NeuralNetRegressor
from skexplain.training import ImportanceHistory, WeightHistory

rng = np.random.default_rng(0)
n = 1000
X = pd.DataFrame({"ms": 2.0, "xs": rng.uniform(0, 100, n), "cs": 50.0, "noise": rng.uniform(0, 100, n)})
y = X["ms"] * X["xs"] + X["cs"]

# %%
# Columns as they are
# -------------------
# A network of one's own, on columns that nobody has scaled. Two callbacks look on; what the second costs is no matter
# here.
small = {
    "module": nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1)),
    "optimizer": torch.optim.Adam,
    "lr": 0.01,
    "max_epochs": 60,
    "random_state": 0,
}
weights = WeightHistory()
importances = ImportanceHistory("expected_gradients", max_cost=None)
net = NeuralNetRegressor(callbacks=[weights, importances], **small).fit(X, y)
print(f"R² on the rows trained on: {net.score(X, y):.3f}")

# %%
# Each column has 16 weights, one for each hidden unit. On this page the film stands still at its end;
# ``path="weights.html"`` writes it as a page with a slider, ``path="weights.gif"`` as a GIF, and in a notebook
# ``to_jshtml()`` shows it. The weights of the two constant columns move in step: to the network both columns are
# another bias.
figure, ax = plt.subplots(figsize=(7, 5), layout="constrained")
film = plotting.weight_animation(weights, ax, max_frames=20)
page = film.to_jshtml()

# %%
# How far the weights moved, which is what the strategy ``weight_std`` ranks by. ``xs`` is first; but the constant
# columns, which cannot make one prediction differ from another, come before the noise.
plotting.weight_deviation(weights)

# %%
# The values that the weights took, as boxes: the middle half, its median, and whiskers from 5 to 95 %. All columns lie
# around 0, and the boxes of ``xs`` and ``cs`` are equally wide.
plotting.weight_boxes(weights)

# %%
# The same as curves. Noise has the narrowest, with the highest peak: its weights stayed together, near 0.
plotting.weight_density(weights)

# %%
# The size of each weight, and the mean of each column. For the first twenty epochs ``cs`` has the largest weights,
# though all that it can do is to shift predictions.
plotting.weight_scatter(weights)

# %%
# What the network uses after each epoch, by a strategy that asks the network and not its weights: noise too at first,
# for its initial weights are as large as any, then ``xs`` and nothing else. The constant columns are at 0 all the time.
plotting.importance_history(importances)


# %%
# Held against ``permutation``: the loss that shuffling a column costs.
def table(net, weights, X):
    measured = net.importances(X, y, attribution="permutation", random_state=0)
    scores = {"weight_std": weights.std(), "weight_mean_abs": weights.mean_abs(), "permutation": measured.values}
    return (pd.DataFrame(scores, index=X.columns).transform(lambda score: score / score.sum())).round(2)


print(table(net, weights, X))

# %%
# Other units
# -----------
# The same data, with ``xs`` in hundredths. Its weights need not move as far any more, and it is last. The network
# predicts as well as before, and ``permutation`` is the same. The history warns.
hundredths = X.assign(xs=100 * X["xs"])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    net = NeuralNetRegressor(callbacks=[weights], **small).fit(hundredths, y)
print(caught[0].message)
print(f"R² on the rows trained on: {net.score(hundredths, y):.3f}")
print(table(net, weights, hundredths))

# %%
# Standardised columns
# --------------------
# The default network standardises. Constant columns are 0 behind that, so their weights stay what they were: they
# have not moved, and ``weight_std`` is right about them; but the initial weights are as large as the others, and by
# ``weight_mean_abs`` the constants have half of all importance. And the weights of the noise moved *more* than those of
# ``xs``: noise, too, has to be learned, as something to leave out.
net = NeuralNetRegressor(max_epochs=60, callbacks=[weights], random_state=0).fit(X, y)
print(f"R² on the rows trained on: {net.score(X, y):.3f}")
print(table(net, weights, X))
plotting.weight_deviation(weights)

# %%
# So: weights show how a network trains. What it has learned is better asked of the network.
