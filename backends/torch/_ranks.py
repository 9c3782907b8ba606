"""Whether ranks share the classes of a layer: what stands on torch.distributed is imported where they do."""

from typing import TYPE_CHECKING, Any

from anglos.call.kinds import describe
from anglos.call.loss import Loss

if TYPE_CHECKING:
    from .sharding.head import Sharding


def sharding_of(loss: Loss[...], mesh: Any, seed: Any, check: bool) -> "Sharding | None":
    """How the classes are cut over ranks; None where they are whole."""
    if mesh is not None:
        from .sharding import head

        return head.sharding_of(loss, mesh, seed, check)
    if seed != 0:
        raise ValueError(f"Head: seed was {describe(seed)} without a mesh; wanted none: a head that is whole draws by "
                         "PyTorch's generator (call torch.manual_seed before); with a mesh each rank draws its part by "
                         "seed, so that prototypes are the same on any number of ranks")
    return None
