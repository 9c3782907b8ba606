"""Functions run by the ranks of real process groups, in processes that stay from one test to the next.

    def of_rank(rank: int, more: int) -> int:          # of a module's top level
        return total(rank + more)

    assert on_ranks(of_rank, 3, 1) == [6, 6, 6]
"""

import gc
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from importlib import import_module
from math import prod
from multiprocessing.connection import wait
from typing import Any, NamedTuple

import pytest

torch: Any = import_module("torch")
dist: Any = import_module("torch.distributed")
mp: Any = import_module("torch.multiprocessing").get_context("spawn")

GRACE = 3.0
"""Seconds that the others have once a rank has failed, before they are killed."""

SOON = 5.0
"""Seconds in which all hear of a fault: one, on a machine that does nothing else, of which milliseconds are needed."""

NCCL = "cpu:gloo,cuda:nccl"
"""A backend for tests that are marked so."""

TWO_DEVICES = [pytest.mark.gpu, pytest.mark.skipif(torch.cuda.device_count() < 2, reason="NCCL takes two CUDA devices")]


CRASHES: list[str] = []
"""Functions and scripts that were run once more, because a process had crashed: said at the end of a run."""

OF_A_CRASH = (signal.SIGSEGV, signal.SIGABRT)
"""What a process with a group dies of now and then in torch 2.13. It was not found out why; of the like tells
github.com/pytorch/pytorch/pull/179291."""


class Failure(NamedTuple):
    """What a rank, or a call, came to in place of a result."""

    kind: str
    message: str
    seconds: float
    """From when it began."""
    trace: str = ""


def on_ranks(function: Callable[..., Any], ranks: int, *args: Any, timeout: float = 60.0, backend: str = "gloo",
             fresh: bool = False) -> list[Any]:
    """What function(rank, *args) returns on every rank, or the first error that one raised.

    Timeout: of every collective in seconds, and a little more of all. Fresh: by processes that have done nothing else.
    """
    found, failed = _visit(function, ranks, args, timeout, GRACE, backend, fresh)
    if any(_crashed(found[rank]) for rank in failed):
        CRASHES.append(function.__name__)
        found, failed = _visit(function, ranks, args, timeout, GRACE, backend, fresh)
    if failed:
        first = found[failed[0]]
        raise RuntimeError(f"rank {failed[0]}: {first.kind}: {first.message}\n{first.trace}")
    return found


def tried_on_ranks(function: Callable[..., Any], ranks: int, *args: Any, timeout: float = 10.0, backend: str = "gloo",
                   fresh: bool = False) -> list[Any]:
    """The same where ranks may raise, die or hang: each rank's result, or its Failure."""
    return _visit(function, ranks, args, timeout, timeout, backend, fresh)[0]


def _crashed(failure: Failure) -> bool:
    return failure.kind == "Died" and failure.message in [f"exit code {-one}" for one in OF_A_CRASH]


def torchrun_crashed(errors: str) -> bool:
    """Whether a process of a run that failed had crashed, from what torchrun says of it."""
    return any(f"({one.name}) received by PID" in errors for one in OF_A_CRASH)


def tried(call: Callable[[], Any]) -> Any:
    """What a call returns, or its Failure: for several in one visit."""
    began = time.monotonic()
    try:
        return call()
    except Exception as error:
        return Failure(type(error).__name__, str(error), time.monotonic() - began, traceback.format_exc())


class Collective(NamedTuple):
    """What a rank gave, once."""

    kind: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


@contextmanager
def recorded() -> Iterator[list[Collective]]:
    """What this rank says to others in a `with` statement, backward passes too."""
    record: list[Collective] = []

    class Mode(import_module("torch.utils._python_dispatch").TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, op: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
            done = op(*args, **(kwargs or {}))
            if op.namespace in ("_c10d_functional", "c10d") and "wait" not in op.name():
                given = _tensors(args[1 if op.name().startswith("c10d::allgather") else 0])
                record.extend(
                    Collective(op.name().split("::")[1], tuple(one.shape), str(one.dtype).removeprefix("torch."),
                               prod(one.shape) * one.element_size()) for one in given)
            return done

    with Mode():
        yield record


def _tensors(given: Any) -> list[Any]:
    if isinstance(given, torch.Tensor):
        return [given]
    return [tensor for one in given for tensor in _tensors(one)] if isinstance(given, (tuple, list)) else []


class _Worker:
    """A process, and our end of the pipe to it."""

    def __init__(self) -> None:
        self.pipe, theirs = mp.Pipe()
        self.process = mp.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def answer(self, began: float) -> tuple[bool, Any]:
        """Whether it failed, and what it came to."""
        try:
            failed, found = self.pipe.recv()
            return failed, found if failed else pickle.loads(found)
        except (EOFError, ConnectionResetError):
            self.process.join()
            return True, Failure("Died", f"exit code {self.process.exitcode}", time.monotonic() - began)


_pool: list[_Worker] = []


def _visit(function: Callable[..., Any], ranks: int, args: tuple[Any, ...], timeout: float, grace: float, backend: str,
           fresh: bool) -> tuple[list[Any], list[int]]:
    """What every rank came to, and those that failed, in the order of their failures."""
    pool, task, done = [] if fresh else _pool, pickle.dumps((function, args)), False
    try:
        new = [_Worker() for _ in range(ranks - len(pool))]
        pool += new
        for worker in new:
            worker.pipe.recv()
        workers = pool[:ranks]
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            for rank, worker in enumerate(workers):
                worker.pipe.send((rank, ranks, f"file://{folder}/store", timeout, backend, task))
            found, failed = _answers(workers, timeout + GRACE, grace)
            if not failed:
                for worker in workers:
                    worker.pipe.send(None)
                for worker in workers:
                    worker.pipe.recv()
                done = True
        return found, failed
    finally:
        if fresh or not done:  # nobody knows what state they are in
            for worker in pool:
                worker.process.kill()
            for worker in pool:
                worker.process.join()
            pool.clear()


def _answers(workers: list[_Worker], limit: float, grace: float) -> tuple[list[Any], list[int]]:
    began = time.monotonic()
    end = began + limit
    found: list[Any] = [Failure("Hung", f"no answer in {limit:.0f} s", limit)] * len(workers)
    failures: list[int] = []
    waited = {worker.pipe: rank for rank, worker in enumerate(workers)}
    while waited and (ready := wait(list(waited), max(0.0, end - time.monotonic()))):
        for pipe in ready:
            rank = waited.pop(pipe)
            failed, found[rank] = workers[rank].answer(began)
            if failed:
                failures.append(rank)
                end = min(end, time.monotonic() + grace)
    return found, [*failures, *waited.values()]


def _serve(pipe: Any) -> None:
    """The life of a process: one visit after the other, until nobody is at the other end."""
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # nothing outside this machine
    torch.set_num_threads(1)
    pipe.send(None)
    while True:
        try:
            visit = pipe.recv()
        except EOFError:
            return
        found = tried(partial(_done, *visit))
        pipe.send((isinstance(found, Failure), found))
        pipe.recv()  # all have answered: none needs the group any more
        dist.destroy_process_group()
        if "torch._dynamo" in sys.modules:
            sys.modules["torch._dynamo"].reset()
        gc.collect()
        pipe.send(None)


def _done(rank: int, ranks: int, store: str, timeout: float, backend: str, task: bytes) -> bytes:
    if "nccl" in backend:
        torch.cuda.set_device(rank)
    dist.init_process_group(backend, init_method=store, rank=rank, world_size=ranks, timeout=timedelta(seconds=timeout))
    function, args = pickle.loads(task)
    return pickle.dumps(function(rank, *args))
