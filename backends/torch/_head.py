"""The losses against class prototypes as a layer."""

from typing import Any

import torch

from anglos._loss import Loss, check_head


class Head(torch.nn.Module):
    """The last layer of a network: one prototype per class, and a loss that compares embeddings with them.

    `weight` is a parameter of shape (num_classes, embedding_dim), drawn from a normal distribution of standard
    deviation 1/√embedding_dim: rows of length about 1. The options go to the loss at every call. A number or a
    word can be changed between steps: `head.options["margin"] = 0.3`. A `torch.nn.Parameter` (a learnable scale,
    say) is trained with the rest; any tensor moves and is saved with the module, as `head.tensors`.

    >>> import anglos, torch
    >>> head = Head(anglos.arcface, num_classes=10, embedding_dim=4, margin=0.3)
    >>> head(torch.eye(4), torch.tensor([0, 1, 2, 3])).shape
    torch.Size([])
    """

    def __init__(self, loss: Loss[...], num_classes: int, embedding_dim: int, *,
                 device: Any = None, dtype: Any = None, **options: Any) -> None:
        super().__init__()
        check_head(loss, num_classes, embedding_dim, options)
        self.loss, self.num_classes, self.embedding_dim = loss, num_classes, embedding_dim
        self.weight = torch.nn.Parameter(torch.empty(num_classes, embedding_dim, device=device, dtype=dtype))
        self.tensors = torch.nn.ParameterDict()
        self.options: dict[str, Any] = {}
        for name, option in options.items():
            if isinstance(option, torch.Tensor):
                learnt = isinstance(option, torch.nn.Parameter)
                self.tensors[name] = option if learnt else torch.nn.Parameter(option, requires_grad=False)
            else:
                self.options[name] = option
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the prototypes anew."""
        torch.nn.init.normal_(self.weight, std=self.embedding_dim**-0.5)

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of a batch; where both have an option, `options` comes before `tensors`."""
        value: torch.Tensor = self.loss(embeddings, self.weight, labels, **{**self.tensors, **self.options})
        return value

    def extra_repr(self) -> str:
        return ", ".join([self.loss.name, f"{self.num_classes}, {self.embedding_dim}",
                          *(f"{name}={option}" for name, option in self.options.items())])
