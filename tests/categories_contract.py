"""What holds for estimators with categorical columns, in both frameworks."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.feature_selection import SelectFromModel
from sklearn.inspection import partial_dependence
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

import skexplain
from skexplain.attributions import ATTRIBUTIONS, IntegratedGradients, get_attribution

#: Strategies that need what these networks, or this training, do not have.
ELSEWHERE = {
    "gradcam",
    "attention",
    "attention_rollout",
    "gradient_x_attention",
    "loco",
    "gates",
    "conditional_permutation",
}
EVERY = sorted(name for name in ATTRIBUTIONS if name not in ELSEWHERE and not ATTRIBUTIONS[name].needs_training)


def mixed(n=240):
    """Numbers, text with gaps, categories and booleans; ``colour`` decides."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "length": rng.normal(size=n),
            "colour": rng.choice(["red", "green", "blue", None], n),
            "size": pd.Categorical(rng.choice(list("SML"), n)),
            "width": rng.normal(size=n),
            "new": rng.random(n) < 0.5,
        }
    )


def target(X):
    """Of the colour a missing one counts too; the size does a little."""
    colour = np.select([X["colour"] == "red", X["colour"].isna()], [3.0, -3.0], 0.0)
    return colour + 0.5 * X["length"].to_numpy() + 0.5 * (X["size"] == "L").to_numpy()


