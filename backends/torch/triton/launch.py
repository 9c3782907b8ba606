"""Launches of the kernels that make products with their terms, or terms of products that are there."""

import math
from typing import Any

import torch
from triton import cdiv

from anglos.arrays.tile import Map, Product

from . import blocks
from .arguments import aligned, number, rows, vector
from .in_place import terms_in_place
from .terms import terms_of_product


class Terms:
    """A kernel, and what all of its launches for the same logits are given."""

    def __init__(self, z: Product, way: str, scratch: torch.Tensor | None, of: str = "exponential", factor: Any = None
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
            scratch = scratch if scratch is not None and scratch.dtype is self.points.dtype else None
            product = torch.mm(prototypes, self.points.T, out=scratch)
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
