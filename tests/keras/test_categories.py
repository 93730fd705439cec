"""Categorical columns in Keras."""

import keras
import numpy as np
import pytest
from keras import layers

from skexplain.keras import EmbedCodes, KerasClassifier, KerasRegressor, Standardise
from tests.categories_contract import CategoriesContract

from .conftest import BACKEND

QUICK = {"epochs": 40, "random_state": 0, "batch_size": 32}


def tabular(meta):
    """As fastai's: an embedding for each column of codes, batch normalisation of the numbers."""
    codes, numbers = layers.Input((len(meta["emb_szs_"]),), dtype="int32"), layers.Input((meta["n_cont_"],))
    vectors = [layers.Embedding(n, width)(codes[:, j]) for j, (n, width) in enumerate(meta["emb_szs_"])]
    h = layers.Concatenate()([*vectors, layers.BatchNormalization()(numbers)])
    h = layers.BatchNormalization()(layers.Dense(32, "relu")(h))
    return keras.Model([codes, numbers], layers.Dense(meta["n_outputs_"])(h))


def of_layers(meta):
    """Two inputs, and nothing but layers of Keras."""
    codes, numbers = layers.Input((len(meta["emb_szs_"]),), dtype="int32"), layers.Input((meta["n_cont_"],))
    h = layers.Concatenate()([layers.Flatten()(layers.Embedding(5, 2)(codes)), numbers])
    return keras.Model([codes, numbers], layers.Dense(meta["n_outputs_"])(h))


def of_the_table(meta):
    """One input, the codes in their columns."""
    x = layers.Input((meta["n_features_in_"],))
    h = Standardise()(EmbedCodes(meta["n_features_in_"], meta["cardinalities_"])(x))
    return keras.Model(x, layers.Dense(meta["n_outputs_"])(layers.Dense(16, "relu")(h)))


class TestCategories(CategoriesContract):
    @staticmethod
    def regressor(**params):
        return KerasRegressor(**QUICK, **params)

    @staticmethod
    def classifier(**params):
        return KerasClassifier(**QUICK, **params)

    @staticmethod
    def two_inputs(**params):
        return KerasRegressor(tabular, optimizer="adam", optimizer__learning_rate=0.01, **QUICK, **params)

    if BACKEND == "torch":  # what stands in front of the back end is the same for both
        test_scikit_learn_on_frames = test_names_positions_and_auto_mean_the_same = None
        test_correlated_groups_leave_codes_alone = None

    def test_the_vector_of_an_unknown_level_stays_zero(self, data, fitted):
        embed, scaling = fitted.model_.layers[:2]
        assert isinstance(embed, EmbedCodes)
        tables = [ops_to_array(table.embeddings) for table in embed.tables]
        assert all((table[0] == 0).all() for table in tables)
        assert (tables[0][1] != 0).all()  # missing colours were trained
        X = data[0]
        reads = [list(scaling.owners).index(k) for k in range(2)]  # the value in front of its pieces
        mean = ops_to_array(scaling.shift)[reads]
        np.testing.assert_allclose(mean, X[["length", "width"]].mean(), rtol=1e-4)
        vectors = np.array(scaling.owners) >= 2
        assert vectors.sum() == len(embed.owners) - 2
        assert (ops_to_array(scaling.shift)[vectors] == 0).all()
        assert (ops_to_array(scaling.scale)[vectors] == 1).all()

    def test_a_level_that_comes_later_is_not_learned(self, data):
        X, y = data
        reg = self.regressor(categorical="auto").set_params(epochs=1).fit(X, y)
        reg.partial_fit(X.assign(colour="violet"), y)
        assert (ops_to_array(reg.model_.layers[0].tables[0].embeddings)[0] == 0).all()

    def test_a_model_of_one_input_gets_the_table(self, data):
        X, y = data
        params = {"optimizer": "adam", "optimizer__learning_rate": 0.01, "categorical": "auto"}
        reg = KerasRegressor(of_the_table, **QUICK, **params).fit(X, y)
        assert reg.score(X, y) > 0.9
        assert reg.feature_importances_.argmax() == 1

    def test_watched_weights_are_those_behind_the_embedding(self, data):
        X, y = data
        reg = self.regressor(categorical="auto", attribution="viann").fit(X, y)
        assert reg.feature_importances_.shape == (5,)

    @pytest.mark.skipif(BACKEND != "tensorflow", reason="graphs are TensorFlow's")
    def test_models_of_the_same_making_share_a_graph(self, data, monkeypatch):
        from skexplain.keras import _epochs

        traced = []
        trace = _epochs._traced
        monkeypatch.setattr(_epochs, "_traced", lambda *args: traced.append(1) or trace(*args))
        X, y = (part[:60] for part in data)  # too few for some to be held out
        for model in (None, of_layers):
            traced.clear()
            for _ in range(2):
                KerasRegressor(model, categorical="auto", epochs=1, batch_size=32, random_state=0).fit(X, y)
            assert len(traced) <= 1  # none, if another test trained such a model

    def test_behind_the_embedding_it_is_a_stack_of_dense_layers(self, data, fitted):
        network = fitted._network().embedded(fitted._check_rows(data[0])).network.encoded().network
        assert network.as_dense() is not None
        assert len(network.dense_weights()) == 3


def ops_to_array(variable):
    return keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(variable))
