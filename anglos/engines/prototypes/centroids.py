"""Engine 1 with the class means of the batch itself in place of the weights. Labels are any integers."""

from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.library import largest_finite
from anglos.engines.groups import shares
from anglos.engines.numerics import Array, float_type
from anglos.engines.prototypes import engine as _prototypes
from anglos.engines.prototypes.row import Row
from anglos.engines.prototypes.step import Step as _Step

SAMPLES_ARE_INDEPENDENT = False
ROLES: tuple[tuple[str, ...], ...] = (("embeddings", "labels"),)
count = _prototypes.count


class Step(NamedTuple):
    """What both passes start from; without samples there is nothing but the inputs."""

    backend: Backend
    row: Row
    inputs: dict[str, Array]
    places: Array | None
    """The class of every embedding of all ranks, (N,)."""
    share: Array | None
    """1 / N_k of each, (N, 1)."""
    of_means: _Step | None

    def remembered(self) -> Any:
        """What has the size of the batch."""
        return None if self.of_means is None else self.of_means.remembered()


def prepare(backend: Backend, row: Row, inputs: dict[str, Array], **others: Any) -> Step:
    """The step of engine 1, with class means."""
    if backend.rows(inputs["labels"]) == 0:
        return Step(backend, row, inputs, None, None, None)
    of_means, given, places, share = _with_centroids(backend, row, inputs)
    return Step(backend, row, inputs, places, share, _prototypes.prepare(backend, of_means, given, **others))


def unpack(row: Row, arrays: tuple[Array, ...]) -> Any:
    """The record of engine 1; without samples there was none."""
    return _prototypes.unpack(row, arrays) if arrays else ()


def forward(step: Step) -> tuple[Array, Any]:
    """The loss of every embedding, (B,), and what the gradient can use again."""
    if step.of_means is None:
        return step.backend.xp.sum(step.inputs["embeddings"], axis=-1), ()
    return _prototypes.forward(step.of_means)


def backward(step: Step, saved: Any, g: Array, needs: frozenset[str]) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i): an embedding of class k, of N_k, gets the gradient of the mean c_k, divided by N_k, on top."""
    backend, row, inputs, places, share, of_means = step
    if of_means is None:
        return {name: backend.xp.zeros_like(inputs[name]) for name in needs}
    through = "embeddings" in needs and not row.detach_centroids
    gradients = _prototypes.backward(of_means, saved, g, needs | ({"weights"} if through else set()))
    if through:
        d_mean = backend.xp.take(gradients.pop("weights"), places, axis=0)
        gradients["embeddings"] = gradients["embeddings"] + backend.own_sums(d_mean * share)
    return gradients


def _with_centroids(backend: Backend, row: Row, inputs: dict[str, Array]
                    ) -> tuple[Row, dict[str, Array], Array, Array]:
    """The row and the inputs of engine 1, and of all embeddings the class and 1 / N_k, 0 for one that is ignored.

    There are N places. A class takes the first that its label has among the sorted labels; the logits of the places
    that stay empty are large negative numbers.
    """
    xp, labels = backend.xp, backend.columns(inputs["labels"])
    x = backend.columns(xp.astype(inputs["embeddings"], float_type(xp, inputs["embeddings"]), copy=False))
    places = xp.astype(xp.searchsorted(xp.sort(labels), labels), labels.dtype)
    share, members = shares(backend, labels != row.ignore_index, places, x.dtype)
    centroids = backend.sum_by_label(x * share, places, places.shape[0])
    if row.detach_centroids:
        centroids = backend.stop_gradient(centroids)
    # Not −∞, since it is also the label's logit of an embedding that is ignored.
    bias = xp.where(members == 0.0, -0.25 * largest_finite(xp, x.dtype), xp.zeros_like(members))
    of_means = {**inputs, "weights": centroids, "labels": backend.own_columns(places)}
    return row._replace(bias=bias), of_means, places, share
