"""Engine 0: losses that need no tiles; each brings its value and its gradients, sample by sample."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array, float_type


def _nearness(backend: Backend, embeddings: Array, weights: Array) -> tuple[Array, Array, Array]:
    """x·c − ½ c·c, which is −½ (x − c)·(x − c) up to a number that all classes share."""
    return embeddings, weights, -0.5 * backend.dot(weights, weights)


@dataclass(frozen=True)
class Direct:
    """value(backend, *arrays) -> (B,), and gradients(backend, g, *arrays) -> ∂(Σ g_i ℓ_i) by the array's name.

    Of a loss of the batch as a whole, value -> () and gradients -> ∂(g ℓ).

    Attributes
    ----------
    value
        (backend, *arrays) -> the loss of every sample, (B,); of the batch as a whole, ().
    gradients
        (backend, g, *arrays) -> the gradient of Σ g_i ℓ_i, or of g ℓ, by the array's name.
    typeless
        Arrays that do not tell the type of the arithmetic, whatever theirs is; integers and truth values never do.
    compared
        (backend, embeddings, weights) -> a, (B, ...), w, (C, ...), and b, (C,), with a·w + b in the order of the
        classes for every sample, by which a `Head` predicts; by default x·c − ½ c·c: the nearest first.
    """

    value: Callable[..., Array]
    gradients: Callable[..., dict[str, Array]]
    typeless: tuple[str, ...] = ("labels", "targets")
    compared: Callable[..., tuple[Array, Array, Array]] = _nearness


SAMPLES_ARE_INDEPENDENT = True
WEIGHS_CLASSES = True  # its functions do
ROLES: tuple[tuple[str, ...], ...] = ()


class Step(NamedTuple):
    """What both passes start from."""

    backend: Backend
    row: Direct
    arrays: tuple[Array, ...]
    names: tuple[str, ...]

    def remembered(self) -> None:
        """Nothing."""


def prepare(backend: Backend, row: Direct, inputs: dict[str, Array], *, keep_bytes: int = 0,
            gradient_products: str = "full", saved: Any = None, chosen: Any = None, remembered: Any = None) -> Step:
    """The arrays in the type of the arithmetic."""
    return Step(backend, row, _in_type(backend.xp, row, inputs), tuple(inputs))


def unpack(row: Direct, arrays: tuple[Array, ...]) -> tuple[()]:
    return ()


def forward(step: Step) -> tuple[Array, tuple[()]]:
    """The loss of every sample, (B,)."""
    return step.row.value(step.backend, *step.arrays), ()


def backward(step: Step, saved: tuple[()], g: Array, needs: frozenset[str]) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i) for every input named in `needs`."""
    gradients = step.row.gradients(step.backend, g, *step.arrays) if needs else {}
    if not isinstance(gradients, dict):
        raise TypeError(f"define.Direct: gradients returned {type(gradients).__name__}; wanted a dict, by the names of "
                        "the arrays")
    return {name: gradients[name] for name in needs & gradients.keys()}


def count(saved: Any) -> None:
    """How many terms there are in the loss of each sample: one."""


def _in_type(xp: Any, row: Direct, inputs: dict[str, Array]) -> tuple[Array, ...]:
    typed = [name for name, array in inputs.items()
             if name not in row.typeless and xp.isdtype(array.dtype, "real floating")]
    dtype = float_type(xp, *[inputs[name] for name in typed])
    return tuple([xp.astype(array, dtype) if name in typed and array.dtype != dtype else array
                  for name, array in inputs.items()])
