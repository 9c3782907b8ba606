"""What processes compare when a call is traced: where one refuses, or does something else, all raise.

Otherwise they would go on with programs that are not the same: with wrong numbers, or each waiting for another.
"""

import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from anglos.call import agreement
from anglos.call.loss import _Call

_BYTES = 1 << 13
"""So much is told of a difference."""


def agreed(loss: str, mesh: Mesh, check: bool, prepare: Callable[[], _Call]) -> _Call:
    """The call that is prepared, if all processes prepare the same; else an error on all of them.

    Nothing is asked of one process, or where the mesh is not of all.
    """
    processes = {device.process_index for device in mesh.devices.flat}
    if not check or len(processes) == 1 or len(processes) < jax.process_count():
        return prepare()
    call, refusal, said = None, None, {}
    try:
        call = prepare()
        said = _said_of(call)
    except Exception as error:  # of which the others must hear
        refusal = error
    text = repr(sorted(said.items())).encode()
    every = _on_all(np.asarray([refusal is not None, zlib.crc32(text)], np.uint32)).tolist()
    if refusal is not None:
        raise refusal
    for process, (refused, _) in enumerate(every):
        if refused:
            raise RuntimeError(f"{loss}: process {process} refused its arguments (its own error says why)")
    if len({digest for _, digest in every}) > 1:
        raise ValueError(f"{loss}: {agreement.difference(_of_all(said), 'process')}; wanted the same on all processes")
    assert call is not None
    return call


def _said_of(call: _Call) -> dict[str, str]:
    """Of a call, what must be the same on all processes."""
    return agreement.said_of(call.plan, call.arrays, lambda array: f"{array.dtype} of shape {array.shape}")


def _of_all(said: Mapping[str, str]) -> list[dict[str, str]]:
    """What every process says, as far as it is told."""
    text = "\n".join(f"{word}\t{value}" for word, value in said.items()).encode()[:_BYTES]
    padded = np.zeros(_BYTES, np.uint8)
    padded[:len(text)] = np.frombuffer(text, np.uint8)
    return [dict(line.split("\t") for line in bytes(one).rstrip(b"\0").decode(errors="replace").split("\n")
                 if line.count("\t") == 1) for one in _on_all(padded)]


def _on_all(mine: np.ndarray) -> np.ndarray:
    """One above the other, those of all processes."""
    with ThreadPoolExecutor(1) as thread:  # in which nothing is being traced
        every: np.ndarray = thread.submit(multihost_utils.process_allgather, mine).result()
    return np.asarray(every)
