"""What anglos and its peers give at inputs where formulas break: measured when the site is built."""

import math
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.functional import cross_entropy, normalize

import anglos

MARGIN, SCALE, TEMPERATURE = 0.5, 64.0, 0.1
_ABSENT = "not installed"


class Inputs(NamedTuple):
    """Arrays of a call, and what can be asked of the outcome."""

    arrays: tuple[torch.Tensor, ...]
    value: bool = True
    """Whether the value is defined, and is compared with that of the textbook formula in float64."""
    gradient: bool = True
    """Whether the gradient is."""


class Group(NamedTuple):
    """One loss, by several libraries."""

    title: str
    text: str
    inputs: dict[str, Inputs]
    textbook: Callable[..., torch.Tensor]
    peers: dict[str, Callable[[], Callable[..., Any]]]
    """By name, a function that imports what it needs and gives the loss of the arrays."""


def _at(angle: float, dtype: torch.dtype = torch.float32, length: float = 1.0, *, value: bool = True) -> Inputs:
    """Two samples, the first at an angle to its own class's prototype, and three prototypes at right angles."""
    weights = torch.eye(4, dtype=torch.float64)[:3]
    first = math.cos(angle) * weights[0] + math.sin(angle) * torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    embeddings = torch.stack([first, torch.tensor([0.3, 0.7, -0.4, 0.5], dtype=torch.float64)]) * length
    return Inputs((embeddings.to(dtype), weights.to(dtype), torch.tensor([0, 1])), value,
                  gradient=angle not in (0.0, math.pi))


def _with_zero(inputs: Inputs, place: int) -> Inputs:
    arrays = [array.clone() for array in inputs.arrays]
    arrays[place][0] = 0
    return Inputs(tuple(arrays), value=False, gradient=False)


HEADS = {
    "aligned with its prototype": _at(0.0),
    "opposite to it": _at(math.pi),  # where the gradient has no direction
    "zero embedding": _with_zero(_at(1.0), 0),
    "zero prototype": _with_zero(_at(1.0), 1),
    "length 10²⁵": _at(1.0, length=1e25),
    "length 10⁻²⁵": _at(1.0, length=1e-25),
    "float16, length 300": _at(1.0, torch.float16, 300.0),
    "float16, length 0.0003": _at(1.0, torch.float16, 3e-4),
}


BEYOND = HEADS | {"opposite to it": _at(math.pi, value=False)}
"""Where θ + m has passed π there is more than one convention."""


