"""From a case of tests/golden2_heads.json, or of another file of its form, to the call that it stands for.

Nothing is taken from numbers that the case has beside its inputs, such as margins: they are computed here.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from exact_arcnegface import exact_arcnegface

import anglos

Array = Any

NAMES = {"X": "embeddings", "W": "weights", "T": "labels", "Z": "logits", "mc": "class_margin"}
"""What the cases call the arguments that have a gradient, where that is not their name."""


class Call(NamedTuple):
    """What is called, and where the gradients are that the case has."""

    function: Any
    """A loss: callable, with `value_and_grad` and `plain`."""
    arrays: list[Array]
    options: dict[str, Any]
    wrt: dict[str, str]
    """The name of an argument for every gradient of the case."""
    rows: list[int] | None = None
    """Of the case's gradient in W those that the call has; the others are 0. None: all."""
    has_value: bool = True
    """Whether the value is the case's too, and not its gradients alone."""


def call_of(case: Mapping[str, Any], inputs: Mapping[str, Any], array: Callable[[np.ndarray], Array] = np.asarray
            ) -> Call:
    """The call, with arrays of the library that `array` makes them of."""
    given = {name: np.asarray(value) for name, value in {**inputs, **case["arrays"]}.items()
             if name not in ("W3", "S3", "y3")}
    function, arrays, options, rows = _CALLS[case["loss"]](case, given)
    return Call(function, [array(one) for one in arrays], {
        name: array(value) if isinstance(value, np.ndarray) else value for name, value in options.items()},
        {name: NAMES.get(name, name) for name in case["grads"]}, rows, case["options"].get("value") != "potential")


def _labels(case: Mapping[str, Any], given: dict[str, np.ndarray]) -> np.ndarray:
    """Probabilities, or labels."""
    return given["T"] if "T" in case["arrays"] else given["y"]


def _targets(case: Mapping[str, Any], given: dict[str, np.ndarray], options: dict[str, Any]) -> dict[str, Any]:
    """Those of a cross entropy that has targets."""
    said = case["options"]
    options |= {name: said[name] for name in ("label_smoothing", "ignore_index") if name in said}
    return options | ({"class_weight": given["cw"]} if said.get("class_weight") == "cw" else {})


def _cross_entropy(case: Mapping[str, Any], given: dict[str, np.ndarray]) -> Any:
    return anglos.cross_entropy, [given["Z"], _labels(case, given)], _targets(case, given, {}), None


def _linear(case: Mapping[str, Any], given: dict[str, np.ndarray]) -> Any:
    bias = given["bias"] + _log_prior(case, given)
    options = _targets(case, given, {"bias": bias})
    return anglos.linear_cross_entropy, [given["X"], given["W"], _labels(case, given)], options, None


def _log_prior(case: Mapping[str, Any], given: dict[str, np.ndarray]) -> Any:
    """What is added to the logits because of the counts."""
    said = case["options"].get("log_prior")
    if said == "log(counts)":
        return case["options"]["tau"] * np.log(given["counts"])
    return 0.0 if said is None else anglos.classes.log_prior(given["counts"], tau=case["options"]["tau"])


def _ldam(case: Mapping[str, Any], given: dict[str, np.ndarray]) -> Any:
    said, labels = case["options"], given["y"]
    margins = anglos.classes.ldam_margins(given["counts"], max_margin=said["max_margin"])
    options = {"margin": 0.0, "class_margin": margins, "scale": said["scale"]}
    if said.get("class_weight", "").startswith("effective_number"):
        beta = float(said["class_weight"].split("=")[1].rstrip(")"))
        options["sample_weight"] = anglos.classes.effective_number_weights(given["counts"], beta=beta)[labels]
    return anglos.cosface, [given["X"], given["W"], labels], options, None


