"""
How large must the scale be?
============================

A cosine is at most 1. With C classes, a scale s that is too small leaves the label a small probability even for a
perfect embedding, and the loss pulls for ever. How small is too small depends on C.
"""

import matplotlib.pyplot as plt
import numpy as np

import anglos

# %%
# The best that C prototypes can do is to stand as far apart as possible, as the corners of a regular simplex, with each
# sample right on its own. For a few classes we can build that, and ask the loss: exp(−loss) is the probability.


def reached(num_classes: int, scale: float) -> float:
    """The probability of the label of a perfect embedding."""
    simplex = np.eye(num_classes) - 1 / num_classes
    return float(np.exp(-anglos.normface(simplex[:1], simplex, np.asarray([0]), scale=scale)))


scales = np.linspace(1.0, 25.0, 49)
CLASSES = (10, 100, 1000)
curves = {count: [reached(count, scale) for scale in scales] for count in CLASSES}

# %%
# ``anglos.suggest_scale`` answers the question the other way round: the least scale with which the label can reach a
# probability. It costs no arithmetic on prototypes, so that it does a million classes as well.

counts = np.unique(np.geomspace(2, 1e7, 200).astype(int))
PROBABILITIES = (0.5, 0.9, 0.99)
suggested = {p: [anglos.suggest_scale(int(count), p) for count in counts] for p in PROBABILITIES}

figure, (upper, lower) = plt.subplots(2, 1, figsize=(6.5, 8))
for count in CLASSES:
    (line,) = upper.plot(scales, curves[count], label=f"{count:,} classes")
    upper.plot(anglos.suggest_scale(count, 0.9), 0.9, "o", color=line.get_color())
upper.axhline(0.9, color="grey", linestyle=":")
upper.set(xlabel="scale s", ylabel="probability that the label can reach")
upper.legend()
for p in PROBABILITIES:
    lower.semilogx(counts, suggested[p], label=f"probability {p}")
lower.axhline(64.0, color="grey", linestyle=":")
lower.text(2, 62.5, "64, ArcFace's default", va="top", color="dimgrey")
lower.set(xlabel="number of classes", ylabel="least scale, suggest_scale(C, P)")
lower.legend(loc="center left")
plt.show()

# %%
# Above, what the loss says of perfect embeddings; the dots are ``suggest_scale(C, 0.9)``, and lie on the curves. Below,
# the least scale grows with the logarithm of the number of classes only: ten million classes need less than 21 for a
# probability of 0.99.
#
# Real embeddings are not perfect, and a margin takes its part: two to four times the least scale is usual. That makes
# 64 right for many thousands of classes, and a lot for ten: there, a sample that is only a little nearer to its own
# prototype than to the others already has a loss near 0. :doc:`/which_loss` has more on scale and margin.

for count in CLASSES:
    print(f"{count:5} classes: scale {anglos.suggest_scale(count, 0.9):5.2f} for a probability of 0.9")
