"""What an engine is: `prepare`, then `forward`, then `backward`. Modules are engines."""

from collections.abc import Iterator
from typing import Any, Protocol

from anglos.arrays.backend import Backend
from anglos.arrays.library import Array


class Engine(Protocol):
    """The mathematics of one scheme of losses."""

    SAMPLES_ARE_INDEPENDENT: bool
    """Whether the loss of a sample depends on no other of its batch."""

    ROLES: tuple[tuple[str, ...], ...]
    """Of one of these, every role must be that of an argument's kind; then inputs go by their roles.

    Where there are none, they go by the arguments' names. One that has `WEIGHS_CLASSES` = True multiplies the losses by
    a role "class_weight", which no other is given.
    """

    def prepare(self, backend: Backend, row: Any, inputs: dict[str, Array], *, keep_bytes: int = 0,
                gradient_products: str = "full", saved: Any = None, chosen: Any = None, remembered: Any = None) -> Any:
        """The step that both passes start from: all that has the size of the batch or of one tile of classes.

        saved: what the forward pass saved, whose numbers are not computed again.
        chosen: the same, where all is computed again for its derivatives, except what the forward pass chose.
        remembered: `remembered()` of the step of the forward pass, where it could not be handed on whole.
        """

    def forward(self, step: Any) -> tuple[Array, Any]:
        """The loss of every sample, (B,), and what the gradient can use again: a NamedTuple of arrays, tuples and None.

        It is a cache: all of it can be computed again from the inputs, as is done where a gradient is differentiated.
        """

    def backward(self, step: Any, saved: Any, g: Array, needs: frozenset[str]) -> dict[str, Array]:
        """∂(Σ g_i ℓ_i) for every input named in `needs`, except an option of which the row gives no slope."""

    def unpack(self, row: Any, arrays: tuple[Array, ...]) -> Any:
        """The record that was packed."""

    def count(self, saved: Any) -> Array | None:
        """How many terms there are in the loss of each sample; None for one. The record may be packed."""


def pack(saved: Any) -> tuple[Array, ...]:
    """The arrays of a record one after the other, without None: for frameworks that carry nothing else."""
    return tuple(_leaves(saved))


def _leaves(saved: Any) -> Iterator[Array]:
    for part in saved:
        if isinstance(part, tuple):
            yield from _leaves(part)
        elif part is not None:
            yield part
