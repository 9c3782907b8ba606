"""A layer whose classes are shared by several ranks: what it gives is what one process gives of the whole batch."""

import copy
import io
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from ranks import SOON, on_ranks, tried
from samples import CLASSES, DIMENSION
from test_head import Tensors, tensor_options

import anglos
from anglos import Loss

torch: Any = import_module("torch")
dcp: Any = import_module("torch.distributed.checkpoint")
mesh_module: Any = import_module("torch.distributed.device_mesh")
Head: Any = import_module("anglos.backends.torch").Head
class_sharded: Any = import_module("anglos.backends.torch").class_sharded

pytestmark = pytest.mark.slow

ROWS = 12
"""Of the batch of all ranks: 1, 2, 3 or 4 have as many of them."""
NOT_SHARED = {"ham_softmax"}  # which holds the logits of all classes
SHARED = [loss for loss in anglos.LOSSES.values() if loss.arrays[:1] == ("embeddings",) and loss.arrays[2:]
          and loss.name not in NOT_SHARED]


def mesh_of(ranks: int) -> Any:
    return mesh_module.init_device_mesh("cpu", (ranks,))


def world() -> int:
    size: int = import_module("torch.distributed").get_world_size()
    return size


def head_of(loss: Loss[...], mesh: Any = None, classes: int = CLASSES, **options: Any) -> Any:
    """Whole heads start as those do that are shared by any number of ranks."""
    several = {"prototypes_per_class": 3} if loss.kinds[loss.arrays[1]].shape == "C K D" else {}
    how = {"mesh": mesh, "seed": 3} if mesh is not None else {}
    return Head(loss, classes, DIMENSION, dtype=torch.float64, **several, **how, **options)


def options_of(loss: Loss[...]) -> dict[str, Any]:
    """All that can be learnt, every state, and what there is of each class; no option that has one for each sample."""
    per_class = {name: torch.linspace(0.5, 1.5, CLASSES, dtype=torch.float64) for name in loss.defaults
                 if getattr(loss.kinds[name], "shapes", ()) == ("C",)}
    options = {name: option for name, option in tensor_options(loss).items() if option.ndim == 0}
    return {**options, **{name: option if loss.kinds[name].frozen else torch.nn.Parameter(option)
                          for name, option in per_class.items()}}


