"""
VIANN beside a random forest
============================

Shares of the columns by how much their weights moved while a network trained, beside those by a forest's splits, over
five seeds. ``python examples/compare_viann_random_forest.py --out picture.png`` also saves the picture.
"""

import argparse
import importlib.util
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from skexplain.torch import NeuralNetClassifier

parser = argparse.ArgumentParser(description="VIANN's shares of the columns of iris beside a random forest's.")
parser.add_argument("--out", type=Path, help="file of the picture")
options = parser.parse_args()

X, y = load_iris(return_X_y=True, as_frame=True)
models = {"forest": RandomForestClassifier(100), "VIANN, torch": NeuralNetClassifier(attribution="viann")}
if importlib.util.find_spec("keras"):
    from skexplain.keras import KerasClassifier

    models["VIANN, Keras"] = KerasClassifier(attribution="viann")
shares = {
    name: np.array([model.set_params(random_state=seed).fit(X, y).feature_importances_ for seed in range(5)])
    for name, model in models.items()
}

print(f"{'':<20}" + "".join(f"{name:>16}" for name in shares))
for j, column in enumerate(X.columns):
    print(f"{column:<20}" + "".join(f"{v[:, j].mean():9.3f} ± {v[:, j].std(ddof=1):.2f}" for v in shares.values()))

# %%
# A single network's shares scatter: their correlation with the forest's is a matter of the seed, too, and the ranks of
# four columns change a lot when two swap places.
forest = shares["forest"].mean(axis=0)
for name in [name for name in shares if name != "forest"]:
    pearson = [np.corrcoef(values, forest)[0, 1] for values in shares[name]]
    ranks = [spearmanr(values, forest).statistic for values in shares[name]]
    for kind, found in (("Pearson", pearson), ("Spearman", ranks)):
        print(f"{name} and forest: {kind} {np.mean(found):.2f}, from {min(found):.2f} to {max(found):.2f}")

# %%
# Means, with standard deviations over the seeds.
figure, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
height, colours = 0.8 / len(shares), ("#767676", "#0072B2", "#E69F00")
for k, (name, v) in enumerate(shares.items()):
    places = np.arange(X.shape[1]) + k * height
    ax.barh(places, v.mean(axis=0), height, xerr=v.std(axis=0, ddof=1), label=name, color=colours[k], capsize=2)
ax.set_yticks(np.arange(X.shape[1]) + 0.4 - height / 2, X.columns)
ax.invert_yaxis()
ax.set_xlabel("share")
ax.legend(frameon=False)
if options.out:
    figure.savefig(options.out, dpi=150)
