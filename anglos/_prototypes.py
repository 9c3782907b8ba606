"""Engine 1: losses that compare embeddings with one prototype per class, a tile of classes at a time.

    z_ij = scale · |x_i| · |w_j| · F_ij + b_j,    F_iy = φ(cos θ_iy),    F_ij = η(cos θ_ij) for the other classes,

where |x_i| or |w_j| is 1 if the row normalises it. A loss is one `Row` of this scheme; its value and its gradient
are written here, once. Tiles have shape (T, B): a slice of the weights is contiguous, and B is the short side.
"""

from typing import Any

from anglos._backend import add_sums
from anglos._numerics import Array, unit_rows_pullback
from anglos._row import Row, unchanged
from anglos._tiles import Batch, batch_of, per_class, statistic_of, swept, visit_tile

ROWS_ARE_INDEPENDENT = True


def forward(backend: Any, row: Row, inputs: dict[str, Array]) -> tuple[Array, Any]:
    """The loss of every embedding, (B,), and what the gradient can use again."""
    xp, labels, reduction = backend.xp, inputs["labels"], row.reduction
    batch = batch_of(backend, row, inputs)
    statistic = statistic_of(backend, row, batch, inputs)

    def gather(first: Any, weights: Array, bias: Array | None) -> tuple[Any, tuple[()]]:
        visit = visit_tile(backend, row, batch, statistic, labels, first, weights, bias)
        return reduction.gather(xp, visit.tile, batch.logit), ()

    gathered, _ = backend.sweep(gather, lambda a, b: reduction.combine(xp, a, b), swept(row, inputs),
                                backend.tile_width(labels.shape[0]))
    loss, residuals = reduction.value(xp, gathered, batch.logit, inputs["weights"].shape[0])
    if row.regularizer is not None:
        loss = loss + row.regularizer(xp, batch.length)[0]
    if row.gate is not None:
        plain = row.scale * batch.embedding_length * batch.weight_length * batch.cos
        passed = row.gate(xp, gathered.largest, batch.logit, plain)
        loss, residuals = xp.where(passed, loss, backend.stop_gradient(loss)), (*residuals, passed)
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
    batch = batch_of(backend, row, inputs)
    statistic = statistic_of(backend, row, batch, inputs)
    if row.gate is not None:
        *residuals, passed = residuals
        g = xp.where(passed, g, 0.0)
    phi_slope = batch.target.slope
    own_slope = reduction.own_slope(xp, residuals, classes)
    along = own_slope * (0.0 if row.target is unchanged else batch.target.value - phi_slope * batch.cos)
    weighted = batch.points * (g * row.scale)[:, None]
    fields = {row.names[name][0] for name in needs if name in row.names}

    def pull(first: Any, weights: Array, bias: Array | None) -> tuple[dict[str, Array], tuple[Any, Any]]:
        visit = visit_tile(backend, row, batch, statistic, labels, first, weights, bias)
        own = visit.tile.own
        rest_slope = reduction.rest_slope(xp, residuals, visit.tile, classes)
        slopes, sums = rest_slope, {}
        if visit.rest is not None:
            slopes = rest_slope * visit.rest.slope
            sums["along"] = _over_rest(xp, own, rest_slope * (visit.rest.value - visit.rest.slope * visit.cos))
            for name, slope in visit.rest.option_slopes.items():
                if name in needs:
                    sums[name] = _over_rest(xp, own, rest_slope * slope)
        if "bias" in fields and not per_class(row.bias):
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
        if "bias" in fields and per_class(row.bias):
            d_bias = xp.where(own, own_slope, rest_slope) @ g
        return sums, (d_weights, d_bias)

    sums, (d_weights, d_bias) = backend.sweep(pull, add_sums, swept(row, inputs), backend.tile_width(labels.shape[0]))
    gradients = {"weights": d_weights}
    stretch = along * batch.weight_length + sums.get("along", 0.0)
    if "embeddings" in needs:
        d_embeddings = sums["points"] * (g * row.scale)[:, None]
        if row.normalize_embeddings:
            gradients["embeddings"] = unit_rows_pullback(xp, batch.unit, batch.inverse, d_embeddings)
        else:
            gradients["embeddings"] = d_embeddings + batch.unit * (g * stretch * row.scale)[:, None]
        lengthening = _by_length(xp, row, batch, own_slope)
        if lengthening is not None:
            gradients["embeddings"] = gradients["embeddings"] + batch.unit * (g * lengthening)[:, None]
    by_field = {}
    if "scale" in fields:
        by_field["scale"] = g * (xp.sum(batch.points * sums["points"], axis=-1) + stretch * batch.embedding_length)
    if "bias" in fields:
        by_field["bias"] = d_bias if per_class(row.bias) else g * (own_slope + sums["bias"])
    for name, (field_name, slope) in row.names.items():
        if field_name in by_field:
            gradients[name] = by_field[field_name] * slope
    reach = g * row.scale * batch.embedding_length
    for name in needs - gradients.keys():
        gradients[name] = reach * (own_slope * batch.weight_length * batch.target.option_slopes.get(name, 0.0)
                                   + sums.get(name, 0.0))
    return {name: gradients[name] for name in needs}


def _by_length(xp: Any, row: Row, batch: Batch, own_slope: Array) -> Array | None:
    """∂ℓ/∂|x| beyond that of a free length: through φ, and through the regulariser."""
    slope = None
    if batch.target.length_slope is not None:
        slope = own_slope * row.scale * batch.target.length_slope
    if row.regularizer is not None:
        regularizer_slope = row.regularizer(xp, batch.length)[1]
        slope = regularizer_slope if slope is None else slope + regularizer_slope
    return slope


def _over_rest(xp: Any, own: Array, terms: Array) -> Array:
    return xp.sum(xp.where(own, 0.0, terms), axis=0)


def count(residuals: Any) -> None:
    """How many terms there are in each row's loss: one."""
