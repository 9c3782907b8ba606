"""A loss over prefixes of the embeddings, so that each prefix is an embedding too."""

import math
import numbers
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from anglos.arrays.backend import Backend
from anglos.arrays.dispatch import backend_of, spec_of, unwrapped
from anglos.arrays.library import Array, Spec, store
from anglos.call.kinds import describe, has_gradient, refuse
from anglos.call.loss import Loss, Options

_NONE: Any = None


def matryoshka(loss: Loss[Options], dims: Sequence[int], weights: Sequence[float] | None = None) -> Loss[Options]:
    """The loss of every prefix of the embeddings, added up, so that the first numbers of one are an embedding too.

    L = Σ_d c_d ℓ(x_{1:d}, W_{:,1:d}) over d in `dims`: everything with an axis D is cut to its first d numbers, which
    are embeddings, prototypes, queries, keys, negatives and references; all else (labels, margins, a scale, a bias) is
    the same for all prefixes. A loss that normalises does so with each prefix:
    cos θ^(d) = x_{1:d}·w_{1:d} / (|x_{1:d}| |w_{1:d}|). So ∂L/∂x_k = Σ_{d ≥ k} c_d ∂ℓ^(d)/∂x_k, and what is after the
    longest prefix has gradient 0. A prefix that is a zero vector has cosine 0 and gradient 0. There is no copy of the
    prototypes for a prefix, where the library has views; the time is that of a call for each prefix.

    It is used as the loss: it takes what that takes, to be differentiated, compiled, sampled, put into a `Head`. Where
    classes or batches are shared among devices it goes around that: `matryoshka(class_sharded(loss), dims)`, as it does
    with `correct_sampling`.

    Parameters
    ----------
    loss
        Of embeddings, such as `arcface`, `supcon`, `info_nce` or `triplet_margin`; your own too.
    dims
        The lengths of prefixes, in any order, each once: integers from 1 to D, which need not be among them.
    weights
        c: a number of at least 0 for each; None is 1 for each.

    Returns
    -------
    Loss
        Reductions and weights of samples are the loss's: the value is the sum of the means. `plain` and
        `value_and_grad` are there too.

    Raises
    ------
    TypeError
        If `loss` is no loss, none of embeddings (`cross_entropy` of logits), or made by `matryoshka`.
    ValueError
        If `dims` or `weights` are not as above. In a call: if D is smaller than one of `dims`; what the loss refuses,
        of prefixes too, as `cosent` with similarity="angle" those of odd length.

    References
    ----------
    Kusupati, Bhatt, Rege et al., "Matryoshka Representation Learning", NeurIPS 2022, arXiv:2205.13147 (MRL-E: prefixes
    of one W).

    Examples
    --------
    A prefix of one number says only whether signs agree: cosines 1 and −1 with the two classes. All of both, normalised
    anew: 0.8 and 0.

    >>> import anglos, math, numpy as np
    >>> x, w, labels = np.asarray([[4.0, 3.0]]), np.asarray([[2.0, 0.0], [-3.0, 4.0]]), np.asarray([0])
    >>> nested = matryoshka(anglos.normface, (1, 2))
    >>> round(float(nested(x, w, labels, scale=1.0)), 6)
    0.498029
    >>> round(math.log(1 + math.exp(-2.0)) + math.log(1 + math.exp(-0.8)), 6)
    0.498029
    """
    lengths = _checked_dims(dims)
    factors = (1.0,) * len(lengths) if weights is None else _checked_weights(weights, len(lengths))
    if not isinstance(loss, Loss) or isinstance(loss, _Matryoshka) or not any(map(_has_dimension, loss.kinds.values())):
        what = loss.name if isinstance(loss, Loss) else describe(loss)
        hint = "; options go to the nested loss, as partial(matryoshka(loss, dims), ...)" * isinstance(loss, partial)
        raise TypeError(f"matryoshka: loss was {what}; wanted a loss of embeddings, such as anglos.arcface{hint}")
    return _Matryoshka(loss, lengths, factors)


class _NoEngine:
    """Refused by all that makes another loss of one by its engine, as `class_sharded`, which goes inside."""

    def __init__(self, roles: tuple[tuple[str, ...], ...]) -> None:
        self.ROLES = roles


