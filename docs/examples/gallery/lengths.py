"""
Lengths as quality: MagFace and AdaFace
=======================================

A softmax over angles does not care how long an embedding is. Two losses use that freedom: they give every sample a
margin by its length. In MagFace the length is learnt, so that it comes to measure the quality of a sample; in AdaFace
it is taken as a sign of quality as it is.
"""

import matplotlib.pyplot as plt
import numpy as np

import anglos

# %%
# How far is the label's cosine lowered, cos θ − φ, for an embedding of this length at this angle? As in
# :doc:`/gallery/margins_compared` we read φ off the loss: with a second prototype at a right angle and s = 1, the loss
# is log(1 + exp(−φ)). AdaFace compares a length with those of its batch; here they have a mean of 20, and a standard
# deviation of 5.

ANGLES = (20, 50, 80)
prototypes = np.asarray([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def lowered(loss, degrees, lengths, **options):
    """The difference cos θ − φ, for each of the lengths."""
    theta = np.radians(degrees)
    samples = np.asarray(lengths)[:, None] * np.asarray([np.cos(theta), np.sin(theta), 0.0])
    labels = np.zeros(len(samples), dtype=int)
    rows = loss(samples, prototypes, labels, scale=1.0, reduction="none", **options)
    return np.cos(theta) + np.log(np.expm1(rows))


lengths = {"MagFace": np.linspace(1.0, 120.0, 239), "AdaFace": np.linspace(1.0, 40.0, 196)}
cost = {}
for degrees in ANGLES:
    cost["MagFace", degrees] = lowered(anglos.magface, degrees, lengths["MagFace"], regularizer=0.0)
    cost["AdaFace", degrees] = lowered(anglos.adaface, degrees, lengths["AdaFace"], norm_mean=20.0, norm_std=5.0)

figure, panels = plt.subplots(2, 1, figsize=(6.5, 8), sharey=True)
for axes, name in zip(panels, lengths, strict=True):
    for degrees in ANGLES:
        axes.plot(lengths[name], cost[name, degrees], label=f"θ = {degrees}°")
    axes.set(title=name, xlabel="length of the embedding", ylabel="cos θ − φ")
panels[1].legend()
plt.show()

# %%
# **MagFace**: the margin grows from 0.45 to 0.8 between the lengths 10 and 110, at every angle. A long embedding pays
# more. **AdaFace** at the mean length takes 0.4 from the cosine at every angle, as CosFace does. The length turns that
# line. For long embeddings, taken to be of good quality, it falls with the angle, which takes from the pull on easy
# samples, so that hard ones weigh more; for short ones it rises, and easy ones weigh more: a hard sample of bad quality
# may be one that nobody could recognise.
#
# Why should an embedding be long in MagFace, if that costs? Because of a regulariser that rewards length. Which length
# has the least loss then depends on how easy the sample is. We try all lengths, at each angle, with the default scale
# of 64.

tried = np.linspace(10.0, 110.0, 401)
theta = np.linspace(1.0, 80.0, 80)
best = []
for degrees in theta:
    direction = np.asarray([np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), 0.0])
    rows = anglos.magface(tried[:, None] * direction, prototypes, np.zeros(401, dtype=int), reduction="none")
    best.append(tried[np.argmin(rows)])

figure, axes = plt.subplots(figsize=(6.5, 4))
axes.plot(theta, best)
axes.set(xlabel="angle θ to the label's prototype, in degrees", ylabel="length of least loss, MagFace")
plt.show()

# %%
# Easy samples become as long as is allowed, hard ones nearly as short. After a training the length says how near a
# sample could be brought to its prototype, without its label: that is what is used as its quality. Where the curve
# falls depends on the scale and on the other prototypes; here there is one, at a right angle. See ``anglos.magface``
# and ``anglos.adaface``.

print(f"Length of least loss at 20°: {best[19]:.0f}, at 70°: {best[69]:.0f}")
