"""Engine 1: losses that compare embeddings with one prototype per class, a tile of classes at a time.

    z_ij = scale · |x_i| · |w_j| · F_ij + b_j,    F_iy = φ(cos θ_iy),    F_ij = η(cos θ_ij) for the other classes,

where |x_i| or |w_j| is 1 if the row normalises it. A loss is one `Row` of this scheme; its value and its gradient
are written here, once. Tiles have shape (T, B): a slice of the weights is contiguous, and B is the short side. They
hold the other classes; what concerns the label's class has size B.
"""

from dataclasses import dataclass
from typing import Any

from anglos.arrays.backend import Backend
from anglos.arrays.scratch import Scratch
from anglos.engines.numerics import Array, add_sums, unit_rows_pullback
from anglos.engines.prototypes.batch import batch_of, class_bias, directions_of, in_type, label_joins, length_of
from anglos.engines.prototypes.directions import prototypes_of, prototypes_pullback
from anglos.engines.prototypes.row import Row, by_length, by_option, unchanged
from anglos.engines.prototypes.saved import saved_of
from anglos.engines.prototypes.step import (
    batch_again,
    keeps_product,
    kept_and_width,
    pilots_of,
    statistic_of,
    visit_tile,
)

SAMPLES_ARE_INDEPENDENT = True
INPUTS_BY_ROLE = True

_ABOVE = 20.0
"""How far above the pilots' largest logit the shift is: sums may be e^±43 in float32, and the rest is rather above."""


@dataclass
class Step:
    """What both passes start from."""

    backend: Backend
    row: Row
    inputs: dict[str, Array]
    keep_bytes: int
    gradient_products: str
    memo: dict[str, Any]

    def remembered(self) -> dict[str, Any]:
        """What has the size of the batch."""
        memo = {name: one for name, one in self.memo.items() if name in ("batch", "inverses")}
        # An input itself is kept by its owner alone, who may keep a copy, or see changes.
        if any(part is array for part in memo.get("batch", ((),))[0] for array in self.inputs.values()):
            del memo["batch"]
        return memo


def prepare(backend: Backend, row: Row, inputs: dict[str, Array], *, keep_bytes: int = 0,
            gradient_products: str = "full", saved: Any = None, chosen: Any = None, remembered: Any = None) -> Step:
    """The step that both passes start from."""
    memo = {} if remembered is None else dict(remembered)
    if chosen is not None:
        memo["chosen"] = chosen
    return Step(backend, row, inputs, keep_bytes, gradient_products, memo)


def unpack(row: Row, arrays: tuple[Array, ...]) -> Any:
    return arrays


