"""From a function of the label's cosine to the definition of a loss: what `define.margin` does."""

import inspect
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, NoReturn

from anglos.arrays.backend import Backend
from anglos.call.arguments import Embeddings, Labels, Scale, Weights
from anglos.call.common import MarginCommon, annotations_of
from anglos.call.definition import Definition, define, name_of, parameters_of, with_common
from anglos.call.kinds import describe, has_gradient
from anglos.engines import elementwise
from anglos.engines.dual import Dual, array_of, slopes_of
from anglos.engines.numerics import Array, is_number
from anglos.engines.prototypes.row import Curve, Row
from anglos.engines.reductions import CrossEntropy

_COS, _LENGTH = "cos θ", "|x|"  # no names of options
_TAKEN = frozenset(("embeddings", "weights", "labels", *annotations_of(MarginCommon)))


class Formula(NamedTuple):
    """A function of cos θ, of |x| if it asks for `length`, and of options."""

    name: str
    function: Callable[..., Any]
    by_name: frozenset[str]
    """What it takes as keywords."""
    wants_length: bool
    differentiated: bool
    """Whether it is given duals, which find its slopes."""
    learnt: frozenset[str]
    """The options that may be arrays and have a gradient."""


def margin_definition(function: Any) -> Definition:
    """Of a function of cos θ and options, which returns φ."""
    name = name_of(function)
    parameters = parameters_of(name, function)
    if not any(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters.values()):
        raise TypeError(f"{name}: its first argument was missing; wanted the cosine, as in {name}(cos, *, ...)")
    first, *others = parameters.values()
    if first.name == "length":
        raise TypeError(f"{name}: its first argument was length; wanted the cosine, as in {name}(cos, length, *, ...)")
    options = {p.name: p for p in others if p.name != "length" and p.kind is not p.VAR_KEYWORD}
    for key, p in options.items():
        if p.kind is not p.KEYWORD_ONLY:
            raise TypeError(f"{name}: {key} was an argument by position; wanted it after a *, as in "
                            f"{name}({first.name}, *, {key}: define.Number = ...)")
        if key in _TAKEN:
            raise TypeError(f"{name}: {key} was the name of an option; wanted another, which the loss does not have")
    arrays = {key: inspect.Parameter(key, inspect.Parameter.POSITIONAL_ONLY, annotation=annotation)
              for key, annotation in (("embeddings", Embeddings), ("weights", Weights), ("labels", Labels))}
    scale = inspect.Parameter("scale", inspect.Parameter.KEYWORD_ONLY, default=64.0, annotation=Scale)
    every = with_common({**arrays, **options, **({} if "scale" in options else {"scale": scale})}, MarginCommon)
    returns = inspect.signature(function).return_annotation
    length = parameters.get("length")
    definition = define(function, every, row=_row)
    for key in options:
        if getattr(definition.kinds[key], "role", None) is not None:
            raise TypeError(f"{name}: option {key} was {definition.kinds[key]}, which says more of a loss than its "
                            "margin; wanted another kind, or a loss by define.prototypes")
    learnt = frozenset(key for key in options if has_gradient(definition.kinds[key]))
    by_name = {*options, *(["length"] if length is not None and length.kind is length.KEYWORD_ONLY else [])}
    formula = Formula(name, function, frozenset(by_name), length is not None, "Curve" not in str(returns), learnt)
    return replace(definition, row=partial(_row, formula, frozenset(options)))


def _row(formula: Formula, own: frozenset[str], /, *_: Any, scale: Any, label_smoothing: Any, **options: Any) -> Row:
    """The row of the scheme."""
    own_options = {key: option for key, option in {**options, "scale": scale}.items() if key in own}
    return Row(scale, partial(_target, formula, own_options), CrossEntropy(label_smoothing),
               wants_length=formula.wants_length)


