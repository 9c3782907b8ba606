"""Hooks of a backend return and the engine stores: whether a result lies in `out` or elsewhere is their business."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from libraries import Library, library_of, parameters
from samples import array_options, arrays, fitting, float_arrays, other_options

from anglos import Loss
from anglos.arrays.backend import Backend
from anglos.arrays.dispatch import backend_of

DRIVERS = ("sweep", "place", "tile_of")
"""They hand what they are given, or slices of it, on to the engine, which stores there."""

HOOKS = [name for name, hook in inspect.getmembers(Backend, inspect.isfunction)
         if name[0] != "_" and name not in DRIVERS]


@pytest.fixture(params=parameters("numpy", "torch", "torch-cuda"))
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Those that change arrays in place."""
    return library_of(request.param, monkeypatch)


def copied(value: Any) -> Any:
    if backend_of(value) is None:
        return value
    return value.copy() if isinstance(value, np.ndarray) else value.clone()


def out_of_place(hook: Callable[..., Any]) -> Callable[..., Any]:
    """The hook, working on copies; what it might have used holds nothing afterwards."""

    def call(*given: Any, **named: Any) -> Any:
        result = hook(*map(copied, given), **{name: copied(value) for name, value in named.items()})
        for usable in (named.get("out"), named.get("scratch")):
            if usable is not None:
                usable[...] = np.nan
        return result

    return call


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("width", [None, 2], ids=["one tile", "several"])
def test_no_hook_has_to_write_in_place(loss: Loss[...], width: int | None, large: bool, library: Library,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """With any choice, with options as arrays, kept and recomputed; and with the label's class by itself."""
    backend = backend_of(library.array(np.zeros(1)))
    answers = dict.fromkeys(("tile_width", "class_tile_width"), width) if width else {}
    answers |= dict.fromkeys(("label_joins", "makes_unit"), False) if large else {}
    for name, answer in answers.items():
        monkeypatch.setattr(backend, name, lambda *_, answer=answer: answer)
    learnt = {name: library.array(np.asarray(values[0])) for name, values in array_options(loss).items()}
    for options in ({}, learnt, *other_options(loss)):
        inputs = fitting(arrays(loss, library), options)
        if options.get("from_logits") is False:
            inputs = [library.array(np.eye(3))]
        call: dict[str, Any] = {
            **options, "wrt": (*float_arrays(loss)[:len(inputs)], *(learnt if options is learnt else ()))}
        for keep in ({"keep_bytes": 0}, {"keep_bytes": 2**40}) if "keep_bytes" in loss.defaults else ({},):
            wanted, wanted_gradients = loss.value_and_grad(*inputs, **call, **keep)
            with monkeypatch.context() as patch:
                for name in HOOKS:
                    patch.setattr(backend, name, out_of_place(getattr(backend, name)))
                value, gradients = loss.value_and_grad(*inputs, **call, **keep)
            for got, want in zip((value, *gradients), (wanted, *wanted_gradients), strict=True):
                np.testing.assert_allclose(library.numpy(got), library.numpy(want), rtol=1e-12, atol=1e-14,
                                           err_msg=str(options))
