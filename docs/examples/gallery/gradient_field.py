"""
What a margin does to the gradient
==================================

Two classes on a circle, each with a prototype. Every point of the circle could be an embedding of the first class. In
which direction does the loss turn it, and how hard?
"""

import matplotlib.pyplot as plt
import numpy as np

import anglos

# %%
# The gradient of a loss that only depends on directions has no part along the embedding: on the unit circle it is
# tangential. We compute it for 360 points, all with the label 0, in one call.

SCALE = 10.0
angle = np.radians(np.arange(-179.5, 180.0))
points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
tangents = np.stack([-np.sin(angle), np.cos(angle)], axis=1)
prototypes = np.asarray([[1.0, 0.0], [np.cos(np.radians(100)), np.sin(np.radians(100))]])
labels = np.zeros(len(points), dtype=int)

LOSSES = {
    "no margin": (anglos.normface, {}),
    "CosFace, m = 0.35": (anglos.cosface, {"margin": 0.35}),
    "ArcFace, m = 0.5": (anglos.arcface, {"margin": 0.5}),
}
turn = {}
for name, (loss, options) in LOSSES.items():
    _, (gradient,) = loss.value_and_grad(
        points, prototypes, labels, scale=SCALE, reduction="sum", wrt=("embeddings",), **options)
    turn[name] = -np.sum(gradient * tangents, axis=1) / SCALE

# %%
# Arrows show where a step of gradient descent takes the point. The blue dot is the prototype of the label, at 0°, the
# orange one that of the other class, at 100°; the dotted line is half-way, where a classifier decides.

figure, panels = plt.subplots(1, 3, figsize=(9, 3.4))
for axes, (name, force) in zip(panels, turn.items(), strict=True):
    axes.plot(*points.T, color="lightgrey", zorder=0)
    some = slice(4, None, 8)
    moves = tangents[some] * force[some, None]
    axes.quiver(*points[some].T, *moves.T, angles="xy", scale_units="xy", scale=2.5, width=0.008, color="dimgrey")
    axes.scatter(*prototypes.T, c=["C0", "C1"], s=90, zorder=3)
    axes.plot([0, 1.25 * np.cos(np.radians(50))], [0, 1.25 * np.sin(np.radians(50))], ":", color="black")
    axes.set(title=name, aspect="equal", xlim=(-1.4, 1.4), ylim=(-1.4, 1.4))
    axes.axis("off")
plt.show()

# %%
# And as a curve: the part between the two prototypes.

figure, axes = plt.subplots(figsize=(6.5, 4))
between = (angle > 0) & (angle < np.radians(100))
for name, force in turn.items():
    axes.plot(np.degrees(angle[between]), -force[between], label=name)
axes.axvline(50, color="black", linestyle=":")
axes.set(xlabel="angle to the label's prototype, in degrees", ylabel="pull, divided by the scale")
axes.legend()
plt.show()

# %%
# Without a margin the pull ends soon after the half-way line: the point is on the right side, the label's probability
# is near 1, and the loss is content. A margin moves that line towards the prototype, so that the point is pulled on
# until it lies deep in its own part of the circle. This is why embeddings of one class become compact.
#
# Deep on the wrong side, beyond 75°, no margin pulls harder than the plain softmax. A margin is about samples that are
# nearly right, or right already.

rest = {name: float(np.degrees(angle[between][-force[between] > 0.1].min())) for name, force in turn.items()}
for name, degrees in rest.items():
    print(f"{name:18} pulls by more than 0.1 down to {degrees:4.1f}°")
