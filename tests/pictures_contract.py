"""Pictures and sequences in flat rows: what holds for the estimators of both frameworks."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.feature_selection import SelectFromModel
from sklearn.inspection import permutation_importance
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skexplain
from skexplain.attributions import GradCAM, Occlusion

SIDE = 6
#: Flat columns of the patch that is bright in class 1; another patch is as bright or as dark by chance.
PATCH = {SIDE * i + j for i in (1, 2) for j in (3, 4)}
STEPS, FEATURES, STEP, FEATURE = 7, 2, 4, 1


def pictures(n=200):
    """Flat rows of pictures ``(6, 6)``, and classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=n)
    X = 0.3 * rng.normal(size=(n, SIDE, SIDE))
    X[:, 1:3, 3:5] += 2 * y[:, None, None]
    X[:, 4:6, 0:2] += rng.choice([-1, 1], size=(n, 2, 2))
    return X.reshape(n, -1).astype(np.float32), y


def sequences(n=200):
    """Flat rows of sequences ``(7, 2)``, and numbers that one feature at one step decides."""
    rng = np.random.default_rng(0)
    X = 0.3 * rng.normal(size=(n, STEPS, FEATURES))
    y = rng.random(n)
    X[:, STEP, FEATURE] += 3 * y
    return X.reshape(n, -1).astype(np.float32), y.astype(np.float32)


class PicturesContract:
    #: Shape of a picture, and of a sequence, as the framework's convolutions read them.
    picture: tuple[int, ...]
    sequence: tuple[int, ...]
    #: Window of two by two pixels.
    window: tuple[int, ...]

    def classifier(self, **params):
        """A network that ends in the mean over the places; ``input_shape`` is its picture's."""
        raise NotImplementedError

    def regressor(self, **params):
        """The same for sequences."""
        raise NotImplementedError

    def default(self, **params):
        """A classifier with the default network, and few epochs."""
        raise NotImplementedError

    @pytest.fixture
    def fitted(self):
        if "_fitted" not in vars(type(self)):
            type(self)._fitted = self.classifier().fit(*pictures())
        return type(self)._fitted

    def test_scikit_learn_sees_a_table(self, fitted):
        X, y = pictures()
        assert fitted.score(X, y) == 1
        assert fitted.n_features_in_ == SIDE**2
        assert fitted.feature_importances_.shape == (SIDE**2,)
        assert fitted.importances_.names[-1] == "x35"
        assert fitted.explain(X[:3], attribution="saliency").values.shape == (3, SIDE**2)
        assert set(SelectFromModel(fitted, max_features=4, prefit=True).get_support(indices=True)) == PATCH
        found = permutation_importance(fitted, X, y, scoring="neg_log_loss", n_repeats=1, random_state=0)
        assert set(np.argsort(found.importances_mean)[-4:]) == PATCH
        assert clone(fitted).input_shape == self.picture
        again = pickle.loads(pickle.dumps(fitted))
        np.testing.assert_array_equal(again.predict_proba(X[:5]), fitted.predict_proba(X[:5]))

    def test_pipeline_and_frame(self, fitted):
        pd = pytest.importorskip("pandas")
        X, _ = pictures()
        pipeline = make_pipeline(StandardScaler(with_mean=False, with_std=False).fit(X), fitted)
        for name in ("saliency", "gradcam"):
            expected = fitted.explain(X[:20], attribution=name, background=X).values
            got = skexplain.explain(pipeline, X[:20], attribution=name, background=X)
            np.testing.assert_allclose(got.values, expected, atol=1e-6)
        frame = pd.DataFrame(X[:20], columns=[f"pixel {j}" for j in range(SIDE**2)])
        with pytest.warns(UserWarning, match="feature names"):
            assert fitted.explain(frame, attribution="saliency").names[7] == "pixel 7"

    def test_shape_that_does_not_fit(self):
        X, y = pictures(20)
        with pytest.raises(ValueError, match=r"input_shape=\(6, 7\) has 42 numbers, but X has 36 columns"):
            self.classifier(input_shape=(6, 7)).fit(X, y)
        with pytest.raises(ValueError, match=r"input_shape=\(6, 7\) has 42 numbers, but X has 36 columns"):
            self.default(input_shape=(6, 7)).fit(X, y)
        for wrong in (36, "36", (0, 36), (6.0, 6.0), ()):
            with pytest.raises(ValueError, match=r"input_shape=.* must be the shape of a row"):
                self.classifier(input_shape=wrong).fit(X, y)

    def test_rows_of_another_width_or_shape(self, fitted):
        X, _ = pictures(20)
        with pytest.raises(ValueError, match="36 features"):
            fitted.predict(X[:, 1:])
        with pytest.raises(ValueError, match="Found array with dim 4"):
            fitted.predict(X.reshape(-1, *self.picture))

    def test_default_network_reads_flat_rows(self):
        X, y = pictures(60)
        shaped, flat = (self.default(input_shape=s, random_state=0).fit(X, y) for s in (self.picture, None))
        np.testing.assert_array_equal(shaped.predict_proba(X), flat.predict_proba(X))

    @pytest.mark.parametrize(
        "name",
        [
            *("gradcam", "saliency", "integrated_gradients", "expected_gradients"),
            *("deepshap", "occlusion", "permutation"),
        ],
    )
    def test_deciding_patch_ranks_first(self, fitted, name):
        X, y = pictures()
        strategy = Occlusion(window=self.window) if name == "occlusion" else name
        found = fitted.importances(X[:100], y[:100], attribution=strategy, target=1, random_state=0)
        windows = np.lib.stride_tricks.sliding_window_view(found.values.reshape(SIDE, SIDE), (2, 2)).sum(axis=(2, 3))
        assert np.unravel_index(windows.argmax(), windows.shape) == (1, 3)
        if name != "gradcam":  # whose maps a filter that is heavy on one side moves by a pixel
            assert set(found.ranking[:4]) == PATCH

    def test_deciding_step_and_feature(self):
        X, y = sequences()
        net = self.regressor().fit(X, y)
        place = np.arange(STEPS * FEATURES).reshape(STEPS, FEATURES)
        everywhere = net.importances(X, attribution="expected_gradients", random_state=0)
        assert everywhere.ranking[0] == place[STEP, FEATURE]
        steps = {f"step {k}": columns for k, columns in enumerate(place)}
        features = {f"feature {k}": columns for k, columns in enumerate(place.T)}
        for groups, first in ((steps, f"step {STEP}"), (features, f"feature {FEATURE}")):
            found = net.importances(X, groups=groups, attribution="expected_gradients", random_state=0)
            assert found.names[found.ranking[0]] == first
        # the maps know steps and no features; more of it is more of the output
        map_of = net.explain(X, attribution=GradCAM()).values.reshape(-1, STEPS, FEATURES)
        assert (map_of[..., 0] == map_of[..., 1]).all()
        found = net.importances(X, groups=steps, attribution="gradcam", random_state=0)
        assert found.names[found.ranking[0]] == f"step {STEP}"

    def test_rows_of_several_dimensions_need_no_shape(self, fitted):
        X, y = pictures()
        shaped = X.reshape(-1, *self.picture)
        net = self.classifier(input_shape=None).fit(shaped, y)
        np.testing.assert_array_equal(net.predict_proba(shaped), fitted.predict_proba(X))
        assert net.feature_importances_ == pytest.approx(fitted.feature_importances_)
