"""ArcFace in JAX over 4,000 classes that devices share; stopped at any time, it goes on with any number of them.

Every picture of a digit is a class of its own, and the network learns to know it again when it was moved. On two
processes, the second started beside the first:

python docs/examples/train_sharded_jax.py checkpoints --processes 2 --process 0 &
python docs/examples/train_sharded_jax.py checkpoints --processes 2 --process 1

pip install "jax[cpu]>=0.7" optax orbax-checkpoint mlxtend
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import anglos
from anglos.backends.jax import class_sharded
from anglos.tools.demo.data import pixels, train_and_test

BATCH, SAVED_EVERY = 240, 50  # the batch of all devices together
HIDDEN, DIMENSION = 256, 64
OPTIMIZER = optax.adamw(5e-3)


def start(key: jax.Array, rows: int) -> dict[str, Any]:
    """All that a checkpoint holds."""
    keys = jax.random.split(key, 3)
    parameters = {"hidden": jax.random.normal(keys[0], (28 * 28, HIDDEN)) * (28 * 28) ** -0.5,
                  "last": jax.random.normal(keys[1], (HIDDEN, DIMENSION)) * HIDDEN ** -0.5,
                  "prototypes": jax.random.normal(keys[2], (rows, DIMENSION)) * DIMENSION ** -0.5}
    return {"parameters": parameters, "optimizer": OPTIMIZER.init(parameters)}


def embed(parameters: dict[str, jax.Array], images: jax.Array) -> jax.Array:
    """The backbone."""
    return jax.nn.relu(images @ parameters["hidden"]) @ parameters["last"]


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def train(arcface: Any, state: dict[str, Any], images: jax.Array, labels: jax.Array) -> tuple[Any, jax.Array]:
    """The state after a step, and the loss before it."""
    def loss_of(parameters: dict[str, jax.Array]) -> jax.Array:
        return arcface(embed(parameters, images), parameters["prototypes"], labels, margin=0.2, scale=16.0)

    loss, gradients = jax.value_and_grad(loss_of)(state["parameters"])
    updates, optimizer = OPTIMIZER.update(gradients, state["optimizer"], state["parameters"])
    return {"parameters": optax.apply_updates(state["parameters"], updates), "optimizer": optimizer}, loss


@partial(jax.jit, static_argnums=0)
def accuracy(classes: int, parameters: dict[str, jax.Array], images: jax.Array, labels: jax.Array) -> jax.Array:
    """How often the nearest prototype is that of the picture's own class."""
    prototypes = parameters["prototypes"][:classes]
    unit = prototypes / jnp.linalg.norm(prototypes, axis=1, keepdims=True)
    return ((embed(parameters, images) @ unit.T).argmax(axis=1) == labels).mean()


def batch(images: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The same on any number of processes, of which each makes its own rows of it."""
    random = np.random.default_rng((0, step))
    chosen, moves = random.choice(len(images), BATCH, replace=False), random.integers(-1, 2, (BATCH, 2))
    own = np.array_split(np.arange(BATCH), jax.process_count())[jax.process_index()]
    moved = [np.roll(images[chosen[row]], moves[row], (0, 1)) for row in own]
    return pixels(np.stack(moved)), chosen[own]


def main() -> None:
    """Train for as many steps as are left."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=Path("checkpoints"))
    parser.add_argument("--steps", type=int, default=300, help="in all, those of earlier runs among them")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--process", type=int, default=0)
    parser.add_argument("--address", default="localhost:12355", help="of process 0")
    parser.add_argument("--devices", type=int, default=2, help="that a processor counts as, in each process")
    asked = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", asked.devices)
    if asked.processes > 1:
        jax.distributed.initialize(asked.address, asked.processes, asked.process, heartbeat_timeout_seconds=10)
    mesh = jax.make_mesh((jax.device_count(),), ("devices",), axis_types=(AxisType.Auto,))
    shared = NamedSharding(mesh, PartitionSpec("devices"))

    def place(path: Any, leaf: Any) -> Any:
        """Prototypes, and what the optimizer keeps of them, are shared; the rest is everywhere."""
        where = shared if "prototypes" in jax.tree_util.keystr(path) else NamedSharding(mesh, PartitionSpec())
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)

    images = train_and_test(seed=0)[0].images
    # As many rows on each device: the last may have some that are no classes.
    started = partial(start, rows=-(-len(images) // mesh.size) * mesh.size)
    places = jax.tree_util.tree_map_with_path(place, jax.eval_shape(started, jax.random.key(0)))
    arcface = class_sharded(anglos.arcface, mesh, "devices", num_classes=len(images))
    with ocp.CheckpointManager(asked.folder.absolute()) as checkpoints:
        done = checkpoints.latest_step() or 0
        if done:
            # Not strict: such rows come and go with the number of devices.
            how = jax.tree.map(lambda leaf: ocp.ArrayRestoreArgs(
                sharding=leaf.sharding, global_shape=leaf.shape, strict=False), places)
            state = checkpoints.restore(done, args=ocp.args.PyTreeRestore(places, restore_args=how))
        else:
            state = jax.jit(started, out_shardings=jax.tree.map(lambda leaf: leaf.sharding, places))(jax.random.key(0))
        for step in range(done, asked.steps):
            own = batch(images, step)
            state, loss = train(arcface, state, *(jax.make_array_from_process_local_data(shared, part) for part in own))
            if jax.process_index() == 0:
                print(f"step {step} loss {loss:.6f}", flush=True)
            if (step + 1) % SAVED_EVERY == 0:
                checkpoints.save(step + 1, args=ocp.args.PyTreeSave(state))
    unseen = [jax.make_array_from_process_local_data(shared, part) for part in batch(images, asked.steps)]
    score = accuracy(len(images), state["parameters"], *unseen)
    if jax.process_index() == 0:
        print(f"accuracy {score:.3f}")


if __name__ == "__main__":
    main()
