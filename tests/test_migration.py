"""docs/migration.md: each change that it shows leaves the loss and its gradients what they were.

Lines with `-` are run against the library that they name, lines with `+` against anglos, in a namespace made by the
code block at the top of their section. insightface's, opensphere's and wespeaker's training code is on no package index:
for theirs stand the formulas below, from which autograd takes the gradient.
"""

import ast
import math
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
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
# Others need what the tests of every change install anyway.
FURTHER = {"Paddle": "paddle", "open_clip": "open_clip", "info-nce-pytorch": "info_nce"}


def test_every_section_was_read() -> None:
    found = {section: sum(row.section == section for row in ROWS) for section in SECTIONS}
    assert found == {"pytorch-metric-learning": 31, "insightface": 5, "opensphere": 5, "wespeaker": 6, "optax": 4,
                     "Paddle": 6, "open_clip": 2, "info-nce-pytorch": 4}
    assert all("anglos." in row.ours and "anglos." not in row.theirs for row in ROWS)


# What stands for code that cannot be installed.

class Prototypes(torch.nn.Module):  # type: ignore[misc]  # seen as Any
    """Cross entropy over s·φ of the label's class and s·cos θ of the others."""

    def __init__(self, dimension: int, classes: int, scale: float = 64.0, angle: Callable[..., Any] | None = None,
                 *, straight_through: bool = True, unit: bool = False) -> None:
        super().__init__()
        weight = torch.randn(classes, dimension)
        self.weight = torch.nn.Parameter(normalize(weight) if unit else weight)
        self.scale, self.target, self.straight_through, self.unit = scale, angle, straight_through, unit

    def cosines(self, embeddings: Any) -> Any:
        return normalize(embeddings) @ (self.weight if self.unit else normalize(self.weight)).T

    def logits(self, embeddings: Any, own: Any) -> Any:
        cos = self.cosines(embeddings)
        target = cos if self.target is None else self.target(torch.acos(cos))
        if self.straight_through:
            target = cos + (target - cos).detach()
        return self.scale * torch.where(own, target, cos)

    def forward(self, embeddings: Any, labels: Any) -> Any:
        own = functional.one_hot(labels, len(self.weight)).bool()
        return functional.cross_entropy(self.logits(embeddings, own), labels)


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
        super().__init__(dimension, classes, scale, straight_through=straight_through, unit=unit)
        self.margin, self.balance, self.t, self.factor = margin, balance, t, factor
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
    def head(curve: Callable[[float], Callable[..., Any]] | None) -> Callable[..., Any]:
        return lambda dimension, classes, s, m=0.0: Prototypes(
            dimension, classes, s, None if curve is None else curve(m), unit=True)

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
        "CocoLoss": head(None),
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
            self.mp, self.k_top = mp, k_top

        def update(self, margin: float) -> None:
            self.target, self.penalty = shifted(margin), self.mp * margin / 0.2

        def logits(self, embeddings: Any, own: Any) -> Any:
            cos = self.cosines(embeddings)
            nearest = torch.topk(cos.masked_fill(own, -2.0), self.k_top).indices
            hard = torch.zeros_like(own).scatter(1, nearest, True)
            nearer = torch.where(hard, torch.cos(torch.acos(cos) - self.penalty), cos)
            return self.scale * torch.where(own, self.target(torch.acos(cos)), nearer)

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
    return {name: getattr(module, name) for name in ("ClipLoss", "SigLipLoss")}


def by_class(parameter: Any, classes: int, dimension: int) -> Any:
    """Of (C, D), (D, C), (C·K, D) or (D, C·K): (C, D) or (C, K, D)."""
    if parameter.ndim < 2 or parameter.numel() == 1:
        return parameter.reshape(())
    rows = parameter if parameter.shape[1] == dimension else parameter.T
    return rows.reshape(classes, -1, dimension) if len(rows) > classes else rows


class Prepared:
    """Their prototypes in the place of ours: `Head` begins with them, and `weights` are they."""

    def __init__(self, theirs: list[Any]) -> None:
        self.theirs, self.ours = theirs, []  # type: list[Any], list[Any]

    def head(self, *arguments: Any, **options: Any) -> Any:
        head = import_module("anglos.backends.torch").Head(*arguments, **options)
        parameters = [head.weight, *head.tensors.values()]
        if self.theirs:
            head.weight.data = self.theirs[0].detach().clone()
            # A bias begins as it does in the text.
            for own, wanted in zip(parameters[1:], self.theirs[1:], strict=True):
                torch.testing.assert_close(own, wanted, rtol=1e-14, atol=0)
        self.ours = parameters
        return head


