"""Values and gradients of 60 digits, of heads and their options: tests/golden2_heads.json."""

import json
from pathlib import Path

import numpy as np
import pytest
from calls_of_heads import call_of
from libraries import Library

GOLDEN = json.loads(Path(__file__).with_name("golden2_heads.json").read_text())
ROWS = {row["id"]: row for row in GOLDEN["rows"]}

@pytest.mark.parametrize("name", ROWS)
def test_golden(name: str, library: Library) -> None:
    case = ROWS[name]
    function, arrays, options, wrt, rows, has_value = call_of(case, GOLDEN["inputs"], library.array)
    value, gradients = function.value_and_grad(*arrays, **options, wrt=tuple(wrt.values()))
    for found in (value, function(*arrays, **options), function.plain(*arrays, **options)):
        assert not has_value or library.numpy(found) == pytest.approx(float(case["value"]), rel=1e-13)
    for gradient, key in zip(gradients, wrt, strict=True):
        wanted = np.asarray(case["grads"][key])
        if key == "W" and rows is not None:
            assert not np.delete(wanted, rows, axis=0).any()
            wanted = wanted[rows]
        np.testing.assert_allclose(library.numpy(gradient), wanted, rtol=0, atol=1e-12 * np.abs(wanted).max(),
                                   err_msg=key)
