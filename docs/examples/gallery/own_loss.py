"""
A margin of one's own
=====================

ArcFace adds the same angle everywhere, and therefore passes π (see :doc:`/gallery/beyond_pi`). Suppose we would rather
have a margin that is largest at a right angle, and nothing at both ends: θ + m sin θ. It never passes π, and as long as
m ≤ 1 it never turns back. That loss exists in no library; here it is.
"""

import matplotlib.pyplot as plt
import numpy as np

import anglos
from anglos import define

# %%
# What takes the place of the label's cosine is a function of it; that is all there is to write. Its slopes are found by
# differentiation. ``define.arccos`` and ``define.sin`` are safe at 0 and π, and the same in every library.


@define.margin(formula="φ = cos(θ + m sin θ)")
def sine_margin(cos, *, m: define.Factor = 0.5):
    """A margin that is largest at 90°, and 0 at both ends."""
    theta = define.arccos(cos)
    return define.cos(theta + m * define.sin(theta))


# %%
# Is it right? ``define.check(sine_margin)`` compares gradients with differences, second derivatives, hard inputs,
# dtypes, tiles and more, in NumPy, PyTorch and JAX; it raises at the first fault. It takes up to a minute, and is not
# run here, but in the tests of this page.
#
# How does it pull, beside ArcFace? The pull is the gradient of a unit vector towards its prototype; a second prototype
# is at a right angle to the path of the samples.

angle = np.radians(np.linspace(0.5, 179.5, 359))
prototypes = np.asarray([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
samples = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
away = np.stack([-np.sin(angle), np.cos(angle), 0 * angle], axis=1)
labels = np.zeros(len(angle), dtype=int)

CURVES = {
    "softmax": (anglos.normface, {}),
    "ArcFace, m = 0.5": (anglos.arcface, {"margin": 0.5}),
    "ours, m = 0.5": (sine_margin, {"m": 0.5}),
    "ours, m = 1": (sine_margin, {"m": 1.0}),
}
loss, pull = {}, {}
for name, (function, options) in CURVES.items():
    loss[name] = function(samples, prototypes, labels, scale=8.0, reduction="none", **options)
    _, (gradient,) = function.value_and_grad(
        samples, prototypes, labels, scale=8.0, reduction="sum", wrt=("embeddings",), **options)
    pull[name] = np.sum(gradient * away, axis=1)

figure, (upper, lower) = plt.subplots(2, 1, figsize=(6.5, 7.5), sharex=True)
for name in CURVES:
    upper.plot(np.degrees(angle), loss[name], label=name)
    lower.plot(np.degrees(angle), pull[name])
upper.set(ylabel="loss")
lower.set(xlabel="angle θ to the label's prototype, in degrees", ylabel="pull to the prototype")
upper.legend()
plt.show()

# %%
# The pull of ours is never negative, and has no corner at π − m: that is what we wanted. It has its price on both
# sides. Below 60° its margin is the smaller one, and it pulls less than ArcFace; near 180° it pulls less than the
# softmax, the less the larger m is. Whether that trains better embeddings is a question for data, and not answered
# here.
#
# The new loss takes what all take, such as ``label_smoothing`` and a margin per sample; it trains in PyTorch, JAX,
# NumPy and CuPy, and in a ``Head``. :doc:`/adding` goes on from here, to losses of the whole row and of pairs.

_, (d_m,) = sine_margin.value_and_grad(samples, prototypes, labels, m=np.asarray(0.5), wrt=("m",))
print(f"The loss rises with the margin: its gradient in m is {float(d_m):.2f}")
