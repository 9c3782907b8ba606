"""Losses of sampled classes whose Σ e^z is that of all classes on average."""

import inspect
from collections.abc import Callable
from functools import cache, partial
from typing import Annotated, Any

from anglos.call.arguments import Array
from anglos.call.definition import Definition
from anglos.call.kinds import ArrayOf, describe, refuse
from anglos.call.loss import Loss
from anglos.engines.prototypes import engine as _prototypes
from anglos.engines.prototypes import linear as _linear
from anglos.engines.prototypes.row import Row

_OPTION = "log_probability"
_KIND = ArrayOf("C", optional=True, frozen=True, text=(
    "log π: of every row the logarithm of how likely it was to be sampled, 0 for the batch's own classes; a constant. "
    "It must be given."))


def correct_sampling(loss: Loss[...]) -> Loss[...]:
    """The loss for sampled classes, whose Σ e^z over the rows is that over all classes on average.

    It takes what the loss takes, and `log_probability`, (C,), as `sample_classes` gives it, which it subtracts from the
    logits: a class that was sampled with probability π stands for 1/π of them. A bias of one's own stays. The logarithm
    of the sum, and so the loss, is then right in the limit of many rows; label smoothing is over the rows, as their
    logits are with log π.

    Parameters
    ----------
    loss
        One against class prototypes that is a log-sum-exp over the classes, such as `arcface`.

    Raises
    ------
    TypeError
        If it is no loss against class prototypes. In a call: without `log_probability`; or if the loss is no
        log-sum-exp, as `sphereface2`, or chooses samples by its largest logit, as `angular_triplet`.

    Examples
    --------
    Two of four other classes, which stand for all: each is there with probability ½, and counts twice.

    >>> import anglos, math, numpy as np
    >>> x, rows, labels = np.asarray([[1.0, 0.0]]), np.asarray([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]]), np.asarray([0])
    >>> log_probability = np.log([1.0, 0.5, 0.5])
    >>> loss = correct_sampling(anglos.normface)(x, rows, labels, scale=1.0, log_probability=log_probability)
    >>> round(float(loss), 6), round(math.log(1 + 4 / math.e), 6)
    (0.904832, 0.904832)
    """
    if not isinstance(loss, Loss) or loss.engine not in (_prototypes, _linear):
        what = loss.name if isinstance(loss, Loss) else describe(loss)
        raise TypeError(f"correct_sampling: loss was {what}; wanted a loss against class prototypes, such as "
                        "anglos.arcface")
    if _OPTION in loss.kinds:
        raise TypeError(f"correct_sampling: loss was {loss.name}, which takes {_OPTION} already; wanted one that does "
                        "not")
    return _corrected(loss)


class _Corrected(Loss[...]):
    __doc__ = vars(Loss)["__doc__"]  # that of its function, completed when it is read

    def __init__(self, loss: Loss[...]) -> None:
        option = inspect.Parameter(_OPTION, inspect.Parameter.KEYWORD_ONLY, default=None,
                                   annotation=Annotated[Array, _KIND])
        signature = loss.signature.replace(parameters=[*loss.signature.parameters.values(), option])
        super().__init__(Definition(
            loss.function, signature, loss.arrays, loss.required, {**loss.defaults, _OPTION: None},
            {**loss.kinds, _OPTION: _KIND}, partial(_row, loss.name, loss.row)), loss.engine, loss.formula, loss.paper)
        self.loss = loss

    def __repr__(self) -> str:
        return f"<loss {self.dotted_name}, correct_sampling>"

    def __reduce__(self) -> Any:
        return correct_sampling, (self.loss,)


@cache
def _corrected(loss: Loss[...]) -> Loss[...]:
    """One for all calls, which share their plans."""
    return _Corrected(loss)


def _row(name: str, row_of: Callable[..., Row], /, *arrays: Any, log_probability: Any, **options: Any) -> Row:
    """z_j − log π_j in place of z_j."""
    if log_probability is None:
        refuse(name, _OPTION, TypeError, "was None", "that of anglos.sample_classes, to correct for it")
    row = row_of(*arrays, **options)
    if not row.reduction.of_exponentials or row.gate is not None:
        what = "chooses samples by its largest logit" if row.gate is not None else (
            f"is a {type(row.reduction).__name__}, no log-sum-exp")
        refuse(name, _OPTION, TypeError, f"was given to a loss that {what}", "a loss such as arcface, or no correction")
    return row._replace(bias=-log_probability if row.bias is None else row.bias - log_probability)
