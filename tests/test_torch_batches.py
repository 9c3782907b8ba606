"""PyTorch's batch_sharded: ranks that share the rows of a batch get what one process gets of all."""

import copy
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from math import prod
from typing import Any, NamedTuple

import pytest
from ranks import on_ranks, recorded, tried
from samples import DIRECTIONS, other_options

import anglos
from anglos import Loss
from anglos.arrays.partners import OfPartners
from anglos.checks.samples import learnt
from anglos.engines.pairs import keys

torch: Any = import_module("torch")
backend: Any = import_module("anglos.backends.torch")

pytestmark = pytest.mark.slow

D, CLASSES = 4, 3
OF_PAIRS = [loss for loss in anglos.LOSSES.values() if "reduction" in loss.defaults
            and not loss.engine.SAMPLES_ARE_INDEPENDENT]
TOLERANCE = {"float64": 1e-12, "float32": 2e-5, "bfloat16": 5e-3}


class Setting(NamedTuple):
    """How many rows every rank has, and of what type."""

    rows: tuple[int, ...]
    dtype: str = "float64"
    width: int | None = None
    """Rows of a tile."""

    @property
    def ranks(self) -> int:
        return len(self.rows)

    def of_rank(self, rank: int, name: str) -> slice:
        """What a rank has of an array: of rows its own, of columns that are no rows one more than its number."""
        of_columns = name.startswith(("negative", "reference"))
        counts = range(1, self.ranks + 1) if of_columns else self.rows
        return slice(sum(counts[:rank]), sum(counts[:rank + 1]))


SETTINGS = [Setting((4, 4)), Setting((3, 5), "float32", 2), Setting((6, 0), width=2), Setting((3, 3, 3), "bfloat16"),
            Setting((0, 5, 2)), Setting((1, 4, 3), width=2)]


class Case(NamedTuple):
    name: str
    """Of the loss."""
    more: tuple[str, ...] = ()
    """What is given beside its arrays."""
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def loss(self) -> Loss[...]:
        return anglos.LOSSES[self.name]


def cases() -> list[Case]:
    found = []
    for loss in OF_PAIRS:
        labelled = "labels" in loss.arrays and "reference_embeddings" in loss.kinds
        found += [Case(loss.name, ("learnt",)), Case(loss.name, ("sum",)), Case(loss.name, ("none",))]
        found += [Case(loss.name, ("mean",), tuple(options.items())) for options in other_options(loss)]
        if loss.name == "info_nce":
            found += [Case(loss.name, ("pairs", "learnt")), Case(loss.name, ("pairs",), (("symmetric", True),)),
                      Case(loss.name, ("ring", "pairs"), (("hardness", 2.0),)),
                      Case(loss.name, ("false_negatives", "row_mask", "learnt"), (("in_batch", True),)),
                      Case(loss.name, ("hard_negatives", "learnt"), (("in_batch", True), ("hard_negatives_of", "all"))),
                      Case(loss.name, ("pairs", "hard_negatives"), (("in_batch", True),)),
                      Case(loss.name, ("pairs", "false_negatives_key_to_key", "row_mask"), (
                          ("directions", DIRECTIONS),))]
        if "false_negatives" in loss.kinds:
            found += [Case(loss.name, ("pairs", "row_mask")), Case(loss.name, ("pairs", "false_negatives", "row_mask"))]
        if "negatives" in loss.kinds:
            found += [Case(loss.name, ("row_mask", *[name for name in ("false_negatives", "key_log_prob",
                                                                       "negative_log_prob") if name in loss.kinds]))]
        if labelled:
            found += [Case(loss.name, ("references", "learnt")), Case(loss.name, ("excluded_pairs",)),
                      Case(loss.name, ("weights",)), Case(loss.name, ("references", "excluded_pairs")),
                      Case(loss.name, ("several",)), Case(loss.name, ("references", "weights"))]
        if loss.name in ("clip", "siglip", "info_nce"):
            found += [Case(loss.name, ("ring", "pairs", "learnt")), Case(loss.name, ("ring", "pairs", "row_mask")),
                      Case(loss.name, ("ring", "pairs", "false_negatives", "sum"))]
        if "ignore_index" in loss.kinds:
            found += [Case(loss.name, ("ignored",))]
        if loss.name == "margin_loss":
            found += [Case(loss.name, ("of each class",), (("nu", 0.5),))]
        if "guide_hard_negatives" in loss.kinds:
            found += [Case(loss.name, ("pairs", "hard_negatives", "guide_queries", "guide_keys",
                                       "guide_hard_negatives"), (("in_batch", True), ("hard_negatives_of", of)))
                      for of in ("own", "all")]
        if "guide_queries" in loss.kinds:
            found += [Case(loss.name, ("pairs", "guide_queries", "guide_keys"))]
        elif "guide_embeddings" in loss.kinds:
            found += [Case(loss.name, ("guide_embeddings",))]
    return found


