"""Random weights in Keras: trained arrays change, scalers and the original do not."""

import numpy as np

from skexplain.datasets import make_linear
from skexplain.keras import KerasRegressor
from skexplain.metrics._randomised import randomised


def test_weights_are_random_and_the_model_is_left_alone():
    data = make_linear(100, 5, random_state=0)
    net = KerasRegressor(epochs=2, random_state=0).fit(data.data, data.target)
    before = [np.array(w) for w in net.model_.get_weights()]
    values = net.explain(data.data[:5]).values
    other = randomised(net, np.random.default_rng(0))
    for w, v in zip(before, net.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(w, v)
    np.testing.assert_array_equal(net.explain(data.data[:5]).values, values)
    trained = {id(v) for v in other.model_.trainable_weights}
    for variable, w in zip(other.model_.weights, before, strict=True):
        new = np.asarray(variable.numpy() if not hasattr(variable.value, "detach") else variable.value.detach())
        if w.any():
            assert np.array_equal(new, w) == (id(variable) not in trained)
    e = other.explain(data.data[:5])
    assert not np.allclose(e.values, values)
    np.testing.assert_allclose(e.predictions, np.ravel(other.predict(data.data[:5])), rtol=1e-4)
