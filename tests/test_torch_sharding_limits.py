"""PyTorch's class_sharded: shards far apart, what ranks send, what they hold, and PyTorch's own parallel softmax."""

import weakref
from importlib import import_module
from itertools import product
from typing import Any

import pytest
from ranks import Collective, on_ranks
from samples import hard_embeddings, has_several
from sharded import LOSSES, Case, class_sharded, errors, first_order, given_by, local, mesh_of_all, wanted

import anglos
from anglos import Loss

torch: Any = import_module("torch")
tensor: Any = import_module("torch.distributed.tensor")

pytestmark = pytest.mark.slow


def far_apart() -> list[Case]:
    """Logits of the first rank's classes that are far above, or below, those of the other's."""
    calls: list[tuple[Loss[...], dict[str, Any]]] = [
        (anglos.linear_cross_entropy, {}), (anglos.linear_cross_entropy, {"label_smoothing": 0.1}),
        (anglos.proxy_nca, {"exclude_positive": True, "scale": 3e3}), (anglos.arcface, {"scale": 5e3})]
    cases = []
    for dtype, far, keep_bytes, (loss, options) in product(
            (torch.float32, torch.float64), (0.0, 300.0, -300.0, 2e4, -2e4), (0, 1 << 28), calls):
        numbers = torch.Generator().manual_seed(0)
        x = torch.randn(8, 5, generator=numbers, dtype=dtype)
        weights = torch.randn(7, 5, generator=numbers, dtype=dtype)
        weights[:4] += far * torch.sign(x.mean(0))
        arrays = {"embeddings": x, "weights": weights, "labels": torch.tensor([0, 1, 2, 3, 4, 5, 6, 0])}
        cases.append(Case(loss, arrays, {**options, "keep_bytes": keep_bytes}, 2))
    return cases


def test_shards_whose_logits_are_far_apart() -> None:
    cases = far_apart()
    for case, *found in zip(cases, *on_ranks(first_order, 2, cases), strict=True):
        x, weights = case.arrays["embeddings"], case.arrays["weights"]
        largest = case.options.get("scale", float((x @ weights.T).abs().max()))
        tolerance = 16.0 * torch.finfo(x.dtype).eps * largest  # to which a logit is rounded
        for name, far in errors(case, found, least=1e-30).items():
            assert far < tolerance, (case, name)  # which NaN and infinity are not


def test_hard_vectors_are_finite_where_they_are_in_one_process() -> None:
    x, weights, labels = map(torch.tensor, hard_embeddings())
    cases = [Case(loss, {"embeddings": x.to(dtype), loss.arrays[1]: weights.to(dtype), "labels": labels}, {}, 2)
             for loss in LOSSES if not has_several(loss) for dtype in (torch.float64, torch.float32)]
    for case, *found in zip(cases, *on_ranks(first_order, 2, cases), strict=True):
        values, gradients = wanted(case)
        assert [bool(one.value.isfinite()) for one in found] == [bool(value.isfinite()) for value in values]
        for name, right in gradients.items():
            of_ranks = torch.cat([one.gradients[name] for one in found])
            assert torch.equal(of_ranks.isfinite(), right.isfinite()), (case.loss.name, name)


B, D, C, RANKS = 24, 16, 80, 3
"""Rows of all ranks, their length, classes: of different sizes, and so are what is made of them."""


def case_of(loss: Loss[...], dtype: str = "float32", **options: Any) -> Case:
    numbers = torch.Generator().manual_seed(0)
    made = {"embeddings": torch.randn(B, D, generator=numbers),
            loss.arrays[1]: torch.randn(C, *[3] * has_several(loss), D, generator=numbers)}
    arrays = {name: array.to(getattr(torch, dtype)) for name, array in made.items()}
    return Case(loss, {**arrays, "labels": torch.randint(0, C, (B,), generator=numbers)}, options, RANKS)


STATE = {"sphereface2": 4, "uniface": 4, "p2sgrad": 4, "sface": 4, "c_contrastive": 4, "inter_topk": 8 + 5 * (4 + 8)}
"""Bytes per row of what all classes are to it: a sum; else a shift and a sum; and k cosines with their classes."""

LENGTHS = {"linear_cross_entropy": 4, "l2_softmax": 2, "large_margin_softmax": 2}
"""Sums per row that a free length of the label's prototype adds: |w_y|, and z_y, in one pass or in both."""


def sent(case: Case) -> float:
    """Bytes that a rank sends in a step: (P−1)/P · B · [D (X + ∂X) + labels + g + 2 · 4 · sums + 2 · state].

    A sum over ranks goes around twice; so does a state, exchanged in parts and then gathered. X is in its own type.
    """
    if case.loss.name == "center":  # c_y in both passes, and ∂c_y; labels with each
        return (RANKS - 1) / RANKS * B * 3 * (4 * D + 8)
    of_row: int = D * (case.arrays["embeddings"].element_size() + 4) + 8
    if case.loss.name == "proxy_anchor":  # no state, no g: four numbers are summed
        return (RANKS - 1) / RANKS * (B * of_row + 4 * 2 * 4)
    sums = (3 if has_several(case.loss) else 1) + LENGTHS.get(case.loss.name, 0)
    state = STATE.get(case.loss.name, 8) + 4 * ("label_smoothing" in case.options)
    if "hardest" in case.options:
        state = 4 + 8
    return (RANKS - 1) / RANKS * B * (of_row + 4 + 8 * sums + 2 * state)


