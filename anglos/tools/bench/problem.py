"""What is measured: a loss, the sizes of its arrays and their type."""

from dataclasses import dataclass
from typing import Any

from anglos.losses import LOSSES

HEADS = tuple(name for name, loss in LOSSES.items()
              if loss.arrays == ("embeddings", "weights", "labels") and loss.kinds["weights"].shapes == ("C D",))
"""The losses that can be measured: those of embeddings (B, D), one prototype per class, and labels."""

BYTES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Problem:
    """One size of one loss."""

    loss: str
    batch: int
    dimension: int
    classes: int
    dtype: str

    def draw(self) -> tuple[Any, Any, Any]:
        """Embeddings, weights and labels in NumPy. What NumPy has no fast arithmetic for is drawn in float32."""
        import numpy as np
        random = np.random.default_rng(0)
        dtype = np.float64 if self.dtype == "float64" else np.float32
        return (random.standard_normal((self.batch, self.dimension), dtype),
                random.standard_normal((self.classes, self.dimension), dtype),
                random.integers(0, self.classes, self.batch))

    @property
    def gradient_bytes(self) -> int:
        """Of the gradients by embeddings and by weights."""
        return (self.batch + self.classes) * self.dimension * BYTES[self.dtype]

    @property
    def buffer_bytes(self) -> int:
        """Of one array of all logits, (B, C)."""
        return self.batch * self.classes * BYTES[self.dtype]
