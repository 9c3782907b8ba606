"""
Margins compared
================

A margin loss is a softmax over cosines in which the label's cosine, cos θ, is replaced by a smaller number φ(θ): the
sample has to be nearer to its prototype to get the same logit. The losses differ in how much smaller, and where.

Here φ is not drawn from its formula. It is read off the loss itself.
"""

import matplotlib.pyplot as plt
import numpy as np

import anglos

# %%
# Two prototypes, at a right angle, and samples that lean away from the first one by θ, at a right angle to the second.
# Then the logits are s·φ(θ) and 0, with s = 1 the loss is log(1 + exp(−φ)), and from it φ follows.

theta = np.radians(np.linspace(0.5, 179.5, 359))
prototypes = np.asarray([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
samples = np.stack([np.cos(theta), np.sin(theta), 0 * theta], axis=1)
labels = np.zeros(len(theta), dtype=int)

LOSSES = {
    "softmax: cos θ": (anglos.normface, {}),
    "CosFace: cos θ − 0.35": (anglos.cosface, {"margin": 0.35}),
    "ArcFace: cos(θ + 0.5)": (anglos.arcface, {"margin": 0.5}),
    "SphereFace-R: cos 1.5 θ": (anglos.sphereface_r, {"margin": 1.5}),
}
phi = {}
for name, (loss, options) in LOSSES.items():
    rows = loss(samples, prototypes, labels, scale=1.0, reduction="none", **options)
    phi[name] = -np.log(np.expm1(rows))
slope = {name: np.gradient(values, theta) for name, values in phi.items()}

# %%
# Above, the replaced cosine. Below, its slope, which is what the gradient is multiplied by.

figure, (values_axes, slope_axes) = plt.subplots(2, 1, figsize=(6.5, 7.5), sharex=True)
for name in phi:
    values_axes.plot(np.degrees(theta), phi[name], label=name)
    slope_axes.plot(np.degrees(theta), -slope[name])
values_axes.set(ylabel="φ(θ)")
slope_axes.set(xlabel="angle θ to the label's prototype, in degrees", ylabel="pull, −dφ/dθ")
values_axes.legend()
plt.show()

# %%
# - **CosFace** shifts the curve down. Its slope is that of the softmax, which it covers in the picture: the margin
#   changes how long a sample is pulled, since the logit must be larger by 0.35·s, not how the pull depends on the
#   angle.
# - **ArcFace** shifts the curve to the left. Close to the prototype, where a softmax hardly pulls any more (sin θ is
#   near 0), it still pulls with sin 0.5 = 0.48. Its curve bends near 151°, where θ + 0.5 passes π: :doc:`what happens
#   beyond π </gallery/beyond_pi>` is a choice.
# - **SphereFace-R** multiplies the angle, as far as π. At 0° nothing changes, the margin grows with the angle, and
#   beyond 120° (π / 1.5) its prototype does not pull at all.
#
# All of them are never above cos θ. The pages ``anglos.normface``, ``anglos.cosface``, ``anglos.arcface`` and
# ``anglos.sphereface_r`` have the formulas and the papers; ``anglos.plot.plot_target`` draws any one of them.
