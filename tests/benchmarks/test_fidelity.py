"""The whole way from a draw to the page, and what the sentences on it say."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.fidelity import __main__ as fidelity
from benchmarks.fidelity import _findings, _networks, _peers, _recovery, _selection, _tables
from benchmarks.fidelity._networks import DEFAULT, NETWORKS
from benchmarks.fidelity._record import Record, Split, standardised
from skexplain import _defaults

WINE = "wine, random, 50%"


@pytest.fixture
def _short(monkeypatch):
    """Little training: what is found does not matter."""
    monkeypatch.setattr(_defaults, "MAX_EPOCHS", 2)
    monkeypatch.setattr(_networks, "MOST_COLUMNS", {"loco": 0, "exact_shapley": 12})
    monkeypatch.setattr(_peers, "HAS_LASSONET", False)
    monkeypatch.setattr(_peers, "TREES", 5)


@pytest.mark.usefixtures("_short")
def test_from_draws_to_the_page(tmp_path):
    command = ["--draws", "1", "--jobs", "1", "--rows", "120", "--only", "p = 5", WINE, "--out", str(tmp_path)]
    fidelity.main(command)
    assert {p.name for p in tmp_path.iterdir()} == {"fidelity.csv", "fidelity.md", "fidelity.png"}
    frame = pd.read_csv(tmp_path / "fidelity.csv")
    asked = frame[(frame.part == "recovery") & (frame.model == "default network")].set_index("method")
    assert set(asked.index) == set(_networks.strategies())
    silent = asked.index[asked.auc.isna()]
    assert list(silent) == ["loco"]
    assert asked.remark["loco"] == "not asked about more than 0 columns"
    chosen = frame[(frame.part == "selection") & (frame.model == "plain MLP")]
    assert set(chosen.method) == {_selection.ALL, _selection.ORIGINAL, *_selection.METHODS, _selection.RANDOM}
    assert chosen.score.notna().all()
    text = (tmp_path / "fidelity.md").read_text()
    assert _recovery.NOT_INSTALLED in text
    assert "`loco` gave no answer on 1 of 1 data sets" in text
    assert "| RandomForest | MDI | " in text
    assert f"| default network | **{DEFAULT}** (default) | " in text
    assert (tmp_path / "fidelity.png").stat().st_size > 1000
    before = text, (tmp_path / "fidelity.csv").read_bytes()
    fidelity.main(["--page", "--out", str(tmp_path)])
    assert ((tmp_path / "fidelity.md").read_text(), (tmp_path / "fidelity.csv").read_bytes()) == before


class BrokenOffError(Exception):
    pass


def test_a_run_that_was_broken_off_goes_on(tmp_path, monkeypatch):
    done, at_most = [], 2

    def run(part, name, draw, rows):
        if len(done) == at_most:
            raise BrokenOffError
        done.append((part, name, draw))
        return [Record(part, name, draw, "a model", "a method", auc=0.5)]

    monkeypatch.setattr(fidelity, "run", run)
    monkeypatch.setattr(fidelity._plot, "draw", lambda frame, path: None)
    monkeypatch.setattr(fidelity._page, "page", lambda frame: f"{len(frame)} records")
    command = ["--draws", "2", "--jobs", "1", "--only", "p = 5", WINE, "--out", str(tmp_path)]
    with pytest.raises(BrokenOffError):
        fidelity.main(command)
    (kept,) = tmp_path.iterdir()
    assert kept.name.endswith(".partial.csv")
    at_most = 4
    fidelity.main(command)
    assert done == [
        (part, name, k) for k in (0, 1) for part, name in (("recovery", "Gaussian, p = 5"), ("selection", WINE))
    ]
    assert not kept.exists()
    assert (tmp_path / "fidelity.md").read_text() == "4 records"
    frame = pd.read_csv(tmp_path / "fidelity.csv")
    assert list(zip(frame.part, frame.data, frame.draw, strict=True)) == done


def test_both_parts_are_on_the_page(capsys, tmp_path):
    with pytest.raises(SystemExit):
        fidelity.main(["--only", "XOR", "--out", str(tmp_path)])
    assert "--only ['XOR'] and --draws 5 must leave data of both parts." in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_findings_tell_where_the_forest_is_better():
    rows = []
    for draw, noise in enumerate((0.00, 0.01, 0.02)):
        for data, network, forest in (("XOR", 0.6, 0.9), ("linear", 0.9, 0.6), ("moons", 0.8 + 3 * noise, 0.82)):
            for model in NETWORKS:
                rows.append(Record("recovery", data, draw, model, DEFAULT, auc=network + noise))
            rows.append(Record("recovery", data, draw, "RandomForest", "MDI", auc=forest))
            rows.append(Record("recovery", data, draw, "RandomForest", "TreeSHAP", auc=0.5))
            rows.append(Record("recovery", data, draw, "LassoNet", "path", remark="is not there"))
            rows.append(Record("recovery", data, draw, "control", "no model", auc=0.5))
    lines = _findings.recovery_findings(pd.DataFrame(rows))
    better, worse = (
        "better on 1 data sets (linear: 0.91 against 0.60 (MDI))",
        "worse on 1 (XOR: 0.61 against 0.90 (MDI))",
    )
    assert f"{better}, {worse}, level on 1." in lines[0]
    assert "LassoNet: is not there." in lines


def test_what_is_ahead():
    assert _findings.ahead([1, 2, 3])
    assert not _findings.ahead([-1, 0, 4])  # mean 1, deviation 2.6
    assert not _findings.ahead([-1, -2, -3])
    assert not _findings.ahead([0, 0, 0])
    assert not _findings.ahead([1])


def test_gains_are_of_the_same_draw_and_model():
    score = {("a", 0, _selection.ALL): 0.5, ("a", 0, "x"): 0.7, ("b", 0, _selection.ALL): 0.9, ("b", 0, "x"): 0.8}
    frame = pd.DataFrame([Record("selection", WINE, d, m, k, score=s) for (m, d, k), s in score.items()])
    assert _tables.gains(frame).tolist() == pytest.approx([0, 0.2, 0, -0.1])


def test_cells():
    assert _tables.cell([0.5, 0.7, np.nan]) == "0.60 ± 0.14"
    assert _tables.cell([0.5], 3) == "0.500"
    assert _tables.cell([np.nan]) == "-"


def two_of_five(labels: bool) -> Split:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5))
    y = 2 * X[:, 1] - X[:, 3]
    return standardised(X, (y > 0).astype(int) if labels else y, np.arange(200), np.arange(200, 300))


@pytest.mark.parametrize("labels", [True, False])
def test_deep_lasso_ranks_by_the_gradient_of_the_loss(labels, monkeypatch):
    monkeypatch.setattr(_defaults, "MAX_EPOCHS", 15)
    values = _peers.deep_lasso(two_of_five(labels), 0)
    assert set(np.argsort(values)[-2:]) == {1, 3}


def test_the_penalty_shrinks_the_gradients_of_the_loss(monkeypatch):
    monkeypatch.setattr(_defaults, "MAX_EPOCHS", 15)
    sizes = []
    for weight in (0.0, 1.0):
        monkeypatch.setattr(_peers, "PENALTIES", (weight,))
        sizes.append(_peers.deep_lasso(two_of_five(False), 0).sum())
    assert sizes[1] < 0.8 * sizes[0]


@pytest.mark.parametrize("labels", [True, False])
def test_lasso_net_keeps_the_column_that_matters_most_to_the_end(labels, monkeypatch):
    pytest.importorskip("lassonet", reason="`make fidelity` installs it")
    monkeypatch.setattr(_peers, "PATH", _peers.PATH | {"n_iters": (200, 30), "path_multiplier": 1.5})
    split = two_of_five(labels)
    values, net = _peers.lasso_net(split, 0)
    assert values[1] == values.max() > values.min()
    assert _peers.lasso_net_score(net, split) > 0.8
    if not labels:
        assert _peers.lasso_net_score(net, split) == pytest.approx(net.score(split.X_other, split.y_other), abs=1e-5)


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("rank", [_selection.univariate, _selection.l1, _selection.trees])
def test_other_rankings(rank, labels):
    values = rank(two_of_five(labels), 0)
    assert values.shape == (5,)
    assert set(np.argsort(values)[-2:]) == {1, 3}


def test_standardised_by_the_rows_trained_on():
    split = two_of_five(False)
    assert split.X.mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-12)
    assert split.y.std() == pytest.approx(1)
    assert np.abs(split.X_other.mean(axis=0)).min() > 1e-4
    constant = standardised(np.ones((4, 1)), np.array([0, 1, 0, 1]), np.arange(2), np.arange(2, 4))
    assert constant.X.tolist() == [[0], [0]]
    assert constant.labels
