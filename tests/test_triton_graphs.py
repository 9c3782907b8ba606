"""The kernels in a compiled graph, on a CPU: as operations, which do here what they replace."""

import importlib
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from operations import as_on_cuda
from samples import BATCH
from test_torch_compile import agree, batch, margins

import anglos
from anglos import Loss
from anglos.arrays.dispatch import backend_of
from anglos.arrays.partners import OfPartners, Partners, Runs
from anglos.arrays.softmax import Softmax
from anglos.arrays.tile import Map, Product, Tile
from anglos.engines.pairs.partners import ShareOfPositives
from anglos.engines.sums import Binary, Squares

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]  # Dynamo's own

dynamo: Any = importlib.import_module("torch._dynamo")
common: Any = importlib.import_module("torch._dynamo.backends.common")
partitioners: Any = importlib.import_module("functorch.compile")
choice: Any = importlib.import_module("anglos.backends.torch.triton.choice")
operands: Any = importlib.import_module("anglos.backends.torch.triton.operands")
kernels: Any = importlib.import_module("anglos.backends.torch.triton.operations")
sphereface2: Any = importlib.import_module("anglos.losses.sphereface2")
curricularface: Any = importlib.import_module("anglos.losses.curricularface")
partners: Any = importlib.import_module("anglos.backends.torch.triton.partner_operations")
BACKEND: Any = backend_of(torch.zeros(1))


@kernels.rest_terms_of.register_kernel("cpu")  # type: ignore[untyped-decorator]
def _(shift: torch.Tensor | None, *arrays: Any, way: str, kept: torch.dtype | None) -> list[torch.Tensor]:
    tile = composed(arrays, kept)
    return made(tile, *Softmax.rest_terms(BACKEND, tile, shift)[shift is not None:])


@kernels.rest_shares_of.register_kernel("cpu")  # type: ignore[untyped-decorator]
def _(total: torch.Tensor, *arrays: Any, way: str) -> torch.Tensor:
    return stored(Softmax.rest_shares(BACKEND, composed(arrays), total), way)


@kernels.terms_both_ways_of.register_kernel("cpu")  # type: ignore[untyped-decorator]
def _(shift: torch.Tensor | None, of_classes: torch.Tensor | None, *arrays: Any, way: str) -> list[torch.Tensor]:
    own, others = Softmax.terms_both_ways(BACKEND, composed(arrays), shift, of_classes)
    return [*own[shift is not None:], *others[of_classes is not None:]]


@kernels.shares_both_ways_of.register_kernel("cpu")  # type: ignore[untyped-decorator]
def _(*arrays: Any, way: str) -> torch.Tensor:
    return stored(Softmax.shares_both_ways(BACKEND, composed(arrays[4:]), *arrays[:4]), way)


@kernels.rest_sums_of.register_kernel("cpu")  # type: ignore[untyped-decorator]
def _(*arrays: Any, way: str, of: str, kept: torch.dtype | None) -> list[torch.Tensor]:
    tile = composed(arrays, kept)
    return made(tile, Softmax.rest_sums(BACKEND, tile, TERMS[of]))


@kernels.rest_slopes_of.register_kernel("cpu")  # type: ignore[untyped-decorator]
def _(factor: torch.Tensor | None, *arrays: Any, way: str, of: str) -> torch.Tensor:
    return stored(Softmax.rest_slopes(BACKEND, composed(arrays), TERMS[of], factor), way)


CURVES: dict[str, Any] = {
    "power": lambda backend, cos, p, q: sphereface2._rest(backend, cos, None, variant="C", margin=q, t=p),
    "above a threshold": lambda backend, cos, p, q: curricularface._rest(backend, cos, q, t=p)}


@partners.partner_terms_of.register_kernel("cpu")  # type: ignore[untyped-decorator]
def _(*arrays: Any) -> list[torch.Tensor]:
    return [*OfPartners.partner_terms(BACKEND, gathered(arrays))]


@partners.partner_sums_of.register_kernel("cpu")  # type: ignore[untyped-decorator]
def _(above: torch.Tensor, *arrays: Any, of: str) -> list[torch.Tensor]:
    return [*OfPartners.partner_sums(BACKEND, gathered(arrays), TERMS[of], above)]


@partners.partner_pull_of.register_kernel("cpu")  # type: ignore[untyped-decorator]
def _(above: torch.Tensor, weight: torch.Tensor | None, less: torch.Tensor | None, *arrays: Any, of: str
      ) -> torch.Tensor:
    found: torch.Tensor = OfPartners.partner_pull(BACKEND, gathered(arrays), TERMS[of], above, weight, less)
    return found


