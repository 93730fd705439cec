"""Light imports, independent halves, and one room for each framework."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skexplain

SOURCE = Path(skexplain.__file__).parent
HEAVY = {"torch", "skorch", "tensorflow", "keras", "shap", "matplotlib", "pandas", "captum", "scikeras"}
ALLOWED = {"torch": {"torch", "skorch"}, "keras": {"keras", "tensorflow", "torch"}, "plotting": {"matplotlib", "shap"}}


def run(code):
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_light():
    assert run(f"import skexplain, sys; print(sorted({HEAVY} & set(sys.modules)))").strip() == "[]"


def test_rooms_do_not_pull_their_framework():
    heavy = HEAVY - {"pandas"}  # which scikit-learn loads where it is installed
    code = f"import skexplain.torch, skexplain.keras, skexplain.attributions, sys; print({heavy} & set(sys.modules))"
    assert run(code).strip() == "set()"


HIDE = """
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in {hidden!r} else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


@pytest.mark.parametrize(
    ("hidden", "room", "name", "extra"),
    [
        ({"torch"}, "torch", "NeuralNetClassifier", "torch"),
        ({"skorch"}, "torch", "NeuralNetRegressor", "torch"),
        ({"keras", "tensorflow"}, "keras", "KerasClassifier", "keras"),
    ],
)
def test_missing_framework_is_named(hidden, room, name, extra):
    code = HIDE.format(hidden=hidden) + (
        f"import skexplain\nimport skexplain.{room} as room\n"
        f"try:\n    room.{name}\nexcept ImportError as exc:\n    print(exc)\n"
    )
    assert f"pip install 'skexplain[{extra}]'" in run(code)


FIT = """
import numpy as np
import skexplain
X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
y = (X[:, 0] > 0).astype(int)
clf = {make}.fit(X, y)
assert clf.feature_importances_.argmax() == 0, clf.feature_importances_
assert clf.explain(X[:3]).shape == (3, 3)
print("ok")
"""


def test_torch_half_without_keras():
    hidden = {"keras", "tensorflow", "scikeras", "shap", "matplotlib", "pandas"}
    make = "skexplain.torch.NeuralNetClassifier(max_epochs=30, random_state=0)"
    assert run(HIDE.format(hidden=hidden) + FIT.format(make=make)).strip() == "ok"


def test_keras_half_without_torch():
    hidden = {"torch", "skorch", "scikeras", "shap", "matplotlib", "pandas"}
    code = "import os; os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'; os.environ['KERAS_BACKEND'] = 'tensorflow'\n"
    make = "skexplain.keras.KerasClassifier(epochs=30, random_state=0)"
    done = subprocess.run(
        [sys.executable, "-c", code + HIDE.format(hidden=hidden) + FIT.format(make=make)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "ok"


def test_scikit_learn_alone_is_enough():
    code = HIDE.format(hidden=HEAVY) + (
        "import skexplain\nfrom sklearn.datasets import load_iris\nfrom sklearn.neural_network import MLPClassifier\n"
        "X, y = load_iris(return_X_y=True)\nnet = MLPClassifier(max_iter=2000, random_state=0).fit(X, y)\n"
        "print(skexplain.importances(net, X).values.shape)"
    )
    assert run(code).strip() == "(4,)"


def test_name_clash_is_named(tmp_path):
    info = tmp_path / "scikit_explain-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: scikit-explain\nVersion: 1.0\n")
    code = f"import sys; sys.path.append({str(tmp_path)!r})\n" + (
        "try:\n    import skexplain\nexcept ImportError as exc:\n    print(exc)"
    )
    assert "pip uninstall scikit-explain" in run(code)


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_frameworks_stay_in_their_rooms(path):
    room = path.relative_to(SOURCE).parts[0]
    frameworks = {"torch", "skorch", "keras", "tensorflow", "jax", "scikeras", "captum", "zennit"}
    found = set(imported(ast.parse(path.read_text()))) & frameworks
    assert found <= ALLOWED.get(room, set())


def test_public_names():
    for name in skexplain.__all__:
        assert getattr(skexplain, name).__doc__
    assert set(skexplain.__all__) <= set(dir(skexplain))
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = skexplain.nope
