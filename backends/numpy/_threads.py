"""Tiles of NumPy arrays on all cores: NumPy releases the interpreter while it computes, and uses one thread."""

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from threading import Lock
from typing import Any

import numpy as np

from anglos.arrays.monoid import Monoid

_STEERING = Lock()
"""Held by the sweep that limits the BLAS: a second one would restore the first one's limit as if it were the user's."""


@contextmanager
def steered_blas() -> Iterator[Any]:
    """What limits the threads of the BLAS; None if it has one thread, or is limited already."""
    blas = _blas()
    if blas is None or not _STEERING.acquire(blocking=False):
        yield None
        return
    try:
        yield blas if threads_of(blas) > 1 else None
    finally:
        _STEERING.release()


def threads_of(blas: Any) -> int:
    """How many it would use now."""
    return max((one["num_threads"] for one in blas.info()), default=1)


@functools.cache
def _blas() -> Any:
    """The BLAS libraries of the process, if there is threadpoolctl to steer them."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController().select(user_api="blas")


def sweep_in_threads(blas: Any, tile: Callable[..., Any], monoid: Monoid, arrays: tuple[Any, ...],
                     width: int) -> tuple[Any, tuple[Any, ...]]:
    """`Backend.sweep` with a tile for every thread of the BLAS, which is held to one meanwhile."""
    count, threads, making = len(arrays[0]), threads_of(blas), Lock()
    firsts = range(0, count, width)
    whole: dict[int, Any] = {}

    def work(number: int) -> Any:
        state = None
        for first in firsts[number::threads]:
            partial, output = tile(first, *(None if one is None else one[first:first + width] for one in arrays))
            state = partial if state is None else monoid.combine(np, state, partial)
            with making:
                for place, part in enumerate(output):
                    if place not in whole:
                        whole[place] = None if part is None else np.empty((count, *part.shape[1:]), part.dtype)
            for place, part in enumerate(output):
                if part is not None:
                    whole[place][first:first + width] = part
        return state

    with blas.limit(limits=1), ThreadPoolExecutor(threads) as pool:
        # Each in the context of the caller, to which np.errstate belongs.
        states = [pool.submit(copy_context().run, work, number) for number in range(min(threads, len(firsts)))]
        parts = [state.result() for state in states]
    state = functools.reduce(functools.partial(monoid.combine, np), parts)
    return state, tuple(whole[place] for place in sorted(whole))
