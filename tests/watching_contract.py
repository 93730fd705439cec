"""What both frameworks' estimators must do with strategies that watch the training."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import skexplain
from skexplain.attributions import ATTRIBUTIONS, VIANN
from skexplain.exceptions import UnsupportedModelError
from skexplain.training import ImportanceHistory, MetricThreshold, WeightHistory
from skexplain.training._input_weights import input_weights
from skexplain.training._variance import VarianceImportance

WATCHED = sorted(name for name, a in ATTRIBUTIONS.items() if a.needs_training)
#: What each says of a history of weights ``(n_samples, n_columns, n_units)``.
FORMULAS = {
    "viann": lambda w: (w.var(axis=0) * np.abs(w[-1])).sum(axis=1),
    "weight_mean_abs": lambda w: np.abs(w).mean(axis=0).sum(axis=1),
    "weight_path_length": lambda w: np.abs(np.diff(w, axis=0)).sum(axis=(0, 2)),
    "weight_range": lambda w: np.ptp(w, axis=0).sum(axis=1),
    "weight_std": lambda w: w.std(axis=0).sum(axis=1),
}


def numbers(history):
    """Weights in double precision, 0 where a column has fewer than another: nobody multiplies it by these."""
    return np.nan_to_num(history.weights.astype(np.float64))


class WatchingContract:
    """Subclasses give `classifier` (a quick, seeded factory) and the name of its parameter for ``epochs``."""

    epochs: str

    def classifier(self, **params):
        raise AssertionError

    @property
    def few_epochs(self):
        return {self.epochs: 5}

    @pytest.mark.parametrize("name", WATCHED)
    def test_importances_are_the_formula_on_the_history(self, blobs, name):
        history = WeightHistory()
        clf = self.classifier(attribution=name, callbacks=[history], **self.few_epochs).fit(*blobs)
        values = clf.feature_importances_
        assert values.dtype == np.float64
        assert values.shape == (clf.n_features_in_,)
        assert values.sum() == pytest.approx(1)
        expected = FORMULAS[name](numbers(history))
        np.testing.assert_allclose(values, expected / expected.sum(), rtol=1e-5, atol=1e-9)
        if name != "weight_mean_abs":
            assert values[3] == pytest.approx(0, abs=1e-7)  # standardised, a constant is 0: nothing moves its weights

    def test_steps_are_more_than_epochs(self, blobs):
        X, y = blobs
        history = WeightHistory(per="step")
        clf = self.classifier(attribution=VIANN(per="step"), callbacks=[history], **self.few_epochs).fit(X, y)
        assert len(history.weights) > clf.n_iter_ + 1
        assert history.times.tolist() == list(range(len(history.weights)))
        expected = FORMULAS["viann"](numbers(history))
        np.testing.assert_allclose(clf.feature_importances_, expected / expected.sum(), rtol=1e-5, atol=1e-9)

    def test_watching_changes_nothing(self, blobs):
        X, y = blobs
        plain = self.classifier(**self.few_epochs).fit(X, y)
        watched = self.classifier(attribution=VIANN(per="step"), callbacks=[WeightHistory()], **self.few_epochs)
        np.testing.assert_array_equal(watched.fit(X, y).predict_proba(X), plain.predict_proba(X))

    def test_one_epoch_is_finite(self, blobs):
        clf = self.classifier(attribution="viann", **self.few_epochs).fit(*blobs)
        clf.set_params(**{self.epochs: 1}).fit(*blobs)
        assert np.isfinite(clf.feature_importances_).all()
        assert clf.feature_importances_.sum() == pytest.approx(1)

    def test_training_that_goes_on_is_one_training(self, blobs):
        X, y = blobs
        clf = self.classifier(attribution="viann", **self.few_epochs).fit(X, y)
        seen = clf._seen_training[0]._moments.count
        first = clf.feature_importances_
        clf.partial_fit(X, y)
        assert clf._seen_training[0]._moments.count > seen
        assert not np.array_equal(clf.feature_importances_, first)
        seen_twice = clf._seen_training[0]._moments.count
        clf.set_params(warm_start=True).fit(X, y)
        assert clf._seen_training[0]._moments.count == seen_twice + 5
        clf.set_params(warm_start=False).fit(X, y)
        assert clf._seen_training[0]._moments.count == seen

    def test_final_weights_are_the_restored_ones(self, blobs):
        X, y = blobs
        tracker = VarianceImportance()
        clf = self.classifier(attribution="viann", callbacks=[tracker], **{self.epochs: "auto"}).fit(X, y)
        found = input_weights(raw(clf), X)
        now = np.empty(found.size)
        found.read_into(now)
        np.testing.assert_array_equal(clf._seen_training[0]._final, now)
        np.testing.assert_array_equal(tracker._final, now)
        assert tracker._moments.count == clf.n_iter_ + 1
        np.testing.assert_allclose(clf.feature_importances_, tracker.var_scores)

    def test_is_set_before_fit(self, blobs):
        X, y = blobs
        clf = self.classifier(**self.few_epochs).fit(X, y)
        with pytest.raises(
            UnsupportedModelError, match=r"watches the network train, but this .* was trained without it"
        ):
            clf.importances(X, y, attribution="viann")
        clf.set_params(attribution="viann")
        with pytest.raises(UnsupportedModelError, match="Set it before fit"):
            _ = clf.feature_importances_
        clf.fit(X, y)
        assert clf.feature_importances_.sum() == pytest.approx(1)
        clf.set_params(attribution=VIANN(per="step"))
        with pytest.raises(UnsupportedModelError, match=r"was watched by VIANN\(\)"):
            _ = clf.feature_importances_
        with pytest.raises(ValueError, match="explains no single rows"):
            clf.set_params(attribution="viann").explain(X)

    def test_round_trip(self, blobs):
        X, y = blobs
        clf = self.classifier(attribution="viann", **self.few_epochs).fit(X, y)
        for twin in (copy.deepcopy(clf), pickle.loads(pickle.dumps(clf))):
            np.testing.assert_array_equal(twin.feature_importances_, clf.feature_importances_)
        assert clone(clf)._seen_training == (None, None)
        private = self.classifier(attribution="viann", keep_rows=False, **self.few_epochs).fit(X, y)
        np.testing.assert_array_equal(private.feature_importances_, clf.feature_importances_)

    def test_groups_are_sums(self, blobs):
        X, y = blobs
        clf = self.classifier(attribution="viann", **self.few_epochs).fit(X, y)
        alone, together = clf.importances(X), clf.importances(X, groups={"both": [0, 2]})
        assert together.values[together.names.index("both")] == pytest.approx(alone.values[0] + alone.values[2])
        assert np.isnan(alone.error).all()

    def test_in_the_columns_in_front_of_a_pipeline(self, blobs):
        X, y = blobs
        frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
        frame["letter"] = np.where(X[:, 0] > 0, "a", "b")
        numbers = [c for c in frame if c != "letter"]
        columns = ColumnTransformer([("n", StandardScaler(), numbers), ("c", OneHotEncoder(), ["letter"])])
        pipeline = make_pipeline(columns, self.classifier(attribution="viann", **self.few_epochs)).fit(frame, y)
        found = skexplain.importances(pipeline, frame, attribution="viann")
        assert found.names == tuple(frame.columns)
        inside = pipeline[-1].feature_importances_
        np.testing.assert_allclose(found.normalized, [*inside[:-2], inside[-2:].sum()])

    def test_selectors_and_searches(self, blobs):
        X, y = blobs
        clf = self.classifier(attribution="viann", **self.few_epochs)
        assert SelectFromModel(clf, max_features=2, threshold=-np.inf).fit(X, y).transform(X).shape[1] == 2
        assert RFE(clf, n_features_to_select=2).fit(X, y).support_.sum() == 2
        search = GridSearchCV(clf, {"attribution__per": ["epoch", "step"]}, cv=2).fit(X, y)
        best = search.best_estimator_
        found = skexplain.importances(search, X, attribution=best.attribution)
        np.testing.assert_array_equal(found.normalized, best.feature_importances_)

    def test_raw_networks_were_not_watched(self, blobs):
        X, y = blobs
        clf = self.classifier(**self.few_epochs).fit(X, y)
        with pytest.raises(UnsupportedModelError, match=r"use the callbacks of skexplain\.training"):
            skexplain.importances(raw(clf), clf._check_rows(X), attribution="viann")

    def test_names_and_rows_reach_the_callbacks(self, blobs):
        X, y = blobs
        frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
        weights, shares = WeightHistory(), ImportanceHistory("input_x_gradient", max_cost=None)
        clf = self.classifier(callbacks=[weights, shares], **self.few_epochs).fit(frame, y)
        assert weights.names == shares.names == tuple(frame.columns)
        assert shares.epochs.tolist() == list(range(clf.n_iter_ + 1))
        np.testing.assert_allclose(shares.values.sum(axis=1), 1)
        assert shares.to_frame().shape == shares.values.shape
        rows = frame.iloc[np.unique(np.linspace(0, len(X) - 1, min(200, len(X))).astype(int))]
        final = clf.importances(rows, attribution="input_x_gradient", background=rows[:50])
        np.testing.assert_allclose(shares.values[-1], final.normalized, atol=0.02)
        clone(clf)  # callbacks hold on to nothing that cannot be copied
        pickle.dumps(clf)

    def test_training_stops_when_the_ranking_is_stable(self, blobs):
        X, y = blobs
        history = ImportanceHistory("input_x_gradient", stop_when_stable=2, max_cost=None)
        clf = self.classifier(callbacks=[history], **{self.epochs: 60}).fit(X, y)
        assert clf.n_iter_ == history.stopped_epoch < 60
        assert len(history.values) >= 4

    def test_evaluations_are_left_out_when_they_cost_too_much(self, blobs):
        history = ImportanceHistory("input_x_gradient", max_cost=0)
        with pytest.warns(UserWarning, match="left out 5 of 5 evaluations that were due: .* max_cost=0 of"):
            self.classifier(callbacks=[history], **self.few_epochs).fit(*blobs)
        assert history.epochs.tolist() == [0]
        assert history.n_skipped == 5
        assert history.cost == 0

    def test_what_cannot_be_evaluated_while_training(self, blobs):
        for strategy in ("viann", "loco", "conditional_permutation"):
            with pytest.raises(ValueError, match="cannot be evaluated while a network trains"):
                self.classifier(callbacks=[ImportanceHistory(strategy)], **self.few_epochs).fit(*blobs)

    def test_permutation_sees_the_targets(self, blobs):
        X, y = blobs
        history = ImportanceHistory("permutation", every=2, max_cost=None)
        self.classifier(callbacks=[history], **{self.epochs: 8}).fit(X, y)
        assert set(np.argsort(history.values[-1])[-2:]) == {0, 1}

    def test_a_good_enough_metric_stops_the_training(self, blobs):
        X, y = blobs
        stop = MetricThreshold(monitor="loss", threshold=0.6, min_epochs=2)
        clf = self.classifier(callbacks=[stop], **{self.epochs: 60}).fit(X, y)
        assert clf.n_iter_ == stop.stopped_epoch < 60
        with pytest.raises(ValueError, match=r"monitor='val_auc' is not among the metrics of this training: \["):
            self.classifier(callbacks=[MetricThreshold("val_auc")], **self.few_epochs).fit(X, y)

    def test_a_broken_training_leaves_nothing_behind(self, blobs):
        X, y = blobs
        clf = self.classifier(attribution="viann", **self.few_epochs).fit(X, y)
        with pytest.raises(ValueError, match="monitor="):
            clf.set_params(callbacks=[MetricThreshold("nothing")]).fit(X, y)
        assert clf._seen_training == (None, None)


def raw(clf):
    """The network itself."""
    return clf.module_ if hasattr(clf, "module_") else clf.model_
