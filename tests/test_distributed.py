"""PyTorch's DDP and FSDP2 with two processes: what they give is what one process gives of the whole batch."""

from importlib import import_module
from typing import Any

import pytest
from ranks import on_ranks
from samples import DIMENSION
from test_head import head_of, tensor_options

import anglos
from anglos import Loss

torch: Any = import_module("torch")
dist: Any = import_module("torch.distributed")

pytestmark = pytest.mark.slow

RANKS, INPUTS = 2, 6
LAYERS = [loss for loss in anglos.LOSSES.values() if loss.arrays[:1] == ("embeddings",) and loss.arrays[2:]]
# A mean over active pairs is one over other numbers of them on every rank.
WITH_REFERENCES = [loss for loss in anglos.LOSSES.values() if "reference_embeddings" in loss.defaults
                   and loss is not anglos.margin_loss]
# Every rank has the same number of pairs of each kind, so that the mean of the ranks' means is that of all.
LABELS = [0, 1, 2, 0, 1, 2, 1, 2, 0, 1, 2, 0]

WHOLE = r": weights was a .*DTensor; wanted a tensor that is whole on every rank: full_tensor\(\); after fully_shard "


class Model(torch.nn.Module):  # type: ignore[misc]
    """A backbone and a layer; with `gather`, the layer sees the embeddings of all ranks."""

    def __init__(self, loss: Loss[...], gather: bool = False) -> None:
        super().__init__()
        # One of shape (1,): FSDP2 takes none of shape ().
        self.head = head_of(loss, **tensor_options(loss, (1,)))
        self.backbone = torch.nn.Linear(INPUTS, DIMENSION, dtype=torch.float64)
        self.gather = gather

    def forward(self, x: Any, labels: Any) -> Any:
        embeddings = self.backbone(x)
        if self.gather:
            embeddings, labels = gathered(embeddings), gathered(labels)
        return self.head(embeddings, labels)


def gathered(tensor: Any) -> Any:
    """The tensors of all ranks; the gradient of each is the sum of what the ranks have of it."""
    if not dist.is_initialized():
        return tensor
    return import_module("torch.distributed._functional_collectives").all_gather_single(tensor, 0, dist.group.WORLD)


def batch() -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(len(LABELS), INPUTS, dtype=torch.float64, generator=generator), torch.tensor(LABELS)


def gradients(model: Any) -> dict[str, Any]:
    found = {name.removeprefix("module."): one.grad for name, one in model.named_parameters() if one.requires_grad}
    return {name: None if one is None else whole(one) for name, one in found.items()}


def ddp(model: Any) -> Any:
    return torch.nn.parallel.DistributedDataParallel(model)


def fsdp_of_the_whole(model: Any) -> Any:
    import_module("torch.distributed.fsdp").fully_shard(model.head)
    return import_module("torch.distributed.fsdp").fully_shard(model)


def fsdp_of_the_head(model: Any) -> Any:
    """Alone, and its tensors apart; the gradients of the backbone are nobody's business but ours."""
    import_module("torch.distributed.fsdp").fully_shard(model.head.tensors)
    import_module("torch.distributed.fsdp").fully_shard(model.head)
    for parameter in model.backbone.parameters():
        parameter.register_post_accumulate_grad_hook(lambda one: dist.all_reduce(one.grad.div_(RANKS)))
    return model


WRAPPERS = {"ddp": ddp, "fsdp": fsdp_of_the_whole, "fsdp of the head": fsdp_of_the_head}


def of_layer(loss: Loss[...], wrap: Any, mine: slice) -> dict[str, Any]:
    x, labels = batch()
    model = wrap(Model(loss, gather=not loss.engine.SAMPLES_ARE_INDEPENDENT))
    model(x[mine], labels[mine]).backward()
    return gradients(model)


def of_references(loss: Loss[...], mine: slice) -> dict[str, Any]:
    """The batch of every rank against those of all."""
    (x, labels), backbone = batch(), Model(anglos.arcface).backbone
    if dist.is_initialized():
        backbone = ddp(backbone)
    embeddings = backbone(x[mine])
    loss(embeddings, labels[mine], reference_embeddings=gathered(embeddings),
         reference_labels=gathered(labels[mine])).backward()
    return gradients(backbone)


def of_states(mine: slice) -> dict[str, Any]:
    """A state that every rank moved by its own batch, after a step."""
    (x, labels), loss = batch(), anglos.curricularface
    model = ddp(Model(loss))
    head, embeddings = model.module.head, model.module.backbone(x[mine]).detach()
    head.tensors["t"] = anglos.curricularface_update(head.tensors["t"], embeddings, head.weight, labels[mine])
    before = head.tensors["t"].clone()
    model(x[mine], labels[mine])
    return {"before": before, "after": head.tensors["t"]}


