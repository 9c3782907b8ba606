"""The classes of largest score, without the scores of all at once."""

import numbers
from typing import Any, NamedTuple

import torch
from torch.nn.functional import pad

from anglos.call.kinds import describe
from anglos.call.loss import Loss
from anglos.training.heads import compared

Scored = tuple[torch.Tensor, torch.Tensor]
"""Scores in falling order, of equals those of the first classes before others; and the classes: (k, B)."""


class _Largest(NamedTuple):
    """So many of the largest scores. Where there are fewer, −∞ of a class beyond all others."""

    most: int
    beyond: int

    @property
    def name(self) -> str:
        return "largest"

    def combine(self, xp: Any, a: Scored, b: Scored) -> Scored:
        return self.of(*(torch.cat(both) for both in zip(a, b, strict=True)))

    def of(self, scores: torch.Tensor, classes: torch.Tensor) -> Scored:
        """Of scores in any order."""
        rising = torch.argsort(classes, dim=0)
        order = rising.gather(0, torch.argsort(scores.gather(0, rising), dim=0, descending=True, stable=True))
        order, missing = order[:self.most], (0, 0, 0, max(0, self.most - len(order)))
        return (pad(scores.gather(0, order), missing, value=-torch.inf),
                pad(classes.gather(0, order), missing, value=self.beyond))

    def of_tile(self, logits: torch.Tensor, first: int) -> Scored:
        """Of the scores of the classes from the first on, (T, B)."""
        count, most = min(self.most, len(logits)), min(self.most + 1, len(logits))
        values, places = torch.topk(logits, most, dim=0)
        if most > count:
            (tied,) = torch.nonzero(values[count - 1] == values[count], as_tuple=True)  # topk may take any of these
            places[:, tied] = torch.argsort(logits[:, tied], dim=0, descending=True, stable=True)[:most]
        places = places[:count]
        return self.of(logits.gather(0, places), places + first)


def number_of_nearest(k: Any, classes: int) -> int:
    """As it was asked for."""
    if not isinstance(k, numbers.Integral) or isinstance(k, bool) or not 1 <= int(k) <= classes:
        raise ValueError(f"Head: k was {describe(k)}; wanted an integer from 1 to {classes}, which is all classes")
    return int(k)


def nearest_of(loss: Loss[...], embeddings: torch.Tensor, weights: torch.Tensor, options: dict[str, Any], k: int,
               here: int, rank: int = 0) -> Scored:
    """The k largest scores of every sample, and their classes: (B, k). Here: how many classes this rank has."""
    with compared(loss, embeddings, weights, options) as step:
        backend, largest = step.backend, _Largest(k, weights.shape[0])

        def tile(first: int, weights: torch.Tensor, bias: torch.Tensor | None) -> tuple[Scored, tuple[()]]:
            logits = step.backend.logits(step.tile(first, weights, bias).tile)
            return largest.of_tile(logits[:max(0, here - first)], backend.first_class + first), ()  # or one made up

        (scores, classes), _ = backend.sweep(tile, largest, (step.weights, step.bias), step.width)
    own = slice(rank * len(embeddings), (rank + 1) * len(embeddings))
    return scores.T[own], classes.T[own]
