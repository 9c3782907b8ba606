"""docs/migration.md: each change that it shows leaves the loss and its gradients what they were.

Lines with `-` are run against the library that they name, lines with `+` against anglos, in a namespace made by the
code block at the top of their section. The training code of insightface, opensphere and wespeaker is on no package
index: in its place stand the formulas below, from which autograd takes the gradient.
"""

import ast
import math
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from libraries import Library

import anglos

torch: Any = import_module("torch")
functional: Any = import_module("torch.nn.functional")
normalize = functional.normalize

TEXT = (Path(__file__).parents[1] / "docs" / "migration.md").read_text()
Names = dict[str, Any]


class Row(NamedTuple):
    section: str
    theirs: str
    ours: str


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


SECTIONS = {section.partition("\n")[0]: section for section in TEXT.split("\n## ")[1:]}
ROWS = [Row(section, *("\n".join(line[2:] for line in change.splitlines() if line[:1] in sides)
                       for sides in ("- ", "+ ")))
        for section, text in SECTIONS.items() for block in blocks("diff", text)
        for change in block.split("\n\n")]


def test_every_section_was_read() -> None:
    found = {section: sum(row.section == section for row in ROWS) for section in SECTIONS}
    assert found == {"pytorch-metric-learning": 51, "insightface": 5, "opensphere": 7, "wespeaker": 6, "optax": 8,
                     "Paddle": 7, "open_clip": 4, "info-nce-pytorch": 4,
                     "sentence-transformers": 31, "lightly": 10}
    assert all("anglos." in row.ours and "anglos." not in row.theirs for row in ROWS)


# What stands in the place of code that cannot be installed.

class Prototypes(torch.nn.Module):  # type: ignore[misc]  # seen as Any
    """Cross entropy over s·φ of the label's class and s·η of the others, by default cos θ; with a factor.

    `unit`: the prototypes have length 1, and are not normalised where autograd sees it.
    """

    def __init__(self, dimension: int, classes: int, scale: float, target: Callable[..., Any] = torch.cos,
                 rest: Callable[..., Any] = torch.cos, *, factor: float = 1.0, straight_through: bool = True,
                 unit: bool = False) -> None:
        super().__init__()
        weight = torch.randn(classes, dimension)
        self.weight = torch.nn.Parameter(normalize(weight) if unit else weight)
        self.scale, self.target, self.rest, self.factor = scale, target, rest, factor
        self.straight_through, self.unit = straight_through, unit

    def cosines(self, embeddings: Any) -> Any:
        return normalize(embeddings) @ (self.weight if self.unit else normalize(self.weight)).T

    def logits(self, embeddings: Any, own: Any) -> Any:
        cos = self.cosines(embeddings)
        value = torch.where(own, self.target(torch.acos(cos)), self.rest(torch.acos(cos)))
        return self.scale * (cos + (value - cos).detach() if self.straight_through else value)

    def forward(self, embeddings: Any, labels: Any) -> Any:
        own = functional.one_hot(labels, len(self.weight)).bool()
        return self.factor * functional.cross_entropy(self.logits(embeddings, own), labels)


def falling(angle: Any) -> Any:
    """(−1)ᵏ cos(angle) − 2k for angles from kπ to (k + 1)π."""
    k = torch.floor(angle / math.pi).detach()
    return torch.cos(math.pi * k) * torch.cos(angle) - 2.0 * k


def insightface() -> Names:
    def combined(s: float, m1: float, m2: float, m3: float) -> Any:
        return s, lambda theta: torch.cos(theta) - m3 if m3 > 0 else torch.cos(m1 * theta + m2)

    return {
        "PartialFC_V2": lambda margin, dimension, classes: Prototypes(dimension, classes, *margin),
        "ArcFace": lambda s, margin: combined(s, 1.0, margin, 0.0),
        "CosFace": lambda s, m: combined(s, 1.0, 0.0, m),
        "CombinedMarginLoss": combined,
    }


