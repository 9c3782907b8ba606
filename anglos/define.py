"""The door for new losses, the library's own and yours.

To make a loss: `margin`, `prototypes`, `pairs`, `rowwise`, `batchwise`; to check it: `check`. What they return:
`Curve`, `Row`, `PairRow` (of `pair_terms` or of a function that returns `Terms`), `Direct`. For formulas, in every
library: `abs`, `arccos`, `arcsin`, `arctan`, `arctan2`, `clip`, `cos`, `cosh`, `exp`, `expm1`, `log`, `log1p`,
`maximum`, `minimum`, `power`, `sigmoid`, `sign`, `sin`, `sinh`, `softplus`, `sqrt`, `square`, `tan`, `tanh`, `where`.
All other names with a capital say what an argument may be; `docs/adding.md` has those that are used most.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Concatenate, ParamSpec, Protocol, overload

from anglos.arrays.backend import Backend as Backend
from anglos.arrays.dispatch import backend_of as backend_of
from anglos.call.arguments import *  # noqa: F403
from anglos.call.common import BatchCommon as BatchCommon
from anglos.call.common import ClassMarginCommon as ClassMarginCommon
from anglos.call.common import Common as Common
from anglos.call.common import GuidedPairs as GuidedPairs
from anglos.call.common import GuidedQueries as GuidedQueries
from anglos.call.common import LabelCommon as LabelCommon
from anglos.call.common import MarginCommon as MarginCommon
from anglos.call.common import PairCommon as PairCommon
from anglos.call.common import PrototypeCommon as PrototypeCommon
from anglos.call.common import ProxyCommon as ProxyCommon
from anglos.call.common import TiledCommon as TiledCommon
from anglos.call.definition import definition_of as _definition_of
from anglos.call.kinds import ArrayOf as ArrayOf
from anglos.call.loss import Loss as Loss
from anglos.call.margin import margin_definition as _margin_definition
from anglos.call.pair_arguments import *  # noqa: F403
from anglos.call.state import Batch as Batch
from anglos.call.state import Update as _Update
from anglos.engines import batchwise as _batchwise
from anglos.engines import rowwise as _rowwise
from anglos.engines.all_pairs import AllPairs as AllPairs
from anglos.engines.all_pairs import all_pairs as all_pairs
from anglos.engines.among import nearest_other_pairs as nearest_other_pairs
from anglos.engines.among import nearest_others as nearest_others
from anglos.engines.angles import Turned as Turned
from anglos.engines.angles import cos_sin as cos_sin
from anglos.engines.angles import turned_cosine as turned_cosine
from anglos.engines.ball import BallDistances as BallDistances
from anglos.engines.ball import BallPoints as BallPoints
from anglos.engines.ball import ball_distances as ball_distances
from anglos.engines.ball import ball_distances_pullback as ball_distances_pullback
from anglos.engines.ball import ball_points as ball_points
from anglos.engines.ball import ball_points_pullback as ball_points_pullback
from anglos.engines.batchwise import of_parts as of_parts
from anglos.engines.contract import Engine
from anglos.engines.elementwise import *  # noqa: F403
from anglos.engines.groups import takes_part as takes_part
from anglos.engines.numerics import divisor_of as divisor_of
from anglos.engines.numerics import float_type as float_type
from anglos.engines.numerics import hinge as hinge
from anglos.engines.numerics import hinge_of as hinge_of
from anglos.engines.numerics import is_number as is_number
from anglos.engines.numerics import least_square as least_square
from anglos.engines.numerics import log_sum_exp as log_sum_exp
from anglos.engines.numerics import positive_part as positive_part
from anglos.engines.numerics import share as share
from anglos.engines.numerics import sines as sines
from anglos.engines.numerics import smallest_normal as smallest_normal
from anglos.engines.numerics import sum_where as sum_where
from anglos.engines.numerics import unit_rows as unit_rows
from anglos.engines.numerics import unit_rows_pullback as unit_rows_pullback
from anglos.engines.ordered import log_sum_of_lower as log_sum_of_lower
from anglos.engines.ordered import running_log_sum as running_log_sum
from anglos.engines.pairs import engine as _pairs
from anglos.engines.pairs import means as _means
from anglos.engines.pairs.block_rows import Blocks as Blocks
from anglos.engines.pairs.directions import check_directions as check_directions
from anglos.engines.pairs.directions import groups_of as groups_of
from anglos.engines.pairs.distances import OF_UNIT_VECTORS as OF_UNIT_VECTORS
from anglos.engines.pairs.distances import of_given as _of_given
from anglos.engines.pairs.distances import of_products as _of_products
from anglos.engines.pairs.log_sum import log_sum_of_negatives as log_sum_of_negatives
from anglos.engines.pairs.pair_terms import pair_terms as pair_terms
from anglos.engines.pairs.row import PairRow as PairRow
from anglos.engines.pairs.row import PairTile as PairTile
from anglos.engines.pairs.row import Terms as Terms
from anglos.engines.pairs.terms import by_temperature as by_temperature
from anglos.engines.pairs.terms import each_by_itself as each_by_itself
from anglos.engines.pairs.terms import number as _number
from anglos.engines.pairs.terms import one_of_many as one_of_many
from anglos.engines.pairs.triplets import all_soft_terms as all_soft_terms
from anglos.engines.pairs.triplets import all_terms as all_terms
from anglos.engines.pairs.triplets import batch_hard as batch_hard
from anglos.engines.pairs.triplets import chosen_terms as chosen_terms
from anglos.engines.prototypes import centroids as _centroids
from anglos.engines.prototypes import engine as _prototypes
from anglos.engines.prototypes import linear as linear
from anglos.engines.prototypes.curves import additive_angular as additive_angular
from anglos.engines.prototypes.curves import additive_cosine as additive_cosine
from anglos.engines.prototypes.curves import multiplicative_angular as multiplicative_angular
from anglos.engines.prototypes.hinges import ContrastiveHinge as ContrastiveHinge
from anglos.engines.prototypes.hinges import HardestTripletHinge as HardestTripletHinge
from anglos.engines.prototypes.hinges import TripletHinge as TripletHinge
from anglos.engines.prototypes.row import NAMES as NAMES
from anglos.engines.prototypes.row import Curve as Curve
from anglos.engines.prototypes.row import Row as Row
from anglos.engines.prototypes.row import unchanged as unchanged
from anglos.engines.reductions import CrossEntropy as CrossEntropy
from anglos.engines.reductions import ExcludedPositive as ExcludedPositive
from anglos.engines.rowwise import Direct as Direct
from anglos.engines.soft_bins import check_histogram as check_histogram
from anglos.engines.soft_bins import moved_histogram as moved_histogram
from anglos.engines.soft_bins import soft_bins as soft_bins
from anglos.engines.softmax import of_labels as _of_labels
from anglos.engines.softmax import of_targets as _of_targets
from anglos.engines.sums import Binary as Binary
from anglos.engines.sums import Linear as Linear
from anglos.engines.sums import Squares as Squares
from anglos.training.schedules import suggest_scale as suggest_scale

prototypes_engine, class_means, means_as_keys = _prototypes, _centroids, _means
count_pairs, given_distances, product_distances = _number, _of_given, _of_products
softmax_of_labels, softmax_of_targets = _of_labels, _of_targets

Options = ParamSpec("Options")
Function = Callable[Concatenate[Any, Options], Any]


class Decorator(Protocol):
    """From the function of a loss to the loss."""

    def __call__(self, function: Function[Options], /) -> Loss[Options]:
        """The loss."""


@overload
def prototypes(function: Function[Options], /) -> Loss[Options]: ...
@overload
def prototypes(*, formula: str = "", paper: str = "", engine: Engine = _prototypes) -> Decorator: ...
def prototypes(function: Any = None, /, *, formula: str = "", paper: str = "", engine: Engine = _prototypes) -> Any:
    """Make a loss against class prototypes of a function of its arguments that returns a `Row`.

    The decorator, with or without arguments, of a function whose arrays stand before a `/` and whose options, each with
    a default, after a `*`. Every argument is annotated by what it may be, as `define.Weights` or `define.Scale`.
    `sample_weight`, `ignore_index`, `reduction`, `keep_bytes` and `gradient_products` come by themselves.

    Parameters
    ----------
    formula, paper : str
        What tables and docstrings say of the loss.
    engine : module
        What computes the row: by default the engine for prototypes.

    Raises
    ------
    TypeError
        If the function has no name, or an argument no annotation that says what it may be. In a call: if the function
        returned something else than a `Row`.

    Examples
    --------
    Softmax over s cos θ, whose logit of the label is smaller by s m. At 0° and 90°, s = 2 and m = ½: 1 against 0.

    >>> import math, numpy as np
    >>> from anglos import define
    >>> @define.prototypes
    ... def shifted(embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    ...             margin: define.CosineMargin = 0.5, scale: define.Scale = 2.0):
    ...     return define.Row(scale, lambda backend, cos, length: define.Curve(cos - margin, 1.0, {"margin": -1.0}))
    >>> loss = shifted(np.asarray([[3.0, 0.0]]), np.asarray([[1.0, 0.0], [0.0, 1.0]]), np.asarray([0]))
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return _made(function, engine, formula, paper)


