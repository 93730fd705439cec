"""The laws of the zoo on Keras, and its networks beside those of torch."""

import numpy as np
import pytest

pytest.importorskip("torch")  # the networks are trained there

from tests import zoo
from tests.zoo import in_keras, in_torch
from tests.zoo.laws import FEW, ZooLaws, distance
from tests.zoo.outcome import STRATEGIES, keras_framework, zoo_outcome

FRAMEWORK = keras_framework()

# one process has the networks and their graphs ready for all of these
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("keras zoo")]


class TestKeras(ZooLaws):
    framework = FRAMEWORK
    some = FEW
    # a graph takes a second to trace
    asked = ("deeplift", "lrp", "expected_gradients", "permutation") if FRAMEWORK == "Keras on TensorFlow" else None
    of_spellings = ("connection_weights", "deeplift", "lrp") if FRAMEWORK == "Keras on TensorFlow" else None

    def may_refuse(self, strategy, spelling):
        # a list of a model's layers needs a model whose graph is known
        without_graph = spelling.startswith("subclass") or spelling in ("matmul", "einsum")
        return super().may_refuse(strategy, spelling) or (
            without_graph and strategy in ("connection_weights", "garson", "weight_mean_abs")
        )


@pytest.mark.parametrize("name", zoo.NAMES)
def test_outputs_are_those_of_torch(name):
    X = zoo.rows()[0]
    expected = in_torch.outputs(next(iter(zoo.torch_nets()[name].values())), X)
    for net in zoo.keras_nets()[name].values():
        np.testing.assert_allclose(in_keras.outputs(net, X), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_attributions_are_those_of_torch(strategy):
    different = {}
    # LRP counts biases: Keras adds one to the sum of an LSTM's two products, torch one to each
    # maps of Keras' convolutions are behind their own activations, of torch's before those that follow
    apart = {"lrp": {"lstm"}, "gradcam": {"max pool1d", "average pool"}}
    for name in set(zoo.NAMES) - apart.get(strategy, set()):
        ours, theirs = zoo_outcome(strategy, FRAMEWORK, name), zoo_outcome(strategy, "torch", name)
        # one may refuse what the other has a rule for; the table says so
        if not ours.refused and not theirs.refused and distance(ours.values, theirs.values) > 1e-4:
            different[name] = distance(ours.values, theirs.values)
    assert not different, different
