"""Sequences by step, by feature and as a whole: what holds for the estimators of both frameworks."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skexplain
from skexplain.attributions import Occlusion

N, STEPS, FEATURES, STEP, FEATURE = 150, 5, 3, 3, 1
#: Flat column that decides.
DECIDING = STEP * FEATURES + FEATURE
NAMES = ["pulse", "pressure", "noise"]
#: All that say something of single columns of a trained network. Maps know no features, and pool over the steps of
#: networks that do so too: `PicturesContract` has one.
STRATEGIES = [
    *("ablation", "deeplift", "deepshap", "expected_gradients", "input_x_gradient", "integrated_gradients"),
    *("kernel_shap", "lrp", "occlusion", "permutation", "sage", "saliency", "shapley_sampling", "smoothgrad"),
]


def sequences():
    """Sequences ``(5, 3)``, and numbers that one feature at one step decides."""
    S = np.random.default_rng(0).normal(size=(N, STEPS, FEATURES)).astype(np.float32)
    return S, S[:, STEP, FEATURE]


def first(result):
    return result.names[result.ranking[0]]


class SequencesContract:
    #: Strategies that are tried on a convolution, and on recurrent layers.
    convolution: list[str]
    recurrent: list[str]

    def regressor(self, kind, **params):
        """A network with a layer of this kind on rows ``(steps, features)``."""
        raise NotImplementedError

    def fitted(self, kind):
        nets = type(self).__dict__.get("_nets") or {}
        if kind not in nets:
            nets[kind] = self.regressor(kind).fit(*sequences())
            type(self)._nets = nets
        return nets[kind]

    @pytest.mark.parametrize("kind", ["conv1d", "lstm", "gru"])
    def test_deciding_step_and_feature_rank_first(self, kind):
        S, y = sequences()
        net, rows = self.fitted(kind), slice(0, 40)
        for name in self.convolution if kind == "conv1d" else self.recurrent:
            common = {"attribution": name, "random_state": 0, "feature_names": NAMES}
            found = {g: net.importances(S[rows], y[rows], groups=g, **common) for g in ("steps", "features", None)}
            assert first(found["steps"]) == "step 3", name
            assert found["steps"].names == tuple(f"step {k}" for k in range(STEPS))
            assert first(found["features"]) == "pressure", name
            assert found["features"].names == tuple(NAMES)
            assert found[None].ranking[0] == DECIDING, name
            assert first(found[None]) == "pressure, step 3", name

    def test_groups_are_those_by_hand(self):
        S, y = sequences()
        net, place = self.fitted("conv1d"), np.arange(STEPS * FEATURES).reshape(STEPS, FEATURES)
        by_hand = {"steps": {f"step {k}": c for k, c in enumerate(place)}}
        by_hand["features"] = {f"feature {k}": c for k, c in enumerate(place.T)}
        for attribution in ("integrated_gradients", "permutation"):
            for word, groups in by_hand.items():
                common = {"attribution": attribution, "random_state": 0}
                got, expected = (net.importances(S[:30], y[:30], groups=g, **common) for g in (word, groups))
                assert got.names == expected.names
                np.testing.assert_array_equal(got.values, expected.values)
        exp = net.explain(S[:4], attribution="integrated_gradients", groups="steps")
        assert exp.values.shape == (4, STEPS)
        everything = net.explain(S[:4], attribution="integrated_gradients")
        assert everything.row_shape == (STEPS, FEATURES)
        np.testing.assert_allclose(everything.values.reshape(4, STEPS, FEATURES).sum(axis=2), exp.values)

    def test_windows_over_time(self):
        S, _ = sequences()
        net = self.fitted("conv1d")
        whole = net.explain(S[:4], attribution=Occlusion(window=(2, FEATURES)))
        np.testing.assert_array_equal(net.explain(S[:4], attribution=Occlusion(window=(2,))).values, whole.values)
        # all features of a step are covered together
        by_step = whole.values.reshape(4, STEPS, FEATURES)
        assert np.ptp(by_step, axis=2).max() == 0
        b = net._kept_background.mean(axis=0)
        fall = np.zeros((4, STEPS - 1))
        for k in range(STEPS - 1):
            covered = S[:4].copy()
            covered[:, k : k + 2] = b[k : k + 2]
            fall[:, k] = net.predict(S[:4]) - net.predict(covered)
        np.testing.assert_allclose(by_step[:, 2, 0], fall[:, 1:3].mean(axis=1), atol=1e-5)
        assert first(net.importances(S, groups="steps", attribution=Occlusion(window=(2,)))) in ("step 3", "step 4")

    def test_flat_rows_and_pipelines(self):
        S, y = sequences()
        X = S.reshape(N, -1)
        net = self.regressor("conv1d", input_shape=(STEPS, FEATURES)).fit(X, y)
        pipe = make_pipeline(StandardScaler(with_mean=False, with_std=False).fit(X), net)
        for attribution in ("saliency", "permutation"):
            common = {"attribution": attribution, "groups": "steps", "random_state": 0}
            got = skexplain.importances(pipe, X, y, **common)
            assert first(got) == first(net.importances(X, y, **common)) == "step 3"
