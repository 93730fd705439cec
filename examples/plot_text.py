"""
Words of a text: a small transformer on reviews
===============================================

A Pipeline of a tokenizer and a transformer of Hugging Face is an estimator of texts, and is explained by words. Here
both are made on the spot, from sentences put together at random; a model of your own is loaded from its folder instead.
"""

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from skorch.hf import HuggingfaceTokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

import skexplain
from skexplain.torch import NeuralNetClassifier

rng = np.random.default_rng(0)
good, bad = ["wonderful", "great", "moving", "funny"], ["dull", "awful", "boring", "silly"]
things, frames = ["story", "music", "cast", "ending"], ["The {} was {}.", "I found the {} {}!", "Such a {}, so {}."]


def review():
    """One or two sentences; "not" in front of a word turns it round, and the last sentence decides."""
    said = []
    for _ in range(rng.integers(1, 3)):
        positive, turned = rng.integers(2, size=2)
        word = rng.choice(good if positive != turned else bad)
        said.append(str(rng.choice(frames)).format(rng.choice(things), "not " * turned + word))
    return " ".join(said), ["negative", "positive"][positive]


texts, y = map(list, zip(*(review() for _ in range(1200)), strict=True))
train, test, y_train, y_test = train_test_split(texts, y, random_state=0)
hidden = [" ".join(w if rng.random() > 0.3 else "[MASK]" for w in text.split()) for text in train]

# %%
# The tokenizer learns its vocabulary in ``fit``. The transformer has two layers and is trained from nothing; it takes
# what the tokenizer gives, by name. A token is explained by what changes when the mask token stands in its place.
# A pretrained transformer knows that token; this one gets to know it by reviews in which words are hidden.
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
tokenizer = HuggingfaceTokenizer(
    Tokenizer(models.WordPiece(unk_token="[UNK]")),
    normalizer=normalizers.BertNormalizer(),
    pre_tokenizer=pre_tokenizers.BertPreTokenizer(),
    post_processor=processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]),
    trainer__special_tokens=SPECIAL,
    trainer__vocab_size=150,
    trainer__show_progress=False,
    max_length=32,
)


class Transformer(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        config = BertConfig(
            vocab_size=200,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=32,
            num_labels=n_outputs,
        )
        self.bert = BertForSequenceClassification(config)

    def forward(self, input_ids, attention_mask):
        return self.bert(input_ids=input_ids, attention_mask=attention_mask)


net = NeuralNetClassifier(
    Transformer, optimizer=torch.optim.AdamW, lr=0.002, batch_size=64, max_epochs=15, train_split=None, random_state=0
)
pipeline = make_pipeline(tokenizer, net).fit(train + hidden, y_train + y_train)
print(f"accuracy on {len(test)} reviews not seen: {pipeline.score(test, y_test):.3f}")

# %%
# What each word does to the margin of the predicted class, against the mask token in its place: "not" turns the word
# behind it round, and of two sentences the last one counts.
shown = [t for t in test if "not" in t][:3] + [t for t in test if t.count(".") + t.count("!") == 2 and "not" not in t][
    :3
]
explained = skexplain.explain(pipeline, shown, attribution="integrated_gradients", random_state=0)
explained.plot.text()

# %%
# The same as a picture.
explained.plot.heat_map()

# %%
# Over many texts each word has the mean of its absolute values, beside the number of its occurrences.
words = skexplain.importances(pipeline, test[:100], random_state=0)
print(words.to_frame()[["word", "count", "value", "signed"]].head(10).round(2))
words.plot.bar(max_display=12)
