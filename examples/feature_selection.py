"""
Feature selection
=================

``SelectFromModel``, ``RFE`` and ``RFECV`` read ``feature_importances_``; ``SequentialFeatureSelector`` reads scores.
The width of the network follows the columns that are left.
"""

import numpy as np
from sklearn.feature_selection import RFE, RFECV, SelectFromModel, SequentialFeatureSelector
from sklearn.pipeline import make_pipeline

from skexplain.torch import NeuralNetClassifier

rng = np.random.default_rng(0)
X = rng.normal(size=(300, 8))
y = X[:, 0] + X[:, 1] - X[:, 2] + rng.normal(0, 0.3, 300) > 0
net = NeuralNetClassifier(module__hidden=(16,), max_epochs=20, random_state=0)

selectors = {
    "SelectFromModel": SelectFromModel(net),
    "RFE": RFE(net, n_features_to_select=3),
    "RFECV": RFECV(net, cv=2, min_features_to_select=2),
    "SequentialFeatureSelector": SequentialFeatureSelector(net, n_features_to_select=2, cv=2),
}
for name, selector in selectors.items():
    kept = selector.fit(X, y).get_support(indices=True)
    print(f"{name:27} keeps columns {kept.tolist()}; 0, 1 and 2 carry the signal")

# %%
# A selector in front of a second network, which sizes itself.
pipe = make_pipeline(SelectFromModel(net), NeuralNetClassifier(random_state=0)).fit(X, y)
print(
    f"columns of the second network: {pipe[-1].n_features_in_}, accuracy on the rows trained on: {pipe.score(X, y):.3f}"
)
