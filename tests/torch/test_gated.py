"""The default module: encoding, gates and their proximal step, the path of sparsities, ensembles."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skexplain
from skexplain import _defaults
from skexplain._one_error import simplest
from skexplain._pieces import piecewise, quantiles
from skexplain.attributions import LRP, Ablation, DeepLIFT, Gates, InputXGradient, Saliency, SmoothGrad
from skexplain.datasets import make_xor
from skexplain.exceptions import UnsupportedModelError
from skexplain.torch import MLP, ColumnGatedMLP, NeuralNetClassifier, NeuralNetRegressor
from skexplain.torch._gated import as_linear, shrink_gates

rng = np.random.default_rng(0)
X = np.column_stack([rng.normal(size=(160, 3)), rng.integers(0, 3, 160), np.full(160, 7.0)]).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(int)


def gated(n_ensemble=1, sparsity=0.0, n_outputs=2, **params):
    params = {"mean": X.mean(0), "scale": X.std(0) + (X.std(0) == 0), "edges": quantiles(X), "hidden": (6, 5)} | params
    return ColumnGatedMLP(5, n_outputs, n_ensemble=n_ensemble, sparsity=sparsity, **params)


class TestEncoding:
    def test_formula(self):
        """Each piece by itself, in words."""
        mean, scale, edges = X.mean(0), np.array([1.0, 2.0, 0.5, 1.0, 1.0]), quantiles(X)
        pieces = piecewise(mean, scale, edges, n_more=1)
        rows = np.column_stack([X, X[:, 0]])
        wanted = []
        for j in range(5):
            wanted.append(2 * (X[:, j] - mean[j]) / scale[j])
            for a, b in zip(edges[:-1, j], edges[1:, j], strict=True):
                wanted.append(np.interp(X[:, j], [a, b], [-0.25, 0.25]) if b > a else np.zeros(len(X)))
        np.testing.assert_allclose(pieces(rows), np.column_stack([*wanted, X[:, 0]]), atol=1e-6)
        assert pieces.owners.tolist() == [*np.repeat(np.arange(5), 9), 5]

    def test_quantiles_count_weights(self):
        weight = rng.integers(1, 4, len(X))
        np.testing.assert_array_equal(quantiles(X, weight), quantiles(np.repeat(X, weight, axis=0)))
        assert np.isin(quantiles(X)[:, 1], X[:, 1]).all()

    def test_module_is_the_encoding(self):
        module = gated().double()
        pieces = piecewise(X.mean(0), X.std(0) + (X.std(0) == 0), quantiles(X))
        np.testing.assert_allclose(module[0](torch.tensor(X).double()), pieces(X.astype(np.float64)), atol=1e-5)

    def test_far_from_0(self):
        """Edges are those of doubles, where the network is one of doubles."""
        far = X[:, :3].astype(np.float64) + 1e5
        net = NeuralNetClassifier(random_state=0, max_epochs=1, dtype="float64").fit(far, Y)
        wanted = piecewise(far.mean(0), far.std(0), quantiles(far))(far)
        np.testing.assert_allclose(net.module_[0](torch.tensor(far)), wanted, atol=1e-4)

    def test_without_edges_there_are_values_only(self):
        assert ColumnGatedMLP(3, 2)[1].weight.shape == (64, 3)


class TestGates:
    def test_proximal_step(self):
        module = gated(sparsity=2.0)
        before = np.array([[0.5, -0.5, 0.01, 0.0, 1.0]])
        with torch.no_grad():
            module.gated_layer.gate.copy_(torch.tensor(before))
        shrink_gates(module, torch.optim.SGD(module.parameters(), lr=0.1))
        wanted = np.sign(before) * np.maximum(np.abs(before) - 0.2, 0)
        np.testing.assert_allclose(module.gated_layer.gate.detach(), wanted, atol=1e-7)
        assert module.gates_.tolist() == pytest.approx([0.3, 0.3, 0, 0, 0.8])

    def test_closed_gate_is_not_read(self):
        module = gated().eval()
        with torch.no_grad():
            module.gated_layer.gate[:, 2] = 0
        other = X.copy()
        other[:, 2] += 5
        assert torch.equal(module(torch.tensor(X)), module(torch.tensor(other)))

    def test_what_is_always_0_has_no_weights(self):
        """Column 3 has three values, so most of its pieces have no width; column 4 is constant."""
        layer = NeuralNetClassifier(random_state=0, max_epochs=2).fit(X, Y).module_.gated_layer
        used = (layer.weight != 0).any(0).view(5, 9).sum(1)
        assert used.tolist() == [9, 9, 9, 3, 0]
        assert (layer.gate[0] != 0).tolist() == [True, True, True, True, False]

    def test_schedules_of_the_rate_count(self):
        """Steps of the gates follow the optimizer's present rate, in skorch's loop and in ours."""
        from skorch.callbacks import Callback, LRScheduler

        class Looks(Callback):
            def on_batch_end(self, net, **kwargs):
                pass

        schedule = LRScheduler("StepLR", step_size=1, gamma=0.1)
        common = {"module__sparsity": 1.0, "max_epochs": 3, "random_state": 0, "lr": 0.05}
        ours = NeuralNetClassifier(callbacks=[schedule], **common).fit(X, Y)
        skorchs = NeuralNetClassifier(callbacks=[schedule, Looks()], **common).fit(X, Y)
        plain = NeuralNetClassifier(**common).fit(X, Y)
        np.testing.assert_allclose(ours.module_.gates_, skorchs.module_.gates_, atol=1e-6)
        assert abs(ours.module_.gates_ - plain.module_.gates_).max() > 1e-3

    def test_strategy(self):
        net = NeuralNetClassifier(random_state=0, max_epochs=3, module__sparsity=1.0).fit(X, Y)
        found = skexplain.importances(net, X, Y, attribution="gates")
        np.testing.assert_allclose(found.values, net.module_.gates_)
        pipe = make_pipeline(StandardScaler(), net).fit(X, Y)
        np.testing.assert_allclose(
            skexplain.importances(pipe, X, Y, attribution=Gates()).values, pipe[-1].module_.gates_
        )
        grouped = skexplain.importances(net, X, Y, attribution="gates", groups={"a": [0, 1]})
        assert grouped.values.max() == pytest.approx(net.module_.gates_[:2].sum())

    def test_networks_without_gates(self):
        with pytest.raises(UnsupportedModelError, match="expected_gradients"):
            skexplain.importances(NeuralNetClassifier(MLP, max_epochs=1).fit(X, Y), X, Y, attribution="gates")


class TestPath:
    def test_rule(self):
        net = NeuralNetClassifier(random_state=0).fit(X, Y)
        (path,) = [c for _, c in net.callbacks_ if hasattr(c, "tried_")]
        assert [t.sparsity for t in path.tried_] == list(_defaults.SPARSITIES)
        best = min(path.tried_, key=lambda t: t.losses.mean())
        behind = {t.sparsity: t.losses - best.losses for t in path.tried_}
        allowed = [s for s, d in behind.items() if d.mean() <= d.std() / np.sqrt(len(d))]
        assert net.module_.gated_layer.sparsity == max(allowed)
        assert min(net.history[:, "valid_loss"]) == pytest.approx(best.losses.mean(), rel=1e-4)
        order = net.history[:, "sparsity"]
        assert order == sorted(order, reverse=True)
        assert net.n_iter_ == len(order)

    def test_rows_without_weight_do_not_count(self):
        """Not in the error of the difference, either: here it is 0.5, and 8.9 about the mean of all rows."""
        best, worse = np.zeros(5), np.array([0.0, 2.0, 2.0, 0.0, 90.0])
        weight = np.array([1.0, 1.0, 1.0, 1.0, 0.0])
        rows = weight > 0
        for add in (0.0, -0.6, -0.4):
            losses = [worse + add, best]
            assert simplest(losses, weight) == simplest([loss[rows] for loss in losses], weight[rows])

    def test_files_keep_what_was_chosen(self, tmp_path, monkeypatch):
        """Else training would go on without shrinking the gates."""
        monkeypatch.setattr(_defaults, "MAX_EPOCHS", 2)
        net = NeuralNetClassifier(random_state=0).fit(X, Y)
        skexplain.save(net, tmp_path / "net.zip")
        back = skexplain.load(tmp_path / "net.zip")
        assert back.module_.gated_layer.sparsity == net.module_.gated_layer.sparsity > 0

    def test_weights_are_those_chosen(self):
        """The held-out losses of the final weights are those that the choice was made by."""
        from skexplain._data import held_out

        net = NeuralNetRegressor(random_state=0, dtype="float64").fit(X, X[:, 0] * X[:, 1])
        (path,) = [c for _, c in net.callbacks_ if hasattr(c, "tried_")]
        seed = int(np.random.RandomState(0).randint(2**31 - 1))
        y = (X[:, 0] * X[:, 1]).astype(np.float64)
        _, out = held_out(y, False, _defaults.HELD_OUT, np.random.RandomState(seed))
        chosen = next(t for t in path.tried_ if t.sparsity == net.module_.gated_layer.sparsity)
        np.testing.assert_allclose((net.predict(X[out]) - y[out]) ** 2, chosen.losses, rtol=1e-6, atol=1e-9)

    @pytest.mark.parametrize("params", [{"max_epochs": 3}, {"train_split": None}, {"module__sparsity": 0.5}])
    def test_no_path_without_held_out_rows(self, params):
        net = NeuralNetClassifier(random_state=0, **({"max_epochs": 3} | params)).fit(X, Y)
        assert net.module_.gated_layer.sparsity == params.get("module__sparsity", 0.0)

    def test_scores_of_training_are_the_ensembles(self):
        from skorch.callbacks import EpochScoring

        score = EpochScoring("accuracy", on_train=True, name="train_acc")
        net = NeuralNetClassifier(random_state=0, callbacks=[score], max_epochs=2, module__n_ensemble=3).fit(X, Y)
        assert all(0 <= v <= 1 for v in net.history[:, "train_acc"])

    def test_columns_among_noise(self):
        """Where a plain network finds nothing: XOR of two columns, beside 28 of noise."""
        data = make_xor(500, 30, random_state=0)
        net = NeuralNetClassifier(random_state=0).fit(data.data, data.target)
        assert set(np.argsort(net.feature_importances_)[-2:]) == set(np.flatnonzero(data.important))
        assert net.feature_importances_[data.important].sum() > 0.9


class TestEnsemble:
    def test_members_train_as_if_alone(self):
        """Same batches, same steps: three networks at once are three networks."""
        together = gated(3, sparsity=1.0)
        alone = [gated(1, sparsity=1.0) for _ in range(3)]
        layers = [k for k, layer in enumerate(together) if hasattr(layer, "weight")]
        with torch.no_grad():
            for e, module in enumerate(alone):
                for k in layers:
                    for name, p in module[k].named_parameters():
                        mine = getattr(together[k], name)
                        p.copy_(mine.view(3, *p.shape)[e] if p.shape != mine[e].shape else mine[e])
        for module in [together, *alone]:
            optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
            for rows in np.arange(96).reshape(6, 16):
                optimizer.zero_grad()
                out, y = module(torch.tensor(X[rows])), torch.tensor(Y[rows])
                torch.nn.functional.cross_entropy(out, y.repeat(len(out) // 16)).backward()
                optimizer.step()
                shrink_gates(module, optimizer)
        together.eval()
        mean = torch.stack([module.eval()(torch.tensor(X)) for module in alone]).mean(0)
        torch.testing.assert_close(together(torch.tensor(X)), mean, atol=1e-5, rtol=1e-4)
        np.testing.assert_allclose(together.gates_, np.mean([m.gates_ for m in alone], axis=0), atol=1e-5)

    @pytest.mark.parametrize("n_ensemble", [1, 3])
    @pytest.mark.parametrize("scaled", [{}, {"target_mean": [3.0], "target_scale": [2.0]}])
    def test_as_linear(self, n_ensemble, scaled):
        module = gated(n_ensemble, n_outputs=1, **scaled).eval()
        torch.testing.assert_close(as_linear(list(module))(torch.tensor(X)), module(torch.tensor(X)))

    @pytest.mark.parametrize("cls", [NeuralNetClassifier, NeuralNetRegressor])
    def test_estimators(self, cls):
        """Weighted rows too: a weight of 0 is a row that is not there."""
        weight = (np.arange(len(X)) % 4 > 0).astype(float)
        common = {"module__n_ensemble": 2, "max_epochs": 4, "random_state": 0, "batch_size": -1, "dtype": "float64"}
        net = cls(**common).fit(X, Y, sample_weight=weight)
        without = cls(**common).fit(X[weight > 0], Y[weight > 0])
        np.testing.assert_allclose(net.predict(X), without.predict(X), rtol=1e-6)

    def test_sums_of_losses(self):
        """A criterion that sums over 20 rows is one that averages, at a rate of a 20th, whatever the number of nets."""
        common = {"random_state": 0, "max_epochs": 2, "batch_size": 20, "optimizer": torch.optim.SGD}
        common |= {"module__n_ensemble": 3, "dtype": "float64"}
        mean = NeuralNetClassifier(lr=0.2, **common).fit(X, Y)
        total = NeuralNetClassifier(lr=0.01, criterion__reduction="sum", **common).fit(X, Y)
        np.testing.assert_allclose(total.predict_proba(X), mean.predict_proba(X), rtol=1e-6)
        np.testing.assert_allclose(total.history[:, "train_loss"], 20 * np.array(mean.history[:, "train_loss"]))


class TestBehindTheEncoder:
    @pytest.mark.parametrize("n_ensemble", [1, 2])
    def test_complete(self, n_ensemble):
        net = NeuralNetClassifier(random_state=0, max_epochs=10, module__n_ensemble=n_ensemble).fit(X, Y)
        out = skexplain.explain(net, X[:20], attribution=DeepLIFT(baseline="mean"), target=1)
        mean = net._kept_background.mean(0, keepdims=True)
        fall = net.decision_function(X[:20]) - net.decision_function(mean)
        np.testing.assert_allclose(out.values.sum(1), fall, atol=1e-5 * np.abs(fall).max())

    @pytest.mark.parametrize(
        ("strategy", "wanted"),
        [
            (Saliency(scaled=False), lambda slopes, rows: abs(slopes)),
            (SmoothGrad(scaled=False, noise=0), lambda slopes, rows: abs(slopes)),
            (InputXGradient(), lambda slopes, rows: rows * slopes),
        ],
    )
    def test_slopes_are_those_of_columns(self, strategy, wanted):
        """Not the sizes of the slopes of what a column is encoded as, summed."""
        rows = X[:, :3].astype(np.float64)
        net = NeuralNetClassifier(random_state=0, max_epochs=3, dtype="float64").fit(rows, Y)
        asked, h = rows[:6] + 1e-4, 1e-7 * np.eye(3)  # not at the edges, where there are two slopes
        up, down = (np.stack([net.decision_function(asked + s * step) for step in h], axis=1) for s in (1, -1))
        got = skexplain.explain(net, asked, attribution=strategy, target=1).values
        np.testing.assert_allclose(got, wanted((up - down) / 2e-7, asked), rtol=1e-4, atol=1e-6)

    def test_mean_is_that_of_columns(self):
        """Replacing a column by its mean is that, not the mean of what rows are encoded as."""
        net = NeuralNetClassifier(random_state=0, max_epochs=10).fit(X, Y)
        back = net._kept_background
        out = skexplain.explain(net, X[:9], attribution=Ablation(baseline="mean"), target=1)
        for j in range(3):
            other = X[:9].copy()
            other[:, j] = back[:, j].mean()
            fall = net.decision_function(X[:9]) - net.decision_function(other)
            np.testing.assert_allclose(out.values[:, j], fall, atol=1e-5 * np.abs(out.values).max())

    def test_results_name_the_strategy_as_given(self):
        strategy = DeepLIFT(baseline="mean")
        net = NeuralNetClassifier(random_state=0, max_epochs=2, attribution=strategy).fit(X, Y)
        assert net.importances_.strategy.baseline == "mean"
        assert net.importances_ is net.importances_  # not computed anew, as if another had been asked for
        assert skexplain.explain(net, X[:2]).strategy.baseline == "mean"

    def test_range_of_the_columns(self):
        """Bounds of a rule are the user's, in the columns of X."""
        net = NeuralNetClassifier(random_state=0, max_epochs=5).fit(X, Y)
        low, high = X.min(0), X.max(0)
        values = skexplain.explain(net, X[:5], attribution=LRP(rule="z_box", low=low, high=high)).values
        rows = net._network().encoded().embed(np.stack([low, high]))
        behind = net._network().encoded().network
        tiny = skexplain.explain(net, X[:5], attribution=LRP(rule="z_box", low=low - 1, high=high + 1)).values
        assert values.shape == (5, 5)
        assert (rows[0] <= rows[1]).all()
        assert behind.predict(rows).shape == (2, 2)
        assert not np.allclose(values, tiny)

    def test_scaler_in_front(self):
        """A step that does not mix columns changes nothing; one that does is differentiated through."""
        net = NeuralNetClassifier(random_state=0, max_epochs=10)
        pipe, bare = make_pipeline(StandardScaler(), net).fit(X, Y), net.fit(StandardScaler().fit_transform(X), Y)
        rows = pipe[0].transform(X)
        options = {"attribution": "deeplift", "target": 1}
        got = skexplain.explain(pipe, X[:20], background=X, **options)
        wanted = skexplain.explain(bare, rows[:20], background=rows, **options)
        np.testing.assert_allclose(got.values, wanted.values, atol=1e-3 * np.abs(wanted.values).max())
        mixed = make_pipeline(StandardScaler(), PCA(3), net).fit(X, Y)
        assert skexplain.explain(mixed, X[:20], attribution="integrated_gradients").values.shape == (20, 5)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"hidden": ()}, "hidden"),
        ({"hidden": (0,)}, "hidden"),
        ({"activation": "step"}, "activation"),
        ({"sparsity": -1}, "sparsity=-1"),
        ({"sparsity": "much"}, "sparsity='much'"),
        ({"n_ensemble": 0}, "n_ensemble=0"),
        ({"n_ensemble": 1.5}, "n_ensemble=1.5"),
    ],
)
def test_bad_parameters(params, match):
    with pytest.raises(ValueError, match=match):
        ColumnGatedMLP(3, 2, **params)


@pytest.mark.parametrize("n_ensemble", [1, 2])
def test_files(tmp_path, n_ensemble):
    net = NeuralNetClassifier(random_state=0, max_epochs=2, module__n_ensemble=n_ensemble).fit(X, Y)
    skexplain.save(net, tmp_path / "net.zip")
    back = skexplain.load(tmp_path / "net.zip")
    np.testing.assert_array_equal(back.predict_proba(X), net.predict_proba(X))
    np.testing.assert_array_equal(back.feature_importances_, net.feature_importances_)


def test_few_rows():
    """Fewer rows than pieces, one column."""
    net = NeuralNetRegressor(random_state=0).fit(X[:5, :1], X[:5, 1])
    assert np.isfinite(net.predict(X[:5, :1])).all()
    assert net.feature_importances_.tolist() == [1.0]
