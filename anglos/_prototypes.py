"""Engine 1: losses that compare embeddings with one prototype per class, a tile of classes at a time.

    z_ij = scale · |x_i| · |w_j| · F_ij + b_j,    F_iy = φ(cos θ_iy),    F_ij = cos θ_ij for the other classes,

where |x_i| or |w_j| is 1 if the row normalises it. A loss is one `Row` of this scheme; its value and its gradient
are written here, once. Tiles have shape (T, B): a slice of the weights is contiguous, and B is the short side.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from anglos._numerics import Array, float_type, unit_rows, unit_rows_pullback
from anglos._softmax import CrossEntropy


class Target(NamedTuple):
    """φ(cos θ), dφ/dcos θ, and dφ/dp for every option p of the loss that may be an array."""

    value: Any
    slope: Any
    option_slopes: Mapping[str, Any] = MappingProxyType({})


def unchanged(xp: Any, cos: Array) -> Target:
    """φ = cos θ."""
    return Target(cos, 1.0)


@dataclass(frozen=True)
class Row:
    """What one loss puts into the scheme."""

    scale: Any = 1.0
    target: Callable[[Any, Array], Target] = unchanged
    reduction: CrossEntropy = field(default_factory=CrossEntropy)
    bias: Any = None
    normalize_embeddings: bool = True
    normalize_weights: bool = True
    straight_through: bool = False


class _Batch(NamedTuple):
    """All that has size B: the embeddings, and their cosine and logit with the prototype of their own class."""

    points: Array
    unit: Array
    inverse: Array
    embedding_length: Any
    weight_length: Any
    cos: Array
    target: Target
    logit: Array


def _batch(backend: Any, row: Row, inputs: dict[str, Array]) -> _Batch:
    xp, dtype = backend.xp, float_type(backend.xp, inputs["embeddings"], inputs["weights"])
    x = xp.astype(inputs["embeddings"], dtype, copy=False)
    w = xp.astype(xp.take(inputs["weights"], inputs["labels"], axis=0), dtype, copy=False)
    unit, inverse = unit_rows(xp, x)
    w_unit, _ = unit_rows(xp, w)
    cos = xp.clip(xp.sum(unit * w_unit, axis=-1), -1.0, 1.0)
    target = row.target(xp, cos)
    embedding_length = 1.0 if row.normalize_embeddings else xp.sum(x * unit, axis=-1)
    weight_length = 1.0 if row.normalize_weights else xp.sum(w * w_unit, axis=-1)
    logit = row.scale * embedding_length * weight_length * target.value
    if row.bias is not None:
        logit = logit + xp.take(row.bias, inputs["labels"], axis=0)
    points = unit if row.normalize_embeddings else x
    return _Batch(points, unit, inverse, embedding_length, weight_length, cos, target, logit)


class _Tile(NamedTuple):
    """T classes: prototypes (T, D), their logits with all embeddings and the marks of the own class (T, B)."""

    prototypes: Array
    unit: Array
    inverse: Array
    logits: Array
    own: Array


def _tile(backend: Any, row: Row, batch: _Batch, labels: Array, first: Any, weights: Array,
          bias: Array | None) -> _Tile:
    xp = backend.xp
    w = xp.astype(weights, batch.points.dtype, copy=False)
    unit, inverse = unit_rows(xp, w)
    prototypes = unit if row.normalize_weights else w
    logits = prototypes @ (row.scale * batch.points).T
    if bias is not None:
        logits = logits + bias[:, None]
    classes = backend.arange(w.shape[0], labels) + first
    return _Tile(prototypes, unit, inverse, logits, classes[:, None] == labels[None, :])


def forward(backend: Any, row: Row, inputs: dict[str, Array]) -> tuple[Array, Any]:
    """The loss of every embedding, (B,), and what the gradient can use again."""
    xp, labels, reduction = backend.xp, inputs["labels"], row.reduction
    batch = _batch(backend, row, inputs)

    def gather(first: Any, weights: Array, bias: Array | None) -> tuple[Any, tuple[()]]:
        tile = _tile(backend, row, batch, labels, first, weights, bias)
        return reduction.gather(xp, tile.logits, tile.own), ()

    gathered, _ = backend.sweep(gather, lambda a, b: reduction.combine(xp, a, b), (inputs["weights"], row.bias),
                                backend.tile_width(labels.shape[0]))
    return reduction.value(xp, gathered, batch.logit, inputs["weights"].shape[0])


def backward(backend: Any, row: Row, inputs: dict[str, Array], residuals: Any, g: Array,
             needs: frozenset[str]) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i) for every input named in `needs`.

    With G_ij = ∂ℓ_i/∂z_ij and K_ij = G_ij F′_ij, and p, w for embeddings and weights, each of length 1 or free:
    ∂p_i = g_i · scale · Σ_j K_ij w_j and ∂w_j = scale · Σ_i g_i K_ij p_i. A normalised vector takes that through
    its normalisation. A free one gets in addition its own direction times G_iy · scale · (φ − φ′ cos θ) · the
    other's length: what the length changes beyond the cosine, 0 for all classes but the label's.
    """
    xp, labels, reduction, classes = backend.xp, inputs["labels"], row.reduction, inputs["weights"].shape[0]
    batch = _batch(backend, row, inputs)
    phi_slope = 1.0 if row.straight_through else batch.target.slope
    own_slope = reduction.own_slope(xp, residuals, classes)
    along = g * own_slope * (batch.target.value - phi_slope * batch.cos)
    weighted = batch.points * (g * row.scale)[:, None]

    def pull(first: Any, weights: Array, bias: Array | None) -> tuple[Any, tuple[Any, Any]]:
        tile = _tile(backend, row, batch, labels, first, weights, bias)
        rest_slope = reduction.rest_slope(xp, residuals, tile.logits, classes)
        slopes = xp.where(tile.own, own_slope * phi_slope, rest_slope)
        d_points = d_weights = d_bias = None
        if needs & {"embeddings", "scale"}:
            d_points = slopes.T @ tile.prototypes
        if "weights" in needs:
            d_weights = slopes @ weighted
            if row.normalize_weights:
                d_weights = unit_rows_pullback(xp, tile.unit, tile.inverse, d_weights)
            elif row.target is not unchanged:
                lengthening = along * row.scale * batch.embedding_length
                d_weights = d_weights + tile.unit * (xp.astype(tile.own, g.dtype) @ lengthening)[:, None]
        if "bias" in needs:
            d_bias = xp.where(tile.own, own_slope, rest_slope) @ g
        return d_points, (d_weights, d_bias)

    d_points, (d_weights, d_bias) = backend.sweep(pull, _add, (inputs["weights"], row.bias),
                                                  backend.tile_width(labels.shape[0]))
    gradients = {"weights": d_weights, "bias": d_bias}
    if "embeddings" in needs:
        d_embeddings = d_points * (g * row.scale)[:, None]
        if row.normalize_embeddings:
            gradients["embeddings"] = unit_rows_pullback(xp, batch.unit, batch.inverse, d_embeddings)
        else:
            lengthening = along * row.scale * batch.weight_length
            gradients["embeddings"] = d_embeddings + batch.unit * lengthening[:, None]
    if "scale" in needs:
        gradients["scale"] = g * xp.sum(batch.points * d_points, axis=-1) + (
            along * batch.embedding_length * batch.weight_length)
    for name, slope in batch.target.option_slopes.items():
        gradients[name] = g * own_slope * row.scale * batch.embedding_length * batch.weight_length * slope
    return {name: gradients[name] for name in needs}


def _add(a: Any, b: Any) -> Any:
    return None if a is None else a + b
