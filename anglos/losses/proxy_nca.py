"""Proxy-NCA and Proxy-NCA++."""

from typing import Unpack

from anglos import define


@define.prototypes(formula="z = s·cos θ", paper="Movshovitz-Attias et al. 2017, arXiv:1703.07464")
def proxy_nca(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    scale: define.Scale = 18.0, exclude_positive: bool = False, **common: Unpack[define.PrototypeCommon],
) -> define.Row:
    """Proxy-NCA: softmax over the squared distances to one proxy per class.

    ℓ = −log( exp(s cos θ_y) / Σ_j exp(s cos θ_j) ). s = 18 stands for squared distances of vectors of length 3, as in
    Proxy-NCA++: 18 − 18 cos θ. In the original the sum leaves the label's proxy out: the loss is then unbounded below.

    Parameters
    ----------
    exclude_positive
        Leave the label's proxy out of the sum, as in Proxy-NCA; False is Proxy-NCA++.

    References
    ----------
    Movshovitz-Attias et al., "No Fuss Distance Metric Learning using Proxies", ICCV 2017, arXiv:1703.07464;
    Teh, DeVries, Taylor, "ProxyNCA++", ECCV 2020, arXiv:2004.01113.

    Examples
    --------
    Aligned with its own prototype and at 90° to the other, s = 1: the logits are 1 and 0.

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.proxy_nca(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), scale=1.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return define.Row(scale, reduction=define.ExcludedPositive() if exclude_positive else define.CrossEntropy())
