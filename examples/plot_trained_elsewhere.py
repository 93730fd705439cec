"""
A network that was trained elsewhere
====================================

"I trained a Sequential model; which columns matter?" is one line. ``from_fitted`` makes an estimator of it, and nothing
is trained.
"""

import keras
from sklearn.datasets import load_breast_cancer
from sklearn.feature_selection import SelectFromModel
from sklearn.preprocessing import StandardScaler

import skexplain

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
Z = StandardScaler().set_output(transform="pandas").fit_transform(X)

keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((30,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(1, "sigmoid")])
model.compile("adam", "binary_crossentropy")
model.fit(Z, y, epochs=15, verbose=0)

# %%
# One line.
importances = skexplain.importances(model, Z, feature_names=list(Z), random_state=0)
importances.plot.bar(max_display=10)

# %%
# One row: what speaks for and against.
skexplain.explain(model, Z, feature_names=list(Z), random_state=0).plot.row(0, max_display=8)

# %%
# As an estimator it goes wherever scikit-learn takes one.
estimator = skexplain.from_fitted(model, Z, y)
print(f"accuracy on the rows trained on: {estimator.score(Z, y):.3f}")
selector = SelectFromModel(estimator, prefit=True, max_features=5)
print("five columns:", list(Z.columns[selector.get_support()]))