class Maker:
    """Arrays of the whole batch by name; those with a gradient are leaves."""

    def __init__(self, setting: Setting, case: Case) -> None:
        self.case, self.generator = case, torch.Generator().manual_seed(3)
        self.rows, self.columns = sum(setting.rows), setting.ranks * (setting.ranks + 1) // 2
        self.dtype = getattr(torch, setting.dtype)
        self.wide = torch.promote_types(self.dtype, torch.float32)

    def normal(self, rows: int) -> Any:
        return torch.randn(rows, D, generator=self.generator, dtype=torch.float64).to(self.dtype).requires_grad_()

    def uniform(self, *shape: int) -> Any:
        return torch.rand(*shape, generator=self.generator)

    def vectors(self) -> dict[str, Any]:
        """With their labels."""
        found, without = {}, "pairs" in self.case.more or dict(self.case.options).get("symmetric")
        for name in self.case.loss.arrays:
            rows = {"weights": CLASSES, "negatives": self.columns}.get(name, self.rows)
            if name != "negatives" or not without:
                found[name] = torch.arange(rows) % CLASSES if name in ("labels", "targets") else self.normal(rows)
        if "references" in self.case.more:
            found |= {"reference_embeddings": self.normal(self.columns),
                      "reference_labels": torch.arange(self.columns) % CLASSES}
        return found

    def of_pairs(self, given: dict[str, Any]) -> dict[str, Any]:
        """What is said of every pair of a row and a column."""
        others = {"reference_embeddings"} if ("in_batch", True) in self.case.options else {
            "reference_embeddings", "negatives"}
        columns = self.columns if others & set(given) else self.rows
        both = ("excluded_pairs", "false_negatives", "false_negatives_key_to_key")
        found: dict[str, Any] = {name: self.uniform(self.rows, columns) < 0.3 for name in both
                                 if name in self.case.more}
        if "weights" in self.case.more:
            found["labels"] = (self.uniform(self.rows, columns) - 0.4).clamp(min=0.0).to(self.wide)
        return found

    def of_rows(self, given: dict[str, Any]) -> dict[str, Any]:
        """What is said of every row; where one counts for nothing, it holds NaN."""
        more, found, vectors = self.case.more, {}, ("embeddings", "queries", "keys")
        if "several" in more:
            found["labels"] = torch.stack([given["labels"], torch.full((self.rows,), -100)], dim=1)
            found["labels"][::3, 1] = 1
        if "hard_negatives" in more:
            found |= {"hard_negatives": self.normal(3 * self.rows).detach().reshape(-1, 3, D).requires_grad_(),
                      "hard_negatives_mask": self.uniform(self.rows, 3) > 0.3}
        if "of each class" in more:
            found["beta"] = self.uniform(CLASSES).to(self.wide).requires_grad_()
        found |= {name: self.normal(self.rows).detach() for name in more if name.startswith("guide")}
        if "guide_hard_negatives" in more:
            found["guide_hard_negatives"] = self.normal(3 * self.rows).detach().reshape(-1, 3, D)
        counted = self.uniform(self.rows) > 0.3
        if "row_mask" in more:
            found["row_mask"] = counted
        if "ignored" in more:
            found["labels"] = torch.where(counted, given["labels"], -100)
        if {"ignored", "row_mask"} & set(more):
            found |= {name: torch.where(counted[:, None], given[name].detach(), torch.nan).requires_grad_()
                      for name in vectors if name in given}
        if "sample_weight" in self.case.loss.kinds:
            found["sample_weight"] = (0.5 + self.uniform(self.rows)).to(self.wide).requires_grad_()
        return found | {name: -self.uniform(count).to(self.dtype) for name, count in (
            ("key_log_prob", self.rows), ("negative_log_prob", self.columns)) if name in more}

    def options(self) -> dict[str, Any]:
        """Those that are learnt."""
        return {name: torch.tensor(float(value), dtype=self.wide, requires_grad=True)
                for name, value in learnt(self.case.loss).items() if not value.ndim}


