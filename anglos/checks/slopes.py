"""Whether the gradient is that of the value: by differences, between libraries, and to second order by autodiff."""

from collections.abc import Callable
from typing import Any

import numpy as np

from anglos.call.loss import Loss
from anglos.checks import samples
from anglos.checks.subject import Subject, multiple, same
from anglos.engines.prototypes.row import Row, curve_of

_STEP = 1e-6


def slopes(subject: Subject) -> bool | None:
    """The gradient against central differences of the value, one number of an input after the other."""
    if not subject.differences:
        return False
    for seed, more in ((0, {}), *((1, more) for more in samples.forms(subject.loss, subject.constants))):
        names, arrays, options = subject.inputs(seed, more)
        try:
            _, gradients = subject.loss.value_and_grad(*arrays, **options, wrt=tuple(names))
        except (TypeError, ValueError):
            if not more or more.keys() & samples.learnt(subject.loss).keys():
                raise
            continue  # a word that is allowed beside other options alone
        given = {**dict(zip(subject.loss.arrays, arrays, strict=True)), **options}
        scale = max([1.0, *(float(np.abs(gradient).max()) for gradient in gradients)])
        for name, gradient in zip(names, map(np.asarray, gradients), strict=True):
            for place in np.ndindex(gradient.shape):
                got, difference = float(gradient[place]), _difference(subject.loss, given, name, place)
                if difference is not None and not abs(got - difference) <= 1e-5 * scale:
                    where = f"{name}{list(place) if place else ''}"
                    beside = "".join(f", {key}={one!r}" for key, one in more.items()
                                     if not isinstance(one, np.ndarray) and one != subject.loss.defaults[key])
                    subject.fault("numpy", f"the gradient in {where}", f"{got:.6g}",
                                  f"{difference:.6g}, the difference of the values (seed {seed}{beside})",
                                  _what_is_wrong(subject.loss, given, name, gradient))
    return None


def _what_is_wrong(loss: Loss[...], given: dict[str, Any], name: str, gradient: np.ndarray) -> str:
    """Where to look, for a gradient that is not that of the value."""
    every = [_difference(loss, given, name, place) for place in np.ndindex(gradient.shape)]
    known = np.asarray([one is not None for one in every])
    times = multiple(gradient.reshape(-1)[known], np.asarray([one for one in every if one is not None]))
    if times is not None:
        return f"its factor: all of the gradient in {name} is {times} times the slope of the value"
    values = dict(given)
    call = loss._prepare(tuple(values.pop(array) for array in loss.arrays), values)
    row, inputs = call.plan.row_of(call.arrays)
    if not isinstance(row, Row) or name not in inputs or name not in loss.arrays:
        return f"the slope in {name}: sign, factors, and what it does not depend on"
    cos, length = np.linspace(-0.8, 0.8, samples.BATCH), np.ones(samples.BATCH)
    low, at, high = (curve_of(call.plan.backend, row, row.target, cos + step, length) for step in (-_STEP, 0.0, _STEP))
    slope, difference = at.slope + 0.0 * cos, (high.value - low.value) / (2.0 * _STEP)
    times = multiple(slope, difference)
    if times is not None and not np.allclose(slope, difference, rtol=1e-5):
        return f"the slope of φ in cos θ: it is {times} times the slope of the value of φ"
    return "the slope in cos θ: sign, factors, and what it does not depend on"


def _difference(loss: Loss[...], given: dict[str, Any], name: str, place: tuple[int, ...]) -> float | None:
    """The central difference; None near a kink, where the two sides have slopes of their own."""
    def at(step: float) -> float:
        moved = np.array(given[name])
        moved[place] += step
        values = {**given, name: moved}
        return float(loss(*[values.pop(array) for array in loss.arrays], **values))

    low, middle, high = at(-_STEP), at(0.0), at(_STEP)
    central = (high - low) / (2.0 * _STEP)
    return central if abs(high + low - 2.0 * middle) <= 1e-3 * _STEP * (1.0 + abs(central)) else None


def agreement(subject: Subject) -> None:
    """Values and gradients of all libraries are NumPy's; and autodiff of `plain` is the gradient, to second order."""
    names, arrays, options = subject.inputs()
    value, gradients = subject.loss.value_and_grad(*arrays, **options, wrt=tuple(names))
    plain: Any = None  # by the first library that differentiates: the others are compared with it
    for library in subject.libraries[1:]:
        with subject.calls(library.name):
            given = [library.array(array) for array in arrays]
            learnt = {name: library.array(one) if isinstance(one, np.ndarray) else one for name, one in options.items()}
            got, others = subject.loss.value_and_grad(*given, **learnt, wrt=tuple(names))
            same(subject, library, "value", got, value)
            for name, one, other in zip(names, others, gradients, strict=True):
                same(subject, library, f"the gradient in {name}", one, other)
            named = dict(zip(subject.loss.arrays, given, strict=True))
            if plain is None:
                plain = _autodiff(library, subject.loss.plain, names, named, learnt)
            first, second = _autodiff(library, subject.loss, names, named, learnt)
            for name, one, other, explicit in zip(names, first, plain[0], gradients, strict=True):
                same(subject, library, f"the gradient in {name}", explicit, other, "autodiff of `plain`")
                same(subject, library, f"the gradient in {name} by autodiff", one, other, "autodiff of `plain`")
            for name, one, other in zip(names, second, plain[1], strict=True):
                same(subject, library, f"the second derivative in {name}", one, other, "autodiff of `plain`", 1e-5)


def _autodiff(library: Any, function: Callable[..., Any], names: list[str], arrays: dict[str, Any],
              options: dict[str, Any]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The gradients in the named inputs, and those of the sum of their squares."""
    def call(*leaves: Any) -> Any:
        values = {**arrays, **options, **dict(zip(names, leaves, strict=True))}
        return function(*[values.pop(name) for name in arrays], **values)

    first, second = library.gradients(call, [{**arrays, **options}[name] for name in names])
    return [library.numpy(one) for one in first], [library.numpy(one) for one in second]
