"""Two processes of jax.distributed: they compute as one, and what differs between them is an error on both."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import os
import sys

import jax
import numpy as np

process, port, told_to = int(sys.argv[1]), int(sys.argv[2]), open(sys.argv[3], "w")
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"localhost:{port}", 2, process, heartbeat_timeout_seconds=10)

from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import anglos
from anglos.backends.jax import batch_sharded, class_sharded

mesh = jax.make_mesh((4,), ("devices",), axis_types=(AxisType.Auto,))
random = np.random.default_rng(0)
embeddings, weights, labels = random.normal(size=(8, 4)), random.normal(size=(8, 4)), np.arange(8) % 3
embeddings, weights = embeddings.astype("float32"), weights.astype("float32")


def shared(array):
    return jax.make_array_from_callback(array.shape, NamedSharding(mesh, P("devices")), lambda place: array[place])


def step(loss, *arrays, **options):
    return jax.jit(jax.value_and_grad(lambda *a: loss(*a, **options)))(*map(shared, arrays))


def told(name, function):
    try:
        function()
        print(f"{name}: nothing", file=told_to, flush=True)
    except Exception as error:
        print(f"{name}: {type(error).__name__} {str(error).splitlines()[0]}", file=told_to, flush=True)


arcface, cosface = (class_sharded(loss, mesh, "devices") for loss in (anglos.arcface, anglos.cosface))
supcon = batch_sharded(anglos.supcon, mesh, "devices")
for sharded, loss, arrays in ((arcface, anglos.arcface, (embeddings, weights, labels)),
                              (supcon, anglos.supcon, (embeddings, labels))):
    value, (gradient, *_) = loss.value_and_grad(*arrays)
    got, of_rows = step(sharded, *arrays)
    np.testing.assert_allclose(got, value, rtol=1e-5)
    for part in of_rows.addressable_shards:
        # Logits of 64 have so many digits in float32, and so has a probability.
        np.testing.assert_allclose(part.data, gradient[part.index], rtol=0, atol=4e-6 * np.abs(gradient).max())
print("equal", file=told_to, flush=True)
whole = embeddings, weights, labels
told("margin", lambda: step(arcface, *whole, margin=0.1 * (process + 1)))
told("reduction", lambda: step(arcface, *whole, reduction=("mean", "sum")[process], margin=0.2))
told("loss", lambda: step((arcface, cosface)[process], *whole, scale=20.0))
told("classes", lambda: step(arcface, embeddings, weights[:8 - 4 * process], labels))
told("refused", lambda: step(arcface, *whole, margin=(0.25, -1.0)[process]))
told("rows", lambda: step(supcon, embeddings[:8 - 4 * process], labels[:8 - 4 * process]))
told("inside", lambda: jax.shard_map(lambda *own: supcon(*own, temperature=0.1 + process), mesh=mesh,
                                     in_specs=P("devices"), out_specs=P("devices"))(shared(embeddings), shared(labels)))
if process == 1:
    os._exit(0)
told("dead", lambda: step(arcface, *whole, margin=0.3))
os._exit(7)
"""

WANTED = """
equal
margin: ValueError arcface: margin was 0.1 on process 0 and 0.2 on process 1; wanted {same}
reduction: ValueError arcface: reduction was 'mean' on process 0 and 'sum' on process 1; wanted {same}
loss: ValueError {loss}: the loss was anglos.arcface on process 0 and anglos.cosface on process 1; wanted {same}
classes: ValueError arcface: the number of classes was 8 on process 0 and 4 on process 1; wanted {same}
refused: {refused}
rows: ValueError supcon: embeddings was {whole} on process 0 and {half} on process 1; wanted {same}
inside: ValueError supcon: temperature was 0.1 on process 0 and 1.1 on process 1; wanted {same}
"""

WORDS = {"same": "the same on all processes", "whole": "float32 of shape (8, 4)", "half": "float32 of shape (4, 4)"}


def test_processes_agree(tmp_path: Path) -> None:
    """And where one has died, the other ends with an error."""
    (tmp_path / "program.py").write_text(PROGRAM)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    told = [tmp_path / f"told by {process}" for process in range(2)]
    processes = [subprocess.Popen([sys.executable, str(tmp_path / "program.py"), str(process), str(port), str(path)])
                 for process, path in enumerate(told)]
    try:
        for process in processes:
            process.wait(timeout=240)
    finally:
        for process in processes:
            process.kill()
    refusals = ("RuntimeError arcface: process 1 refused its arguments (its own error says why)",
                "ValueError arcface: margin was -1; wanted an angle in radians from 0 to 3.14159: a number or an array "
                "of real floating dtype and shape () or (B,)")
    for path, loss, refused in zip(told, ("arcface", "cosface"), refusals, strict=True):
        text, _, of_dead = path.read_text().partition("dead: ")
        assert text.strip() == WANTED.format(loss=loss, refused=refused, **WORDS).strip()
        assert not of_dead.startswith("nothing")
    assert processes[0].returncode != 0
