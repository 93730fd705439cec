"""The page is made of what is measured, and its correlations and ranks are what they are called."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from benchmarks import viann_table
from benchmarks.viann_table import DATA, RANKINGS, Run, Worth

OTHERS = ("forest", "mean ablation", "Garson", "original formula and forest")


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(viann_table, "ANEW", 1)


def test_a_run_on_iris():
    run = viann_table.run("iris", "NN1", "torch", 0, most=4)
    assert run.epochs == 4
    assert set(run.agreement) == set(OTHERS)
    assert np.abs([*run.agreement.values()]).max() <= 1


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras' conversion of TensorFlow's variables
def test_both_frameworks_train_the_same_network():
    pytest.importorskip("keras")
    data = viann_table.load("diabetes")
    nets = [make(data, "NN2", 0, 1)[0] for make in (viann_table.torch_net, viann_table.keras_net)]
    by_torch = {k: tuple(v.shape[::-1]) for k, v in nets[0].module_.named_parameters()}
    assert list(by_torch.values()) == [tuple(w.shape) for w in nets[1].model_.weights]
    assert nets[0].feature_importances_.sum() == pytest.approx(1)
    penalties = [layer.kernel_regularizer for layer in nets[1].model_.layers]
    assert [p and 2 * float(p.l2) for p in penalties] == pytest.approx([0.02, 0.02, 0.02, None])
    decay = {id(p): g["weight_decay"] for g in nets[0].optimizer_.param_groups for p in g["params"]}
    of_weights = [decay[id(p)] for k, p in nets[0].module_.named_parameters() if k.endswith("weight")]
    assert of_weights == [0.02, 0.02, 0.02, 0]
    assert {decay[id(p)] for k, p in nets[0].module_.named_parameters() if k.endswith("bias")} == {0}


def test_worth_on_iris():
    worth = viann_table.worth("iris", 0, most=2)
    for found in (worth.quarter, worth.half, worth.single):
        assert tuple(found) == RANKINGS
        assert np.isfinite([*found.values()]).all()


def test_correlations():
    a, b = np.random.default_rng(0).normal(size=(2, 9)).round(1)
    assert viann_table.pearson(a, b) == pytest.approx(pearsonr(a, b).statistic)
    assert viann_table.spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert viann_table.spearman(a, np.exp(a)) == pytest.approx(1)


def test_mean_ablation_by_hand():
    class Net:
        def predict(self, X):
            return 2 * X[:, 0]

    X = np.array([[1.0, 5.0], [-1.0, -5.0]])
    assert viann_table.mean_ablation(Net(), viann_table.Data(X, 2 * X[:, 0])) == pytest.approx([4, 0])


def test_the_page(tmp_path):
    runs = {
        (name, network, framework): [Run(5, 0.9, dict.fromkeys(OTHERS, (r, r))) for r in (0.5, 0.7)]
        for name in DATA
        for network in ("NN1", "NN2")
        for framework in ("torch", "keras")
    }
    # the first of the rankings is the best everywhere, the others are alike
    rises = dict.fromkeys(RANKINGS, 0.0) | {RANKINGS[0]: 1.0}
    worths = {name: [Worth(0.1, rises, rises, rises if name == "iris" else {})] * 2 for name in DATA}
    text = viann_table.page(runs, worths)
    assert "| iris | NN2 | keras | 5 | 0.90 ± 0.00 | 0.60 ± 0.14 | 0.87 | 0.60 ± 0.14 |" in text
    (best, ranks), *others = viann_table.ranked(worths, "half")
    assert best == RANKINGS[0]
    assert ranks.tolist() == [1] * 10
    assert {rank for _, ranks in others for rank in ranks} == {4.5}
    viann_table.write(tmp_path / "viann.md", text)
    assert (tmp_path / "viann.md").read_text() == text
    assert len([*tmp_path.iterdir()]) == 1


def test_who_is_behind():
    best = np.array([1.0, 2.0, 1.0, 2.0])
    assert viann_table.behind(best + np.array([1, 1, 1, 2]), best)
    assert not viann_table.behind(best + np.array([1, -1, 1, 0]), best)
    assert not viann_table.behind(best, best)