def _target(formula: Formula, options: Mapping[str, Any], backend: Backend, cos: Array, length: Array) -> Curve:
    """φ and its slopes: as the function returns them, or differentiated."""
    arrays = {key: option for key, option in options.items() if key in formula.learnt and not is_number(option)
              and option is not None and not isinstance(option, str)}
    given: dict[str, Any] = {_COS: cos, **({_LENGTH: length} if formula.wants_length else {}), **arrays}
    if formula.differentiated:
        given = {key: Dual(array, {key: None}) for key, array in given.items()}
    named = {**options, **{key: given[key] for key in arrays}}
    curve = _curve(formula, _called(formula, given[_COS], given.get(_LENGTH), named), given)
    if tuple(curve.value.shape) != tuple(cos.shape):
        _refuse(formula, f"was of shape {tuple(curve.value.shape)}", f"{tuple(cos.shape)}, one number per cosine")
    if curve.value.dtype != cos.dtype:
        _refuse(formula, f"was of dtype {curve.value.dtype}", f"{cos.dtype}, that of the cosine: numbers of Python, or "
                "arrays that are arguments, keep it; a NumPy number does not")
    for key, slope in {_COS: curve.slope, **curve.option_slopes, _LENGTH: curve.length_slope}.items():
        if tuple(getattr(slope, "shape", ())) not in ((), tuple(cos.shape)):
            _refuse(formula, f"had a slope in {key} of shape {tuple(slope.shape)}", f"{tuple(cos.shape)}, or a number")
    return curve


def _called(formula: Formula, cos: Any, length: Any, options: Mapping[str, Any]) -> Any:
    """What the function returns; what a library's own function says of a dual, in words."""
    positional: tuple[Any, ...] = (cos,)
    if formula.wants_length:
        options = {**options, "length": length}
        if "length" not in formula.by_name:
            positional = (cos, options.pop("length"))
    if not formula.differentiated:
        return formula.function(*positional, **options)
    try:
        return formula.function(*positional, **options)
    except (TypeError, AttributeError) as error:
        raise TypeError(f"{formula.name}: its formula failed ({error}); {_advice(error)}") from error


def _curve(formula: Formula, found: Any, given: Mapping[str, Any]) -> Curve:
    """What the function returned, as plain arrays with a slope in everything that was given."""
    value = found.value if isinstance(found, Curve) else found
    if not isinstance(value, Dual) and (formula.differentiated or not isinstance(found, Curve)):
        _refuse(formula, f"was {describe(value)}", "an array that is computed from the cosine, or a define.Curve")
    slopes = {**dict.fromkeys(given, 0.0), **slopes_of(value)} if formula.differentiated else {}
    if isinstance(found, Curve):
        told = {_COS: found.slope, _LENGTH: found.length_slope, **found.option_slopes}
        slopes |= {key: array_of(slope) for key, slope in told.items() if slope is not None}
    for key in given:
        if key not in slopes:
            what = "length_slope" if key == _LENGTH else f"option_slopes={{{key!r}: ...}}"
            _refuse(formula, f"had no slope in {key}", f"define.Curve(value, slope, ...) with {what}")
    slope, length_slope = slopes.pop(_COS), slopes.pop(_LENGTH, None)
    return Curve(array_of(value), slope, slopes, length_slope)


def _advice(error: Exception) -> str:
    """What to use in place of a library's own function, if the line that failed has one."""
    line = "".join(frame.line or "" for frame in traceback.extract_tb(error.__traceback__)[1:2])
    used = [name for owner, name in re.findall(r"(\w+)\.(\w+)\(", line) if owner != "define"]
    names = [f"define.{name}" for name in used if name in elementwise.__all__] or ["the functions of anglos.define"]
    return f"wanted {', '.join(names)}, or -> define.Curve for a function that gives its slopes itself"


def _refuse(formula: Formula, was: str, wanted: str) -> NoReturn:
    raise TypeError(f"{formula.name}: what the function returned {was}; wanted {wanted}")
