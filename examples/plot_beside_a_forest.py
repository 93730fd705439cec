"""
Columns that matter, among their neighbours
===========================================

Ten blocks of five columns; within a block they are correlated by 0.8, and two of the five matter. A forest splits by
the others nearly as often. The default network encodes each column on its own, behind a gate that it has to earn.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.metrics import roc_auc_score

from skexplain.datasets import make_correlated_blocks
from skexplain.torch import NeuralNetRegressor

data = make_correlated_blocks(1000, 50, signal="linear", random_state=0)
models = {
    "Random forest, impurity": RandomForestRegressor(300, random_state=0, n_jobs=2),
    "skexplain's default network": NeuralNetRegressor(random_state=0),
}
block, within = np.divmod(np.arange(50), 5)

figure, axes = plt.subplots(2, 1, figsize=(9, 4.6), sharex=True, layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    shares = model.fit(data.data, data.target).feature_importances_
    auc = roc_auc_score(data.important, shares)
    colours = np.where(data.important, "#1f77b4", "#d0a060")
    ax.bar(6 * block + within, shares, color=colours)
    ax.set_title(f"{name}: a column that matters is above one that does not in {auc:.0%} of pairs", loc="left")
    ax.set_ylabel("importance (share)")
    ax.spines[["top", "right"]].set_visible(False)
axes[1].set_xticks(6 * np.arange(10) + 2, [f"block {b}" for b in range(10)])
legend = [plt.Rectangle((0, 0), 1, 1, color=c) for c in ("#1f77b4", "#d0a060")]
axes[0].legend(legend, ["matters", "only correlated with columns that do"], frameon=False, ncols=2)

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=110)
