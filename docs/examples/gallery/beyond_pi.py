"""
ArcFace beyond π − m
====================

ArcFace adds a margin to an angle: φ = cos(θ + m). An angle ends at π, and beyond θ = π − m the cosine of the sum rises
again: the worse the sample, the better its logit. Published implementations differ in what they do there, and
``anglos`` has each of them, as the option ``past_pi``.
"""

import matplotlib.pyplot as plt
import numpy as np

import anglos

# %%
# One sample goes all the way from its own prototype (0°) to the opposite side (180°). A second prototype is at a right
# angle to all of that. We look at the loss, and at the pull on the sample: how long the gradient of a unit vector is,
# with its sign, positive if it turns the sample towards its prototype.

theta = np.radians(np.linspace(0.5, 179.5, 718))
prototypes = np.asarray([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
samples = np.stack([np.cos(theta), np.sin(theta), 0 * theta], axis=1)
away = np.stack([-np.sin(theta), np.cos(theta), 0 * theta], axis=1)
labels = np.zeros(len(theta), dtype=int)

CHOICES = ("smooth", "linear", "shifted", "reflect", "clamp", "easy")
loss, pull = {}, {}
for choice in CHOICES:
    options = {"margin": 0.5, "scale": 16.0, "past_pi": choice}
    loss[choice] = anglos.arcface(samples, prototypes, labels, reduction="none", **options)
    _, (gradient,) = anglos.arcface.value_and_grad(
        samples, prototypes, labels, reduction="sum", wrt=("embeddings",), **options)
    pull[choice] = np.sum(gradient * away, axis=1)

# %%

figure, grid = plt.subplots(6, 2, figsize=(6.5, 10), sharex=True, sharey="col")
for (left, right), choice in zip(grid, CHOICES, strict=True):
    left.plot(np.degrees(theta), loss[choice])
    right.plot(np.degrees(theta), pull[choice], color="C1")
    right.axhline(0.0, color="black", linewidth=0.8)
    for axes in (left, right):
        axes.axvline(180 - np.degrees(0.5), color="grey", linestyle=":")
    left.set_ylabel(f'"{choice}"')
grid[0, 0].set(title="loss", xticks=[0, 45, 90, 135, 180])
grid[0, 1].set_title("pull to the prototype")
figure.supxlabel("angle θ to the prototype, in degrees; dotted: π − m")
plt.show()

# %%
# Up to the dotted line all are the same, except ``"easy"``, which has no margin beyond 90°: there its loss drops, and
# goes on as that of a softmax. After the line:
#
# - ``"reflect"`` is the formula as it stands, and insightface's code today. The loss falls again, and the pull is
#   negative: the samples that are most wrong are pushed further away.
# - ``"clamp"`` (AdaFace, opensphere) holds φ at −1: those samples are not moved by their own prototype at all.
# - ``"linear"`` (insightface's earlier code, pytorch-metric-learning) and ``"shifted"`` (wespeaker) keep pulling, but φ
#   or its slope jumps.
# - ``"smooth"``, the default, goes on falling with a continuous slope.
#
# In a space of many dimensions random directions are at about 90°, so that few samples ever come here; in two or three
# dimensions, as in the pictures of this gallery, many do. See ``anglos.arcface``.

falls = {choice: bool(np.any(np.diff(loss[choice]) < -1e-9)) for choice in CHOICES}
print("The loss falls while the angle grows:", ", ".join(choice for choice in CHOICES if falls[choice]))
