"""An optimizer that steps on the sampled rows of a layer alone."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch

from anglos.call.kinds import describe

from ._head import Head
from ._resize import _STARTS, _has_classes


def SampledRows(head: Head, make_optimizer: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]
                ) -> torch.optim.Optimizer:
    """An optimizer of a layer with `sample_rate`, whose steps touch nothing but the rows that were sampled.

    It is the one that `make_optimizer` returns for the layer's weight, and for its bias if that has a number for each
    class and is learnt. In training every call of the layer samples rows of its own, and hands them to the loss as a
    Parameter, which stands in the optimizer's `param_groups` in place of the weight from the backward pass to the step.
    The step writes these rows, and their part of the state, back; all others stay as they are, to the bit: no decay, no
    momentum. What the optimizer keeps for all rows together, as Adam the number of steps, goes on with every step.

    Several backward passes before a step add up: the rows of all of them are stepped on once. Between steps it is an
    optimizer of the whole weight: its `state_dict` has states of all rows, made when the first of them is, and can be
    exchanged with that of one without sampling; `load_state_dict`, `torch.distributed.checkpoint`, learning rate
    schedules, `Head.resize_classes` and `torch.amp.GradScaler` work as with any other. Clip the gradients of
    `optimizer.param_groups`, where those of the rows are, and not of `head.parameters()`. A gradient of the whole
    weight, as that of `head.eval()`, is stepped on as ever.

    Any optimizer serves that keeps of every row numbers of its own, or numbers for all rows: SGD, Adam, AdamW, Adagrad,
    RMSprop, Lion and others, fused or not. Not LBFGS. Under `torch.compile` the layer breaks the graph here.

    Parameters
    ----------
    head
        With a weight that is learnt.
    make_optimizer
        From a list of Parameters to an optimizer, which may have others in groups of their own.

    Raises
    ------
    TypeError
        If the weight is a constant to the loss, or what was made is no optimizer of all these Parameters. In a step: if
        it keeps something else of them.

    Examples
    --------
    >>> import anglos, torch
    >>> head = Head(anglos.arcface, num_classes=1000, embedding_dim=4, sample_rate=0.1)
    >>> optimizer = SampledRows(head, lambda rows: torch.optim.AdamW(rows, lr=1e-3))
    >>> before = head.weight.detach().clone()
    >>> head(torch.eye(4), torch.tensor([0, 1, 2, 3])).backward()
    >>> optimizer.step()
    >>> int((head.weight != before).any(dim=1).sum())
    100
    """
    if not isinstance(head, Head):
        raise TypeError(f"SampledRows: head was {describe(head)}; wanted a Head")
    if not head.weight.requires_grad:
        raise TypeError(f"SampledRows: head was of {head.loss.name}, to which its weight is a constant; wanted one "
                        "that is learnt")
    learnt = {"weight": head.weight, **{name: tensor for name, tensor in head.tensors._parameters.items()
                                        if tensor is not None and tensor.requires_grad
                                        and head.loss.kinds[name].shapes == ("C",)}}
    optimizer = make_optimizer(list(learnt.values()))
    if not isinstance(optimizer, torch.optim.Optimizer) or isinstance(optimizer, torch.optim.LBFGS):
        raise TypeError(f"SampledRows: make_optimizer returned {describe(optimizer)}; wanted a torch.optim.Optimizer "
                        "that keeps something of every row")
    for name, parameter in learnt.items():
        if _group_of(optimizer, parameter) is None:
            raise TypeError(f"SampledRows: make_optimizer returned {describe(optimizer)} without {name}; wanted one of "
                            "all that it was given")
    head._sampling.rows = _Rows(optimizer)
    return optimizer


class _Active(NamedTuple):
    """Rows of a parameter that have a gradient, in its place in the optimizer."""

    whole: torch.nn.Parameter
    places: torch.Tensor
    rows: torch.nn.Parameter


class _Rows:
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
    def active(self, name: str, whole: Any, places: torch.Tensor) -> torch.nn.Parameter:
        """Rows as a Parameter, which takes the place of the whole when it has a gradient."""
        old = self.actives.get(name)
        if _group_of(self.optimizer, whole if old is None else old.rows) is None or (old and old.whole is not whole):
            raise RuntimeError(f"Head: {name} was another tensor than the optimizer of SampledRows has; wanted that "
                               "one, or SampledRows made anew")
        rows = torch.nn.Parameter(whole.detach().index_select(0, places))
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
                    key: value.index_select(0, active.places) if _is_per_row(name, key, value, active.whole) else value
                    for key, value in optimizer.state[active.whole].items()}
        return (this, *others), kwargs

    @torch.no_grad()
    def _end(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """After a step: the rows, and those of the state, in their places."""
        for name, (whole, places, rows) in self.actives.items():
            whole.index_copy_(0, places, rows)
            group, state = _group_of(optimizer, rows), optimizer.state.pop(rows, {})
            for key, value in state.items():
                if _is_per_row(name, key, value, rows):
                    kept = optimizer.state[whole]
                    if key not in kept:
                        start = _STARTS[key](group, whole) if key in _STARTS else 0.0
                        kept[key] = value.new_empty((len(whole), *value.shape[1:])).copy_(start)
                    value = kept[key].index_copy_(0, places, value)
                optimizer.state[whole][key] = value
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
    rows = torch.nn.Parameter(old.whole.detach().index_select(0, places))
    rows.grad = gradient = torch.zeros_like(rows)
    for one in (old, new):
        assert one.rows.grad is not None
        gradient.index_add_(0, torch.searchsorted(places, one.places), one.rows.grad)
    return _Active(old.whole, places, rows)


def _is_per_row(name: str, key: str, value: Any, parameter: torch.Tensor) -> bool:
    """Whether a state has something of every row; refused where that cannot be told."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return False
    found = _has_classes(value.shape, parameter.shape) if isinstance(value, torch.Tensor) else None
    if found is None:
        shape = f" of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else ""
        raise TypeError(f"SampledRows: {key} of {name} in the optimizer was {describe(value)}{shape}; wanted numbers, "
                        "and tensors with something of every row or of none")
    return found


def _group_of(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> Any:
    """The group that has it, or None."""
    return next((group for group in optimizer.param_groups if any(one is parameter for one in group["params"])), None)


def _replace(optimizer: torch.optim.Optimizer, old: torch.Tensor, new: torch.Tensor) -> None:
    for group in optimizer.param_groups:
        group["params"][:] = [new if one is old else one for one in group["params"]]
