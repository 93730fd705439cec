"""
Selecting columns: what is found, and how much of it is wrong
=============================================================

In each of ten blocks of five correlated columns two matter. Their neighbours have importance, too: importances alone do
not say which is which. Conditional p-values and knockoffs do, with a false discovery rate of at most 10 %.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LassoCV

from skexplain.datasets import make_correlated_blocks
from skexplain.selection import FDRSelector, ProbeSelector
from skexplain.torch import NeuralNetRegressor

rows = make_correlated_blocks(random_state=0)
X, y = rows.data, rows.target
forest = RandomForestRegressor(50, max_features=1 / 3, min_samples_leaf=3, random_state=0)
selectors = {
    "forest above its mean": SelectFromModel(forest),
    "forest above probes": ProbeSelector(forest, n_rounds=1, random_state=0),
    "L1 with knockoffs, q = 0.1": FDRSelector(LassoCV(), method="knockoffs", random_state=0),
    "network with p-values, q = 0.1": FDRSelector(NeuralNetRegressor(random_state=0), random_state=0),
}
for name, selector in selectors.items():
    found = selector.fit(X, y).get_support()
    print(f"{name}: {(found & rows.important).sum()} of 20 found, {(found & ~rows.important).sum()} in error")

# %%
# Each column by its block: what matters is filled, what is selected has a ring.
figure, axes = plt.subplots(1, len(selectors), figsize=(11, 4.5), sharey=True, layout="constrained")
column, block = np.meshgrid(np.arange(5), np.arange(10))
for ax, (name, selector) in zip(axes, selectors.items(), strict=True):
    found = selector.get_support()
    wrong = found & ~rows.important
    ax.scatter(column, block, s=60, c=np.where(rows.important, "tab:blue", "0.85"))
    for mask, colour in ((found & rows.important, "tab:blue"), (wrong, "tab:red")):
        ax.scatter(
            column.ravel()[mask], block.ravel()[mask], s=170, facecolors="none", edgecolors=colour, linewidths=1.5
        )
    ax.set(title=name.replace(", ", "\n").replace(" above", "\nabove"), xlabel="column of the block", xticks=range(5))
axes[0].set(ylabel="block", yticks=range(10))
figure.suptitle("Filled: matters. Ring: selected; red: in error.")