class Binary(Prototypes):
    """Σ over classes of λ ς(−z_y) and (1 − λ) ς(z_j), z = s (g(cos θ) ∓ m) + b, g(v) = 2((v + 1)/2)ᵗ − 1."""

    def __init__(self, dimension: int, classes: int, scale: float, margin: float, balance: float, t: float, *,
                 factor: float, bias: float, straight_through: bool, unit: bool) -> None:
        super().__init__(dimension, classes, scale, factor=factor, straight_through=straight_through, unit=unit)
        self.margin, self.balance, self.t = margin, balance, t
        self.bias = torch.nn.Parameter(torch.full((1, 1), bias))

    def forward(self, embeddings: Any, labels: Any) -> Any:
        own = functional.one_hot(labels, len(self.weight))
        sign, cos = 2 * own - 1, self.cosines(embeddings)
        g = 2.0 * ((cos + 1.0) / 2.0) ** self.t - 1.0
        if self.straight_through:
            g = cos + (g - cos).detach()
        logits = self.scale * (g - sign * self.margin) + self.bias
        weight = torch.where(own.bool(), self.balance, 1.0 - self.balance)
        return self.factor * torch.mean(torch.sum(weight * -functional.logsigmoid(sign * logits), dim=1))


def opensphere() -> Names:
    def head(curve: Callable[[float], Callable[..., Any]]) -> Callable[..., Any]:
        return lambda dimension, classes, s, m=0.0: Prototypes(dimension, classes, s, curve(m), unit=True)

    def revived(dimension: int, classes: int, magn_type: str, s: float, m: float, lw: float) -> Prototypes:
        curves = {"v1": (lambda theta: torch.cos(torch.clamp(m * theta, max=math.pi)), torch.cos),
                  "v2": (torch.cos, lambda theta: torch.cos(theta / m))}[magn_type]
        return Prototypes(dimension, classes, s, *curves, factor=lw / s, unit=True)

    def binary(dimension: int, classes: int, alpha: float, r: float, m: float, t: float, lw: float) -> Binary:
        # The bias at which the loss of right angles is least, from a root of its derivative.
        half, z = 2.0 * 0.5**t - 1.0, alpha / ((1.0 - alpha) * (classes - 1.0))
        own, other = r * (half - m), r * (half + m)
        root = math.sqrt((1.0 - z) ** 2 + 4.0 * z * math.exp(own - other))
        bias = math.log(2.0 * z) - other - math.log(1.0 - z + root)
        return Binary(dimension, classes, r, m, alpha, t, factor=lw / r, bias=bias, straight_through=True, unit=True)

    return {
        "ArcFace": head(lambda m: lambda theta: torch.cos(torch.clamp(theta + m, max=math.pi))),
        "CosFace": head(lambda m: lambda theta: torch.cos(theta) - m),
        "SphereFace": head(lambda m: lambda theta: falling(m * theta)),
        "CocoLoss": head(lambda m: torch.cos),
        "SphereFaceR_H": revived,
        "SphereFace2": binary,
    }


def wespeaker() -> Names:
    def shifted(margin: float) -> Callable[..., Any]:
        """Beyond π the cosine without a margin, moved to where the curve is left."""
        return lambda theta: torch.where(
            theta + margin < math.pi, torch.cos(theta + margin), torch.cos(theta) - 1.0 + math.cos(margin))

    def arc(dimension: int, classes: int, scale: float, margin: float, easy_margin: bool = False) -> Prototypes:
        def easy(theta: Any) -> Any:
            return torch.cos(torch.where(theta < math.pi / 2, theta + margin, theta))

        return Prototypes(dimension, classes, scale, easy if easy_margin else shifted(margin), straight_through=False)

    def add(dimension: int, classes: int, scale: float, margin: float) -> Prototypes:
        return Prototypes(dimension, classes, scale, lambda theta: torch.cos(theta) - margin)

    class Topk(Prototypes):
        """The k nearest other classes at cos(θ − m′)."""

        def __init__(self, dimension: int, classes: int, K: int, mp: float, k_top: int) -> None:
            assert K == 1
            super().__init__(dimension, classes, 32.0, straight_through=False)
            self.mp, self.k_top, self.curve, self.penalty = mp, k_top, shifted(0.0), 0.0

        def update(self, margin: float) -> None:
            self.curve, self.penalty = shifted(margin), self.mp * margin / 0.2

        def logits(self, embeddings: Any, own: Any) -> Any:
            cos = self.cosines(embeddings)
            nearest = torch.topk(cos.masked_fill(own, -2.0), self.k_top).indices
            hard = torch.zeros_like(own).scatter(1, nearest, True)
            nearer = torch.where(hard, torch.cos(torch.acos(cos) - self.penalty), cos)
            return self.scale * torch.where(own, self.curve(torch.acos(cos)), nearer)

    class Sphere(Prototypes):
        """|x| times the curve, mixed with the cosine: λ = max(5, 1000 / (1 + 0.12·step))."""

        def __init__(self, dimension: int, classes: int, margin: int) -> None:
            super().__init__(dimension, classes, 1.0, straight_through=False)
            self.margin, self.step = margin, 0

        def logits(self, embeddings: Any, own: Any) -> Any:
            self.step += 1
            cos, annealing = self.cosines(embeddings), max(5.0, 1000.0 / (1.0 + 0.12 * self.step))
            target = (annealing * cos + falling(self.margin * torch.acos(cos))) / (1.0 + annealing)
            return embeddings.norm(dim=1, keepdim=True) * torch.where(own, target, cos)

    class Pair(Binary):
        def forward(self, embeddings: Any, labels: Any) -> Any:
            return None, super().forward(embeddings, labels)

    def binary(dimension: int, classes: int, scale: float, margin: float, lanbuda: float, t: float, margin_type: str
               ) -> Binary:
        assert margin_type == "C"
        return Pair(dimension, classes, scale, margin, lanbuda, t, factor=1.0, bias=0.0, straight_through=False,
                    unit=False)

    return {"ArcMarginProduct": arc, "AddMarginProduct": add, "ArcMarginProduct_intertopk_subcenter": Topk,
            "SphereProduct": Sphere, "SphereFace2": binary, "criterion": lambda loss, labels: loss}


