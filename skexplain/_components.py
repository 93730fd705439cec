"""Where importances vary: the variance of a mean over refits, split into its components."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Fewest degrees of freedom for the error over data, where there are so many: Satterthwaite's go to 0 when the variance
#: found is all noise.
FEWEST = 2


class Components(NamedTuple):
    """Variances of the mean over resamples, seeds and repeats, and their degrees of freedom.

    Attributes
    ----------
    explanation, model, data : ndarray of shape (n_features,)
        What each component alone adds to the variance of the mean. ``model`` is NaN for a single seed, and ``data``
        then has it in it.
    dof : dict of str to ndarray of shape (n_features,)
        "explanation", "model", "data": of the sum of the components up to each.
    """

    explanation: NDArray
    model: NDArray
    data: NDArray
    dof: dict[str, NDArray]


def components(values: NDArray, overlap: float) -> Components:
    """Split the variance of importances by the method of moments.

    Parameters
    ----------
    values : ndarray of shape (n_resamples, 2, n_seeds, n_repeats, n_features)
        Measured importances: of both halves of a resample, by the seeds of a half and the repeats of a seed.
    overlap : float
        Rows in a resample by rows outside.

    Notes
    -----
    The mean of a resample ``j`` is ``theta + data_j`` with the means of its 2 S seeds and 2 S R repeats, so that mean
    squares are, in expectation (Searle, Casella and McCulloch, "Variance Components", 1992, sec. 3.6)::

        MS_explanation  s_e²
        MS_model        s_e² + R s_m²
        MS_data         s_e² + R s_m² + 2 S R s_d²

    Resamples of m of n rows share rows. Their correlation is rho = m / n, so their mean varies by
    ``(1 / J + rho / (1 - rho)) s_d²`` (Nadeau and Bengio 2003, sec. 3). Seeds and draws are shared by none, and
    vary by ``s_m² / (2 J S)`` and ``s_e² / (2 J S R)``. Variances are at least 0. Degrees of freedom of the last sum
    are Satterthwaite's, of mean squares of which one is subtracted.
    """
    J, H, S, R, d = values.shape
    n = J * H * S * R
    fits = values.mean(axis=3)
    ms_e = values.var(axis=3, ddof=1).mean(axis=(0, 1, 2)) if R > 1 else np.zeros(d)
    ms_m = np.maximum(R * fits.var(axis=2, ddof=1).mean(axis=(0, 1)), ms_e) if S > 1 else ms_e
    ms_d = n / J * fits.mean(axis=(1, 2)).var(axis=0, ddof=1)
    explanation, model = ms_e / n, (ms_m - ms_e) / n
    data = np.maximum(ms_d - ms_m, 0) * (1 + J * overlap) / n
    nu_e = max(n - J * H * S, 1)
    nu_m = J * H * (S - 1) if S > 1 else nu_e
    spread = ((1 + J * overlap) * ms_d) ** 2 / (J - 1) + (J * overlap * ms_m) ** 2 / nu_m
    total = n * (explanation + model + data)
    nu_d = np.divide(total**2, spread, out=np.full(d, J - 1.0), where=spread > 0)
    return Components(
        explanation=explanation,
        model=model if S > 1 else np.full(d, np.nan),
        data=data,
        dof={
            "explanation": np.full(d, float(nu_e)),
            "model": np.full(d, float(nu_m)),
            "data": np.clip(nu_d, min(FEWEST, J - 1), J - 1),
        },
    )
