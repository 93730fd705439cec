"""docs/support.md as a file. That its cells are what is measured is tested where each framework is."""

import numpy as np
import pytest

from skexplain.attributions import Attribution, get_attribution
from tests.zoo import NAMES, support
from tests.zoo.outcome import FRAMEWORKS, STRATEGIES, BareNetwork, Outcome, outcome
from tests.zoo.planted import KINDS


def test_every_strategy_on_every_network_in_every_framework():
    expected = {(s, n, f) for s in STRATEGIES for n in NAMES for f in FRAMEWORKS}
    assert support.read().keys() == expected


def test_every_strategy_on_every_kind_of_input():
    cells = support.read_planted()
    assert cells.keys() == {(s, kind, f) for s in STRATEGIES for kind in KINDS for f in FRAMEWORKS}
    # whoever divides the output finds what decides it, or says that it cannot
    divides = [s for s in STRATEGIES if get_attribution(s).complete]
    assert {cells[s, kind, f] for s in divides for kind in KINDS for f in FRAMEWORKS} == {
        "found",
        "refused: ValueError",
    }
    assert {cells["gradcam", "pictures", f] for f in FRAMEWORKS} == {"found"}
    assert {cells["occlusion", kind, f] for kind in KINDS for f in FRAMEWORKS} == {"found"}


def test_no_third_outcome():
    found = {"liar": {"relu": Outcome("complete", 2e-3, np.ones(3)), "gelu": Outcome("complete", 9e-4, np.ones(3))}}
    with pytest.raises(RuntimeError, match=r"liar on relu: gap 0\.002"):
        support.check(found)
    with pytest.raises(RuntimeError):
        support.check({"liar": {"relu": Outcome("complete", np.nan, np.ones(3))}})


def test_gaps_may_differ_by_a_power_of_ten():
    assert support.same("complete, gap ≤ 1e-5", "complete, gap ≤ 1e-4")
    assert not support.same("complete, gap ≤ 1e-5", "complete, gap ≤ 1e-3")
    assert not support.same("complete, gap ≤ 1e-5", "refused: CompletenessError")
    assert not support.same("refused: UnsupportedLayerError", "refused: CompletenessError")
    assert not support.same("global", None)
    assert support.same("in 30 % of the rows", "in 40 % of the rows")
    assert not support.same("in 30 % of the rows", "in 50 % of the rows")
    assert not support.same("found", "in 80 % of the rows")


@pytest.mark.parametrize(("gap", "power"), [(0.0, -5), (3e-7, -5), (1e-5, -5), (1.1e-5, -4), (9.9e-4, -3)])
def test_gaps_are_rounded_up(gap, power):
    assert support.decade(gap) == power


def test_what_is_written_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(support, "PAGE", tmp_path / "page.md")
    verdicts = ["global", "complete, gap ≤ 1e-4", "refused: CompletenessError"]
    keys = [(s, n, f) for s in STRATEGIES for n in NAMES for f in FRAMEWORKS]
    cells = {key: verdicts[k % 3] for k, key in enumerate(keys)}
    verdicts = ["found", "in 30 % of the rows", "not asked", "refused: ValueError"]
    keys = [(s, kind, f) for s in STRATEGIES for kind in KINDS for f in FRAMEWORKS]
    planted = {key: verdicts[k % 4 if k % 5 else 0] for k, key in enumerate(keys)}
    support.PAGE.write_text(support.page(cells, planted, {}), encoding="utf-8")
    assert support.read() == cells
    assert support.read_planted() == planted


def test_reasons_are_without_remedies_and_without_numbers_that_differ():
    message = "For 3 of 12 rows the values miss by 0.31. Use another."
    assert (
        support.reason(Outcome("CompletenessError", None, None, message))
        == "For ... of ... rows the values miss by ..."
    )
    message = "No rule for conv1d of shape (3, 2). Use another."
    assert (
        support.reason(Outcome("UnsupportedLayerError", None, None, message)) == "No rule for conv1d of shape (3, 2)."
    )


class Liar(Attribution):
    """Promises what it does not keep, and reports no gap."""

    complete = True

    def attribute(self, network, X, background, target, rng):
        return (X - background.mean(axis=0)) * network.gradient(X, target)


def test_gap_is_measured_and_not_believed():
    pytest.importorskip("torch")
    from tests.zoo import torch_nets

    straight = BareNetwork(torch_nets()["tanh"]["modules"], "torch")
    assert outcome(Liar(), straight, "tanh").gap > 0.1
