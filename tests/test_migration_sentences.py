"""docs/migration.md, sentence-transformers: each change leaves the loss and the network's gradients what they were.

The network is small and downloads nothing; its losses are the library's own.
"""

import math
import re
from importlib import import_module
from typing import Any

import pytest
from test_migration import ROWS, Names, Row, check, double_precision, run, setup

import anglos

torch: Any = import_module("torch")
SECTION = "sentence-transformers"


class Network(torch.nn.Sequential):  # type: ignore[misc]  # seen as Any
    """What the losses ask of a SentenceTransformer."""

    max_seq_length, device = 8, torch.device("cpu")

    def forward(self, column: dict[str, Any]) -> dict[str, Any]:
        return {**column, "sentence_embedding": super().forward(column["inputs"])}

    def get_embedding_dimension(self) -> int:
        return 16

    @property
    def tokenizer(self) -> Any:
        tokenizers, transformers = import_module("tokenizers"), import_module("transformers")
        words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
        return transformers.PreTrainedTokenizerFast(tokenizer_object=words)


def network(seed: int) -> Any:
    torch.manual_seed(seed)
    return Network(torch.nn.Linear(24, 32), torch.nn.Tanh(), torch.nn.Linear(32, 16))


def names_of_section() -> Names:
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    names = setup(SECTION)
    torch.manual_seed(1)
    base = torch.randn(32, 24)
    columns = [{"inputs": base + spread * torch.randn(32, 24)} for spread in (0.0, 0.8, 2.0)]
    return {**names, "model": network(2), "guide": network(3), "pairs": columns[:2], "triplets": columns}


def inputs_of(row: Row, names: Names) -> tuple[Any, Any]:
    """Columns, and labels or none."""
    loss = loss_of(row)
    if loss.startswith("Batch"):
        return names["pairs"][:1], torch.arange(32) % 10
    if loss in ("CoSENTLoss", "AnglELoss"):
        return names["pairs"], torch.arange(32) % 7 / 7.0
    if loss == "DistillKLDivLoss":
        return names["triplets"], torch.arange(64).reshape(32, 2) % 7 / 2.0
    if loss in ("ContrastiveLoss", "OnlineContrastiveLoss", "SoftmaxLoss"):
        return names["pairs"], torch.arange(32) % 2
    if loss == "TripletLoss" or "in_batch" in row.ours:
        return names["triplets"], None
    return names["pairs"], None


def loss_of(row: Row) -> str:
    return str(re.findall(r"losses\.(\w+Loss\w*)\(", row.theirs)[-1])


def value_and_gradients(code: str, row: Row, names: Names) -> tuple[Any, Any]:
    names["model"].zero_grad()
    made = run(code, dict(names))
    value = made(*inputs_of(row, names)) if isinstance(made, torch.nn.Module) else made
    if isinstance(value, dict):  # as the trainer does
        value = sum(value.values())
    if value.requires_grad and "backward()" not in code:
        value.backward()
    return value.detach(), torch.cat([parameter.grad.flatten() for parameter in names["model"].parameters()])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The (Cached)?MultipleNegativesSymmetricRankingLoss is deprecated")
@pytest.mark.parametrize("row", [row for row in ROWS if row.section == SECTION], ids=loss_of)
def test_change_from_sentence_transformers(row: Row) -> None:
    with double_precision():
        names = names_of_section()
        (theirs, wanted), (ours, got) = (value_and_gradients(code, row, names) for code in (row.theirs, row.ours))
        check(theirs, ours)
        assert wanted.abs().max() > 0
        check(wanted, got)


# What the text says of differences.

