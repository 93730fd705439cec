"""Categorical columns in torch."""

import numpy as np
import torch
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from torch import nn

import skexplain
from skexplain.attributions import LOCO
from skexplain.torch import EmbedCodes, NeuralNetClassifier, NeuralNetRegressor
from tests.categories_contract import CategoriesContract

QUICK = {"max_epochs": 40, "random_state": 0, "batch_size": 32}


class Tabular(nn.Module):
    """As fastai's: an embedding for each column of codes, batch normalisation of the numbers."""

    def __init__(self, emb_szs, n_cont, out_sz):
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(n, width) for n, width in emb_szs])
        self.norm = nn.BatchNorm1d(n_cont)
        width = sum(width for _, width in emb_szs) + n_cont
        self.layers = nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Linear(32, out_sz))

    def forward(self, x_cat, x_cont):
        vectors = [table(x_cat[:, j]) for j, table in enumerate(self.tables)]
        return self.layers(torch.cat([*vectors, self.norm(x_cont)], 1))


class TestCategories(CategoriesContract):
    @staticmethod
    def regressor(**params):
        return NeuralNetRegressor(**QUICK, **params)

    @staticmethod
    def classifier(**params):
        return NeuralNetClassifier(**QUICK, **params)

    @staticmethod
    def two_inputs(**params):
        return NeuralNetRegressor(Tabular, optimizer=torch.optim.Adam, lr=0.01, **QUICK, **params)

    def test_leaving_out_a_column(self, data):
        X, y = data
        net = self.regressor(categorical=["colour", "size", "new"])
        result = net.fit(X, y).importances(X, y, attribution=LOCO(cv=2), groups={"rest": ["length", "width", "new"]})
        assert result.names[result.ranking[0]] == "colour"

    def test_the_vector_of_an_unknown_level_stays_zero(self, fitted):
        embed = fitted.module_[0]
        assert isinstance(embed, EmbedCodes)
        assert all((table.weight[0] == 0).all() for table in embed.tables)
        assert (embed.tables[0].weight[1] != 0).all()  # missing colours were trained

    def test_a_module_of_one_input_gets_the_table(self, data):
        class Table(nn.Module):
            def __init__(self, n_features, n_outputs, cardinalities):
                super().__init__()
                self.embed = EmbedCodes(n_features, cardinalities)
                self.layers = nn.Sequential(nn.LazyLinear(16), nn.ReLU(), nn.Linear(16, n_outputs))

            def forward(self, x):
                return self.layers(self.embed(x))

        X, y = data
        net = NeuralNetRegressor(Table, optimizer=torch.optim.Adam, lr=0.01, categorical="auto", **QUICK).fit(X, y)
        assert net.score(X, y) > 0.9
        assert net.feature_importances_.argmax() == 1

    def test_a_matrix_in_front_of_the_numbers(self, data):
        """PCA of the numbers is one more layer in front of them, beside the look-ups of codes."""
        X, y = data
        X = X.fillna({"colour": "none"})
        numbers, others = ["length", "width"], ["colour", "size", "new"]
        codes = OrdinalEncoder()
        step = make_column_transformer((codes, others), (make_pipeline(StandardScaler(), PCA()), numbers))
        pipe = make_pipeline(step, self.regressor(categorical=[0, 1, 2])).fit(X, y)
        B, rows = X[:30], X[40:60]
        for name in ("expected_gradients", "deepshap", "integrated_gradients"):
            exp = skexplain.explain(pipe, rows, background=B, attribution=name, random_state=0)
            assert exp.names == ("length", "colour", "size", "width", "new")
        exact = skexplain.explain(pipe, rows, background=B, attribution="exact_shapley")
        sums = skexplain.explain(pipe, rows, background=B, attribution="deepshap").values.sum(axis=1)
        np.testing.assert_allclose(sums, exact.values.sum(axis=1), rtol=1e-4, atol=1e-4)

        # the same by hand: the slopes of the network's numbers, by the matrix
        net, T = pipe[-1], np.asarray(step.transform(rows))
        inner = net.explain(T, background=np.asarray(step.transform(B)), attribution="deepshap")
        by_hand = inner.values[:, :3]
        outer = skexplain.explain(pipe, rows, background=B, attribution="deepshap")
        assert skexplain.from_fitted(pipe, X, y, random_state=0).feature_importances_.shape == (5,)
        np.testing.assert_allclose(outer.values[:, [1, 2, 4]], by_hand, rtol=1e-4, atol=1e-5)

    def test_text_goes_through_the_steps_of_a_pipeline(self, data):
        """With numbers scaled or mixed in front of it, in frames and in arrays of objects, with levels missing."""
        X, y = data
        numbers, B, rows = ["length", "width"], X[:30], X[40:60]
        for scale, transform in ((StandardScaler(), "pandas"), (StandardScaler(), "default"), (PCA(), "pandas")):
            steps = make_column_transformer((scale, numbers), remainder="passthrough").set_output(transform=transform)
            pipe = make_pipeline(steps, self.regressor(categorical="auto")).fit(X, y)
            got = skexplain.explain(pipe, rows, background=B, attribution="deepshap")
            exact = skexplain.explain(pipe, rows, background=B, attribution="exact_shapley")
            assert got.names == exact.names == tuple(X)
            np.testing.assert_allclose(got.values.sum(axis=1), exact.values.sum(axis=1), atol=1e-4)
            assert np.abs(got.values - exact.values).mean() < 0.1 * np.abs(exact.values).mean()
            fitted = skexplain.from_fitted(pipe, X, y, random_state=0)
            assert fitted.feature_importances_.argmax() == 1

    def test_two_inputs_of_which_one_is_empty(self, data):
        X, y = data

        class Codes(nn.Module):
            def __init__(self, emb_szs, n_cont, out_sz):
                super().__init__()
                self.tables = nn.ModuleList([nn.Embedding(n, width) for n, width in emb_szs])
                self.out = nn.Linear(sum(width for _, width in emb_szs) + n_cont, out_sz)

            def forward(self, x_cat, x_cont):
                vectors = [table(x_cat[:, j]) for j, table in enumerate(self.tables)]
                return self.out(torch.cat([*vectors, x_cont], 1))

        for columns in (["length", "width"], ["colour", "size"]):
            net = NeuralNetRegressor(Codes, categorical="auto", **QUICK | {"max_epochs": 2}).fit(X[columns], y)
            assert net.feature_importances_.shape == (2,)

    def test_watched_weights_are_those_behind_the_embedding(self, data):
        X, y = data
        net = self.regressor(categorical="auto", attribution="weight_mean_abs").fit(X, y)
        assert net.feature_importances_.shape == (5,)
