"""From a function to the definition of a loss: its arrays, its options with what each may be, and its row."""

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import FunctionType, NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, NoReturn, Union, Unpack, get_args, get_origin, get_type_hints

from anglos.call.arguments import Number
from anglos.call.class_margins import beside_margin
from anglos.call.common import (
    DEFAULTS,
    BatchCommon,
    Common,
    LabelCommon,
    MarginCommon,
    Nothing,
    PairCommon,
    PrototypeCommon,
    ProxyCommon,
    TiledCommon,
    annotations_of,
)
from anglos.call.completed import completed
from anglos.call.kinds import by_role, describe
from anglos.call.static_kinds import kind_of
from anglos.engines import batchwise, rowwise
from anglos.engines.contract import Engine
from anglos.engines.numerics import is_array
from anglos.engines.pairs import engine as pairs
from anglos.engines.pairs import means
from anglos.engines.pairs.pair_terms import options_of
from anglos.engines.pairs.row import PairRow
from anglos.engines.prototypes.row import Row

_KINDS = ("a kind of anglos.define, such as define.Number, define.PerSample or define.Angle, or float, int, bool or "
          "Literal[...]")
_ARRAY_KINDS = ("a kind of array of anglos.define, as in {}: define.Embeddings (B, D); others are define.Weights "
                "(C, D), define.Labels (B,) beside weights, define.Groups (B,) for pairs, define.Anchors (B, D)")
_NO_ARRAYS = ("the arrays before a /, each annotated, as in (embeddings: define.Embeddings, "
              "weights: define.Weights, labels: define.Labels, /, *, ...)")


@dataclass(frozen=True)
class Definition:
    """What a loss is, made of a function."""

    function: Callable[..., Any]
    signature: inspect.Signature
    arrays: tuple[str, ...]
    required: int
    """How many of the arrays must be given."""
    defaults: dict[str, Any]
    kinds: Mapping[str, Any]
    row: Callable[..., Any]
    """(*arrays, **options) -> what the engine wants to know of the loss."""


