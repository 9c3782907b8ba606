"""What stands in an optimizer, between a backward pass and the step, in place of the parameters that were sampled."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import torch

from ._head_values import is_sharded
from ._optimizers import is_per_row, parts_of, replace_in
from ._resize import STARTS, param_group_of
from ._rows import alike, local, rows_at, started


class _Active(NamedTuple):
    """Rows of a parameter that have a gradient, in its place in the optimizer."""

    whole: torch.nn.Parameter
    places: torch.Tensor
    rows: torch.nn.Parameter
    stands: tuple[torch.nn.Parameter, ...]
    """What is in its place: the rows, or in a step parts of them."""


class ActiveRows:
    """What stands in an optimizer between the backward pass and the step."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.actives: dict[str, _Active] = {}
        # Here: a decorator would import the compiler for all.
        self.active: Any = torch.compiler.disable(self._active)  # type: ignore[no-untyped-call]
        optimizer.register_step_pre_hook(self._begin)
        optimizer.register_step_post_hook(self._end)
        optimizer.register_state_dict_pre_hook(lambda _: self._stand(whole=True))
        optimizer.register_state_dict_post_hook(lambda *_: self._stand(whole=False))
        optimizer.register_load_state_dict_pre_hook(lambda *_: self._forget())

    def _active(self, name: str, whole: Any, places: torch.Tensor, total: int) -> torch.nn.Parameter:
        """Rows as a Parameter, which takes the place of the whole when it has a gradient."""
        old = self.actives.get(name)
        stands = whole if old is None else old.stands[0]
        if param_group_of(self.optimizer, stands) is None or (old and old.whole is not whole):
            raise RuntimeError(f"Head: {name} was another tensor than the optimizer of SampledRows has; wanted that "
                               "one, or SampledRows made anew")
        rows = torch.nn.Parameter(rows_at(whole.detach(), places, total))
        _after_backward(rows, partial(self._collect, name, whole, places))
        return rows

    def _collect(self, name: str, whole: torch.nn.Parameter, places: torch.Tensor, rows: Any) -> None:
        """After a backward pass: with what has been collected since the last step."""
        old, new = self.actives.get(name), _Active(whole, places, rows, (rows,))
        if old is not None and old.rows is rows:
            return
        if old is not None and old.rows.grad is not None:
            new = _joined(old, new)
            rows.grad = None
        replace_in(self.optimizer, (whole,) if old is None else old.stands, new.stands)
        self.actives[name] = new

    def _begin(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> Any:
        """Before a step: the backward pass of its closure, if there is one; then parts of the rows and their states."""
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
                replace_in(optimizer, active.stands, (self.actives.pop(name).whole,))
                continue
            self.actives[name] = stepped = active._replace(stands=parts_of(active.rows, optimizer))
            replace_in(optimizer, active.stands, stepped.stands)
            for part, places in _placed(stepped):
                # As they are now: since the call another step, or anything else, may have changed them.
                torch.index_select(local(active.whole.detach()), 0, places, out=local(part.detach()))
                if active.whole in optimizer.state:
                    optimizer.state[part] = {
                        key: rows_at(value, places, len(part)) if is_per_row(name, key, value, active.whole)
                        else value.clone() if isinstance(value, torch.Tensor) else value  # in which each part may count
                        for key, value in optimizer.state[active.whole].items()}
        return (this, *others), kwargs

    @torch.no_grad()
    def _end(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """After a step: the rows, and those of the state, in their places."""
        for name, active in self.actives.items():
            for part, places in _placed(active):
                self._put_back(name, active.whole, part, places)
            active.rows.grad = None  # which the graph may keep, out of the reach of zero_grad
        self._forget()

    def _put_back(self, name: str, whole: torch.nn.Parameter, rows: torch.nn.Parameter, places: torch.Tensor) -> None:
        """A part of the rows, and of their states."""
        group, kept = param_group_of(self.optimizer, rows), self.optimizer.state
        local(whole).index_copy_(0, places, local(rows))
        for key, value in kept.pop(rows, {}).items():
            if is_per_row(name, key, value, rows):
                if key not in kept[whole]:
                    kept[whole][key] = started(value, whole, STARTS[key](group, whole) if key in STARTS else 0.0)
                local(kept[whole][key]).index_copy_(0, places, local(value))
            else:
                kept[whole][key] = value

    def _stand(self, *, whole: bool) -> None:
        """What stands in the optimizer."""
        for active in self.actives.values():
            pair = (active.stands, (active.whole,))
            replace_in(self.optimizer, *(pair if whole else pair[::-1]))

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
    return _Active(old.whole, places, rows, (rows,))


def _placed(active: _Active) -> Iterable[tuple[torch.nn.Parameter, torch.Tensor]]:
    """What stands for it, each with its places."""
    sizes = [len(local(part)) for part in active.stands]
    return zip(active.stands, torch.split(active.places, sizes), strict=True)
