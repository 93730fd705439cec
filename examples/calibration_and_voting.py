"""
Calibration, voting and cross-validation
========================================

Networks inside scikit-learn's ensembles.
"""

from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.model_selection import cross_val_score

from skexplain.torch import NeuralNetClassifier

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
net = NeuralNetClassifier(module__hidden=(16,), max_epochs=30, random_state=0)
forest = RandomForestClassifier(50, random_state=0)

models = {
    "network": net,
    "calibrated network": CalibratedClassifierCV(net, cv=2),
    "network and forest, voting": VotingClassifier([("net", net), ("forest", forest)], voting="soft"),
}
for name, model in models.items():
    loss = -cross_val_score(model, X, y, cv=3, scoring="neg_log_loss", error_score="raise")
    print(f"{name:27} log-loss {loss.mean():.3f} ± {loss.std():.3f}")
