"""The exponentials of all classes but the label's, and sums of other terms, as `anglos.arrays.softmax` has them."""

import math
from typing import Any

import torch
from triton import cdiv

from anglos.arrays.tile import Map, Product, Tile

from . import blocks
from .in_place import terms_in_place
from .terms import terms_of_product


def rest_terms(tile: Tile, way: str, shift: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """A shift and Σ e^(z − shift), with the terms times u where they are kept.

    The largest logits are known when all are: terms by them take a second pass.
    """
    assert tile.product is not None
    terms = Terms(tile.product, way, tile.scratch)
    if shift is None:
        shift, total = combined(*terms.made(None, None))
        if tile.kept is None:
            return shift, total
    _, totals = terms.made(shift, tile.kept)
    return shift, totals.sum(dim=0)


def rest_shares(tile: Tile, way: str, total: torch.Tensor) -> torch.Tensor:
    """Shares e^(z − total), at most 1, times u."""
    product, out = tile.product, room_of_shares(tile, way)
    assert product is not None
    Terms(product, way, out).made(total, out, shares=True)
    return out


def rest_sums(tile: Tile, way: str, of: str) -> torch.Tensor:
    """Σ f(z), with the slopes times u where they are kept."""
    assert tile.product is not None
    _, totals = Terms(tile.product, way, tile.scratch, of).made(None, tile.kept)
    return totals.sum(dim=0)  # type: ignore[no-any-return]


def rest_slopes(tile: Tile, way: str, of: str, factor: Any) -> torch.Tensor:
    """Slopes f′(z) times u and the factor."""
    product, out = tile.product, room_of_shares(tile, way)
    assert product is not None
    if factor is not None and not isinstance(factor, torch.Tensor):
        factor = out.new_full((1,), factor, dtype=torch.float32)
    Terms(product, way, out, of, factor).made(None, out, shares=True)
    return out


def room_of_shares(tile: Tile, way: str) -> torch.Tensor:
    """Where they go: in bfloat16 where the gradient multiplies numbers of 16 bits."""
    scratch: torch.Tensor | None = tile.scratch
    if scratch is not None and way != blocks.HALF:
        return scratch
    assert tile.product is not None
    shape = len(tile.product.prototypes), len(tile.product.points)
    dtype = torch.bfloat16 if way == blocks.HALF else torch.float32
    return torch.empty(shape, dtype=dtype, device=tile.product.points.device)


def combined(largest: torch.Tensor, totals: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of strips of classes, (strips, B): the largest logit, and Σ e^(z − that)."""
    # At least the lowest finite number: of nothing but the label's class it must not give ∞ − ∞.
    shift = largest.amax(dim=0).clamp_(min=torch.finfo(largest.dtype).min)
    return shift, totals.mul_(largest.sub_(shift).exp_()).sum(dim=0)


class Terms:
    """A kernel, and what all of its launches for the same logits are given."""

    def __init__(self, z: Product, way: str, room: torch.Tensor | None, of: str = "exponential", factor: Any = None
                 ) -> None:
        self.points, prototypes = map(rows if way == blocks.IEEE else aligned, (z.points, z.prototypes))
        self.way, self.of = way, of
        self.classes, (self.samples, self.dimension) = len(prototypes), self.points.shape
        self.most = z.largest_factor
        self.given: dict[str, Any] = {
            "a_ptr": vector(z.sample_factor, self.samples), "u_ptr": vector(z.class_factor, self.classes),
            "scale_ptr": vector(z.scale, 1), "scale": number(z.scale), "b_ptr": vector(z.bias, self.classes),
            "b": number(z.bias), "labels_ptr": z.labels.contiguous(),
            "numbers_ptr": None if z.numbers is None else z.numbers.contiguous(), "first": z.first,
            "classes": self.classes, "samples": self.samples, "OF": of, "factor_ptr": vector(factor, self.samples),
            **self._of_map(z.map),
            **dict.fromkeys(("class_shift_ptr", "class_factor_ptr", "class_top_ptr", "class_total_ptr"))}
        self.kernel: Any = terms_of_product
        if way == blocks.IEEE:
            self.kernel = terms_in_place
            room = room if room is not None and room.dtype is self.points.dtype else None
            product = torch.mm(prototypes, self.points.T, out=room)
            self.given |= {"products_ptr": product, "products_stride": product.stride(0)}
        else:
            self.given |= {"w_ptr": prototypes, "w_stride": prototypes.stride(0), "x_ptr": self.points,
                           "x_stride": self.points.stride(0), "D": self.dimension,
                           "PRECISION": blocks.PRECISIONS[way]}

    def _of_map(self, of: Map | None) -> dict[str, Any]:
        """Its name and its two numbers."""
        p, q = (None, None) if of is None else of.numbers
        return {"MAP": None if of is None else of.name, "p_ptr": vector(p, self.samples), "p": number(p),
                "q_ptr": vector(q, self.samples), "q": number(q)}

    def made(self, shift: torch.Tensor | None, out: torch.Tensor | None, shares: bool = False, **of_classes: Any
             ) -> Any:
        """Terms e^(z − shift), times u to `out`, and their sums over strips, (strips, B), unless they are shares.

        Without a shift by the largest logit of a strip, (strips, B), which comes first.
        """
        running = shift is None and self.of in ("exponential", "both ways")
        block = self.block(running)
        shape = cdiv(self.classes, block.classes), self.samples
        largest, totals = (
            torch.empty(shape, dtype=torch.float32, device=self.points.device) if wanted else None
            for wanted in (running, not shares))
        sizes = {"DEPTH": block.depth} if self.way != blocks.IEEE else {}
        with torch.cuda.device_of(self.points):  # type: ignore[no-untyped-call]
            self.kernel[(shape[0] * cdiv(self.samples, block.samples),)](
                **self.given | of_classes, shift_ptr=None if shift is None else shift.contiguous(), top_ptr=largest,
                most=math.inf if shares else self.most,
                total_ptr=totals, out_ptr=out, out_stride=0 if out is None else out.stride(0), CLIP=shares,
                SAMPLES=block.samples, CLASSES=block.classes, **sizes, num_warps=block.warps,
                num_stages=block.stages, enable_fp_fusion=True)
        return largest, totals

    def block(self, running: bool) -> blocks.Block:
        """In which the kernel works."""
        mapped = self.given["MAP"] is not None
        if self.way == blocks.IEEE:
            return blocks.IN_PLACE_MAPPED if mapped else blocks.IN_PLACE
        capability = torch.cuda.get_device_capability(self.points.device)
        of = "mapped" if mapped else "running" if running and self.of == "exponential" else self.of
        return blocks.of_terms(capability, self.way, self.dimension, self.samples, of)


def rows(vectors: torch.Tensor) -> torch.Tensor:
    """The same, with the numbers of a vector next to each other."""
    return vectors if vectors.stride(1) == 1 else vectors.contiguous()


def aligned(vectors: torch.Tensor) -> torch.Tensor:
    """The same, each at a place that 16 divides: from others a kernel would read one number after the other."""
    if vectors.stride(1) == 1 and vectors.stride(0) % 16 == 0:
        return vectors
    count, dimension = vectors.shape
    return vectors.new_empty(count, cdiv(dimension, 16) * 16)[:, :dimension].copy_(vectors)


def vector(value: Any, count: int) -> torch.Tensor | None:
    """An array of one number each, or of one for all, as the former; None for what is no array."""
    if not isinstance(value, torch.Tensor):
        return None
    return value.to(torch.float32).reshape(-1).expand(count).contiguous()


def number(value: Any) -> float:
    """What is no array."""
    return 0.0 if value is None or isinstance(value, torch.Tensor) else float(value)
