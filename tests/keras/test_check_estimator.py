"""scikit-learn's contract: all of it on torch, where a fit takes milliseconds, a smoke set on TensorFlow."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skexplain.keras import KerasClassifier, KerasRegressor

from .conftest import BACKEND

#: Rounding in float32: a row repeated and a row of weight two are summed in another order. scikit-learn expects the
#: same of its own MLPs.
FLOAT32 = {"check_sample_weight_equivalence_on_dense_data": "rounding of float32 sums"}

FULL = [KerasClassifier(epochs=60, random_state=0), KerasRegressor(epochs=60, random_state=0)]
DOUBLE = [e.__class__(epochs=60, random_state=0, dtype="float64") for e in FULL]
SMOKE = (
    "check_no_attributes_set_in_init",
    "check_get_params_invariance",
    "check_set_params",
    "check_mixin_order",
    "check_estimator_tags_renamed",
    "check_dict_unchanged",
    "check_dtype_object",
    "check_estimators_pickle",
    "check_fit_idempotent",
    "check_methods_subset_invariance",
    "check_n_features_in",
)


#: On torch, Keras multiplies matrices in float32 whatever the dtype: `keras.backend.result_type("float64", "float64")`
#: is "float32" there, and its matmul casts to that. On TensorFlow it does not, and the check passes.
TORCH = {"check_sample_weight_equivalence_on_dense_data": "Keras on torch multiplies matrices in float32"}


def expected(estimator):
    if estimator.dtype == "float32":
        return FLOAT32
    return TORCH if BACKEND == "torch" and isinstance(estimator, KerasClassifier) else {}


def name_of(check):
    return getattr(getattr(check, "func", check), "__name__", "")


@pytest.mark.slow
@parametrize_with_checks(FULL + DOUBLE, expected_failed_checks=expected)
def test_check_estimator(estimator, check):
    wanted = SMOKE if estimator.dtype == "float32" else FLOAT32  # strictly, in double precision
    if BACKEND != "torch" and name_of(check) not in wanted:
        pytest.skip("runs with KERAS_BACKEND=torch: tracing on TensorFlow takes a second a fit")
    check(estimator)
