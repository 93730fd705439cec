"""
When, and which: importances of a sequence by step and by feature
=================================================================

Patients are watched for a day: three readings, hour by hour. Their risk is high when the pressure has fallen between 14
and 17 o'clock, and rises a little with the last temperature. A recurrent network learns it from the readings alone.
Which reading does it look at, and when?
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from skexplain.attributions import Occlusion
from skexplain.torch import NeuralNetRegressor

rng = np.random.default_rng(0)
n, hours, readings = 1200, 24, ["pulse", "pressure", "temperature"]
S = np.cumsum(rng.normal(size=(n, hours, len(readings))), axis=1)  # readings drift from hour to hour
S = ((S - S.mean(axis=(0, 1))) / S.std(axis=(0, 1))).astype(np.float32)
fall = S[:, 14, 1] - S[:, 17, 1]
risk = (2 * fall + 0.3 * S[:, 23, 2] + 0.1 * rng.normal(size=n)).astype(np.float32)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.out = nn.GRU(len(readings), 24, batch_first=True), nn.Linear(24, 1)

    def forward(self, x):
        return self.out(self.gru(x)[0][:, -1])


net = NeuralNetRegressor(
    Recurrent, optimizer=torch.optim.Adam, lr=0.01, max_epochs=60, batch_size=64, random_state=0
).fit(S[:1000], risk[:1000])
print(f"R² on patients that it has not seen: {net.score(S[1000:], risk[1000:]):.2f}")

# %%
# One network, three questions: ``groups="steps"``, ``groups="features"``, and the whole map.
rows, asked = S[1000:], {"attribution": "expected_gradients", "random_state": 0}
by_hour = net.importances(rows, groups="steps", **asked)
by_reading = net.importances(rows, groups="features", feature_names=readings, **asked)
everywhere = net.importances(rows, feature_names=readings, **asked)
print("first hours:", [by_hour.names[k] for k in by_hour.ranking[:3]])
print("first places:", [everywhere.names[k] for k in everywhere.ranking[:3]])

figure, axes = plt.subplots(
    *(2, 2),
    figsize=(8, 3.8),
    layout="constrained",
    sharex="col",
    sharey="row",
    gridspec_kw={"width_ratios": [4, 1], "height_ratios": [1, 1.2]},
)
axes[0, 1].remove()
axes[0, 0].bar(range(hours), by_hour.values, color="#0072B2")
axes[0, 0].set_ylabel("of the hour")
axes[1, 0].imshow(everywhere.values.reshape(hours, -1).T, cmap="Blues", aspect="auto")
axes[1, 0].set(yticks=range(len(readings)), yticklabels=readings, xlabel="hour")
axes[1, 1].barh(range(len(readings)), by_reading.values, color="#0072B2")
axes[1, 1].set_xlabel("of the reading")
figure.suptitle("Mean |attribution| to the risk")

# %%
# The fall shows as its two ends, and the temperature as the last hour. The hours around the ends have a share too: the
# readings drift, so each says much of what its neighbours say, and the network uses them all.
#
# Occlusion covers windows of time, with all their readings. Windows of four hours take a whole end of the fall away,
# which counts for more than a single hour. Between 14 and 17 they cover both ends at once, and there they find less:
# the covered pressure is the same at both ends, so where the fall was small nothing changes.
figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
for width, colour in ((1, "#0072B2"), (4, "#D55E00")):
    strategy = Occlusion(window=(width,))  # short for (width, 3)
    covered = net.explain(rows, attribution=strategy)
    fall_of = np.abs(covered.values.reshape(-1, hours, len(readings))[..., 0]).mean(axis=0)
    ax.step(range(hours), fall_of, where="mid", color=colour, label=f"windows of {width} hour" + "s" * (width > 1))
ax.set(xlabel="hour", ylabel="mean |change of the risk|", ylim=0)
ax.legend()

# %%
# A single patient: red raises the risk, blue lowers it.
exp = net.explain(rows[:1], attribution="expected_gradients", background=S[:100], random_state=0)
figure, ax = plt.subplots(figsize=(8, 2), layout="constrained")
size = np.abs(exp.values).max()
shown = ax.imshow(exp.values.reshape(hours, -1).T, cmap="RdBu_r", vmin=-size, vmax=size, aspect="auto")
ax.set(yticks=range(len(readings)), yticklabels=readings, xlabel="hour", title=f"risk {exp.predictions[0]:.1f}")
figure.colorbar(shown, ax=ax, label="attribution")
