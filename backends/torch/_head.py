"""The losses against class prototypes as a layer."""

from collections.abc import Callable
from functools import partial
from typing import Any, Never, TypeVar

import torch

from anglos.call.loss import Loss
from anglos.training.heads import (
    NEW_CLASSES,
    check_attribute,
    check_given,
    check_head,
    check_others,
    has_classes,
    logits_of,
    own_options,
)

from ._head_saved import translate
from ._head_settings import HeadSettings
from ._head_tensors import HeadTensors
from ._head_values import assign, check_tensors, is_loaded, tensors_of
from ._nearest import nearest_of, number_of_nearest
from ._ranks import sharding_of
from ._resize import check_replaceable, exchange, kept_by, replacement
from ._sampling import Sampling

Found = TypeVar("Found")

class Head(HeadSettings):
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
    `tensors`. Those that were not given are read in `all_options`, and changed in `options` all the same.

    `state_dict` says which loss it was trained with, and the options that are no tensors, in its `_metadata`, which
    `torch.save` keeps; a head with another loss, or other options, warns when it loads it. What saves tensors alone, as
    safetensors and `torch.distributed.checkpoint` do, drops that: `settings` has it, for JSON.

    With a `mesh`, a `DeviceMesh` of one axis, its ranks share the classes. `weight`, and a bias or a weight of each
    class, are DTensors placed `[Shard(0)]`: ⌈num_classes / P⌉ rows on each rank, and what is left on the last that gets
    any, of which no rank ever holds another's. Options that have a number for each class are given whole, or as such
    DTensors. Each rank calls the head with its own samples, as many as every other, and labels among all classes, and
    gets the loss of these samples. Gradients of `weight` and of learnt options are the mean over ranks, as
    `DistributedDataParallel` and `fully_shard` make the backbone's. `seed` draws the prototypes: the same on any number
    of ranks, whatever `torch.manual_seed` was, by which alone a head without a mesh starts. With `check` the ranks
    compare by a few numbers what they are about to do, so that a call that one refuses, or that differs, is an error on
    all: see `class_sharded`. `seed`, `check` and whole tensors given to `load_state_dict`, which takes a rank's own
    rows of them, are not compared, and must be alike. `state_dict` has the names of a head that is whole, but DTensors;
    for one device save `gather()`. `nearest`, `logits` and `gather` are called by all ranks together.

    `load_state_dict` also takes what other libraries saved: `W`, `fc` or `proxies` of pytorch-metric-learning, `kernel`
    of AdaFace and CurricularFace, `w` of opensphere, `weight` of insightface (the ranks of PartialFC each save a part:
    give them all in a list, in the order of the ranks) and of wespeaker; and `batch_mean`, `batch_std`, `t`, `bias` or
    `b` into tensors that the head has.

    With `sample_rate` below 1 a call in training compares a batch with its own classes and others at random, up to that
    part of all, as `anglos.sample_classes` chooses them by the default generator of the device: for very many classes,
    where that is most of the time. `SampledRows` makes the optimizer that steps on these rows alone; any other has a
    gradient of the whole weight, 0 for the rest, and lets decay and momentum move it. `correct_sampling` is that of
    `anglos.correct_sampling`. `eval()` uses all classes, and so does `logits`.

    >>> import anglos, torch
    >>> head = Head(anglos.arcface, num_classes=10, embedding_dim=4, margin=0.3)
    >>> head(torch.eye(4), torch.tensor([0, 1, 2, 3])).shape, head.logits(torch.eye(4)).shape
    (torch.Size([]), torch.Size([4, 10]))
    """

    def __init__(self, loss: Loss[...], num_classes: int, embedding_dim: int, *,
                 prototypes_per_class: int | None = None, device: Any = None, dtype: Any = None, mesh: Any = None,
                 seed: int = 0, check: bool = True, sample_rate: float = 1.0, correct_sampling: bool = False,
                 **options: Any) -> None:
        super().__init__()
        shape = check_head(loss, num_classes, embedding_dim, prototypes_per_class)
        options = own_options(loss, options, num_classes)
        tensors = tensors_of(loss, options)
        check_tensors(loss, tensors)
        self.loss, self.num_classes, self.embedding_dim = loss, num_classes, embedding_dim
        self._sharding = sharding_of(loss, mesh, seed, check)
        self._sampling = Sampling(loss, sample_rate, correct_sampling, self._sharding)
        if self._sharding is None:
            weight = torch.empty(shape, device=device, dtype=dtype)
        else:
            weight = self._sharding.empty(shape, device, dtype)
            tensors |= {name: self._sharding.of_classes(loss.name, name, tensor, shape[0])
                        for name, tensor in tensors.items() if has_classes(loss, name)}
        self.weight = torch.nn.Parameter(weight, requires_grad=not loss.kinds[loss.arrays[1]].frozen)
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

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor, *others: Never) -> torch.Tensor:
        """The loss of a batch; where both have an option, `options` comes before `tensors`."""
        check_others(self.loss, others)
        if self.training and self._sampling.rate < 1.0:
            return self._sampling.value(self, embeddings, labels, self._all_options())
        loss: Any = self.loss if self._sharding is None else self._sharding.loss
        return loss(embeddings, self.weight, labels, **self._all_options())  # type: ignore[no-any-return]

    def logits(self, embeddings: torch.Tensor) -> torch.Tensor:
        """The scores of the classes without a margin, (B, C), for evaluation; the largest is the predicted class.

        z_ij = s |x_i| |w_j| cos θ_ij + b_j: the loss's scale and bias, and the lengths that it does not normalise. With
        several prototypes per class cos θ is what the loss makes of theirs. `proxy_anchor`: cos θ. `center`:
        x·c − ½ |c|².

        With a mesh all ranks call it together, each with its own samples, as many as every other. The result is a
        DTensor of the samples of all ranks, one rank's after the other's, placed `[Shard(1)]`: a rank has the scores
        of its own classes. For predictions of own samples see `nearest`.

        After `fully_shard(head)` call `torch.distributed.fsdp.register_fsdp_forward_method(head, "logits")` once.
        """
        self._agreed(lambda: None, lambda _: {"what is asked": "logits"})
        self._computes_weight(embeddings)
        loss = self.loss if self._sharding is None else self._sharding.scored
        scores: torch.Tensor = logits_of(loss, embeddings, self.weight, self._all_options())
        if self._sharding is not None:
            return self._sharding.scores(scores, self.num_classes)
        return scores.clone(memory_format=torch.contiguous_format)  # no view, which fully_shard warns of

    def nearest(self, embeddings: torch.Tensor, k: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """The largest scores of each sample, in falling order, and their classes: (B, k) each; of equals the first.

        Scores are those of `logits`, of which no more than a tile of classes is held. Nothing is differentiated. With a
        mesh every rank gives its own samples, as many as every other, which are compared with the classes of all.
        After `fully_shard(head)` register "nearest" as `logits` says.
        """
        k = self._agreed(partial(number_of_nearest, k, self.num_classes), lambda found: {"k": repr(found)})
        with torch.no_grad():
            self._computes_weight(embeddings)
            arguments = embeddings, self.weight, self._all_options(), k
            return (nearest_of(self.loss, *arguments, self.num_classes) if self._sharding is None else
                    self._sharding.nearest(*arguments))

    def gather(self) -> torch.Tensor:
        """The whole weight, without a gradient, on every rank, where ranks have parts of it; they call it together.

        One that no device could hold goes through `torch.distributed.checkpoint`.
        """
        weight: Any = self.weight.detach()
        whole: torch.Tensor = weight.full_tensor() if hasattr(weight, "full_tensor") else weight
        return whole

    def resize_classes(self, num_classes: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Have so many classes: the first keep their prototypes, new ones are drawn as at the start.

        `weight` becomes another Parameter, and so does a bias of each class, which is 0 for new ones (a weight of each
        class is 1). In the optimizer they replace the old ones, with their state: what it has for each class
        is kept, and starts for new ones as the optimizer starts it (LBFGS starts a new history). An optimizer that
        does not have them, or keeps something else of them than tensors with a row for every class or for none, is
        refused before anything is changed; one that is not given keeps the old ones. Call it before
        `DistributedDataParallel`, `fully_shard` or `torch.compile`, and before a copy is made for an average of the
        parameters.

        With a mesh all ranks call it together, and either all do it or none does. What there is of each class moves to
        the rank that has it now; new prototypes are those that a head of so many classes starts with from the same
        seed.
        """
        places: dict[str, tuple[torch.nn.Module, float]] = {
            "weight": (self, 0.0), **{name: (self.tensors, NEW_CLASSES[name]) for name in self.tensors
                                      if has_classes(self.loss, name)}}
        old = {name: getattr(owner, name) for name, (owner, _) in places.items()}

        def check() -> tuple[int, dict[str, tuple[str, ...]]]:
            count, *_ = check_head(self.loss, num_classes, self.embedding_dim, *self.weight.shape[1:-1])
            for name, (owner, _) in places.items():
                check_replaceable(owner, name, old[name], self._sharding is not None)
            return count, kept_by(optimizer, old)

        count, kept = self._agreed(check, lambda found: {
            "num_classes": repr(found[0]), "what the optimizer keeps": repr(found[1])})
        new = {name: replacement(old[name], count, start) for name, (_, start) in places.items()}
        with torch.no_grad():
            self._draw(new["weight"], len(old["weight"]))
        exchange(optimizer, kept, old, new)
        for name, (owner, _) in places.items():
            setattr(owner, name, new[name])
        self.tensors.remember_classes({name: start for name, (_, start) in places.items()}, count)
        self.num_classes = count

    def notified(self, name: str) -> None:
        check_attribute(vars(self).get("loss"), name)

    def _replicate_for_data_parallel(self) -> "Head":
        replica: Head = super()._replicate_for_data_parallel()  # type: ignore[no-untyped-call]
        replica.options = dict(self.options)  # which each sets in its own thread
        return replica

    def _agreed(self, check: Callable[[], Found], said: Callable[[Found], dict[str, str]]) -> Found:
        """What a check returns; of ranks, if none refuses, and all say the same of it."""
        return check() if self._sharding is None else self._sharding.agreed(check, said)

    def _computes_weight(self, embeddings: torch.Tensor) -> None:
        """As pruning, say, does it before `forward` only."""
        if "weight" not in self._parameters:
            for key, hook in self._forward_pre_hooks.items():
                if key not in self._forward_pre_hooks_with_kwargs:
                    hook(self, (embeddings,))

    def _draw(self, weight: torch.Tensor, beyond: int = 0) -> torch.Tensor:
        """Prototypes of the classes whose number is not below `beyond`."""
        std = self.embedding_dim**-0.5
        if self._sharding is None:
            torch.nn.init.normal_(weight[beyond:] if beyond else weight, std=std)
        elif beyond or not is_loaded(self, "weight"):
            self._sharding.draw(weight, std, beyond)
        return weight

    def _all_options(self) -> dict[str, Any]:
        options = {**self.tensors(), **self.options}
        check_given(self.loss, self._given, options)
        return options

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """`state_dict` is a copy, and error messages come last."""
        translate(state_dict, prefix, self.weight, dict(self.tensors.items()), others[-1])
        if self.loss.name == "adaface":
            state_dict.pop(prefix + "t", None)  # which its authors save and never use
        super()._load_from_state_dict(state_dict, prefix, *others)