def _pairs(length: float = 1.0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (length * x / x.norm(dim=1, keepdim=True)).to(dtype)


def _of_pairs(labels: torch.Tensor | None, singular: bool) -> dict[str, Inputs]:
    """A set of embeddings with labels, or two towers; `singular`: whether equal points have no gradient."""
    def made(x: torch.Tensor, value: bool = True, gradient: bool = True) -> Inputs:
        arrays = (x, labels) if labels is not None else (x, x.flip(0) + x.roll(1, 1))
        return Inputs(arrays, value, gradient)

    equal, zero, opposite = _pairs(), _pairs(), _pairs()
    equal[1] = equal[0]
    opposite[1] = -opposite[0]
    zero[0] = 0
    return {"two are equal": made(equal, gradient=not singular), "two are opposite": made(opposite),
            "one is zero": made(zero, value=False, gradient=False), "length 10²⁵": made(_pairs(1e25)),
            "length 10⁻²⁵": made(_pairs(1e-25)), "float16, length 300": made(_pairs(300.0, torch.float16)),
            "float16, length 0.0003": made(_pairs(3e-4, torch.float16))}


def _unit(x: torch.Tensor) -> torch.Tensor:
    """As people write it; in float64, where all is compared with it, for any length."""
    return x / x.norm(dim=1, keepdim=True) if x.dtype == torch.float64 else normalize(x)


def _cosines(embeddings: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return _unit(embeddings) @ _unit(weights).T


def _textbook(target: Callable[[torch.Tensor], torch.Tensor], embeddings: torch.Tensor, weights: torch.Tensor,
              labels: torch.Tensor) -> torch.Tensor:
    """The formula as it stands in the paper; autograd does the rest."""
    cos = _cosines(embeddings, weights)
    own = torch.nn.functional.one_hot(labels, len(weights)).bool()
    return cross_entropy(SCALE * torch.where(own, target(cos), cos), labels)


def _arc(cos: torch.Tensor) -> torch.Tensor:
    return torch.cos(torch.arccos(cos) + MARGIN)


def _arc_clamped(cos: torch.Tensor) -> torch.Tensor:
    return torch.cos(torch.arccos(cos.clamp(-1 + 1e-7, 1 - 1e-7)) + MARGIN)


def _pml(name: str, **options: Any) -> Callable[..., torch.Tensor]:
    """A loss of pytorch-metric-learning with a weight of its own, which is (D, C)."""
    losses = import_module("pytorch_metric_learning.losses")

    def call(embeddings: torch.Tensor, weights: torch.Tensor, labels: torch.Tensor) -> Any:
        loss = getattr(losses, name)(num_classes=len(weights), embedding_size=embeddings.shape[1], **options)
        del loss.W
        loss.W = weights.T
        return loss(embeddings, labels)

    return call


def _pml_pairs(name: str, **options: Any) -> Callable[..., torch.Tensor]:
    return getattr(import_module("pytorch_metric_learning.losses"), name)(**options)  # type: ignore[no-any-return]


def _info_nce() -> Callable[..., torch.Tensor]:
    return import_module("info_nce").InfoNCE(temperature=TEMPERATURE)  # type: ignore[no-any-return]


def _open_clip() -> Callable[..., torch.Tensor]:
    """Its model gives features of length 1; the loss takes them as they are. Its file alone needs no torchvision."""
    package = find_spec("open_clip")
    if package is None:
        raise ModuleNotFoundError
    spec: Any = spec_from_file_location("open_clip_loss", Path(package.origin or "").with_name("loss.py"))
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    loss = module.ClipLoss()
    return lambda images, texts: loss(normalize(images), normalize(texts),
                                      torch.tensor(1 / TEMPERATURE, dtype=images.dtype))


def _optax(name: str, **options: Any) -> Callable[..., Any]:
    """A loss of optax: of JAX's arrays."""
    loss, jax, jnp = getattr(import_module("optax"), name), import_module("jax"), import_module("jax.numpy")

    def call(embeddings: torch.Tensor, labels: torch.Tensor) -> Any:
        x, y = jnp.asarray(embeddings.detach().numpy()), jnp.asarray(labels.numpy())
        value, gradient = jax.value_and_grad(lambda x: loss(x, y, **options))(x)
        return float(value), torch.tensor(jax.device_get(gradient).tolist(), dtype=embeddings.dtype)

    return call


def _ntxent(embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Every positive of a sample against its negatives."""
    similar = _cosines(embeddings, embeddings) / TEMPERATURE
    own = labels[:, None] == labels
    positive = own & ~torch.eye(len(labels), dtype=torch.bool)
    negatives = torch.logsumexp(similar.masked_fill(own, -math.inf), dim=1, keepdim=True)
    return (torch.logaddexp(similar, negatives) - similar)[positive].mean()


def _supcon(embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    similar = _cosines(embeddings, embeddings) / TEMPERATURE
    itself = torch.eye(len(labels), dtype=torch.bool)
    positive = (labels[:, None] == labels) & ~itself
    log_p = similar - torch.logsumexp(similar.masked_fill(itself, -math.inf), dim=1, keepdim=True)
    return -(torch.where(positive, log_p, 0.0).sum(dim=1) / positive.sum(dim=1)).mean()


def _triplets(embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """All of a batch that have a loss, by distances of unit vectors."""
    x = _unit(embeddings)
    itself = torch.eye(len(labels), dtype=torch.bool)
    distance = ((x[:, None] - x) ** 2).sum(dim=2).masked_fill(itself, 1.0).sqrt()
    own = labels[:, None] == labels
    positive = own & ~itself
    hinge = torch.relu(distance[:, :, None] - distance[:, None, :] + 0.2)[positive[:, :, None] & ~own[:, None, :]]
    return hinge.sum() / (hinge > 0).sum()


def _two_towers(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    return cross_entropy(_cosines(queries, keys) / TEMPERATURE, torch.arange(len(queries)))


def _both_ways(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    return (_two_towers(queries, keys) + _two_towers(keys, queries)) / 2


LABELS = torch.arange(8) // 2

GROUPS = (
    Group("ArcFace", f"m = {MARGIN}, s = {SCALE:g}.", BEYOND, partial(_textbook, _arc), {
        "anglos": lambda: partial(anglos.arcface, margin=MARGIN, scale=SCALE),
        "pytorch-metric-learning": lambda: _pml("ArcFaceLoss", margin=math.degrees(MARGIN), scale=SCALE),
        "the formula": lambda: partial(_textbook, _arc),
        "with cos θ clamped": lambda: partial(_textbook, _arc_clamped)}),
    Group("CosFace", f"m = {MARGIN}, s = {SCALE:g}.", HEADS, partial(_textbook, lambda cos: cos - MARGIN), {
        "anglos": lambda: partial(anglos.cosface, margin=MARGIN, scale=SCALE),
        "pytorch-metric-learning": lambda: _pml("CosFaceLoss", margin=MARGIN, scale=SCALE),
        "the formula": lambda: partial(_textbook, lambda cos: cos - MARGIN)}),
    Group("InfoNCE", f"τ = {TEMPERATURE}, two towers.", _of_pairs(None, singular=False), _two_towers, {
        "anglos": lambda: partial(anglos.info_nce, temperature=TEMPERATURE),
        "info-nce-pytorch": _info_nce, "the formula": lambda: _two_towers}),
    Group("CLIP", f"A scale of {1 / TEMPERATURE:g}, two towers.", _of_pairs(None, singular=False), _both_ways, {
        "anglos": lambda: partial(anglos.clip, scale=1 / TEMPERATURE),
        "open_clip_torch": _open_clip, "the formula": lambda: _both_ways}),
    Group("NT-Xent", f"τ = {TEMPERATURE}, eight embeddings, two of a class.",
          _of_pairs(LABELS, singular=False), _ntxent, {
        "anglos": lambda: partial(anglos.nt_xent, temperature=TEMPERATURE),
        "pytorch-metric-learning": lambda: _pml_pairs("NTXentLoss", temperature=TEMPERATURE),
        "optax": lambda: _optax("ntxent", temperature=TEMPERATURE), "the formula": lambda: _ntxent}),
    Group("SupCon", f"τ = {TEMPERATURE}, eight embeddings, two of a class.",
          _of_pairs(LABELS, singular=False), _supcon, {
        "anglos": lambda: partial(anglos.supcon, temperature=TEMPERATURE),
        "pytorch-metric-learning": lambda: _pml_pairs("SupConLoss", temperature=TEMPERATURE),
        "the formula": lambda: _supcon}),
    Group("Triplets", "m = 0.2, all of the batch, distances of unit vectors.",
          _of_pairs(LABELS, singular=True), _triplets, {
        "anglos": lambda: partial(anglos.triplet, mining="batch_all", distance="euclidean", margin=0.2),
        "pytorch-metric-learning": lambda: _pml_pairs("TripletMarginLoss", margin=0.2),
        "the formula": lambda: _triplets}),
)


class Outcome(NamedTuple):
    """A value, and the gradients of all arrays that have one."""

    value: float
    gradients: tuple[torch.Tensor, ...]


def run(loss: Callable[..., Any], arrays: tuple[torch.Tensor, ...]) -> Outcome:
    """Value and gradients, or what the loss gives if it differentiates by itself."""
    leaves = [array.clone().requires_grad_(array.is_floating_point()) for array in arrays]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = loss(*leaves)
        if isinstance(value, tuple):
            return Outcome(value[0], (value[1],))
        value.backward()
    return Outcome(float(value.detach()), tuple(leaf.grad for leaf in leaves if leaf.grad is not None))


def exact(group: Group, inputs: Inputs) -> Outcome:
    """The textbook's in float64, in which none of these lengths is a difficulty."""
    return run(group.textbook, tuple(array.double() if array.is_floating_point() else array
                                     for array in inputs.arrays))


def says(group: Group, inputs: Inputs, loss: Callable[..., Any]) -> str:
    """What came of it, in a word or two; "right" where all that is defined is right and finite."""
    try:
        found = run(loss, inputs.arrays)
    except Exception as error:
        return f"refused: {type(error).__name__}"
    faults = []
    true = exact(group, inputs)
    tolerance = 0.02 if inputs.arrays[0].dtype == torch.float16 else 1e-3
    if not math.isfinite(found.value):
        faults.append(f"value {_spell(found.value)}")
    elif inputs.value and abs(found.value - true.value) > tolerance * max(abs(true.value), 1e-2):
        faults.append(f"value {found.value:.3g}, not {true.value:.3g}")
    if not all(torch.isfinite(one).all() for one in found.gradients):
        faults.append(f"gradient {_not_finite(found, true)}")
    elif inputs.gradient and math.isfinite(found.value):
        faults += _off(found, true, tolerance)
    return ", ".join(faults) or "right"


def _off(found: Outcome, true: Outcome, tolerance: float) -> Iterator[str]:
    """The first gradient that is not what it should be, if any."""
    for one, other in zip(found.gradients, true.gradients, strict=False):
        size = float(other.abs().max())
        apart = float((one.double() - other).abs().max()) / size if size else 0.0
        if apart > tolerance and not (size < 1e-6 and not one.any()):
            yield "gradient 0" if not one.any() else f"gradient {apart:.0%} off" if apart < 10 else "gradient wrong"
            return


def _not_finite(found: Outcome, true: Outcome) -> str:
    if any(one.isnan().any() for one in found.gradients):
        return "NaN"
    fits = all(float(other.abs().max()) <= torch.finfo(one.dtype).max
               for one, other in zip(found.gradients, true.gradients, strict=True))
    return "infinite" if fits else "too large for float16"


def _spell(value: float) -> str:
    return "NaN" if math.isnan(value) else "infinite"


def table(group: Group) -> list[list[str]]:
    """A row for each input, a column for each library."""
    columns: dict[str, Callable[..., Any] | None] = {}
    for name, make in group.peers.items():
        try:
            columns[name] = make()
        except ModuleNotFoundError:
            columns[name] = None
    rows = [["", *columns]]
    rows += [[title, *(says(group, inputs, loss) if loss else _ABSENT for loss in columns.values())]
             for title, inputs in group.inputs.items()]
    return rows


def beyond() -> list[list[str]]:
    """ArcFace where θ + m passes π: how the loss changes across that angle, and on to the opposite."""
    rows = [["", "across θ + m = π, in 0.002", "from there to θ = π"]]
    for name, make in GROUPS[0].peers.items():
        try:
            loss = make()
        except ModuleNotFoundError:
            rows.append([name, _ABSENT, _ABSENT])
            continue
        limit = math.pi - MARGIN
        before, after, end = (run(loss, _at(angle).arrays).value
                              for angle in (limit - 1e-3, limit + 1e-3, math.pi - 1e-3))
        rows.append([name, *(f"falls by {-change:.2f}" if change < 0 else f"rises by {change:.2f}"
                             for change in (after - before, end - after))])
    return rows


def versions() -> str:
    """Of all that is compared."""
    found = []
    for name in ("anglos", "torch", "pytorch-metric-learning", "info-nce-pytorch", "open_clip_torch", "optax"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name}: {_ABSENT}")
    return ", ".join(found)


def _markdown(rows: list[list[str]]) -> str:
    heading, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, ["---"] * len(heading), *body))


def page() -> str:
    """What stands on the page below its introduction."""
    parts = []
    for group in GROUPS:
        parts += [f"## {group.title}", group.text, _markdown(table(group))]
        if group is GROUPS[0]:
            parts += ["### Beyond π − m", "A loss should rise as θ does, up to θ = π.", _markdown(beyond())]
    return "\n\n".join([f"Measured with {versions()}.", *parts])


def setup(app: Any) -> dict[str, bool]:
    """Sphinx: measured while it reads the page."""
    def fill(app: Any, name: str, source: list[str]) -> None:
        if name == "hard_inputs":
            source[0] = source[0].replace("<!-- measured -->", page())

    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    print(page())
