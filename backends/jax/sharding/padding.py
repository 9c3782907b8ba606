"""Weights with more rows than there are classes, so that every device holds as many."""

from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp

from anglos.call.plan import Plan


class Padded(Plan):
    """A plan whose arrays of classes have rows after the last class, which do not count, and whose gradient is 0."""

    def row_of(self, arrays: tuple[jax.Array, ...]) -> tuple[Any, dict[str, jax.Array]]:
        """Of the arrays without them."""
        return super().row_of(tuple(map(self._without, self.names, arrays)))

    def _without(self, name: str, array: jax.Array) -> jax.Array:
        forms = [shape.split() for shape in self.contents.kinds[name].shapes]
        form = next(form for form in forms if len(form) == array.ndim)
        return jax.lax.slice_in_dim(array, 0, self.classes, axis=form.index("C")) if "C" in form else array

    def of_input(self, name: str, array: jax.Array, gradient: jax.Array) -> jax.Array:
        """With zeros in their place."""
        gradient = super().of_input(name, array, gradient)
        if gradient.shape == array.shape:
            return gradient
        return jnp.pad(gradient, [(0, many - some) for many, some in zip(array.shape, gradient.shape, strict=True)])


def padded(plan: Plan, classes: int) -> Padded:
    """The plan for so many classes; what its row makes of their number is found anew."""
    values = {field.name: getattr(plan, field.name) for field in fields(plan)}
    return Padded(**{**values, "classes": classes, "shapes": None, "row": None})
