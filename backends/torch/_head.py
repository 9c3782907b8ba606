"""The losses against class prototypes as a layer."""

from typing import Any

import torch

from anglos.call.kinds import describe
from anglos.call.loss import Loss
from anglos.training.heads import check_attribute, check_given, check_head, logits_of, own_options

from ._head_tensors import HeadTensors, Notified
from ._head_values import assign, check_tensors, is_loaded
from ._resize import exchange, replacement

# The names under which others saved their weights, and whether as (D, C) in place of (C, D).
_SAVED_WEIGHTS = {"weight": False, "W": True, "w": True, "kernel": True, "fc": True, "proxies": False}
# The number of a new class, in options that have one for each.
_NEW_CLASSES = {"bias": 0.0, "class_weight": 1.0}
# What else they saved, by its name there and here.
_SAVED_TENSORS = {"batch_mean": "norm_mean", "batch_std": "norm_std", "t": "t", "bias": "bias", "b": "bias"}


class Head(Notified):
    """The last layer of a network: prototypes of the classes, and a loss that compares embeddings with them.

    `weight` is a parameter of shape (num_classes, embedding_dim), or (num_classes, prototypes_per_class,
    embedding_dim) for a loss that has several per class, drawn from a normal distribution of standard deviation
    1/√embedding_dim: rows of length about 1. Constants to the loss (as of `angular_triplet`) do not require a gradient.

    The options go to the loss at every call. A number or a word can be changed between steps by
    `head.options["margin"] = 0.3`, and by nothing else: `head.margin = 0.3` is refused. A tensor is moved and saved
    with the module, as `head.tensors`: a `torch.nn.Parameter` (a learnable scale, say) is trained with the rest; any
    other is a buffer, such as the state of a loss:
    `head.tensors["t"] = anglos.curricularface_update(head.tensors["t"], embeddings, head.weight, labels)`. Such a state
    is a constant to the gradient: a Parameter that requires one is refused for it. A tensor of shape (1,) stands for a
    number, because `fully_shard` takes no parameter of shape (). One that was computed from parameters is refused,
    since only its numbers could be kept; set it before every call, and the gradient flows through:
    `head.options["scale"] = log_scale.exp()`. It belongs to one step: `copy.deepcopy` refuses it, as it does every
    tensor with a graph, until the option is set to something else. For a tensor with a bound, or kept as its logarithm,
    see `torch.nn.utils.parametrize`: `register_parametrization(head.tensors, "scale", ...)`.

    An option that was given stays in use, whatever a tool of PyTorch makes of `head.tensors`: parametrizations,
    pruning, replicas, `functional_call`. A call that does not find it in `tensors` or `options` is refused; the loss's
    default never takes its place. One that was given as a number, a word or None is read in `options`, and refused in
    `tensors`.

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
        shape = check_head(loss, num_classes, embedding_dim, prototypes_per_class)
        options = own_options(loss, options)
        tensors = {name: option for name, option in options.items() if isinstance(option, torch.Tensor)}
        check_tensors(loss, tensors)
        self.loss, self.num_classes, self.embedding_dim = loss, num_classes, embedding_dim
        self.weight = torch.nn.Parameter(torch.empty(shape, device=device, dtype=dtype),
                                         requires_grad=not loss.kinds[loss.arrays[1]].frozen)
        self.options = {name: option for name, option in options.items() if name not in tensors}
        self.tensors = HeadTensors(loss, tensors, tuple(self.options))
        self._given = tuple(name for name, option in options.items() if option is not None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the prototypes again, and give `tensors` the values that they had at construction.

        Call it after `to_empty`, and where a checkpoint had no head. While `from_pretrained` of transformers is
        loading, what it found in the checkpoint stays. Tensors on the meta device have no values to remember, and are
        refused at construction.
        """
        if "weight" in self._parameters:
            self._draw(self.weight)
        elif not is_loaded(self, "weight"):
            assign(self, "weight", self._draw(torch.empty_like(self.weight)))
        self.tensors.reset_parameters()

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
        if "weight" not in self._parameters:  # pruning, say, computes it before `forward` only
            for key, hook in self._forward_pre_hooks.items():
                if key not in self._forward_pre_hooks_with_kwargs:
                    hook(self, (embeddings,))
        scores: torch.Tensor = logits_of(self.loss, embeddings, self.weight, self._all_options())
        return scores.clone(memory_format=torch.contiguous_format)  # no view, which fully_shard warns of

    def resize_classes(self, num_classes: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Have so many classes: the first keep their prototypes, new ones are drawn as at the start.

        `weight` becomes another Parameter, and so does a bias of each class, which is 0 for new ones (a weight of each
        class is 1). In the optimizer they replace the old ones, with their state: what it has for each class
        is kept, and starts for new ones as the optimizer starts it (LBFGS starts a new history). An optimizer that
        does not have them, or keeps something else of them than tensors with a row for every class or for none, is
        refused before anything is changed; one that is not given keeps the old ones. Call it before
        `DistributedDataParallel`, `fully_shard` or `torch.compile`, and before a copy is made for an average of the
        parameters.
        """
        num_classes, *_ = check_head(self.loss, num_classes, self.embedding_dim, *self.weight.shape[1:-1])
        names = [name for name in self.tensors if self.loss.kinds[name].shapes == ("C",)]
        places: list[tuple[Any, str, float]] = [
            (self, "weight", 0.0), *((self.tensors, name, _NEW_CLASSES[name]) for name in names)]
        pairs = []
        for owner, name, start in places:
            old = getattr(owner, name)
            if name not in owner._parameters and name not in owner._buffers:
                raise TypeError(f"Head: {name} was {describe(old)} that something else computes; wanted a Parameter")
            pairs.append((name, old, replacement(name, old, num_classes, start)))
        with torch.no_grad():
            self._draw(pairs[0][2][self.num_classes:])
        if optimizer is not None:
            exchange(optimizer, [pair for pair in pairs if isinstance(pair[1], torch.nn.Parameter)])
        for (owner, name, _), (_, _, new) in zip(places, pairs, strict=True):
            setattr(owner, name, new)
        self.tensors.remember_classes({name: start for _, name, start in places[1:]}, num_classes)
        self.num_classes = num_classes

    def extra_repr(self) -> str:
        return ", ".join([self.loss.name, *map(str, self.weight.shape),
                          *(f"{name}={option}" for name, option in self.options.items())])

    def notified(self, name: str) -> None:
        check_attribute(vars(self).get("loss"), name)

    def _replicate_for_data_parallel(self) -> "Head":
        replica: Head = super()._replicate_for_data_parallel()  # type: ignore[no-untyped-call]
        replica.options = dict(self.options)  # which each sets in its own thread
        return replica

    def _draw(self, weight: torch.Tensor) -> torch.Tensor:
        return torch.nn.init.normal_(weight, std=self.embedding_dim**-0.5)

    def _all_options(self) -> dict[str, Any]:
        options = {**self.tensors(), **self.options}
        check_given(self.loss, self._given, options)
        return options

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """Turns the names and shapes of others into ours; `state_dict` is a copy, and error messages come last."""
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
                    saved = self.weight  # so that it is not called missing too
            state_dict[prefix + "weight"] = saved
        for name, ours in _SAVED_TENSORS.items():
            if prefix + name in state_dict and ours in self.tensors:
                saved = state_dict.pop(prefix + name)
                same = saved.numel() == self.tensors[ours].numel()
                state_dict[f"{prefix}tensors.{ours}"] = saved.reshape(self.tensors[ours].shape) if same else saved
        if self.loss.name == "adaface":
            state_dict.pop(prefix + "t", None)  # which its authors save and never use
        super()._load_from_state_dict(state_dict, prefix, *others)
