"""Center loss."""

from typing import Any, Unpack

from anglos import define


@define.rowwise(formula="ℓ = ½ |x − c_y|²", paper="Wen et al. 2016 (ECCV), doi:10.1007/978-3-319-46478-7_31")
def center(
    embeddings: define.Embeddings, centers: define.Centers, labels: define.Labels, /,
    **common: Unpack[define.LabelCommon],
) -> define.Direct:
    """Center loss: half the squared distance to the centre of the sample's class. Nothing is normalised.

    ℓ = ½ |x − c_y|². It is added to another loss, with a small weight (0.003 to 0.01). The paper moves the centres not
    by the gradient but by a rule of its own, `centers = anglos.center_update(centers, embeddings, labels)`.

    Parameters
    ----------
    embeddings
        One row per sample.

    References
    ----------
    Wen, Zhang, Li, Qiao, "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016.

    Examples
    --------
    >>> import anglos, numpy as np
    >>> centers = np.asarray([[0.0, 0.0], [9.0, 9.0]])
    >>> float(anglos.center(np.asarray([[3.0, 4.0]]), centers, np.asarray([0])))
    12.5
    """
    return define.Direct(_value, _gradients)


def _value(backend: define.Backend, embeddings: Any, centers: Any, labels: Any) -> Any:
    """ℓ = ½ |x − c_y|², by differences: |x|² + |c|² − 2 x·c would cancel."""
    return 0.5 * backend.xp.sum(_difference(backend, embeddings, centers, labels) ** 2, axis=-1)


def _gradients(backend: define.Backend, g: Any, embeddings: Any, centers: Any, labels: Any) -> dict[str, Any]:
    """∂ℓ/∂x = x − c_y, ∂L/∂c_j = Σ_{y_i = j} g_i (c_j − x_i)."""
    d_embeddings = g[:, None] * _difference(backend, embeddings, centers, labels)
    return {"embeddings": d_embeddings, "centers": -backend.sum_by_label(d_embeddings, labels, centers.shape[0])}


def _difference(backend: define.Backend, embeddings: Any, centers: Any, labels: Any) -> Any:
    return embeddings - backend.of_label(centers, labels)


@define.update(center)
def center_update(batch: define.Batch, centers: Any, embeddings: Any, labels: Any, *, alpha: float = 0.5) -> Any:
    """The paper's rule: c_j ← c_j − α Σ_{y_i = j} (c_j − x_i) / (1 + N_j), N_j the number of samples with label j.

    −100 is no label.

    >>> import numpy as np
    >>> center_update(np.asarray([[0.0], [5.0]]), np.asarray([[3.0], [9.0]]), np.asarray([0, 0])).tolist()
    [[2.0], [5.0]]
    """
    backend, classes = batch.backend, centers.shape[0]
    difference = backend.stop_gradient(_difference(backend, embeddings, centers, labels))
    weight = batch.weight(difference[:, 0])[:, None]
    difference = backend.xp.where(weight == 0.0, 0.0, weight * difference)
    count = backend.sum_by_label(weight, labels, classes)
    return centers + alpha * backend.sum_by_label(difference, labels, classes) / (1.0 + count)
