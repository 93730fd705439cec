"""Texts of Keras models: the word that decides ranks first. Tiny models, trained here."""

import pickle

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import skexplain
from skexplain.keras import KerasClassifier, TextVectorizer

from .conftest import BACKEND

pytestmark = pytest.mark.filterwarnings("ignore:.*np.object:FutureWarning")

WORDS = "the a film movie plot was very quite and actor scene good bad long short old".split()
#: On TensorFlow each strategy is a graph that is traced; these are one for each way of looking at the network.
STRATEGIES = ["expected_gradients", "deeplift", "lrp", "ablation", "occlusion", "kernel_shap"]


def sentences(n=80):
    """Texts of 3 to 6 words, of which half have the word that decides."""
    rng = np.random.default_rng(0)
    others = [w for w in WORDS if w != "good"]
    texts, y = [], []
    for i in range(n):
        words = list(rng.choice(others, size=rng.integers(3, 6)))
        if i % 2:
            words.insert(int(rng.integers(len(words))), "Good,")
        texts.append(" ".join(words))
        y.append(["neg", "pos"][i % 2])
    return texts, np.array(y)


TEXTS, Y = sentences()
POSITIVE = [t for t, label in zip(TEXTS, Y, strict=True) if label == "pos"][:4]


def build(meta, convolution=True):
    layers = [keras.layers.Embedding(20, 4)]
    if convolution:
        layers += [keras.layers.Conv1D(4, 2, activation="relu"), keras.layers.GlobalMaxPooling1D()]
    else:
        layers += [keras.layers.GlobalAveragePooling1D()]
    return keras.Sequential([keras.Input((meta["n_features_in_"],)), *layers, keras.layers.Dense(2)])


def estimator(**more):
    how = {"optimizer": "adam", "optimizer__learning_rate": 0.05, "epochs": 12, "random_state": 0} | more
    return KerasClassifier(model=build, **how)


@pytest.fixture(scope="module")
def fitted():
    pipeline = make_pipeline(TextVectorizer(output_sequence_length=6), estimator()).fit(TEXTS, Y)
    assert pipeline.score(TEXTS, Y) > 0.95
    return pipeline


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_word_that_decides_ranks_first(fitted, strategy):
    words = skexplain.importances(fitted, POSITIVE, attribution=strategy, random_state=0)
    assert words.names[words.ranking[0]] == "good"
    assert words.counts[words.ranking[0]] == 4


def test_values_add_up_and_padding_is_left_out(fitted):
    explained = skexplain.explain(fitted, POSITIVE, attribution="ablation", target="pos")
    assert [len(v) for v in explained.values] == [len(t.split()) for t in POSITIVE]
    np.testing.assert_allclose(explained.predictions, fitted.decision_function(POSITIVE), rtol=1e-4)
    assert "Good," in explained.words().tokens[0]
    assert "good" in explained.tokens[0]
    first = POSITIVE[0].split()
    unknown = fitted.decision_function([" ".join(["qqq", *first[1:]])])[0]
    assert explained.values[0][0] == pytest.approx(fitted.decision_function(POSITIVE[:1])[0] - unknown, abs=1e-4)


def test_words_that_are_not_known_and_signs_between_them(fitted):
    explained = skexplain.explain(fitted, ["Zzz --- good!"], attribution="ablation", background="bad")
    assert explained.tokens == (("[UNK]", "good"),)
    assert explained.words().tokens == (("Zzz", "good!"),)
    assert explained.to_importances().names == ("[UNK]", "good")
    assert "--- <span" in explained.plot.text()


