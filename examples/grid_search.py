"""
Grid search over network, optimiser and strategy
================================================

Layer widths, learning rate and the attribution's own parameters are parameters like any other.
"""

from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

from skexplain.attributions import IntegratedGradients
from skexplain.torch import NeuralNetClassifier

X, y = load_iris(return_X_y=True, as_frame=True)
net = NeuralNetClassifier(max_epochs=30, attribution=IntegratedGradients(), random_state=0)
grid = {
    "module__hidden": [(8,), (32, 32)],
    "optimizer__lr": [0.003, 0.03],
    "attribution__n_steps": [32],
}
search = GridSearchCV(net, grid, cv=3).fit(X, y)
print("best:", search.best_params_)
print(f"accuracy of the best: {search.best_score_:.3f}")
for name, share in zip(X, search.best_estimator_.feature_importances_, strict=True):
    print(f"{name:20} {share:.3f}")
