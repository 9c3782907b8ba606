"""What engines ask where others have a part of the classes: a backend that shares nothing has all of them."""

from typing import Any

from anglos.arrays.library import Array, Library


class Sharing(Library):
    """Some of the classes are here, and all samples."""

    first_class: Any = 0
    """The number of the first class here."""

    def classes(self, weights: Array) -> Any:
        """How many classes there are, here and elsewhere."""
        return weights.shape[0]

    def most_classes(self, weights: Array) -> Any:
        """The largest number that anybody has of them."""
        return weights.shape[0]

    def of_label(self, array: Array, labels: Array) -> Array:
        """What an array has for the class of every label, (B, ...); 0 where that class is elsewhere."""
        return self.xp.take(array, labels, axis=0)

    def total(self, part: Array) -> Array:
        """Σ over all who have some of the classes."""
        return part

    def totals(self, parts: dict[str, Array]) -> dict[str, Array]:
        """The same of arrays by name. Of "points", (B, D), only the rows of the samples that came from here count."""
        return parts
