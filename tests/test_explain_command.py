"""skexplain explain: models trained on the way or saved, importances and rows, and one sentence for what is wrong."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPClassifier
from typer.testing import CliRunner

import skexplain
from skexplain import _command, _command_models, _explain_command  # noqa: F401  the last adds its command
from skexplain._saved import imported, read_model
from skexplain._tables import load_dataset
from skexplain.methods import BOUNDED

FOREST = ["--model", "forest"]


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_command, "RandomForestClassifier", lambda: RandomForestClassifier(5, max_depth=4))


def run(*args):
    return CliRunner().invoke(_command.app, ["explain", *map(str, args)])


@pytest.fixture(scope="module")
def iris():
    return load_dataset("iris")


def test_a_forest(tmp_path, iris):
    result = run("iris", *FOREST, "--out", tmp_path / "new")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("forest: accuracy 0.")
    assert "on 38 rows that it was not trained on" in result.stdout
    assert "Importances by Permutation()" in result.stdout
    assert sorted(os.listdir("new")) == ["iris_explained.csv", "iris_explained.png"]
    table = pd.read_csv("new/iris_explained.csv")
    assert set(table["feature"]) == set(iris.X)
    assert table["importance"].sum() == pytest.approx(1)


def test_rows_in_words_and_json(monkeypatch):
    monkeypatch.setitem(_command_models.WITHOUT_GRADIENT, "rows", "ablation")
    args = ["iris", *FOREST, "--row", 3, "--row", 77]
    result = run(*args)
    assert result.exit_code == 0, result.output
    assert "\nRow 3: " in result.stdout
    assert "Nearest training rows" in result.stdout
    found = json.loads(run(*args, "--json").stdout)
    assert list(found) == ["model", "rows", "score", "importances", "attribution", "explained"]
    assert [line["row"] for line in found["explained"]] == [3, 77]
    assert "class 0" in found["explained"][0]["text"]
    assert f"Row 3: {found['explained'][0]['text']}" in result.stdout
    assert len(found["explained"][0]["values"]) == 4
    assert found["importances"][0]["feature"].startswith("petal")


def test_same_seed_same_result():
    a, b, c = (run("wine", *FOREST, "--random-state", seed).stdout for seed in (1, 1, 2))
    assert a == b != c


def test_all_strategies(monkeypatch):
    monkeypatch.setitem(_command.NETWORKS, "torch", (__name__, "Net", "Net"))
    monkeypatch.setitem(BOUNDED, "loco", {"cv": 100})  # too many trainings
    result = run("iris", "--model", "torch", "--attribution", "all")
    assert result.exit_code == 0, result.output
    assert "Consensus" in result.stdout
    assert "Refused" in result.stdout
    assert set(pd.read_csv("iris_explained.csv")["method"]) >= {"deepshap", "permutation"}
    found = json.loads(run("iris", "--model", "torch", "--attribution", "all", "--json").stdout)
    assert found["consensus"][0].startswith("petal")
    assert "gradcam" in found["refused"]


class Net(MLPClassifier):
    """A quick network."""

    def __init__(self, random_state=None):
        super().__init__((4,), solver="lbfgs", max_iter=3000, alpha=1, random_state=random_state)


def test_interrupted_before_anything_is_done(monkeypatch):
    monkeypatch.setattr("skexplain.attributions._ablation.Ablation.attribute_groups", interrupt)
    result = run("iris", *FOREST, "--attribution", "all")
    assert result.exit_code == 130
    assert "nothing was written" in result.stderr
    assert os.listdir() == []


def test_interrupted_after_the_first_strategies(monkeypatch, tmp_path):
    monkeypatch.setattr("skexplain.attributions._permutation.Permutation.importances", interrupt)
    monkeypatch.setitem(BOUNDED, "loco", {"cv": 100})
    monkeypatch.setitem(BOUNDED, "kernel_shap", {"tol": 0.9})
    result = run("iris", *FOREST, "--attribution", "all", "--json")
    assert result.exit_code == 130
    assert "strategies are done" in result.stderr
    found = json.loads(result.stdout)
    assert found["refused"]["sage"] == "It was interrupted, or not begun."
    assert sorted(os.listdir()) == ["iris_explained.csv", "iris_explained.png"]
    assert "ablation" in set(pd.read_csv("iris_explained.csv")["method"])


def interrupt(*args, **kwargs):
    raise KeyboardInterrupt


NETS = """
import torch

def net():
    return torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))

