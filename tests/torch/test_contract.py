"""The estimators' contract on torch."""

import pytest
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks

from skexplain.torch import MLP, NeuralNetClassifier, NeuralNetRegressor
from tests.estimator_contract import EstimatorContract


class TestTorch(EstimatorContract):
    linear = {"module": MLP, "module__hidden": (), "max_epochs": 300, "lr": 0.05}

    def classifier(self, **params):
        return NeuralNetClassifier(
            **{"module__hidden": (16,), "max_epochs": 40, "random_state": 0, "lr": 0.01} | params
        )

    def regressor(self, **params):
        return NeuralNetRegressor(
            **{"module__hidden": (16,), "max_epochs": 150, "random_state": 0, "lr": 0.02} | params
        )

    @pytest.fixture
    def width_param(self):
        return "module__hidden"

    @pytest.fixture
    def rate_param(self):
        return "optimizer__lr"

    def generator_states(self):
        return [torch.random.get_rng_state().numpy().copy()]


EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "float32 sums differ in the last digit when rows are repeated; "
    "scikit-learn expects the same of its own MLPs. The float64 estimators below pass it."
}


@parametrize_with_checks(
    [NeuralNetClassifier(random_state=0), NeuralNetRegressor(random_state=0)],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_scikit_learn(estimator, check):
    check(estimator)


@parametrize_with_checks(
    [NeuralNetClassifier(random_state=0, dtype="float64"), NeuralNetRegressor(random_state=0, dtype="float64")]
)
def test_scikit_learn_in_double_precision(estimator, check):
    check(estimator)
