"""Quantiles from special functions are those of scipy.stats."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import polygamma
from scipy.stats import chi2, f

from assay.inference.quantiles import chi2_exceeded, chi2_quantile, f_tail, trigamma_inverse

FREE = np.array([0.5, 1.0, 3.0, 20.0, 555.0, 1e4])


@pytest.mark.parametrize("share", [1e-6, 0.1, 0.5, 0.999])
def test_chi_squared_quantiles_are_exact(share: float) -> None:
    assert chi2_quantile(share, FREE) == pytest.approx(chi2.ppf(share, FREE), rel=1e-12)


@pytest.mark.parametrize("tail", [1e-12, 1e-3, 0.5])
def test_what_is_hardly_ever_exceeded_is_exact(tail: float) -> None:
    assert chi2_exceeded(tail, FREE) == pytest.approx(chi2.isf(tail, FREE), rel=1e-12)


def test_tails_of_ratios_of_mean_squares_are_exact() -> None:
    value = np.array([0.0, 0.5, 1.0, 3.0, 40.0, 1e5])
    assert f_tail(value, 3.0, FREE) == pytest.approx(f.sf(value, 3.0, FREE), rel=1e-10)


@pytest.mark.parametrize("x", [1e-3, 0.2, 1.0, 7.5, 400.0])
def test_the_inverse_of_trigamma_undoes_it(x: float) -> None:
    assert trigamma_inverse(float(polygamma(1, x))) == pytest.approx(x, rel=1e-9)
