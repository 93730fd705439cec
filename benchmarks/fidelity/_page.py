"""The page: what is measured, what the numbers say, and the numbers."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import pandas as pd

from skexplain import _defaults

from . import _findings, _peers, _recovery, _selection, _tables
from ._networks import BUDGETS, DEFAULT, MOST_COLUMNS

TITLE = "# Are the columns found that matter?"

RECOVERY = f"""\
Data with a planted truth (`skexplain.datasets`): {_recovery.ROWS} rows a draw, of which {1 - _recovery.ASKED:.0%} train
every model and the others are asked by the strategies that ask rows. {_recovery.COLUMNS} columns where the name does
not say otherwise; blocks: 10 blocks of 5 columns, correlation 0.8, 20 columns that matter. Columns, and targets of
numbers, are standardised by the rows trained on. **AUC** is the probability that a column that matters is ranked above
one that does not: 1 is perfect, 0.5 a random order. **Best p** is the share of the p columns that matter among the p
ranked highest. Figures are mean ± standard deviation over draws of data, split and weights. *Seconds* are the
processor's, one thread: of the training in a model's first row, of the ranking alone in the others (LassoNet's path is
both).

* *default network*: `NeuralNetClassifier()` and `NeuralNetRegressor()`, nothing set. Its default strategy is
  `{DEFAULT}`.
* *plain MLP*: `skexplain.torch.MLP`, hidden layers {" and ".join(map(str, _defaults.HIDDEN))}, Adam with step
  {_defaults.LEARNING_RATE:g}, batches of {_defaults.BATCH_SIZE}, at most {_defaults.MAX_EPOCHS} epochs, stopped
  {_defaults.PATIENCE} epochs after the best loss on a tenth of the rows, whose weights are kept.
* *RandomForest*: scikit-learn's, {_peers.TREES} trees; permutation by its score, {_peers.REPEATS} repeats; TreeSHAP of
  {_peers.SHAP_ROWS} rows.
* *LassoNet*: the reference implementation; the importance of a column is the penalty at which it leaves the network.
  Hidden layers as the MLP's; its accuracy is that before any column left; path, coarser than its default:
  {", ".join(f"{k}={v}" for k, v in _peers.PATH.items())}.
* *no model*: how well each column alone orders the target, by ranks.

Every registered strategy for tables is asked. Smaller budgets than their own:
{", ".join(f"`{name}`: `{strategy}`" for name, strategy in BUDGETS.items())}. Asked about few columns only:
{", ".join(f"`{name}`, up to {most}" for name, most in MOST_COLUMNS.items())}.
"""

SELECTION = f"""\
To columns of real data others are added that a selection should leave out, half or three quarters of the result
(V. Cherepanova et al., NeurIPS 2023): *random* N(0, 1), *corrupted* copies `0.5 x_j + 0.5 sigma_j N(0, 1)`, *second
order* products `x_j x_k`. Each method ranks all columns on {1 - _selection.JUDGING:.0%} of the rows; as many as there
were originally are kept; a plain MLP and a random forest are trained on them, on the same rows, and judged on the
others. At most {_selection.ROWS} rows a draw: with all, digits are read well whatever was chosen. *The original
columns* are the choice that knows the truth; products may well be worth more than what they are made of, and random
columns cost a forest little.

* *default network*, *plain MLP*: by `feature_importances_` of the rows trained on, with the strategy named.
* *Deep Lasso*: the plain MLP trained with the penalty `weight * sum_j ||dL / dX_j||_2`, where the norm runs over the
  rows of a batch; columns are ranked by the same norm over all rows trained on. The weight, of
  {", ".join(f"{w:g}" for w in _peers.PENALTIES)}, is that of the best held-out loss. The paper tunes it together with
  the model trained afterwards.
* *forest, MDI*; *L1*: logistic regression with C = 1, or Lasso with the penalty by cross-validation, by size of the
  coefficients; *univariate F*: `SelectKBest`.
"""

RULE = (
    "These lines are made of the numbers by rule: one method is *better* than another on a data set when the mean of "
    "their differences over draws exceeds the standard deviation of these differences (never, with one draw). *Best "
    "method* is chosen with hindsight, from three for the forest and from all strategies for a network, which favours "
    "the side with more."
)


def page(frame: pd.DataFrame) -> str:
    """The whole text."""
    recovery, selection = (frame[frame.part == part] for part in ("recovery", "selection"))
    draws = frame.groupby("part").draw.nunique()
    parts = [
        TITLE,
        "Written by `make fidelity`; " + versions() + f". Draws: {draws['recovery']} of each planted truth, "
        f"{draws['selection']} of each selection. Single results: `fidelity.csv`.",
        "![recovery and selection](fidelity.png)",
        "## What the numbers say",
        RULE,
        bullets(_findings.recovery_findings(recovery)),
        bullets(_findings.selection_findings(selection)),
        "## Planted truth: AUC",
        RECOVERY,
        _tables.recovery_table(recovery),
        "## Columns added to real data",
        SELECTION,
        "Mean gain in accuracy (R² for diabetes) over all columns, and share of the original columns among those "
        "chosen, over data sets and shares:",
        _tables.selection_table(selection),
    ]
    for judge in _selection.JUDGES:
        parts += [f"Accuracy (R² for diabetes) of a {judge} on the columns chosen:"]
        parts += [_tables.setting_table(selection, judge)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def bullets(lines: list[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)


def versions() -> str:
    found = []
    for package in ("numpy", "scikit-learn", "torch", "skorch", "shap", "lassonet"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} not installed")
    return f"{platform.machine()}, Python {platform.python_version()}, " + ", ".join(found)