def gathered(arrays: tuple[Any, ...]) -> Partners:
    """The partners of which PyTorch's own operations make the same."""
    return Partners._make((*arrays[:5], Runs._make(arrays[5:])))


TERMS = {term.name: term for term in (Binary.term, Squares.term, ShareOfPositives.term)}


def composed(arrays: tuple[Any, ...], kept: torch.dtype | None = None) -> Tile:
    """The tile of which PyTorch's own operations make the same, in float32."""
    product: Product = operands.product_of(arrays)
    product = product._replace(prototypes=product.prototypes.float(), points=product.points.float())
    if product.map is not None:
        numbers, curve = product.map.numbers, CURVES[product.map.name]
        product = product._replace(map=product.map._replace(curve=lambda backend, cos: curve(backend, cos, *numbers)))
    shape = len(product.prototypes), len(product.points)
    room = None if kept is None else torch.empty(shape, dtype=kept)
    tile: Tile = BACKEND.tile_of(None, product.labels, product.first, kept=room, product=product)
    return tile


def made(tile: Tile, *sums: torch.Tensor) -> list[torch.Tensor]:
    return [*sums] if tile.kept is None else [*sums, tile.kept]


def stored(shares: torch.Tensor, way: str) -> torch.Tensor:
    """In the type in which kernels store them."""
    return shares.to(torch.bfloat16) if way == "half" else shares