def _margins(case: Mapping[str, Any], given: dict[str, np.ndarray]) -> Any:
    """The margin, as its formula stands among the options of the case."""
    said, of = case["options"], anglos.classes
    if "order" in said:
        return _elastic_margins(said["order"], given)
    if not isinstance(said["margin"], str):
        return said["margin"]
    if said["margin"].startswith("kappaface"):
        pairs = dict(part.split("=") for part in said["margin"].rstrip(")").split(", ") if "=" in part)
        return of.kappaface_margins(given["sums"], given["counts"], margin=float(pairs["m0"]),
                                    temperature=float(pairs["T"]), gamma=float(pairs["gamma"]))[given["y"]]
    if said["margin"].startswith("minmax"):
        return of.minmax_margins(given["counts"])[given["y"]]
    factor, power, added = said["margin"].replace("n^", "").replace("+ ", "").split()
    return of.power_margins(given["counts"], float(factor), float(added), power=float(power))[given["y"]]


def _elastic_margins(order: str, given: dict[str, np.ndarray]) -> np.ndarray:
    """By the rank of the cosine; or as the official code has it."""
    unit, of_label = (rows / np.linalg.norm(rows, axis=1, keepdims=True)
                      for rows in (given["X"], given["W"][given["y"]]))
    cosines = np.sum(unit * of_label, axis=1)
    if order == "argsort":
        return np.sort(given["draws"])[np.argsort(-cosines, stable=True)]
    margins: np.ndarray = anglos.elastic_margins(given["draws"], cosines)
    return margins


def _head(case: Mapping[str, Any], given: dict[str, np.ndarray]) -> Any:
    """Of embeddings, prototypes and labels, with a margin."""
    said, loss = case["options"], anglos.LOSSES[case["loss"]]
    loss = exact_arcnegface if said.get("frozen") is False else loss
    arrays = [given["X"], given["W"], _labels(case, given)]
    names = ("scale", "curvature", "past_pi", "gradient", "alpha", "sigma", "a", "h", "k")
    options: dict[str, Any] = {name: said[name] for name in names if name in said and name in loss.defaults}
    if "scale" in case["grads"]:
        options["scale"] = given["scale"]
    if said.get("margin") == "mc[y]":
        options |= {"margin": 0.0, "class_margin": given["mc"]}
    elif said.get("margin") is not None or "order" in said:
        options["margin"] = _margins(case, given)
    options = _targets(case, given, options)
    if "bias" in case["arrays"]:
        options["bias"] = given["bias"]
    if "sampled" in case["arrays"]:
        return _sampled(said["correction"], given, options)
    if said.get("log_prior"):
        options["bias"] = _log_prior(case, given)
    return loss, arrays, options, None


def _sampled(correction: bool, given: dict[str, np.ndarray], options: dict[str, Any]) -> Any:
    """The batch's own classes, and some of the others, each of which was as likely as any."""
    rows, labels = given["sampled"], given["y"]
    own = np.isin(rows, labels)
    likely = (len(rows) - own.sum()) / (len(given["W"]) - own.sum())
    arrays = [given["X"], given["W"][rows], np.searchsorted(rows, labels)]
    loss: Any = anglos.arcface
    if correction:
        loss = anglos.correct_sampling(anglos.arcface)
        options["log_probability"] = np.where(own, 0.0, np.log(likely))
    return loss, arrays, options, rows.tolist()


def _sface(case: Mapping[str, Any], given: dict[str, np.ndarray]) -> Any:
    said = case["options"]
    options = {"scale": said["scale"], "slope": said["k"], "inner": said["a"], "outer": said["b"]}
    return anglos.sface, [given["X"], given["W"], given["y"]], options, None


def _matryoshka(case: Mapping[str, Any], given: dict[str, np.ndarray]) -> Any:
    """Of the loss that stands in parentheses."""
    of, said = case["loss"].removeprefix("matryoshka(").rstrip(")"), case["options"]
    loss, arrays, options, rows = _CALLS[of]({**case, "loss": of}, given)
    return anglos.matryoshka(loss, said["dims"], said["weights"]), arrays, options, rows


_CALLS: dict[str, Callable[..., Any]] = {
    "cross_entropy": _cross_entropy, "linear_cross_entropy": _linear, "ldam": _ldam,
    "sface": _sface, **dict.fromkeys(
        ("normface", "arcface", "cosface", "x2_softmax", "arcnegface", "ham_softmax"), _head),
    **dict.fromkeys(("matryoshka(normface)", "matryoshka(linear_cross_entropy)"), _matryoshka),
}
