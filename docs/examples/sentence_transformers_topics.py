"""A sentence-transformers model that learns to tell the chapters of Python's manual apart, with SupCon.

Nothing is downloaded: the text is what `help()` shows of the language, and the tokenizer is made from it.

pip install "sentence-transformers[train]"
"""

import random
import tempfile
from pydoc_data.topics import topics

import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

import anglos

CHAPTERS = ("debugger", "formatstrings", "string-methods", "typesmapping", "attribute-access", "import", "execmodel",
            "assignment")


class SupCon(torch.nn.Module):
    """What the trainer calls: features of a column of sentences, and their labels."""

    def __init__(self, model: SentenceTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: list[dict[str, torch.Tensor]], labels: torch.Tensor) -> torch.Tensor:
        """The positives of a sentence are those of its own chapter."""
        embeddings = self.model(features[0])["sentence_embedding"]
        return anglos.supcon(embeddings, labels, temperature=0.1)


def paragraphs() -> list[tuple[str, int]]:
    """Every paragraph of ten words or more, with the number of its chapter; in random order."""
    found = [(" ".join(text.split()), number) for number, chapter in enumerate(CHAPTERS)
             for text in topics[chapter].split("\n\n") if len(text.split()) >= 10]
    random.Random(0).shuffle(found)
    return found


def untrained(texts: list[str]) -> SentenceTransformer:
    """The mean of a text's word embeddings, drawn at random."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="?"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=["?"], show_progress=False))
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=64)], device="cpu")


def accuracy(model: SentenceTransformer, known: list[tuple[str, int]], asked: list[tuple[str, int]]) -> float:
    """How often the nearest known paragraph is of the same chapter."""
    places, questions = (torch.from_numpy(model.encode([text for text, _ in some], normalize_embeddings=True))
                         for some in (known, asked))
    labels, wanted = (torch.tensor([label for _, label in some]) for some in (known, asked))
    return (labels[(questions @ places.T).argmax(dim=1)] == wanted).float().mean().item()


def main() -> None:
    """Train on four paragraphs of five, judge by the others."""
    torch.manual_seed(0)
    found = paragraphs()
    test, train = found[: len(found) // 5], found[len(found) // 5:]
    model = untrained([text for text, _ in train])
    before = accuracy(model, train, test)
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            folder, num_train_epochs=10, per_device_train_batch_size=64, learning_rate=0.03, use_cpu=True,
            batch_sampler="group_by_label", save_strategy="no", report_to="none", disable_tqdm=True)
        columns = {"sentence": [text for text, _ in train], "label": [label for _, label in train]}
        SentenceTransformerTrainer(model, arguments, Dataset.from_dict(columns), loss=SupCon(model)).train()
    print(f"accuracy {before:.3f} before, {accuracy(model, train, test):.3f} after")


if __name__ == "__main__":
    main()
