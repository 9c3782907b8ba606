"""Engine 1: losses that compare embeddings with one prototype per class, a tile of classes at a time.

    z_ij = scale · |x_i| · |w_j| · F_ij + b_j,    F_iy = φ(cos θ_iy),    F_ij = η(cos θ_ij) for the other classes,

where |x_i| or |w_j| is 1 if the row normalises it. A loss is one `Row` of this scheme; its value and its gradient
are written here, once. Tiles have shape (T, B): a slice of the weights is contiguous, and B is the short side.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from anglos._numerics import Array, float_type, unit_rows, unit_rows_pullback
from anglos._reductions import CrossEntropy, Tile

_NONE: Mapping[str, Any] = MappingProxyType({})
_NAMES = MappingProxyType({"scale": ("scale", 1.0), "bias": ("bias", 1.0)})


class Curve(NamedTuple):
    """φ or η of cos θ, its slope in cos θ, in every option of the loss that may be an array, and in |x|."""

    value: Any
    slope: Any
    option_slopes: Mapping[str, Any] = _NONE
    length_slope: Any = None


def unchanged(backend: Any, cos: Array, length: Array) -> Curve:
    """φ = cos θ."""
    return Curve(cos, 1.0)


@dataclass(frozen=True)
class Row:
    """What one loss puts into the scheme."""

    scale: Any = 1.0
    target: Callable[[Any, Array, Array], Curve] = unchanged
    """φ: (backend, cos θ_y, |x|)."""
    reduction: Any = field(default_factory=CrossEntropy)
    bias: Any = None
    """One per class, or one for all."""
    normalize_embeddings: bool = True
    normalize_weights: bool = True
    straight_through: bool = False
    rest: Callable[[Any, Array, Any], Curve] | None = None
    """η, if it is not cos θ: (backend, cos θ of a tile, the row statistic)."""
    statistic: Callable[[Any, Array, Callable[[int], Array]], Any] | None = None
    """What η needs to know of a row: (backend, cos θ_y, k ↦ the k-th largest cosine of the rest)."""
    merge: Callable[[Any, Array], tuple[Array, Array]] | None = None
    """Of several prototypes per class: (backend, cosines (·, K, ...)) -> the class's, and its slopes in them."""
    regularizer: Callable[[Any, Array], tuple[Array, Array]] | None = None
    """A term of the loss in |x|, and its slope."""
    names: Mapping[str, tuple[str, float]] = field(default_factory=lambda: _NAMES)
    """For an option of the loss that is a field of the row: the field, and its slope in the option."""


class _Batch(NamedTuple):
    """All that has size B: the embeddings, and their cosine and logit with the prototype of their own class."""

    points: Array
    unit: Array
    inverse: Array
    length: Array
    embedding_length: Any
    weight_length: Any
    cos: Array
    target: Curve
    logit: Array


def _batch(backend: Any, row: Row, inputs: dict[str, Array]) -> _Batch:
    xp, dtype = backend.xp, float_type(backend.xp, inputs["embeddings"], inputs["weights"])
    x = xp.astype(inputs["embeddings"], dtype, copy=False)
    w = xp.astype(xp.take(inputs["weights"], inputs["labels"], axis=0), dtype, copy=False)
    unit, inverse = unit_rows(xp, x)
    w_unit, _ = unit_rows(xp, w)
    if row.merge is None:
        cos = xp.sum(unit * w_unit, axis=-1)
    else:
        cos, _ = row.merge(backend, xp.sum(unit[:, None, :] * w_unit, axis=-1))
    cos = xp.clip(cos, -1.0, 1.0)
    length = xp.sum(x * unit, axis=-1)
    target = _curve(backend, row, cos, row.target(backend, cos, length))
    embedding_length = 1.0 if row.normalize_embeddings else length
    weight_length = 1.0 if row.normalize_weights else xp.sum(w * w_unit, axis=-1)
    points = unit if row.normalize_embeddings else x
    if row.target is unchanged and row.merge is None:
        # Not by way of lengths and cosine: a zero vector of free length has a slope, and its cosine has none.
        logit = row.scale * xp.sum(points * (w_unit if row.normalize_weights else w), axis=-1)
    else:
        logit = row.scale * embedding_length * weight_length * target.value
    if row.bias is not None:
        logit = logit + (xp.take(row.bias, inputs["labels"], axis=0) if _per_class(row.bias) else row.bias)
    return _Batch(points, unit, inverse, length, embedding_length, weight_length, cos, target, logit)


def _curve(backend: Any, row: Row, cos: Array, curve: Curve) -> Curve:
    """The curve, or for a straight-through gradient its value with slope 1: so for all who differentiate it."""
    if not row.straight_through:
        return curve
    return curve._replace(value=cos + backend.stop_gradient(curve.value - cos), slope=1.0)


