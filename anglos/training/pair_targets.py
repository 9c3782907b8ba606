"""How much samples belong together, from their labels: weights of pairs, which `anglos.mining` has."""

from typing import Any

from anglos.arrays.backend import Backend
from anglos.arrays.library import Array
from anglos.call.arguments import IgnoredGroup
from anglos.call.bits import Bits
from anglos.call.check import check_values
from anglos.call.check_labels import check_groups
from anglos.call.kinds import ArrayOf, Number
from anglos.call.static_kinds import kind_of
from anglos.engines.groups import share_a_label, takes_part
from anglos.engines.numerics import divisor_of, float_type

_SAME = {"labels": ArrayOf("B or B L", "integral", role="labels"), "ignore_index": kind_of(IgnoredGroup)}
_JACCARD = {"multi_hot": Bits("B L"), "threshold": Number("a number", 0.0, 1.0, shapes=())}


def same_label(labels: Array, *, ignore_index: int = -100) -> Array:
    """1 for two samples of one label, or with one in common, else 0: (B, B), in the library's own floating type.

    Labels are integers, (B,), or several per sample, (B, L), padded with `ignore_index`.

    >>> import numpy as np
    >>> same_label(np.asarray([5, 7, 5])).tolist()
    [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    """
    checked = check_values("mining.same_label", _SAME, {"labels": labels, "ignore_index": ignore_index})
    backend, xp = checked.backend, checked.backend.xp
    given, ignored = checked.arrays["labels"], checked.static["ignore_index"]
    with backend.untracked((given,)):
        index = backend.as_index(given)
        check_groups("mining.same_label", backend, "labels", given, index, ignored)
        part = takes_part(xp, index, ignored)
        same = share_a_label(index, index, ignored) & part[:, None] & part[None, :]
        return xp.astype(same, _floating(backend, given))


def jaccard(multi_hot: Array, *, threshold: float = 0.0) -> Array:
    """|A ∩ B| / |A ∪ B| of the labels of two samples, (B, B), and 0 where it is less than the threshold.

    Of zeros and ones, or booleans, (B, L): which of the L labels a sample has. Two samples without any have 0. The
    result has the type of `multi_hot` if that is a floating one, otherwise the library's own. Another number than 0 and
    1 is refused; where it cannot be read, all that has to do with its sample is NaN.

    >>> import numpy as np
    >>> jaccard(np.asarray([[1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0]]), threshold=0.4).tolist()  # ⅓ of the first two
    [[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.5, 0.5, 1.0]]
    """
    checked = check_values("mining.jaccard", _JACCARD, {"multi_hot": multi_hot, "threshold": threshold})
    backend, xp, given = checked.backend, checked.backend.xp, checked.arrays["multi_hot"]
    with backend.untracked((given,)):
        one = xp.astype(given, _floating(backend, given), copy=False)
        one = xp.where((one == 0.0) | (one == 1.0), one, xp.nan)
        number, both = xp.sum(one, axis=1), backend.product(one, one.T)
        either = number[:, None] + number[None, :] - both
        share = both / divisor_of(xp, either)
        return xp.where(share < checked.static["threshold"], 0.0, share)


def _floating(backend: Backend, array: Array) -> Any:
    xp = backend.xp
    return float_type(xp, array) if xp.isdtype(array.dtype, "real floating") else xp.asarray(1.0).dtype
