"""What comes before the first result: the import, and the first look at feature_importances_."""

from __future__ import annotations

import subprocess
import sys

from ._case import Case, Setting


def first_feature_importances(setting: Setting) -> Case:
    """first feature_importances_ beside its own fit, 5000 x 30, default network, 10 epochs

    The peer is our own fit, so the faster that is, the harder this is to reach: the same importances take about a
    tenth of what plain skorch takes for these epochs.
    """
    from skexplain.torch import NeuralNetClassifier

    from ._problems import data

    X, y = data(setting.size(5000))
    net = NeuralNetClassifier(max_epochs=10, random_state=0, device=setting.device).fit(X, y)
    repeated = net.feature_importances_
    gap = float(abs(net.fit(X, y).feature_importances_ - repeated).max())
    # each fit forgets the importances of the one before
    return Case(
        "skexplain",
        lambda: net.fit(X, y),
        lambda: net.feature_importances_,
        10,
        (0.0, gap),
        "between two fits of one seed",
        1e-12,
    )


def import_skexplain(setting: Setting) -> Case:
    """import skexplain beside import sklearn, each in a process of its own"""

    def imports(name: str) -> None:
        subprocess.run([sys.executable, "-c", f"import {name}"], check=True)

    return Case(
        "scikit-learn", lambda: imports("sklearn"), lambda: imports("skexplain"), 1 / 1.15, (0.0, 0.0), "none to make"
    )
