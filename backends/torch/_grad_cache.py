"""The gradient of one large batch, with the network's memory for a small one."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from anglos.call.kinds import describe

Tower = tuple[Callable[..., torch.Tensor], Any]
"""A network and the inputs of the whole batch."""


def grad_cache(loss: Callable[..., torch.Tensor], *towers: Tower, chunk_size: int,
               scaler: torch.amp.GradScaler | None = None) -> torch.Tensor:
    """The loss of a batch and, in `.grad`, its gradient, by a network that sees no more than a chunk at a time.

    All chunks are embedded without a graph; the loss of all embeddings is differentiated in them, and in parameters of
    its own; each chunk is embedded once more, with a graph, and takes its part of that gradient back. So the embeddings
    of the whole batch are in memory and the activations of one chunk, for a forward pass more than usual. The gradient
    is that of the whole batch to rounding: the second time a chunk draws the random numbers of the first (dropout), and
    starts from the buffers of the first, so that running statistics are updated once. Batch normalisation in training
    normalises by each chunk, as it does by each device.

    Call it where `value.backward()` would stand. Under `torch.autocast` it embeds by that, both times.
    With DistributedDataParallel or FSDP gradients are exchanged once, with the last chunk; a loss over the batches of
    all ranks is `batch_sharded(loss)`. What the loss learns, such as a `Head`, is then wrapped by itself.

    Parameters
    ----------
    loss
        Of the embeddings, one array per tower, to a scalar: `lambda x: head(x, labels)`, or `anglos.clip`.
    *towers
        Pairs of a network and its inputs: a tensor, a tuple of arguments or a mapping of keywords, whose tensors are
        cut along their first dimension; what is no tensor goes with every chunk. Two towers may share a network.
    chunk_size
        Samples of a chunk, at least 1. The last may be smaller.
    scaler
        That of training in float16; the gradients are scaled as those of `scaler.scale(value).backward()`.

    Returns
    -------
    Tensor
        The loss, without a graph.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, a network returned something else than one embedding per sample, or the loss
        something else than one number.
    RuntimeError
        Under `torch.no_grad`; or if the loss has a gradient in a parameter of a network that exchanges its gradients,
        such as a scale, which that would not be told of.

    References
    ----------
    Gao, Zhang, Han, Callan, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP 2021,
    arXiv:2101.06983.

    Examples
    --------
    >>> import anglos, torch
    >>> network, images = torch.nn.Linear(8, 4), torch.randn(6, 8)
    >>> labels = torch.tensor([0, 1, 2, 0, 1, 2])
    >>> value = grad_cache(lambda x: anglos.supcon(x, labels), (network, images), chunk_size=2)
    >>> cached = network.weight.grad.clone()
    >>> network.zero_grad()
    >>> anglos.supcon(network(images), labels).backward()
    >>> torch.allclose(cached, network.weight.grad, atol=1e-6)
    True
    """
    _refuse(towers, chunk_size)
    chunks = [list(_chunks(inputs, chunk_size)) for _, inputs in towers]
    buffers = [(buffer, buffer.clone()) for network in {network for network, _ in towers}
               if isinstance(network, torch.nn.Module) for buffer in network.buffers()]
    states, leaves = [], []
    with torch.no_grad():
        for (network, _), parts in zip(towers, chunks, strict=True):
            found = []
            for part in parts:
                states.append(_Random(network, part))
                found.append(_embedded(network, part))
            leaves.append(torch.cat(found).requires_grad_())
        torch.clear_autocast_cache()  # of casts without a graph, before 2.13: github.com/pytorch/pytorch/issues/65766
        for buffer, before in buffers:
            buffer.copy_(before)
    value = loss(*leaves)
    if not isinstance(value, torch.Tensor) or value.shape:
        raise ValueError(f"grad_cache: loss returned {describe(value)}; wanted a scalar")
    before_loss = _gradients(towers)
    _backward(value if scaler is None else scaler.scale(value))
    _refuse_unexchanged(before_loss, _gradients(towers))
    last = {id(network): tower for tower, (network, _) in enumerate(towers)}
    for tower, ((network, _), parts, leaf) in enumerate(zip(towers, chunks, leaves, strict=True)):
        slopes = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        for number, (part, slope) in enumerate(zip(parts, torch.split(slopes, chunk_size), strict=True)):
            is_last = last[id(network)] == tower and number == len(parts) - 1
            with nullcontext() if is_last else _without_exchange(network):
                with states.pop(0):
                    embeddings = _embedded(network, part)
                if embeddings.requires_grad:
                    _backward(embeddings, slope)
    return value.detach()


def _refuse(towers: tuple[Tower, ...], chunk_size: int) -> None:
    if not isinstance(chunk_size, int) or isinstance(chunk_size, bool) or chunk_size < 1:
        raise ValueError(f"grad_cache: chunk_size was {chunk_size!r}; wanted an integer of at least 1")
    if not towers:
        raise TypeError("grad_cache: no towers were given; wanted pairs of a network and its inputs")
    for number, tower in enumerate(towers):
        if not isinstance(tower, tuple) or len(tower) != 2 or not callable(tower[0]):
            raise TypeError(f"grad_cache: a tower was {describe(tower)}; wanted a pair of a network and its inputs")
        shapes = [tuple(one.shape) for one in _tensors(tower[1])]
        if len({shape[:1] for shape in shapes}) != 1 or not shapes[0] or not shapes[0][0]:
            raise ValueError(f"grad_cache: the inputs of tower {number} had tensors of "
                             f"{' and '.join(map(str, shapes))}; wanted as many rows in each, and at "
                             "least 1 (what belongs to the whole batch, as labels do, goes to the loss: lambda x: "
                             "loss(x, labels))")
    if not torch.is_grad_enabled():
        raise RuntimeError("grad_cache: gradients are off (torch.no_grad); it computes them")


def _gradients(towers: tuple[Tower, ...]) -> list[tuple[str, tuple[int, int] | None]]:
    """Of the parameters of networks that exchange them, what tells whether one is another."""
    named = (one for network, _ in towers if isinstance(network, torch.nn.Module) and hasattr(network, "no_sync")
             for one in network.named_parameters())
    return [(name, None if parameter.grad is None else (id(parameter.grad), parameter.grad._version))
            for name, parameter in named]


def _refuse_unexchanged(before: list[Any], after: list[Any]) -> None:
    for (name, gradient), (_, was) in zip(after, before, strict=True):
        if gradient != was:
            raise RuntimeError(f"grad_cache: loss has a gradient in {name}, a parameter of a network that exchanges "
                               "its gradients among ranks; wanted it in a module of its own, wrapped as that is")


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (inputs if isinstance(inputs, tuple) else (inputs,)), {}


def _tensors(inputs: Any) -> list[torch.Tensor]:
    arguments, named = _arguments(inputs)
    return [one for one in (*arguments, *named.values()) if isinstance(one, torch.Tensor)]


def _chunks(inputs: Any, size: int) -> Iterator[Any]:
    arguments, named = _arguments(inputs)
    for start in range(0, len(_tensors(inputs)[0]), size):
        def cut(one: Any, start: int = start) -> Any:
            return one[start:start + size] if isinstance(one, torch.Tensor) else one

        yield {name: cut(one) for name, one in named.items()} if named else tuple(map(cut, arguments))


def _embedded(network: Callable[..., torch.Tensor], part: Any) -> torch.Tensor:
    arguments, named = _arguments(part)
    embeddings = network(*arguments, **named)
    if not isinstance(embeddings, torch.Tensor) or embeddings.shape[:1] != _tensors(part)[0].shape[:1]:
        raise TypeError(f"grad_cache: a network returned {describe(embeddings)}; wanted an array with an embedding of "
                        f"each of its {len(_tensors(part)[0])} samples")
    return embeddings


def _backward(value: torch.Tensor, slope: torch.Tensor | None = None) -> None:
    """Outside of autocast, which would cast what it multiplies."""
    with torch.autocast(value.device.type, enabled=False):
        torch.autograd.backward(value, slope)


def _without_exchange(network: Any) -> AbstractContextManager[Any]:
    context: AbstractContextManager[Any] = network.no_sync() if hasattr(network, "no_sync") else nullcontext()
    return context


class _Random:
    """The states of the generators before a chunk; as a context, those again, and afterwards what was there."""

    def __init__(self, network: Any, part: Any) -> None:
        where = [*_tensors(part), *(network.parameters() if isinstance(network, torch.nn.Module) else ())]
        self.devices = sorted({one.device for one in where} - {torch.device("cpu")}, key=str)
        self.states = [torch.get_device_module(device).get_rng_state(device) for device in self.devices]
        self.processor = torch.get_rng_state()

    def __enter__(self) -> None:
        kind = self.devices[0].type if self.devices else None
        self.context = torch.random.fork_rng(self.devices, device_type=kind)
        self.context.__enter__()
        torch.set_rng_state(self.processor)
        for device, state in zip(self.devices, self.states, strict=True):
            torch.get_device_module(device).set_rng_state(state, device)

    def __exit__(self, *error: object) -> None:
        self.context.__exit__(None, None, None)
