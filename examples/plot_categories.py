"""
Categories, embeddings and what they are worth
==============================================

A network in the manner of fastai's tabular learner: embeddings of the categorical columns, batch normalisation of the
numbers. Which columns does it need? Permutation importance by the loss answers, with correlated columns as one; partial
dependence says in which direction.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.inspection import PartialDependenceDisplay
from sklearn.model_selection import train_test_split

from skexplain.torch import NeuralNetRegressor

rng = np.random.default_rng(0)
n = 2000
X = pd.DataFrame(
    {
        "brand": rng.choice(["Anker", "Bolt", "Corvo", "Dart", "Elan"], n, p=[0.4, 0.3, 0.15, 0.1, 0.05]),
        "fuel": pd.Categorical(rng.choice(["petrol", "diesel", "electric"], n)),
        "colour": rng.choice(["black", "white", "red", "blue", "grey", "green"], n),
        "age": rng.uniform(0, 15, n),
        "mileage": 0.0,
        "doors": rng.integers(2, 6, n),
    }
)
X["mileage"] = 15 * X["age"] + rng.normal(0, 12, n)  # thousands of kilometres: goes with the age
worth = X["brand"].map({"Anker": 0.0, "Bolt": 2.0, "Corvo": 5.0, "Dart": 12.0, "Elan": 20.0})
price = 25 + worth + 4 * (X["fuel"] == "electric") - 0.9 * X["age"] - 0.03 * X["mileage"] + rng.normal(0, 1, n)

# %%
# The network takes codes and numbers apart, under fastai's names; their sizes come from the data.


class Tabular(torch.nn.Module):
    def __init__(self, emb_szs, n_cont, out_sz):
        super().__init__()
        self.tables = torch.nn.ModuleList([torch.nn.Embedding(n, width) for n, width in emb_szs])
        self.norm = torch.nn.BatchNorm1d(n_cont)
        width = sum(width for _, width in emb_szs) + n_cont
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(width, 64), torch.nn.ReLU(), torch.nn.BatchNorm1d(64), torch.nn.Linear(64, out_sz)
        )

    def forward(self, x_cat, x_cont):
        vectors = [table(x_cat[:, j]) for j, table in enumerate(self.tables)]
        return self.layers(torch.cat([*vectors, self.norm(x_cont)], 1))


X_train, X_test, y_train, y_test = train_test_split(X, price, random_state=0)
net = NeuralNetRegressor(
    Tabular, categorical="auto", optimizer=torch.optim.Adam, lr=0.01, max_epochs=40, random_state=0
).fit(X_train, y_train)
print(f"R² on held-out rows: {net.score(X_test, y_test):.3f}")

# %%
# By how much the squared error rises on held-out rows when a column is shuffled. Age and mileage say nearly the same:
# shuffled one at a time, each is covered by the other, so they are shuffled together as well.
fig, axes = plt.subplots(1, 2, figsize=(11, 3.5), layout="constrained")
net.importances(X_test, y_test, attribution="permutation").plot.bar(ax=axes[0])
together = net.importances(X_test, y_test, attribution="permutation", groups={"age and mileage": ["age", "mileage"]})
together.plot.bar(ax=axes[1])
axes[0].set_title("columns one at a time", loc="left")
axes[1].set_title("age and mileage as one", loc="left")

# %%
# What the network makes of levels and numbers, by scikit-learn's own display.
fig, axes = plt.subplots(1, 3, figsize=(12, 3.5), layout="constrained")
PartialDependenceDisplay.from_estimator(
    net, X_test, ["brand", "fuel", "age"], categorical_features=["brand", "fuel", "colour"], ax=axes
)
for ax in axes[:2]:
    ax.tick_params(axis="x", labelrotation=30)

# %%
# One car: gradients are taken at the vectors of its codes, and summed for the column.
net.explain(X_test[:1]).plot.row(0)
plt.show()
