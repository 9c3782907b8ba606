"""Every field of a row beside every other: the gradient is that of the value, whatever a user puts together."""

import itertools
from functools import partial
from typing import Any

import numpy as np
import pytest

from anglos import Loss, define

KINDS = {"embeddings": define.Embeddings, "labels": define.Labels, "slope": define.Number, "scale": define.Scale}
LABELS = np.asarray([0, 3, 0, 4])
STEP = 1e-5


def of_length(slope: Any, backend: Any, cos: Any, length: Any) -> define.Curve:
    return define.Curve(slope * cos - 0.1 * length**2, slope, {"slope": cos}, -0.2 * length)


def bent(slope: Any, backend: Any, cos: Any, other: Any) -> define.Curve:
    return define.Curve(cos + 0.5 * slope * cos**2, 1.0 + slope * cos, {"slope": 0.5 * cos**2})


def softened(slope: Any, backend: Any, cosines: Any) -> define.Curve:
    """Log Σ e^(m cos) / 4 over the prototypes of a class."""
    xp = backend.xp
    terms = xp.exp(slope * cosines)
    shares = terms / xp.sum(terms, axis=1, keepdims=True)
    return define.Curve(0.25 * xp.log(xp.sum(terms, axis=1)), 0.25 * slope * shares,
                        {"slope": 0.25 * xp.sum(shares * cosines, axis=1)})


def penalty(slope: Any, xp: Any, length: Any) -> define.Curve:
    return define.Curve(slope * length**2, 2.0 * slope * length, {"slope": length**2})


# The functions that a field may be, each of the option `slope`.
FUNCTIONS = {"target": (None, of_length, bent), "rest": (None, bent), "merge": (None, softened),
             "regularizer": (None, penalty)}
FREE = list(itertools.product((True, False), (True, False)))


def loss_of(fields: dict[str, Any], bias: Any, free: tuple[bool, bool], known: tuple[str, ...] = ()) -> Loss[...]:
    def made(embeddings: Any, weights: Any, labels: Any, /, *, slope: Any = 0.7, scale: Any = 1.5, bias: Any = None
             ) -> define.Row:
        functions: dict[str, Any] = {name: partial(function, slope) for name, function in fields.items()}
        row: define.Row = define.Row(scale, bias=bias, normalize_embeddings=not free[0], normalize_weights=not free[1],
                                     wants_length=True, known=known, **functions)
        return row

    weights = define.SubWeights if "merge" in fields else define.Weights
    made.__annotations__.update({**KINDS, "weights": weights, "bias": bias})
    return define.prototypes(made)


def called(function: Any, *, embeddings: Any, weights: Any, **options: Any) -> Any:
    return function(embeddings, weights, LABELS, **options)


@pytest.mark.parametrize("free", FREE)
@pytest.mark.parametrize("bias", [define.ScalarBias, define.Bias])
def test_gradient_of_every_row(bias: Any, free: tuple[bool, bool]) -> None:
    """Against differences along a random direction of each input."""
    random = np.random.default_rng(0)
    for functions in itertools.product(*FUNCTIONS.values()):
        fields = {name: one for name, one in zip(FUNCTIONS, functions, strict=True) if one is not None}
        if free[1] and fields.keys() & {"rest", "merge"}:
            continue
        loss = loss_of(fields, bias, free)
        values = {"embeddings": random.normal(size=(4, 3)),
                  "weights": random.normal(size=(5, 2, 3) if "merge" in fields else (5, 3)),
                  "bias": random.normal(size=() if bias is define.ScalarBias else 5), "scale": np.asarray(1.5)}
        if fields:
            values["slope"] = np.asarray(0.7)

        _, gradients = called(loss.value_and_grad, wrt=tuple(values), **values)
        for (name, value), gradient in zip(values.items(), gradients, strict=True):
            way = random.normal(size=value.shape)
            high, low = (called(loss, **{**values, name: value + step * way}) for step in (STEP, -STEP))
            np.testing.assert_allclose(np.sum(gradient * way), (high - low) / (2.0 * STEP), rtol=1e-7, atol=1e-8,
                                       err_msg=f"{name} of {sorted(fields)}")


@pytest.mark.parametrize("fields", [{"rest": bent}, {"merge": softened}])
@pytest.mark.parametrize("known", [(), ("bent",)])
def test_cosines_want_unit_weights(fields: dict[str, Any], known: tuple[str, ...]) -> None:
    """What takes cosines is refused where a tile has none."""
    weights = np.ones((5, 2, 3) if "merge" in fields else (5, 3))
    with pytest.raises(ValueError, match=r"^Row: normalize_weights was False with rest or merge, which take cosines; "
                                         r"wanted True$"):
        loss_of(fields, define.ScalarBias, (False, True), known)(np.ones((4, 3)), weights, LABELS)