def of_sharded_layer(mine: slice) -> dict[str, Any]:
    """Logits and state_dict after fully_shard, and a state_dict loaded into it."""
    x, labels = batch()
    model = Model(anglos.arcface)
    saved = {name: value + 1.0 for name, value in model.state_dict().items()}
    fsdp_of_the_whole(model)
    fsdp, states = (import_module(f"torch.distributed.{name}") for name in ("fsdp", "checkpoint.state_dict"))
    fsdp.register_fsdp_forward_method(model.head, "logits")
    options = states.StateDictOptions(full_state_dict=True)
    model(x[mine], labels[mine]).backward()
    before = states.get_model_state_dict(model, options=options)
    logits = model.head.logits(x[mine, :DIMENSION]).detach()
    states.set_model_state_dict(model, saved, options=options)
    after = states.get_model_state_dict(model, options=options)
    with pytest.raises(TypeError, match=r"^Head: weight was a .*DTensor; wanted a Parameter, before fully_shard$"):
        model.head.resize_classes(9)
    with pytest.raises(TypeError, match=WHOLE):
        anglos.arcface(x[mine, :DIMENSION], model.head.weight, labels[mine])
    with pytest.raises(TypeError, match=WHOLE):
        anglos.curricularface_update(0.0, x[mine, :DIMENSION], model.head.weight, labels[mine])
    anglos.arcface(x[mine, :DIMENSION], model.head.weight.full_tensor(), labels[mine])
    return {"logits": logits, "weight": before.get("head.weight"), "loaded": after.get("head.weight"),
            "is sharded": torch.tensor(hasattr(model.head.weight, "full_tensor"))}


def of_deferred_layer(loss: Loss[...]) -> dict[str, Any]:
    """Options after a sharded layer was made on the device meta and reset, and after one was set."""
    head = head_of(loss, **tensor_options(loss, (1,))).to("meta")
    if dist.is_initialized():
        import_module("torch.distributed.fsdp").fully_shard(head)
    head.to_empty(device="cpu").reset_parameters()
    found = {name: whole(tensor).clone() for name, tensor in head.tensors.items()}
    for name in head.tensors:
        head.tensors[name] = 0.5
    return {**found, **{f"{name}, set": whole(tensor) for name, tensor in head.tensors.items()}}


def whole(tensor: Any) -> Any:
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach()


def work(rank: int) -> dict[str, Any]:
    mine = slice(rank * len(LABELS) // RANKS, (rank + 1) * len(LABELS) // RANKS)
    found: dict[str, Any] = {}
    for how, wrap in WRAPPERS.items():
        with pytest.MonkeyPatch.context() as patch:
            if how == "fsdp":  # else NumPy computes such small calls
                patch.setattr(import_module("anglos.backends.torch").backend, "small", 0)
            found |= {f"{how} {loss.name}": of_layer(loss, wrap, mine) for loss in LAYERS}
    found |= {f"references {loss.name}": of_references(loss, mine) for loss in WITH_REFERENCES}
    found |= {"states": of_states(mine), "sharded": of_sharded_layer(mine)}
    found |= {f"deferred {loss.name}": of_deferred_layer(loss) for loss in LAYERS}
    return found


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, Any]]:
    """What each of the processes found."""
    return on_ranks(work, RANKS, timeout=300.0)


@pytest.mark.parametrize("how", WRAPPERS)
def test_gradients_are_those_of_one_process(layer: Loss[...], how: str, ranks: list[dict[str, Any]]) -> None:
    wanted = of_layer(layer, lambda model: model, slice(None))
    for found in ranks:
        torch.testing.assert_close(found[f"{how} {layer.name}"], wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("compared", WITH_REFERENCES, ids=lambda loss: loss.name)
def test_references_of_all_ranks(compared: Loss[...], ranks: list[dict[str, Any]]) -> None:
    """The mean of what the ranks' batches lose against the embeddings of all is what all lose against all."""
    wanted = of_references(compared, slice(None))
    for found in ranks:
        torch.testing.assert_close(found[f"references {compared.name}"], wanted, rtol=1e-12, atol=1e-13)


def test_a_deferred_layer_has_the_options_it_was_made_with(layer: Loss[...], ranks: list[dict[str, Any]]) -> None:
    for found in ranks:
        torch.testing.assert_close(found[f"deferred {layer.name}"], of_deferred_layer(layer), rtol=0, atol=0)


def test_states_are_those_of_the_first_rank_under_ddp(ranks: list[dict[str, Any]]) -> None:
    first, second = (found["states"] for found in ranks)
    assert first["before"].item() != second["before"].item()
    assert first["before"].item() == first["after"].item() == second["after"].item()


def test_logits_and_state_dict_of_a_sharded_layer(ranks: list[dict[str, Any]]) -> None:
    (x, _), model = batch(), Model(anglos.arcface)
    assert all(found["sharded"]["is sharded"] for found in ranks)
    logits = torch.cat([found["sharded"]["logits"] for found in ranks])
    torch.testing.assert_close(logits, model.head.logits(x[:, :DIMENSION]).detach(), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(ranks[0]["sharded"]["weight"], model.head.weight.detach(), rtol=0, atol=0)
    torch.testing.assert_close(ranks[0]["sharded"]["loaded"], model.head.weight.detach() + 1.0, rtol=0, atol=0)