def forward(step: Step) -> tuple[Array, tuple[Array, ...]]:
    """The loss of every embedding, (B,), and what the gradient can use again: (C, B) too, up to so many bytes."""
    backend, row, inputs, memo = step.backend, step.row, step.inputs, step.memo
    xp, labels, weights, reduction = backend.xp, inputs["labels"], inputs["weights"], row.reduction
    inputs = in_type(backend, inputs)
    dtype = inputs["embeddings"].dtype
    keep, width = kept_and_width(backend, inputs, step.keep_bytes)
    several, exponentials = weights.shape[0] > width, hasattr(reduction, "row_factor")
    scratch = Scratch(backend, several)
    prototypes = None if several else prototypes_of(backend, row, weights, dtype, labels.shape[0], scratch)
    directions = directions_of(backend, inputs, prototypes)
    before = saved_of(row, memo["chosen"]) if "chosen" in memo else None
    if before is not None:
        directions = directions._replace(cosines=backend.same_number(before.directions.cosines, directions.cosines))
    length = length_of(backend, row, inputs, directions)
    if before is not None and length is not None:
        length = backend.same_number(before.length, length)
    batch = batch_of(backend, row, inputs, directions, length)
    statistic = (statistic_of(backend, row, batch, directions.unit, inputs, prototypes) if before is None
                 else before.statistic)
    memo["batch"], memo["prototypes"] = (batch, width), prototypes
    one_shift = several and exponentials and row.gate is None and backend.readable(batch.logit)
    wants_one_shift = several and exponentials and not keeps_product(row)  # to keep exponentials of several tiles
    keep = keep and (one_shift or not wants_one_shift)
    room = backend.scratch(batch.points, *weights.shape[:-1], labels.shape[0]) if keep else None
    if several and room is not None:
        memo["inverses"] = {}
    # Nobody changes what an only tile has kept, but for curves, and for a factor that is still to be multiplied by.
    once = prototypes is not None and prototypes.factor is None and room is not None and not keeps_product(row)

    # The products by which choices were made.
    decided = before.kept if before is not None and (keeps_product(row) or not exponentials) else None
    memo["decided"] = decided

    def gathered(labels: Array, arrays: Any, width: int, scratch: Scratch, inverses: Any = None, **shift: Array) -> Any:
        def gather(first: Any, weights: Array, bias: Array | None, room: Array | None) -> tuple[Any, tuple[()]]:
            visit = visit_tile(backend, row, batch, directions.unit, statistic, labels, first, weights, bias, scratch,
                               room if decided is None else None, None if decided is None else room,
                               prototypes=prototypes, inverses=inverses, again=decided is not None and room is not None)
            if once:
                memo["visit"] = visit
            return reduction.gather(backend, visit.tile, batch.logit, **shift), ()

        return backend.sweep(gather, lambda a, b: reduction.combine(xp, a, b), arrays, width)[0]

    products = room if decided is None else decided
    every = labels, (weights, class_bias(row), products), width, scratch, memo.get("inverses")
    rest = None
    if one_shift:
        # One shift for all tiles, and no running maximum: right unless a sum leaves the range of the type.
        of_pilots, (pilots, bias) = pilots_of(xp, row, labels, weights)
        width_of_pilots = -(-pilots.shape[0] // backend.tiles_at_once)
        near = gathered(of_pilots, (pilots, bias, None), width_of_pilots, Scratch(backend, several=False))
        rest = gathered(*every, shift=backend.stop_gradient(near.shift) + _ABOVE)
        if not backend.in_range(rest.total):
            rest = None
    if rest is None:
        rest, room = gathered(*every), None if wants_one_shift else room
    loss, residuals = reduction.value(backend, rest, batch.logit, weights.shape[0])
    if before is not None and not exponentials:
        residuals = tuple(map(backend.same_number, before.of_reduction, residuals))
    if row.regularizer is not None:
        loss = loss + row.regularizer(xp, batch.length).value
    if row.gate is not None:
        plain = row.scale * batch.embedding_length * batch.weight_length * batch.cos
        passed = row.gate(xp, rest.shift, batch.logit, plain) if before is None else before.passed
        loss, residuals = xp.where(passed, loss, backend.stop_gradient(loss)), (*residuals, passed)
    return loss, (*directions, *(one for one in (length, statistic) if one is not None), *residuals,
                  *(() if room is None else (room,)))


def backward(step: Step, residuals: Any, g: Array, needs: frozenset[str]) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i) for every input named in `needs`.

    With G_ij = ∂ℓ_i/∂z_ij and K_ij = G_ij F′_ij, and p, w for embeddings and weights, each of length 1 or free:
    ∂p_i = g_i · scale · Σ_j K_ij w_j and ∂w_j = scale · Σ_i g_i K_ij p_i. A normalised vector takes that through
    its normalisation. A free one gets in addition its own direction times Σ G_ij · scale · (F − F′ cos θ) · the
    other's length: what the length changes beyond the cosine, 0 where F is the cosine.
    """
    backend, row, inputs, memo = step.backend, step.row, step.inputs, step.memo
    xp, labels, reduction, classes = backend.xp, inputs["labels"], row.reduction, inputs["weights"].shape[0]
    directions, length, statistic, residuals, passed, kept = saved_of(row, residuals)
    decided = memo.get("decided")
    kept = kept if decided is None else decided
    batch, width = memo.get("batch") or batch_again(backend, row, inputs, directions, length, step.keep_bytes)
    if passed is not None:
        g = xp.where(passed, g, 0.0)
    terms_are_kept = kept is not None and hasattr(reduction, "row_factor") and not keeps_product(row)
    slope_of = reduction.kept_slope if terms_are_kept else reduction.rest_slope
    label_slope = reduction.label_slope(backend, residuals, classes)
    row_factor = reduction.row_factor(xp, residuals, label_slope) if terms_are_kept else None
    reach, fields = g * row.scale, {field for name in needs & row.names.keys() for field, _ in row.names[name]}
    # Where there is a row factor no cosines are kept: of the sums below it meets those of points and bias alone.
    reach_rest = reach if row_factor is None else reach * row_factor
    g_rest = g * row_factor if row_factor is not None and "bias" in fields else g
    scratch = Scratch(backend, classes > width)
    product = backend.bfloat16_product if step.gradient_products == "bfloat16" else backend.product
    # The label's slope among the others' saves calls, but where its weight has a gradient along itself as well.
    inside = classes <= width and label_joins(backend, inputs) and (
        row.normalize_weights or row.target is unchanged)

    label_pull = label_slope * batch.target.slope
    label_along: Any = 0.0
    lengths_matter = "scale" in fields or not (row.normalize_embeddings and row.normalize_weights)
    if lengths_matter and row.target is not unchanged:
        label_along = label_slope * (batch.target.value - batch.target.slope * batch.cos)
    if batch.mix is not None and lengths_matter:
        label_along = label_along + label_pull * (batch.cos - xp.sum(batch.mix * directions.cosines, axis=-1))
    label_pull = label_pull * reach
    if batch.mix is not None and not inside:
        label_pull = label_pull[:, None] * batch.mix
    weighted = batch.points if inside else batch.points * reach_rest[:, None]
    d_label = None
    if "weights" in needs and not inside:
        points = batch.points if batch.mix is None else batch.points[:, None, :]
        d_label = label_pull[..., None] * points
        if row.normalize_weights:
            d_label = unit_rows_pullback(backend, directions.label_unit, directions.label_inverse, d_label)
        elif row.target is not unchanged:
            d_label = d_label + directions.label_unit * (reach * label_along * batch.embedding_length)[:, None]

    def pull(first: Any, weights: Array, bias: Array | None, kept: Array | None, room: Array | None
             ) -> tuple[dict[str, Array], tuple[Any, Any]]:
        visit = memo.get("visit") or visit_tile(
            backend, row, batch, directions.unit, statistic, labels, first, weights, bias, scratch, kept=kept,
            prototypes=memo.get("prototypes"), inverses=memo.get("inverses"), again=decided is not None)
        slopes = slope_of(backend, residuals, visit.tile, classes)
        d_bias = None
        if "bias" in fields and class_bias(row) is not None:
            d_bias = backend.add_at_labels(labels, first, slopes @ g_rest, g * label_slope)
        sums = {"bias": xp.sum(slopes, axis=0)} if "bias" in fields and d_bias is None else {}
        for name in needs & visit.option_slopes.keys():
            sums[f"by {name}"] = xp.sum(slopes * visit.option_slopes[name], axis=0)
        if visit.rest is not None:
            rest_slope, slopes = slopes, slopes * visit.rest.slope
            if "scale" in fields or not row.normalize_embeddings:
                sums["along"] = xp.sum(rest_slope * visit.rest.value - slopes * visit.cos, axis=0)
        if visit.mix is not None and "scale" in fields:  # which meets the class's cosine, not what its slopes add up to
            sums["along"] = xp.sum(slopes * (visit.cos - xp.sum(visit.mix * visit.cosines, axis=1)), axis=0)
        if inside:
            slopes = backend.multiply(slopes, reach_rest, out=None if terms_are_kept else slopes)
            slopes = visit.tile.with_label(slopes, label_pull)
        if visit.mix is not None:
            slopes = xp.reshape(slopes[:, None, :] * visit.mix, (visit.prototypes.points.shape[0], labels.shape[0]))
        points, _, factor = visit.prototypes
        if factor is not None:
            slopes = backend.multiply(slopes, factor, out=visit.tile.spare if terms_are_kept else slopes)
        if "embeddings" in needs or "scale" in fields:
            sums["points"] = product(slopes.T, points)
        d_weights = None
        if "weights" in needs:
            d_unit = product(slopes, weighted, out=room)
            d_weights = prototypes_pullback(backend, row, visit.prototypes, d_unit, scratch)
            d_weights = xp.reshape(d_weights, weights.shape)
            d_weights = d_weights if d_label is None else backend.add_at_labels(labels, first, d_weights, d_label)
            d_weights = None if room is not None else xp.astype(d_weights, weights.dtype, copy=False)
        return sums, (d_weights, d_bias)

    room = None
    if "weights" in needs and inputs["weights"].ndim == 2 and inputs["weights"].dtype == weighted.dtype:
        room = backend.scratch(weighted, *inputs["weights"].shape)
    sums, (d_weights, d_bias) = backend.sweep(pull, add_sums, (inputs["weights"], class_bias(row), kept, room), width)

    gradients = {} if "weights" not in needs else {"weights": d_weights if room is None else room}
    stretch = label_along * batch.weight_length + sums.get("along", 0.0)
    d_points = sums.get("points")
    if d_points is not None and not inside:
        by_label = label_pull[..., None] * batch.label_points
        d_points = d_points * reach_rest[:, None] + (by_label if batch.mix is None else xp.sum(by_label, axis=1))
    by_field = {}
    if fields - {"scale", "bias"}:
        by_field = {field: g * slope for field, slope in reduction.field_slopes(backend, residuals).items()}
    if "scale" in fields:  # which is a normal number of its type
        by_field["scale"] = backend.dot(batch.points, d_points) / row.scale + g * stretch * batch.embedding_length
    if "bias" in fields:
        by_field["bias"] = g * label_slope + g_rest * sums["bias"] if d_bias is None else d_bias
    if "embeddings" in needs:
        if row.normalize_embeddings:
            d_embeddings = unit_rows_pullback(backend, directions.unit, directions.inverse, d_points)
        else:
            d_embeddings = d_points + directions.unit * (reach * stretch)[:, None]
        lengthening = by_length(xp, row, batch, label_slope)
        if lengthening is not None:
            d_embeddings = d_embeddings + directions.unit * (g * lengthening)[:, None]
        gradients["embeddings"] = d_embeddings
    for name in needs - gradients.keys():
        gradients[name] = by_option(xp, row, batch, name, g, label_slope, sums.get(f"by {name}"), by_field)
    return gradients


def count(residuals: Any) -> None:
    """How many terms there are in each row's loss: one."""
