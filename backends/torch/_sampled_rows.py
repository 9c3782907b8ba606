"""An optimizer that steps on the sampled rows of a layer alone."""

from collections.abc import Callable

import torch

from anglos.call.kinds import describe
from anglos.training.heads import has_classes

from ._active_rows import ActiveRows
from ._head import Head
from ._resize import param_group_of


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
                                        and has_classes(head.loss, name)}}
    optimizer = make_optimizer(list(learnt.values()))
    if not isinstance(optimizer, torch.optim.Optimizer) or isinstance(optimizer, torch.optim.LBFGS):
        raise TypeError(f"SampledRows: make_optimizer returned {describe(optimizer)}; wanted a torch.optim.Optimizer "
                        "that keeps something of every row")
    for name, parameter in learnt.items():
        if param_group_of(optimizer, parameter) is None:
            raise TypeError(f"SampledRows: make_optimizer returned {describe(optimizer)} without {name}; wanted one of "
                            "all that it was given")
    head._sampling.rows = ActiveRows(optimizer)
    return optimizer
