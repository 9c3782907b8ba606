"""What a call says of itself, where several processes must make the same."""

from collections.abc import Callable, Mapping, Sequence

from anglos.arrays.library import Array
from anglos.call.plan import Plan
from anglos.engines.pairs import ring as _ring

_FIELDS = ("reduction", "ignore_index", "keep_bytes", "gradient_products", "wrt")


def said_of(plan: Plan, arrays: Sequence[Array], spell: Callable[[Array], str]) -> dict[str, str]:
    """By words of a message, what must be the same in all processes."""
    said = {"the loss": plan.name, "the number of classes": repr(plan.classes),
            "ring": repr(plan.loss.engine is _ring)}
    said |= {name: spell(array) for name, array in zip(plan.names, arrays, strict=True)}
    said |= {name: repr(getattr(plan, name)) for name in _FIELDS}
    return said | {name: repr(value) for name, value in (*plan.options, *plan.numbers)}


def difference(every: Sequence[Mapping[str, str]], kind: str) -> str:
    """The first thing of which not all say the same, as the first says it, and the next that does not."""
    for word in dict.fromkeys(word for one in sorted(every, key=len, reverse=True) for word in one):
        values = [one.get(word, "not given") for one in every]
        for number, value in enumerate(values):
            if value != values[0]:
                return f"{word} was {values[0]} on {kind} 0 and {value} on {kind} {number}"
    return f"what each {kind} was about to do differed"
