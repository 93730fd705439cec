"""Texts of Hugging Face models: the word that decides ranks first. Small models, trained here; no download."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from torch import nn

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from skorch.hf import HuggingfacePretrainedTokenizer, HuggingfaceTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

import skexplain
from skexplain.attributions import InputXGradient
from skexplain.text._network import text_network
from skexplain.torch import NeuralNetClassifier, NeuralNetRegressor

WORDS = "the a film movie plot was very quite and actor scene good bad long short old".split()
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "act", "##ing", "un", "##usual"]
#: Strategies that say what a word does to the output, not how the output would react to another.
STRATEGIES = [
    "expected_gradients",
    "integrated_gradients",
    InputXGradient(baseline="background"),
    "deeplift",
    "deepshap",
    "lrp",
    "ablation",
    "occlusion",
    "exact_shapley",
    "shapley_sampling",
    "kernel_shap",
    "saliency",
    "smoothgrad",
    "attention",
    "attention_rollout",
    "gradient_x_attention",
]


def word_pieces():
    tokenizer = tokenizers.Tokenizer(models.WordPiece({p: i for i, p in enumerate(PIECES)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.decoder = decoders.WordPiece()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=12,
    )


def sentences(n=80):
    """Texts of 3 to 6 words, of which half have the word that decides."""
    rng = np.random.default_rng(0)
    others = [w for w in WORDS if w != "good"]
    texts, y = [], []
    for i in range(n):
        words = list(rng.choice(others, size=rng.integers(3, 6)))
        if i % 2:
            words.insert(int(rng.integers(len(words))), "good")
        texts.append(" ".join(words))
        y.append(["neg", "pos"][i % 2])
    return texts, np.array(y)


TEXTS, Y = sentences()
POSITIVE = [t for t, label in zip(TEXTS, Y, strict=True) if label == "pos" and len(t.split()) == 5][:3]


class Bert(nn.Module):
    def __init__(self, n_outputs=2):
        super().__init__()
        config = transformers.BertConfig(
            vocab_size=len(PIECES),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=12,
            num_labels=n_outputs,
        )
        self.bert = transformers.BertForSequenceClassification(config)

    def forward(self, input_ids, attention_mask):
        return self.bert(input_ids=input_ids, attention_mask=attention_mask)


class Mean(nn.Module):
    """Knows no mask: padding is read like words."""

    def __init__(self, n_outputs=2):
        super().__init__()
        self.embedding, self.out = nn.Embedding(len(PIECES), 4), nn.Linear(4, n_outputs)

    def forward(self, input_ids, attention_mask):
        return self.out(self.embedding(input_ids).mean(1))


def estimator(module, kind=NeuralNetClassifier, **more):
    how = {"max_epochs": 12, "lr": 0.01, "batch_size": 16, "train_split": None, "random_state": 0} | more
    return kind(module, optimizer=torch.optim.Adam, **how)


@pytest.fixture(scope="module")
def bert():
    pipeline = make_pipeline(HuggingfacePretrainedTokenizer(word_pieces(), max_length=12), estimator(Bert))
    pipeline.fit(TEXTS, Y)
    assert pipeline.score(TEXTS, Y) == 1
    return pipeline


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_the_word_that_decides_ranks_first(bert, strategy):
    words = skexplain.importances(bert, POSITIVE, attribution=strategy, random_state=0)
    assert words.names[words.ranking[0]] == "good"
    assert words.counts[words.ranking[0]] == 3


def test_values_add_up_to_the_pipelines_own_prediction(bert):
    explained = skexplain.explain(bert, [*POSITIVE, "Good."], random_state=0)
    for values, base, prediction in zip(explained.values, explained.base_values, explained.predictions, strict=True):
        assert base + values.sum() == pytest.approx(prediction, abs=1e-2)
    own = bert.decision_function([*POSITIVE, "Good."])
    np.testing.assert_allclose(explained.predictions, own, rtol=1e-3)
    assert explained.target.tolist() == ["pos"] * 4
    assert explained[0].predictions[0] == explained.predictions[0]


@pytest.fixture(scope="module")
def mean():
    pipeline = make_pipeline(HuggingfacePretrainedTokenizer(word_pieces(), max_length=10), estimator(Mean))
    return pipeline.fit(TEXTS, Y)


def test_ablation_puts_the_background_in_the_place_of_a_token(mean):
    explained = skexplain.explain(mean, ["a good film"], attribution="ablation", target="pos", background="bad")
    without = mean.decision_function(["bad good film", "a bad film", "a good bad"])
    np.testing.assert_allclose(explained.values[0], mean.decision_function(["a good film"]) - without, rtol=1e-4)
    masked = skexplain.explain(mean, ["a good film"], attribution="ablation", target="pos")
    without = mean.decision_function(["[MASK] good film", "a [MASK] film", "a good [MASK]"])
    np.testing.assert_allclose(masked.values[0], mean.decision_function(["a good film"]) - without, rtol=1e-4)


def test_texts_like_their_background_are_explained_and_not_refused_for_rounding(mean):
    module = Mean()
    with torch.no_grad():
        module.embedding.weight[:] = 1.0
        module.embedding.weight[PIECES.index("film")] += 1e-6
        module.out.bias[:] = torch.tensor([-5.0, 5.0])
    pipeline = Pipeline([("tokenizer", mean[0]), ("net", module)])
    explained = skexplain.explain(pipeline, ["a film"], attribution="integrated_gradients")
    np.testing.assert_allclose(explained.values[0], 0, atol=1e-5)


def test_a_text_is_explained_alike_alone_and_among_others(bert):
    among = skexplain.explain(bert, TEXTS[:5], attribution="integrated_gradients")
    for i in range(5):
        alone = skexplain.explain(bert, [TEXTS[i]], attribution="integrated_gradients")
        np.testing.assert_allclose(among.values[i], alone.values[0], atol=1e-4)


def test_sub_words_are_joined_and_special_tokens_left_out(bert):
    explained = skexplain.explain(bert, ["Unusual ACTING, the qqq!"], attribution="ablation")
    assert explained.tokens == (("un", "##usual", "act", "##ing", "[UNK]", "the", "[UNK]", "[UNK]"),)
    words = explained.words()
    assert words.tokens == (("Unusual", "ACTING", ",", "the", "qqq", "!"),)
    assert words.values[0][0] == pytest.approx(explained.values[0][:2].sum())
    assert explained.to_importances().names == ("[UNK]", "acting", "the", "unusual")


def test_special_tokens_in_the_text_are_its_own(bert):
    explained = skexplain.explain(bert, ["good [MASK] film"], attribution="integrated_gradients")
    assert explained.tokens == (("good", "[MASK]", "film"),)
    assert explained.values[0][1] == 0  # nothing else is put in its place


def test_contrasts_and_all_outputs(bert):
    every = skexplain.explain(bert, POSITIVE, attribution="ablation", target="all")
    assert every.values[0].shape == (5, 2)
    between = skexplain.explain(bert, POSITIVE, attribution="ablation", target=lambda out: out[:, 1] - out[:, 0])
    np.testing.assert_allclose(between.values[0], every.values[0] @ [-1, 1], atol=1e-6)
    labels = skexplain.explain(bert, POSITIVE, attribution="ablation", target=["neg", "pos", "neg"])
    np.testing.assert_allclose(labels.values[2], every.values[2][:, 0])


def test_padding_that_counts_is_kept(mean):
    texts = ["a good film", "a very good film"]
    encoded = text_network(mean).encode(texts)
    assert [len(e.ids) for e in encoded] == [10, 10]
    explained = skexplain.explain(mean, texts, attribution="integrated_gradients", target="pos")
    np.testing.assert_allclose(explained.predictions, mean.decision_function(texts), rtol=1e-5)
    # linear: each word for itself, against the mask token, over 10 places
    module = mean[-1].module_
    change = module.embedding.weight[PIECES.index("good")] - module.embedding.weight[PIECES.index("[MASK]")]
    expected = (module.out.weight @ change / 10).detach().numpy() @ [-1, 1]
    assert explained.values[0][1] == pytest.approx(expected, rel=1e-4)


def test_long_texts_are_cut_with_a_warning(bert):
    long = "the " * 20 + "good"
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than the 12 tokens") as seen:
        explained = skexplain.explain(bert, [long, "good"], attribution="ablation")
    assert seen[0].filename == __file__
    assert [len(v) for v in explained.values] == [10, 1]


def test_the_networks_limit_counts_where_the_tokenizer_has_none(bert):
    tokenizer = word_pieces()
    tokenizer.model_max_length = 10**30
    step = HuggingfacePretrainedTokenizer(tokenizer, return_tensors=None).fit([])
    pipeline = Pipeline([("tokenizer", step), ("net", bert[-1].module_)])
    with pytest.warns(UserWarning, match="longer than the 12 tokens"):
        explained = skexplain.explain(pipeline, ["the " * 20], attribution="ablation", target=1)
    assert len(explained.values[0]) == 10


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"X": ["good", ""]}, r"1 of 2 texts, the first of them X\[1\] = ''"),
        ({"X": ["good", 3.0]}, r"X\[1\] is 3.0, of type float"),
        ({"background": "nope"}, "'nope' is not an entry"),
        ({"background": ["good"]}, "must be an entry of the vocabulary"),
        ({"groups": {"a": [0]}}, "groups="),
        ({"attribution": "permutation"}, "texts have no columns"),
        ({"attribution": "sage"}, "texts have no columns"),
        ({"attribution": "loco"}, "texts have no columns"),
        ({"attribution": "viann"}, "texts have no columns"),
        ({"target": ["pos", "pos", "pos"]}, "one for each of the 1 rows"),
    ],
    ids=str,
)
def test_bad_input_is_refused(bert, given, match):
    with pytest.raises(ValueError, match=match):
        skexplain.explain(bert, **({"X": ["good"]} | given))


def test_tokenizers_that_do_not_fit_are_refused(bert):
    unfitted = Pipeline([("tokenizer", HuggingfacePretrainedTokenizer(word_pieces())), ("net", bert[-1])])
    with pytest.raises(NotFittedError, match="HuggingfacePretrainedTokenizer is not fitted"):
        skexplain.explain(unfitted, ["good"])
    config = copy.deepcopy(bert[-1].module_.bert.config)
    config.vocab_size = 10
    small = Pipeline([("tokenizer", bert[0]), ("net", transformers.BertForSequenceClassification(config).eval())])
    with pytest.raises(ValueError, match="do not belong together"):
        skexplain.explain(small, ["unusual acting"])
    between = Pipeline([("tokenizer", bert[0]), ("scale", nn.Identity()), ("net", bert[-1])])
    with pytest.raises(skexplain.UnsupportedModelError, match="right behind it"):
        skexplain.explain(between, ["good"])


def test_networks_that_look_nothing_up_are_refused_for_gradients(bert):
    class Counts(nn.Module):
        def forward(self, input_ids, attention_mask):
            return torch.stack([(input_ids == k).double().mean(1) for k in (5, 6)], 1)

    pipeline = Pipeline([("tokenizer", bert[0]), ("net", Counts())])
    with pytest.raises(skexplain.UnsupportedModelError, match="no look-up of single ids"):
        skexplain.explain(pipeline, ["the film"])
    values = skexplain.explain(pipeline, ["the film"], attribution="ablation", target=0, output="logit").values[0]
    assert values.argmax() == 0


def test_causal_models(bert):
    config = transformers.GPT2Config(
        vocab_size=len(PIECES),
        n_positions=12,
        n_embd=16,
        n_layer=2,
        n_head=2,
        pad_token_id=0,
        eos_token_id=3,
        bos_token_id=2,
    )

    class Gpt(nn.Module):
        def __init__(self):
            super().__init__()
            self.gpt = transformers.GPT2ForSequenceClassification(config)

        def forward(self, input_ids, attention_mask):
            return self.gpt(input_ids=input_ids, attention_mask=attention_mask).logits

    pipeline = make_pipeline(HuggingfacePretrainedTokenizer(word_pieces(), max_length=12), estimator(Gpt))
    assert pipeline.fit(TEXTS, Y).score(TEXTS, Y) == 1
    for strategy in ("integrated_gradients", "shapley_sampling", "gradient_x_attention"):
        words = skexplain.importances(pipeline, POSITIVE, attribution=strategy, random_state=0)
        assert words.names[words.ranking[0]] == "good"
    with pytest.raises(skexplain.UnsupportedModelError, match="query=-1"):
        skexplain.explain(pipeline, POSITIVE, attribution="attention")


def test_regression_and_a_tokenizer_of_ones_own():
    y = np.array([float("good" in t) for t in TEXTS])
    tokenizer = HuggingfaceTokenizer(
        tokenizers.Tokenizer(models.WordLevel(unk_token="[UNK]")),
        pre_tokenizer=pre_tokenizers.Whitespace(),
        trainer__special_tokens=["[UNK]", "[PAD]"],
        max_length=8,
    )
    module = estimator(Mean, NeuralNetRegressor, module__n_outputs=1, lr=0.05, max_epochs=20)
    pipeline = make_pipeline(tokenizer, module).fit(TEXTS, y)
    words = skexplain.importances(pipeline, POSITIVE, random_state=0)
    assert words.names[words.ranking[0]] == "good"
    fitted = skexplain.from_fitted(pipeline, TEXTS, y)
    np.testing.assert_allclose(fitted.predict(TEXTS[:3]), pipeline.predict(TEXTS[:3]))


def test_from_fitted(bert):
    fitted = skexplain.from_fitted(bert, TEXTS, Y, attribution="ablation", random_state=0)
    assert fitted.classes_.tolist() == ["neg", "pos"]
    assert fitted.score(TEXTS, Y) == 1
    np.testing.assert_allclose(fitted.predict_proba(TEXTS[:3]), bert.predict_proba(TEXTS[:3]))
    assert fitted.importances(POSITIVE).names[fitted.importances(POSITIVE).ranking[0]] == "good"
    np.testing.assert_allclose(
        fitted.explain(POSITIVE).values[0], skexplain.explain(bert, POSITIVE, attribution="ablation").values[0]
    )
    with pytest.raises(skexplain.UnsupportedModelError, match="importances"):
        _ = fitted.feature_importances_
    assert clone(fitted) is fitted


def test_a_local_pretrained_folder(bert, tmp_path):
    word_pieces().save_pretrained(tmp_path)
    bert[-1].module_.bert.save_pretrained(tmp_path)
    raw = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, local_files_only=True)
    tokenizer = HuggingfacePretrainedTokenizer(tmp_path).fit([])
    pipeline = Pipeline([("tokenizer", tokenizer), ("model", raw)])
    fitted = skexplain.from_fitted(pipeline, TEXTS, Y)
    assert fitted.predict(TEXTS[:4]).tolist() == Y[:4].tolist()
    own = bert.predict_proba(TEXTS[:2])
    np.testing.assert_allclose(fitted.predict_proba(TEXTS[:2]), own, atol=1e-3)
    words = fitted.importances(POSITIVE)
    assert words.names[words.ranking[0]] == "good"


def test_the_model_and_its_tokenizer_are_as_they_were(bert):
    before = pickle.dumps(bert[-1].module_.state_dict())
    torch.manual_seed(5)
    state = torch.get_rng_state()
    skexplain.explain(bert, POSITIVE[:1], random_state=0)
    assert pickle.dumps(bert[-1].module_.state_dict()) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert bert.score(TEXTS, Y) == 1


def test_grid_search_over_texts():
    pipeline = make_pipeline(HuggingfacePretrainedTokenizer(word_pieces(), max_length=10), estimator(Mean, lr=0.1))
    search = GridSearchCV(pipeline, {"neuralnetclassifier__max_epochs": [1, 20]}, cv=2).fit(TEXTS, Y)
    words = skexplain.importances(search, POSITIVE, random_state=0)
    assert words.names[words.ranking[0]] == "good"