def batch(rank: int = 0, ranks: int = 1) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, DIMENSION, dtype=torch.float64, generator=generator)
    labels = torch.arange(ROWS) % CLASSES
    own = slice(rank * ROWS // ranks, (rank + 1) * ROWS // ranks)
    return x[own].clone().requires_grad_(), labels[own].clone()


def whole(tensor: Any) -> Any:
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach().clone()


def started(rank: int) -> dict[str, Any]:
    mesh = mesh_of(world())
    before = torch.get_rng_state()
    head = Head(anglos.arcface, 9000, 3, mesh=mesh, seed=3)
    empty = Head(anglos.arcface, 9000, 3, mesh=mesh, seed=3, device="meta").to_empty(device="cpu")
    empty.reset_parameters()
    assert torch.equal(torch.get_rng_state(), before)
    return {"weight": head.gather(), "deferred": empty.gather(),
            "other": Head(anglos.arcface, 9000, 3, mesh=mesh).gather(),
            "half": Head(anglos.arcface, 9000, 3, mesh=mesh, seed=3, dtype=torch.float16).gather(),
            "several": Head(anglos.soft_triple, 5, 4, prototypes_per_class=3, mesh=mesh).gather()}


def test_classes_start_the_same_on_any_number_of_ranks() -> None:
    """Each of its own, normal, of standard deviation 1/√D: within five standard errors of it."""
    wanted, *others = (found for ranks in (1, 2, 3, 4) for found in on_ranks(started, ranks))
    for found in others:
        torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    weight = wanted["weight"]
    torch.testing.assert_close(wanted["deferred"], weight, rtol=0, atol=0)
    torch.testing.assert_close(wanted["half"], weight.half(), rtol=0, atol=0)
    both = torch.cat([weight, wanted["other"]])
    assert len(both.unique(dim=0)) == len(both)
    assert abs(weight.std().item() * 3**0.5 - 1.0) < 5.0 / (2.0 * weight.numel())**0.5
    # No class follows from another, in its own block or the next: products of neighbours are 0 on average.
    for apart in (1, 4096):
        products = (weight[apart:] * weight[:-apart]).mean().item() * 3.0
        assert abs(products) < 5.0 / weight.numel()**0.5


def stepped(rank: int) -> dict[str, Any]:
    """Of the sum of a batch's losses, whose gradient to the weights becomes a mean over ranks."""
    found = {}
    for loss in SHARED:
        x, labels = batch(rank, world())
        head = head_of(loss, mesh_of(world()), reduction="sum", **options_of(loss))
        value = head(x, labels)
        value.backward()
        found[loss.name] = {"value": value.detach(), "x": x.grad, "logits": whole(head.logits(x)),
                            "weight": head.gather(), "gradients": gradients_of(head, world())}
    return found


def gradients_of(head: Any, ranks: int = 1) -> dict[str, Any]:
    return {name: None if one.grad is None else whole(one.grad) * ranks for name, one in head.named_parameters()}


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_step_is_that_of_one_process(ranks: int) -> None:
    found = on_ranks(stepped, ranks)
    for loss in SHARED:
        (x, labels), of_ranks = batch(), [one[loss.name] for one in found]
        head = head_of(loss, reduction="sum", **options_of(loss))
        head.load_state_dict({**head.state_dict(), "weight": of_ranks[0]["weight"]})
        value = head(x, labels)
        value.backward()
        # A loss with a term for every proxy, and none for a sample, is that of the whole batch on every rank.
        times = 1 if loss.engine.SAMPLES_ARE_INDEPENDENT else ranks
        for one in of_ranks:
            close(loss, one["gradients"], gradients_of(head, times))
            close(loss, one["logits"], head.logits(x).detach())
        close(loss, sum(one["value"] for one in of_ranks), value.detach() * times)
        close(loss, torch.cat([one["x"] for one in of_ranks]), x.grad * times)


def close(what: Any, found: Any, wanted: Any) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-12, msg=lambda text: f"{what}: {text}")


def tied(head: Any) -> Any:
    """With several classes alike, among them the nearest of some samples."""
    head.load_state_dict({"weight": torch.ones(CLASSES, DIMENSION, dtype=torch.float64).cumsum(1) * torch.tensor(
        [1.0, 2.0, 1.0, 2.0, 1.0])[:, None]})
    return head


def found_nearest(rank: int, width: int | None) -> list[Any]:
    found = []
    with pytest.MonkeyPatch.context() as patch:
        if width is not None:
            patch.setattr(Tensors, "class_tile_width", lambda *_: width)
        for loss in SHARED:
            head = head_of(loss, mesh_of(world()), **options_of(loss))
            x, _ = batch(rank, world())
            found.append((head.gather(), [head.nearest(x, k) for k in (1, 2, CLASSES)]))
        head, x = tied(head_of(anglos.linear_cross_entropy, mesh_of(world()))), x.round()
        found.append((head.gather(), [head.nearest(x, k) for k in (1, 2, CLASSES)]))
    return found


@pytest.mark.parametrize(("ranks", "width"), [(1, 2), (2, None), (2, 1), (4, 2)])
def test_nearest_classes_are_those_of_one_process(ranks: int, width: int | None) -> None:
    found = on_ranks(found_nearest, ranks, width)
    heads = [head_of(loss, **options_of(loss)) for loss in SHARED]
    for place, head in enumerate([*heads, tied(head_of(anglos.linear_cross_entropy))]):
        head.load_state_dict({**head.state_dict(), "weight": found[0][place][0]})
        x, _ = batch()
        logits = head.logits(x if place < len(heads) else x.round()).detach()
        wanted, order = logits.sort(dim=1, descending=True, stable=True)
        for which, k in enumerate((1, 2, CLASSES)):
            values, classes = (torch.cat([one[place][1][which][part] for one in found]) for part in (0, 1))
            close(head, values, wanted[:, :k])
            close(head, classes, order[:, :k])
            assert not values.requires_grad