# Running a side of a change.

def run(code: str, names: Names) -> Any:
    """What the last assignment made."""
    last = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Assign)]
    target = max(last, key=lambda node: node.lineno).targets[0]
    torch.manual_seed(1)
    exec(compile(code, "migration.md", "exec"), names)
    return names[ast.unparse(target.elts[-1] if isinstance(target, ast.Tuple) else target)]


@contextmanager
def double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def setup(section: str) -> Names:
    torch.manual_seed(0)
    names: Names = {}
    if section == "open_clip":
        names |= open_clip_losses()
    elif section == "lightly":
        import_lightly()
    exec(compile(blocks("python", SECTIONS[section])[0], "migration.md", "exec"), names)
    return names | {"insightface": insightface, "opensphere": opensphere, "wespeaker": wespeaker}.get(section, dict)()


def open_clip_losses() -> Names:
    """Its file of losses alone: the package needs torchvision, which cannot be imported beside a PyTorch for CPUs."""
    package = find_spec("open_clip")
    if package is None or package.origin is None:
        pytest.skip("open_clip_torch is not installed (pip install --no-deps open_clip_torch)")
    spec = spec_from_file_location("open_clip_loss", Path(package.origin).with_name("loss.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: value for name, value in vars(module).items() if name.endswith("Loss")}


def import_lightly() -> None:
    """With an empty torchvision where there is none for this PyTorch: none of the losses compared needs it."""
    if find_spec("lightly") is None:
        pytest.skip("lightly is not installed (pip install --no-deps lightly)")
    try:
        import_module("torchvision")
    except (ImportError, RuntimeError):
        ops = ModuleType("torchvision.ops")
        ops.__dict__.update(roi_align=None, StochasticDepth=None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
            patch.setitem(sys.modules, "torchvision.ops", ops)
            import_module("lightly.loss")


def by_class(parameter: Any, classes: int, dimension: int) -> Any:
    """Of (C, D), (D, C), (C·K, D) or (D, C·K): (C, D) or (C, K, D); of a bias: a number."""
    if parameter.numel() == 1:
        return parameter.reshape(())
    rows = parameter if parameter.shape[1] == dimension else parameter.T
    return rows.reshape(classes, -1, dimension) if len(rows) > classes else rows


SIZES = {"pytorch-metric-learning": ("num_classes", "embedding_size"), "opensphere": ("subj_num", "feat_dim"),
         "insightface": ("num_classes", "embedding_size"), "wespeaker": ("num_class", "embed_dim")}


class Sides(NamedTuple):
    theirs: Any
    ours: Any
    their_leaves: list[Any]
    our_leaves: list[Any]
    prototypes: Any
    """Those that both begin with, if there are any."""


def both_sides(row: Row, names: Names, sizes: list[int]) -> Sides:
    leaves = [value for value in names.values()
              if isinstance(value, torch.Tensor) and value.requires_grad and value.is_leaf]
    their_names, parameters = dict(names), []  # type: Names, list[Any]
    theirs = run(row.theirs, their_names)
    own = [parameter for name, value in their_names.items() if name not in names and name != "model"
           if isinstance(value, torch.nn.Module) for parameter in value.parameters()]
    begin = [by_class(parameter, *sizes).detach().clone() for parameter in own]

    def head(*arguments: Any, **options: Any) -> Any:
        """With their prototypes; a bias begins as it does in the text."""
        made = import_module("anglos.backends.torch").Head(*arguments, **options)
        made.weight.data = begin[0].clone()
        for bias, wanted in zip(made.tensors.values(), begin[1:], strict=True):
            torch.testing.assert_close(bias.data, wanted, rtol=1e-14, atol=0)
        parameters[:] = [made.weight, *made.tensors.values()]
        return made

    if begin and "Head(" not in row.ours:
        parameters[:] = [begin[0].clone().requires_grad_()]
    ours = run(row.ours, {**names, "Head": head, **({"weights": parameters[0]} if parameters else {})})
    if callable(theirs):
        theirs, ours = (loss(names["embeddings"], names["labels"]) for loss in (theirs, ours))
    return Sides(theirs, ours, [*leaves, *own], [*leaves, *parameters], begin[0] if begin else None)


def check(theirs: Any, ours: Any, tolerance: float = 1e-12) -> None:
    """Values relative to the value, gradients to their largest entry."""
    theirs, ours = (np.asarray(array.detach() if hasattr(array, "detach") else array) for array in (theirs, ours))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * abs(theirs).max())


def check_in_torch(row: Row) -> None:
    with double_precision():
        names = setup(row.section)
        sizes = [names[name] for name in SIZES.get(row.section, ())]
        sides = both_sides(row, names, sizes)
        compare(row, sides, sizes)
        if sides.prototypes is not None and sides.prototypes.ndim == 2:
            # θ + m past π for every label.
            own = normalize(sides.prototypes)[names["labels"]]
            across = 0.03 * torch.randn(own.shape) - own
            assert functional.cosine_similarity(across, own).max() < math.cos(math.pi - 0.2)
            compare(row, both_sides(row, names | {"embeddings": across.requires_grad_()}, sizes), sizes)


def compare(row: Row, sides: Sides, sizes: list[int]) -> None:
    if isinstance(sides.theirs, tuple):
        assert [rows.tolist() for rows in sides.ours] == [rows.tolist() for rows in sides.theirs]
        return
    check(sides.theirs, sides.ours)
    if any(name in row.theirs for name in ("optimizer", "get_outliers", "DynamicSoftMargin")):
        return
    wanted, got = (torch.autograd.grad(loss, leaves, materialize_grads=True, retain_graph=True) for loss, leaves in (
        (sides.theirs, sides.their_leaves), (sides.ours, sides.our_leaves)))
    shaped = [gradient if leaf.shape == gradient.shape else by_class(gradient, *sizes)
              for gradient, leaf in zip(wanted, sides.our_leaves, strict=True)]
    if row.section == "opensphere" or "P2SGrad" in row.theirs:
        # The part along the prototype, of which their sections speak.
        place = [leaf.shape for leaf in sides.our_leaves].index(sides.prototypes.shape)
        weights = sides.our_leaves[place]
        along = torch.sum(shaped[place] * weights, dim=1, keepdim=True) * weights
        assert along.abs().max() > 0.01 * shaped[place].abs().max()
        shaped[place] = shaped[place] - along
    assert any(gradient.abs().max() > 0 for gradient in shaped)
    for gradient, own in zip(shaped, got, strict=True):
        check(gradient, own)


def cases(*sections: str) -> pytest.MarkDecorator:
    rows = [row for row in ROWS if row.section in sections]
    names = [re.findall(r"(?:^| |\.)(\w+)\(", row.theirs)[0] for row in rows]
    return pytest.mark.parametrize("row", rows, ids=names)


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")  # raised inside SphereFaceLoss
@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning")  # raised inside HistogramLoss
@cases("pytorch-metric-learning", "insightface", "opensphere", "wespeaker")
def test_change_in_torch(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    # P2SGradLoss alone uses it, which adds 1e-7 to lengths.
    monkeypatch.setattr(torch.Tensor, "renorm", lambda rows, p, dim, most: most * normalize(rows, dim=0))
    check_in_torch(row)


@cases("optax")
def test_change_in_jax(row: Row, jax_library: Library) -> None:
    jax: Any = import_module("jax")
    names = setup(row.section)
    floats = {name: value for name, value in names.items()
              if isinstance(value, jax.Array) and jax.numpy.issubdtype(value.dtype, jax.numpy.floating)}

    def both(code: str) -> Any:
        return jax.jit(jax.value_and_grad(lambda arrays: run(code, {**names, **arrays})))(floats)

    (theirs, wanted), (ours, got) = both(row.theirs), both(row.ours)
    check(theirs, ours)
    assert any(abs(gradient).max() > 0 for gradient in wanted.values())
    for name, gradient in wanted.items():
        check(gradient, got[name])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")  # raised inside DCLWLoss
@cases("open_clip", "info-nce-pytorch", "lightly")
def test_change_from_another_library_of_torch(row: Row) -> None:
    if row.section == "info-nce-pytorch":
        pytest.importorskip("info_nce", reason="info-nce-pytorch is not installed")
    check_in_torch(row)


@pytest.fixture
def paddle() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No ccache found", UserWarning)
        return pytest.importorskip("paddle", reason="paddlepaddle is not installed")


@pytest.mark.slow
@cases("Paddle")
def test_change_from_paddle(row: Row, paddle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names = setup(row.section)
    if not paddle.is_compiled_with_cuda():
        monkeypatch.setattr(names["F"], "margin_cross_entropy", partial(margins_in_paddle, paddle))
    # Their N-pair loss is of float32 alone: sums of 16 products.
    float_type, tolerance = ("float32", 64 * 2.0**-23) if "npair" in row.theirs else ("float64", 1e-12)
    if "cosine_embedding" in row.theirs:  # which adds 1e-11 to squared lengths, here from 4 on
        tolerance = 1e-11
    arrays = {name: value.astype(float_type) if value.dtype == "float64" else value
              for name, value in names.items() if isinstance(value, np.ndarray)}
    floats = [name for name, value in arrays.items() if value.dtype == float_type and name in row.theirs]
    their_arrays = {name: paddle.to_tensor(value, stop_gradient=name not in floats) for name, value in arrays.items()}
    our_arrays = {name: torch.tensor(value, requires_grad=name in floats) for name, value in arrays.items()}
    theirs, ours = run(row.theirs, {**names, **their_arrays}), run(row.ours, {**names, **our_arrays})
    check(theirs, ours, tolerance)
    wanted = paddle.grad(theirs, [their_arrays[name] for name in floats])
    for gradient, got in zip(wanted, torch.autograd.grad(ours, [our_arrays[name] for name in floats]), strict=True):
        check(gradient, got, tolerance)


def margins_in_paddle(paddle: Any, cosines: Any, labels: Any, *, margin1: float, margin2: float, margin3: float,
                      scale: float) -> Any:
    own = paddle.nn.functional.one_hot(labels, cosines.shape[1]).astype(cosines.dtype)
    turned = paddle.cos(margin1 * paddle.acos(cosines) + margin2) - margin3
    logits = scale * (own * turned + (1.0 - own) * cosines)
    return paddle.mean(paddle.logsumexp(logits, axis=1) - paddle.sum(own * logits, axis=1))


# What the text says of differences.

@pytest.mark.slow
def test_paddle_on_a_cpu(paddle: Any) -> None:
    if paddle.is_compiled_with_cuda():
        pytest.skip("this Paddle is for GPUs")
    names = setup("Paddle")
    logits, labels = 100.0 * names["cosines"], names["labels"]
    arrays = paddle.to_tensor(logits), paddle.to_tensor(labels)
    with pytest.raises(RuntimeError, match="cpu"):
        names["F"].margin_cross_entropy(arrays[0] / 100.0, arrays[1])
    no_further = np.maximum(logits, logits.max(axis=1, keepdims=True) - 64.0)
    assert (no_further > logits).any()
    check(names["F"].cross_entropy(*arrays), anglos.cross_entropy(no_further, labels), 1e-12)


def made_by_pml(*names: str) -> list[Any]:
    section = setup("pytorch-metric-learning")
    return [section[name] for name in names]


def test_angular_loss_of_pml_has_longer_negatives() -> None:
    with double_precision():
        embeddings, labels, losses = made_by_pml("embeddings", "labels", "losses")
        unit, tan = normalize(embeddings), math.tan(math.radians(40)) ** 2
        pairs = (labels[:, None] == labels) & ~torch.eye(len(labels), dtype=torch.bool)
        anchors, positives = unit[pairs.nonzero()[:, 0]], unit[pairs.nonzero()[:, 1]]
        products = (4 * tan * (anchors + positives) @ embeddings.T
                    - 2 * (1 + tan) * torch.sum(anchors * positives, dim=1, keepdim=True))
        others = labels[pairs.nonzero()[:, 0]][:, None] != labels
        wanted = torch.log1p(torch.sum(torch.where(others, products.exp(), 0.0), dim=1)).mean()
        check(losses.AngularLoss(alpha=40)(embeddings, labels), wanted)
        assert wanted > 1.5 * anglos.angular(embeddings, labels, alpha=anglos.degrees(40))


def test_contrastive_loss_of_pml_has_two_means() -> None:
    with double_precision():
        embeddings, labels, losses = made_by_pml("embeddings", "labels", "losses")
        both, positive = (anglos.contrastive(embeddings, labels, margin=margin, squared=False, reduction="sum")
                          for margin in (1.0, 0.0))
        near = torch.cdist(normalize(embeddings), normalize(embeddings)) < 1.0
        same = labels[:, None] == labels
        count = torch.sum(same) - len(labels), torch.sum(near & ~same)
        check(losses.ContrastiveLoss()(embeddings, labels), positive / count[0] + (both - positive) / count[1])


def test_semi_hard_triplets_are_the_nearest_of_those_of_pml() -> None:
    with double_precision():
        embeddings, labels, miners = made_by_pml("embeddings", "labels", "miners")
        distances = torch.cdist(normalize(embeddings), normalize(embeddings))
        nearest: dict[tuple[int, int], int] = {}
        for anchor, positive, negative in zip(
                *miners.TripletMarginMiner(margin=0.1, type_of_triplets="semihard")(embeddings, labels), strict=True):
            pair = int(anchor), int(positive)
            if pair not in nearest or distances[anchor, negative] < distances[anchor, nearest[pair]]:
                nearest[pair] = int(negative)
        ours = anglos.mining.semi_hard(embeddings, labels, margin=0.1, distance="euclidean")
        assert nearest == {(int(a), int(p)): int(n) for a, p, n in zip(*ours, strict=True)}
        assert len(nearest) > 10


def test_memory_of_pml_holds_the_batch() -> None:
    """As copies without a gradient: at first the loss is that of the batch."""
    with double_precision():
        embeddings, labels, losses = made_by_pml("embeddings", "labels", "losses")
        memory = losses.CrossBatchMemory(losses.NTXentLoss(temperature=0.07), embeddings.shape[1], memory_size=64)
        theirs, ours = memory(embeddings, labels), anglos.nt_xent(embeddings, labels, temperature=0.07)
        check(theirs, ours)
        wanted, got = (torch.autograd.grad(loss, embeddings)[0] for loss in (theirs, ours))
        assert (wanted - got).abs().max() > 0.1 * got.abs().max()


def test_epsilon_of_optax_is_one_more_coordinate(jax_library: Library) -> None:
    """(√eps)² is added to both squared distances."""
    names = setup("optax")
    anchors, *others = (np.asarray(names[name]) for name in ("anchors", "positives", "negatives"))
    longer = [np.pad(array, ((0, 0), (0, 1)), constant_values=math.sqrt(eps)) for array, eps in (
        (anchors, 0.0), *((array, 1e-6) for array in others))]
    check(names["optax"].losses.triplet_margin_loss(anchors, *others).mean(),
          anglos.triplet_margin(*longer, distance="euclidean", normalize=False, margin=1.0))


def test_distance_zero_in_optax(jax_library: Library) -> None:
    jax: Any = import_module("jax")
    names = setup("optax")
    anchors, negatives = names["anchors"], names["negatives"]

    def slope(loss: Callable[..., Any], **options: Any) -> np.ndarray:
        return np.asarray(jax.jit(jax.grad(lambda rows: loss(rows, anchors, negatives, **options).mean()))(anchors))

    assert np.isnan(slope(names["optax"].losses.triplet_margin_loss, eps=0.0)).all()
    assert np.isfinite(slope(anglos.triplet_margin, distance="euclidean", normalize=False, margin=1.0)).all()


@pytest.mark.slow
def test_memory_of_lightly() -> None:
    """Random at first; and of a batch that passes its end, the rest is not kept."""
    names = setup("lightly")
    loss, views, earlier = (names[name] for name in ("losses", "views", "earlier"))
    bank = loss.NTXentLoss(memory_bank_size=(12, 16)).memory_bank
    torch.testing.assert_close(bank.bank.norm(dim=1), torch.ones(12))
    memory = anglos.memory.empty(12, torch.zeros(1, 16))
    for rows in (views[:8], earlier):
        bank(rows, update=True)
        memory = anglos.memory.enqueue(memory, rows, torch.arange(8))
    assert torch.equal(bank.bank, torch.cat([views[:8], earlier[:4]]))
    assert torch.equal(memory.embeddings, torch.cat([earlier[4:], views[4:8], earlier[:4]]))
