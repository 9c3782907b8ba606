"""PyTorch's batch_sharded: ranks that share the rows of a batch get what one process gets of all."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple

import pytest
from ranks import on_ranks, recorded
from samples import other_options

import anglos
from anglos import Loss
from anglos.checks.samples import learnt

torch: Any = import_module("torch")
backend: Any = import_module("anglos.backends.torch")

pytestmark = pytest.mark.slow

D, CLASSES = 4, 3
OF_PAIRS = [loss for loss in anglos.LOSSES.values() if not loss.engine.SAMPLES_ARE_INDEPENDENT]
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
            found += [Case(loss.name, ("pairs", "learnt")), Case(loss.name, ("pairs",), (("symmetric", True),))]
        if "false_negatives" in loss.kinds:
            found += [Case(loss.name, ("pairs", "row_mask")), Case(loss.name, ("pairs", "false_negatives", "row_mask"))]
        if "negatives" in loss.kinds:
            found += [Case(loss.name, ("row_mask", *[name for name in ("false_negatives", "key_log_prob",
                                                                       "negative_log_prob") if name in loss.kinds]))]
        if labelled:
            found += [Case(loss.name, ("references", "learnt")), Case(loss.name, ("excluded_pairs",)),
                      Case(loss.name, ("weights",)), Case(loss.name, ("references", "excluded_pairs")),
                      Case(loss.name, ("several",)), Case(loss.name, ("references", "weights"))]
        if "ignore_index" in loss.kinds:
            found += [Case(loss.name, ("ignored",))]
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
                found[name] = torch.arange(rows) % CLASSES if name == "labels" else self.normal(rows)
        if "references" in self.case.more:
            found |= {"reference_embeddings": self.normal(self.columns),
                      "reference_labels": torch.arange(self.columns) % CLASSES}
        return found

    def of_pairs(self, given: dict[str, Any]) -> dict[str, Any]:
        """What is said of every pair of a row and a column."""
        columns = self.columns if {"negatives", "reference_embeddings"} & set(given) else self.rows
        both = ("excluded_pairs", "false_negatives")
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
    return {name: (one if one.ndim == 0 or name == "weights" else one[setting.of_rank(rank, name)]).detach().clone()
            .requires_grad_(one.requires_grad) for name, one in given.items()}


def called(loss: Any, case: Case, given: dict[str, Any]) -> Any:
    positional = [given[name] for name in case.loss.arrays if name in given]
    options = {name: one for name, one in given.items() if name not in case.loss.arrays}
    reduction = next((word for word in ("sum", "none") if word in case.more), "mean")
    return loss(*positional, **options, **dict(case.options), reduction=reduction)


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
    return one.ndim == 0 or name == "weights"


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
    """Rows of a tile of pairs."""
    tensors: Any = import_module("anglos.backends.torch._tensors").Tensors
    try:
        if width is not None:
            tensors.tile_width = lambda self, *columns: width
        yield
    finally:
        if width is not None:
            del tensors.tile_width


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
                value = called(backend.batch_sharded(case.loss), case, own)
                by_rank = gradients(value.sum(), free_of(own))
            found.append((case, errors(rank, setting, values, free_of(whole), wanted, value, by_rank), record))
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
        assert len(first.collectives) >= 3
        for _, _, record in others:
            assert record.collectives == first.collectives, case