@overload
def pairs(function: Function[Options], /) -> Loss[Options]: ...
@overload
def pairs(*, formula: str = "", paper: str = "", engine: Engine = _pairs) -> Decorator: ...
def pairs(function: Any = None, /, *, formula: str = "", paper: str = "", engine: Engine = _pairs) -> Any:
    """Make a loss over pairs of a function of its arguments that returns a `PairRow`.

    As `prototypes`. With labels, references and excluded pairs come by themselves too. Of `define.Queries` and
    `define.Keys` the i-th belong together.

    Parameters
    ----------
    formula, paper : str
        What tables and docstrings say of the loss.
    engine : module
        What computes the row: by default the engine for pairs.

    Raises
    ------
    TypeError
        As `prototypes`; in a call, if the function returned something else than a `PairRow`.

    Examples
    --------
    ς(−s) of every positive and ς(s) of every negative. Two equal samples of one class: log(1 + 1/e) for each.

    >>> import math, numpy as np
    >>> from anglos import define
    >>> @define.pairs
    ... def logistic(embeddings: define.Embeddings, labels: define.Groups, /):
    ...     return define.PairRow(define.each_by_itself)
    >>> loss = logistic(np.asarray([[3.0, 0.0], [1.0, 0.0]]), np.asarray([7, 7]))
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return _made(function, engine, formula, paper)


@overload
def rowwise(function: Function[Options], /) -> Loss[Options]: ...
@overload
def rowwise(*, formula: str = "", paper: str = "") -> Decorator: ...
def rowwise(function: Any = None, /, *, formula: str = "", paper: str = "") -> Any:
    """Make a loss that needs no tiles of a function of its arguments that returns a `Direct`.

    As `prototypes`: for losses of arrays of their own, as `anglos.cross_entropy`, which bring their gradients.

    Examples
    --------
    Half the squared distance, 2 for a distance of 2.

    >>> import numpy as np
    >>> from anglos import define
    >>> @define.rowwise
    ... def squares(logits: define.Logits, targets: define.Logits, /):
    ...     return define.Direct(
    ...         lambda backend, x, y: 0.5 * backend.xp.sum((x - y) ** 2, axis=1),
    ...         lambda backend, g, x, y: {"logits": g[:, None] * (x - y), "targets": g[:, None] * (y - x)})
    >>> float(squares(np.asarray([[3.0, 0.0]]), np.asarray([[1.0, 0.0]])))
    2.0
    """
    return _made(function, _rowwise, formula, paper)


@overload
def batchwise(function: Function[Options], /) -> Loss[Options]: ...
@overload
def batchwise(*, formula: str = "", paper: str = "") -> Decorator: ...
def batchwise(function: Any = None, /, *, formula: str = "", paper: str = "") -> Any:
    """Make a loss of the batch as a whole, one number and no sum over samples, of what returns a `Direct`.

    As `rowwise`, but that value and g are numbers, and that no sample is weighed or reduced over. Where there are
    labels, ignored rows come as zeros, which a mean over rows counts: with an option `ignore_index` of its own,
    `define.IgnoredGroup`, the function knows them, by `takes_part(backend.xp, labels, ignore_index)`.

    Raises
    ------
    TypeError
        As `prototypes`; in a call, if the value or a gradient has not its shape, or a gradient is missing.

    Examples
    --------
    The variance of all numbers: 1 for 3 and 1. Their number by the shape, as `size` is not the same in all libraries.

    >>> import math, numpy as np
    >>> from anglos import define
    >>> @define.batchwise
    ... def variance(logits: define.Logits, /):
    ...     return define.Direct(
    ...         lambda backend, x: backend.xp.mean((x - backend.xp.mean(x)) ** 2),
    ...         lambda backend, g, x: {"logits": g * 2.0 * (x - backend.xp.mean(x)) / math.prod(x.shape)})
    >>> float(variance(np.asarray([[3.0], [1.0]])))
    1.0
    """
    return _made(function, _batchwise, formula, paper)


def update(loss: Loss[...], **kinds: ArrayOf
           ) -> Callable[[Callable[Concatenate[Batch, Options], Any]], _Update[Options]]:
    """Make the update of a loss's state of a function of a `Batch`, and of arguments that are named as the loss's are.

    The decorator. What the function is given has been checked against the kinds of the loss, and against others by
    name; the batch says which samples count. It is called without the batch.

    Examples
    --------
    >>> import anglos, numpy as np
    >>> from anglos import define
    >>> @define.update(anglos.curricularface)
    ... def counted(batch, embeddings, weights, labels):
    ...     return batch.backend.xp.sum(batch.weight(embeddings[:, 0]))
    >>> float(counted(np.ones((3, 2)), np.ones((5, 2)), np.asarray([4, -100, 0])))
    2.0
    """
    return lambda function: _Update(function, {**loss.kinds, **kinds})


@overload
def margin(function: Callable[..., Any], /) -> Loss[...]: ...
@overload
def margin(*, formula: str = "", paper: str = "") -> Callable[[Callable[..., Any]], Loss[...]]: ...
def margin(function: Any = None, /, *, formula: str = "", paper: str = "") -> Any:
    """Make a softmax loss of a function of the label's cosine: what takes its place in the logits.

    The decorator, with or without arguments, of a function φ of cos θ, (B,), and of options after a `*`, each with a
    default and annotated by what it may be. One named `length` is given |x|, (B,). The loss has embeddings, weights and
    labels, these options, `scale`, `label_smoothing`, and what all losses against prototypes have.

    φ is written with operators and the functions of `define`, and differentiated: in the cosine, in the length, and in
    every option that is an array. Or it returns a `Curve` of slopes; with `-> define.Curve` nothing is differentiated.

    Parameters
    ----------
    formula, paper : str
        What tables and docstrings say of the loss.

    Raises
    ------
    TypeError
        If the function has no name, or an option no annotation that says what it may be. In a call: if it used a
        function that is not of `define`, or an `if`, or returned something else than one number per cosine.

    Examples
    --------
    At 0° and 90°, s = 2 and m = 60°: the logits are 2 cos 60° = 1 and 0.

    >>> import math, numpy as np
    >>> from anglos import define
    >>> @define.margin(formula="φ = cos(θ + m)")
    ... def additive(cos, *, m: define.Angle = math.pi / 3):
    ...     return define.cos(define.arccos(cos) + m)
    >>> loss = additive(np.asarray([[3.0, 0.0]]), np.asarray([[1.0, 0.0], [0.0, 1.0]]), np.asarray([0]), scale=2.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    if function is None:
        return partial(margin, formula=formula, paper=paper)
    return Loss(_margin_definition(function), _prototypes, formula, paper)


def check(loss: Loss[...], *, differences: bool = True, inert: tuple[str, ...] = (), constants: tuple[str, ...] = ()
          ) -> str:
    """Whether a loss is what it should be, in NumPy and, if they are installed, in PyTorch and JAX.

    Its value and gradient agree between libraries; the gradient is that of the value, to second order, by differences
    and by automatic differentiation of `plain`; both are finite for aligned, opposite, zero, tiny and huge vectors, and
    keep the type of the inputs; every option changes something; tiles, and several devices, give what the whole gives.

    Parameters
    ----------
    loss
        Of the library, or made by a decorator of this module.
    differences
        False for a loss that takes part of its value as a constant to the gradient, as `circle` its weights: it is not
        compared with differences of the value, but with automatic differentiation alone.
    inert
        Options that may change nothing, as `gradient` of `cosface`, whose φ′ is 1 in any case.
    constants
        Options whose other choices take part of the value as a constant to the gradient, as `detach_centroids` of
        `batch_coco`: only their defaults are compared with differences. Nor is a choice called "straight_through".

    Returns
    -------
    str
        What was checked, and in which libraries.

    Raises
    ------
    AssertionError
        At the first fault, with the library, the input, both numbers, and what to look at.

    Examples
    --------
    >>> from anglos import define
    >>> @define.margin
    ... def opposite(cos, *, m: define.CosineMargin = 0.3) -> define.Curve:
    ...     return define.Curve(cos - m, -1.0, {"m": -1.0})
    >>> define.check(opposite)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    anglos.checks.subject.Fault: opposite, numpy: the gradient in embeddings[0, 0] was ...; wanted ...
    """
    from anglos.checks.run import run  # which imports NumPy

    return run(loss, differences, inert, constants)


def _made(function: Any, engine: Engine, formula: str, paper: str) -> Any:
    """The loss, or what makes it of a function that is still to come."""
    if function is None:
        return partial(_made, engine=engine, formula=formula, paper=paper)
    return Loss(_definition_of(function, engine), engine, formula, paper)


_OF_TYPES = {"Annotated", "Any", "Callable", "Concatenate", "Decorator", "Engine", "Function", "Literal", "Loss",
             "Options", "ParamSpec", "Protocol", "math", "overload", "partial"}


def __dir__() -> list[str]:
    return sorted(name for name in globals() if name[0] != "_" and name not in _OF_TYPES)
