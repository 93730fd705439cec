"""Categorical columns in torch."""

import torch
from torch import nn

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

    def test_watched_weights_are_those_behind_the_embedding(self, data):
        X, y = data
        net = self.regressor(categorical="auto", attribution="weight_mean_abs").fit(X, y)
        assert net.feature_importances_.shape == (5,)
