"""The margin explorer as the site has it: its page, what it says of the losses, and numbers to check it by.

The page has formulas of its own, in `losses.js`, so that it needs no server. `check.html` compares them with what
anglos computes here, in whatever browser it is opened.
"""

import json
import math
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from groups import GROUPS

import anglos
from anglos.arrays.dispatch import backend_of
from anglos.call.common import PrototypeCommon
from anglos.call.kinds import Number
from anglos.call.static_kinds import Integer, OneOf, Pair
from anglos.define import Binary, CrossEntropy, ExcludedPositive, Linear, Row, Squares

SOURCE = Path(__file__).parents[1] / "explorer"
LARGEST, LEAST = 1000.0, 0.001
"""Where the library has no bound, or one that does not itself belong."""

STATE = {"adaface": {"norm_mean": 20.0, "norm_std": 5.0}}
"""What a loss takes from a batch by default, which the explorer does not have; as `anglos.plot` has it."""

SLIDERS = {
    "an angle in radians": (0.0, 1.5), "a factor of the angle": (1.0, 5.0), "a margin on the cosine": (-0.5, 1.0),
    "a scale": (1.0, 256.0), "a length": (1.0, 150.0), "a bias": (-20.0, 40.0),
    "a curvature": (-2.0, 0.0), "a height": (-0.5, 1.5),
    "a margin (variant A: an angle in radians)": (0.0, 2.0),
}
"""The usual values of a number, where a slider of its whole range would be too coarse."""

THETA = np.asarray([0.0, 1.0, 10.0, 33.0, 60.0, 85.0, 100.0, 145.0, 170.0, 180.0])
"""In degrees, as on the page."""

HIDDEN = PrototypeCommon.__optional_keys__
"""Options that are no part of a formula."""

ARRAYS = ("embeddings", "weights", "labels")


