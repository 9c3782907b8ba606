"""What one loss over pairs is of another, or of itself with other options."""

from typing import Any

import numpy as np
import pytest
from libraries import Library

import anglos


def unit(array: np.ndarray) -> np.ndarray:
    unit: np.ndarray = array / np.linalg.norm(array, axis=1, keepdims=True)
    return unit


@pytest.mark.parametrize("symmetric", [False, True])
def test_hardness_is_another_temperature_of_negatives(symmetric: bool, library: Library) -> None:
    """τ / (1 + ατ) in the value; in the gradient by their cosines the factor stays 1 / τ."""
    queries, keys = np.random.default_rng(5).normal(size=(2, 7, 4))
    temperature, hardness, own = 0.25, 5.0, np.eye(7, dtype=bool)
    cosines = unit(queries) @ unit(keys).T
    logits = np.where(own, cosines / temperature, cosines * (1.0 / temperature + hardness))
    options: dict[str, Any] = {"temperature": temperature, "hardness": hardness, "symmetric": symmetric}
    value, (slope, _) = anglos.info_nce.value_and_grad(library.array(queries), library.array(keys), **options)
    wanted, by_cosine = 0.0, np.zeros((7, 7))
    for turned in (False, True)[:1 + symmetric]:
        one = logits.T if turned else logits
        shares = np.exp(one) / np.exp(one).sum(axis=1, keepdims=True)
        wanted = wanted - np.log(np.diag(shares)).mean() / (1 + symmetric)
        slopes = (shares - own) / temperature / 7 / (1 + symmetric)
        by_cosine = by_cosine + (slopes.T if turned else slopes)
    by_unit = by_cosine @ unit(keys)
    tangent = by_unit - unit(queries) * (by_unit * unit(queries)).sum(axis=1, keepdims=True)
    assert float(value) == pytest.approx(wanted, rel=1e-13)
    np.testing.assert_allclose(library.numpy(slope), tangent / np.linalg.norm(queries, axis=1, keepdims=True),
                               rtol=1e-11, atol=1e-14)
