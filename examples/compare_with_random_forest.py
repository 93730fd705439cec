"""
A network beside a random forest
================================

The same folds, rows and shuffles for a Keras network, a PyTorch network and a random forest. Own importances answer a
different question for each kind of model, so one permutation importance is measured alike for all.
"""

from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier

import skexplain
from skexplain.keras import KerasClassifier
from skexplain.torch import NeuralNetClassifier

X, y = load_wine(return_X_y=True, as_frame=True)
models = {
    "keras": KerasClassifier(epochs=20),
    "torch": NeuralNetClassifier(max_epochs=20),
    "forest": RandomForestClassifier(),
}
result = skexplain.compare(models, X, y, cv=3, n_repeats=3, random_state=0)
print(result)

# %%
# The table says how much the models agree; the picture says about what.
result.plot()

# %%
# Every number, one a line.
print(result.to_frame().head(6))