def given_by(setting: Setting, case: Case) -> dict[str, Any]:
    maker = Maker(setting, case)
    given = maker.vectors()
    given |= maker.of_rows(given)
    given |= maker.of_pairs(given)
    if "weights" in case.more:
        given.pop("reference_labels", None)
    return given | (maker.options() if "learnt" in case.more else {})


def wider(given: dict[str, Any]) -> dict[str, Any]:
    """In float32 in place of bfloat16, so that one process's gradients, of which there are several, are not rounded."""
    return {name: one.detach().float().requires_grad_(one.requires_grad) if one.dtype == torch.bfloat16 else one
            for name, one in given.items()}


def own_of(setting: Setting, rank: int, given: dict[str, Any]) -> dict[str, Any]:
    """What a rank gives."""
    return {name: (one if is_of_all(name, one) else one[setting.of_rank(rank, name)]).detach().clone()
            .requires_grad_(one.requires_grad) for name, one in given.items()}


def called(loss: Any, case: Case, given: dict[str, Any]) -> Any:
    positional = [given[name] for name in case.loss.arrays if name in given]
    options = {name: one for name, one in given.items() if name not in case.loss.arrays}
    reduction = next((word for word in ("sum", "none") if word in case.more), "mean")
    return loss(*positional, **options, **dict(case.options), reduction=reduction)


def sharded(case: Case) -> Any:
    return backend.batch_sharded(case.loss, ring="ring" in case.more)


def of_each_rank(setting: Setting, case: Case, given: dict[str, Any]) -> list[Any]:
    """By one process, every rank's loss: of all, with weight 0 for others' rows."""
    if "sample_weight" not in given:
        return [called(case.loss, case, given)] * setting.ranks
    found = []
    for rank in range(setting.ranks):
        own = setting.of_rank(rank, "rows")
        weight = torch.zeros_like(given["sample_weight"])
        weight[own] = given["sample_weight"][own]
        value = called(case.loss, case, {**given, "sample_weight": weight})
        found.append(value[own] if value.ndim else value)
    return found


def free_of(given: dict[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in given.items() if one.requires_grad}


def is_of_all(name: str, one: Any) -> bool:
    return one.ndim == 0 or name in ("weights", "beta")


def error(found: Any, wanted: Any) -> float:
    """Relative to the largest number."""
    assert found.shape == wanted.shape
    if not found.numel():
        return 0.0
    found, wanted = found.detach().double(), wanted.detach().double()
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1.0))


def errors(rank: int, setting: Setting, values: list[Any], free: dict[str, Any], wanted: dict[str, Any], value: Any,
           found: dict[str, Any]) -> dict[str, float]:
    """Of a rank's value, and of derivatives in what it gave, by those of the sum of all ranks' values."""
    wrong = {"value": error(value, values[rank])}
    for name, one in free.items():
        of_rank = wanted[name] / setting.ranks if is_of_all(name, one) else wanted[name][setting.of_rank(rank, name)]
        wrong[name] = error(found[name], of_rank)
    return wrong


@contextmanager
def tiles_of(width: int | None) -> Iterator[None]:
    """Rows of a tile of pairs. With some, classes and partners are found as in large batches."""
    tensors: Any = import_module("anglos.backends.torch._tensors").Tensors
    with pytest.MonkeyPatch.context() as patch:
        if width is not None:
            patch.setattr(tensors, "tile_width", lambda self, *columns: width)
            patch.setattr(keys, "FEW", 0)
            patch.setattr(OfPartners, "meets_partners", lambda self, *_: self.changes_arrays())
        yield


def gradients(value: Any, free: dict[str, Any], **how: Any) -> dict[str, Any]:
    found = torch.autograd.grad(value, list(free.values()), allow_unused=True, materialize_grads=True, **how)
    return dict(zip(free, found, strict=True))


def first_order(rank: int, setting: Setting) -> list[Any]:
    """Of every case, the errors of this rank, and what was said."""
    found = []
    with tiles_of(setting.width):
        for case in cases():
            given = given_by(setting, case)
            whole = wider(given)
            values = of_each_rank(setting, case, whole)
            wanted = gradients(sum(value.sum() for value in values), free_of(whole))
            own = own_of(setting, rank, given)
            with recorded() as record:
                value = called(sharded(case), case, own)
                by_rank = gradients(value.sum(), free_of(own))
            found.append((case, errors(rank, setting, values, free_of(whole), wanted, value, by_rank), record))
    return found