def pull(similarity: Any, *, slope: Any) -> Any:
    return define.softplus(-slope * similarity)


def push(similarity: Any, *, slope: Any) -> Any:
    return define.softplus(slope * similarity)


@pytest.mark.parametrize("third", [False, True], ids=["keys", "negatives"])
@pytest.mark.parametrize("fields", [{"symmetric": True}, {}, *({"distance": distance} for distance in (
    "squared_euclidean", "euclidean", "cosine", "angle"))], ids=str)
def test_gradient_of_every_row_of_pairs(fields: dict[str, Any], third: bool) -> None:
    """Of terms with an option, and a penalty on lengths, beside every other field."""
    if third and "symmetric" in fields:
        return

    @define.pairs
    def loss(queries: define.Queries, keys: define.Keys, negatives: define.Negatives = None, /, *,
             slope: define.Number = 0.7, scale: define.Scale = 1.5, penalty: define.Factor = 0.3) -> define.PairRow:
        row: define.PairRow = define.PairRow(
            define.pair_terms(pull, push, slope=slope), scale, normalize=False, length_penalty=penalty, **fields,
            names={"scale": (("scale", 1.0),), "penalty": (("length_penalty", 1.0),)})
        return row

    random = np.random.default_rng(0)
    arrays = {"queries": random.normal(size=(5, 3)), "keys": random.normal(size=(5, 3))}
    arrays |= {"negatives": random.normal(size=(4, 3))} if third else {}
    options = {"slope": np.asarray(0.7), "penalty": np.asarray(0.3)}
    options |= {} if "distance" in fields else {"scale": np.asarray(1.5)}
    _, gradients = loss.value_and_grad(*arrays.values(), **options, wrt=(*arrays, *options))
    for (name, value), gradient in zip({**arrays, **options}.items(), gradients, strict=True):
        way = random.normal(size=value.shape)
        moved = ({**arrays, **options, name: value + step * way} for step in (STEP, -STEP))
        high, low = (loss(*[values.pop(array) for array in arrays], **values) for values in moved)
        np.testing.assert_allclose(np.sum(gradient * way), (high - low) / (2.0 * STEP), rtol=1e-7, atol=1e-8,
                                   err_msg=name)


def test_penalty_on_lengths_is_of_the_lengths_given() -> None:
    """Also where distances are computed of moved vectors, which keep them."""
    @define.pairs
    def loss(queries: define.Queries, keys: define.Keys, /, *, penalty: define.Factor = 1.0) -> define.PairRow:
        row: define.PairRow = define.PairRow(define.each_by_itself, normalize=False, distance="euclidean",
                                             length_penalty=penalty)
        return row

    queries, keys = np.asarray([[3.0, 4.0], [0.0, 1.0]]), np.asarray([[3.0, 0.0], [0.0, 2.0]])
    paid = loss(queries, keys) - loss(queries, keys, penalty=0.0)
    np.testing.assert_allclose(paid, (25.0 + 9.0 + 1.0 + 4.0) / 2.0)


def test_penalty_on_lengths_wants_samples() -> None:
    @define.pairs
    def loss(embeddings: define.Embeddings, labels: define.Groups, /) -> define.PairRow:
        row: define.PairRow = define.PairRow(define.each_by_itself, length_penalty=1.0)
        return row

    references: dict[str, Any] = {"reference_embeddings": np.eye(4), "reference_labels": LABELS}
    message = "PairRow: length_penalty was given with references or proxies; wanted none: it is of every sample"
    with pytest.raises(ValueError, match=message):
        loss(np.eye(4), LABELS, **references)


def test_option_without_a_slope() -> None:
    """It is refused where its gradient is asked for, and nowhere else."""
    @define.prototypes
    def rows(embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
             temperature: define.Temperature = 0.5) -> define.Row:
        row: define.Row = define.Row(1.0 / temperature)
        return row

    @define.pairs
    def pairs(embeddings: define.Embeddings, labels: define.Groups, /, *,
              temperature: define.Temperature = 0.5) -> define.PairRow:
        row: define.PairRow = define.PairRow(define.each_by_itself, 1.0 / temperature)
        return row

    for loss, arrays in ((rows, (np.eye(4, 5), np.eye(5), LABELS)), (pairs, (np.eye(4), LABELS))):
        loss.value_and_grad(*arrays, temperature=np.asarray(0.5))
        with pytest.raises(TypeError, match=f"^{loss.name}: temperature was given no slope by its row; wanted one in "
                                            "names, or among the option_slopes of its functions$"):
            loss.value_and_grad(*arrays, temperature=0.5, wrt=("temperature",))