class _Visit(NamedTuple):
    """T classes: prototypes, (T, D) or (T·K, D), their cosines and slopes, (T, K, B), and the classes' own, (T, B)."""

    prototypes: Array
    unit: Array
    inverse: Array
    cosines: Array | None
    mix: Array | None
    cos: Array
    rest: Curve | None
    tile: Tile


def _visit(backend: Any, row: Row, batch: _Batch, statistic: Any, labels: Array, first: Any, weights: Array,
           bias: Array | None) -> _Visit:
    xp = backend.xp
    w = xp.reshape(xp.astype(weights, batch.points.dtype, copy=False), (-1, weights.shape[-1]))
    unit, inverse = unit_rows(xp, w)
    prototypes = unit if row.normalize_weights else w
    cosines, mix, rest = None, None, None
    if row.merge is None and row.rest is None:
        cos = logits = prototypes @ (row.scale * batch.points).T
    else:
        cos = prototypes @ batch.unit.T
        if row.merge is not None:
            cosines = xp.reshape(cos, (*weights.shape[:2], cos.shape[1]))
            cos, mix = row.merge(backend, cosines)
        value = cos
        if row.rest is not None:
            cos = xp.clip(cos, -1.0, 1.0)
            rest = _curve(backend, row, cos, row.rest(backend, cos, statistic))
            value = rest.value
        logits = row.scale * batch.embedding_length * value
    if bias is not None:
        logits = logits + bias[:, None]
    elif row.bias is not None:
        logits = logits + row.bias
    classes = backend.arange(weights.shape[0], labels) + first
    tile = Tile(logits, classes[:, None] == labels[None, :], classes)
    return _Visit(prototypes, unit, inverse, cosines, mix, cos, rest, tile)


def _statistic(backend: Any, row: Row, batch: _Batch, inputs: dict[str, Array]) -> Any:
    """The row statistic; the k-th largest cosine costs a sweep of its own."""
    if row.statistic is None:
        return None
    xp, labels = backend.xp, inputs["labels"]

    def largest(count: int) -> Array:
        def visit(first: Any, weights: Array) -> tuple[Array, tuple[()]]:
            unit, _ = unit_rows(xp, xp.astype(weights, batch.unit.dtype, copy=False))
            classes = backend.arange(weights.shape[0], labels) + first
            own = classes[:, None] == labels[None, :]
            return sort_down(xp.where(own, -2.0, unit @ batch.unit.T)), ()

        def sort_down(cos: Array) -> Array:
            return xp.sort(cos, axis=0, descending=True)[: min(count, cos.shape[0]), ...]

        ranked, _ = backend.sweep(visit, lambda a, b: sort_down(xp.concat([a, b], axis=0)), (inputs["weights"],),
                                  backend.tile_width(labels.shape[0]))
        return ranked[-1, ...]

    return row.statistic(backend, batch.cos, largest)


def forward(backend: Any, row: Row, inputs: dict[str, Array]) -> tuple[Array, Any]:
    """The loss of every embedding, (B,), and what the gradient can use again."""
    xp, labels, reduction = backend.xp, inputs["labels"], row.reduction
    batch = _batch(backend, row, inputs)
    statistic = _statistic(backend, row, batch, inputs)

    def gather(first: Any, weights: Array, bias: Array | None) -> tuple[Any, tuple[()]]:
        visit = _visit(backend, row, batch, statistic, labels, first, weights, bias)
        return reduction.gather(xp, visit.tile, batch.logit), ()

    gathered, _ = backend.sweep(gather, lambda a, b: reduction.combine(xp, a, b), _swept(row, inputs),
                                backend.tile_width(labels.shape[0]))
    loss, residuals = reduction.value(xp, gathered, batch.logit, inputs["weights"].shape[0])
    if row.regularizer is not None:
        loss = loss + row.regularizer(xp, batch.length)[0]
    return loss, residuals


