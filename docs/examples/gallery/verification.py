"""
Verification, and where a margin does not help
==============================================

Embeddings are used on classes that the training never saw: are these two of one class, or not? A DET curve shows both
errors of that decision at every threshold. Here is one in which the trained networks lose to no network at all.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits

import anglos
from anglos.backends.torch import Head

images, digits = load_digits(return_X_y=True)  # 1,797 digits of 8 × 8 pixels, which ship with scikit-learn
images, digits = torch.from_numpy(images / 16).float(), torch.from_numpy(digits)
known = digits < 6
half = torch.rand(len(digits), generator=torch.Generator().manual_seed(0)) < 0.5
train, same, new = known & half, known & ~half, ~known

# %%
# The networks are trained on half of the digits 0 to 5. They are asked about pairs of the other half, of the same six
# digits; and about pairs of 6, 7, 8 and 9, which they have never seen.


def embed(loss, margin: float, seed: int, epochs: int = 30) -> torch.Tensor:
    """The embeddings of all images, (1797, 16)."""
    torch.manual_seed(seed)
    network = torch.nn.Sequential(
        torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 16), torch.nn.BatchNorm1d(16))
    head = Head(loss, num_classes=6, embedding_dim=16, scale=16.0)
    optimizer = torch.optim.Adam([*network.parameters(), *head.parameters()], lr=3e-3)
    for epoch in range(epochs):
        if margin:
            head.options["margin"] = anglos.margin_warmup(epoch, steps=epochs // 2, margin=margin)
        for batch in torch.randperm(int(train.sum())).split(100):
            optimizer.zero_grad()
            head(network(images[train][batch]), digits[train][batch]).backward()
            optimizer.step()
    with torch.no_grad():
        return network.eval()(images)


RUNS = {"pixels, no network": [images],
        "NormFace, no margin": [embed(anglos.normface, 0.0, seed) for seed in range(3)],
        "ArcFace, m = 0.5": [embed(anglos.arcface, 0.5, seed) for seed in range(3)]}

# %%
# ``anglos.evaluate.verification`` compares all pairs, by their cosine. Its ``curve`` holds the two errors at every
# threshold: FAR, the part of the pairs of two classes that is accepted, and FRR, the part of the pairs of one class
# that is rejected. Both axes are logarithmic; lower is better. Each line is a training with another seed.

figure, panels = plt.subplots(2, 1, figsize=(6.5, 9), sharex=True)
eer: dict[tuple[str, str], list[float]] = {}
for axes, (title, chosen) in zip(panels, {"classes of the training": same, "new classes": new}.items(), strict=True):
    for colour, (name, trainings) in zip(("black", "C0", "C1"), RUNS.items(), strict=True):
        for count, embeddings in enumerate(trainings):
            found = anglos.evaluate.verification(embeddings[chosen], digits[chosen])
            axes.loglog(found.curve.far, found.curve.frr, color=colour, label=None if count else name, linewidth=1.5)
            eer.setdefault((title, name), []).append(found.eer)
    axes.plot([1e-4, 1], [1e-4, 1], ":", color="grey")
    axes.set(title=title, xlim=(1e-3, 1), ylim=(3e-3, 1.2), ylabel="FRR")
panels[1].set_xlabel("FAR; on the dotted line is the equal error rate")
panels[1].legend(loc="lower left")
plt.show()

# %%

for (title, name), rates in eer.items():
    print(f"{title:24} {name:20} EER", *(f"{rate:.1%}" for rate in rates))

# %%
# On the six digits that they were trained for, the networks are far better than the pixels, and the margin takes more
# than half of the errors that are left. On four new ones the pixels win, and the margin makes it worse: six prototypes
# teach a network six answers, and a margin presses all that it sees into one of them. What would tell a 6 from an 8 is
# what it learnt to leave out. (Nothing here was tuned, neither scale nor margin nor network.)
#
# Margins are for many classes: with hundreds or thousands, only what tells classes apart in general is of use. The
# curve to look at is that of classes which were not trained, on data like yours; and that of no training at all is
# worth a line in it. :doc:`/evaluation` has the other figures and their intervals, :doc:`/which_loss` what to take
# when.