COUNTS = (11, 3, 1, 6)


def step(head: Any, optimizer: Any, rank: int, ranks: int) -> None:
    x, labels = batch(rank, ranks)
    optimizer.zero_grad()
    (head(x, labels % head.num_classes) * ranks).backward()  # whose mean over ranks is the sum
    optimizer.step()


def trained(head: Any, optimizer: Any, rank: int = 0, ranks: int = 1, starts: list[Any] | None = None
            ) -> list[dict[str, Any]]:
    """The parameters, what the optimizer keeps of them, and buffers: after some steps with other numbers of classes."""
    found = []
    for place, count in enumerate((head.num_classes, *COUNTS)):
        if count != head.num_classes:
            head.resize_classes(count, optimizer)
        if starts is not None:  # a head that is whole draws new classes in its own way
            with torch.no_grad():
                head.weight.copy_(starts[place]["start"])
        start = whole(head.weight)
        step(head, optimizer, rank, ranks)
        state = {name: {key: whole(value) for key, value in optimizer.state[one].items()}
                 for name, one in head.named_parameters()}
        buffers = {name: whole(one) for name, one in head.named_buffers()}
        found.append({"start": start, "weight": whole(head.weight), "state": state, "buffers": buffers})
    return found


def optimizers() -> list[Any]:
    return [partial(torch.optim.AdamW, lr=0.01, foreach=True), partial(torch.optim.SGD, lr=0.01, momentum=0.9),
            partial(torch.optim.Adagrad, lr=0.01, initial_accumulator_value=0.25), partial(torch.optim.ASGD, lr=0.01)]


def head_to_resize(mesh: Any = None) -> Any:
    options = {name: option for name, option in options_of(anglos.linear_cross_entropy).items()
               if name in ("bias", "class_weight")}
    return head_of(anglos.linear_cross_entropy, mesh, reduction="sum", **options)


def resized(rank: int) -> list[Any]:
    found = []
    for make in optimizers():
        head = head_to_resize(mesh_of(world()))
        found.append(trained(head, make(head.parameters()), rank, world()))
    fresh = Head(anglos.linear_cross_entropy, 11, DIMENSION, dtype=torch.float64, mesh=mesh_of(world()), seed=3)
    return [*found, fresh.gather()]


@pytest.mark.parametrize("ranks", [1, 3, 4])
def test_classes_and_states_move_to_their_ranks(ranks: int) -> None:
    """To more and to fewer; new classes start as those of a head that had as many from the start."""
    *found, fresh = on_ranks(resized, ranks)[0]
    for make, of_ranks in zip(optimizers(), found, strict=True):
        torch.testing.assert_close(of_ranks[1]["start"][CLASSES:], fresh[CLASSES:], rtol=0, atol=0)
        head = head_to_resize()
        close(make, of_ranks, trained(head, make(head.parameters()), starts=of_ranks))


def refused_resizes(rank: int) -> list[Any]:
    mesh, found = mesh_of(world()), []
    for which in range(4):
        head = head_of(anglos.arcface, mesh)
        optimizer = torch.optim.AdamW(head.parameters())
        step(head, optimizer, rank, world())
        before, weight, count = head.gather(), head.weight, 7
        if which == 0:
            count += rank
        elif which == 1 and rank == 1:
            optimizer = torch.optim.AdamW(torch.nn.Linear(2, 2).parameters())
        elif which == 2 and rank == 1:
            optimizer = None
        elif which == 3 and rank == 1:
            count = 0
        found.append(tried(partial(head.resize_classes, count, optimizer)))
        assert head.weight is weight
        assert head.num_classes == CLASSES
        assert torch.equal(head.gather(), before)
    x, labels = batch(rank, world())
    return [*found, *(tried(partial(head.nearest, x, k)) for k in (1 + rank, 1 - rank)),
            tried(lambda: head.logits(x) if rank else head(x, labels))]


