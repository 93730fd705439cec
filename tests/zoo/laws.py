"""What holds on every network of the zoo, for every registered strategy, in either framework.

Each framework subclasses `ZooLaws`, so that its networks are made, and asked, in the process that has it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from skexplain.attributions import ATTRIBUTIONS
from tests.zoo import NAMES, rows

from . import support
from .outcome import STRATEGIES, TOLERANCE, BareNetwork, measured, nets, outcome, quick, ready, side, zoo_outcome

#: Networks that between them have most kinds of operations, where all would take too long.
FEW = ("gelu", "batch norm", "layer norm", "embedding", "max pool1d", "lstm", "attention")

#: Spellings by other operations, which methods with rules may refuse, although they know the one that is spelled.
FORMULAS = ("by hand", "sum", "product", "maximum")

every = pytest.mark.parametrize("strategy", STRATEGIES)
every_local = pytest.mark.parametrize("strategy", [name for name in STRATEGIES if ATTRIBUTIONS[name].local])
every_deterministic = pytest.mark.parametrize(
    "strategy", [name for name in STRATEGIES if not ATTRIBUTIONS[name].stochastic]
)


def distance(values: Any, expected: Any) -> float:
    """Largest difference, as a fraction of the largest value."""
    return float(np.abs(values - expected).max() / np.abs(expected).max())


def may_differ(strategy: str, name: str, spelling: str) -> bool:
    """Whether other operations may give other numbers, although they compute the same.

    LRP is about operations and not about functions. DeepLIFT is the same for every formula of one number, but of
    several inputs a formula divides what is shared in its own way.
    """
    return spelling in FORMULAS and (strategy == "lrp" or (name == "softmax" and strategy in ("deeplift", "deepshap")))


class ZooLaws:
    framework: str
    #: Networks of the laws that ask each strategy more than once.
    some: Iterable[str]
    #: Strategies that are asked about every spelling; None for all. Where each costs seconds, those that look at
    #: operations: the others see outputs and gradients only, and these are equal.
    of_spellings: Iterable[str] | None = None
    #: Strategies that are asked about size, batches and exceptions; None for all.
    asked: Iterable[str] | None = None

    def may_refuse(self, strategy: str, spelling: str) -> bool:
        """Whether a strategy may refuse this spelling of a network that it explains in another."""
        return spelling in FORMULAS

    def skip_unless_asked(self, strategy: str) -> None:
        if self.asked is not None and strategy not in self.asked:
            pytest.skip("asked in another framework")

    @pytest.mark.slow
    def test_the_page_is_what_is_measured(self):
        outdated = support.outdated(self.framework)
        assert not outdated, outdated

    @pytest.mark.slow
    def test_what_decides_is_found_in_every_kind_of_input(self):
        outdated = support.outdated_kinds(self.framework, self.asked)
        assert not outdated, outdated

    @every
    def test_complete_or_refused(self, strategy):
        found = {name: zoo_outcome(strategy, self.framework, name) for name in NAMES}
        wrong = {name: o.gap for name, o in found.items() if o.gap is not None and not o.gap <= TOLERANCE}
        assert not wrong, wrong
        assert all(np.isfinite(o.values).all() for o in found.values() if not o.refused)

    @every_deterministic
    def test_same_network_same_numbers(self, strategy):
        if self.of_spellings is not None and strategy not in self.of_spellings:
            pytest.skip("asked in another framework")
        different = {}
        for name, spellings in nets(self.framework).items():
            if strategy == "lrp" and name not in self.some and "TensorFlow" in self.framework:
                continue  # a graph takes a second to trace; the recorded operations are those of deeplift
            expected = zoo_outcome(strategy, self.framework, name)
            for spelling in list(spellings)[1:]:
                got = zoo_outcome(strategy, self.framework, name, spelling)
                if got.verdict.startswith("Unsupported") and self.may_refuse(strategy, spelling):
                    continue
                if may_differ(strategy, name, spelling):
                    continue
                if got.verdict != expected.verdict:
                    different[name, spelling] = f"{got.verdict}, not {expected.verdict}: {got.message}"
                elif not got.refused and distance(got.values, expected.values) > 1e-5:
                    different[name, spelling] = distance(got.values, expected.values)
        assert not different, different

    @every
    @pytest.mark.parametrize("factor", [0.01, 1000])
    def test_size_of_the_outputs_changes_no_verdict(self, strategy, factor):
        self.skip_unless_asked(strategy)
        for name in self.some:
            expected = zoo_outcome(strategy, self.framework, name)
            got = outcome(quick(strategy), self.scaled(name, factor), name)
            assert got.verdict == expected.verdict, f"{name}: {got.message}"
            assert got.gap is None or got.gap <= TOLERANCE

    _scaled: dict[tuple[str, float], BareNetwork] = {}

    def scaled(self, name: str, factor: float) -> BareNetwork:
        if (name, factor) not in self._scaled:
            self._scaled[name, factor] = BareNetwork(side(self.framework).multiplied(name, factor), self.framework)
        return self._scaled[name, factor]

    @every_local
    def test_row_does_not_depend_on_its_batch(self, strategy):
        self.skip_unless_asked(strategy)
        X = rows()[0]
        order = np.random.default_rng(0).permutation(len(X))
        different = {}
        for name in self.some:
            expected = zoo_outcome(strategy, self.framework, name)
            for index in (order, order[:5], order[:1]):
                got = outcome(quick(strategy), ready(self.framework, name), name, X[index])
                if got.verdict != expected.verdict:
                    different[name, len(index)] = got.verdict
                elif not got.refused:
                    size = np.abs(got.values - expected.values[index]).max() / np.abs(expected.values).max()
                    different |= {(name, len(index)): size} if size > 1e-5 else {}
        assert not different, different

    def test_no_pollution(self):
        measured(self.framework)
        for name in NAMES:
            network = ready(self.framework, name)
            for what, now in network.side.snapshot(network.model).items():
                assert now == network.before[what], f"{name}: {what}"

    @every
    def test_generators_are_left_alone(self, strategy):
        half, network = side(self.framework), ready(self.framework, "batch norm")

        def draw() -> list[Any]:
            return [half.draw(), np.random.rand(3).tolist(), random.random()]

        def seed() -> None:
            half.seed()
            np.random.seed(5)
            random.seed(5)

        outcome(quick(strategy), network, "batch norm")  # what is made at the first use is made
        seed()
        expected = draw()
        seed()
        outcome(quick(strategy), network, "batch norm")
        assert draw() == expected

    @every
    def test_no_pollution_after_an_exception(self, strategy):
        self.skip_unless_asked(strategy)
        half = side(self.framework)
        for calls in (0, 1, 4, 8) if self.framework == "torch" else (0, 4):
            network = half.breaking(calls)
            before = half.snapshot(network)
            try:
                outcome(quick(strategy), BareNetwork(network, self.framework), "batch norm")
            except half.BreakError:
                pass
            else:
                assert calls > 0  # some need few calls
            after = half.snapshot(network)
            for what, now in after.items():
                assert now == before[what], f"after {calls} calls: {what}"
        assert half.learns()