def test_bad_texts(fitted):
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than the 6 words") as seen:
        explained = skexplain.explain(fitted, ["good " * 9, "good"], attribution="ablation")
    assert seen[0].filename == __file__
    assert [len(v) for v in explained.values] == [6, 1]
    with pytest.raises(ValueError, match=r"X\[1\] = '!'"):
        skexplain.explain(fitted, ["good", "!"])
    with pytest.raises(ValueError, match="'nope' is not in the vocabulary"):
        skexplain.explain(fitted, ["good"], background="nope")
    with pytest.raises(NotFittedError):
        skexplain.explain(make_pipeline(TextVectorizer(), fitted[-1]), ["good"])
    with pytest.raises(ValueError, match="is one text"):
        TextVectorizer().fit("good")
    with pytest.raises(ValueError, match=r"X\[1\] is 3"):
        TextVectorizer().fit(["good", 3])
    with pytest.raises(ValueError, match="max_tokens"):
        TextVectorizer(max_tokens=1).fit(["good"])


def test_vectorizer_is_a_transformer():
    vectorizer = TextVectorizer(max_tokens=5, split="whitespace")
    ids = vectorizer.fit_transform(["b a a c", "A! b", "d"])
    assert vectorizer.vocabulary_.tolist()[:4] == ["", "[UNK]", "a", "b"]
    assert ids.shape == (3, 4)
    assert ids[1].tolist() == [2, 3, 0, 0]
    assert vectorizer.transform(["a b c d e f"]).shape == (1, 4)
    copy = pickle.loads(pickle.dumps(vectorizer))
    np.testing.assert_array_equal(copy.transform(["a b zz"]), vectorizer.transform(["a b zz"]))
    assert clone(vectorizer).get_params() == vectorizer.get_params()
    np.testing.assert_array_equal(vectorizer.fit_transform(np.array([["b a"], ["a"]])), [[3, 2], [2, 0]])


def test_grid_search_and_from_fitted():
    pipeline = make_pipeline(TextVectorizer(output_sequence_length=6), estimator(model__convolution=False))
    search = GridSearchCV(pipeline, {"kerasclassifier__epochs": [1, 15]}, cv=2).fit(TEXTS, Y)
    assert search.best_params_ == {"kerasclassifier__epochs": 15}
    known = skexplain.from_fitted(search, TEXTS, Y, attribution="ablation")
    np.testing.assert_allclose(known.predict_proba(TEXTS[:3]), search.predict_proba(TEXTS[:3]))
    words = known.importances(POSITIVE)
    assert words.names[words.ranking[0]] == "good"


@pytest.mark.skipif(BACKEND != "tensorflow", reason="models of strings are TensorFlow's")
@pytest.mark.parametrize("functional", [True, False])
def test_models_that_vectorise_texts_themselves(fitted, functional):
    import tensorflow as tf

    vectorization = keras.layers.TextVectorization(output_sequence_length=6, vocabulary=list(fitted[0].vocabulary_[2:]))
    layers = [vectorization, *build({"n_features_in_": 6}).layers]
    model = keras.Sequential([keras.Input((1,), dtype="string"), *layers])
    if functional:
        out = start = keras.Input((1,), dtype="string")
        for layer in layers:
            out = layer(out)
        model = keras.Model(start, out)
    model.set_weights(fitted[-1].model_.get_weights())
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    known = skexplain.from_fitted(model, TEXTS, Y)
    assert known.predict(TEXTS[:4]).tolist() == Y[:4].tolist()
    explained = known.explain(POSITIVE, attribution="ablation", target="pos", output="logit")
    np.testing.assert_allclose(explained.predictions, model(tf.constant(POSITIVE)[:, None]).numpy()[:, 1], rtol=1e-5)
    words = explained.to_importances()
    assert words.names[words.ranking[0]] == "good"
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes


@pytest.mark.skipif(BACKEND != "tensorflow", reason="models of strings are TensorFlow's")
def test_models_of_bags_of_words_are_refused():
    vectorization = keras.layers.TextVectorization(output_mode="multi_hot", vocabulary=["a", "b"])
    model = keras.Sequential([keras.Input((1,), dtype="string"), vectorization, keras.layers.Dense(1)])
    with pytest.raises(skexplain.UnsupportedModelError, match="output_mode='multi_hot'"):
        skexplain.explain(model, ["a"])
