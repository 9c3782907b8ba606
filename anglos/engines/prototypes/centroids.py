"""Engine 1 with the class means of the batch itself in place of the weights. Labels are any integers."""

from typing import Any

from anglos.engines.numerics import Array, float_type, largest_finite
from anglos.engines.prototypes import engine as _prototypes
from anglos.engines.prototypes.row import Row

ROWS_ARE_INDEPENDENT = False


def forward(backend: Any, row: Row, inputs: dict[str, Array], means: Any, memo: dict[str, Any]
            ) -> tuple[Array, Any]:
    """The loss of every embedding, (B,), and what the gradient can use again."""
    if inputs["labels"].shape[0] == 0:
        return backend.xp.sum(inputs["embeddings"], axis=-1), ()
    row, given, _ = _with_centroids(backend, row, inputs)
    return _prototypes.forward(backend, row, given, means, memo)


def backward(backend: Any, row: Row, inputs: dict[str, Array], residuals: Any, g: Array, needs: frozenset[str],
             means: Any, memo: dict[str, Any]) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i): an embedding of class k, of N_k, gets the gradient of the mean c_k, divided by N_k, on top."""
    if inputs["labels"].shape[0] == 0:
        return {name: backend.xp.zeros_like(inputs[name]) for name in needs}
    row, given, share = _with_centroids(backend, row, inputs)
    through = "embeddings" in needs and not row.detach_centroids
    gradients = _prototypes.backward(backend, row, given, residuals, g, needs | ({"weights"} if through else set()),
                                     means, memo)
    if through:
        d_mean = backend.xp.take(gradients.pop("weights"), given["labels"], axis=0)
        gradients["embeddings"] = gradients["embeddings"] + d_mean * share
    return gradients


def _with_centroids(backend: Any, row: Row, inputs: dict[str, Array]) -> tuple[Row, dict[str, Array], Array]:
    """The row and the inputs of engine 1, and 1 / N_k of every embedding, (B, 1); 0 for one that is ignored.

    There are B places. A class takes the first that its label has among the sorted labels; the logits of the places
    that stay empty are as good as −∞.
    """
    xp, labels, count = backend.xp, inputs["labels"], inputs["labels"].shape[0]
    x = xp.astype(inputs["embeddings"], float_type(xp, inputs["embeddings"]), copy=False)
    places = xp.astype(xp.searchsorted(xp.sort(labels), labels), labels.dtype)
    member = xp.astype(labels != row.ignore_index, x.dtype)[:, None]
    members = backend.sum_by_label(member, places, count)
    share = member / xp.take(xp.where(members == 0.0, 1.0, members), places, axis=0)
    centroids = backend.sum_by_label(x * share, places, count)
    if row.detach_centroids:
        centroids = backend.stop_gradient(centroids)
    # Not −∞: it is also the own logit of an embedding that is ignored.
    bias = xp.where(members[:, 0] == 0.0, -0.25 * largest_finite(xp, x.dtype), xp.zeros_like(members[:, 0]))
    return row._replace(bias=bias), {**inputs, "weights": centroids, "labels": places}, share


def count(residuals: Any) -> None:
    """How many terms there are in each row's loss: one."""
