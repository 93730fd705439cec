"""The transformer on columns: what decides ranks first, by its attention and by everything else."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skexplain
from skexplain.attributions import ATTRIBUTIONS, Attention
from skexplain.torch import FTTransformer, NeuralNetClassifier, NeuralNetRegressor

ADAM = {"optimizer": torch.optim.Adam, "lr": 0.01, "batch_size": 64, "train_split": None, "random_state": 0}
SMALL = {"module__n_blocks": 2, "module__width": 16, "module__n_heads": 2}
BY_ATTENTION = ["attention", "attention_rollout", "gradient_x_attention"]
#: For dense stacks, convolutions and estimators that are trained anew or watched.
OTHERS = {"connection_weights", "garson", "gates", "gradcam", "loco", "conditional_permutation"}
ELSEWHERE = {name for name, a in ATTRIBUTIONS.items() if a.needs_training} | OTHERS


def table(n=300):
    """Five columns of numbers, of which column 2 decides."""
    X = np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32)
    return X, (X[:, 2] > 0).astype(int)


@pytest.fixture(scope="module")
def fitted():
    return NeuralNetClassifier(FTTransformer, max_epochs=8, **SMALL, **ADAM).fit(*table())


def test_takes_its_sizes_from_the_data(fitted):
    X, y = table()
    assert fitted.score(X, y) > 0.95
    assert fitted.module_.tokens.weight.shape == (5, 16)
    assert fitted.module_.output.out_features == 2
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X[:5]), fitted.predict_proba(X[:5]))
    other = clone(fitted).set_params(max_epochs=1).fit(X[:, 1:4], y)
    assert other.module_.tokens.weight.shape == (3, 16)


@pytest.mark.parametrize("name", sorted(ATTRIBUTIONS.keys() - ELSEWHERE))
def test_deciding_column_ranks_first(fitted, name):
    X, y = table()
    found = fitted.importances(X[:20], y[:20], attribution=name, background=X[100:120], random_state=0)
    assert found.ranking[0] == 2
    assert found.normalized[2] > (0.3 if name in BY_ATTENTION else 0.5)


def test_attention_is_the_classification_tokens(fitted):
    X, _ = table()
    net = fitted.module_.eval()
    with torch.no_grad():
        h = torch.cat([net.cls.expand(20, 1, -1), net.tokens(torch.tensor(X[:20]))], 1)
        expected = []
        for block in net.blocks:
            z = block.before_attention(h)
            expected.append(block.attention(z, z, z)[1][:, 0, 1:])
            h = block(h)
    found = fitted.explain(X[:20], attribution="attention").values
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-6)
    for layer in (0, 1):
        one = fitted.explain(X[:20], attribution=Attention(layer=layer)).values
        np.testing.assert_allclose(one, expected[layer], atol=1e-6)


@pytest.mark.parametrize("name", BY_ATTENTION)
def test_behind_a_pipeline(fitted, name):
    """The columns in front of a scaler have the importances of those behind it."""
    X, _ = table()
    scaler = StandardScaler().fit(X * 7 + 1)
    pipeline = make_pipeline(scaler, fitted)
    rows = (scaler.inverse_transform(X) - 1e-3)[:30]
    expected = fitted.explain(scaler.transform(rows).astype(np.float32), attribution=name).values
    got = skexplain.explain(pipeline, rows, attribution=name, background=rows)
    assert got.names == ("x0", "x1", "x2", "x3", "x4")
    np.testing.assert_allclose(got.values, expected, atol=1e-6)


@pytest.fixture(scope="module")
def of_codes():
    """A network of two columns of levels, of which the first decides, and two of numbers; rows and classes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4)).astype(np.float32)
    X[:, 1], X[:, 3] = rng.integers(4, size=300), rng.integers(2, size=300)
    y = np.isin(X[:, 1], [1, 3]).astype(int)
    net = NeuralNetClassifier(FTTransformer, categorical=[1, 3], max_epochs=10, **SMALL, **ADAM)
    return net.fit(X, y), X, y


@pytest.mark.parametrize(
    "name", ["attention", "attention_rollout", "permutation", "deeplift", "expected_gradients", "shapley_sampling"]
)
def test_deciding_level_ranks_first(of_codes, name):
    net, X, y = of_codes
    assert net.score(X, y) > 0.95
    assert [e.num_embeddings for e in net.module_.tokens.embeddings] == [6, 4]  # two more: unknown and missing
    found = net.importances(X[:20], y[:20], attribution=name, background=X[100:120], random_state=0)
    assert found.ranking[0] == 1


def test_codes_are_not_standardised():
    mean, scale = np.array([3.0, 3.0]), np.array([2.0, 2.0])
    net = FTTransformer(2, 1, n_blocks=1, width=4, n_heads=1, cardinalities={1: 3}, mean=mean, scale=scale)
    assert net.standardise(torch.tensor([[5.0, 2.0]])).tolist() == [[1.0, 2.0]]
    assert mean.tolist() == [3.0, 3.0]  # what is given is not written to


def test_tokens_stand_in_the_order_of_the_columns():
    torch.manual_seed(0)
    tokens = FTTransformer(4, 1, n_blocks=1, width=4, n_heads=1, cardinalities={0: 3, 2: 5}).tokens
    x = torch.tensor([[2.0, 0.5, 4.0, -1.0]])
    expected = [
        tokens.embeddings[0].weight[2],
        0.5 * tokens.weight[0] + tokens.bias[0],
        tokens.embeddings[1].weight[4],
        -tokens.weight[1] + tokens.bias[1],
    ]
    torch.testing.assert_close(tokens(x)[0], torch.stack(expected))


def test_regression_in_the_targets_units():
    X, _ = table()
    y = 100 * X[:, 0] + 1000
    net = NeuralNetRegressor(
        FTTransformer, module__target_mean=[y.mean()], module__target_scale=[y.std()], max_epochs=2, **SMALL, **ADAM
    )
    net.fit(X, y)
    assert abs(net.predict(X).mean() - 1000) < 50
    assert net.importances(X[:30], attribution="attention").values.shape == (5,)


def test_instance_is_drawn_anew():
    X, y = table(60)
    module = FTTransformer(5, 2, n_blocks=1, width=8, n_heads=2)
    first, second = (
        NeuralNetClassifier(module, **ADAM | {"random_state": seed}, max_epochs=1).fit(X, y) for seed in (0, 1)
    )
    assert not torch.equal(first.module_.cls, second.module_.cls)
    assert not torch.equal(first.module_.tokens.bias, second.module_.tokens.bias)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"width": 10, "n_heads": 4}, "width=10 must be a multiple of n_heads=4"),
        ({"n_blocks": 0}, "n_blocks=0 must be a whole number of at least 1"),
        ({"width": 8.0}, "width=8.0 must be a whole number"),
        ({"cardinalities": {5: 3}}, r"cardinalities=\{5: 3\} must give .* among the 5 columns"),
        ({"cardinalities": {1: 0}}, "of at least 1 to places"),
    ],
)
def test_sizes_that_cannot_be(params, message):
    with pytest.raises(ValueError, match=message):
        FTTransformer(5, 2, **params)
