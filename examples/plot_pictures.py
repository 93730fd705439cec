"""
Every picture
=============

A network on the breast cancer data, seen in every way there is. Each function takes ``ax=`` to draw into a figure of
your own, and ``path=`` to write a file, and returns matplotlib's object; nothing calls ``plt.show()``.
"""

import matplotlib.pyplot as plt
import numpy as np
import shap
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

import skexplain
from skexplain import plotting
from skexplain.torch import NeuralNetClassifier

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
y = y.map({0: "malignant", 1: "benign"})
X["random"] = np.random.default_rng(0).normal(size=len(X))
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
net = NeuralNetClassifier(random_state=0).fit(X_train, y_train)

# %%
# The whole network
# -----------------
# Importances with standard errors. A column of random numbers was added before the training: what it got, a column gets
# for nothing, and what does not pass the dotted line is not shown to matter.
importances = net.importances(X_test)
importances.plot.bar(probe="random")

# %%
# One dot for each row and column: how far it moves the output, which way, and for which values of the column.
explanation = net.explain(X_test, target="malignant", random_state=0)
explanation.plot.beeswarm(max_display=12)

# %%
# What the network does with one column: attribution against value, coloured by another column.
explanation.plot.dependence("worst texture", color_by="worst area")

# %%
# The same question asked of the predictions, through scikit-learn: the mean, and thin lines for single rows.
plotting.partial_dependence(net, X_test, ["worst texture", "worst area", "worst smoothness"])

# %%
# One prediction
# --------------
# From the mean of typical rows to the prediction, column by column.
explanation.plot.row(3)

# %%
# The same as a strip: what raises the output meets what lowers it at the prediction.
explanation.plot.force(3)

# %%
# Models, and strategies
# ----------------------
# A network and a forest under one protocol: bars with errors, and ranks. Lines that cross are columns on whose order
# the models do not agree.
models = {"network": NeuralNetClassifier(max_epochs=30), "forest": RandomForestClassifier(50)}
compared = skexplain.compare(models, X_train, y_train, cv=3, n_repeats=2, random_state=0)
compared.plot(max_display=10)

# %%
plotting.slope(compared)

# %%
# Strategies on one network: how far they agree on the order of the columns, and where they disagree beyond their noise.
chosen = ["expected_gradients", "deepshap", "saliency", "input_x_gradient", "ablation", "permutation"]
methods = skexplain.compare_methods(net, X_test, y_test, methods=chosen, random_state=0)
methods.plot.agreement()

# %%
methods.plot.shares(max_display=10)

# %%
# All of shap's
# -------------
# ``to_shap()`` opens the plots of shap to every strategy of this library.
plt.figure()
shap.plots.heatmap(explanation.to_shap(), max_display=8, show=False)
plt.gcf().set_size_inches(8, 4)