def test_another_number_of_classes_is_refused_on_all_ranks() -> None:
    found = on_ranks(refused_resizes, 2)
    for rank, (count, other, none, small, unlike, low, scored) in enumerate(found):
        assert scored.message.endswith("on rank 0 and not given on rank 1; wanted the same on all ranks")
        assert unlike[:2] == ("ValueError", "Head: k was 1 on rank 0 and 2 on rank 1; wanted the same on all ranks")
        assert count[:2] == ("ValueError", "Head: num_classes was 7 on rank 0 and 8 on rank 1; wanted the same on all "
                             "ranks")
        assert none.kind == "ValueError"
        assert none.message.startswith("Head: what the optimizer keeps was ")
        if rank == 1:
            assert other[:2] == ("ValueError", "Head: optimizer was a torch.optim.adamw.AdamW without weight; wanted "
                                 "the one that trains it")
            assert small[:2] == ("ValueError", "Head: num_classes was 0; wanted an integer of at least 1")
            assert low[:2] == ("ValueError", "Head: k was 0; wanted an integer from 1 to 5, which is all classes")
        else:
            assert other[:2] == small[:2] == low[:2] == (
                "RuntimeError", "Head: rank 1 refused its arguments (its own error says why)")
        assert max(one.seconds for one in found[rank]) < SOON