def second_order(rank: int, setting: Setting, form: str) -> dict[Any, Any]:
    """∂(Σ |∂ℓ/∂a|²)/∂a of a loss of every name, its value through autograd or in bare operations."""
    found = {}
    for case in cases():
        if "learnt" not in case.more or "row_mask" in case.more:
            continue
        whole = given_by(setting, case)
        values, free = of_each_rank(setting, case, whole), free_of(whole)
        share = {name: 1.0 / setting.ranks if is_of_all(name, one) else 1.0 for name, one in free.items()}
        first = gradients(sum(value.sum() for value in values), free, create_graph=True)
        wanted = gradients(sum((first[name] * share[name]).square().sum() for name in free), free)
        own = own_of(setting, rank, whole)
        loss = sharded(case)
        value = called(loss.plain if form == "plain" else loss, case, own)
        first = gradients(value.sum(), free_of(own), create_graph=True)
        penalty = sum(share[name] * one.square().sum() for name, one in first.items())
        found[case] = errors(rank, setting, values, free, wanted, value, gradients(penalty, free_of(own)))
    return found


def at_once(rank: int, setting: Setting) -> dict[Any, Any]:
    """The errors of value_and_grad, by what autograd gives."""
    found = {}
    for case in cases():
        if "learnt" in case.more:
            own = own_of(setting, rank, given_by(setting, case))
            loss, free = sharded(case), free_of(own)
            value = called(loss, case, own)
            wanted = gradients(value, free)
            of_call = called(partial(loss.value_and_grad, wrt=tuple(free)), case, own)
            of_arrays = called(loss.value_and_grad, case, own)[1]
            found[case] = [error(of_call[0], value), *map(error, of_call[1], wanted.values()),
                           *map(error, of_arrays, [one for name, one in wanted.items() if name in loss.arrays])]
            assert called(partial(loss.value_and_grad, wrt=()), case, own)[1] == ()
    return found


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def visit(request: pytest.FixtureRequest) -> tuple[Setting, list[Any]]:
    setting: Setting = request.param
    return setting, on_ranks(first_order, setting.ranks, setting, timeout=300.0)


def test_value_and_gradients_are_those_of_one_process(visit: tuple[Setting, list[Any]]) -> None:
    setting, of_ranks = visit
    wrong = {(case.name, case.more, case.options, rank, name): one for rank, found in enumerate(of_ranks)
             for case, errors, _ in found for name, one in errors.items() if not one < TOLERANCE[setting.dtype]}
    assert not wrong


def test_ranks_say_the_same_in_the_same_order(visit: tuple[Setting, list[Any]]) -> None:
    for (case, _, first), *others in zip(*visit[1], strict=True):
        assert len(first) >= 3
        for _, _, record in others:
            assert record == first, case


@pytest.mark.parametrize("form", ["autograd", "plain"])
@pytest.mark.parametrize("setting", [Setting((4, 3)), Setting((0, 5, 2))], ids=str)
def test_second_order(setting: Setting, form: str) -> None:
    wrong = {(rank, case, name): one for rank, found in enumerate(on_ranks(second_order, setting.ranks, setting, form))
             for case, errors in found.items() for name, one in errors.items() if not one < 1e-10}
    assert not wrong


def test_value_and_grad() -> None:
    setting = Setting((4, 3))
    for found in on_ranks(at_once, 2, setting):
        assert all(one < 1e-12 for errors in found.values() for one in errors)


