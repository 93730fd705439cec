"""
Permutation importance and partial dependence
=============================================

scikit-learn's inspection tools take the network as they take a forest.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes
from sklearn.inspection import PartialDependenceDisplay, permutation_importance
from sklearn.model_selection import train_test_split

from skexplain.torch import NeuralNetRegressor

X, y = load_diabetes(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
net = NeuralNetRegressor(random_state=0).fit(X_train, y_train)
print(f"R² on held-out rows: {net.score(X_test, y_test):.3f}")

measured = permutation_importance(net, X_test, y_test, n_repeats=5, random_state=0)
for j in measured.importances_mean.argsort()[:-4:-1]:
    print(f"{X.columns[j]:4} permutation {measured.importances_mean[j]:.3f}, own {net.feature_importances_[j]:.3f}")

# %%
# The same question, asked by the library: the shuffled columns share all of the network but the first layer.
net.importances(X_test, y_test, attribution="permutation").plot.bar()

# %%
# How the prediction moves with the two columns on top.
figure, axes = plt.subplots(1, 2, figsize=(8, 3.5), layout="constrained")
PartialDependenceDisplay.from_estimator(net, X_train, ["bmi", "s5"], ax=axes)
for ax in figure.axes:
    ax.locator_params(axis="x", nbins=5)