def definition_of(function: Any, engine: Engine) -> Definition:
    """Of a function of the loss's arrays and options, which returns the engine's row."""
    name = name_of(function)
    parameters = parameters_of(name, function)
    if not any(p.kind is p.POSITIONAL_ONLY for p in parameters.values()):
        _refuse(name, "its arrays", "were none", _NO_ARRAYS)
    own = {key: p for key, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
    kinds = {key: annotated_kind(name, p) for key, p in own.items()}
    more = with_common(own, common_of(parameters, kinds, engine))
    for key, p in more.items():
        if getattr(annotated_kind(name, p), "role", None) == "class_weight" and not hasattr(engine, "WEIGHS_CLASSES"):
            _refuse(name, f"option {key}", "was class weights, which its engine does not use",
                    "define.TiledCommon, or another engine")
    row = partial(_row, name, function, frozenset(own), _wanted(engine))
    return define(function, more, row)


def define(function: Any, parameters: Mapping[str, inspect.Parameter], row: Callable[..., Any]) -> Definition:
    """The definition of a loss with these parameters, all of them annotated by kinds."""
    name, positional = name_of(function), [p for p in parameters.values() if p.kind is p.POSITIONAL_ONLY]
    around = inspect.getclosurevars(function)
    for key, value in {**around.globals, **around.nonlocals}.items():
        if getattr(value, "requires_grad", False) is True:  # nothing would come of it
            _refuse(name, key, "was an array that is learnt, from around it", "an option, which is differentiated by")
    defaults = {key: p.default for key, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    for key, default in defaults.items():
        if default is inspect.Parameter.empty:
            _refuse(name, f"option {key}", "had no default", "one, so that a call need not name it")
    kinds = beside_margin({key: annotated_kind(name, p) for key, p in parameters.items()})
    for key, common in {**annotations_of(MarginCommon), **annotations_of(PairCommon)}.items():
        if key in kinds and type(kinds[key]) is not type(kind_of(common)):
            _refuse(name, f"option {key}", f"was {kinds[key]}", f"{kind_of(common)}, as in every loss, or another name")
    return Definition(function, inspect.Signature(list(parameters.values()), return_annotation=Any),
                      tuple(p.name for p in positional), sum(p.default is p.empty for p in positional), defaults, kinds,
                      row)


def name_of(function: Any) -> str:
    """Its name; refused if it is no function that has one."""
    if not isinstance(function, FunctionType):
        raise TypeError(f"define: what was decorated was {describe(function)}; wanted a function")
    if not function.__name__.isidentifier():
        raise TypeError(f"define: the function was a {function.__name__.strip('<>')}; wanted one with a name: def")
    return function.__name__


def parameters_of(name: str, function: Any) -> dict[str, inspect.Parameter]:
    """The parameters of a function with their annotations, also of those that are written as words."""
    parameters = dict(inspect.signature(function).parameters)
    around: Any = None
    for key, one in parameters.items():
        if one.kind is one.VAR_POSITIONAL:
            _refuse(name, f"*{key}", "was among its arguments", "every array by its own name")
        if isinstance(one.annotation, str):
            around = _names_around(function) if around is None else around
            holder: Any = SimpleNamespace(__annotations__={key: one.annotation})
            try:
                annotation = get_type_hints(holder, function.__globals__, around, include_extras=True)[key]
            except (NameError, AttributeError, SyntaxError, TypeError) as error:
                wanted = _ARRAY_KINDS.format(key) if one.kind is one.POSITIONAL_ONLY else _KINDS
                _refuse(name, key, f"was annotated {one.annotation!r}, which failed ({error})", wanted, error)
            parameters[key] = one.replace(annotation=annotation)
    return parameters


def _names_around(function: Any) -> Mapping[str, Any]:
    """The names of the scope in which the function is being decorated: of a cell, or of another function."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_globals is function.__globals__:
            return frame.f_locals
    return {}


def annotated_kind(name: str, parameter: inspect.Parameter) -> Any:
    """What an argument may be, by its annotation."""
    annotation, what = parameter.annotation, parameter.name
    if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
        _refuse(name, what, "was an argument by position or by name", "arrays before a /, options after a *")
    wanted = _ARRAY_KINDS.format(what) if parameter.kind is parameter.POSITIONAL_ONLY else _KINDS
    if annotation is parameter.empty:
        _refuse(name, what, "had no annotation", wanted)
    try:
        kind = _kind(annotation)
    except (KeyError, TypeError):
        kind = None
    if not hasattr(kind, "static"):
        _refuse(name, what, f"was annotated {inspect.formatannotation(annotation)}", wanted)
    return kind


def _kind(annotation: Any) -> Any:
    """That of an annotation; of `... | None` the same, which may be None."""
    some = [one for one in get_args(annotation) if one is not NoneType]
    if get_origin(annotation) in (Union, UnionType) and len(some) == 1:
        return replace(_kind(some[0]), optional=True)
    return kind_of(Number if annotation is float else annotation)


def common_of(parameters: Mapping[str, inspect.Parameter], kinds: Mapping[str, Any], engine: Engine) -> Any:
    """The class of the common options: what the function says in `**common: Unpack[...]`, or what its engine has."""
    for one in parameters.values():
        if one.kind is one.VAR_KEYWORD and get_origin(one.annotation) is Unpack:
            return one.annotation
    if engine is pairs and {getattr(kind, "shape", "") for kind in kinds.values()} & {"C D", "C K D"}:
        return ProxyCommon
    labelled = any(getattr(kind, "role", "") == "labels" for kind in kinds.values())
    found: Any = {pairs: (Common, PairCommon), means: (Common, LabelCommon), rowwise: (Common, LabelCommon),
                  batchwise: (Nothing, BatchCommon)}
    if engine in found:
        return found[engine][labelled]
    return PrototypeCommon if getattr(engine, "WEIGHS_CLASSES", False) else TiledCommon


def with_common(own: Mapping[str, inspect.Parameter], common: Any) -> dict[str, inspect.Parameter]:
    """The parameters, and after them the common options that are not among them, by their names or by their roles."""
    roles = by_role({key: kind_of(p.annotation) for key, p in own.items() if get_origin(p.annotation) is Annotated})
    added = {key: inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=DEFAULTS[key], annotation=annotation)
             for key, annotation in annotations_of(common).items() if key not in own and key not in roles}
    return {**own, **added}


def _row(name: str, function: Any, own: frozenset[str], wanted: Any, /, *arrays: Any, **options: Any) -> Any:
    """What the function returns, if it is the row of its engine."""
    others = set() if own.issuperset(options) else options.keys() - own
    row = function(*arrays, **{key: option for key, option in options.items() if key in own} if others else options)
    if not isinstance(row, wanted):
        _refuse(name, "what the function returned", f"was {describe(row)}", f"a define.{wanted[0].__name__}")
    for key, used in _as_they_are(row).items():
        if key in options and is_array(options[key]) and used is not options[key]:
            _refuse(name, f"{key} of the row", "was not the option as it was given", f"{key}={key}, or its slope, by "
                    "names or option_slopes")
    return completed(name, row, {key: options[key] for key in others}) if others else row


def _as_they_are(row: Any) -> Mapping[str, Any]:
    """What the row has under the name of an option and differentiates by: if computed, its slope would be another."""
    if isinstance(row, PairRow):
        return options_of(row.terms)
    return {name: getattr(row, name) for name in ("scale", "bias") if row.takes_as_it_is(name)
            } if isinstance(row, Row) else {}


def _wanted(engine: Engine) -> tuple[type, ...]:
    return pairs.ROWS if engine in (pairs, means) else (rowwise.Direct if engine in (rowwise, batchwise) else Row,)


def _refuse(loss: str, what: str, was: str, wanted: str, cause: Exception | None = None) -> NoReturn:
    raise TypeError(f"{loss}: {what} {was}; wanted {wanted}") from cause