class Towers(torch.nn.Module):  # type: ignore[misc]
    """A backbone, a learnt scale, and the loss of one batch in two views."""

    def __init__(self, loss: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone, self.loss = torch.nn.Linear(6, D, dtype=torch.float64), loss
        self.scale = torch.nn.Parameter(torch.tensor(5.0, dtype=torch.float64))

    def forward(self, x: Any, y: Any) -> Any:
        return self.loss(self.backbone(x), self.backbone(y), scale=self.scale)


def of_ddp(rank: int, ring: bool) -> dict[str, float]:
    x, y = torch.randn(2, 8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole, own = Towers(anglos.clip), slice(4 * rank, 4 * rank + 4)
    whole(x, y).backward()
    model = torch.nn.parallel.DistributedDataParallel(Towers(backend.batch_sharded(anglos.clip, ring=ring)))
    model(x[own], y[own]).backward()
    return {name: error(one.grad, dict(whole.named_parameters())[name].grad)
            for name, one in model.module.named_parameters()}


@pytest.mark.parametrize("ring", [False, True])
def test_a_network_needs_no_factor(ring: bool) -> None:
    for found in on_ranks(of_ddp, 2, ring):
        assert max(found.values()) < 1e-12, found


def of_compiler(rank: int, setting: Setting, chosen: list[Case]) -> list[float]:
    found = []
    for case in chosen:
        torch._dynamo.reset()
        own, loss = own_of(setting, rank, given_by(setting, case)), sharded(case)
        wanted, free = called(loss, case, own), free_of(own)
        value = torch.compile(called, fullgraph=True, backend="aot_eager")(loss, case, own)
        every = zip([value, *gradients(value, free).values()], [wanted, *gradients(wanted, free).values()], strict=True)
        found += [error(one, other) for one, other in every]
    return found


def test_compiled_in_one_graph() -> None:
    chosen = [Case("info_nce", ("pairs", "learnt")), Case("clip", ("ring", "learnt")),
              Case("supcon", ("excluded_pairs",)), Case("batch_coco"), Case("proxy_anchor")]
    for found in on_ranks(of_compiler, 2, Setting((4, 4)), chosen, timeout=300.0):
        assert max(found) < 1e-12


ROWS, WIDE = 8, 32


@contextmanager
def shapes_made() -> Iterator[set[tuple[int, ...]]]:
    """The shapes of all tensors that are made in a `with` statement."""
    made: set[tuple[int, ...]] = set()

    class Mode(import_module("torch.utils._python_dispatch").TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, op: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
            done = op(*args, **(kwargs or {}))
            made.update(tuple(one.shape) for one in torch.utils._pytree.tree_leaves(done) if hasattr(one, "shape"))
            return done

    with Mode():
        yield made


def said_and_made(rank: int, ring: bool) -> Any:
    x, y = torch.randn(2, ROWS, WIDE, generator=torch.Generator().manual_seed(rank)).unbind()
    with tiles_of(2), recorded() as said, shapes_made() as made:
        backend.batch_sharded(anglos.clip, ring=ring)(x.requires_grad_(), y.requires_grad_()).backward()
    return [(one.kind, one.shape) for one in said if one.dtype == "float32"], made


def test_what_is_sent_and_held() -> None:
    """Own keys once to all and their gradient once from all; of the N columns a few numbers each; no b × N numbers."""
    columns = 3 * ROWS
    for said, made in on_ranks(said_and_made, 3, False):
        assert said == [
            ("all_gather_into_tensor", (ROWS, WIDE)),
            ("all_to_all_single", (3, 2, ROWS)), ("all_gather_into_tensor", (1, 2, ROWS)),  # log-sum-exps of columns
            ("all_gather_into_tensor", (ROWS,)),  # logits of keys
            ("all_gather_into_tensor", (ROWS,)),  # g
            ("reduce_scatter_tensor", (columns, WIDE))]
        assert (columns, WIDE) in made
        assert not made & {(ROWS, columns), (columns, ROWS), (columns, columns)}


def test_a_ring_never_holds_all_columns() -> None:
    for said, made in on_ranks(said_and_made, 3, True):
        assert said == [("all_to_all_single", shape) for shape in (
            (ROWS, 2 + WIDE), (ROWS, 2 + WIDE), (ROWS, 2),  # and at last the log-sum-exps alone
            (ROWS, 2 * WIDE + 5), (ROWS, 2 * WIDE + 5), (ROWS, WIDE))]
        assert max(prod(shape) for shape in made) < 3 * ROWS * WIDE


def refused(rank: int) -> list[Any]:
    x, labels = torch.randn(4, D, generator=torch.Generator().manual_seed(rank)), torch.arange(4) % 2
    wrong = torch.zeros(4, 4, dtype=torch.bool)
    clip, triplet = backend.batch_sharded(anglos.clip), backend.batch_sharded(anglos.triplet)
    return [
        tried(lambda: backend.batch_sharded(anglos.arcface)),
        tried(lambda: backend.batch_sharded(anglos.triplet, ring=True)),
        tried(lambda: backend.batch_sharded(anglos.info_nce, ring=True)(x, x, x)),
        tried(lambda: triplet(x, labels, excluded_pairs=wrong)),
        tried(lambda: clip(x, x[:3] if rank else x)),
        tried(lambda: clip(x, x, scale=1.0 + rank)),
        tried(lambda: pickle.dumps(clip)),
        copy.deepcopy(clip) == clip and repr(clip) == "<loss anglos.clip, batch_sharded over 2 ranks>"]


def test_refusals() -> None:
    first, second = on_ranks(refused, 2)
    wanted = [
        ("TypeError", "batch_sharded: loss was arcface; wanted a loss that compares samples of a batch with each "
                      "other, such as anglos.info_nce: others are of own rows as they are"),
        ("ValueError", "batch_sharded: ring was True, and loss triplet; wanted one of queries and keys, as anglos.clip "
                       "and anglos.siglip are"),
        ("ValueError", "batch_sharded: ring was True; wanted a loss of queries and keys alone, whose terms are "
                       "define.one_of_many or define.each_by_itself, as those of anglos.clip and anglos.siglip are, "
                       "and no guide"),
        ("ValueError", "triplet: excluded_pairs was of shape (4, 4); wanted (4, 8): own rows against the 8 columns of "
                       "all"),
        ("RuntimeError", "clip: rank 1 refused its arguments (its own error says why)"),
        ("ValueError", "clip: scale was 1.0 on rank 0 and 2.0 on rank 1; wanted the same on all ranks"),
        ("TypeError", "batch_sharded: clip was pickled with its process group, which is this process's alone; wanted "
                      "anglos.clip pickled, and batch_sharded called where it is loaded")]
    assert [one[:2] for one in first[:-1]] == wanted
    assert second[4][0] == "ValueError"
    assert [one[:2] for place, one in enumerate(second[:-1]) if place != 4] == [*wanted[:4], *wanted[5:]]
    assert first[-1]
    assert second[-1]


def without_rows(rank: int) -> list[tuple[float, int]]:
    found = []
    for case in [*(Case(loss.name, ("pairs",)) for loss in OF_PAIRS if loss.name != "nce"), Case("clip", ("ring",))]:
        own = given_by(Setting((0, 0)), case)
        value = called(sharded(case), case, own)
        value.backward()
        found.append((float(value.detach()), own[case.loss.arrays[0]].grad.numel()))
    return found


def test_no_rank_has_a_row() -> None:
    assert {one for found in on_ranks(without_rows, 2) for one in found} == {(0.0, 0)}


def counted(rank: int) -> list[tuple[str, float, float]]:
    """Over the ranks the mean of reduction="sum", times P / n of the whole batch; and the loss of that batch."""
    rows, labels = torch.randn(7, D, generator=torch.Generator().manual_seed(4)), torch.tensor([0, 0, 1, 1, 2, 0, 5])
    own, of_class = (slice(4), slice(4, 7))[rank], torch.bincount(labels)
    pairs, anchors, all_rows = (of_class * (of_class - 1)).sum(), of_class[of_class > 1].sum(), len(labels)
    terms = {**dict.fromkeys(("angular", "dcl", "hcl", "nt_xent", "tuplet_margin"), pairs),
             **dict.fromkeys(("circle", "fast_ap", "ge2e", "generalized_lifted", "nca", "sincere", "smooth_ap",
                              "soft_supcon", "supcon"),
                             anchors),
             **dict.fromkeys(("batch_coco", "multi_similarity", "rank_n_contrast", "ranked_list",
                              "unified_threshold"), all_rows),
             **dict.fromkeys(("clip", "dhel", "info_nce", "n_pair", "siglip"), all_rows),
             "angular_prototypical": (of_class > 1).sum(), "contrastive": all_rows * (all_rows - 1)}
    found = []
    for name, number in terms.items():
        loss = anglos.LOSSES[name]
        arrays = rows, labels if {"labels", "targets"} & set(loss.arrays) else rows.flip(1)
        mine = backend.batch_sharded(loss)(*[array[own] for array in arrays], reduction="sum") / number
        torch.distributed.all_reduce(mine)  # twice the mean over two ranks
        found.append((name, mine.item(), loss(*arrays).item()))
    return found


def test_the_mean_over_the_whole_batch_is_the_sum_over_its_terms() -> None:
    for name, of_ranks, whole in on_ranks(counted, 2)[0]:
        assert of_ranks == pytest.approx(whole, rel=1e-5), name
