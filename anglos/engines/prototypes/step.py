"""What both passes start from: a batch against all classes, and its logits a tile of classes at a time."""

import math
from collections.abc import Mapping
from copy import copy
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.scratch import Scratch, store
from anglos.engines.numerics import Array
from anglos.engines.prototypes.batch import Batch, batch_of, class_bias, directions_of, in_type, length_of
from anglos.engines.prototypes.directions import Prototypes, products, unit_prototypes
from anglos.engines.prototypes.row import NO_OPTIONS, Curve, Row, curve_of
from anglos.engines.prototypes.saved import Saved
from anglos.engines.tile import Tile, tile_of

_PILOTS = 256
"""So many classes tell how large all logits are."""


class ClassTile(NamedTuple):
    """T classes against the batch: their prototypes, and their logits as a tile, with all that led to them."""

    prototypes: Prototypes
    tile: Tile
    cos: Array | None = None
    """Cosines of the classes, (T, B), where η starts from them."""
    rest: Curve | None = None
    """η of these."""
    cosines: Array | None = None
    """Of several prototypes per class: their cosines, (T, K, B)."""
    mix: Array | None = None
    """∂cos / ∂cosines."""
    option_slopes: Mapping[str, Any] = NO_OPTIONS
    """Of η, or of the merge where there is no η."""


class Remembered(NamedTuple):
    """What has the size of the batch, or of the classes alone, for a framework that cannot hand on the whole step."""

    batch: Batch | None
    inverses: dict[int, Array] | None