def sides(row: Row, names: Names) -> Iterator[tuple[Any, Any, list[Any], list[Any]]]:
    """Their value and ours, and the leaves of theirs and of ours, in the situations in which a change is tried."""
    leaves = [value for value in names.values()
              if isinstance(value, torch.Tensor) and value.requires_grad and value.is_leaf]
    labels, shared = names.get("labels"), set(names)
    theirs_names = dict(names)
    theirs = run(row.theirs, theirs_names)
    modules = [value for name, value in theirs_names.items()
               if name not in shared and isinstance(value, torch.nn.Module) and name != "model"]
    own = [parameter for module in modules for parameter in module.parameters()]
    sizes = [names[name] for kind in ("num_class", "dim|embedding_size") for name in names if re.search(kind, name)]
    sizes = [names.get("subj_num", sizes[0] if sizes else 0), *sizes[-1:]]
    converted = [by_class(parameter, *sizes) for parameter in own]
    prepared = Prepared(converted)
    ours_names = {**names, "Head": prepared.head}
    if converted and "Head(" not in row.ours:
        prepared.ours = [converted[0].detach().requires_grad_()]
        ours_names["weights"] = prepared.ours[0]
    ours = run(row.ours, ours_names)
    if not callable(theirs):
        yield theirs, ours, [*leaves, *own], [*leaves, *prepared.ours]
        return
    situations = [names["embeddings"]]
    if prepared.ours:
        # Every angle but a few beyond π − m.
        across = 0.1 * torch.randn(len(labels), sizes[1]) - prepared.ours[0].detach()[labels]
        situations.append(across.requires_grad_())
    for embeddings in situations:
        yield (theirs(embeddings, labels), ours(embeddings, labels), [embeddings, *own], [embeddings, *prepared.ours])


def check(theirs: Any, ours: Any, tolerance: float) -> None:
    """Values relative to the value, gradients to their largest entry."""
    theirs, ours = (np.asarray(array.detach() if hasattr(array, "detach") else array) for array in (theirs, ours))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * max(abs(theirs).max(), 1e-300))


def check_in_torch(row: Row, tolerance: float = 1e-11) -> None:
    with double_precision():
        names = setup(row.section)
        for theirs, ours, their_leaves, our_leaves in sides(row, names):
            if isinstance(theirs, tuple):
                assert [rows.tolist() for rows in ours] == [rows.tolist() for rows in theirs]
                continue
            check(theirs, ours, tolerance)
            if not theirs.requires_grad or "optimizer" in row.theirs:
                continue
            gradients = zip(*(torch.autograd.grad(loss, leaves, materialize_grads=True)
                              for loss, leaves in ((theirs, their_leaves), (ours, our_leaves))), strict=True)
            for leaf, (wanted, got) in zip(our_leaves, gradients, strict=True):
                if leaf.shape != wanted.shape:
                    wanted = by_class(wanted, leaf.shape[0] if leaf.ndim else 0, leaf.shape[-1] if leaf.ndim else 0)
                if row.section == "opensphere" and leaf is our_leaves[1]:
                    # The part along the prototype, of which its section speaks.
                    along = torch.sum(wanted * leaf, dim=1, keepdim=True) * leaf
                    assert along.abs().max() > 0.01 * wanted.abs().max()
                    wanted = wanted - along
                check(wanted, got, tolerance)


def cases(*sections: str) -> pytest.MarkDecorator:
    rows = [row for row in ROWS if row.section in sections]
    names = [re.findall(r"(?:^| |\.)(\w+)\(", row.theirs)[0] for row in rows]
    return pytest.mark.parametrize("row", rows, ids=names)


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")  # raised inside SphereFaceLoss
@cases("pytorch-metric-learning", "insightface", "opensphere", "wespeaker")
def test_change_in_torch(row: Row) -> None:
    check_in_torch(row)


@pytest.mark.slow
@cases("open_clip", "info-nce-pytorch")
def test_change_from_another_library_of_torch(row: Row) -> None:
    if row.section == "info-nce-pytorch":
        pytest.importorskip("info_nce", reason="info-nce-pytorch is not installed")
    check_in_torch(row)