def of_width(width):
    return torch.nn.Linear(width, 3)

nothing = 5

def text():
    return "a"
"""


@pytest.fixture
def torch_weights(monkeypatch, iris):
    """A file with the weights of a network, and a module in the working directory that makes it."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("skorch")
    with open("nets_of_mine.py", "w") as file:
        file.write(NETS)
    monkeypatch.delitem(sys.modules, "nets_of_mine", raising=False)
    frame = iris.X.assign(kind=np.array(["a", "b", "c"])[iris.y])
    frame.to_csv("flowers.csv", index=False)
    net = imported("nets_of_mine:net")()
    torch.save(net.state_dict(), "net.pt")
    yield net
    sys.modules.pop("nets_of_mine", None)


def test_weights_of_a_torch_module(torch_weights, iris):
    module = ["--module", "nets_of_mine:net"]
    result = run("flowers.csv", "--target", "kind", "--model", "net.pt", *module, "--row", 5, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["rows"] == 150
    assert {line["feature"] for line in found["importances"]} == set(iris.X)
    fitted = skexplain.from_fitted(torch_weights, iris.X.astype(np.float32), np.array(["a", "b", "c"])[iris.y])
    assert found["score"]["accuracy"] == pytest.approx(fitted.score(iris.X, np.array(["a", "b", "c"])[iris.y]))
    assert found["explained"][0]["text"].split(":")[0].split()[-1] == fitted.predict(iris.X)[5]
    unlabelled = run("flowers.csv", "--drop", "kind", "--model", "net.pt", *module)
    assert unlabelled.exit_code == 0, unlabelled.output
    assert unlabelled.stdout.startswith("net.pt: on 150 rows of the file")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--model", "net.pt"], "holds weights without the network; name what makes it: --module"),
        (["--model", "net.pt", "--module", "nets_of_mine"], "--module='nets_of_mine'; write package.module:Class"),
        (["--model", "net.pt", "--module", "no_such_thing:net"], "cannot be imported: No module named 'no_such_thing'"),
        (["--model", "net.pt", "--module", "nets_of_mine:Nett"], "'nets_of_mine' has no 'Nett'"),
        (["--model", "net.pt", "--module", "nets_of_mine:nothing"], "is a int; name a class"),
        (["--model", "net.pt", "--module", "nets_of_mine:of_width"], "cannot be called without arguments"),
        (["--model", "net.pt", "--module", "nets_of_mine:text"], "makes a str, no torch.nn.Module"),
        (["--model", "other.pt", "--module", "nets_of_mine:net"], "does not fit --module='nets_of_mine:net'"),
        (["--model", "cut.pt", "--module", "nets_of_mine:net"], "cannot be read as weights"),
        (["--model", "code.pt", "--module", "nets_of_mine:net"], "cannot be read as weights"),
        (["--model", "list.pt", "--module", "nets_of_mine:net"], "holds a list, no state_dict"),
    ],
)
def test_weights_that_do_not_fit(torch_weights, args, said):
    import torch

    torch.save(torch.nn.Linear(2, 2).state_dict(), "other.pt")
    torch.save(torch_weights, "code.pt")  # a pickled module
    torch.save([torch.zeros(2)], "list.pt")
    with open("net.pt", "rb") as whole, open("cut.pt", "wb") as part:
        part.write(whole.read()[:200])
    result = run("flowers.csv", "--target", "kind", *args)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.strip().count("\n") <= 1  # a note on the target, and one sentence
    assert "Traceback" not in result.output


def test_weights_beside_other_things_and_in_safetensors(torch_weights):
    import torch

    safetensors = pytest.importorskip("safetensors.torch")
    torch.save({"epoch": 3, "state_dict": torch_weights.state_dict()}, "loop.pt")
    safetensors.save_file(torch_weights.state_dict(), "net.safetensors")
    for name in ("loop.pt", "net.safetensors"):
        module = read_model(Path(name), "nets_of_mine:net")
        assert all((a == b).all() for a, b in zip(module.parameters(), torch_weights.parameters(), strict=True))
        assert not module.training


