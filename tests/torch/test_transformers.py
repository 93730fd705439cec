"""The attention of Hugging Face models beside their own `attentions`: small ones with drawn weights, no download."""

import numpy as np
import pytest
import torch
from torch import nn

transformers = pytest.importorskip("transformers")

from skexplain.torch._network import torch_network

CODES = np.random.default_rng(0).integers(1, 20, size=(5, 6))
SIZES = {"vocab_size": 20, "max_position_embeddings": 8}
KINDS = {
    "bert": lambda: transformers.BertConfig(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12, **SIZES
    ),
    "gpt2": lambda: transformers.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=2, n_head=2),
    # fewer heads of keys than of queries, turned by their places
    "llama": lambda: transformers.LlamaConfig(
        **SIZES,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=12,
    ),
}


class Reads(nn.Module):
    """Codes, of which 0 is padding, through a model and a last layer."""

    def __init__(self, kind, implementation):
        super().__init__()
        torch.manual_seed(0)
        self.model = transformers.AutoModel.from_config(KINDS[kind](), attn_implementation=implementation)
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        codes = x.long()
        return self.out(self.model(codes, attention_mask=(codes > 0).long()).last_hidden_state.mean(1))


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_the_models_own(kind, implementation):
    codes = CODES.copy()
    codes[1, 4:] = 0
    own = Reads(kind, "eager").eval().model
    with torch.no_grad():
        x = torch.tensor(codes)
        expected = own(x, attention_mask=(x > 0).long(), output_attentions=True).attentions
    found = torch_network(Reads(kind, implementation), codes).attentions(codes, np.zeros(5, int))
    assert len(found.weights) == len(expected) == 2
    for got, theirs in zip(found.weights, expected, strict=True):
        np.testing.assert_allclose(got, theirs.numpy(), atol=1e-6)
    assert all(np.abs(g).max() > 0 for g in found.gradients)
