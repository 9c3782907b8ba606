"""What both passes start from: a batch against all classes, and its logits a tile of classes at a time."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from anglos.arrays.backend import Backend
from anglos.arrays.library import store
from anglos.arrays.scratch import Scratch
from anglos.arrays.tile import Product, Tile
from anglos.engines.exponentials import largest_factor
from anglos.engines.numerics import Array, float_type
from anglos.engines.prototypes.batch import Directions, batch_of, class_bias, directions_of, in_type, length_of
from anglos.engines.prototypes.class_tile import ClassTile
from anglos.engines.prototypes.directions import Prototypes, of_kept_terms, unit_prototypes
from anglos.engines.prototypes.row import NO_OPTIONS, Curve, Row, curve_of
from anglos.engines.prototypes.saved import Remembered, Saved
from anglos.engines.weighted import with_weights


class Step:
    """One batch against all classes."""

    scaled: tuple[Array, Array] | None = None
    """Embeddings that are multiplied as they are, with 1 / |x|, (B, 1)."""

    def __init__(self, backend: Backend, row: Row, inputs: dict[str, Array], keep_bytes: int, gradient_products: str
                 ) -> None:
        self.backend, self.inputs = backend, inputs
        self.labels, self.weights, self.bias = inputs["labels"], inputs["weights"], class_bias(row)
        self.dtype = float_type(backend.xp, embeddings := inputs["embeddings"], self.weights)
        self.classes, most_classes = backend.classes(self.weights), backend.most_classes(self.weights)
        reduction, self.label_weight = with_weights(
            backend, row.reduction, inputs.get("class_weight"), self.labels, self.dtype, self.classes)
        self.factor = None if reduction.smooths else self.label_weight
        """Of the loss of every sample, (B,); None for 1."""
        self.row = row if reduction is row.reduction else row._replace(reduction=reduction)
        self.as_is = backend.multiplies_as_is(inputs["embeddings"], self.weights)
        """Whether embeddings and weights are multiplied as they are, and their lengths multiply the sums."""
        self.rounds_slopes = self.as_is or gradient_products == "bfloat16"
        self.slope_product = self._slope_product(gradient_products) if self.rounds_slopes else backend.product
        """A matrix product of the gradient."""
        self.of_slopes = row.of_slopes
        self.of_cosines = row.starts_from_cosines and not self.of_slopes
        self.of_directions = row.normalize_embeddings or self.of_cosines
        """Whether prototypes are compared with nothing but the directions of embeddings."""
        like = backend.empty_like(embeddings, self.dtype)
        self.terms_like = backend.rounded_like(like) if self.of_slopes and self.rounds_slopes else like
        self.samples = self.labels.shape[0]
        self.may_keep, self.width = self._room(like, most_classes, keep_bytes)
        self.several = most_classes > self.width
        self.most = math.inf if backend.readable(self.weights) else largest_factor(row.bound)
        """By which kept exponentials can be multiplied."""
        self.scratch = Scratch(backend, self.several)
        self.only: Prototypes | None = None
        """Of all classes, where one tile holds them."""
        self.inverses: dict[int, Array] | None = None
        """1 / |w| of tiles that were seen before, by their first class; None if none are kept."""
        self.chosen: Saved | None = None
        """What the forward pass chose, where all is computed again for its derivatives."""
        self.chosen_products: Array | None = None
        """The cosines or logits by which it chose; a smooth reduction chooses nothing."""
        self.kept_shift: Array | None = None
        """Of the exponentials that are kept."""

    def _room(self, like: Array, most_classes: int, keep_bytes: int) -> tuple[bool, int]:
        """Whether one number per sample and prototype may be kept; and how many classes are in a tile."""
        (_, *several, dimension), backend = self.weights.shape, self.backend
        if self.samples is None:  # any number, in a graph
            return False, most_classes
        each = math.prod(several)
        bits = each * most_classes * self.samples * backend.xp.finfo(self.terms_like.dtype).bits
        may_keep = bits <= 8 * keep_bytes
        width = backend.class_tile_width(like, self.samples * each, dimension * each, most_classes, may_keep)
        return may_keep, width

    def inputs_in_type(self) -> dict[str, Array]:
        """The inputs with the embeddings in the type of the arithmetic, unless only their directions are asked for."""
        if self.as_is and not self.row.asks_for_length:
            return self.inputs
        return in_type(self.backend, self.inputs, self.dtype)

    def start(self, chosen: Saved | None) -> None:
        """Begin the forward pass; or begin it again for its derivatives, with what was chosen."""
        backend, row, self.chosen = self.backend, self.row, chosen
        if chosen is None and backend.changes_arrays():
            self.inverses = {}
        if not self.several:
            self.only = self.prototypes_of(0, self.weights)
        inputs = self.inputs_in_type()
        directions = directions_of(backend, inputs, self.only)
        if chosen is not None:
            directions = directions._replace(
                cosines=backend.same_number(chosen.directions.cosines, directions.cosines))
        length = length_of(backend, row, inputs, directions)
        if chosen is not None and length is not None:
            length = backend.same_number(chosen.length, length)
        if self.as_is and self.of_directions:
            self.scaled = self._scaled_rows(directions)
        self.directions, self.batch = directions, batch_of(backend, row, inputs, directions, length)
        self.statistic = None if chosen is None else chosen.statistic
        if chosen is not None and (self.of_cosines or not row.reduction.keeps_slopes):
            self.chosen_products = chosen.kept

    def resume(self, saved: Saved, remembered: Remembered | None) -> None:
        """Begin the backward pass, with what the forward pass saved."""
        batch, self.inverses = remembered or (None, None)
        self.directions, self.statistic = saved.directions, saved.statistic
        if saved.kept is None and self.as_is and self.of_directions:
            self.scaled = self._scaled_rows(saved.directions)
        self.batch = batch or batch_of(
            self.backend, self.row, self.inputs_in_type(), saved.directions, saved.length)

    def _scaled_rows(self, directions: Directions) -> tuple[Array, Array]:
        """Embeddings that are multiplied as they are, and must stay in range."""
        return self.backend.scaled_rows(self.inputs["embeddings"], directions.inverse)

    def regularizer(self) -> Curve:
        """R of |x|, with ω_y, which is not in the factor of smoothed labels."""
        of_length: Any = self.row.regularizer
        curve: Curve = of_length(self.backend.xp, self.batch.length)
        weight = None if self.label_weight is self.factor else self.label_weight
        return curve if weight is None else Curve(
            curve.value * weight, curve.slope * weight,
            {name: slope * weight for name, slope in curve.option_slopes.items()})

    def remembered(self) -> Remembered:
        """Without what is an input itself: its owner keeps that, or a copy, and may see that it was changed."""
        holds_input = any(part is array for part in self.batch for array in self.inputs.values())
        return Remembered(None if holds_input else self.batch, self.inverses)

    def prototypes_of(self, first: Any, weights: Array) -> Prototypes:
        """Those of a tile, one a row, in the type of the arithmetic."""
        if self.only is not None:
            return self.only
        xp = self.backend.xp
        w = weights if self.as_is else xp.astype(weights, self.dtype, copy=False)
        w = w if w.ndim == 2 else xp.reshape(w, (-1, w.shape[-1]))
        if not self.row.normalize_weights:
            return Prototypes(w)
        return unit_prototypes(self.backend, w, self.samples, self.scratch, first, self.inverses)

    def tile(self, first: Any, weights: Array, bias: Array | None, kept: Array | None = None, out: Array | None = None
             ) -> ClassTile:
        """The classes from the first on. Their products were kept, or are computed, and kept in `out`."""
        backend, prototypes = self.backend, self.prototypes_of(first, weights)
        shape = prototypes.points.shape[0], self.samples
        kept = kept if kept is None or kept.ndim == 2 else backend.xp.reshape(kept, shape)
        out = out if out is None or out.ndim == 2 else backend.xp.reshape(out, shape)
        again = kept is not None and self.chosen_products is not None
        computes = out is not None and out.dtype == self.dtype
        scratch = out if computes else self.scratch.take("product", self.directions.unit, *shape)
        if self.of_cosines:
            if kept is None or again:
                tile = self._tile(first, None, scratch, product=self.product(first, prototypes))
                cos = backend.logits(tile)
                kept = backend.same_number(kept, cos) if again else store(out, cos)
            return self._curved(first, weights, bias, prototypes, kept)
        if kept is not None and not again:
            prototypes = prototypes if self.most == math.inf else of_kept_terms(self, prototypes)
            return ClassTile(prototypes, self._tile(first, kept, scratch))
        product = self.product(
            first, prototypes, self.row.scale, self.row.bias if bias is None else bias[:, None], self.most)
        tile = self._tile(first, None, scratch, out, product)
        if self.of_slopes:
            return ClassTile(prototypes, tile)
        logits = backend.logits(tile)
        logits = backend.same_number(kept, logits) if again else store(out, logits)
        return ClassTile(prototypes, self._tile(first, logits, logits, out))

    def product(self, first: Any, prototypes: Prototypes, scale: Any = 1.0, bias: Any = None, most: float = math.inf
                ) -> Product:
        """What the loss compares, multiplied by the prototypes; cosines where curves start from these."""
        points, factor = self.directions.unit, None
        if not self.of_directions:
            points = self.inputs["embeddings"] if self.as_is else self.batch.points
        elif self.as_is:
            points, inverse = self.scaled or self._scaled_rows(self.directions)
            factor = inverse[:, 0]
        return Product(prototypes.points, points, scale, factor, prototypes.factor, bias, self.labels, first, most,
                       map=self.row.map(self.statistic) if self.of_slopes and self.row.rest is not None else None)

    def _slope_product(self, gradient_products: str) -> Callable[..., Array]:
        """One that may round its operands."""
        if gradient_products == "bfloat16":
            return self.backend.bfloat16_product
        return partial(self.backend.slope_product, dtype=self.weights.dtype)

    def _curved(self, first: Any, weights: Array, bias: Array | None, prototypes: Prototypes, cos: Any) -> ClassTile:
        """The logits z = s |x| η(cos θ) + b of a tile; cos θ may be what merges the cosines of several prototypes."""
        backend, row, cosines, merged, rest = self.backend, self.row, None, None, None
        option_slopes = NO_OPTIONS
        if row.merge is not None:
            cosines = backend.xp.reshape(cos, (*weights.shape[:2], cos.shape[1]))
            merged = row.merge(backend, cosines)
            cos, option_slopes = merged.value, merged.option_slopes
        value = cos
        if row.rest is not None:
            cos = backend.clip(cos, -1.0, 1.0)
            statistic = self.statistic if row.nearest is None else backend.are_among(self.statistic, first, cos)
            rest = curve_of(backend, row, row.rest, cos, statistic, merged)
            value, option_slopes = rest.value, rest.option_slopes
        logits = row.scale * self.batch.embedding_length * value
        if row.bias is not None:
            logits = backend.add(logits, row.bias if bias is None else bias[:, None], out=logits)
        mix = None if merged is None else merged.slope
        return ClassTile(prototypes, self._tile(first, logits, logits), cos, rest, cosines, mix, option_slopes)

    def _tile(self, first: Any, logits: Array | None, scratch: Array | None, kept: Array | None = None,
              product: Product | None = None) -> Tile:
        return self.backend.tile_of(
            logits, self.labels, first, whole=not self.several, scratch=scratch, kept=kept, product=product)
