"""Partial class sampling where ranks share the classes: each samples its own, and what they get is of the union."""

import copy
import tempfile
from importlib import import_module
from typing import Any

import pytest
from ranks import SOON, on_ranks, tried, tried_on_ranks
from samples import has_several
from test_sampling import NOT_CORRECTED
from test_torch_sampling import DIMENSION, OPTIMIZERS, learnt, states_of

import anglos
from anglos import Loss, correct_sampling, sample_classes
from anglos.backends.torch import Head, SampledRows

torch: Any = import_module("torch")
mesh_module: Any = import_module("torch.distributed.device_mesh")
checkpoint: Any = import_module("torch.distributed.checkpoint")
states: Any = import_module("torch.distributed.checkpoint.state_dict")

pytestmark = pytest.mark.slow

BATCH = 6
LOSSES = [loss for loss in anglos.LOSSES.values() if loss.arrays[:1] == ("embeddings",) and loss.arrays[2:]
          and loss.name not in ("proxy_anchor", "ham_softmax")]  # no loss of each row; no tiles
CUTS = [(2, 40, 0.3), (3, 41, 0.1), (4, 9, 0.4), (1, 40, 0.3)]
"""Ranks, classes and rates: even, uneven, with more own classes than the rate has rows, and a rank without any."""


def head_of(loss: Any, ranks: int, classes: int, rate: float, **options: Any) -> Any:
    return Head(loss, classes, DIMENSION, prototypes_per_class=2 if has_several(loss) else None, dtype=torch.float64,
                mesh=mesh_module.init_device_mesh("cpu", (ranks,)), sample_rate=rate, **options)


def biased(ranks: int, classes: int, rate: float) -> Any:
    bias = torch.nn.Parameter(torch.linspace(-1.0, 1.0, classes, dtype=torch.float64))
    return head_of(anglos.linear_cross_entropy, ranks, classes, rate, bias=bias)


