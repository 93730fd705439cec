"""
A report in one file
====================

Everything about a network on one page that opens in any browser, offline, and prints: what to be careful with, scores,
importances with intervals, how far strategies agree, a random forest beside it, and single predictions to step through.
"""

import sys

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import skexplain
from skexplain.torch import NeuralNetClassifier
from skexplain.training import ImportanceHistory

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
y = y.map({0: "malignant", 1: "benign"})
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

# %%
# A callback records the importances while the network trains; the report shows it.
history = ImportanceHistory("expected_gradients", every=2, max_cost=None)
net = NeuralNetClassifier(callbacks=[history], random_state=0).fit(X_train, y_train)

# %%
# On rows that the network has not seen; the forest beside it learns from the rows that the network learned from.
path = sys.argv[1] if __name__ == "__main__" and len(sys.argv) == 2 else "report.html"
training = X_train, y_train
page = skexplain.report({"network": net}, X_test, y_test, training=training, path=path, title="Breast cancer")
print("Written:", page)