class _Matryoshka(Loss[Options]):
    __doc__ = vars(Loss)["__doc__"]  # that of its function, completed when it is read

    def __init__(self, loss: Loss[Options], dims: tuple[int, ...], weights: tuple[float, ...]) -> None:
        self.__dict__.update(vars(loss))
        self.loss, self.dims, self.weights = loss, dims, weights
        self._longest_first = sorted(zip(dims, weights, strict=True), reverse=True)
        self._made_by = f"{dims}" if set(weights) == {1.0} else f"{dims}, {weights}"
        self.name = f"matryoshka({loss.name}, {self._made_by})"
        self.engine: Any = _NoEngine(loss.engine.ROLES)

    @property
    def dotted_name(self) -> str:
        return f"anglos.matryoshka({self.loss.dotted_name}, {self._made_by})"

    def __reduce__(self) -> Any:
        return matryoshka, (self.loss, self.dims, self.weights)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Matryoshka) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[Any, ...]:
        return self.loss, self.dims, self.weights

    def __call__(self, /, *arrays: Any, **options: Any) -> Any:
        return self._total(self.loss, arrays, options)

    def plain(self, /, *arrays: Any, **options: Any) -> Any:
        return self._total(self.loss.plain, arrays, options)

    def value_and_grad(self, /, *arrays: Any, wrt: Any = None, **options: Any) -> Any:
        arrays, options = self.loss._given(arrays, options)
        vectors, dimension = self._vectors(arrays, options)
        gradient_of: Any = self.loss.value_and_grad
        backend, value, gradients = _backend(vectors), _NONE, _NONE
        for length, factor in self._longest_first:
            vectors, positional, named = _cut(vectors, length, self.arrays, arrays, options)
            of_prefix, parts = gradient_of(*positional, **named, wrt=wrt)
            names = self._differentiated(arrays) if wrt is None else wrt
            with backend.untracked(tuple(vectors.values())):
                value = _add(value, factor, of_prefix)
                gradients = [
                    _add_prefix(backend, total, factor, part, length, dimension) if name in vectors else
                    _add(total, factor, part)
                    for name, total, part in zip(names, gradients or [None] * len(parts), parts, strict=True)]
        return value, tuple(gradients)

    def _total(self, value_of: Callable[..., Any], arrays: tuple[Any, ...], options: dict[str, Any]) -> Any:
        arrays, options = self.loss._given(arrays, options)
        vectors, _ = self._vectors(arrays, options)
        total = None
        for length, factor in self._longest_first:
            vectors, positional, named = _cut(vectors, length, self.arrays, arrays, options)
            value = value_of(*positional, **named)
            with _backend(vectors).errstate():
                total = _add(total, factor, value)
        return total

    def _prepare(self, arrays: tuple[Any, ...], options: dict[str, Any], wrt: tuple[str, ...] | None = ()) -> Any:
        """A call of whole vectors, for what is asked of a head that is not its loss, such as logits."""
        return self.loss._prepare(arrays, options, wrt)

    def _vectors(self, arrays: tuple[Any, ...], options: dict[str, Any]) -> tuple[dict[str, Array], int]:
        """What has an axis D, by name, and D; refused as of whole vectors where they do not fit each other."""
        given = {**dict(zip(self.arrays, arrays, strict=False)), **options}
        vectors = {name: unwrapped(given[name]) for name, kind in self.kinds.items()
                   if given.get(name) is not None and _has_dimension(kind)}
        specs = {name: spec_of(vector) for name, vector in vectors.items()}
        sizes: list[Any] = [spec.shape[-1] if _is_of(self.kinds[name], spec) else None for name, spec in specs.items()]
        if not sizes or len(arrays) > len(self.arrays) or not all(size == sizes[0] for size in sizes) or not sizes[0]:
            self.loss._prepare(arrays, options)
        first, dimension = next(iter(vectors)), sizes[0]
        if max(self.dims) > dimension:
            refuse(self.name, first, ValueError, f"was of shape {tuple(specs[first].shape)}",
                   f"D to be at least {max(self.dims)}, the largest of dims")
        return vectors, dimension

    def _differentiated(self, arrays: tuple[Any, ...]) -> list[str]:
        """What the gradient is of where nothing else is asked for."""
        return [name for name, array in zip(self.arrays, arrays, strict=False)
                if array is not None and has_gradient(self.kinds[name])]