def batch(ranks: int, classes: int, seed: int = 0) -> tuple[Any, Any]:
    """Of all ranks."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (BATCH * ranks,), generator=random) // 3 * 3
    labels[1] = -100
    return torch.randn(BATCH * ranks, DIMENSION, dtype=torch.float64, generator=random), labels


def own(rank: int, ranks: int, classes: int, seed: int = 0) -> tuple[Any, Any]:
    embeddings, labels = batch(ranks, classes, seed)
    mine = slice(BATCH * rank, BATCH * (rank + 1))
    return embeddings[mine].clone().requires_grad_(), labels[mine].clone()


def rows_of(call: Any, rank: int, ranks: int, classes: int, rate: float, seed: int = 0) -> tuple[Any, Any]:
    """What a call gives, and the sample that it takes."""
    torch.manual_seed(10 * seed + rank)
    sampled = sample_classes(batch(ranks, classes, seed)[1], classes, rate, rank=rank, ranks=ranks)
    torch.manual_seed(10 * seed + rank)
    return call(), sampled


def local(tensor: Any) -> Any:
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def is_corrected(loss: Loss[...]) -> bool:
    return loss.name not in (*NOT_CORRECTED, "center")


def of_losses(rank: int, ranks: int, classes: int, rate: float) -> list[Any]:
    found = []
    for loss in LOSSES:
        head = head_of(loss, ranks, classes, rate, correct_sampling=is_corrected(loss))
        inputs = own(rank, ranks, classes)
        value, sampled = rows_of(lambda head=head, inputs=inputs: head(*inputs), rank, ranks, classes, rate)
        value.backward()
        gradient = None if head.weight.grad is None else head.weight.grad.full_tensor()
        found.append((value.detach(), inputs[0].grad, gradient, tuple(sampled), head.gather()))
    return found


@pytest.mark.parametrize(("ranks", "classes", "rate"), CUTS)
def test_a_sample_is_one_process_on_the_union(ranks: int, classes: int, rate: float) -> None:
    """Value and gradients of every loss, corrected where it can be."""
    found = on_ranks(of_losses, ranks, ranks, classes, rate)
    each = -(-classes // ranks)
    for loss, *of_ranks in zip(LOSSES, *found, strict=True):
        values, d_embeddings, d_weights, samples, weights = zip(*of_ranks, strict=True)
        rows = torch.cat([one[0] + rank * each for rank, one in enumerate(samples)])
        assert len(rows) < classes
        options = {"log_probability": torch.cat([one[2] for one in samples])} if is_corrected(loss) else {}
        whole: Any = correct_sampling(loss) if is_corrected(loss) else loss
        embeddings, labels = batch(ranks, classes)
        leaves = [embeddings.requires_grad_(), weights[0].clone().requires_grad_()]
        per_row = whole(embeddings, leaves[1][rows], samples[0][1], reduction="none", **options)
        counts = (labels >= 0).reshape(ranks, BATCH).sum(dim=1)
        wanted = per_row.reshape(ranks, BATCH).sum(dim=1) / counts
        torch.testing.assert_close(torch.stack(values), wanted.detach(), rtol=1e-11, atol=1e-12)
        gradients = torch.autograd.grad(wanted.sum(), leaves, allow_unused=True)
        torch.testing.assert_close(torch.cat(d_embeddings), gradients[0], rtol=1e-10, atol=1e-11)
        for one in d_weights:
            if loss.kinds[loss.arrays[1]].frozen:
                assert one is None
            else:
                torch.testing.assert_close(one, gradients[1] / ranks, rtol=1e-10, atol=1e-11)


def of_steps(rank: int, ranks: int, classes: int, rate: float) -> None:
    for name in ("AdamW", "AdamW fused", "SGD momentum", "AdamW foreach"):
        of_step(rank, ranks, classes, rate, name)


def of_step(rank: int, ranks: int, classes: int, rate: float, name: str) -> None:
    head = biased(ranks, classes, rate)
    optimizer = SampledRows(head, OPTIMIZERS[name])
    each = -(-classes // ranks)
    here = max(0, min(each, classes - rank * each))
    for step in range(3):
        ordinary = copy.deepcopy(head)
        other = OPTIMIZERS[name](list(ordinary.parameters()))
        if step:
            for one, same in zip(head.parameters(), ordinary.parameters(), strict=True):
                other.state[same] = copy.deepcopy(optimizer.state[one])
        before = {key: (local(one).detach().clone(), {state: local(value) for state, value in states_of(
            optimizer, one).items()}) for key, one in learnt(head).items()}
        inputs = own(rank, ranks, classes, step)
        value, sampled = rows_of(lambda head=head, inputs=inputs: head(*inputs), rank, ranks, classes, rate, step)
        same, _ = rows_of(lambda head=ordinary, inputs=inputs: head(*inputs), rank, ranks, classes, rate, step)
        for one, made_by in ((value, optimizer), (same, other)):
            one.backward()
            made_by.step()
            made_by.zero_grad()
        rest = torch.ones(here, dtype=torch.bool).index_fill(0, sampled.rows, False)
        for key, parameter in learnt(head).items():
            now, dense, (old, kept) = local(parameter), local(learnt(ordinary)[key]), before[key]
            torch.testing.assert_close(now[sampled.rows], dense[sampled.rows], rtol=1e-12, atol=1e-14)
            assert torch.equal(now[rest], old[rest])
            for state, value in states_of(optimizer, parameter).items():
                if value.shape == parameter.shape and state in kept:
                    assert torch.equal(local(value)[rest], kept[state][rest])


@pytest.mark.parametrize(("ranks", "classes", "rate"), CUTS[:3])
def test_a_step_is_that_of_the_sampled_rows_alone(ranks: int, classes: int, rate: float) -> None:
    """As an ordinary optimizer there, to the bit as before elsewhere."""
    on_ranks(of_steps, ranks, ranks, classes, rate)


def of_several(rank: int, ranks: int, classes: int, rate: float) -> None:
    head, dense = biased(ranks, classes, rate), biased(ranks, classes, rate)
    optimizer = SampledRows(head, lambda rows: torch.optim.SGD(rows, 0.05))
    other, norms = torch.optim.SGD(dense.parameters(), 0.05), []
    for one, made_by in ((head, optimizer), (dense, other)):
        torch.manual_seed(rank)
        first, second = (one(*own(rank, ranks, classes, seed)) for seed in (1, 2))
        second.backward()
        first.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(
            [each for group in made_by.param_groups for each in group["params"]], 0.1).full_tensor())
        made_by.step()
    torch.testing.assert_close(*norms)
    torch.testing.assert_close(*(one.gather() for one in (head, dense)), rtol=1e-12, atol=1e-14)


def of_scaler(rank: int, ranks: int, classes: int, rate: float) -> None:
    """An infinite gradient on one rank: no rank steps."""
    head = biased(ranks, classes, rate)
    optimizer, scaler = SampledRows(head, OPTIMIZERS["AdamW"]), torch.amp.GradScaler("cpu", init_scale=1024.0)
    for step, factor in enumerate((1.0, float("inf"), 1.0)):
        before = head.gather().clone()
        value = head(*own(rank, ranks, classes, step))
        scaler.scale(value * (factor if rank == ranks - 1 else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        assert torch.equal(head.gather(), before) == (factor > 1.0)
    assert scaler.get_scale() == 512.0


@pytest.mark.parametrize("of", [of_several, of_scaler], ids=lambda of: of.__name__)
def test_backward_passes_add_up_and_a_scaler_skips_on_all(of: Any) -> None:
    on_ranks(of, 2, 2, 40, 0.3)
    on_ranks(of, 3, 3, 41, 0.1)


def trained(rank: int, ranks: int, classes: int, head: Any, optimizer: Any, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        torch.manual_seed(10 * step + rank)
        head(*own(rank, ranks, classes, step)).backward()
        optimizer.step()


def of_saved(rank: int, ranks: int, classes: int, rate: float, folder: str) -> Any:
    """Whole weight, and the state of Adam, after six steps; saved on the way."""
    head = biased(ranks, classes, rate)
    optimizer = SampledRows(head, OPTIMIZERS["AdamW"])
    trained(rank, ranks, classes, head, optimizer, range(3))
    model, state = states.get_state_dict(head, optimizer)
    checkpoint.save({"model": model, "optimizer": state}, checkpoint_id=folder)
    halfway = head.gather().clone(), optimizer.state[head.weight]["exp_avg"].full_tensor().clone()
    trained(rank, ranks, classes, head, optimizer, range(3, 6))
    return halfway, (head.gather(), optimizer.state[head.weight]["exp_avg"].full_tensor())


def of_loaded(rank: int, ranks: int, classes: int, rate: float, folder: str) -> Any:
    head = biased(ranks, classes, rate)
    optimizer = SampledRows(head, OPTIMIZERS["AdamW"])
    model, state = states.get_state_dict(head, optimizer)
    checkpoint.load(saved := {"model": model, "optimizer": state}, checkpoint_id=folder)
    states.set_state_dict(head, optimizer, model_state_dict=saved["model"], optim_state_dict=saved["optimizer"])
    loaded = head.gather().clone(), optimizer.state[head.weight]["exp_avg"].full_tensor().clone()
    trained(rank, ranks, classes, head, optimizer, range(3, 6))
    return loaded, (head.gather(), optimizer.state[head.weight]["exp_avg"].full_tensor())


def test_a_training_resumes_from_a_checkpoint_on_any_number_of_ranks() -> None:
    """To the bit; on as many ranks it is then the training that was not interrupted."""
    with tempfile.TemporaryDirectory() as folder:
        halfway, done = on_ranks(of_saved, 2, 2, 41, 0.3, folder)[0]
        for ranks in (2, 3, 1):
            for loaded, after in on_ranks(of_loaded, ranks, ranks, 41, 0.3, folder):
                torch.testing.assert_close(loaded, halfway, rtol=0.0, atol=0.0)
                if ranks == 2:
                    torch.testing.assert_close(after, done, rtol=0.0, atol=0.0)


def of_faults(rank: int) -> list[Any]:
    head = biased(2, 40, 0.3)
    embeddings, labels = own(rank, 2, 40)
    wrong = rank == 1
    return [tried(call) for call in (
        lambda: head(embeddings, labels * 1.0 if wrong else labels),
        lambda: head(embeddings, labels + 90 if wrong else labels),
        lambda: head(embeddings[1:], labels[1:]) if wrong else head(embeddings, labels),
        lambda: Head(anglos.arcface, 40, DIMENSION, sample_rate=0.2 if wrong else 0.3, dtype=torch.float64,
                     mesh=mesh_module.init_device_mesh("cpu", (2,)))(embeddings, labels))]


def test_a_fault_of_one_rank_is_an_error_on_all() -> None:
    found = tried_on_ranks(of_faults, 2)
    head = "Head(linear_cross_entropy)"
    refused = f"{head}: rank 1 refused its arguments (its own error says why)"
    rows = (f"{head}: rows of the ranks were [6, 5]; wanted as many on each: fill up with rows whose label is "
            "ignore_index")
    rates = "Head(arcface): rate was 0.3 on rank 0 and 0.2 on rank 1; wanted the same on all ranks"
    own_errors = [f"{head}: labels was of dtype torch.float32; wanted an array of integral dtype and shape (B,) (if "
                  "those are numbers of classes: labels.long())",
                  f"{head}: labels held 117 at position 0; wanted 0 to 39, or ignore_index = -100"]
    assert [one.message for one in found[0]] == [refused, refused, rows, rates]
    assert [one.message for one in found[1]] == [*own_errors, rows, rates]
    assert max(one.seconds for of_rank in found for one in of_rank) < SOON


def of_compiled(rank: int, ranks: int) -> None:
    """At a rate whose rows are more than the batch's own classes could be, which a graph does not look at."""
    head, found = head_of(anglos.arcface, ranks, 40, 0.7, correct_sampling=True), []
    for call in (head, torch.compile(head, backend="aot_eager", fullgraph=True)):
        torch.manual_seed(rank)
        value = call(*own(rank, ranks, 40))
        value.backward()
        found.append((value.detach(), head.weight.grad.full_tensor()))
        head.zero_grad()
    torch.testing.assert_close(*found)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dynamo's own
def test_a_compiled_head_samples_as_one_graph() -> None:
    on_ranks(of_compiled, 2, 2)
