"""What the layers of all frameworks share: the shape of the weight, and what a trained one predicts by."""

import numbers
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from anglos.arrays.backend import Backend
from anglos.arrays.dispatch import backend_of, unwrapped
from anglos.call.check import check_options
from anglos.call.common import DEFAULTS
from anglos.call.kinds import describe, refuse
from anglos.call.loss import Loss
from anglos.engines import rowwise as _rowwise
from anglos.engines.numerics import Array, float_type
from anglos.engines.pairs.row import PairRow
from anglos.engines.prototypes import engine as _prototypes
from anglos.engines.prototypes.row import Row, unchanged
from anglos.engines.prototypes.step import Step

_SAME_TRAINING = frozenset(("sample_weight", "ignore_index", "keep_bytes", "reduction"))
"""Options whose other values are no other training: how much memory a call takes, or what is counted."""


def check_head(loss: Any, num_classes: int, embedding_dim: int, prototypes_per_class: int | None = None
               ) -> tuple[int, ...]:
    """The shape of a layer's weight."""
    shape = getattr(loss.kinds[loss.arrays[1]], "shape", "") if isinstance(loss, Loss) and len(loss.arrays) == 3 else ""
    if shape not in ("C D", "C K D"):
        what = f"{loss.name}, of {', '.join(loss.arrays)}" if isinstance(loss, Loss) else describe(loss)
        raise TypeError(f"Head: loss was {what}; wanted a loss of embeddings, weights, labels, such as anglos.arcface")
    sizes = {"num_classes": num_classes, "embedding_dim": embedding_dim}
    if shape == "C K D":
        sizes["prototypes_per_class"] = prototypes_per_class  # type: ignore[assignment]
    elif prototypes_per_class is not None:
        raise ValueError(f"Head({loss.name}): prototypes_per_class was {describe(prototypes_per_class)}; wanted None: "
                         "this loss has one")
    for name, number in sizes.items():
        if not isinstance(number, numbers.Integral) or isinstance(number, bool) or number < 1:
            raise ValueError(f"Head: {name} was {describe(number)}; wanted an integer of at least 1")
    return (int(num_classes), *([int(prototypes_per_class)] if prototypes_per_class else []), int(embedding_dim))


def check_others(loss: Loss[...], others: tuple[Any, ...]) -> None:
    """Refuses more than embeddings and labels, which Python would do without a hint."""
    if others:
        refuse(f"Head({loss.name})", "the arrays", TypeError, f"were {2 + len(others)}",
               f"2: {loss.arrays[0]}, {loss.arrays[2]} (options: head.options; chosen triplets or pairs: "
               "anglos.triplet_margin, anglos.pair_margin)")


def own_options(loss: Loss[...], options: Mapping[str, Any], num_classes: int) -> dict[str, Any]:
    """The options as a layer keeps them: nothing that its user may change later, as a list or a NumPy array.

    An integer becomes a float where one may come: `equinox.tree_deserialise_leaves` casts what it loads to its type.
    """
    options = check_options(f"Head({loss.name})", loss.kinds, loss.arrays, options, loss.defaults, num_classes)
    return {name: option.copy() if getattr(backend_of(option), "name", None) == "numpy" else option
            for name, option in options.items()}


def check_given(loss: Loss[...], given: Iterable[str], options: Mapping[str, Any]) -> None:
    """Refuses a call without an option that the layer was made with: the loss's default would take its place.

    None is what `equinox.partition` leaves in place of an array, and what some losses take for an option.
    """
    for name in given:
        if options.get(name) is None:
            raise ValueError(f"Head({loss.name}): {name} was given when the head was made, and is now "
                             f"{'None' if name in options else 'gone'}; wanted it in head.options")


