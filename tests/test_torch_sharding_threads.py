"""PyTorch's class_sharded in one process: ranks are threads, which meet where processes would send; and a group of one.

What is sent by PyTorch itself, the slow tests see, in processes.
"""

import copy
import pickle
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any, Unpack

import pytest
from ranks import recorded
from sharded import LOSSES, Case, Found, Setting, errors, given_by, local, tiles_of

import anglos
from anglos import Loss, define

torch: Any = import_module("torch")
dist: Any = import_module("torch.distributed")
sharding: Any = import_module("anglos.backends.torch.sharding")
group: Any = import_module("anglos.backends.torch.sharding.group")


class Meeting:
    """Where the threads bring what they have."""

    def __init__(self, size: int) -> None:
        self.size, self.barrier, self.brought = size, threading.Barrier(size, timeout=20.0), list[Any]([None] * size)

    def of_all(self, rank: int, one: Any) -> list[Any]:
        self.brought[rank] = one
        self.barrier.wait()
        every = list(self.brought)
        self.barrier.wait()
        assert len({(how, part.shape, part.dtype) for how, part in every}) == 1, every
        return [part for _, part in every]


class Threads(group.Group):  # type: ignore[misc]
    """One of them, in place of a process group."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        self.meeting, self.rank, self.size, self.name, self.group = meeting, rank, meeting.size, "threads", self

    def sum(self, part: Any) -> Any:
        return Met.apply(part, self, "sum")

    def gather(self, own: Any) -> Any:
        return Met.apply(own, self, "gather")

    def scatter(self, parts: Any) -> Any:
        return Met.apply(parts, self, "scatter")

    def exchange(self, parts: Any) -> Any:
        return Met.apply(parts, self, "exchange")


class Met(torch.autograd.Function):  # type: ignore[misc]
    """A collective, whose transpose is another."""

    @staticmethod
    def forward(ctx: Any, given: Any, one: Threads, how: str) -> Any:
        ctx.one, ctx.how = one, how
        every = one.meeting.of_all(one.rank, (how, given.detach()))
        if how == "gather":
            return torch.cat(every)
        if how == "exchange":
            return torch.stack([parts[one.rank] for parts in every])
        total = torch.stack(every).sum(0)
        return total if how == "sum" else total.chunk(one.size)[one.rank].clone()

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return getattr(ctx.one, {"gather": "scatter", "scatter": "gather"}.get(ctx.how, ctx.how))(g), None, None


def of_threads(setting: Setting, cases: list[Case]) -> list[list[Found]]:
    """What every rank finds, of its own rows and plain tensors of its classes."""
    meeting = Meeting(setting.ranks)

    def of_rank(rank: int) -> list[Found]:
        found = []
        for case in cases:
            given, classes = given_by(rank, case), len(case.arrays[case.loss.arrays[1]])
            loss = sharding.class_sharded(case.loss, Threads(meeting, rank), num_classes=classes, check=False)
            value = case.call(loss, given)
            value.sum().backward()
            found.append(Found(local(value), {name: one.grad for name, one in given.items() if one.requires_grad}, []))
        return found

    with pytest.MonkeyPatch.context() as patch, tiles_of(setting.width), ThreadPoolExecutor(setting.ranks) as pool:
        patch.setattr(import_module("anglos.backends.torch.sharding.classes"), "group_of", lambda _, given: given)
        return list(pool.map(of_rank, range(setting.ranks)))


@pytest.mark.parametrize("setting", [Setting(3, 4), Setting(2, 11, width=2, few=1)], ids=str)
def test_ranks_that_are_threads_get_what_one_process_gets(setting: Setting) -> None:
    cases = setting.cases()
    found = of_threads(setting, cases)
    with tiles_of(setting.width):
        wrong = {(case.loss.name, str(case.options), name): far for case, *of_case in zip(cases, *found, strict=True)
                 for name, far in errors(case, of_case).items() if not far < 1e-12}
    assert not wrong


@pytest.fixture(scope="module")
def group_of_one() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        yield
        dist.destroy_process_group()


@pytest.mark.parametrize("one", LOSSES, ids=lambda loss: loss.name)
def test_a_group_of_one_says_nothing_and_changes_nothing(one: Loss[...], group_of_one: None) -> None:
    for case in [case for case in Setting(1, 5).cases() if case.loss is one]:
        alone, shared = given_by(0, case), given_by(0, case)
        right = case.call(one, alone)
        right.sum().backward()
        with recorded() as said:
            value = case.call(sharding.class_sharded(one, num_classes=5), shared)
            value.sum().backward()
        assert said == []
        # A logit of 64 is rounded by 1e-14, and sface's slope of 80 makes more of it.
        torch.testing.assert_close(value, right, rtol=1e-13, atol=2e-13)
        for name, array in alone.items():
            most = 0.0 if array.grad is None else float(array.grad.abs().amax())
            torch.testing.assert_close(shared[name].grad, array.grad, rtol=1e-13, atol=max(1e-13, 1e-14 * most))


def test_arguments_are_known_by_their_kinds(group_of_one: None) -> None:
    """Whatever class weights are called, and without embeddings to tell the samples."""
    @define.prototypes
    def mine(embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
             omega: define.ClassWeight = None, **common: Unpack[define.TiledCommon]) -> define.Row:
        return define.Row(8.0)

    @define.update(anglos.curricularface, quality=define.ArrayOf("B"))
    def seen(batch: define.Batch, quality: Any) -> Any:
        return batch.mean(quality)

    x, w, labels = torch.eye(4, 6).double(), torch.eye(5, 6).double(), torch.tensor([0, 1, -100, 4])
    omega = torch.linspace(0.5, 2.0, 5).double()
    of_ranks = sharding.class_sharded(mine, num_classes=5)(x, w, labels, omega=omega)
    torch.testing.assert_close(of_ranks, mine(x, w, labels, omega=omega), rtol=1e-13, atol=1e-13)
    assert sharding.class_sharded(seen)(torch.arange(4.0)) == 1.5


def test_refusals(group_of_one: None) -> None:
    wrong: list[tuple[type[Exception], str, Any, dict[str, Any]]] = [
        (TypeError, "loss was supcon; wanted a loss with class prototypes, such as anglos.arcface", anglos.supcon, {}),
        (TypeError, "loss was ham_softmax, which holds the logits of all classes; wanted one whose classes come in "
         "tiles, such as anglos.arcface", anglos.ham_softmax, {}),
        (TypeError, "loss was a list; wanted a loss with class prototypes, such as anglos.arcface", [], {}),
        (TypeError, "num_classes was '9'; wanted an integer from 1", anglos.arcface, {"num_classes": "9"}),
        (ValueError, "num_classes was 0; wanted an integer from 1 below 2**31", anglos.arcface, {"num_classes": 0}),
        (TypeError, "num_classes was 9 for center_update; wanted None: what an update has of each class are DTensors",
         anglos.center_update, {"num_classes": 9}),
        (TypeError, "mesh was 1; wanted a DeviceMesh, a ProcessGroup, or None for all ranks", anglos.arcface,
         {"mesh": 1})]
    for error, message, given, options in wrong:
        with pytest.raises(error, match=f"^class_sharded: {re.escape(message)}$"):
            sharding.class_sharded(given, **options)
    for given in (anglos.center, anglos.center_update):
        made = sharding.class_sharded(given)
        assert copy.deepcopy(made) is made
        with pytest.raises(TypeError, match=rf"^class_sharded: {given.name} was pickled with its process group, which "
                                            rf"is this process's alone; wanted anglos.{given.name} pickled, and "
                                            r"class_sharded called where it is loaded$"):
            pickle.dumps(made)
