"""
What mining selects
===================

A triplet loss compares an anchor with a positive (same class) and a negative (another class). A batch of B samples
holds some B³ triplets, most of which say nothing: the negative is far away already. Mining chooses. Here is what it
chooses.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Wedge

import anglos

# %%
# A batch of 40 samples of four classes that overlap, in the plane. Distances are Euclidean, the margin is 0.5.

MARGIN = 0.5
random = np.random.default_rng(0)
labels = np.repeat(np.arange(4), 10)
centres = np.asarray([[0.0, 0.0], [2.2, 0.3], [0.4, 2.2], [2.4, 2.4]])
points = centres[labels] + 0.6 * random.normal(size=(40, 2))
space = {"distance": "euclidean", "normalize": False}

hard = np.stack(anglos.mining.batch_hard(points, labels, **space), axis=1)
semi = np.stack(anglos.mining.semi_hard(points, labels, margin=MARGIN, **space), axis=1)

# %%
# First one anchor: the sample nearest to the middle of the batch, one of the green class. ``batch_hard`` gives it one
# triplet, its farthest positive with its nearest negative. ``semi_hard`` looks at each positive by itself: a negative
# that is farther than the positive, by less than the margin, which is the ring in the picture; of those in the ring the
# nearest.

anchor = int(np.argmin(np.linalg.norm(points - points.mean(axis=0), axis=1)))
own_hard = hard[hard[:, 0] == anchor][0]
own_semi = semi[semi[:, 0] == anchor]
radii = np.linalg.norm(points[own_semi[:, 1]] - points[anchor], axis=1)
one_semi, radius = own_semi[np.argmin(radii)], radii.min()

figure, panels = plt.subplots(2, 1, figsize=(6.5, 10), sharex=True, sharey=True)
for axes, title, (_, positive, negative) in zip(panels, ("batch_hard", "semi_hard, one of its triplets"),
                                                (own_hard, one_semi), strict=True):
    axes.scatter(*points.T, c=[f"C{label}" for label in labels], s=25, alpha=0.5)
    axes.scatter(*points[anchor], marker="*", s=220, color="black", label="anchor", zorder=3)
    axes.scatter(*points[positive], marker="o", s=110, facecolor="none", edgecolor="black", label="positive")
    axes.scatter(*points[negative], marker="s", s=110, facecolor="none", edgecolor="black", label="negative")
    axes.set(title=title, aspect="equal")
panels[1].add_patch(Wedge(tuple(points[anchor]), radius + MARGIN, 0, 360, width=MARGIN, color="black", alpha=0.12))
panels[0].legend(loc="lower right")
plt.show()

# %%
# Now the whole batch. For every triplet the gap is d(a, n) − d(a, p): below 0 the negative is nearer than the positive,
# beyond the margin the loss is 0.

distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
positive = (labels[:, None] == labels[None]) & ~np.eye(40, dtype=bool)
negative = labels[:, None] != labels[None]
gaps = {
    "all": (distance[:, None, :] - distance[:, :, None])[positive[:, :, None] & negative[:, None, :]],
    "semi_hard": distance[semi[:, 0], semi[:, 2]] - distance[semi[:, 0], semi[:, 1]],
    "batch_hard": distance[hard[:, 0], hard[:, 2]] - distance[hard[:, 0], hard[:, 1]],
}

figure, axes = plt.subplots(figsize=(6.5, 4.5))
edges = np.linspace(-4, 5, 73)
for name, values in gaps.items():
    axes.hist(values, edges, density=True, alpha=0.55, label=f"{name}: {len(values):,} triplets")
for line in (0.0, MARGIN):
    axes.axvline(line, color="black", linestyle=":")
axes.set(xlabel="gap d(a, n) − d(a, p); dotted: 0 and the margin", ylabel="density")
axes.legend()
plt.show()

# %%
# Most of all triplets are beyond the margin. ``semi_hard`` takes only what lies between the dotted lines.
# ``batch_hard`` takes the far left: where classes overlap, its triplets are those of outliers, or of wrong labels.
# Early in a training everything overlaps, and then pulling at the worst cases alone may draw all samples into one
# point; with clean labels, later, they are what is left to learn.
#
# ``anglos.triplet`` selects by itself, with ``mining=``; the indices are from ``anglos.mining.batch_hard`` and
# ``anglos.mining.semi_hard``. More in :doc:`/pairs`.

for name, values in gaps.items():
    print(f"{name:10} {len(values):6,} triplets, of which {np.mean(values < MARGIN):4.0%} have a loss")