WAYS = {"all_gather_into_tensor": RANKS, "all_reduce": 2, "all_to_all_single": 1, "reduce_scatter_tensor": 1}
"""How often, times (P−1)/P, a rank sends what it gives, around a ring."""


def test_what_ranks_send_is_that_of_the_formula() -> None:
    cases = [*map(case_of, LOSSES), case_of(anglos.arcface, label_smoothing=0.1),
             case_of(anglos.c_triplet, hardest=True), case_of(anglos.arcface, "bfloat16")]
    for case, *found in zip(cases, *on_ranks(first_order, RANKS, cases), strict=True):
        for one in found:
            agreed, *others = one.said
            assert agreed == Collective("allgather_", agreed.shape, "int64", agreed.bytes)
            assert agreed.bytes < 100
            given = sum(other.bytes * WAYS[other.kind] for other in others)
            assert given * (RANKS - 1) / RANKS == pytest.approx(sent(case)), (case.loss.name, case.options)


class Held(import_module("torch.utils._python_dispatch").TorchDispatchMode):  # type: ignore[misc]
    """Watches every tensor that is made: how many have how many elements, at most at once."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, dict[int, Any]] = {}
        self.most: dict[int, int] = {}

    def __torch_dispatch__(self, op: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        done = op(*args, **(kwargs or {}))
        for one in done if isinstance(done, (tuple, list)) else (done,):
            if isinstance(one, torch.Tensor):
                one = local(one)
                memory = one.untyped_storage()  # of which a tensor may be a view, or an expansion
                size = memory.nbytes() // one.element_size()
                self.alive.setdefault(size, {})[memory.data_ptr()] = weakref.ref(memory)
                self.most[size] = max(self.most.get(size, 0), self.now(size))
        return done

    def now(self, size: int) -> int:
        return sum(one() is not None for one in self.alive.get(size, {}).values())


def held(rank: int, cases: list[Case]) -> list[tuple[int, int, dict[int, int]]]:
    """How many tensors of B × D there are at most in the forward pass, and after it; and of every size in both."""
    mesh, found = mesh_of_all(), []
    for case in cases:
        given = given_by(rank, case, mesh)
        with pytest.MonkeyPatch.context() as patch, Held() as watch:
            # A mode might make a graph, for which nothing would be changed in place.
            patch.setattr("anglos.backends.torch._seen.seen_by_a_mode", lambda: False)
            value = case.call(class_sharded(case.loss, mesh), given)
            before = watch.most[B * D], watch.now(B * D)
            value.sum().backward()
        found.append((*before, watch.most))
    return found


def test_nothing_is_as_large_as_all_classes() -> None:
    """Beyond a rank's own classes, (C/P, D), there are only logits of a tile, (C/P, B); and few arrays of (B, D)."""
    recomputed = [case_of(loss, keep_bytes=0) for loss in LOSSES if "keep_bytes" in loss.defaults]
    cases = [*map(case_of, LOSSES), *recomputed]
    for case, *found in zip(cases, *on_ranks(held, RANKS, cases), strict=True):
        most, several = -(-C // RANKS), (3 if has_several(case.loss) else 1)
        for rank, (forward, kept, sizes) in enumerate(found):
            here = min(most, C - rank * most)
            assert {size for size in sizes if size > most * several * D} <= {here * B, here * several * B}
            # X of all, x̂, ŵ_y where it is here, and where its length is free w_y; what makes the last.
            free = case.loss.name in LENGTHS
            assert forward <= 4 + free, case.loss.name
            assert kept <= 3 + (case.loss.name == "l2_softmax"), case.loss.name  # to which w_y is remembered
            # And g s x̂, ∂w_y, ∂x̂.
            assert sizes[B * D] <= 6 + free, case.loss.name


def parallel(rank: int, case: Case) -> tuple[Any, Any, Any]:
    """PyTorch's softmax of logits that are cut on classes: the mean over all rows, and gradients of X and of own W."""
    mesh = mesh_of_all()
    x, weights = case.arrays["embeddings"].clone().requires_grad_(), given_by(rank, case, mesh)["weights"]
    logits = x @ weights.to_local().T
    logits = tensor.DTensor.from_local(logits, mesh, [tensor.Shard(1)], run_check=False, shape=torch.Size((B, C)),
                                       stride=(C, 1))
    with import_module("torch.distributed.tensor.parallel").loss_parallel():
        value = torch.nn.functional.cross_entropy(logits, case.arrays["labels"])
        value.backward()
    return local(value.full_tensor()), x.grad, local(weights.grad)


def test_linear_cross_entropy_is_the_parallel_softmax_of_pytorch() -> None:
    case = case_of(anglos.linear_cross_entropy, "float64")
    ours = [one for (one,) in on_ranks(first_order, RANKS, [case])]
    theirs = on_ranks(parallel, RANKS, case)
    values, by_x, by_weights = zip(*theirs, strict=True)
    torch.testing.assert_close(torch.stack([one.value for one in ours]).mean(), values[0])
    # Theirs is the mean over all rows, of which a rank knows what its own classes have of ∂X.
    torch.testing.assert_close(torch.cat([one.gradients["embeddings"] for one in ours]), RANKS * sum(by_x))
    torch.testing.assert_close(torch.cat([one.gradients["weights"] for one in ours]), torch.cat(by_weights))