def in_force(loss: Loss[...], options: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of the loss as a call of the layer uses it: as it is there, or else its default."""
    return {**loss.defaults, **options}


def spelled(loss: Loss[...], shape: Iterable[int], options: Mapping[str, Any], elsewhere: Iterable[str] = ()) -> str:
    """What a layer is, in one line: loss, sizes and options, but those that are shown elsewhere.

    What is not given is left out if every loss has it, or if it is None.
    """
    left_out = {*elsewhere, *(name for name, default in loss.defaults.items()
                              if name not in options and (name in DEFAULTS or default is None))}
    shown = {name: option for name, option in in_force(loss, options).items() if name not in left_out}
    return ", ".join([loss.name, *map(str, shape), *(f"{name}={_spell(option)}" for name, option in shown.items())])


def _spell(option: Any) -> str:
    shape = getattr(option, "shape", None)
    return repr(option) if shape is None else f"array {tuple(shape)}"


def settings_of(loss: Loss[...], options: Mapping[str, Any]) -> dict[str, Any]:
    """The loss and those options in force by which a training differs, if they are no arrays: for JSON, say."""
    plain = {name: [*map(_plain, option)] if isinstance(option, tuple) else _plain(option)
             for name, option in in_force(loss, options).items() if name not in _SAME_TRAINING}
    return {"loss": loss.dotted_name, **{name: option for name, option in plain.items()
                                         if option is None or isinstance(option, (bool, int, float, str, list))}}


def _plain(option: Any) -> Any:
    """A number as Python's: `torch.load` and JSON refuse NumPy's."""
    if isinstance(option, bool) or not isinstance(option, numbers.Real):
        return option
    return int(option) if isinstance(option, numbers.Integral) else float(option)


_NO_USERS = frozenset(("anglos", "torch", "flax", "equinox"))


def warn_of_others(loss: Loss[...], options: Mapping[str, Any], saved: Any) -> None:
    """Warns that weights were trained with another loss, or with other options."""
    ours = settings_of(loss, options)
    if not isinstance(saved, Mapping) or not isinstance(saved.get("loss"), str):
        raise TypeError(f"Head({loss.name}): settings were {describe(saved)}; wanted what `settings` of a Head returns")
    others = {name: was for name, was in saved.items() if name in ours and was != ours[name]}
    if "loss" in others:
        others = {"loss": others["loss"]}
    if others:
        pairs = "; ".join(f"{name} was {was!r}, and is {ours[name]!r} here" for name, was in others.items())
        warnings.warn(f"Head({loss.name}): the weights were trained otherwise: {pairs}", UserWarning,
                      stacklevel=_level_of_user())


def _level_of_user() -> int:
    """How far above who asks the first line is that is neither ours nor a framework's, as of `load_state_dict`."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _NO_USERS:
        frame, level = frame.f_back, level + 1
    return level


NEW_CLASSES = {"bias": 0.0, "class_margin": 0.0, "class_weight": 1.0}
"""The number of a new class, in options that have one for each."""


def has_classes(loss: Loss[...], name: str) -> bool:
    """Whether an option is a number for each class."""
    return bool(loss.kinds[name].shapes == ("C",))


def check_attribute(loss: Loss[...] | None, name: str) -> None:
    """Refuses an option that is set as an attribute of the layer, where nothing would read it."""
    if loss is not None and name in loss.defaults:
        raise AttributeError(f"Head({loss.name}): {name} was set as an attribute; wanted head.options[{name!r}]")


def logits_of(loss: Loss[...], embeddings: Array, weights: Array, options: dict[str, Any]) -> Array:
    """z_ij = scale · |x_i| · |w_j| · cos θ_ij + b_j, (B, C): the loss's own, with cos θ in place of φ and η.

    What the library differentiates.
    """
    with compared(loss, embeddings, weights, options) as step:
        return step.backend.logits(step.tile(0, step.weights, step.bias).tile).T


def check_tiles(caller: str, loss: Loss[...]) -> None:
    """Refuses a loss that compares a sample with all prototypes at once, where each device has a part of them."""
    if loss.engine is _rowwise and getattr(loss.kinds[loss.arrays[1]], "role", None) == "weights":
        refuse(caller, "loss", TypeError, f"was {loss.name}, which holds the logits of all classes",
               "one whose classes come in tiles, such as anglos.arcface")


@contextmanager
def compared(loss: Loss[...], embeddings: Array, weights: Array, options: dict[str, Any]) -> Iterator[Step]:
    """Embeddings against all classes, without a margin, whose tiles of logits may be asked for in a `with` statement.

    Arrays of margins, which are no part of it, may be those of another batch.
    """
    embeddings = unwrapped(embeddings)
    options = {name: option for name, option in ((name, unwrapped(option)) for name, option in options.items())
               if backend_of(option) is None or "B" not in loss.kinds[name].shapes}
    backend = backend_of(embeddings)
    labels = None if backend is None else backend.xp.zeros(
        embeddings.shape[:1], dtype=backend.index_type, device=backend.device(embeddings))
    call = loss._prepare((embeddings, weights, labels), options)
    backend = call.plan.backend
    with backend.plain(call.arrays):
        row, inputs = call.plan.row_of(call.plan.of_all(call.arrays))
        inputs["weights"] = inputs.pop(loss.arrays[1], inputs.get("weights"))
        row = _without_margin(backend, row, inputs)
        yield _prototypes.prepare(backend, row, inputs)


def _without_margin(backend: Backend, row: Any, inputs: dict[str, Array]) -> Row:
    """Of losses that are not in the scheme of `engine.py`, the row that ranks classes as they do; with its inputs."""
    if isinstance(row, Row):
        return row._replace(target=unchanged, rest=None, known=(), statistic=None, nearest=None, straight_through=False)
    if isinstance(row, PairRow):
        return Row(row.scale)
    names = "embeddings", "weights"
    dtype = float_type(backend.xp, *(inputs[name] for name in names))
    *compared, bias = row.compared(backend, *(backend.xp.astype(inputs[name], dtype, copy=False) for name in names))
    inputs.update(zip(names, compared, strict=True))
    return Row(bias=bias, normalize_embeddings=False, normalize_weights=False)
