"""Calls of losses against class prototypes: by ranks that share rows and classes, and by one process with all."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import roles
from ranks import Collective, recorded
from samples import array_options, has_several, other_options, per_class

import anglos
from anglos import Loss
from anglos.call.kinds import has_gradient

torch: Any = import_module("torch")
dist: Any = import_module("torch.distributed")
tensor: Any = import_module("torch.distributed.tensor")

ROWS, DIMENSION = 4, 5
"""Rows per rank, and their length."""

LOSSES = [loss for loss in anglos.LOSSES.values() if roles(loss)[::2] == ["embeddings", "labels"]
          and loss.name != "ham_softmax"]  # which holds the logits of all classes


class Case(NamedTuple):
    """A call, of all rows and all classes: a rank has B/P of them, and ⌈C/P⌉ while there are any."""

    loss: Loss[...]
    arrays: dict[str, Any]
    """All tensors, by name, options too."""
    options: dict[str, Any]
    ranks: int

    def rows(self, rank: int) -> slice:
        each = len(self.arrays["labels"]) // self.ranks
        return slice(rank * each, (rank + 1) * each)

    def is_learnt(self, name: str) -> bool:
        return has_gradient(self.loss.kinds[name])

    def is_of_rows(self, name: str) -> bool:
        return bool(self.arrays[name].ndim) and not per_class(self.loss, name)

    def call(self, function: Callable[..., Any], given: dict[str, Any], **options: Any) -> Any:
        named = {name: value for name, value in given.items() if name not in self.loss.arrays}
        return function(*[given[name] for name in self.loss.arrays], **{**self.options, **named, **options})


@dataclass(frozen=True)
class Setting:
    """What calls have in common."""

    ranks: int
    classes: int
    dtype: str = "float64"
    width: int | None = None
    """Classes in a tile; None: as many as the library likes."""
    few: int | None = None
    """So many calls of every loss beside its defaults, in place of all."""
    backend: str = "gloo"

    def cases(self) -> list[Case]:
        choose = random.Random(str(self))
        return [self.case(loss, options, choose) for loss in LOSSES for options in self.options(loss, choose)]

    def options(self, loss: Loss[...], choose: random.Random) -> list[dict[str, Any]]:
        """The defaults; every choice; every option as an array of each shape that it may have."""
        sizes = {"B": ROWS * self.ranks, "C": self.classes}
        found = list(other_options(loss))
        for name, values in array_options(loss).items():
            for shape, value in zip(loss.kinds[name].shapes, values, strict=False):
                found.append({name: np.linspace(value[0], value[-1], sizes[shape]) if shape else np.asarray(value)})
        if "class_weight" in loss.defaults:
            found.append({"class_weight": np.linspace(0.5, 2.0, self.classes), **(
                {"label_smoothing": np.asarray(0.1)} if "label_smoothing" in loss.defaults else {})})
        return [{}, *(found if self.few is None else choose.sample(found, min(self.few, len(found))))]

    def case(self, loss: Loss[...], options: dict[str, Any], choose: random.Random) -> Case:
        """The call with these options, and what is common to all losses at random."""
        numbers, many = np.random.default_rng(choose.randrange(1 << 30)), ROWS * self.ranks
        full = torch.float64 if self.dtype == "float64" else torch.float32
        made = {"embeddings": numbers.normal(size=(many, DIMENSION)),
                loss.arrays[1]: numbers.normal(size=(self.classes, *[3] * has_several(loss), DIMENSION))}
        arrays = {name: torch.tensor(array).to(getattr(torch, self.dtype)) for name, array in made.items()}
        arrays["labels"] = torch.tensor(numbers.integers(0, self.classes, many))
        # No row; some, which hold NaN; or all of the first rank. By no class, or by one whose rows are ignored too.
        ignored = choose.choice([slice(0), slice(0), slice(1, None, 3), slice(ROWS)])
        nothing = choose.choice([-100, self.classes // 2])
        arrays["labels"][ignored] = nothing
        arrays["embeddings"][arrays["labels"] == nothing] = np.nan
        arrays |= {name: torch.tensor(value, dtype=full) for name, value in options.items()
                   if isinstance(value, np.ndarray)}
        common = {"reduction": choose.choice(["mean", "sum", "none"]), "keep_bytes": choose.choice([0, 1 << 28]),
                  "ignore_index": nothing}
        return Case(loss, arrays, {name: value for name, value in common.items() if name in loss.defaults}
                    | {name: value for name, value in options.items() if name not in arrays}, self.ranks)


@contextmanager
def tiles_of(width: int | None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if width is not None:
            tensors = import_module("anglos.backends.torch._tensors").Tensors
            patch.setattr(tensors, "class_tile_width", lambda *_: width)
        yield


class Found(NamedTuple):
    """Of a call on one rank: its value, the gradients of what has any, and what it said to others."""

    value: Any
    gradients: dict[str, Any]
    said: list[Collective]


def class_sharded(loss: Loss[...], mesh: Any) -> Loss[...]:
    made: Loss[...] = import_module("anglos.backends.torch").class_sharded(loss, mesh)
    return made


def mesh_of_all() -> Any:
    device = "cuda" if "nccl" in dist.get_backend_config() else "cpu"
    return import_module("torch.distributed.device_mesh").init_device_mesh(device, (dist.get_world_size(),))


def given_by(rank: int, case: Case, mesh: Any = None) -> dict[str, Any]:
    """This rank's own rows, and of classes DTensors over a mesh, or plain tensors."""
    each = -(-len(case.arrays[case.loss.arrays[1]]) // case.ranks)

    def share(name: str, array: Any) -> Any:
        if per_class(case.loss, name) and mesh is not None:
            array = tensor.distribute_tensor(array, mesh, [tensor.Shard(0)], src_data_rank=None).detach()
        elif array.ndim:
            array = array[case.rows(rank) if case.is_of_rows(name) else slice(rank * each, (rank + 1) * each)]
        return array.clone().requires_grad_(case.is_learnt(name))

    device = "cpu" if mesh is None else mesh.device_type
    return {name: share(name, array.to(device)) for name, array in case.arrays.items()}


def local(array: Any) -> Any:
    return (array.to_local() if hasattr(array, "to_local") else array).detach().cpu()


def first_order(rank: int, cases: list[Case], width: int | None = None) -> list[Found]:
    """The loss of this rank's rows and its gradient, for every case."""
    mesh = mesh_of_all()
    with tiles_of(width):
        return [found_of(case, class_sharded(case.loss, mesh), given_by(rank, case, mesh)) for case in cases]


def found_of(case: Case, loss: Loss[...], given: dict[str, Any]) -> Found:
    with recorded() as said:
        value = case.call(loss, given)
        value.sum().backward()
    return Found(local(value), {name: local(one.grad) for name, one in given.items() if one.requires_grad}, said)


def of_one_process(case: Case) -> tuple[list[Any], dict[str, Any]]:
    """The loss of each rank by one process with all rows and classes; and its arrays."""
    # Arithmetic has float32 at least: so gradients are not rounded, to be averaged and rounded again.
    exact = {name: one.float() if one.dtype == torch.bfloat16 else one.clone() for name, one in case.arrays.items()}
    given = {name: one.requires_grad_(case.is_learnt(name)) for name, one in exact.items()}
    free, ranks = {name: one for name, one in given.items() if one.requires_grad}, range(case.ranks)
    if "sample_weight" not in case.loss.defaults:  # of proxies: that of all, or the terms of own ones
        value = case.call(case.loss, given)
        each = -(-len(given[case.loss.arrays[1]]) // case.ranks)
        return [value[rank * each:(rank + 1) * each] if value.ndim else value for rank in ranks], free
    weight = given.get("sample_weight", torch.ones(len(given["labels"]), dtype=torch.float64))
    values = []
    for rows in map(case.rows, ranks):  # of own rows: those of others weigh nothing
        own = torch.zeros(len(weight), dtype=torch.bool)
        own[rows] = True
        value = case.call(case.loss, given, sample_weight=torch.where(own, weight, 0.0))
        values.append(value[rows] if value.ndim else value)
    return values, free


def total(values: list[Any]) -> Any:
    return torch.cat([value.reshape(-1) for value in values]).sum()


def wanted(case: Case) -> tuple[list[Any], dict[str, Any]]:
    """The values, and the gradients: of rows those of the sum over ranks, of classes and numbers the mean."""
    values, given = of_one_process(case)
    total(values).backward()
    return [value.detach() for value in values], {name: one.grad / (1 if case.is_of_rows(name) else case.ranks)
                                                  for name, one in given.items()}


def joined(case: Case, name: str, found: list[Any]) -> Any:
    """Of what the ranks have the whole; a number is the same on all of them."""
    if case.arrays[name].ndim:
        return torch.cat(found)
    for one in found[1:]:
        torch.testing.assert_close(one, found[0], rtol=0, atol=0)
    return found[0]


def error(found: Any, right: Any, least: float = 1.0) -> float:
    """The largest, relative to the largest number that is right, and that at least."""
    if found.shape != right.shape:
        return float("inf")
    found, right = found.double(), right.double()
    return float((found - right).abs().max() / max(right.abs().max(), least)) if right.numel() else 0.0


def errors(case: Case, found: list[Found], least: float = 1.0) -> dict[str, float]:
    """Of the values and of every gradient."""
    values, gradients = wanted(case)
    every = {"value": max(error(one.value, value, least) for one, value in zip(found, values, strict=True))}
    assert found[0].gradients.keys() == gradients.keys()
    for name, right in gradients.items():
        assert {one.gradients[name].dtype for one in found} == {case.arrays[name].dtype}
        every[name] = error(joined(case, name, [one.gradients[name] for one in found]), right, least)
    return every
