"""Pictures of strategies side by side."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

import skexplain

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def result():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4)) * [1, 1, 1, 5]
    y = X @ [3.0, 2, 1, 0]
    model = LinearRegression().fit(X, y)
    return skexplain.compare_methods(model, X, y, methods=["ablation", "permutation"], random_state=0)


def numbers(ax):
    return [[float(t.get_text()) for t in ax.texts if t.get_position()[1] == i] for i in range(len(ax.get_yticks()))]


def test_agreement(result, tmp_path):
    ax = result.plot.agreement(path=tmp_path / "a.png")
    np.testing.assert_allclose(numbers(ax), result.kendall, atol=0.005)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["ablation", "permutation"]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert not ax.patches
    assert plt.get_fignums() == []


def test_what_is_beyond_noise_is_framed(result):
    model, X = LinearRegression(), np.eye(3)[[0, 1, 2] * 9] * [1, 2, 3]
    model.fit(X, X @ [3.0, 2, 1])
    strategies = ["ablation", Backwards()]
    ax = skexplain.compare_methods(model, X, methods=strategies, random_state=0).plot.agreement()
    assert len(ax.patches) == 2
    assert "framed" in ax.get_title(loc="left")


class Backwards:
    """The larger the number of the column, the larger the value."""

    local = True
    needs_gradient = False

    def attribute(self, network, X, background, target, rng):
        return np.tile(np.arange(X.shape[1]) ** 9.0, (len(X), 1))


def test_shares(result):
    _, (ax, other) = plt.subplots(1, 2)
    assert result.plot.shares(ax=ax) is ax
    np.testing.assert_allclose(numbers(ax), result.shares.T[result.ranking], atol=0.005)
    result.plot.shares(ax=other, max_display=2)
    assert [t.get_text() for t in other.get_yticklabels()] == [f"x{j}" for j in result.ranking[:2]]
    assert other.get_xlabel() == "and 2 more columns"
    with pytest.raises(ValueError, match="max_display"):
        result.plot.shares(max_display=0)