@pytest.mark.slow
def test_anchors_without_a_positive_in_sentence_transformers() -> None:
    """They count as if they had one at distance 0."""
    with double_precision():
        names = names_of_section()
        embeddings = names["model"](names["pairs"][0])["sentence_embedding"].detach()
        labels = torch.tensor([0, 0, 1, 2])
        embeddings = embeddings[:4]
        nearest = torch.cdist(embeddings, embeddings).masked_fill(labels == labels[:, None], torch.inf).amin(dim=1)
        loss = names["losses"].BatchHardTripletLoss(names["model"], margin=5.0)
        theirs = loss.compute_loss_from_embeddings([embeddings], labels)
        ours = anglos.triplet(embeddings, labels, distance="euclidean", normalize=False, margin=5.0, mean_over="all")
        check(theirs, (2 * ours + torch.relu(5.0 - nearest[2:]).sum()) / 4)
        assert abs(theirs - ours) > 0.1


@pytest.mark.slow
def test_angle_of_several_columns() -> None:
    with double_precision():
        names = names_of_section()
        anchors, *others = (names["model"](column)["sentence_embedding"].detach() for column in names["triplets"])
        theirs = names["losses"].AnglELoss(names["model"]).compute_loss_from_embeddings([anchors, *others], None)
        scores = torch.tensor([1, 0]).repeat_interleave(len(anchors))
        check(theirs, anglos.cosent(anchors.repeat(2, 1), torch.cat(others), scores, similarity="angle"))


@pytest.mark.slow
def test_guide_that_finds_pairs_equal_in_sentence_transformers() -> None:
    """A query meets itself and so does its key, beside the positive: a third each."""
    with double_precision():
        names = names_of_section()
        column = {"inputs": torch.eye(24)[:16]}
        model, guide = Network(torch.nn.Linear(24, 16)), names["guide"]
        model[0].weight.data, model[0].bias.data = torch.eye(16, 24), torch.zeros(16)
        columns = [column, column]
        check(names["losses"].GISTEmbedLoss(model, guide)(columns, None), math.log(3.0) * torch.ones(()))
        directions = ("query_to_key", "query_to_query", "key_to_key")
        ours = names["Guided"](model, guide, anglos.info_nce, temperature=0.01, directions=directions)(columns)
        assert ours < 1e-12


@pytest.mark.slow
def test_hard_negatives_that_a_guide_is_asked_of() -> None:
    """One of each query, which every query meets; the guide leaves out some."""
    with double_precision():
        names = names_of_section()
        model, guide, columns = names["model"], names["guide"], names["triplets"]
        columns[2] = {"inputs": columns[2]["inputs"].roll(1, 0)}  # near another query
        for margin in (0.0, 0.2):
            theirs = names["losses"].GISTEmbedLoss(model, guide, margin=margin)(columns, None)
            anchors, positives, negatives = (model(column)["sentence_embedding"] for column in columns)
            guided = names["Guided"](model, guide, anglos.info_nce).guides(columns)
            hard = guided.pop("guide_negatives")[:, None]
            queries, keys = guided.values()
            false = anglos.mining.guided_false_negatives(queries, keys, hard[:, 0], margin=margin)
            assert false.any()
            assert not false.all()
            options: dict[str, Any] = {"directions": ("query_to_key", "query_to_query", "key_to_key"),
                                       "temperature": 0.01, "guide_margin": margin, "in_batch": True}
            ours = anglos.info_nce(anchors, positives, hard_negatives=negatives[:, None], hard_negatives_of="all",
                                   guide_hard_negatives=hard, **guided, **options)
            check(theirs, ours)
            parameters = list(model.parameters())
            for one, other in zip(*(torch.autograd.grad(value, parameters) for value in (theirs, ours)), strict=True):
                check(one, other)


@pytest.mark.slow
def test_prefixes_of_sentence_transformers_have_length_1() -> None:
    with double_precision():
        names = names_of_section()
        model, losses, columns = (names[name] for name in ("model", "losses", "triplets"))
        theirs = losses.MatryoshkaLoss(model, losses.TripletLoss(model), [16, 4])(columns, None)
        embeddings = [model(column)["sentence_embedding"] for column in columns]
        options: dict[str, Any] = {"distance": "euclidean", "margin": 5.0}
        ours = anglos.matryoshka(anglos.triplet_margin, [16, 4])
        check(theirs, ours(*embeddings, **options))
        assert abs(theirs - ours(*embeddings, **options, normalize=False)) > 0.1
