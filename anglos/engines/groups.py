"""What labels say of pairs: those of one sample are equal, any of several, or weights of positives in their place."""

from typing import Any

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array, divisor_of


def are_weights(xp: Any, labels: Array) -> bool:
    """Whether they are weights of positives, (B, N), in place of labels, (B,) or (B, L)."""
    return labels.ndim == 2 and bool(xp.isdtype(labels.dtype, "real floating"))


def takes_part(xp: Any, labels: Array, ignore_index: int | None) -> Array:
    """Whether a sample has any label, (B,)."""
    if ignore_index is None:
        return xp.ones_like(labels[..., 0] if labels.ndim > 1 else labels, dtype=xp.bool)
    labelled = labels != ignore_index
    return labelled if labels.ndim == 1 else xp.any(labelled, axis=1)


def shares(backend: Backend, counted: Array, places: Array, dtype: Any) -> tuple[Array, Array]:
    """1 / N_k of each sample that counts and 0 of others, (N, 1), k the place of its class; and N_k of all N places."""
    xp, member = backend.xp, backend.xp.astype(counted, dtype)[:, None]
    members = backend.sum_by_label(member, places, places.shape[0])
    return member / xp.take(divisor_of(xp, members), places, axis=0), members[:, 0]


def repeat_themselves(labels: Array, low: Any, high: Any, ignore_index: int) -> Any:
    """Whether every sample has more labels, (B, L), than there are integers from low to high, and none is padding."""
    return (high - low + 1 < labels.shape[1]) & ((ignore_index < low) | (ignore_index > high))


def share_a_label(labels: Array, others: Array, ignore_index: int | None) -> Array:
    """Whether two samples have a label in common, (A, N); of one label each, also of the one to be ignored."""
    if labels.ndim == others.ndim == 1:
        return labels[:, None] == others[None, :]
    same: Any = None
    for one in columns_of(labels):
        labelled = one != ignore_index
        for other in columns_of(others):
            equal = labelled[:, None] & (one[:, None] == other[None, :])
            same = equal if same is None else same | equal
    return same


def columns_of(labels: Array) -> list[Array]:
    """The labels of all samples one by one, (B,)."""
    return [labels] if labels.ndim == 1 else [labels[:, place] for place in range(labels.shape[1])]
