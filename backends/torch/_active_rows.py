"""What stands in an optimizer, between a backward pass and the step, in place of the parameters that were sampled."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch

from anglos.call.kinds import describe

from ._head_values import is_sharded
from ._resize import STARTS, has_rows, param_group_of
from ._rows import alike, local, rows_at, started


class _Active(NamedTuple):
    """Rows of a parameter that have a gradient, in its place in the optimizer."""

    whole: torch.nn.Parameter
    places: torch.Tensor
    rows: torch.nn.Parameter


class ActiveRows:
    """What stands in an optimizer between the backward pass and the step."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.actives: dict[str, _Active] = {}
        optimizer.register_step_pre_hook(self._begin)
        optimizer.register_step_post_hook(self._end)
        optimizer.register_state_dict_pre_hook(lambda _: self._stand(whole=True))
        optimizer.register_state_dict_post_hook(lambda *_: self._stand(whole=False))
        optimizer.register_load_state_dict_pre_hook(lambda *_: self._forget())

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def active(self, name: str, whole: Any, places: torch.Tensor, total: int) -> torch.nn.Parameter:
        """Rows as a Parameter, which takes the place of the whole when it has a gradient."""
        old = self.actives.get(name)
        stands = whole if old is None else old.rows
        if param_group_of(self.optimizer, stands) is None or (old and old.whole is not whole):
            raise RuntimeError(f"Head: {name} was another tensor than the optimizer of SampledRows has; wanted that "
                               "one, or SampledRows made anew")
        rows = torch.nn.Parameter(rows_at(whole.detach(), places, total))
        _after_backward(rows, partial(self._collect, name, whole, places))
        return rows

    def _collect(self, name: str, whole: torch.nn.Parameter, places: torch.Tensor, rows: Any) -> None:
        """After a backward pass: with what has been collected since the last step."""
        old, new = self.actives.get(name), _Active(whole, places, rows)
        if old is not None and old.rows is rows:
            return
        if old is not None and old.rows.grad is not None:
            new = _joined(old, new)
            rows.grad = None
        _replace(self.optimizer, whole if old is None else old.rows, new.rows)
        self.actives[name] = new

    def _begin(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> Any:
        """Before a step: the backward pass of its closure, if there is one; then rows of the state."""
        this, *others = args
        closure = kwargs.get("closure") if not others else others[0]
        if closure is not None:
            with torch.enable_grad():
                value = closure()
            others, kwargs = [], {**kwargs, "closure": lambda: value}
        for name, active in list(self.actives.items()):
            if active.whole.grad is not None:
                raise RuntimeError(f"SampledRows: {name} had a gradient of all its rows beside one of sampled rows; "
                                   "wanted a step, or zero_grad, between them")
            if active.rows.grad is None:  # set to None since
                _replace(optimizer, active.rows, self.actives.pop(name).whole)
            elif active.whole in optimizer.state:
                optimizer.state[active.rows] = {
                    key: rows_at(value, active.places, len(active.rows))
                    if _is_per_row(name, key, value, active.whole) else value
                    for key, value in optimizer.state[active.whole].items()}
        return (this, *others), kwargs

    @torch.no_grad()
    def _end(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """After a step: the rows, and those of the state, in their places."""
        for name, (whole, places, rows) in self.actives.items():
            local(whole).index_copy_(0, places, local(rows))
            group, state = param_group_of(optimizer, rows), optimizer.state.pop(rows, {})
            for key, value in state.items():
                if _is_per_row(name, key, value, rows):
                    kept = optimizer.state[whole]
                    if key not in kept:
                        kept[key] = started(value, whole, STARTS[key](group, whole) if key in STARTS else 0.0)
                    local(kept[key]).index_copy_(0, places, local(value))
                else:
                    optimizer.state[whole][key] = value
            rows.grad = None  # which the graph may keep, out of the reach of zero_grad
        self._forget()

    def _stand(self, *, whole: bool) -> None:
        """What stands in the optimizer."""
        for active in self.actives.values():
            pair = (active.rows, active.whole)
            _replace(self.optimizer, *(pair if whole else pair[::-1]))

    def _forget(self) -> None:
        self._stand(whole=True)
        self.actives.clear()


def _after_backward(rows: Any, hook: Callable[[torch.Tensor], None]) -> None:
    rows.register_post_accumulate_grad_hook(hook)


def _joined(old: _Active, new: _Active) -> _Active:
    """The rows of both, with the sum of their gradients."""
    places = torch.unique(torch.cat([old.places, new.places]))
    total = len(places)
    if is_sharded(old.whole):
        from .sharding.rows import total_in

        total = total_in(old.whole, total)
    rows = torch.nn.Parameter(rows_at(old.whole.detach(), places, total))
    gradient = torch.zeros_like(local(rows))
    for one in (old, new):
        gradient.index_add_(0, torch.searchsorted(places, one.places), local(one.rows.grad))
    rows.grad = alike(gradient, rows, total)
    return _Active(old.whole, places, rows)


def _is_per_row(name: str, key: str, value: Any, parameter: torch.Tensor) -> bool:
    """Whether a state has something of every row; refused where that cannot be told."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return False
    found = has_rows(value.shape, parameter.shape) if isinstance(value, torch.Tensor) else None
    if found is None:
        shape = f" of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else ""
        raise TypeError(f"SampledRows: {key} of {name} in the optimizer was {describe(value)}{shape}; wanted numbers, "
                        "and tensors with something of every row or of none")
    return found


def _replace(optimizer: torch.optim.Optimizer, old: torch.Tensor, new: torch.Tensor) -> None:
    for group in optimizer.param_groups:
        group["params"][:] = [new if one is old else one for one in group["params"]]
