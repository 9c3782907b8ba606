"""The losses against class prototypes as a layer."""

from collections.abc import Iterator
from typing import Any

import torch

from anglos._kinds import describe
from anglos._layer import check_head, logits_of
from anglos._loss import Loss

# The names under which others saved their weights, and whether as (D, C) in the place of (C, D).
_SAVED_WEIGHTS = {"weight": False, "W": True, "w": True, "kernel": True, "fc": True, "proxies": False}
# What else they saved, and what it is called here.
_SAVED_TENSORS = {"batch_mean": "norm_mean", "batch_std": "norm_std", "t": "t", "bias": "bias", "b": "bias"}


class HeadTensors(torch.nn.Module):
    """Options that are tensors: a `torch.nn.Parameter` is learnt, others are buffers. Read and set like a dict's."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            if isinstance(tensor, torch.nn.Parameter):
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor.detach().clone())

    def keys(self) -> tuple[str, ...]:
        return (*self._parameters, *self._buffers)

    def values(self) -> tuple[torch.Tensor, ...]:
        return tuple(self[name] for name in self.keys())

    def items(self) -> tuple[tuple[str, torch.Tensor], ...]:
        return tuple((name, self[name]) for name in self.keys())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self:
            raise KeyError(f"Head: tensors has no {name}; wanted one of {', '.join(self) or 'none'}")
        tensor: torch.Tensor = getattr(self, name)
        return tensor

    def __setitem__(self, name: str, value: torch.Tensor | float) -> None:
        with torch.no_grad():
            self[name].copy_(torch.as_tensor(value))

    def extra_repr(self) -> str:
        return ", ".join(f"{name} of shape {tuple(tensor.shape)}" for name, tensor in self.items())


class Head(torch.nn.Module):
    """The last layer of a network: prototypes of the classes, and a loss that compares embeddings with them.

    `weight` is a parameter of shape (num_classes, embedding_dim), or (num_classes, prototypes_per_class,
    embedding_dim) for a loss that has several per class, drawn from a normal distribution of standard deviation
    1/√embedding_dim: rows of length about 1. Constants to the loss (as of `angular_triplet`) do not require a gradient.

    The options go to the loss at every call. A number or a word can be changed between steps:
    `head.options["margin"] = 0.3`. A tensor is moved and saved with the module, as `head.tensors`: a
    `torch.nn.Parameter` (a learnable scale, say) is trained with the rest; any other is a buffer, such as the state of
    a loss: `head.tensors["t"] = anglos.curricularface_update(head.tensors["t"], embeddings, head.weight, labels)`.
    One of shape (1,) stands for a number, because `fully_shard` takes no parameter of shape ().

    `load_state_dict` also takes what other libraries saved: `W`, `fc` or `proxies` of pytorch-metric-learning, `kernel`
    of AdaFace and CurricularFace, `w` of opensphere, `weight` of insightface (the ranks of PartialFC each save a part:
    join them by `torch.cat`) and of wespeaker; and `batch_mean`, `batch_std`, `t`, `bias` or `b` into tensors that the
    head has.

    >>> import anglos, torch
    >>> head = Head(anglos.arcface, num_classes=10, embedding_dim=4, margin=0.3)
    >>> head(torch.eye(4), torch.tensor([0, 1, 2, 3])).shape, head.logits(torch.eye(4)).shape
    (torch.Size([]), torch.Size([4, 10]))
    """

    def __init__(self, loss: Loss[...], num_classes: int, embedding_dim: int, *,
                 prototypes_per_class: int | None = None, device: Any = None, dtype: Any = None,
                 **options: Any) -> None:
        super().__init__()
        shape = check_head(loss, num_classes, embedding_dim, options, prototypes_per_class)
        self.loss, self.num_classes, self.embedding_dim = loss, num_classes, embedding_dim
        self.weight = torch.nn.Parameter(torch.empty(shape, device=device, dtype=dtype),
                                         requires_grad=not loss.kinds[loss.arrays[1]].frozen)
        tensors = {name: option for name, option in options.items() if isinstance(option, torch.Tensor)}
        self.tensors = HeadTensors(tensors)
        self.options = {name: option for name, option in options.items() if name not in tensors}
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the prototypes anew; `tensors` stay as they are."""
        self._draw(self.weight)

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of a batch; where both have an option, `options` comes before `tensors`."""
        value: torch.Tensor = self.loss(embeddings, self.weight, labels, **self._all_options())
        return value

    def logits(self, embeddings: torch.Tensor) -> torch.Tensor:
        """The scores of the classes without a margin, (B, C), for evaluation; the largest is the predicted class.

        z_ij = s |x_i| |w_j| cos θ_ij + b_j: the loss's scale and bias, and the lengths that it does not normalise. With
        several prototypes per class cos θ is what the loss makes of theirs. `proxy_anchor`: cos θ. `center`:
        x·c − ½ |c|².

        After `fully_shard(head)` call `torch.distributed.fsdp.register_fsdp_forward_method(head, "logits")` once.
        """
        scores: torch.Tensor = logits_of(self.loss, embeddings, self.weight, self._all_options())
        return scores.clone(memory_format=torch.contiguous_format)  # no view, which fully_shard warns of

    def resize_classes(self, num_classes: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Have so many classes: the first keep their prototypes, new ones are drawn as at the start.

        `weight` becomes another Parameter, and so does a bias of each class, whose new entries are 0. In the optimizer
        they take the places of the old ones, with their state, which is 0 for new classes; one that is not given goes
        on with the old. To be called before `DistributedDataParallel`, `fully_shard` or `torch.compile`.
        """
        num_classes, *_ = check_head(self.loss, num_classes, self.embedding_dim, {}, *self.weight.shape[1:-1])
        if type(self.weight) is not torch.nn.Parameter:
            raise TypeError(f"Head: weight was {describe(self.weight)}; wanted a Parameter, before fully_shard")
        biases = [name for name in self.tensors if self.loss.kinds[name].shapes == ("C",)]
        for owner, name in ((self, "weight"), *((self.tensors, name) for name in biases)):
            old = getattr(owner, name)
            new = _resized(old, num_classes)
            if name == "weight":
                self._draw(new[self.num_classes:])
            if isinstance(old, torch.nn.Parameter):
                new = torch.nn.Parameter(new, requires_grad=old.requires_grad)
            setattr(owner, name, new)
            if optimizer is not None:
                _exchange(optimizer, old, new)
        self.num_classes = num_classes

    def extra_repr(self) -> str:
        return ", ".join([self.loss.name, *map(str, self.weight.shape),
                          *(f"{name}={option}" for name, option in self.options.items())])

    def _draw(self, weight: torch.Tensor) -> None:
        torch.nn.init.normal_(weight, std=self.embedding_dim**-0.5)

    def _all_options(self) -> dict[str, Any]:
        return {**{name: self._option(name) for name in self.tensors}, **self.options}

    def _option(self, name: str) -> torch.Tensor:
        tensor = self.tensors[name]
        if not isinstance(tensor, torch.nn.Parameter):
            tensor = tensor.clone()  # the next state may be set, or DDP may do so, before the backward pass of this one
        return tensor.reshape(()) if tensor.shape == (1,) and "" in self.loss.kinds[name].shapes else tensor

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """With the names and shapes of others made ours; `state_dict` is a copy, and error messages come last."""
        for name, transposed in _SAVED_WEIGHTS.items():
            saved = state_dict.pop(prefix + name, None)
            if saved is None:
                continue
            if saved.shape != self.weight.shape or transposed:
                wanted = (self.weight.shape[:-1].numel(), self.embedding_dim)  # of one class one after the other
                if tuple(saved.T.shape if transposed else saved.shape) == wanted:
                    saved = (saved.T if transposed else saved).reshape(self.weight.shape).contiguous()
                else:
                    others[-1].append(f"Head: {prefix}{name} was of shape {tuple(saved.shape)}; wanted "
                                      f"{wanted[::-1] if transposed else wanted}")
                    saved = self.weight  # so that it is not called missing besides
            state_dict[prefix + "weight"] = saved
        for name, ours in _SAVED_TENSORS.items():
            if prefix + name in state_dict and ours in self.tensors:
                saved = state_dict.pop(prefix + name)
                same = saved.numel() == self.tensors[ours].numel()
                state_dict[f"{prefix}tensors.{ours}"] = saved.reshape(self.tensors[ours].shape) if same else saved
        if self.loss.name == "adaface":
            state_dict.pop(prefix + "t", None)  # which its authors save and never use
        super()._load_from_state_dict(state_dict, prefix, *others)


def _resized(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """The first rows, and zeros."""
    resized = tensor.new_zeros(count, *tensor.shape[1:])
    resized[:len(tensor)] = tensor.detach()[:count]
    return resized


def _exchange(optimizer: torch.optim.Optimizer, old: torch.Tensor, new: torch.Tensor) -> None:
    """The new parameter in the place of the old one."""
    for group in optimizer.param_groups:
        group["params"] = [new if one is old else one for one in group["params"]]
    if old in optimizer.state:
        optimizer.state[new] = {name: _resized(value, len(new)) if getattr(value, "shape", None) == old.shape else value
                                for name, value in optimizer.state.pop(old).items()}