def setup(app: Any) -> dict[str, bool]:
    """Sphinx: the explorer is a folder of the site."""
    app.connect("build-finished", lambda app, error: error or export(Path(app.outdir) / "explorer"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def export(folder: Path) -> None:
    """Write the explorer into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in SOURCE.iterdir():
        if path.suffix in (".html", ".css", ".js", ".png"):
            shutil.copy(path, folder)
    _write(folder / "data.js", "LOSSES", [describe(name) for name in shown()])
    _write(folder / "values.js", "VALUES", {"theta": THETA.tolist(), "scenes": scenes(), "scales": scales()})


def _write(path: Path, name: str, content: Any) -> None:
    """A script in place of JSON, which a page cannot read from a file."""
    path.write_text(f"const {name} = {json.dumps(content, ensure_ascii=False, allow_nan=False)};\n", encoding="utf-8")


@cache
def shown() -> tuple[str, ...]:
    """Softmax and one-against-the-rest over one prototype per class. Of one, soft_triple is cosface."""
    return tuple(name for _, _, names in GROUPS for name in names
                 if anglos.LOSSES[name].arrays == ARRAYS and name not in ("soft_triple", "linear_cross_entropy")
                 and isinstance(row := _row(name, 2, {}), Row) and row.gate is None
                 and isinstance(row.reduction, (CrossEntropy, Binary, Squares, Linear, ExcludedPositive)))


def describe(name: str) -> dict[str, Any]:
    """A loss with its options, as the page makes controls of them."""
    loss, state = anglos.LOSSES[name], STATE.get(name, {})
    told = (_describe(option, loss.kinds[option], default, state.get(option))
            for option, default in loss.defaults.items() if option not in HIDDEN)
    group = next(title for title, _, names in GROUPS if name in names)
    return {"name": name, "group": group, "formula": loss.formula, "paper": loss.paper,
            "options": [one for one in told if one]}


def _describe(name: str, kind: Any, default: Any, state: float | None) -> dict[str, Any] | None:
    """An option; None for an array."""
    told = {"name": name, "library": default, "default": default if state is None else state}
    if isinstance(kind, OneOf):
        return {**told, "type": "choice", "choices": kind.choices}
    if isinstance(kind, Integer):
        return {**told, "type": "integer", "what": "an integer", "low": kind.low, "high": int(LARGEST),
                "slider": (kind.low, 10 * default)}
    number = kind.number if isinstance(kind, Pair) else kind
    if not isinstance(number, Number):
        return None
    open_ends = number.without[1] if number.without else number
    low = max(number.low, -LARGEST) + LEAST * open_ends.above
    high = min(number.high, LARGEST) - LEAST * open_ends.below
    first, last = SLIDERS.get(number.what) or (low, high if number.high < math.inf else 4.0 * (default or 2.5))
    return {**told, "type": "pair" if isinstance(kind, Pair) else "number", "what": number.what, "low": low,
            "high": high, "slider": (max(low, first), last), "optional": number.optional and state is None}


def _row(name: str, classes: int, options: Mapping[str, Any]) -> Any:
    loss = anglos.LOSSES[name]
    return loss.row(*_arrays(name, np.zeros(1), 1.0, classes, 1.0), **{**loss.defaults, **options})


def _arrays(name: str, theta: Any, rival: float, classes: int, length: float) -> tuple[Any, Any, Any]:
    """Embeddings at θ to the prototype of class 0, in the plane of it and its rival; the others at right angles."""
    cos, sin = _cos_sin(theta)
    embeddings = length * np.stack([cos, sin, 0.0 * theta], axis=1)
    weights = np.zeros((classes, 3))
    weights[:2] = (1.0, 0.0, 0.0), (math.cos(rival), math.sin(rival), 0.0)
    weights[2:, 2] = 1.0
    return embeddings, weights[:, None, :] if name == "subcenter_arcface" else weights, np.zeros(len(theta), np.int64)


def _cos_sin(theta: Any) -> tuple[Any, Any]:
    """With a sine that is 0 at 180°, where losses have no direction and gradient 0."""
    cos = np.cos(theta)
    return cos, np.sqrt((1.0 - cos) * (1.0 + cos))


def scenes() -> list[dict[str, Any]]:
    """What anglos computes for every loss and choice: at defaults, at random, and at the ends of every range."""
    random, found = np.random.default_rng(0), []
    for name in shown():
        options = describe(name)["options"]
        choices = [option for option in options if option["type"] == "choice"]
        numbers = [option for option in options if option["type"] != "choice"]
        for chosen in ({}, *({one["name"]: choice} for one in choices for choice in one["choices"]
                             if choice != one["default"])):
            found.append(scene(name, chosen, 77.0, 1000, 32.0))
            for wide in (False, False, False, True):
                drawn = {one["name"]: _draw(random, one, wide) for one in numbers}
                found.append(scene(name, {**drawn, **chosen}, round(random.uniform(5.0, 180.0), 1),
                                   int(2.0 * 10.0 ** random.uniform(0.0, 2.7)), 2.0 ** int(random.integers(-1, 7))))
        found += [scene(name, {one["name"]: end}, 70.0, 100, 32.0) for one in numbers for end in _ends(one)]
    return found


def _draw(random: Any, option: dict[str, Any], wide: bool) -> Any:
    """A value: now and then none, and often a round one."""
    if option.get("optional") and random.random() < 0.3:
        return None
    low, high = (option["low"], option["high"]) if wide else option["slider"]
    if option["type"] == "integer":
        return int(random.integers(low, high + 1))
    first, last = sorted(min(max(low, round(random.uniform(low, high), int(random.integers(0, 5)))), high - LEAST)
                         for _ in range(2))
    return (first, last + LEAST) if option["type"] == "pair" else first


def _ends(option: dict[str, Any]) -> list[Any]:
    low, high = option["low"], option["high"]
    return [(low, high)] if option["type"] == "pair" else [low, high, *[None] * option.get("optional", False)]


def scene(name: str, options: Mapping[str, Any], rival: float, classes: int, length: float) -> dict[str, Any]:
    """One setting: for every θ φ with its slope in the gradient, the probability, the loss and its slope.

    The length is a power of 2, by which an embedding can be divided without rounding: at 0° and 180° that would show.
    """
    loss, options = anglos.LOSSES[name], {**STATE.get(name, {}), **options}
    theta, row = np.radians(THETA), _row(name, classes, options)
    (cos, sin), arrays = _cos_sin(theta), _arrays(name, theta, math.radians(rival), classes, length)
    with np.errstate(all="ignore"):
        target = row.target(backend_of(cos), cos, np.full_like(cos, length))
    each = loss(*arrays, **options, reduction="none")
    _, (gradient, _) = loss.value_and_grad(*arrays, **options, reduction="sum")
    along = length * (gradient[:, 1] * cos - gradient[:, 0] * sin)
    return {"loss": name, "options": options, "rival": rival, "classes": classes, "length": length,
            "asks_for_length": row.asks_for_length, "scale": float(row.scale), "value": each.tolist(),
            "slope": along.tolist(), "target": np.broadcast_to(target.value, cos.shape).tolist(),
            "target_slope": (-sin * (1.0 if row.straight_through else target.slope)).tolist(),
            "probability": _probabilities(name, row, arrays, options, target.value),
            "best": _best(name, row, options, classes, length)}


def _probabilities(name: str, row: Any, arrays: Any, options: Mapping[str, Any], target: Any) -> list[float] | None:
    """Of the label, by the loss that its logarithm is; for one against the rest, of this class."""
    if isinstance(row.reduction, (Squares, Linear)):
        return None
    if isinstance(row.reduction, Binary):
        return _sigmoid(row.scale * target + row.bias).tolist()
    loss = anglos.LOSSES[name]
    plain = {one: 0.0 for one in ("label_smoothing", "regularizer") if one in loss.defaults}
    each = loss(*arrays, **{**options, **plain}, reduction="none")
    is_ratio = isinstance(row.reduction, ExcludedPositive)
    return (_sigmoid(-each) if is_ratio else np.exp(-each)).tolist()


def _sigmoid(z: Any) -> Any:
    return np.exp(-np.logaddexp(0.0, -z))


def _best(name: str, row: Any, options: Mapping[str, Any], classes: int, length: float) -> float | None:
    """The probability at θ = 0 where all prototypes are a regular simplex: with each other they have one cosine."""
    embeddings, weights, labels = _arrays(name, np.zeros(1), 1.0, classes, length)
    weights[1:] = -1.0 / (classes - 1.0), math.sqrt(max(1.0 - 1.0 / (classes - 1.0) ** 2, 0.0)), 0.0
    target = row.target(backend_of(labels * 1.0), np.ones(1), np.full(1, length)).value
    found = _probabilities(name, row, (embeddings, weights, labels), options, target)
    return None if found is None else found[0]


def scales() -> list[tuple[int, float, float]]:
    """Of `suggest_scale`."""
    return [(classes, probability, anglos.suggest_scale(classes, probability))
            for classes in (2, 10, 1000, 1_000_000) for probability in (0.5, 0.9, 0.9999)]
