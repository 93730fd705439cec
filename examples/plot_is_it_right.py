"""
Is it right? Data whose truth is known
======================================

A target that is a sum of products: no column tells anything alone, so whoever finds the columns must have asked the
network. Each measure stands beside a random order and an answer that asks no model.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import RandomForestRegressor

import skexplain
from skexplain.datasets import make_interactions
from skexplain.metrics import deletion, insertion, recovery
from skexplain.plotting import curves
from skexplain.torch import NeuralNetRegressor

data = make_interactions(2000, 20, random_state=0)
X, y, X_test, y_test = data.data[:1500], data.target[:1500], data.data[1500:], data.target[1500:]
net = NeuralNetRegressor(random_state=0).fit(X, y)
forest = RandomForestRegressor(200, min_samples_leaf=5, random_state=0, n_jobs=2).fit(X, y)

for name, model in {"network": net, "forest": forest}.items():
    found = recovery(model.feature_importances_, data.important, X=X, y=y)
    print(f"{name}: R² on held-out rows {model.score(X_test, y_test):.2f}\n{found}\n")

# %%
# The values of single rows, beside exact Shapley values.
strategies = ["expected_gradients", "deepshap", "input_x_gradient"]
of = {s: skexplain.explain(net, X_test[:200], attribution=s, random_state=0) for s in strategies}
for name, explanation in of.items():
    r = np.corrcoef(explanation.values[:, :4].ravel(), data.shapley_values[1500:1700, :4].ravel())[0, 1]
    print(f"{name}: correlation with the truth {r:.2f}")

# %%
# What the output loses when each row's columns are taken away, the highest value first, and what comes back when they
# are given back.
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for ax, measure in zip(axes, (deletion, insertion), strict=True):
    curves([measure(net, e, n_steps=20) for e in of.values()], names=strategies, ax=ax)

# %%
# Five questions with known answers.
print(skexplain.sanity_check(net, X, y, n_repeats=1))
