"""
Digits on a circle
==================

A small network puts six handwritten digits on a circle, with a margin and without. A circle is far too small a space
for embeddings, but one can see all of it.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

import anglos
from anglos.backends.torch import Head

images, digits = load_digits(n_class=6, return_X_y=True)  # 1,083 digits of 8 × 8 pixels, which ship with scikit-learn
images, digits = torch.from_numpy(images / 16).float(), torch.from_numpy(digits)
order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))
train, test = order[:700], order[700:]

# %%
# The head holds six prototypes. The margin grows over the first half of the training: at full size from the first step
# on, it can push a digit into the wrong place, and on a circle there is no way around a neighbour.


def embed(loss, margin: float, seed: int, epochs: int = 30) -> np.ndarray:
    """The unit vectors of the test digits."""
    torch.manual_seed(seed)
    network = torch.nn.Sequential(
        torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 2), torch.nn.BatchNorm1d(2))
    head = Head(loss, num_classes=6, embedding_dim=2, scale=16.0)
    optimizer = torch.optim.Adam([*network.parameters(), *head.parameters()], lr=3e-3)
    for epoch in range(epochs):
        if margin:
            head.options["margin"] = anglos.margin_warmup(epoch, steps=epochs // 2, margin=margin)
        for batch in torch.randperm(len(train)).split(100):
            optimizer.zero_grad()
            head(network(images[train[batch]]), digits[train[batch]]).backward()
            optimizer.step()
    with torch.no_grad():
        return torch.nn.functional.normalize(network.eval()(images[test])).numpy()


LOSSES = {"NormFace, no margin": (anglos.normface, 0.0), "ArcFace, m = 0.5": (anglos.arcface, 0.5)}
SEEDS = range(5)
runs = {name: [embed(loss, margin, seed) for seed in SEEDS] for name, (loss, margin) in LOSSES.items()}

# %%
# Test digits only, a column for each of the first three seeds. How far out a point lies has no meaning: points are
# moved a little, so that one sees how many there are.

own = {digit: digits[test].numpy() == digit for digit in range(6)}
figure, grid = plt.subplots(2, 3, figsize=(6.5, 4.8))
moved = 0.85 + 0.15 * np.random.default_rng(0).random((len(test), 1))
for row, (name, found) in zip(grid, runs.items(), strict=True):
    for axes, points in zip(row, found, strict=False):
        for digit, members in own.items():
            axes.scatter(*(points * moved)[members].T, s=3, color=f"C{digit}")
            middle = points[members].mean(axis=0)
            axes.text(*(1.25 * middle / np.linalg.norm(middle)), digit, ha="center", va="center", color=f"C{digit}")
        axes.set(aspect="equal", xlim=(-1.45, 1.45), ylim=(-1.45, 1.45))
        axes.axis("off")
    row[1].set_title(name)
plt.show()

# %%
# How far are the digits from the middle of their class, on average? For each of the five seeds:


def spread(points: np.ndarray) -> float:
    """The mean angle in degrees between a test digit and the mean direction of its class."""
    middles = {digit: points[members].mean(axis=0) for digit, members in own.items()}
    cosines = [points[members] @ middles[digit] / np.linalg.norm(middles[digit]) for digit, members in own.items()]
    return float(np.degrees(np.mean([np.arccos(np.clip(cos, -1, 1)).mean() for cos in cosines])))


spreads = {name: [spread(points) for points in found] for name, found in runs.items()}
for name, values in spreads.items():
    print(f"{name:20} spread {np.mean(values):4.1f}° on average:", *(f"{value:.1f}°" for value in values))

# %%
# The margin draws each digit together: eleven degrees become eight. The picture shows a larger difference, that between
# the seeds: in some runs two digits have come to lie in the same place, with a margin and without. That is the circle's
# doing, where a class can only move past another by going through it; in 64 or more dimensions, as they are used, there
# is always a way around.
#
# See ``anglos.normface``, ``anglos.arcface`` and, for a sphere and five losses, the picture on the :doc:`start page
# </index>`. A compact class is not yet a better embedding: :doc:`/gallery/verification` looks at classes that were not
# trained.
