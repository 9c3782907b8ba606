"""
Temperature: how many negatives count
=====================================

InfoNCE compares a query with its key and with many negatives, in a softmax over cosines divided by a temperature τ. The
temperature is often said to make a loss "harder". One can see what that means in the gradient: it decides among how
many of the negatives the push is shared.
"""

import matplotlib.pyplot as plt
import numpy as np

import anglos

# %%
# A query in 32 dimensions, its key at a cosine of 0.5, and 2,000 negatives in random directions.

random = np.random.default_rng(0)
query, side = np.eye(32)[:1], np.eye(32)[1:2]
key = 0.5 * query + np.sqrt(0.75) * side
negatives = random.normal(size=(2000, 32))
negatives /= np.linalg.norm(negatives, axis=1, keepdims=True)
order = np.argsort(-(negatives @ query[0]))  # the nearest first

# %%
# The gradient in each negative is what pushes it away from the query. We sort the negatives, the nearest first, and add
# up their shares of the whole push.

TEMPERATURES = (1.0, 0.2, 0.1, 0.05)
share, loss = {}, {}
for temperature in TEMPERATURES:
    value, (gradient,) = anglos.info_nce.value_and_grad(
        query, key, negatives, temperature=temperature, wrt=("negatives",))
    push = np.linalg.norm(gradient, axis=1)[order]
    share[temperature], loss[temperature] = np.cumsum(push) / push.sum(), float(value)

figure, (upper, lower) = plt.subplots(2, 1, figsize=(6.5, 8))
part = np.arange(1, 2001) / 2000
for temperature in TEMPERATURES:
    upper.plot(100 * part, 100 * share[temperature], label=f"τ = {temperature}")
upper.plot([0, 100], [0, 100], ":", color="grey")
upper.set(xlabel="the nearest … % of the negatives", ylabel="have … % of the push")
upper.legend()
cosines = np.linspace(-0.6, 0.6, 200)
for temperature in TEMPERATURES:
    lower.semilogy(cosines, np.exp((cosines - 0.5) / temperature))
lower.set(xlabel="cosine of a negative with the query", ylabel="its weight, beside the key's 1")
plt.show()

# %%
# Above: with τ = 1 the push is spread over the negatives nearly as if all were alike (dotted). The lower τ is, the
# fewer of them carry it. Below is why: a negative's weight is exp((cos − cos of the key) / τ), a straight line here,
# and the slope is 1/τ.
#
# A low temperature makes use of the few negatives that are confused with the key. If some of those are no negatives at
# all (another picture of the same thing), it pushes hardest at the very ones that it should leave alone:
# ``false_negatives`` can leave them out. And a mean over few negatives is noisier than one over many. Values in use are
# 0.05 to 0.1 for ``anglos.info_nce``, 0.07 (learnt from there) for ``anglos.clip``, 0.5 for ``anglos.nt_xent``. Losses
# of different temperatures cannot be compared with each other.

for temperature in TEMPERATURES:
    nearest = share[temperature][99]
    print(f"τ = {temperature:4}: the nearest 5% have {nearest:4.0%} of the push; loss {loss[temperature]:.2f}")
