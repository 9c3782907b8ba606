"""Whether every form of a call is right: each option, each reduction, in tiles and on several devices."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np

from anglos.call.loss import Loss
from anglos.checks import samples
from anglos.checks.libraries import Jax, NumPy
from anglos.checks.subject import Subject, same


def options(subject: Subject) -> None:
    """Every option changes the value or the gradient, somewhere."""
    loss = subject.loss
    for name in loss.defaults:
        if name not in (*samples.COMMON, *subject.inert) and not any(_differ(loss, name)):
            subject.fault("numpy", f"what option {name} changes", "nothing", "another value or gradient",
                          "where the formula uses it")


def _differ(loss: Loss[...], name: str) -> Iterator[bool]:
    """Of changed options, each beside others: whether value or gradient change; True where none is to be had."""
    beside = [{}, samples.gentle(loss), *({other: choice} for other in loss.defaults for choice in
              samples.changes(loss, other) if other != name and other not in samples.COMMON)]
    tried = False
    for arrays in (samples.arrays_of(loss), samples.arrays_of(loss, 1), samples.hard_arrays(loss)):
        for others in beside:
            for change in samples.changes(loss, name):
                try:
                    before, after = (loss.value_and_grad(*arrays, **{**others, **one}) for one in ({}, {name: change}))
                except (TypeError, ValueError):
                    continue
                tried = True
                yield any(not np.array_equal(a, b) for a, b in zip((before[0], *before[1]), (after[0], *after[1]),
                                                                  strict=True))
    yield not tried


def tiles(subject: Subject) -> bool | None:
    """In several tiles of classes all is as in one."""
    loss = subject.loss
    if "keep_bytes" not in loss.defaults or loss.kinds[loss.arrays[0]].shapes != ("B D",):
        return False
    random = np.random.default_rng(2)
    sizes = {"B": 3, "C": 4000, "D": 700, "K": 2}
    arrays = [np.asarray([5, 3999, 17]) if loss.kinds[name].dtype == "integral" else
              random.normal(size=[sizes[letter] for letter in loss.kinds[name].shapes[0].split()])
              for name in loss.arrays]
    one, several = (loss.value_and_grad(*arrays, keep_bytes=keep) for keep in (2**40, 0))
    for number, (a, b) in enumerate(zip((several[0], *several[1]), (one[0], *one[1]), strict=True)):
        same(subject, NumPy(), f"{f'gradient {number}' if number else 'the value'} in tiles", a, b, "that of one tile")
    return None


def devices(subject: Subject) -> bool | None:
    """Over several devices of JAX all is as on one."""
    jax = next((one.jax for one in subject.libraries if isinstance(one, Jax)), None)
    loss = subject.loss
    shapes = [loss.kinds[name].shapes[0] for name in loss.arrays]
    if jax is None or jax.device_count() < 2 or shapes != ["B D", "C D", "B"] or "keep_bytes" not in loss.defaults:
        return False
    sharded: Any = import_module("anglos.backends.jax").class_sharded
    embeddings, _, labels = samples.arrays_of(loss)
    each = max(2, -(-samples.CLASSES // jax.device_count()))
    weights = np.random.default_rng(4).normal(size=(jax.device_count() * each, samples.DIMENSION))
    call = sharded(loss, jax.make_mesh((jax.device_count(),), ("devices",)), "devices")
    with subject.calls("jax"):
        got, want = (jax.jit(jax.value_and_grad(one, argnums=(0, 1)))(
            *map(jax.numpy.asarray, (embeddings, weights, labels))) for one in (call, loss))
    for what, a, b in zip(("the value", "the gradient in embeddings", "the gradient in weights"), (got[0], *got[1]),
                          (want[0], *want[1]), strict=True):
        same(subject, next(one for one in subject.libraries if isinstance(one, Jax)), f"{what} on several devices", a,
              np.asarray(b), "that of one")
    return None


def shapes(subject: Subject) -> None:
    """Of every sample a loss, whose sum is the sum; what is no array is refused."""
    _, arrays, options = subject.inputs()
    sums = [{"reduction": one} if "reduction" in subject.loss.defaults else {} for one in ("none", "sum")]
    each, total = (np.atleast_1d(subject.loss(*arrays, **options, **one)) for one in sums)
    if not np.all(np.isfinite(each)):
        subject.fault("numpy", "the loss of a sample", f"{each[~np.isfinite(each)][0]:g}", "a finite number",
                      "roots and logarithms, of cosines below 0 too, and at what is divided by")
    if np.ndim(each) != 1 or not np.allclose(np.sum(each), total, rtol=1e-9):
        subject.fault("numpy", "the sum of the losses", f"{np.sum(each):.6g} of shape {np.shape(each)}", f"{total:.6g}",
                      "what the terms are summed over")
    for wrong, more in (([array.tolist() for array in arrays], {}), (arrays, {"no_such_option": 1})):
        try:
            subject.loss(*wrong, **more)
        except TypeError:
            continue
        subject.fault("numpy", "a list, or an option that is none,", "taken", "a refusal", "what replaces the checks")
