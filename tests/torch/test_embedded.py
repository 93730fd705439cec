"""Networks behind their look-ups: what is seen, and that it is the same network."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import skexplain
from skexplain._wrap import as_network
from skexplain.attributions import ExactShapley, IntegratedGradients, Permutation
from skexplain.attributions._conditional import conditional_shuffles
from skexplain.exceptions import CompletenessError, UnsupportedModelError

RNG = np.random.default_rng(0)
LOCAL = ["saliency", "smoothgrad", "input_x_gradient", "integrated_gradients", "expected_gradients", "deeplift"]
LOCAL += ["deepshap", "lrp", "ablation", "occlusion", "exact_shapley", "shapley_sampling", "kernel_shap"]


def rows(n=60):
    """Numbers in columns 0 and 2, codes in 1 and 3; each code with each."""
    X = np.random.default_rng(1).normal(size=(n, 4))
    X[:, 1], X[:, 3] = np.arange(n) % 5, np.arange(n) % 4
    return X


class Codes(nn.Module):
    """Two columns of codes and two of numbers; how codes are looked up is written in different ways."""

    def __init__(self, spelling):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Embedding(5, 3), nn.Embedding(4, 2)
        self.layers = nn.Sequential(nn.Linear(7, 8), nn.Tanh(), nn.Linear(8, 3))
        self.spelling = spelling

    def forward(self, x):
        a, b = self.spelling(self, x)
        return self.layers(torch.cat([x[:, :1], a, x[:, 2:3], b], 1))


def one_table(m, x):
    """Both columns in one table, those of the second behind those of the first."""
    table = torch.cat([F.pad(m.a.weight, (0, 0)), F.pad(m.b.weight, (0, 1))])
    found = F.embedding(x[:, [1, 3]].long() + torch.tensor([0, 5]), table)
    return found[:, 0], found[:, 1, :2]


SPELLINGS = {
    "modules": lambda m, x: (m.a(x[:, 1].long()), m.b(x[:, 3].int())),
    "F.embedding": lambda m, x: (F.embedding(x[:, 1].long(), m.a.weight), F.embedding(x[:, 3].long(), m.b.weight)),
    "torch.embedding": lambda m, x: (
        torch.embedding(m.a.weight, x[:, 1].long()),
        torch.embedding(m.b.weight, x[:, 3].long()),
    ),
    "indexing": lambda m, x: (m.a.weight[x[:, 1].long()], m.b.weight[x[:, 3].long()]),
    "slices": lambda m, x: (m.a.weight[x[:, 1].long(), :], m.b.weight[x[:, 3].long(),]),
    "one-hot": lambda m, x: (
        F.one_hot(x[:, 1].long(), 5).to(x.dtype) @ m.a.weight,
        F.one_hot(x[:, 3].long(), 4).to(x.dtype) @ m.b.weight,
    ),
    "one table": one_table,
}


def importances(spelling, strategy, **options):
    module = Codes(SPELLINGS.get(spelling, spelling)).double()
    return skexplain.importances(module, rows(), attribution=strategy, random_state=0, **options)


@pytest.mark.parametrize("strategy", LOCAL)
@pytest.mark.parametrize("spelling", list(SPELLINGS)[1:])
def test_same_network_same_numbers(spelling, strategy):
    got, want = importances(spelling, strategy), importances("modules", strategy)
    assert want.values.min() > 0
    if spelling == "one-hot" and strategy in ("saliency", "smoothgrad", "input_x_gradient", "lrp"):
        return  # slopes are those of all levels, and not of the dimensions of a vector
    # draws belong to rows, and these have other numbers in a one-hot vector and in a padded one
    drawn = strategy in ("expected_gradients", "smoothgrad") and spelling in ("one-hot", "one table")
    np.testing.assert_allclose(got.values, want.values, rtol=0.05 if drawn else 1e-6)


def test_complete_and_exact():
    module = Codes(SPELLINGS["modules"]).double()
    X = rows()
    exp = skexplain.explain(module, X, background=X[:10], attribution="expected_gradients", target=0, random_state=0)
    np.testing.assert_allclose(exp.values.sum(axis=1) + exp.base_values, exp.predictions, atol=1e-8)
    exact = skexplain.explain(module, X, background=X[:10], attribution=ExactShapley(), target=0)
    by_codes = shapley_of_codes(module, X[0], X[:10])
    np.testing.assert_allclose(exact.values[0], by_codes, atol=1e-10)


def shapley_of_codes(module, x, background):
    """By the definition, on rows of codes."""
    from itertools import permutations

    net = as_network(module, background)
    values, orders = np.zeros(4), list(permutations(range(4)))
    for order in orders:
        Z = background.copy()
        before = net.predict(Z)[:, 0].mean()
        for j in order:
            Z[:, j] = x[j]
            after = net.predict(Z)[:, 0].mean()
            values[j] += (after - before) / len(orders)
            before = after
    return values


def test_a_code_that_is_a_number_too_counts_as_both():
    module = Codes(lambda m, x: (m.a(x[:, 1].long()) + x[:, 1:2], m.b(x[:, 3].long()))).double()
    net = as_network(module, rows())
    embedded = net.embedded(rows())
    assert embedded.owners.tolist() == [0, 1, 2, 3, 1, 1, 1, 3, 3]
    exp = skexplain.explain(module, rows(), attribution=IntegratedGradients(), target=0)
    np.testing.assert_allclose(exp.values.sum(axis=1) + exp.base_values, exp.predictions, atol=0.01)


def test_columns_that_are_only_looked_up_are_left_out():
    embedded = as_network(Codes(SPELLINGS["modules"]), rows()).embedded(rows())
    assert embedded.owners.tolist() == [0, 2, 1, 1, 1, 3, 3]
    Z = embedded.checked(rows())
    np.testing.assert_allclose(Z[:, :2], rows()[:, [0, 2]], rtol=1e-6)


def test_codes_that_are_read_in_yet_another_way_are_refused():
    def branch(m, x):  # the trial sees codes 0 to 3, and that for these nothing else counts
        a = m.a(x[:, 1].long()) * torch.where(x[:, 1:2] == 4, 3.0, 1.0).to(x.dtype)
        return a, m.b(x[:, 3].long())

    module = Codes(branch).double()
    with pytest.raises((UnsupportedModelError, CompletenessError), match="permutation"):
        skexplain.explain(module, rows(), attribution="integrated_gradients")
    assert skexplain.importances(module, rows(), attribution="ablation").values.min() > 0


def test_a_baseline_in_the_columns_of_the_user():
    X = rows()
    exp = skexplain.explain(
        Codes(SPELLINGS["modules"]).double(), X, attribution=IntegratedGradients(baseline=X[7]), target=1
    )
    np.testing.assert_allclose(exp.base_values, exp.predictions[7], atol=1e-8)
    np.testing.assert_allclose(exp.values[7], 0, atol=1e-12)


def test_the_mean_of_vectors_and_not_of_codes():
    """Relabelled codes, with the rows of the table in the same order, are the same network."""
    X, order = rows(), np.array([3, 0, 4, 1, 2])
    module, other = Codes(SPELLINGS["modules"]).double(), Codes(SPELLINGS["modules"]).double()
    with torch.no_grad():
        other.a.weight[torch.tensor(order)] = module.a.weight.clone()
    relabelled = X.copy()
    relabelled[:, 1] = order[X[:, 1].astype(int)]
    for strategy in ("integrated_gradients", "occlusion", "deeplift", "saliency"):
        got = skexplain.importances(other, relabelled, attribution=strategy, background=relabelled)
        want = skexplain.importances(module, X, attribution=strategy, background=X)
        np.testing.assert_allclose(got.values, want.values, rtol=1e-9)


def test_occlusion_covers_windows_of_codes():
    """Columns and not the numbers of their vectors."""
    values = [importances("modules", s).values for s in ("occlusion", skexplain.attributions.Ablation(baseline="mean"))]
    np.testing.assert_allclose(*values, rtol=1e-9)


def test_groups_of_columns():
    got = importances("modules", "ablation", groups={"codes": [1, 3]})
    assert got.names == ("codes", "x0", "x2")
    alone = importances("modules", "integrated_gradients")
    joint = skexplain.explain(
        Codes(SPELLINGS["modules"]).double(), rows(), attribution="integrated_gradients", groups={"codes": [1, 3]}
    )
    single = skexplain.explain(Codes(SPELLINGS["modules"]).double(), rows(), attribution="integrated_gradients")
    np.testing.assert_allclose(joint.values[:, 0], single.values[:, [1, 3]].sum(axis=1), rtol=1e-9)
    assert alone.values[1] > 0


def test_sequences_of_codes():
    """A column a position: that which decides ranks first, whatever looks at the vectors later."""

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.embed, self.mix, self.out = nn.Embedding(6, 4), nn.Conv1d(4, 4, 3, padding=1), nn.Linear(4, 2)

        def forward(self, x):
            v = self.embed(x.long()) * (1 + 5 * (torch.arange(x.shape[1]) == 2))[:, None]
            return self.out(self.mix(v.transpose(1, 2)).amax(2))

    X = np.random.default_rng(0).integers(6, size=(40, 7)).astype(float)
    for strategy in ("saliency", "expected_gradients", "deeplift", "ablation"):
        result = skexplain.importances(Words().double(), X, attribution=strategy, random_state=0)
        assert result.ranking[0] == 2


def test_the_module_is_as_it_was():
    module = Codes(SPELLINGS["modules"])
    before = {k: v.clone() for k, v in module.state_dict().items()}
    keys = set(vars(module))
    skexplain.explain(module, rows(), attribution="expected_gradients", random_state=0)
    assert set(vars(module)) == keys
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert module.training
    assert all(p.grad is None for p in module.parameters())


def test_places_that_are_not_looked_up_for_a_column_keep_their_own():
    """Columns 0 and 2 are the same in all rows, so that what is looked up for them is nobody's."""

    class Weighs(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(6, 3)
            self.register_buffer("places", torch.tensor([1.0, 10.0, 100.0, 1000.0])[:, None])

        def forward(self, x):
            return (self.table(x.long()) * self.places).sum(1)

    torch.manual_seed(0)
    rows = np.array([[1, 2, 3, 4], [1, 4, 3, 5], [1, 0, 3, 2.0]])
    network = as_network(Weighs(), rows, regression=True)
    embedded = network.embedded(rows)
    assert np.isin([1, 3], embedded.owners).all()
    np.testing.assert_allclose(embedded.network.predict(embedded.embed(rows)), network.predict(rows), rtol=1e-5)


def test_codes_read_as_numbers_under_a_large_constant():
    """What a code does besides is small beside the output, and not beside what the output varies by."""
    module = Codes(lambda m, x: (m.a(x[:, 1].long()), m.b(x[:, 3].long())))
    price = nn.Linear(3, 1)

    class Price(nn.Module):
        def __init__(self):
            super().__init__()
            self.codes, self.price = module, price

        def forward(self, x):
            return self.price(self.codes(x)) + 0.3 * x[:, 1:2] + 1e4

    X = rows()
    exp = skexplain.explain(Price(), X[:2], background=X[:10], attribution=ExactShapley())
    np.testing.assert_allclose(exp.values[0], shapley_of_codes(Price(), X[0], X[:10]), atol=0.01)


def test_padding_in_rows_that_are_not_tried():
    """A mask is read off codes that hold no padding in most rows."""

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.embed, self.out = nn.Embedding(6, 4), nn.Linear(4, 2)

        def forward(self, x):
            known = (x != 0).to(x.dtype)[..., None]
            return self.out((self.embed(x.long()) * known).sum(1) / known.sum(1))

    X = np.random.default_rng(0).integers(1, 6, size=(60, 4)).astype(float)
    X[20:25, 3] = 0
    module = Words().double()
    exact = skexplain.explain(module, X[20:22], background=X[:26], attribution="exact_shapley", target=0)
    np.testing.assert_allclose(exact.values[0], shapley_of_codes(module, X[20], X[:26]), atol=1e-10)
    with pytest.raises(CompletenessError, match="permutation"):
        skexplain.explain(module, X, attribution="integrated_gradients")


def test_look_ups_that_depend_on_the_batch():
    def sometimes(m, x):
        a = m.a(x[:, 1].long())
        return (a + m.a(x[:, 1].long()) if (x[:, 1] == 0).any() else 2 * a), m.b(x[:, 3].long())

    module, X = Codes(sometimes).double(), rows()
    exact = skexplain.explain(module, X[:2], background=X[:10], attribution="exact_shapley", target=0)
    np.testing.assert_allclose(exact.values[0], shapley_of_codes(module, X[0], X[:10]), atol=1e-10)


def test_a_module_that_refuses_rows_made_up_of_others():
    class Pairs(Codes):
        def forward(self, x):
            if torch.any((x[:, 1] == 0) & (x[:, 3] == 1)):
                raise ValueError("no such pair")
            return super().forward(x)

    X = rows()
    X = X[(X[:, 1] != 0) | (X[:, 3] != 1)]
    with pytest.raises(CompletenessError, match="permutation"):
        skexplain.explain(Pairs(SPELLINGS["modules"]).double(), X, attribution="saliency")


def test_networks_without_look_ups_are_run_once(monkeypatch):
    monkeypatch.setattr("skexplain.torch._network.trials", None)
    picture = np.random.default_rng(0).integers(256, size=(3, 2, 8, 8))
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(108, 2))
    assert as_network(module, picture).embedded(picture) is None
    assert as_network(nn.Sequential(), rows()).embedded(rows()) is None