class CategoriesContract:
    """A subclass says how a regressor and a classifier are made that learn this in a second or two."""

    @pytest.fixture(scope="class")
    @classmethod
    def data(cls):
        X = mixed()
        return X, target(X)

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls, data):
        return cls.regressor(categorical="auto").fit(*data)

    def test_levels_are_learned(self, data, fitted):
        assert fitted.score(*data) > 0.95
        assert fitted.categories_.cardinalities == {1: 5, 2: 5, 4: 4}

    def test_file_without_code(self, data, fitted, tmp_path):
        X, _ = data
        skexplain.save(fitted, tmp_path / "net.skx")
        back = skexplain.load(tmp_path / "net.skx")
        assert back.categories_.cardinalities == fitted.categories_.cardinalities
        odd = X[:4].assign(colour=["purple", None, "red", "blue"], new=[True, False, True, False])
        for rows in (X, odd):
            np.testing.assert_array_equal(back.predict(rows), fitted.predict(rows))
        np.testing.assert_array_equal(back.feature_importances_, fitted.feature_importances_)
        exp = back.explain(X[:5])
        np.testing.assert_array_equal(exp.values, fitted.explain(X[:5]).values)
        exp.save(tmp_path / "exp.skx")
        pd.testing.assert_frame_equal(skexplain.Explanation.load(tmp_path / "exp.skx").data, X[:5])

    @pytest.mark.parametrize("name", EVERY)
    def test_the_deciding_category_ranks_first(self, name, data, fitted):
        X, y = data
        result = fitted.importances(X[:100], y[:100], attribution=name)
        assert result.names == tuple(X)
        # in the sum over a vector, dimensions that are not used count too (garson), or those used cancel
        if name not in ("garson", "connection_weights"):
            assert result.ranking[0] == 1, result
        np.testing.assert_allclose(result.normalized.sum(), 1)

    def test_classifier(self, data):
        X, y = data
        labels = np.where(y > 0.5, "high", "low")
        clf = self.classifier(categorical=["colour", "size", "new"]).fit(X, labels)
        assert clf.score(X, labels) > 0.9
        assert clf.feature_importances_.argmax() == 1
        assert clf.explain(X[:5]).values.shape == (5, 5)

    def test_names_positions_and_auto_mean_the_same(self, data, fitted):
        X, y = data
        for categorical in (["new", "colour", "size"], np.array([4, 2, 1])):
            other = self.regressor(categorical=categorical).fit(X, y)
            np.testing.assert_array_equal(other.predict(X), fitted.predict(X))

    def test_values_add_up_to_what_the_network_says(self, data, fitted):
        X, _ = data
        strategy = IntegratedGradients(baseline="background")
        exp = fitted.explain(X[:5], background=X[5:15], attribution=strategy)
        np.testing.assert_allclose(exp.values.sum(axis=1) + exp.base_values, fitted.predict(X[:5]), atol=0.05)
        exp = fitted.explain(X[:5], attribution=IntegratedGradients(baseline=X[20:21]))
        np.testing.assert_allclose(exp.base_values, fitted.predict(X[20:21])[0], rtol=1e-4)

    def test_shuffled_levels_are_shuffled_codes(self, data, fitted):
        X, y = data
        order = np.random.default_rng(0).permutation(len(X))
        shuffled = X.assign(colour=X["colour"].to_numpy()[order])
        codes = fitted._check_rows(X)
        codes[:, 1] = codes[order, 1]
        np.testing.assert_allclose(fitted._network().predict(codes)[:, 0], fitted.predict(shuffled), rtol=1e-5)
        by_permutation = fitted.importances(X, y, attribution="permutation")
        fall = np.mean((fitted.predict(shuffled) - y) ** 2) - np.mean((fitted.predict(X) - y) ** 2)
        np.testing.assert_allclose(by_permutation.signed[1], fall, rtol=0.2)

    def test_unknown_and_missing_levels(self, data, fitted):
        X, _ = data
        rows = X[:3].assign(colour=["violet", None, np.nan])
        assert fitted._check_rows(rows)[:, 1].tolist() == [0, 1, 1]
        predicted = fitted.predict(rows)
        assert np.isfinite(predicted).all()
        assert np.all(predicted[1:] - 0.5 * rows["length"][1:] < -1)
        other = fitted.predict(rows.assign(colour="never seen"))
        np.testing.assert_allclose(other[0], predicted[0], rtol=1e-6)
        assert np.isfinite(fitted.explain(rows).values).all()

    def test_copies_and_pickles(self, data, fitted):
        X, _ = data
        shares = fitted.feature_importances_
        for other in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
            np.testing.assert_allclose(other.predict(X), fitted.predict(X), rtol=1e-6)
            np.testing.assert_allclose(other.feature_importances_, shares, rtol=1e-5)
        assert clone(fitted).get_params()["categorical"] == "auto"
        assert not hasattr(clone(fitted), "categories_")

    def test_scikit_learn_on_frames(self, data, fitted):
        X, y = data
        net = self.regressor(categorical="auto")
        selected = SelectFromModel(net, max_features=2, threshold=-np.inf).set_output(transform="pandas").fit(X, y)
        assert "colour" in selected.get_feature_names_out()
        assert cross_val_score(make_pipeline(self.regressor(categorical="auto")), X, y, cv=2).mean() > 0.5
        known = X[X["colour"].notna()]  # scikit-learn sorts the levels
        averages = partial_dependence(fitted, known, ["colour"], categorical_features=["colour", "size", "new"])
        levels = dict(zip(averages["grid_values"][0], averages["average"][0], strict=True))
        assert levels["red"] > levels["blue"] + 1.5

    def test_a_model_of_two_inputs_gets_codes_and_numbers(self, data):
        X, y = data
        net = self.two_inputs(categorical=["colour", "size", "new"]).fit(X, y)
        assert net.score(X, y) > 0.5
        assert net.feature_importances_.argmax() == 1
        exp = net.explain(X[:10])
        np.testing.assert_allclose(exp.values.sum(axis=1) + exp.base_values, net.predict(X[:10]), atol=1e-3)

    def test_correlated_groups_leave_codes_alone(self, data):
        X, y = data
        X = X.assign(width=X["length"] + 1e-3 * X["width"], copy=X["colour"])
        net = self.regressor(categorical="auto").fit(X, y)
        names = net.importances(X, y, attribution="permutation", groups="correlated").names
        assert "length + width" in names
        assert {"colour", "copy", "size"} <= set(names)

    @pytest.mark.parametrize(
        ("params", "change", "message"),
        [
            ({"categorical": ["color"]}, {}, "contains 'color', which is not a column"),
            ({"categorical": [9]}, {}, "contains 9, which is not a column"),
            ({"categorical": "colour"}, {}, "must be 'auto', None, or a list"),
            ({"categorical": ["size", "new"]}, {}, "'colour' contains values that are no numbers; name it"),
            ({"categorical": "auto"}, {"length": np.nan}, "'length' of numbers. Fill the gaps"),
            ({"categorical": "auto", "input_shape": (5, 1)}, {}, "leave out one of the two"),
        ],
    )
    def test_bad_input(self, params, change, message, data):
        X, y = data
        with pytest.raises(ValueError, match=message):
            self.regressor(**params).fit(X.assign(**change), y)

    def test_other_columns_than_in_fit(self, data, fitted):
        X, _ = data
        with pytest.raises(ValueError, match="feature names"):
            fitted.predict(X[list(X)[::-1]])
        with pytest.raises(ValueError, match="feature names"):
            fitted.predict(X.iloc[:, :4])


def test_every_strategy_is_asked_or_listed():
    assert set(EVERY) | ELSEWHERE >= {n for n in ATTRIBUTIONS if not get_attribution(n).needs_training}
