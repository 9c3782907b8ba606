"""The door for new losses, the library's own and yours."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

from anglos.arrays.backend import Backend as Backend
from anglos.call.arguments import *  # noqa: F403
from anglos.call.loss import Loss
from anglos.call.state import batch_of as batch_of
from anglos.engines import rowwise as _rowwise
from anglos.engines.contract import Engine
from anglos.engines.pairs import engine as _pairs
from anglos.engines.pairs.row import PairRow as PairRow
from anglos.engines.pairs.row import PairTile as PairTile
from anglos.engines.pairs.row import Terms as Terms
from anglos.engines.prototypes import engine as _prototypes
from anglos.engines.prototypes.row import Curve as Curve
from anglos.engines.prototypes.row import Row as Row
from anglos.engines.rowwise import Direct as Direct

Options = ParamSpec("Options")
Made = Callable[[Callable[Concatenate[Any, Options], Any]], Loss[Options]]


def prototypes(*, formula: str = "", paper: str = "", engine: Engine = _prototypes) -> Made[Options]:
    """Make a loss against class prototypes of a function of its arguments that returns a `Row`."""
    return lambda function: Loss(function, engine, formula, paper)


def pairs(*, formula: str = "", paper: str = "") -> Made[Options]:
    """Make a loss over pairs of a function of its arguments that returns a `PairRow`."""
    return lambda function: Loss(function, _pairs, formula, paper)


def rowwise(*, formula: str = "", paper: str = "") -> Made[Options]:
    """Make a loss that needs no tiles of a function of its arguments that returns a `Direct`."""
    return lambda function: Loss(function, _rowwise, formula, paper)
