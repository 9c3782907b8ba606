"""Weights and optimizer states of shared classes, saved by orbax on eight devices, and resumed on other meshes."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from libraries import Library

import anglos

jax: Any = import_module("jax")
jnp: Any = jax.numpy
class_sharded: Any = import_module("anglos.backends.jax").class_sharded

pytestmark = pytest.mark.slow

CLASSES, DIMENSION, BATCH = 53, 5, 16


def sharded_over(devices: int) -> tuple[Any, int, Any]:
    """The loss on so many devices, how many rows its weights have, and where they are."""
    made = jax.make_mesh((devices,), ("devices",), axis_types=(jax.sharding.AxisType.Auto,),
                         devices=jax.devices("cpu")[:devices])
    loss = class_sharded(anglos.arcface, made, "devices", num_classes=CLASSES)
    where = jax.sharding.NamedSharding(made, jax.sharding.PartitionSpec("devices"))
    return loss, -(-CLASSES // devices) * devices, where


def test_checkpoints_resumed_on_other_meshes(jax_library: Library, tmp_path: Path) -> None:
    """The step after is that of a training on one device; the number of rows is the new mesh's."""
    optax = pytest.importorskip("optax", reason="optax is not installed")
    ocp = pytest.importorskip("orbax.checkpoint", reason="orbax is not installed")
    optimizer, random = optax.adamw(0.1), np.random.default_rng(0)
    batches = [(random.normal(size=(BATCH, DIMENSION)), random.integers(0, CLASSES, BATCH)) for _ in range(4)]

    def step(loss: Any, state: Any, batch: Any) -> Any:
        def train(weights: Any, kept: Any, embeddings: Any, labels: Any) -> Any:
            gradient = jax.grad(lambda weights: loss(embeddings, weights, labels))(weights)
            update, kept = optimizer.update(gradient, kept, weights)
            return optax.apply_updates(weights, update), kept

        return jax.jit(train)(*state, *batch)

    def start(rows: int, where: Any = None) -> Any:
        weights = jnp.zeros((rows, DIMENSION)).at[:CLASSES].set(random_weights)
        weights = weights if where is None else jax.device_put(weights, where)
        return weights, optimizer.init(weights)

    random_weights = random.normal(size=(CLASSES, DIMENSION))
    wanted = start(CLASSES)
    loss, rows, where = sharded_over(8)
    state = start(rows, where)
    for batch in batches[:-1]:
        wanted, state = step(anglos.arcface, wanted, batch), step(loss, state, batch)
    wanted = step(anglos.arcface, wanted, batches[-1])
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save(tmp_path / "saved", args=ocp.args.PyTreeSave(state))
        for devices in (8, 4, 2, 3):
            loss, rows, where = sharded_over(devices)
            like = jax.eval_shape(lambda rows=rows: start(rows))
            # Rows after the last class come and go with the mesh.
            everywhere = jax.sharding.NamedSharding(where.mesh, jax.sharding.PartitionSpec())
            how = jax.tree.map(lambda leaf, where=where, everywhere=everywhere: ocp.ArrayRestoreArgs(
                sharding=where if leaf.ndim else everywhere, global_shape=leaf.shape, strict=False), like)
            restored = checkpointer.restore(tmp_path / "saved", args=ocp.args.PyTreeRestore(like, restore_args=how))
            assert restored[0].sharding == where
            assert restored[0].shape[0] == rows
            got = step(loss, restored, batches[-1])
            for one, want in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
                np.testing.assert_allclose(one[:CLASSES] if one.ndim else one, want, rtol=0, atol=1e-13)
