"""Engine 1: losses that compare embeddings with one prototype per class, a tile of classes at a time.

    z_ij = s · |x_i| · |w_j| · F_ij + b_j,    F_iy = φ(cos θ_iy),    F_ij = η(cos θ_ij) for the other classes,

where |x_i| or |w_j| is 1 if the row normalises it. A loss is one `Row` of this scheme; its value is written here and
its gradient in `gradient.py`, once. Tiles have shape (T, B): a slice of the weights is contiguous, and B is the short
side. They hold the other classes; what concerns the label's class has size B.
"""

from copy import copy
from typing import Any

from anglos.arrays.backend import Backend
from anglos.arrays.scratch import Scratch
from anglos.engines.contract import pack
from anglos.engines.exponentials import certain_shift
from anglos.engines.numerics import Array
from anglos.engines.prototypes.gradient import Gradient
from anglos.engines.prototypes.nearest import statistic_of
from anglos.engines.prototypes.row import Row
from anglos.engines.prototypes.saved import Remembered, Saved, unpack
from anglos.engines.prototypes.step import Step

__all__ = ["ROLES", "SAMPLES_ARE_INDEPENDENT", "WEIGHS_CLASSES", "backward", "count", "forward", "prepare", "unpack"]

SAMPLES_ARE_INDEPENDENT = True
WEIGHS_CLASSES = True
ROLES: tuple[tuple[str, ...], ...] = (("embeddings", "weights", "labels"),)

_PILOTS = 256
"""So many classes tell how large all logits are."""

_ABOVE = 20.0
"""How far above the pilots' largest logit the shift is: sums may be e^±43 in float32, and others are rather above."""


def prepare(backend: Backend, row: Row, inputs: dict[str, Array], *, keep_bytes: int = 0,
            gradient_products: str = "full", saved: Saved | None = None, chosen: Saved | None = None,
            remembered: Remembered | None = None) -> Step:
    """The step that both passes start from."""
    step = Step(backend, row, inputs, keep_bytes, gradient_products)
    if step.of_cosines and not row.normalize_weights:
        raise ValueError("Row: normalize_weights was False with rest or merge, which take cosines; wanted True")
    if saved is not None:
        step.resume(saved, remembered)
    else:
        step.start(chosen)
        if chosen is None:
            step.statistic = statistic_of(step)
    return step


def forward(step: Step) -> tuple[Array, Saved]:
    """The loss of every sample, (B,), and what the gradient can use again: (C, B) too, up to so many bytes."""
    backend, row, batch, chosen = step.backend, step.row, step.batch, step.chosen
    rest, kept = _gathered(step)
    loss, of_reduction = row.reduction.value(backend, rest, batch.logit, step.classes)
    if kept is not None and step.kept_shift is not None and step.kept_shift is not rest.shift:
        of_reduction = row.reduction.by_shift(backend, of_reduction, rest.shift, step.kept_shift)
    if chosen is not None and not row.reduction.of_exponentials:
        of_reduction = row.reduction.saved(*map(backend.same_number, pack(chosen.of_reduction), pack(of_reduction)))
    if row.regularizer is not None:
        loss = loss + step.regularizer().value
    loss = loss if step.factor is None else loss * step.factor
    passed = None
    if row.gate is not None:
        plain = row.scale * batch.embedding_length * batch.weight_length * batch.cos
        passed = row.gate(backend.xp, rest.shift, batch.logit, plain) if chosen is None else chosen.passed
        loss = backend.xp.where(passed, loss, backend.stop_gradient(loss))
    return loss, Saved(step.directions, batch.length, step.statistic, of_reduction, passed, kept)


def _gathered(step: Step) -> tuple[Any, Array | None]:
    """What the reduction gathers of all classes; and what is kept of these."""
    exponentials, certain = step.row.reduction.of_exponentials, None
    if exponentials:  # of logits that are known to be in range, cosines times a scale: a shift without any maximum
        certain = certain_shift(step.backend, step.batch.logit, step.row.bound, step.classes)
    several_exponentials, shift = step.several and exponentials, certain
    if shift is None and several_exponentials:
        shift = _common_shift(step)
    # Exponentials of several tiles are of use to the gradient only if they have one shift.
    needs_shift, kept, out = several_exponentials and not step.of_cosines, step.chosen_products, None
    if kept is None and step.may_keep and (shift is not None or not needs_shift):
        shape = *step.weights.shape[:-1], step.samples
        kept = out = step.backend.kept_terms(step.terms_like, step.of_slopes, *shape)
    if shift is not None:
        rest = _sweep(step, out, shift=shift)
        if certain is not None or step.backend.in_range(rest.total):
            return rest, kept
    return _sweep(step, out), None if needs_shift else kept


def _common_shift(step: Step) -> Array | None:
    """One shift for all tiles, and no running maximum: right unless a sum leaves the range of the type."""
    if step.row.gate is not None or not step.backend.readable(step.batch.logit):
        return None
    return step.backend.stop_gradient(_sweep(_of_pilots(step), None).shift) + _ABOVE


def _of_pilots(step: Step) -> Step:
    """The same batch against a few of the classes, with its labels among them, −1 for one that is not."""
    xp, stride, few = step.backend.xp, max(1, step.weights.shape[0] // _PILOTS), copy(step)
    few.labels = xp.where(step.labels % stride == 0, step.labels // stride, -1)
    few.weights, few.bias = step.weights[::stride, ...], None if step.bias is None else step.bias[::stride]
    few.classes, few.inverses, few.chosen_products = few.weights.shape[0], None, None
    few.width = -(-few.classes // step.backend.tiles_at_once)
    few.scratch = Scratch(step.backend, several=False)
    return few


def _sweep(step: Step, out: Array | None, **known: Array) -> Any:
    """The state of the reduction after all tiles; of exponentials by a known shift, or each by its own."""
    reduction, hide = step.row.reduction, step.several and bool(known)

    def tile(first: Any, weights: Array, bias: Array | None, kept: Array | None, out: Array | None
             ) -> tuple[Any, tuple[()]]:
        made = step.tile(first, weights, bias, kept, out)
        state = reduction.gather(step.backend, made.tile, step.batch.logit, **known)
        if out is not None and reduction.of_exponentials and not step.of_cosines:
            step.kept_shift = state.shift
        # States of one shift are added: through a loop or a group nobody sees that it is one.
        return state._replace(shift=None) if hide else state, ()

    arrays = step.weights, step.bias, step.chosen_products, out
    state, _ = step.backend.sweep(tile, reduction, arrays, step.width)
    return state._replace(**known) if hide else state


def backward(step: Step, saved: Saved, g: Array, needs: frozenset[str]) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i) for every input named in `needs`."""
    return Gradient(step, saved, g, needs).of_inputs()


def count(saved: Saved) -> None:
    """How many terms there are in the loss of each sample: one."""
