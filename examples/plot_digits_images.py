"""
Pixels of digits: a small convolutional network beside a forest
===============================================================

An estimator with ``input_shape=`` reads flat rows as pictures, and is a table of pixels to scikit-learn. So the same
rows go to a network and to a forest, and both have an importance for each pixel.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectFromModel
from sklearn.model_selection import train_test_split
from torch import nn

from skexplain.attributions import GradCAM, Occlusion
from skexplain.plotting import images
from skexplain.torch import NeuralNetClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(4),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


net = NeuralNetClassifier(
    cnn, input_shape=(1, 8, 8), optimizer=torch.optim.Adam, lr=0.01, max_epochs=20, importance_rows=200, random_state=0
).fit(X_train, y_train)
forest = RandomForestClassifier(200, random_state=0).fit(X_train, y_train)
models = {"network": net, "forest": forest}
for name, model in models.items():
    print(f"{name:8} accuracy {model.score(X_test, y_test):.3f} with all 64 pixels")

# %%
# Where the digits differ, by the expected gradients of the network and by the impurities of the forest.
figure, axes = plt.subplots(1, 2, figsize=(7, 3.3), layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    shown = ax.imshow(model.feature_importances_.reshape(8, 8), cmap="Blues", vmin=0)
    ax.set(title=name, xticks=[], yticks=[])
    figure.colorbar(shown, ax=ax, label="share of the importance")

# %%
# `SelectFromModel` keeps the 20 most useful pixels, of either. The forest is trained again on 20 columns; the network
# on pictures in which the others are 0, as `inverse_transform` gives them back.
kept = {}
for name, model in models.items():
    selector = SelectFromModel(model, max_features=20, threshold=-np.inf, prefit=True)
    few_train, few_test = selector.transform(X_train), selector.transform(X_test)
    if name == "network":
        few_train, few_test = selector.inverse_transform(few_train), selector.inverse_transform(few_test)
    again = clone(model).fit(few_train, y_train)
    kept[name] = selector.get_support()
    print(f"{name:8} accuracy {again.score(few_test, y_test):.3f} with its own 20 pixels")
both = kept["network"] & kept["forest"]
print(f"{both.sum()} pixels are among the 20 of both")

# %%
# Single pictures: where the network looks (Grad-CAM, the map of its last convolution), what it would lose without a
# patch of two by two pixels, and which pixels raise or lower the margin of the predicted digit, compared with other
# pictures. Grad-CAM is coarse and has no sign. Covering a place that is empty anyway changes nothing; compared with
# other pictures, that it is empty speaks for or against a digit too.
strategies = {
    "Grad-CAM": GradCAM(),
    "occlusion, 2 by 2": Occlusion(window=(1, 2, 2), baseline="zero"),
    "expected gradients": "expected_gradients",
}
found = {name: net.explain(X_test[:6], attribution=by, random_state=0) for name, by in strategies.items()}
images(found)