def test_codes_are_levels_where_columns_are_drawn_given_others():
    """A code that another column narrows down to five of fifteen is drawn among these, however codes are numbered."""

    class Pairs(nn.Module):
        def __init__(self, possible):
            super().__init__()
            self.table, self.possible = nn.Embedding(15, 3), possible
            with torch.no_grad():
                self.table.weight.zero_()[torch.arange(15), possible] = 1.0

        def forward(self, x):  # whether the pair is one of those that there are
            return (self.table(x[:, 0].long()) * x[:, 1:]).sum(1, keepdim=True)

    rng = np.random.default_rng(0)
    z, order = rng.integers(3, size=300), rng.permutation(15)
    X = np.column_stack([order[5 * z + rng.integers(5, size=300)], np.eye(3)[z]])
    possible = torch.as_tensor(np.argsort(order) // 5)
    strategy = Permutation(conditional=True, n_repeats=2)
    groups = {"code": [0], "kind": [1, 2, 3]}
    drawn = skexplain.importances(
        Pairs(possible).double(), X, np.ones(300), attribution=strategy, groups=groups, random_state=0
    )
    assert drawn.signed[0] < 0.1  # rounded codes are no such pair in four rows of ten
    many = np.column_stack([np.arange(300) % 60, X[:, 1:]])
    with pytest.raises(ValueError, match="column 0 has 60 different values"):
        conditional_shuffles(many, [np.array([0])], rng, codes=np.array([0]))


def test_embeddings_that_bound_their_weights_are_put_back():
    module = Codes(SPELLINGS["modules"])
    module.a.max_norm = 0.5
    before = module.a.weight.detach().clone()
    skexplain.explain(module, rows(), attribution="expected_gradients", random_state=0)
    assert torch.equal(module.a.weight, before)
    assert (before.norm(dim=1) > 0.5).any()
