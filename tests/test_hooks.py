"""Hooks of a backend return what they make. Where that lies, in `out` or in an array of its own, is their business."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from libraries import LIBRARIES, Library
from samples import arrays

from anglos import Loss
from anglos.arrays.backend import Backend
from anglos.arrays.dispatch import backend_of

HOOKS = [name for name, hook in vars(Backend).items() if inspect.isfunction(hook) and (
    "out" in inspect.signature(hook).parameters or "may hold" in (hook.__doc__ or ""))]
PATHS = {"kept": (2**40, None), "kept, several tiles": (2**40, 2), "recomputed, several tiles": (0, 2)}


@pytest.fixture(params=["numpy", "torch"])
def library(request: pytest.FixtureRequest) -> Library:
    """Those that change arrays in place."""
    return LIBRARIES[request.param]()


def elsewhere(hook: Callable[..., Any]) -> Callable[..., Any]:
    """The hook, whose result is an array of its own; what lies in `out` is of no use after it."""
    def hook_elsewhere(*given: Any, out: Any = None, scratch: Any = None, **others: Any) -> Any:
        result = hook(*(one if backend_of(one) is None else one + 0 for one in given), **others)
        for usable in (out, scratch):
            if usable is not None:
                usable[...] = np.nan
        return result

    return hook_elsewhere


def test_the_hooks_are_known() -> None:
    assert {"product", "multiply", "add", "with_label", "exponential", "probability", "project_out",
            "add_at_labels"} <= set(HOOKS)


@pytest.mark.parametrize("path", PATHS)
def test_a_hook_need_not_write_in_place(tiled: Loss[...], path: str, library: Library, monkeypatch: pytest.MonkeyPatch
                                        ) -> None:
    (keep_bytes, width), inputs = PATHS[path], arrays(tiled, library)
    options = {"keep_bytes": keep_bytes} if "keep_bytes" in tiled.defaults else {}
    backend: Any = backend_of(inputs[0])
    if width is not None:
        monkeypatch.setattr(backend, "class_tile_width", lambda *_: width)
        monkeypatch.setattr(backend, "makes_unit", lambda *_: False)
    wanted = tiled.value_and_grad(*inputs, **options)
    for name in HOOKS:
        monkeypatch.setattr(backend, name, elsewhere(getattr(backend, name)))
    value, gradients = tiled.value_and_grad(*inputs, **options)
    for got, right in zip((value, *gradients), (wanted[0], *wanted[1]), strict=True):
        np.testing.assert_allclose(library.numpy(got), library.numpy(right), rtol=1e-12, atol=1e-12)