def backward(backend: Any, row: Row, inputs: dict[str, Array], residuals: Any, g: Array, needs: frozenset[str]
             ) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i) for every input named in `needs`.

    With G_ij = ∂ℓ_i/∂z_ij and K_ij = G_ij F′_ij, and p, w for embeddings and weights, each of length 1 or free:
    ∂p_i = g_i · scale · Σ_j K_ij w_j and ∂w_j = scale · Σ_i g_i K_ij p_i. A normalised vector takes that through
    its normalisation. A free one gets in addition its own direction times Σ G_ij · scale · (F − F′ cos θ) · the
    other's length: what the length changes beyond the cosine, 0 where F is the cosine.
    """
    xp, labels, reduction, classes = backend.xp, inputs["labels"], row.reduction, inputs["weights"].shape[0]
    batch = _batch(backend, row, inputs)
    statistic = _statistic(backend, row, batch, inputs)
    phi_slope = batch.target.slope
    own_slope = reduction.own_slope(xp, residuals, classes)
    along = own_slope * (0.0 if row.target is unchanged else batch.target.value - phi_slope * batch.cos)
    weighted = batch.points * (g * row.scale)[:, None]
    fields = {row.names[name][0] for name in needs if name in row.names}

    def pull(first: Any, weights: Array, bias: Array | None) -> tuple[dict[str, Array], tuple[Any, Any]]:
        visit = _visit(backend, row, batch, statistic, labels, first, weights, bias)
        own = visit.tile.own
        rest_slope = reduction.rest_slope(xp, residuals, visit.tile, classes)
        slopes, sums = rest_slope, {}
        if visit.rest is not None:
            slopes = rest_slope * visit.rest.slope
            sums["along"] = _over_rest(xp, own, rest_slope * (visit.rest.value - visit.rest.slope * visit.cos))
            for name, slope in visit.rest.option_slopes.items():
                if name in needs:
                    sums[name] = _over_rest(xp, own, rest_slope * slope)
        if "bias" in fields and not _per_class(row.bias):
            sums["bias"] = _over_rest(xp, own, rest_slope)
        slopes = xp.where(own, own_slope * phi_slope, slopes)
        if visit.mix is not None:
            if "scale" in fields:  # which meets the class's cosine, not what its slopes add up to
                sums["along"] = xp.sum(slopes * (visit.cos - xp.sum(visit.mix * visit.cosines, axis=1)), axis=0)
            slopes = xp.reshape(slopes[:, None, :] * visit.mix, (visit.unit.shape[0], slopes.shape[1]))
        if "embeddings" in needs or "scale" in fields:
            sums["points"] = slopes.T @ visit.prototypes
        d_weights = d_bias = None
        if "weights" in needs:
            d_weights = slopes @ weighted
            if row.normalize_weights:
                d_weights = unit_rows_pullback(xp, visit.unit, visit.inverse, d_weights)
            elif row.target is not unchanged:
                lengthening = g * along * row.scale * batch.embedding_length
                d_weights = d_weights + visit.unit * (xp.astype(own, g.dtype) @ lengthening)[:, None]
            d_weights = xp.reshape(d_weights, weights.shape)
        if "bias" in fields and _per_class(row.bias):
            d_bias = xp.where(own, own_slope, rest_slope) @ g
        return sums, (d_weights, d_bias)

    sums, (d_weights, d_bias) = backend.sweep(pull, _add, _swept(row, inputs), backend.tile_width(labels.shape[0]))
    gradients = {"weights": d_weights}
    along = along * batch.weight_length + sums.get("along", 0.0)
    if "embeddings" in needs:
        d_embeddings = sums["points"] * (g * row.scale)[:, None]
        if row.normalize_embeddings:
            gradients["embeddings"] = unit_rows_pullback(xp, batch.unit, batch.inverse, d_embeddings)
        else:
            gradients["embeddings"] = d_embeddings + batch.unit * (g * along * row.scale)[:, None]
        lengthening = _by_length(xp, row, batch, own_slope)
        if lengthening is not None:
            gradients["embeddings"] = gradients["embeddings"] + batch.unit * (g * lengthening)[:, None]
    by_field = {}
    if "scale" in fields:
        by_field["scale"] = g * (xp.sum(batch.points * sums["points"], axis=-1) + along * batch.embedding_length)
    if "bias" in fields:
        by_field["bias"] = d_bias if _per_class(row.bias) else g * (own_slope + sums["bias"])
    for name, (field_name, slope) in row.names.items():
        if field_name in by_field:
            gradients[name] = by_field[field_name] * slope
    reach = g * row.scale * batch.embedding_length
    for name in needs - gradients.keys():
        gradients[name] = reach * (own_slope * batch.weight_length * batch.target.option_slopes.get(name, 0.0)
                                   + sums.get(name, 0.0))
    return {name: gradients[name] for name in needs}


def _by_length(xp: Any, row: Row, batch: _Batch, own_slope: Array) -> Array | None:
    """∂ℓ/∂|x| beyond that of a free length: through φ, and through the regulariser."""
    slope = None
    if batch.target.length_slope is not None:
        slope = own_slope * row.scale * batch.target.length_slope
    if row.regularizer is not None:
        regularizer_slope = row.regularizer(xp, batch.length)[1]
        slope = regularizer_slope if slope is None else slope + regularizer_slope
    return slope


def _swept(row: Row, inputs: dict[str, Array]) -> tuple[Array, Array | None]:
    return inputs["weights"], row.bias if _per_class(row.bias) else None


def _per_class(bias: Any) -> bool:
    return getattr(bias, "ndim", 0) == 1


def _over_rest(xp: Any, own: Array, terms: Array) -> Array:
    return xp.sum(xp.where(own, 0.0, terms), axis=0)


def _add(a: dict[str, Array], b: dict[str, Array]) -> dict[str, Array]:
    return {name: a[name] + b[name] for name in a}