@pytest.fixture(autouse=True)
def on_a_hopper(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With Triton, for a graph; what is not compiled has no kernels."""
    monkeypatch.setattr(choice, "has_triton", lambda: True)
    monkeypatch.setattr(choice, "capability_of", lambda device: (9, 0))
    monkeypatch.setattr(choice, "recorded", lambda: True)
    dynamo.reset()
    with as_on_cuda(), pytest.MonkeyPatch.context() as inside:
        inside.setenv("ANGLOS_TRITON", "1")
        yield
    dynamo.reset()


class Graphs:
    """A compiler that runs graphs as they are; which operations of ours are in each, and what one saves for the next.
    """

    def __init__(self) -> None:
        self.operations: list[Counter[str]] = []
        self.ways: list[str] = []
        self.saved: list[int] = []
        self.compiler = common.aot_autograd(fw_compiler=partial(self.look, True), bw_compiler=partial(self.look, False),
                                            partition_fn=partitioners.min_cut_rematerialization_partition)

    def look(self, forward: bool, graph: Any, _: Any) -> Any:
        self.operations.append(Counter(
            node.target._opname for node in graph.graph.nodes
            if getattr(node.target, "namespace", None) == "anglos"))
        self.ways += [node.kwargs["way"] for node in graph.graph.nodes if "way" in node.kwargs]
        (outputs,) = graph.graph.find_nodes(op="output")[0].args
        values = [output.meta["val"] for output in outputs if output is not None] if forward else []
        self.saved += [value.numel() for value in values if isinstance(value, torch.Tensor)]
        return partitioners.make_boxed_func(graph.forward)


def compiled(loss: Loss[...], backend: Any, **how: Any) -> Any:
    return torch.compile(lambda options, *inputs: loss(*inputs, **options), fullgraph=True, backend=backend, **how)


def served(loss: Loss[...], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hooks that ask for kernels where nothing is compiled: one of the forward pass, and one of the backward."""
    asked: list[str] = []

    def ask(backend: Any, tile: Tile) -> None:
        if tile.logits is None and tile.product is not None:
            asked.append(sys._getframe(1).f_code.co_name)

    with monkeypatch.context() as patch:
        patch.setattr(type(BACKEND), "way_of_kernels", ask)
        inputs, tensors = batch(loss, BATCH)
        torch.autograd.grad(loss(*inputs, keep_bytes=0), tensors)
    return asked


@pytest.mark.representatives(words=True)
def test_a_graph_has_kernels_where_an_uncompiled_call_has(head: Loss[...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Once each way; and nothing is kept that is longer than the inputs."""
    graphs, hooks = Graphs(), served(head, monkeypatch)
    agree(head, compiled(head, graphs.compiler), BATCH, {"keep_bytes": 0})
    assert graphs.operations == [Counter(hooks[:1]), Counter(hooks[1:])]
    if hooks:
        assert 0 < max(graphs.saved) <= max(array.numel() for array in batch(head, BATCH)[0])


@pytest.mark.parametrize("name", [
    "arcface", "linear_cross_entropy", "uniface", "p2sgrad", "curricularface", "sphereface2"])
def test_terms_that_are_kept_are_not_made_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = anglos.LOSSES[name]
    graphs, hooks = Graphs(), served(loss, monkeypatch)
    agree(loss, compiled(loss, graphs.compiler), BATCH, {"keep_bytes": 2**40})
    assert graphs.operations == [Counter(hooks[:1]), {}]
    assert hooks[1:]


@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "recomputed"])
@pytest.mark.parametrize("name", ["arcface", "linear_cross_entropy", "uniface"])
def test_one_graph_for_all_batches_and_numbers(name: str, keeps: bool) -> None:
    """Margins and scales that are numbers, and change; and batches, of which the last is smaller."""
    loss, graphs = anglos.LOSSES[name], Graphs()
    call = compiled(loss, graphs.compiler, dynamic=True)
    scheduled = margins(loss, tensors=False) | ({"scale": 30.5} if "scale" in loss.defaults else {})

    def options(part: float) -> dict[str, Any]:
        return {"keep_bytes": 2**40 if keeps else 0, **{name: part * number for name, number in scheduled.items()}}

    agree(loss, call, BATCH, options(1.0), dynamic=True)
    assert [bool(made) for made in graphs.operations] == [True, not keeps]
    with dynamo.config.patch(error_on_recompile=True):
        agree(loss, call, BATCH - 1, options(1.05))
        agree(loss, call, 3, options(1.1))


@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "recomputed"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["arcface", "cosface", "linear_cross_entropy", "uniface"])
def test_numbers_of_16_bits(name: str, dtype: torch.dtype, keeps: bool) -> None:
    """They are multiplied as they are, and terms are bfloat16, as without a compiler."""
    loss, graphs, options = anglos.LOSSES[name], Graphs(), {"keep_bytes": 2**40 if keeps else 0}
    inputs = [one.detach().to(dtype) if one.is_floating_point() else one for one in batch(loss, BATCH)[0]]
    tensors = [one.requires_grad_() for one in inputs if one.is_floating_point()]
    value, wanted = compiled(loss, graphs.compiler)(options, *inputs), loss(*inputs, **options)
    torch.testing.assert_close(value, wanted, rtol=2e-5, atol=1e-6)
    found, expected = (torch.autograd.grad(some, tensors) for some in (value, wanted))
    for one, want in zip(found, expected, strict=True):
        assert one.dtype is dtype
        torch.testing.assert_close(one, want, rtol=2.0**-7, atol=2.0**-7 * float(want.abs().max()))
    assert graphs.ways == ["half"] * (1 if keeps else 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("name", "options", "hooks"), [
    ("info_nce", {}, ({"rest_terms": 1}, {"rest_shares": 1})), ("siglip", {}, ({"rest_sums": 1}, {"rest_slopes": 1})),
    ("clip", {}, ({"terms_both_ways": 1}, {"shares_both_ways": 1})),
    ("nt_xent", {}, ({"rest_terms": 1, "partner_sums": 1}, {"rest_shares": 1, "partner_pull": 2})),
    ("supcon", {}, ({"rest_terms": 1, "partner_terms": 1, "partner_pull": 1}, {"rest_shares": 1, "partner_pull": 2})),
    ("supcon", {"form": "in"}, ({"rest_terms": 1, "partner_terms": 1}, {"rest_shares": 1, "partner_pull": 2}))])
def test_pairs(name: str, options: dict[str, Any], hooks: tuple[dict[str, int], ...], dtype: torch.dtype) -> None:
    """Keys, or samples, are classes; both passes have a kernel, as nothing is kept."""
    loss, graphs = anglos.LOSSES[name], Graphs()
    inputs = [one.detach().to(dtype).requires_grad_() if one.is_floating_point() else one
              for one in batch(loss, BATCH)[0]]
    tensors = [one for one in inputs if one.is_floating_point()]
    value, wanted = compiled(loss, graphs.compiler)(options, *inputs), loss(*inputs, **options)
    torch.testing.assert_close(value, wanted, rtol=2e-5, atol=1e-6)
    digits = 2e-5 if dtype is torch.float32 else 2.0**-7
    for one, want in zip(*(torch.autograd.grad(some, tensors) for some in (value, wanted)), strict=True):
        torch.testing.assert_close(one, want, rtol=digits, atol=digits * max(1.0, float(want.abs().max())))
    assert graphs.operations == [*hooks]


def test_several_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = Graphs()
    monkeypatch.setattr(BACKEND, "class_tile_width", lambda *_: 3)
    agree(anglos.arcface, compiled(anglos.arcface, graphs.compiler), BATCH, {"keep_bytes": 0})
    forward, backward = graphs.operations
    assert forward["rest_terms"] == backward["rest_shares"] > 1


def test_inductor() -> None:
    """The compiler that is used in earnest, which knows of an operation what it was told."""
    for keep_bytes in (2**40, 0):
        agree(anglos.arcface, compiled(anglos.arcface, "inductor"), BATCH, {"keep_bytes": keep_bytes})


def test_a_value_alone() -> None:
    graphs, (inputs, _) = Graphs(), batch(anglos.arcface, BATCH)
    with torch.no_grad():
        value = compiled(anglos.arcface, graphs.compiler)({}, *inputs)
        torch.testing.assert_close(value, anglos.arcface(*inputs), rtol=2e-5, atol=1e-6)
    assert graphs.operations == [{"rest_terms": 1}]


def test_what_is_transformed_or_exported_is_composed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation has no derivative, and whoever loads a program need not have it."""
    graphs, (inputs, _) = Graphs(), batch(anglos.arcface, BATCH)
    gradient = torch.func.grad(lambda x, w, y: anglos.arcface(x, w, y))
    found = torch.compile(gradient, fullgraph=True, backend=graphs.compiler)(*inputs)
    torch.testing.assert_close(found, gradient(*inputs), rtol=2e-5, atol=2e-5)

    class Module(torch.nn.Module):
        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return anglos.arcface(*inputs)

    inputs = [one.detach() for one in inputs]
    for strict in (True, False):
        exported = torch.export.export(Module(), tuple(inputs), strict=strict)
        assert "anglos" not in exported.graph_module.code
        torch.testing.assert_close(exported.module()(*inputs), anglos.arcface(*inputs))
    assert graphs.operations
    assert not any(graphs.operations)


@pytest.mark.parametrize("reason", ["ANGLOS_TRITON", "float64"])
def test_what_has_no_kernels_is_composed(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs, (inputs, tensors) = Graphs(), batch(anglos.arcface, BATCH)
    monkeypatch.setenv("ANGLOS_TRITON", "0" if reason == "ANGLOS_TRITON" else "1")
    if reason == "float64":
        inputs = [one.detach().double() if one.is_floating_point() else one for one in inputs]
        tensors = [one.requires_grad_() for one in inputs[:2]]
    value = compiled(anglos.arcface, graphs.compiler)({}, *inputs)
    torch.testing.assert_close(value, anglos.arcface(*inputs))
    torch.autograd.grad(value, tensors)
    assert graphs.operations == [{}, {}]


FORMS: dict[str, dict[str, Any]] = {
    "all factors": {"sample_factor": torch.rand(5) + 0.5, "class_factor": torch.rand(7, 1), "bias": torch.rand(7, 1)},
    "none": {}, "a later tile": {"first": 2},
    "several classes of a number": {"numbers": torch.arange(7) // 2},
    "a function of cosines": {"map": Map("above a threshold", (0.25, torch.rand(5)), lambda backend, cos: None)}}


@pytest.mark.parametrize("form", FORMS)
def test_operations_are_what_they_say(form: str) -> None:
    """By PyTorch's own checks: of a schema, of what a compiler is told of results, and of what is compiled."""
    some: dict[str, Any] = {
        "prototypes": torch.randn(7, 4), "points": torch.randn(5, 4), "scale": torch.tensor(2.0),
        "sample_factor": None, "class_factor": None, "bias": None, "labels": torch.arange(5), "first": 0}
    product, shift = Product(**some | FORMS[form]), torch.rand(5)
    arrays = operands.arrays_of(BACKEND.tile_of(None, product.labels, product=product))
    for given in (None, shift):
        for kept in (None, torch.float32, torch.bfloat16):
            torch.library.opcheck(kernels.rest_terms_of, (given, *arrays), {"way": "ieee", "kept": kept})
    torch.library.opcheck(kernels.rest_shares_of, (shift, *arrays), {"way": "ieee"})
    for shifts in ((None, None), (shift, torch.rand(7))):
        torch.library.opcheck(kernels.terms_both_ways_of, (*shifts, *arrays), {"way": "ieee"})
    factors = (torch.rand(5), torch.rand(5), torch.rand(7), torch.rand(7))
    torch.library.opcheck(kernels.shares_both_ways_of, (*factors, *arrays), {"way": "ieee"})


@pytest.mark.parametrize("own", [None, 0])
def test_operations_of_partners_are_what_they_say(own: int | None) -> None:
    of_rows, others = torch.arange(6) // 2, torch.arange(6) // 3
    runs = Runs(others, of_rows, of_rows + 1, own)
    arrays = (torch.randn(6, 4), None, torch.randn(6, 4), torch.rand(6, 1), torch.tensor(2.0), *runs)
    above, weight = torch.rand(2, 6)
    torch.library.opcheck(partners.partner_terms_of, arrays)
    torch.library.opcheck(partners.partner_sums_of, (above, *arrays), {"of": "softplus"})
    for one, less in ((None, None), (weight, above), (None, weight)):
        torch.library.opcheck(partners.partner_pull_of, (above, one, less, *arrays), {"of": "exponential"})
