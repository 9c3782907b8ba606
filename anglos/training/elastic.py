"""Margins drawn for every sample."""

from anglos.arrays.library import Array
from anglos.call.check import check_values
from anglos.call.kinds import ArrayOf

_KINDS = {"draws": ArrayOf("B"), "cos": ArrayOf("B", optional=True)}


def elastic_margins(draws: Array, cos: Array | None = None) -> Array:
    """Margins of ElasticFace, one per sample: as they were drawn, or ordered by the label's cosines (ElasticFace+).

    With `cos` the sample of the k-th largest cosine has the k-th smallest of the draws, so that hard samples have large
    margins; of equal cosines the first comes first. The order is that within the arrays that are given, such as one
    device's part of a batch. The authors' code has `sort(draws)[order]` in place of `margins[order] = sort(draws)`,
    which gives margins to other samples.

    Parameters
    ----------
    draws : array (B,)
        Drawn anew for every step, normally distributed about the margin: in the paper with a standard deviation of
        0.0125 for `cosface`, mean 0.35, and for `arcface`, mean 0.5; with 0.0175 for ElasticFace+ of the latter.
    cos : array (B,), optional
        cos θ_y; a constant to the gradient.

    Returns
    -------
    array (B,)
        For `margin` of `arcface` or `cosface`.

    References
    ----------
    Boutros, Damer, Kirchbuchner, Kuijper, "ElasticFace", CVPR Workshops 2022, arXiv:2109.09416, eq. 5 to 7.

    Examples
    --------
    >>> import numpy as np
    >>> elastic_margins(np.asarray([0.5, 0.25, 0.75]), np.asarray([0.0, 0.9, 0.1])).tolist()
    [0.75, 0.25, 0.5]
    """
    backend, arrays, _, _, _ = check_values("elastic_margins", _KINDS, {"draws": draws, "cos": cos})
    if "cos" not in arrays:
        return draws
    xp = backend.xp
    order = xp.argsort(-backend.stop_gradient(arrays["cos"]))
    return xp.take(xp.sort(arrays["draws"]), xp.argsort(order), axis=0)