def _has_dimension(kind: Any) -> bool:
    """Whether the last axis of such an array is D."""
    return any(shape.split()[-1:] == ["D"] for shape in getattr(kind, "shapes", ()))


def _is_of(kind: Any, spec: Any) -> bool:
    """Whether an array has as many axes as one of this kind."""
    return isinstance(spec, Spec) and len(spec.shape) in [len(shape.split()) for shape in kind.shapes]


def _backend(vectors: dict[str, Array]) -> Backend:
    backend: Any = backend_of(next(iter(vectors.values())))
    return backend  # type: ignore[no-any-return]


def _cut(vectors: dict[str, Array], length: int, names: tuple[str, ...], arrays: tuple[Any, ...],
         options: dict[str, Any]) -> tuple[dict[str, Array], list[Any], dict[str, Any]]:
    """The prefixes, and with them the arrays and the options of a call.

    Each is a prefix of the one before: automatic differentiation then fills up its gradient to that, and not to all.
    """
    vectors = {name: vector if vector.shape[-1] == length else vector[..., :length] for name, vector in vectors.items()}
    positional = [vectors.get(name, array) for name, array in zip(names, arrays, strict=False)]
    return vectors, positional, {name: vectors.get(name, option) for name, option in options.items()}


def _add(total: Any, factor: float, part: Any) -> Any:
    """The total, None for 0, with a factor times the part."""
    part = part if factor == 1.0 else factor * part
    return part if total is None else total + part


def _add_prefix(backend: Backend, total: Any, factor: float, part: Array, length: int, dimension: int) -> Array:
    """The same of the first columns of a total with all. The part, which others may hold, is not changed."""
    xp = backend.xp
    if total is None and length < dimension:
        rest = xp.zeros((dimension - length,), dtype=part.dtype, device=backend.device(part))
        return xp.concat([factor * part, xp.zeros_like(part[..., :1]) + rest], axis=-1)  # however many rows there are
    if total is None:
        return factor * part
    first, part = total[..., :length], part if factor == 1.0 else factor * part
    if not backend.changes_arrays():
        return xp.concat([first + part, total[..., length:]], axis=-1)
    store(first, backend.add(first, part, out=first))
    return total


def _checked_dims(dims: Any) -> tuple[int, ...]:
    """Different lengths, each of at least one."""
    found = _listed(dims)
    are_lengths = all(isinstance(one, numbers.Integral) and not isinstance(one, bool) and int(one) >= 1
                      for one in found or ())
    if not found or not are_lengths or len(set(found)) < len(found):
        refuse("matryoshka", "dims", TypeError if found is None else ValueError, f"was {_shown(dims)}",
               "different integers of at least 1, such as (64, 128, 256)")
    return tuple(map(int, found))


def _checked_weights(weights: Any, count: int) -> tuple[float, ...]:
    """As many finite numbers of at least 0."""
    found = _listed(weights)
    are_numbers = all(isinstance(one, numbers.Real) and not isinstance(one, bool) and 0.0 <= float(one) < math.inf
                      for one in found or ())
    if found is None or len(found) != count or not are_numbers:
        refuse("matryoshka", "weights", TypeError if found is None else ValueError, f"was {_shown(weights)}",
               f"{count} numbers of at least 0, one for each of dims")
    return tuple(map(float, found))


def _listed(value: Any) -> tuple[Any, ...] | None:
    """What is in a list, a tuple or an array; None of anything else, such as a set, which has no order."""
    if isinstance(value, (str, bytes)) or not (isinstance(value, Sequence) or hasattr(value, "tolist")):
        return None
    found = value if isinstance(value, Sequence) else value.tolist()
    return tuple(found) if isinstance(found, Sequence) else None


def _shown(value: Any) -> str:
    """A value in a message, with what is in a list."""
    return repr(value) if isinstance(value, (list, tuple, range)) else describe(value)
