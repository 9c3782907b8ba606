"""Partial class sampling in a layer: the loss of a batch against its own classes and a part of the others."""

from typing import TYPE_CHECKING, Any

import torch

from anglos.call.loss import Loss
from anglos.training.correction import correct_sampling
from anglos.training.heads import has_classes
from anglos.training.sampling import rate_of, sample

from ._rows import rows_at

if TYPE_CHECKING:
    from .sharding.head import Sharding


class Sampling:
    """What part of the classes a batch is compared with, and what trains them."""

    def __init__(self, loss: Loss[...], rate: Any, corrected: bool, sharding: "Sharding | None") -> None:
        self._made_of = loss, rate, corrected, sharding
        self.loss: Any = correct_sampling(loss) if corrected else loss
        self.rate, self.corrected, self.sharding = rate_of("Head", "sample_rate", rate), corrected, sharding
        if sharding is not None:
            self.loss = sharding.shared(self.loss)
        self.rows: Any = None
        """What `SampledRows` knows of the optimizer that it made."""

    def __reduce__(self) -> Any:
        return Sampling, self._made_of  # a copy is trained by another optimizer, or by none

    def value(self, head: Any, embeddings: torch.Tensor, labels: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        """The loss against rows of the weight, and of every option that has a number for each class."""
        loss, caller = self.loss, f"Head({self.loss.name})"
        values = {"labels": labels, "num_classes": head.num_classes, "rate": self.rate,
                  "ignore_index": options.get("ignore_index", loss.defaults.get("ignore_index", -100))}
        found, total = sample(caller, values, None) if self.sharding is None else self.sharding.sampled(caller, values)
        for name, option in options.items():
            if isinstance(option, torch.Tensor) and has_classes(loss, name):
                learnt = None if name in head.options else head.tensors._parameters.get(name)
                options[name] = self._taken(name, option if learnt is None else learnt, found.rows, total)
        if self.corrected:
            options["log_probability"] = found.log_probability
        weight = self._taken("weight", head.weight, found.rows, total)
        value: torch.Tensor = loss(embeddings, weight, found.labels, **options)
        return value

    def _taken(self, name: str, tensor: torch.Tensor, places: torch.Tensor, total: int) -> torch.Tensor:
        """Some rows; as a Parameter of their own where `SampledRows` trains the tensor."""
        if self.rows is None or not tensor.requires_grad or not torch.is_grad_enabled():
            return rows_at(tensor, places, total)
        active: torch.Tensor = self.rows.active(name, tensor, places, total)
        return active
