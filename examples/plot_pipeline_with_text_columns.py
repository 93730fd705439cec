"""
A pipeline with text columns
============================

A network behind ``StandardScaler`` and ``OneHotEncoder``. Importances come back for the columns that went in: the
indicators of a text column are summed back to it.
"""

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import skexplain
from skexplain.torch import NeuralNetRegressor

rng = np.random.default_rng(0)
n = 600
X = pd.DataFrame(
    {
        "rooms": rng.integers(1, 7, n),
        "age": rng.integers(0, 100, n),
        "district": rng.choice(["north", "south", "harbour", "old town"], n),
        "street number": rng.integers(1, 200, n),
    }
)
rent = 300 * X["rooms"] + X["district"].map({"north": 0, "south": 100, "harbour": 500, "old town": 900}) - 2 * X["age"]
rent += rng.normal(0, 100, n)

prepare = make_column_transformer(
    (StandardScaler(), ["rooms", "age", "street number"]), (OneHotEncoder(sparse_output=False), ["district"])
)
target_scale = rent.std()
pipe = make_pipeline(prepare, NeuralNetRegressor(module__hidden=(32,), random_state=0))
print("R² of three folds:", cross_val_score(pipe, X, rent / target_scale, cv=3).round(3))

# %%
# One importance for each column of the data frame, "district" with its four indicators among them.
pipe.fit(X, rent / target_scale)
importances = skexplain.importances(pipe, X, random_state=0)
print(importances)
importances.plot.bar()

# %%
# Why is the rent of the first flat what it is?
skexplain.explain(pipe, X, random_state=0).plot.row(0)