class Step:
    """One batch against all classes."""

    def __init__(self, backend: Backend, row: Row, inputs: dict[str, Array], keep_bytes: int, gradient_products: str
                 ) -> None:
        self.backend, self.row, self.inputs, self.gradient_products = backend, row, inputs, gradient_products
        self.labels, self.weights, self.bias = inputs["labels"], inputs["weights"], class_bias(row)
        self.in_type = in_type(backend, inputs)
        self.dtype = self.in_type["embeddings"].dtype
        (self.classes, *several, dimension), self.samples = self.weights.shape, self.labels.shape[0]
        each = math.prod(several)
        if self.samples is None:  # any number, in a graph
            self.may_keep, self.width = False, self.classes
        else:
            bits = each * self.classes * self.samples * backend.xp.finfo(self.dtype).bits
            self.may_keep = bits <= 8 * keep_bytes
            """Whether one number per sample and prototype may be kept."""
            self.width = backend.class_tile_width(self.in_type["embeddings"], self.samples * each, dimension * each,
                                                  self.classes, self.may_keep)
        self.several = self.classes > self.width
        self.scratch = Scratch(backend, self.several)
        self.only: Prototypes | None = None
        """Of all classes, where one tile holds them."""
        self.inverses: dict[int, Array] | None = None
        """1 / |w| of tiles that were seen before, by their first class; None if they are not needed again."""
        self.chosen: Saved | None = None
        """What the forward pass chose, where all is computed again for its derivatives."""

    def start(self, chosen: Saved | None) -> None:
        """Begin the forward pass; or begin it again for its derivatives, with what was chosen."""
        backend, row, self.chosen = self.backend, self.row, chosen
        if not self.several:
            self.only = self.prototypes_of(0, self.weights)
        directions = directions_of(backend, self.in_type, self.only)
        if chosen is not None:
            directions = directions._replace(
                cosines=backend.same_number(chosen.directions.cosines, directions.cosines))
        length = length_of(backend, row, self.in_type, directions)
        if chosen is not None and length is not None:
            length = backend.same_number(chosen.length, length)
        self.directions, self.batch = directions, batch_of(backend, row, self.in_type, directions, length)
        self.statistic = None if chosen is None else chosen.statistic

    def resume(self, saved: Saved, remembered: Remembered | None) -> None:
        """Begin the backward pass, with what the forward pass saved."""
        batch, self.inverses = remembered or (None, None)
        self.directions, self.statistic = saved.directions, saved.statistic
        self.batch = batch or batch_of(self.backend, self.row, self.in_type, saved.directions, saved.length)

    def remembered(self) -> Remembered:
        """Without what is an input itself: its owner keeps that, or a copy, and may see that it was changed."""
        holds_input = any(part is array for part in self.batch for array in self.inputs.values())
        return Remembered(None if holds_input else self.batch, self.inverses)

    @property
    def chosen_products(self) -> Array | None:
        """Cosines or logits by which choices were made; exponentials choose nothing."""
        decide = self.row.starts_from_cosines or not self.row.reduction.of_exponentials
        return self.chosen.kept if self.chosen is not None and decide else None

    def prototypes_of(self, first: Any, weights: Array) -> Prototypes:
        """Those of a tile, one a row, in the type of the arithmetic."""
        if self.only is not None:
            return self.only
        xp = self.backend.xp
        w = xp.astype(weights, self.dtype, copy=False)
        w = w if w.ndim == 2 else xp.reshape(w, (-1, w.shape[-1]))
        if not self.row.normalize_weights:
            return Prototypes(w)
        return unit_prototypes(self.backend, w, self.samples, self.scratch, first, self.inverses)

    def tile(self, first: Any, weights: Array, bias: Array | None, kept: Array | None = None, out: Array | None = None
             ) -> ClassTile:
        """The classes from the first on. Their products were kept, or are computed, and kept in `out`."""
        backend, row, batch = self.backend, self.row, self.batch
        prototypes, of_cosines = self.prototypes_of(first, weights), row.starts_from_cosines
        shape = prototypes.points.shape[0], self.samples
        kept, out = (one if one is None else backend.xp.reshape(one, shape) for one in (kept, out))
        again = kept is not None and self.chosen_products is not None
        scratch = out
        if scratch is None and (kept is None or again or not of_cosines):
            scratch = self.scratch.take("product", prototypes.points, *shape)
        if kept is None or again:
            scale, others = (1.0, self.directions.unit) if of_cosines else (row.scale, batch.points)
            made = products(backend, prototypes, others, scale, scratch)
            if not of_cosines:
                made = scratch = self._with_bias(made, bias)
            kept = backend.same_number(kept, made) if again else store(out, made)
        if of_cosines:
            return self._curved(first, weights, bias, prototypes, kept)
        return ClassTile(prototypes, self._tile(first, kept, scratch, out))

    def _curved(self, first: Any, weights: Array, bias: Array | None, prototypes: Prototypes, cos: Any) -> ClassTile:
        """Z = s |x| η(cos θ) + b of a tile, where cos θ may be what merges the cosines of several prototypes."""
        backend, row, cosines, mix, rest = self.backend, self.row, None, None, None
        option_slopes = NO_OPTIONS
        if row.merge is not None:
            cosines = backend.xp.reshape(cos, (*weights.shape[:2], cos.shape[1]))
            cos, mix, option_slopes, _ = row.merge(backend, cosines)
        value = cos
        if row.rest is not None:
            cos = backend.clip(cos, -1.0, 1.0)
            statistic = self.statistic if row.nearest is None else backend.are_among(self.statistic, first, cos)
            rest = curve_of(backend, row, row.rest, cos, statistic)
            value, option_slopes = rest.value, rest.option_slopes
        logits = self._with_bias(row.scale * self.batch.embedding_length * value, bias)
        return ClassTile(prototypes, self._tile(first, logits, logits), cos, rest, cosines, mix, option_slopes)

    def _tile(self, first: Any, logits: Array, scratch: Array | None, kept: Array | None = None) -> Tile:
        return tile_of(self.backend, logits, self.labels, first, whole=self.only is not None, scratch=scratch,
                       kept=kept)

    def _with_bias(self, logits: Array, bias: Array | None) -> Array:
        if self.row.bias is None:
            return logits
        return self.backend.add(logits, self.row.bias if bias is None else bias[:, None], out=logits)

    def of_pilots(self) -> "Step":
        """The same batch against a few of the classes, with its labels among them, −1 for one that is not."""
        xp, stride, step = self.backend.xp, max(1, self.classes // _PILOTS), copy(self)
        step.labels = xp.where(self.labels % stride == 0, self.labels // stride, -1)
        step.weights, step.bias = self.weights[::stride, ...], None if self.bias is None else self.bias[::stride]
        step.classes, step.inverses, step.chosen = step.weights.shape[0], None, None
        step.width = -(-step.classes // self.backend.tiles_at_once)
        step.scratch = Scratch(self.backend, several=False)
        return step