def test_a_file_of_this_library(monkeypatch, iris):
    pytest.importorskip("skorch")
    from skexplain.torch import NeuralNetClassifier

    with open("nets_of_mine.py", "w") as file:
        file.write(
            "import torch\n\nclass Small(torch.nn.Sequential):\n    def __init__(self):\n"
            "        super().__init__(torch.nn.Linear(4, 3))\n"
        )
    monkeypatch.delitem(sys.modules, "nets_of_mine", raising=False)
    net = NeuralNetClassifier(imported("nets_of_mine:Small"), max_epochs=2, random_state=0).fit(iris.X, iris.y)
    skexplain.save(net, "net.any")
    iris.X.iloc[:, ::-1].assign(kind=iris.y).to_csv("flowers.csv", index=False)
    run_it = ["flowers.csv", "--target", "kind", "--model", "net.any", "--json"]
    refused = run(*run_it)
    assert refused.exit_code == 2
    assert "Small" in refused.stderr
    result = run(*run_it, "--module", "nets_of_mine:Small", "--row", 20)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["score"]["accuracy"] == pytest.approx(net.score(iris.X, iris.y))
    whole = skexplain.importances(net, iris.X, iris.y, random_state=0).to_frame()
    assert [line["value"] for line in found["importances"]] == pytest.approx(whole["value"].tolist())
    again = skexplain.load("net.any", custom_objects={"Small": imported("nets_of_mine:Small")})
    assert again.explain_row(iris.X.iloc[[20]]).neighbours.index[0] == 20
    sys.modules.pop("nets_of_mine")


def test_skops(iris):
    io = pytest.importorskip("skops.io")
    flowers = iris.X.assign(length=iris.X.iloc[:, 0] * 2, extra=0.0)
    flowers.to_csv("flowers.csv", index=False)
    io.dump(LinearRegression().fit(iris.X, flowers["length"]), "model.skops")
    result = run("flowers.csv", "--target", "length", "--model", "model.skops", "--task", "regression")
    assert result.exit_code == 0, result.output
    assert "model.skops: r2 1.000 on 150 rows of the file" in result.stdout
    assert pd.read_csv("flowers_explained.csv")["feature"][0] == iris.X.columns[0]
    short = run("flowers.csv", "--target", "length", "--model", "model.skops", "--drop", iris.X.columns[1])
    assert f"model.skops reads a column '{iris.X.columns[1]}', which flowers does not have" in short.stderr
    io.dump(Net(random_state=0).fit(iris.X, iris.y), "own.skops")
    refused = run("flowers.csv", "--model", "own.skops")
    assert refused.exit_code == 2
    assert f"--trust {Net.__module__}.Net" in refused.stderr
    trusted = run("flowers.csv", "--model", "own.skops", "--trust", f"{Net.__module__}.Net")
    assert trusted.exit_code == 0, trusted.output
    with open("model.skops", "rb") as whole, open("cut.skops", "wb") as part:
        part.write(whole.read()[:100])
    assert "cannot be read as a skops file" in run("flowers.csv", "--model", "cut.skops").stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["iris", "--model", "no.keras"], "--model='no.keras' is no file"),
        (["iris", "--model", "t.pkl"], "is no file of skexplain.save, and ends in none of"),
        (["t.csv", *FOREST], "--target is missing"),
        (["t.csv", "--target", "y", *FOREST], "t has 3 rows, too few"),
        (["iris", *FOREST, "--row", 150], "--row=150; the table has 150 rows"),
        (["iris", *FOREST, "--row", -1], "--row=-1"),
        (["iris", *FOREST, "--module", "a:b"], "--module is for saved models"),
        (["iris", *FOREST, "--trust", "a"], "--trust is for saved models"),
        (["iris", *FOREST, "--attribution", "shap"], "Unknown attribution 'shap'"),
        (["iris", *FOREST, "--attribution", "deepshap"], "can be explained by gradients"),
        (["iris", *FOREST, "--out", "/dev/null/x"], "--out='/dev/null/x'"),
        (["iris", *FOREST, "--random-state", "x"], "--random-state='x'; pass a whole number"),
        (["t.csv", "--model", "t.skops"], "cannot be read as a skops file"),
        (["nowhere.csv", *FOREST], "'nowhere.csv' is neither a file"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(args, said):
    if "t.skops" in args:
        pytest.importorskip("skops")
    for name in ("t.pkl", "t.skops"):
        with open(name, "w") as file:
            file.write("no model")
    pd.DataFrame({"a": [1, 2, 3], "y": ["u", "v", "u"]}).to_csv("t.csv", index=False)
    result = run(*args)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_help_has_examples():
    text = " ".join(run("--help").stdout.split())
    assert "skexplain explain breast_cancer --model torch --row 3" in text
    assert "skexplain explain data.csv --target y --model weights.pt --module mypackage.nets:Net" in text
