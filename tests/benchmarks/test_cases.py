"""Every case still runs, at tiny size, and both sides compute the same thing."""

import pytest
import torch

from benchmarks.cases import CASES

torch.set_num_threads(1)


@pytest.mark.filterwarnings("ignore")  # the peers'
@pytest.mark.parametrize("name", CASES)
def test_case(name):
    case = CASES[name][0](60)
    case.peer()
    case.ours()
    limit = {"fit_skorch": 0.5, "expected_gradients_shap": 0.2, "permutation_scikit_learn": 0.2}.get(name, 1e-4)
    assert case.gap < limit
