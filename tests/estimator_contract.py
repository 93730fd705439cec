"""What both frameworks' estimators must do: the numbered failures of neighbouring libraries, as tests.

Each framework subclasses `EstimatorContract`; the numbers are those of the list that the project keeps.
"""

from __future__ import annotations

import copy
import io
import pickle
import random
import re

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import RFE, RFECV, SelectFromModel, SelectKBest, SequentialFeatureSelector
from sklearn.inspection import PartialDependenceDisplay, permutation_importance
from sklearn.model_selection import GridSearchCV, StratifiedKFold, check_cv, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import skexplain
from skexplain.attributions import ATTRIBUTIONS, Attribution, ExpectedGradients, IntegratedGradients, Permutation


class Broken(Attribution):
    """A strategy with a bug of the user's."""

    def attribute(self, network, X, background, target, rng):
        return self.no_such_thing


class NotANumber(Attribution):
    def attribute(self, network, X, background, target, rng):
        return np.full(X.shape, np.nan)


class Nothing(Attribution):
    def attribute(self, network, X, background, target, rng):
        return np.zeros(X.shape)


class FirstColumn(BaseEstimator):
    """A user's own object: no base class of ours."""

    def attribute(self, network, X, background, target, rng):
        values = np.zeros(X.shape)
        values[:, 0] = 1
        return values


class Evil(BaseEstimator):
    """An object whose text is not to be run."""

    def attribute(self, network, X, background, target, rng):
        raise AssertionError("is never run")

    def __repr__(self):
        return "<script>"


class NoParameters:
    def attribute(self, network, X, background, target, rng):
        return np.zeros(X.shape)