class Model(torch.nn.Module):  # type: ignore[misc]
    """A network that every rank has whole, and a head."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.backbone = torch.nn.Linear(DIMENSION, DIMENSION, dtype=torch.float64)
        if import_module("torch.distributed").is_initialized():
            self.backbone = torch.nn.parallel.DistributedDataParallel(self.backbone)
        self.head = head

    def forward(self, x: Any, labels: Any) -> Any:
        return self.head(self.backbone(x), labels)


SAVED = ("linear_cross_entropy", "arcface", "curricularface", "soft_triple", "center")


def model_of(name: str, mesh: Any = None, **how: Any) -> tuple[Any, Any]:
    loss = anglos.LOSSES[name]
    # The mean over samples weighted by their classes is of own samples.
    options = {name: option for name, option in options_of(loss).items() if name != "class_weight"}
    model = Model(head_of(loss, mesh, **options, **how))
    return model, torch.optim.AdamW(model.parameters(), lr=0.01)


def train(model: Any, optimizer: Any, rank: int, ranks: int, steps: int) -> dict[str, Any]:
    x, labels = batch(rank, ranks)
    for _ in range(steps):
        optimizer.zero_grad()
        model(x.detach(), labels).backward()
        optimizer.step()
    return {name.replace(".module", ""): whole(one) for name, one in model.state_dict().items()}


def checkpoint(model: Any, optimizer: Any) -> dict[str, Any]:
    found: Any = import_module("torch.distributed.checkpoint.state_dict").get_state_dict(model, optimizer)
    return dict(zip(("model", "optimizer"), found, strict=True))


def saved(rank: int, folder: str) -> list[Any]:
    found = []
    for name in SAVED:
        model, optimizer = model_of(name, mesh_of(world()))
        train(model, optimizer, rank, world(), 2)
        dcp.save(checkpoint(model, optimizer), checkpoint_id=f"{folder}/{name}")
        found.append(train(model, optimizer, rank, world(), 1))
    return found


def resumed(rank: int, folder: str, sharded: bool = True) -> list[Any]:
    found = []
    for name in SAVED:
        model, optimizer = model_of(name, mesh_of(world()) if sharded else None)
        state = checkpoint(model, optimizer)
        dcp.load(state, checkpoint_id=f"{folder}/{name}")
        import_module("torch.distributed.checkpoint.state_dict").set_state_dict(
            model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
        found.append(train(model, optimizer, rank, world() if sharded else 1, 1))
    return found


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch.distributed.checkpoint, in one process
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_training_goes_on_with_another_number_of_ranks(tmp_path: Path) -> None:
    """And with none: a head that is whole loads what a sharded one saved."""
    wanted = on_ranks(saved, 2, str(tmp_path))[0]
    for ranks in (1, 3, 4):
        for found in on_ranks(resumed, ranks, str(tmp_path)):
            close(ranks, found, wanted)
    close("whole", resumed(0, str(tmp_path), sharded=False), wanted)


def loaded(rank: int, states: dict[str, Any]) -> dict[tuple[str, bool], Any]:
    module: Any = import_module("torch.distributed.checkpoint.state_dict")
    found = {}
    for name, state in states.items():
        for assign in (False, True):
            loss = anglos.LOSSES[name]
            head = head_of(loss, mesh_of(world()), **options_of(loss))
            for one in head.state_dict().values():
                one.zero_()
            head.load_state_dict(state, assign=assign)
            assert {name: one.shape for name, one in head.state_dict().items()} == {
                name: one.shape for name, one in state.items()}
            found[name, assign] = module.get_model_state_dict(
                head, options=module.StateDictOptions(full_state_dict=True))
    return found


@pytest.mark.parametrize("ranks", [2, 4])
def test_state_dict_of_a_whole_head_and_back(ranks: int) -> None:
    states = {loss.name: head_of(loss, **options_of(loss)).state_dict() for loss in SHARED}
    for (name, _), found in on_ranks(loaded, ranks, states)[0].items():
        torch.testing.assert_close(dict(found), dict(states[name]), rtol=0, atol=0)


def load_parts(rank: int, folder: str, parts: int, classes: int) -> Any:
    files = [torch.load(f"{folder}/checkpoint_gpu_{part}.pt", mmap=True)["state_dict_softmax_fc"]["weight"]
             for part in range(parts)]
    head = head_of(anglos.arcface, mesh_of(world()), classes)
    head.load_state_dict({"weight": files})
    return head.gather()


def test_files_of_the_ranks_of_insightface(tmp_path: Path) -> None:
    """As train_v2.py saves them, and PartialFC_V2 cuts the classes: C // P, and one more for the first ranks."""
    classes, parts = 11, 3
    weight = torch.randn(classes, DIMENSION, dtype=torch.float64)
    for part in range(parts):
        rows = classes // parts + (part < classes % parts)
        first = classes // parts * part + min(part, classes % parts)
        backbone = torch.nn.Linear(2, 2)
        layer = torch.nn.ParameterDict({"weight": torch.nn.Parameter(weight[first:first + rows])})
        optimizer = torch.optim.SGD([*backbone.parameters(), *layer.parameters()], lr=0.1, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer)
        torch.save({"epoch": 1, "global_step": 2, "state_dict_backbone": backbone.state_dict(),
                    "state_dict_softmax_fc": layer.state_dict(), "state_optimizer": optimizer.state_dict(),
                    "state_lr_scheduler": scheduler.state_dict()}, tmp_path / f"checkpoint_gpu_{part}.pt")
    for ranks in (1, 2, 4):
        for found in on_ranks(load_parts, ranks, str(tmp_path), parts, classes):
            torch.testing.assert_close(found, weight, rtol=0, atol=0)
    head = head_of(anglos.arcface, classes=classes)
    head.load_state_dict({"weight": list(weight.split([4, 4, 3]))})
    torch.testing.assert_close(head.weight.detach(), weight, rtol=0, atol=0)


UPDATES: dict[str, Any] = {
    "adacos_update": lambda update, w, x, y: update(5.0, x, w, y),
    "adaface_update": lambda update, w, x, y: torch.stack(update(torch.tensor(3.0).double(), 1.5, x)),
    "angular_triplet_update": lambda update, w, x, y: update(w, x, y, x[:, 0] > -0.5),
    "center_update": lambda update, w, x, y: update(w, x, y, alpha=0.25),
    "curricularface_update": lambda update, w, x, y: update(torch.tensor(0.3).double(), x, w, y, momentum=0.5),
    "dynamic_soft_margin_update": lambda update, w, x, y: update(torch.ones(11).double(), x, x.flip(1))}
