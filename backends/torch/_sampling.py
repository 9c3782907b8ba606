"""Partial class sampling in a layer: the loss of a batch against its own classes and a part of the others."""

from functools import partial
from typing import Any

import torch

from anglos.call.kinds import refuse
from anglos.call.loss import Loss
from anglos.training.correction import correct_sampling
from anglos.training.sampling import RATE, sample


class Sampling:
    """What part of the classes a batch is compared with, and what trains them."""

    def __init__(self, loss: Loss[...], rate: Any, corrected: bool, sharding: Any) -> None:
        self.loss = correct_sampling(loss) if corrected else loss
        self.rate: Any = RATE.static(partial(refuse, "Head", "sample_rate"), rate)
        self.corrected, self.sharding = corrected, sharding
        if sharding is not None and self.rate < 1.0:
            raise ValueError(f"Head: sample_rate was {self.rate} with a mesh; wanted 1")
        self.rows: Any = None
        """What `SampledRows` knows of the optimizer that it made."""

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "rows": None}  # a copy is trained by another optimizer, or by none

    def value(self, head: Any, embeddings: torch.Tensor, labels: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        """The loss against rows of the weight, and of every option that has a number for each class."""
        loss = self.loss
        rows, labels, log_probability = sample(f"Head({loss.name})", {
            "labels": labels, "num_classes": head.num_classes, "rate": self.rate, "rank": 0, "ranks": 1,
            "ignore_index": options.get("ignore_index", loss.defaults.get("ignore_index", -100))}, None)
        for name, option in options.items():
            if isinstance(option, torch.Tensor) and loss.kinds[name].shapes == ("C",):
                learnt = None if name in head.options else head.tensors._parameters.get(name)
                options[name] = self._taken(name, option if learnt is None else learnt, rows)
        if self.corrected:
            options["log_probability"] = log_probability
        value: torch.Tensor = loss(embeddings, self._taken("weight", head.weight, rows), labels, **options)
        return value

    def _taken(self, name: str, tensor: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Some rows; as a Parameter of their own where `SampledRows` trains the tensor."""
        if self.rows is None or not tensor.requires_grad or not torch.is_grad_enabled():
            return tensor.index_select(0, places)
        active: torch.Tensor = self.rows.active(name, tensor, places)
        return active