class EstimatorContract:
    """Subclasses give `classifier` and `regressor` (quick, seeded factories) and `few_epochs` (a parameter dict)."""

    def classifier(self, **params):
        raise AssertionError

    def regressor(self, **params):
        raise AssertionError

    @pytest.fixture
    def fitted(self, blobs):
        """Fitted once for all tests; they do not change it."""
        if "_fitted" not in vars(type(self)):
            type(self)._fitted = self.classifier().fit(*blobs)
        return type(self)._fitted

    # 1. type survives

    def test_types_survive(self, blobs):
        _, y = blobs
        assert is_classifier(self.classifier())
        assert is_regressor(self.regressor())
        assert isinstance(check_cv(3, y, classifier=is_classifier(self.classifier())), StratifiedKFold)

    def test_scorers_and_meta_estimators(self, blobs):
        X, y = blobs
        binary = (y > 0).astype(int)
        auc = cross_val_score(self.classifier(), X, binary, scoring="roc_auc", cv=2, error_score="raise")
        assert auc.min() > 0.8
        assert CalibratedClassifierCV(self.classifier(), cv=2).fit(X, binary).score(X, binary) > 0.8
        vote = VotingClassifier(
            [("net", self.classifier()), ("forest", RandomForestClassifier(5, random_state=0))], voting="soft"
        )
        assert vote.fit(X, y).score(X, y) > 0.8

    # 3. any array

    @pytest.mark.parametrize(
        "kind", ["float64", "float16", "list", "fortran", "reversed", "memmap", "frame", "pandas_out"]
    )
    def test_any_array(self, fitted, blobs, kind, tmp_path):
        X, _ = blobs
        X = X.astype(np.float16).astype(np.float32)  # exact in every dtype
        expected = fitted.predict_proba(X)
        given = {
            "float64": lambda: X.astype(np.float64),
            "float16": lambda: X.astype(np.float16),
            "list": lambda: X.tolist(),
            "fortran": lambda: np.asfortranarray(X),
            "reversed": lambda: np.ascontiguousarray(X[:, ::-1])[:, ::-1],
            "memmap": lambda: _memmap(X, tmp_path),
            "frame": lambda: pd.DataFrame(X),
            "pandas_out": lambda: (
                StandardScaler(with_mean=False, with_std=False).set_output(transform="pandas").fit_transform(X)
            ),
        }[kind]()
        if kind in ("frame", "pandas_out"):
            given = np.asarray(given, dtype=np.float64)  # the net was fitted without names
        np.testing.assert_array_equal(fitted.predict_proba(given), expected)
        np.testing.assert_array_equal(
            fitted.importances(given, random_state=0).values, fitted.importances(X, random_state=0).values
        )

    def test_fit_on_frames_and_integers(self, blobs):
        X, y = blobs
        whole = np.round(3 * X).astype(int)
        a = self.classifier().fit(whole.astype(np.float32), y)
        b = self.classifier().fit(pd.DataFrame(whole, columns=list("abcd")), y)
        np.testing.assert_array_equal(
            a.predict_proba(whole), b.predict_proba(pd.DataFrame(whole, columns=list("abcd")))
        )
        np.testing.assert_array_equal(a.feature_importances_, b.feature_importances_)
        assert b.importances_.names == tuple("abcd")

    # 4. any y shape

    def test_column_target(self, line):
        X, y = line
        a, b = self.regressor().fit(X, y), self.regressor().fit(X, y.reshape(-1, 1))
        np.testing.assert_array_equal(a.predict(X), b.predict(X))
        assert a.score(X, y) > 0.99
        assert b.predict(X[:1]).shape == (1,)

    def test_two_targets(self, line):
        X, y = line
        Y = np.stack([y, -2 * y], axis=1)
        reg = self.regressor().fit(X, Y)
        assert reg.predict(X).shape == Y.shape
        assert reg.score(X, Y) > 0.95
        assert reg.feature_importances_.shape == (3,)
        assert reg.explain(X[:5]).shape == (5, 3, 2)

    # 5. any labels

    @pytest.mark.parametrize(
        "labels",
        [
            np.array(["no", "yes"]),
            np.array([False, True]),
            np.array([1, 2]),
            np.array([-1, 1]),
            np.array([5, 9], "int32"),
        ],
        ids=["str", "bool", "12", "signs", "int32"],
    )
    def test_any_labels(self, blobs, labels):
        X, y = blobs
        y = labels[(y > 0).astype(int)]
        clf = self.classifier().fit(X, y)
        assert clf.classes_.tolist() == labels.tolist()
        assert set(clf.predict(X)) <= set(labels)
        assert clf.predict(X).dtype == y.dtype
        p = clf.predict_proba(X)
        assert p.shape == (len(X), 2)
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
        assert clf.score(X, y) > 0.85

    # 6. the importances' contract

    @pytest.mark.parametrize(
        "name",
        sorted(
            n
            for n, a in ATTRIBUTIONS.items()
            if not (a.needs_estimator or a.needs_training or a.needs_convolution or a.needs_attention)
        ),
    )
    def test_importances_contract(self, fitted, name):
        clf = copy.deepcopy(fitted).set_params(attribution=name)
        clf._importances = None
        values = clf.feature_importances_
        assert values.dtype == np.float64
        assert values.shape == (clf.n_features_in_,)
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert values.sum() == pytest.approx(1)
        if name != "input_x_gradient":  # it compares with zero, from which the constant differs
            assert values[3] == 0
        assert set(np.argsort(values)[-2:]) == {0, 1}

    def test_nan_raises_and_zero_warns(self, blobs):
        X, y = blobs
        with pytest.raises(ValueError, match="NaN"):
            _ = self.classifier(attribution=NotANumber()).fit(X, y).feature_importances_
        clf = self.classifier(attribution=Nothing()).fit(X, y)
        with pytest.warns(UserWarning, match="All importances are 0"):
            assert clf.feature_importances_.tolist() == [0, 0, 0, 0]

    def test_own_strategy_object(self, blobs):
        clf = self.classifier(attribution=FirstColumn()).fit(*blobs)
        assert clf.feature_importances_.tolist() == [1, 0, 0, 0]

    # 7. unfitted and buggy

    def test_unfitted(self):
        clf = self.classifier()
        assert not hasattr(clf, "feature_importances_")
        with pytest.raises(NotFittedError):
            _ = clf.feature_importances_
        with pytest.raises(NotFittedError):
            clf.explain(np.zeros((2, 2)))
        with pytest.raises(NotFittedError):
            clf.predict(np.zeros((2, 2)))

    def test_attribute_error_reaches_the_user(self, blobs):
        clf = self.classifier(attribution=Broken()).fit(*blobs)
        with pytest.raises(RuntimeError, match="no_such_thing"):
            _ = clf.feature_importances_
        with pytest.raises(RuntimeError, match="no_such_thing"):
            SelectFromModel(clf, prefit=True).get_support()

    def test_a_strategy_set_later_counts(self, blobs):
        X, y = blobs
        clf = self.classifier().fit(X, y)
        first = clf.feature_importances_
        clf.set_params(attribution="permutation")
        assert not np.allclose(clf.feature_importances_, first)
        assert "Permutation" in repr(clf.importances_)
        shy = self.classifier(keep_rows=False).fit(X, y).set_params(attribution="saliency")
        with pytest.raises(ValueError, match="no row was kept"):
            _ = shy.feature_importances_

    # 8. selectors unchanged

    def test_select_from_model(self, fitted, blobs):
        X, y = blobs
        for selector in (SelectFromModel(fitted, prefit=True), SelectFromModel(self.classifier()).fit(X, y)):
            assert selector.get_support().tolist() == [True, True, False, False]

    def test_recursive_elimination(self, blobs):
        X, y = blobs
        rfe = RFE(self.classifier(), n_features_to_select=2).fit(X, y)
        assert rfe.support_.tolist() == [True, True, False, False]
        assert rfe.score(X, y) > 0.85
        rfecv = RFECV(self.classifier(), cv=2, step=2, min_features_to_select=2).fit(X, y)
        assert rfecv.support_[:2].all()

    def test_sequential_selection(self, blobs):
        X, y = blobs
        sfs = SequentialFeatureSelector(self.classifier(), n_features_to_select=1, cv=2).fit(X[:, :2], y)
        assert sfs.get_support().tolist() == [True, False]

    def test_width_from_data_in_grid_search(self, blobs, width_param, rate_param):
        X, y = blobs[0][:, :3], blobs[1]
        pipe = make_pipeline(SelectKBest(k=2), self.classifier(attribution="integrated_gradients"))
        step = pipe.steps[1][0]
        grid = {
            "selectkbest__k": [1, 3],
            f"{step}__{width_param}": [(4,)],
            f"{step}__{rate_param}": [0.01],
            f"{step}__attribution__n_steps": [8],
        }
        search = GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(X, y)
        best = search.best_estimator_[-1]
        assert best.attribution.n_steps == 8
        assert best.feature_importances_.shape == (search.best_params_["selectkbest__k"],)

    def test_inspection(self, fitted, blobs):
        X, y = blobs
        result = permutation_importance(fitted, X, y, n_repeats=2, random_state=0)
        assert result.importances_mean[0] > 0.1
        display = PartialDependenceDisplay.from_estimator(fitted, X, [0], target=2, grid_resolution=5)
        curve = display.pd_results[0]["average"][2]
        assert curve[-1] > curve[0]

    # 9. deterministic

    def test_random_state(self, fitted, blobs):
        again = self.classifier().fit(*blobs)
        np.testing.assert_array_equal(again.predict_proba(blobs[0]), fitted.predict_proba(blobs[0]))
        np.testing.assert_array_equal(again.feature_importances_, fitted.feature_importances_)

    def test_global_generators_untouched(self, fitted, blobs):
        X, y = blobs
        states = self.generator_states()
        numpy_state, python_state = np.random.get_state()[1].copy(), random.getstate()
        self.classifier().fit(X, y)
        fitted.explain(X[:5])
        fitted.importances(X, y, attribution="permutation")
        assert (np.random.get_state()[1] == numpy_state).all()
        assert random.getstate() == python_state
        for before, after in zip(states, self.generator_states(), strict=True):
            np.testing.assert_array_equal(before, after)

    def generator_states(self):
        """States of the framework's generators, as arrays."""
        return []

    # 10. no leak

    def test_refit_starts_anew(self, blobs):
        X, y = blobs
        clf = self.classifier()
        first = clf.fit(X, y).predict_proba(X)
        for _ in range(2):
            np.testing.assert_array_equal(clf.fit(X, y).predict_proba(X), first)

    # 11. round trip

    @pytest.mark.parametrize("how", ["pickle", "joblib", "cloudpickle", "deepcopy"])
    @pytest.mark.parametrize("computed", [False, True])
    def test_round_trip(self, blobs, how, computed):
        X, y = blobs
        clf = self.classifier().fit(X, y)
        if computed:
            _ = clf.importances_
        back = {
            "pickle": lambda e: pickle.loads(pickle.dumps(e)),
            "joblib": _joblib_round_trip,
            "cloudpickle": lambda e: cloudpickle.loads(cloudpickle.dumps(e)),
            "deepcopy": copy.deepcopy,
        }[how](clf)
        np.testing.assert_array_equal(back.predict_proba(X), clf.predict_proba(X))
        np.testing.assert_array_equal(back.feature_importances_, clf.feature_importances_)

    def test_rows_that_stay_home(self, blobs):
        X, y = blobs
        clf = self.classifier(keep_rows=False).fit(X, y)
        marker = X[:, 0].astype(np.float32)
        data = pickle.dumps(clf)
        rows = [X[i].tobytes() for i in range(len(X))]
        assert not any(row in data for row in rows)
        assert marker.tobytes() not in data
        np.testing.assert_allclose(clf.feature_importances_.sum(), 1)
        assert clf.explain(X[:3]).shape == (3, 4)

    @pytest.mark.parametrize("computed", [False, True])
    def test_file_without_code(self, blobs, tmp_path, computed):
        X, y = blobs
        frame, labels = pd.DataFrame(X, columns=list("abcd")), np.array(["u", "v", "w"], dtype=object)[y]
        clf = self.classifier(attribution=IntegratedGradients(n_steps=7), class_weight={"u": 2.0, "v": 1, "w": 1})
        clf.fit(frame, labels)
        if computed:
            _ = clf.importances_
        path = tmp_path / "clf.skx"
        skexplain.save(clf, path)
        assert [p.name for p in tmp_path.iterdir()] == ["clf.skx"]
        before = self.generator_states()
        back = skexplain.load(path)
        for old, new in zip(before, self.generator_states(), strict=True):
            np.testing.assert_array_equal(old, new)
        assert (back._importances is not None) == computed
        assert str(back.get_params(deep=False)) == str(clf.get_params(deep=False))
        assert vars(back).keys() == vars(clf).keys()
        np.testing.assert_array_equal(back.predict(frame), clf.predict(frame))
        np.testing.assert_array_equal(back.predict_proba(frame), clf.predict_proba(frame))
        np.testing.assert_array_equal(back.feature_importances_, clf.feature_importances_)
        np.testing.assert_array_equal(back.explain(frame[:3]).values, clf.explain(frame[:3]).values)
        assert back.feature_names_in_.tolist() == list("abcd")
        with pytest.raises(ValueError, match="feature names"):
            back.predict(frame[list("badc")])
        for estimator in (clf, back):  # the optimizer goes on where it was
            estimator.partial_fit(frame, labels)
        np.testing.assert_allclose(back.predict_proba(frame), clf.predict_proba(frame), rtol=1e-3, atol=1e-6)
        assert back.n_iter_ == clf.n_iter_
        again = pickle.loads(pickle.dumps(back))
        np.testing.assert_array_equal(again.predict_proba(frame), back.predict_proba(frame))

    def test_parameters_of_a_file_train_the_same(self, fitted, blobs, tmp_path):
        skexplain.save(fitted, tmp_path / "clf.skx")
        back = clone(skexplain.load(tmp_path / "clf.skx"))
        np.testing.assert_array_equal(back.fit(*blobs).predict_proba(blobs[0]), fitted.predict_proba(blobs[0]))

    def test_file_of_a_watched_training(self, line, tmp_path):
        X, y = line
        y = np.column_stack([y, -y])
        reg = self.regressor(attribution="weight_range", keep_rows=False).fit(X, y)
        skexplain.save(reg, tmp_path / "reg.skx")
        back = skexplain.load(tmp_path / "reg.skx")
        np.testing.assert_array_equal(back.predict(X), reg.predict(X))
        np.testing.assert_array_equal(back.feature_importances_, reg.feature_importances_)
        np.testing.assert_array_equal(back.importances(X).values, reg.importances(X).values)
        data = (tmp_path / "reg.skx").read_bytes()
        assert not any(row.tobytes() in data for row in X)

    def test_what_a_file_cannot_hold(self, fitted, tmp_path):
        refused = {
            r"attribution=FirstColumn\(\) .*is not one of this library's.*Set one of": {"attribution": FirstColumn()},
            r"attribution=Permutation\(.*a function among its": {"attribution": Permutation(scoring=max)},
            r"random_state=RandomState.*cannot be saved safely": {"random_state": np.random.RandomState(0)},
        }
        for match, params in refused.items():
            with pytest.raises(TypeError, match=match):
                skexplain.save(copy.deepcopy(fitted).set_params(**params), tmp_path / "clf.skx")
        assert list(tmp_path.iterdir()) == []

    def test_what_is_not_saved(self, blobs, tmp_path):
        path = tmp_path / "clf.skx"
        with pytest.raises(NotFittedError):
            skexplain.save(self.classifier(), path)
        pipe = make_pipeline(StandardScaler(), self.classifier()).fit(*blobs)
        with pytest.raises(
            TypeError, match=r"not a Pipeline\. Save its last step, and the steps in front of it by skops"
        ):
            skexplain.save(pipe, path)
        skexplain.save(pipe[-1], path)
        np.testing.assert_array_equal(
            skexplain.load(path).predict(pipe[:-1].transform(blobs[0])), pipe.predict(blobs[0])
        )

    # 12. clone

    def test_clone(self, blobs):
        clf = self.classifier(attribution=IntegratedGradients(n_steps=7), importance_rows=50).fit(*blobs)
        params = clf.get_params(deep=False)
        other = clone(clf)
        assert other.get_params(deep=False).keys() == params.keys()
        for name, value in other.get_params(deep=False).items():
            assert str(value) == str(params[name])
        assert other.attribution is not clf.attribution
        assert not hasattr(other, "feature_importances_")

    def test_strategy_parameters(self):
        clf = self.classifier(attribution="integrated_gradients")
        other = clone(clf)
        clf.set_params(attribution__n_steps=5)
        assert clf.attribution.n_steps == 5
        assert other.attribution == "integrated_gradients"
        shared = ExpectedGradients()
        clf.set_params(attribution=shared, attribution__n_samples=19)
        assert clf.attribution.n_samples == 19
        assert shared.n_samples == 100
        with pytest.raises(ValueError, match="has no parameters that can be set"):
            clf.set_params(attribution=NoParameters(), attribution__n=1)

    def test_diagram_shows_the_strategy(self):
        def caption(estimator):
            return re.findall(r'<div class="caption">(attribution.*?)</div>', estimator._repr_html_())

        assert caption(self.classifier()) == ["attribution: expected_gradients"]
        steps = make_pipeline(StandardScaler(), self.classifier(attribution=IntegratedGradients(n_steps=7)))
        assert caption(steps) == ["attribution: IntegratedGradients(n_steps=7)"]
        assert caption(self.classifier(attribution=Evil())) == ["attribution: &lt;script&gt;"]

    # 13. loss sanity, weights

    def test_nan_in_columns(self, blobs):
        X, y = blobs
        X = X.copy()
        X[3, 1] = np.nan
        with pytest.raises(ValueError, match="NaN"):
            self.classifier().fit(X, y)

    def test_weights_of_one_are_no_weights(self, blobs):
        X, y = blobs
        a = self.classifier().fit(X, y)
        b = self.classifier().fit(X, y, sample_weight=np.ones(len(X)))
        np.testing.assert_array_equal(a.predict_proba(X), b.predict_proba(X))

    def test_weights_matter(self, blobs):
        X, y = blobs
        noisy = y.copy()
        noisy[::3] = 2 - noisy[::3]
        clean = np.where(np.arange(len(y)) % 3 == 0, 1e-3, 1.0)
        assert self.classifier().fit(X, noisy, sample_weight=clean).score(X, y) > 0.85

    def test_balanced_classes(self, blobs):
        X, _ = blobs
        noise = np.random.default_rng(3).normal(size=len(X))  # where classes overlap, and only there, weights decide
        y = (X[:, 2] + X[:, 0] + noise > 1.8).astype(int)
        plain = self.classifier().fit(X, y).predict_proba(X)[:, 1].mean()
        balanced = self.classifier(class_weight="balanced").fit(X, y).predict_proba(X)[:, 1].mean()
        assert balanced > plain + 0.02

    # 14. names and groups

    def test_names(self, blobs):
        X, y = blobs
        frame = pd.DataFrame(X, columns=list("abcd"))
        clf = self.classifier().fit(frame, y)
        assert clf.feature_names_in_.tolist() == list("abcd")
        with pytest.raises(ValueError, match="feature names"):
            clf.predict(frame[list("badc")])
        with pytest.raises(ValueError, match="feature names"):
            clf.explain(frame[list("abc")])
        with pytest.raises(ValueError, match="features"):
            self.classifier().fit(X, y).predict(X[:, :3])

    def test_pipeline_gives_original_columns(self, blobs):
        X, y = blobs
        frame = pd.DataFrame(X[:, :2], columns=["ab.cd", "z"])
        frame.insert(0, "ab", np.where(X[:, 2] > 0, "cd", "ef"))
        pre = ColumnTransformer([("cat", OneHotEncoder(), ["ab"]), ("num", StandardScaler(), ["ab.cd", "z"])])
        pipe = make_pipeline(pre, self.classifier()).fit(frame, y)
        result = skexplain.importances(pipe, frame, random_state=0)
        assert result.names == ("ab", "ab.cd", "z")
        assert result.ranking[-1] == 0
        last = skexplain.importances(pipe[-1], pre.transform(frame), random_state=0, groups={"ab": [0, 1]})
        np.testing.assert_allclose(result.values, last.values, rtol=0.05)
        measured = skexplain.importances(pipe, frame, y, attribution="permutation", random_state=0)
        assert measured.names == ("ab", "ab.cd", "z")
        assert measured.ranking[0] == 1

    def test_groups(self, fitted, blobs):
        X, y = blobs
        grouped = fitted.explain(X[:20], groups={"both": [0, 1]}, random_state=0)
        single = fitted.explain(X[:20], random_state=0)
        assert grouped.names == ("both", "x2", "x3")
        np.testing.assert_allclose(grouped.values[:, 0], single.values[:, :2].sum(axis=1))
        joint = fitted.importances(X, y, attribution="permutation", groups={"both": [0, 1]})
        assert joint.names == ("both", "x2", "x3")
        assert joint.normalized[0] > 0.95

    # 22, 23. ground truth

    def test_linear_truth(self, line):
        X, y = line
        reg = self.regressor(**self.linear).fit(X, y)
        truth = np.array([3, 1, 0]) * np.abs(X - X.mean(axis=0)).mean(axis=0)
        for name in ("expected_gradients", "integrated_gradients", "saliency"):
            got = reg.importances(X, attribution=name, background=X, random_state=0).normalized
            np.testing.assert_allclose(got, truth / truth.sum(), atol=0.02)
        squared = 2 * np.array([9, 1, 0]) * X.var(axis=0)
        got = reg.importances(X, y, attribution=Permutation(n_repeats=20), random_state=0)
        np.testing.assert_allclose(got.values, squared, rtol=0.1, atol=0.03)

    # 26. lazy

    def test_importances_are_lazy_and_computed_once(self, blobs, monkeypatch):
        X, y = blobs
        calls = []
        strategy = FirstColumn()
        original = FirstColumn.attribute
        monkeypatch.setattr(FirstColumn, "attribute", lambda self, *a: calls.append(1) or original(self, *a))
        clf = self.classifier(attribution=strategy).fit(X, y)
        assert calls == []
        SelectFromModel(clf, prefit=True).transform(X)
        _ = clf.feature_importances_
        assert len(calls) == 1
        clf.feature_importances_[0] = 7  # a copy: the cache is safe
        assert clf.feature_importances_[0] == 1

    # bad input

    def test_bad_input(self, fitted, blobs):
        X, y = blobs
        with pytest.raises(ValueError, match=r"Unknown attribution 'igrad'; valid names are \["):
            fitted.explain(X, attribution="igrad")
        with pytest.raises(ValueError, match="'nope', which is not a column"):
            fitted.explain(X, groups={"g": ["nope"]})
        with pytest.raises(ValueError, match="groups must not overlap"):
            fitted.explain(X, groups={"g": [0], "h": [0]})
        with pytest.raises(ValueError, match=r"target=7 does not exist; classes are \[0, 1, 2\]"):
            fitted.explain(X, target=7)
        with pytest.raises(ValueError, match="Unknown output 'logits'"):
            fitted.explain(X, output="logits")
        with pytest.raises(ValueError, match="class"):
            self.classifier().fit(X, np.zeros(len(X)))
        with pytest.raises(ValueError, match="0 sample"):
            self.classifier().fit(X[:0], y[:0])
        with pytest.raises(ValueError, match="could not convert string"):
            self.classifier().fit(np.array([["a", "b"], ["c", "d"]]), [0, 1])
        with pytest.raises(ValueError, match="infinity"):
            fitted.predict(np.full((2, 4), np.inf))
        with pytest.raises(ValueError, match="dtype='half' is not supported; pass 'float32' or 'float64'"):
            self.classifier(dtype="half").fit(X, y)
        with pytest.raises(ValueError, match="importance_rows == 0, must be >= 1"):
            self.classifier(importance_rows=0).fit(X, y)
        with pytest.raises(TypeError, match=r"attribution=Permutation is a class; pass an object: Permutation\(\)"):
            fitted.importances(X, y, attribution=Permutation)
        with pytest.raises(ValueError, match="explains no single rows"):
            fitted.explain(X, attribution="permutation")
        with pytest.raises(ValueError, match="pass y"):
            fitted.importances(X, attribution="permutation")


def _memmap(X, folder):
    path = folder / "X.dat"
    np.memmap(path, X.dtype, "w+", shape=X.shape)[:] = X
    return np.memmap(path, X.dtype, "r", shape=X.shape)


def _joblib_round_trip(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    return joblib.load(file)