WITHOUT_LABELS = {"adaface_update", "dynamic_soft_margin_update"}


def labels_to_update(rank: int = 0, ranks: int = 1) -> Any:
    """Ignored ones on the first rank alone."""
    labels = batch()[1]
    labels[:2] = -100
    return labels[rank * ROWS // ranks:(rank + 1) * ROWS // ranks]


def updated(rank: int) -> dict[str, Any]:
    mesh, found = mesh_of(world()), {}
    head = head_of(anglos.center, mesh)
    for name, call in UPDATES.items():
        update = class_sharded(getattr(anglos, name), mesh)
        moved = call(update, head.weight, batch(rank, world())[0], labels_to_update(rank, world()))
        assert not hasattr(moved, "placements") or moved.placements == head.weight.placements
        found[name] = whole(moved)
    return {**found, "weight": head.gather(), "wrong": [tried(partial(call, class_sharded(getattr(anglos, name), mesh),
            head.weight, batch(rank, world())[0], batch()[1][:ROWS // world()] + 100 * rank))
            for name, call in UPDATES.items() if name not in WITHOUT_LABELS]}


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_updates_are_those_of_one_process(ranks: int) -> None:
    """By the samples of all ranks, and the same on each."""
    found = on_ranks(updated, ranks)
    assert set(UPDATES) == {name for name in dir(anglos) if name.endswith("_update")}
    for name, call in UPDATES.items():
        wanted = call(getattr(anglos, name), found[0]["weight"], batch()[0].detach(), labels_to_update())
        for one in found:
            close(name, one[name], wanted)
            assert torch.equal(one[name], found[0][name])
    for rank, one in enumerate(found):
        for failure in one["wrong"] if ranks > 1 else []:
            assert failure.message.endswith("wanted 0 to 4, or ignore_index = -100" if rank else
                                            "(its own error says why)")


def copies(rank: int) -> dict[str, Any]:
    """Losses of what a head becomes, and of the head."""
    x, labels = batch(rank, world())
    head = head_of(anglos.linear_cross_entropy, mesh_of(world()), **options_of(anglos.linear_cross_entropy))
    buffer = io.BytesIO()
    torch.save(head, buffer)
    buffer.seek(0)
    found = {"head": head(x, labels), "copy": copy.deepcopy(head)(x, labels),
             "pickle": torch.load(buffer, weights_only=False)(x, labels), "moved": head.to("cpu")(x, labels),
             "recomputed": import_module("torch.utils.checkpoint").checkpoint(head, x, labels, use_reentrant=False)}
    found["recomputed"].backward()
    with torch.no_grad():
        for one in head.parameters():
            one.zero_()
        head.tensors["class_weight"] = 0.5
        assert whole(head.tensors["class_weight"]).tolist() == [0.5] * CLASSES
        assert not whole(head.weight).any()
        head.reset_parameters()
    with torch.autocast("cpu", torch.bfloat16):
        autocast = head.float()(x.float(), labels)
    assert autocast.dtype == torch.float32
    assert head.half().weight.dtype == head.weight.to_local().dtype == torch.float16
    found["reset"] = head.double()(x, labels)
    return {**{name: value.detach() for name, value in found.items()}, "autocast": autocast.detach().double()}


def test_copies_and_types() -> None:
    for found in on_ranks(copies, 2):
        for name, value in found.items():
            rough = {"autocast": 1e-5, "reset": 1e-3}.get(name, 0.0)  # by way of float32, and of float16
            torch.testing.assert_close({name: value}, {name: found["head"]}, rtol=rough, atol=0)


def refused(rank: int) -> list[Any]:
    mesh, several = mesh_of(world()), mesh_module.init_device_mesh("cpu", (1, world()))
    wrong: list[dict[str, Any]] = [
        {"mesh": several}, {"mesh": mesh.get_group()}, {"mesh": mesh, "seed": "a"}, {"seed": 1},
        {"mesh": mesh, "bias": torch.zeros(6)}]
    return [tried(partial(Head, anglos.linear_cross_entropy, CLASSES, DIMENSION, **how)) for how in wrong]


def test_what_no_head_can_be_shared_over_is_refused() -> None:
    axes, group, seed, alone, bias = on_ranks(refused, 2)[0]
    assert axes[:2] == ("ValueError", "Head: mesh was of 2 axes; wanted one, as mesh['classes'] gives")
    assert group.kind == "TypeError"
    assert group.message.startswith("Head: mesh was a torch.")
    assert group.message.endswith("ProcessGroup; wanted a torch.distributed.device_mesh.DeviceMesh, as "
                                  "init_device_mesh and DeviceMesh.from_group make one")
    assert seed[:2] == ("TypeError", "Head: seed was 'a'; wanted an integer")
    assert alone.kind == "ValueError"
    assert alone.message.startswith("Head: seed was 1 without a mesh; wanted none: a head that is whole draws by ")
    assert bias[:2] == ("ValueError", "Head(linear_cross_entropy): bias was of shape (6,); wanted (C,), with C = 5 in "
                        "num_classes")


def beside(how: str, mesh: Any) -> tuple[Any, Any]:
    """A model of a network and a head, and what of it is called."""
    fsdp = import_module("torch.distributed.fsdp")
    torch.manual_seed(7)
    backbone = torch.nn.Linear(DIMENSION, DIMENSION, dtype=torch.float64)
    model = torch.nn.ModuleDict({"backbone": backbone, "head": head_of(anglos.arcface, mesh)})
    ddp, call = torch.nn.parallel.DistributedDataParallel, lambda x, y: model["head"](model["backbone"](x), y)
    if mesh is None:
        return model, call
    if how == "DDP of the network":
        model["backbone"] = ddp(backbone)
    elif how == "fully_shard of the network":
        fsdp.fully_shard(backbone, mesh=mesh)
    else:
        both = Both(model)
        if how == "DDP of both":
            ddp._set_params_and_buffers_to_ignore_for_model(both, ["model.head.weight"])
            return model, ddp(both)
        fsdp.fully_shard(both, mesh=mesh, ignored_params={model["head"].weight})
        return model, both
    return model, call


class Both(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Any, labels: Any) -> Any:
        return self.model["head"](self.model["backbone"](x), labels)


def clipped_by_all(model: Any) -> None:
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)


def clipped_by_norms(model: Any) -> None:
    """Where some parameters are DTensors, and others are not."""
    groups = [[one for one in part.parameters() if one.grad is not None] for part in model.values()]
    norms = [whole(torch.nn.utils.get_total_norm([one.grad for one in group])) for group in groups]
    for group in groups:
        torch.nn.utils.clip_grads_with_norm_(group, 0.01, torch.stack(norms).norm())


WAYS = ("DDP of the network", "DDP of both", "fully_shard of the network", "fully_shard of both")
SGD, ADAMW = partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.01), partial(torch.optim.AdamW, lr=0.01)


def supported() -> list[tuple[str, Any, Any, bool]]:
    """How the network is shared, the optimizer, the clipping, and whether the head has a group of parameters alone."""
    rows: list[tuple[str, Any, Any, bool]] = []
    for way in WAYS:
        dtensors = way.startswith("fully")
        clip = clipped_by_all if dtensors else clipped_by_norms
        rows += [(way, make, clip, alone) for make in (SGD, ADAMW) for alone in (False, True)]
        rows += [(way, partial(make, foreach=True), clip, not dtensors) for make in (SGD, ADAMW)]
        rows += [(way, partial(ADAMW, fused=True), clip, not dtensors)]
    return rows


def steps_of(row: tuple[str, Any, Any, bool], rank: int, ranks: int, mesh: Any, start: Any = None) -> dict[str, Any]:
    way, make, clip, alone = row
    model, call = beside(way, mesh)
    if start is not None:
        model["head"].load_state_dict({"weight": start})
    start = model["head"].gather().clone()
    groups = [{"params": list(part.parameters())} for part in model.values()]
    optimizer = make(groups if alone else model.parameters())
    x, labels = batch(rank, ranks)
    for _ in range(3):
        optimizer.zero_grad()
        call(x.detach(), labels).backward()
        clip(model)
        optimizer.step()
    found = {name.replace(".module", ""): whole(one) for name, one in model.state_dict().items()}
    return {"start": start, **found}


def scored_beside(rank: int) -> list[Any]:
    """With a learnt scale, which fully_shard cuts: of the network with the head, and of the head itself too."""
    fsdp, mesh, found = import_module("torch.distributed.fsdp"), mesh_of(world()), []
    for itself in (False, True):
        head = head_of(anglos.arcface, mesh, scale=torch.nn.Parameter(torch.full((1,), 8.0, dtype=torch.float64)))
        model = Both(torch.nn.ModuleDict({"backbone": torch.nn.Identity(), "head": head}))
        x, labels = batch(rank, world())
        for part in (head, model)[not itself:]:
            fsdp.fully_shard(part, mesh=mesh, ignored_params={head.weight})
        for name in ("nearest", "logits"):
            fsdp.register_fsdp_forward_method(head, name)
        model(x, labels).backward()
        for name in ("nearest", "logits"):
            found.append(tried(partial(getattr(head, name), x)))
    return [whole(one) if isinstance(one, torch.Tensor) else one for one in found]


def test_scores_of_a_head_inside_a_network_that_is_sharded() -> None:
    wanted = ('Head(arcface): scale was a DTensor that fully_shard makes whole in `forward` alone; wanted fully_shard '
              'of the head itself, ignored_params={head.weight} if that has a mesh, and '
              'torch.distributed.fsdp.register_fsdp_forward_method(head, "nearest"), or "logits"')
    for rank, (*refused, nearest, logits) in enumerate(on_ranks(scored_beside, 2)):
        assert [one[:2] for one in refused] == [("TypeError", wanted)] * 2
        own = slice(rank * ROWS // 2, (rank + 1) * ROWS // 2)
        torch.testing.assert_close(nearest[0][:, 0], logits.amax(dim=1)[own])
        assert logits.shape == (ROWS, CLASSES)


def all_supported(rank: int) -> list[dict[str, Any]]:
    return [steps_of(row, rank, world(), mesh_of(world())) for row in supported()]


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_optimizers_and_clipping_beside_a_network_that_is_whole_or_sharded() -> None:
    for row, *found in zip(supported(), *on_ranks(all_supported, 2), strict=True):
        wanted = steps_of((row[0], row[1], clipped_by_norms, row[3]), 0, 1, None, found[0]["start"])
        for one in found:
            close(row, one, wanted)


def scaled(rank: int) -> list[Any]:
    """Whether the network and the head moved, and the scale, where the gradient of one rank is infinite or not."""
    found = []
    for way in ("DDP of the network", "fully_shard of the network"):
        for infinite in (False, True):
            model, call = beside(way, mesh_of(world()))
            parts = [list(part.parameters()) for part in model.values()]
            optimizers = [SGD(part) for part in parts] if way.startswith("DDP") else [SGD(model.parameters())]
            scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
            before = [whole(part[0]) for part in parts]
            scaler.scale(call(*batch(rank, world()))).backward()
            if infinite and rank == 1:
                model["head"].weight.grad.to_local()[0, 0] = float("inf")
            for optimizer in optimizers:
                scaler.step(optimizer)
            scaler.update()
            moved = [not torch.equal(whole(part[0]), old) for part, old in zip(parts, before, strict=True)]
            found.append((*moved, scaler.get_scale()))
    return found


def test_ranks_agree_on_a_step_that_is_skipped() -> None:
    """Of two optimizers each skips a step for itself; one cannot have both kinds of parameters with a scaler."""
    for found in on_ranks(scaled, 2):
        assert found == [(True, True, 1024.0), (True, False, 512.0), (True, True, 1024.0), (False, False, 512.0)]
