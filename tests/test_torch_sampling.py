"""Partial class sampling in PyTorch's layer, and the optimizer whose steps touch sampled rows alone."""

import copy
import io
import pickle
import re
import weakref
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from samples import has_several

import anglos
from anglos import Loss, correct_sampling, sample_classes
from anglos.backends.torch import Head, SampledRows

torch: Any = import_module("torch")

CLASSES, DIMENSION, BATCH = 60, 5, 7

OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "AdamW": lambda rows: torch.optim.AdamW(rows, 0.05, weight_decay=0.1),
    "AdamW foreach": lambda rows: torch.optim.AdamW(rows, 0.05, weight_decay=0.1, foreach=True),
    "AdamW fused": lambda rows: torch.optim.AdamW(rows, 0.05, weight_decay=0.1, fused=True, amsgrad=True),
    "SGD": lambda rows: torch.optim.SGD(rows, 0.05, weight_decay=0.1),
    "SGD momentum": lambda rows: torch.optim.SGD(rows, 0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
    "Adagrad": lambda rows: torch.optim.Adagrad(rows, 0.05, initial_accumulator_value=0.3),
    "RMSprop": lambda rows: torch.optim.RMSprop(rows, 0.05, momentum=0.5, centered=True),
    "Rprop": lambda rows: torch.optim.Rprop(rows, 0.05),
    "ASGD": lambda rows: torch.optim.ASGD(rows, 0.05),
    "NAdam": lambda rows: torch.optim.NAdam(rows, 0.05),
}


def head_of(loss: Any = anglos.linear_cross_entropy, sample_rate: Any = 0.3, **options: Any) -> Any:
    if loss is anglos.linear_cross_entropy:
        options.setdefault("bias", torch.nn.Parameter(torch.linspace(-1.0, 1.0, CLASSES, dtype=torch.float64)))
    torch.manual_seed(3)
    return Head(loss, CLASSES, DIMENSION, prototypes_per_class=2 if has_several(loss) else None, dtype=torch.float64,
                sample_rate=sample_rate, **options)


def batch(seed: int, size: int = BATCH) -> tuple[Any, Any]:
    torch.manual_seed(seed)
    labels = torch.randint(CLASSES, (size,))
    labels[-1] = -100
    return torch.randn(size, DIMENSION, dtype=torch.float64), labels


def learnt(head: Any) -> dict[str, Any]:
    return {name: one for name, one in head.named_parameters() if one.requires_grad}


def rows_of(head: Any, embeddings: Any, labels: Any) -> tuple[Any, Any]:
    """The loss of a call, and the rows that it samples."""
    state = torch.get_rng_state()
    rows = sample_classes(labels, CLASSES, head._sampling.rate).rows
    torch.set_rng_state(state)
    return head(embeddings, labels), rows


@pytest.mark.parametrize("corrected", [False, True])
def test_a_call_is_the_loss_of_the_rows(layer: Loss[...], corrected: bool) -> None:
    """Its gradients too, of which that of the weight is 0 elsewhere."""
    if corrected:
        try:
            head = head_of(layer, correct_sampling=True)
            head(*batch(0))
        except TypeError:
            return  # test_sampling.py says which
    head = head_of(layer, correct_sampling=corrected)
    embeddings, labels = batch(0)
    state = torch.get_rng_state()
    rows, places, log_probability = sample_classes(labels, CLASSES, 0.3)
    torch.set_rng_state(state)
    embeddings.requires_grad_()
    found = torch.autograd.grad(head(embeddings, labels), [embeddings, *learnt(head).values()], allow_unused=True)
    loss: Any = correct_sampling(layer) if corrected else layer
    options = {name: option[rows] for name, option in head.tensors.items()}
    options |= {"log_probability": log_probability} if corrected else {}
    value = loss(embeddings, head.weight[rows], places, **options)
    wanted = torch.autograd.grad(value, [embeddings, *learnt(head).values()], allow_unused=True)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)
    head.eval()
    assert head(embeddings, labels).item() == layer(embeddings, head.weight, labels, **dict(head.tensors)).item()
    assert head.logits(embeddings).shape == (BATCH, CLASSES)


def test_all_classes_are_no_sample() -> None:
    """To the bit, and nothing is drawn."""
    head, (embeddings, labels) = head_of(sample_rate=1.0), batch(0)
    state = torch.get_rng_state()
    assert head(embeddings, labels).item() == head.eval()(embeddings, labels).item()
    assert torch.equal(torch.get_rng_state(), state)


def states_of(optimizer: Any, parameter: Any) -> dict[str, Any]:
    return {key: value.clone() for key, value in optimizer.state.get(parameter, {}).items()
            if isinstance(value, torch.Tensor)}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("of", ["linear_cross_entropy", "soft_triple"])
def test_a_step_is_that_of_the_sampled_rows_alone(name: str, of: str) -> None:
    """There what an ordinary optimizer of the whole weight does from the same state; elsewhere nothing, to the bit."""
    head = head_of(anglos.LOSSES[of])
    optimizer = SampledRows(head, OPTIMIZERS[name])
    for step in range(4):
        ordinary = copy.deepcopy(head)
        other = OPTIMIZERS[name](list(ordinary.parameters()))
        if step:  # and not by load_state_dict, which turns NAdam's float32 numbers into float64
            for one, same in zip(head.parameters(), ordinary.parameters(), strict=True):
                other.state[same] = copy.deepcopy(optimizer.state[one])
        before = {key: (one.detach().clone(), states_of(optimizer, one)) for key, one in learnt(head).items()}
        inputs = batch(step)
        torch.manual_seed(100 + step)
        value, rows = rows_of(head, *inputs)
        torch.manual_seed(100 + step)
        same = ordinary(*inputs)
        assert value.item() == same.item()
        for one, made_by in ((value, optimizer), (same, other)):
            one.backward()
            made_by.step()
            made_by.zero_grad()
        rest = torch.ones(CLASSES, dtype=torch.bool).index_fill(0, rows, False)
        for key, parameter in learnt(head).items():
            old, states = before[key]
            torch.testing.assert_close(parameter[rows], learnt(ordinary)[key][rows], rtol=1e-12, atol=1e-14)
            assert torch.equal(parameter[rest], old[rest])
            assert not torch.equal(parameter[rows], old[rows])
            for state, value in states_of(optimizer, parameter).items():
                whole = other.state[learnt(ordinary)[key]][state]
                per_row = value.shape == parameter.shape
                torch.testing.assert_close(*((value[rows], whole[rows]) if per_row else (value, whole)))
                if per_row and state in states:
                    assert torch.equal(value[rest], states[state][rest])
        assert [one for group in optimizer.param_groups for one in group["params"]] == list(head.parameters())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rows_are_stepped_on_in_parts_to_the_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for parts in (1, 3):
        monkeypatch.setattr("anglos.backends.torch._optimizers._PARTS", parts)
        torch.manual_seed(3)
        bias = torch.nn.Parameter(torch.linspace(-1.0, 1.0, 1000))
        head = Head(anglos.linear_cross_entropy, 1000, DIMENSION, sample_rate=0.3, bias=bias)
        optimizer = SampledRows(head, OPTIMIZERS[name])
        stepped: list[int] = []
        (group,) = optimizer.param_groups
        optimizer.register_step_pre_hook(lambda *_, to=stepped, group=group: to.append(len(group["params"])))
        for step in range(4):
            optimizer.zero_grad()
            head(*(one.float() if one.is_floating_point() else one for one in batch(step))).backward()
            optimizer.step()
        assert stepped == [2 * parts] * 4  # of 300 rows: 128, 128 and 44
        found.append((head.state_dict(), [states_of(optimizer, one) for one in head.parameters()]))
    torch.testing.assert_close(*found, rtol=0.0, atol=0.0)


class Together(torch.optim.SGD):  # type: ignore[misc]
    """By the norm of all rows."""

    def step(self, closure: Any = None) -> None:
        (rows,) = self.param_groups[0]["params"]
        assert len(rows) == 18
        rows.data -= 0.1 * rows.grad / rows.grad.norm()


def test_an_optimizer_that_may_look_at_all_rows_has_them_in_one() -> None:
    head = head_of(anglos.arcface)
    start = head.weight.detach().clone()
    trained(head, SampledRows(head, lambda rows: Together(rows, 0.1)), range(1))
    torch.testing.assert_close((head.weight - start).norm().item(), 0.1)


class Bytes(import_module("torch.utils._python_dispatch").TorchDispatchMode):  # type: ignore[misc]
    """Of what is made: now, and at most at once."""

    now, most = 0, 0

    def __torch_dispatch__(self, op: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        done = op(*args, **(kwargs or {}))
        memory = done.untyped_storage() if isinstance(done, torch.Tensor) else None
        if memory is not None and not any(memory is one.untyped_storage() for one in (*args, *(kwargs or {}).values())
                                          if isinstance(one, torch.Tensor)):
            self.now += memory.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(memory, self.freed, memory.nbytes())
        return done

    def freed(self, size: int) -> None:
        self.now -= size


def test_a_step_of_a_tenth_has_at_most_half_of_the_memory() -> None:
    """Above the weight: AdamW's states of all rows; and of those that it steps on rows, gradient, and its own."""
    classes, dimension, found = 4000, 64, []
    for rate in (0.1, 1.0):
        head = Head(anglos.arcface, classes, dimension, sample_rate=rate)
        make: Any = torch.optim.AdamW
        optimizer = SampledRows(head, make) if rate < 1.0 else make(head.parameters())
        for _ in range(2):
            head(torch.randn(8, dimension), torch.arange(8)).backward()
            given = [one.grad for group in optimizer.param_groups for one in group["params"]]
            with Bytes() as memory:
                optimizer.step()
            optimizer.zero_grad()
        whole = 4 * classes * dimension
        rows = sum(4 * one.numel() for one in given) + (rate < 1.0) * 4 * given[0].numel()
        found.append(2 * whole + rows + memory.most)
    assert found[1] > 4.9 * whole
    assert found[0] < 0.49 * found[1]


def trained(head: Any, optimizer: Any, steps: range, schedule: Any = None) -> None:
    for step in steps:
        optimizer.zero_grad()
        head(*batch(step)).backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()


@pytest.mark.parametrize("name", ["AdamW", "SGD momentum", "Adagrad"])
def test_a_resumed_training_is_one_that_was_not_interrupted(name: str) -> None:
    """To the bit; also where the state is asked for between the backward pass and the step, and loaded there."""
    def begun() -> tuple[Any, Any, Any]:
        head = head_of()
        optimizer = SampledRows(head, OPTIMIZERS[name])
        return head, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)

    whole, stopped = begun(), begun()
    trained(whole[0], whole[1], range(6), whole[2])
    trained(stopped[0], stopped[1], range(3), stopped[2])
    before = stopped[1].state_dict()["state"]
    stopped[0](*batch(9)).backward()
    assert before.keys() == stopped[1].state_dict()["state"].keys() == {0, 1}
    file = io.BytesIO()
    torch.save([one.state_dict() for one in stopped], file)
    file.seek(0)
    again = begun()
    again[0](*batch(8)).backward()
    for one, state in zip(again, torch.load(file), strict=True):
        one.load_state_dict(state)
    trained(again[0], again[1], range(3, 6), again[2])
    for key, value in whole[0].state_dict().items():
        assert torch.equal(value, again[0].state_dict()[key])
    for (one, other) in zip(whole[0].parameters(), again[0].parameters(), strict=True):
        for key, value in states_of(whole[1], one).items():
            assert torch.equal(value, again[1].state[other][key])


def test_backward_passes_add_up_until_the_step() -> None:
    """As those of a dense weight: the rows of all are stepped on once, and a norm is that of their sums."""
    head, dense = head_of(), head_of()
    optimizer = SampledRows(head, lambda rows: torch.optim.SGD(rows, 0.05))
    start = head.weight.detach().clone()
    other = torch.optim.SGD(dense.parameters(), 0.05)
    for one in (head, dense):
        first, second = one(*batch(1)), one(*batch(2))
        second.backward()
        first.backward(retain_graph=True)
        one(*batch(3)).backward()
        first.backward()
    norms = [torch.nn.utils.clip_grad_norm_([one for group in made_by.param_groups for one in group["params"]], 0.1)
             for made_by in (optimizer, other)]
    torch.testing.assert_close(*norms)
    optimizer.step()
    other.step()
    torch.testing.assert_close(head.state_dict(), dense.state_dict(), rtol=1e-12, atol=1e-14)
    assert 18 < (head.weight != start).any(dim=1).sum() < CLASSES
    assert torch.equal(head.weight, head.weight)


def test_a_step_between_a_call_and_its_backward_pass_stays() -> None:
    """As of a dense weight: the rows are stepped on from what they are by then."""
    head, dense = head_of(), head_of()
    optimizer = SampledRows(head, lambda rows: torch.optim.SGD(rows, 0.05))
    for one, steps in ((head, optimizer), (dense, torch.optim.SGD(dense.parameters(), 0.05))):
        for value in (one(*batch(1)), one(*batch(2))):
            steps.zero_grad()
            value.backward()
            steps.step()
    torch.testing.assert_close(head.state_dict(), dense.state_dict(), rtol=1e-12, atol=1e-14)


def test_rows_without_a_gradient_are_not_stepped_on() -> None:
    """A call that is not differentiated, a gradient that was set to None, and zero_grad between call and backward."""
    head = head_of()
    optimizer = SampledRows(head, OPTIMIZERS["AdamW"])
    with torch.no_grad():
        head(*batch(0))
    head(*batch(1))
    optimizer.step()
    head(*batch(2)).backward()
    optimizer.zero_grad()
    start = copy.deepcopy(head.state_dict())
    optimizer.step()
    torch.testing.assert_close(head.state_dict(), start, rtol=0.0, atol=0.0)
    value, rows = rows_of(head, *batch(3))
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    assert (head.weight != start["weight"]).any(dim=1).nonzero()[:, 0].tolist() == sorted(rows.tolist())


def test_a_closure_is_called_before_the_step() -> None:
    head, other = head_of(), head_of()
    optimizer, ordinary = (SampledRows(one, OPTIMIZERS["AdamW"]) for one in (head, other))
    for step in range(2):
        def closure(step: int = step) -> Any:
            optimizer.zero_grad()
            value = head(*batch(step))
            value.backward()
            return value

        value = optimizer.step(closure)
        trained(other, ordinary, range(step, step + 1))
        assert value.item() > 0.0
    torch.testing.assert_close(head.state_dict(), other.state_dict(), rtol=0.0, atol=0.0)


@pytest.mark.parametrize("name", ["AdamW", "AdamW fused"])
def test_a_scaler_skips_the_step_of_an_infinite_gradient(name: str) -> None:
    head = head_of()
    optimizer, scaler = SampledRows(head, OPTIMIZERS[name]), torch.amp.GradScaler("cpu", init_scale=1024.0)
    for step, factor in enumerate((1.0, float("inf"), 1.0)):
        before = head.weight.detach().clone()
        value, rows = rows_of(head, *batch(step))
        scaler.scale(value * factor).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        changed = (head.weight != before).any(dim=1).nonzero()[:, 0].tolist()
        assert changed == ([] if factor > 1.0 else sorted(rows.tolist()))
    assert scaler.get_scale() == 512.0


def test_other_parameters_may_stand_in_the_same_optimizer() -> None:
    head, backbone = head_of(), torch.nn.Linear(DIMENSION, DIMENSION, dtype=torch.float64)
    optimizer = SampledRows(head, lambda rows: torch.optim.AdamW([{"params": rows, "weight_decay": 0.0},
                                                                 {"params": backbone.parameters()}], 0.05))
    start = copy.deepcopy((head.state_dict(), backbone.state_dict()))
    embeddings, labels = batch(0)
    head(backbone(embeddings), labels).backward()
    optimizer.step()
    assert not torch.equal(backbone.weight, start[1]["weight"])
    assert 0 < (head.weight != start[0]["weight"]).any(dim=1).sum() < CLASSES


def test_a_gradient_of_all_rows_is_stepped_on_as_ever() -> None:
    head, dense = head_of(), head_of(sample_rate=1.0)
    optimizer = SampledRows(head, OPTIMIZERS["AdamW"])
    trained(head.eval(), optimizer, range(2))
    trained(dense, OPTIMIZERS["AdamW"](list(dense.parameters())), range(2))
    torch.testing.assert_close(head.state_dict(), dense.state_dict(), rtol=0.0, atol=0.0)
    head(*batch(0)).backward()
    head.train()(*batch(1)).backward()
    with pytest.raises(RuntimeError, match=r"^SampledRows: weight had a gradient of all its rows beside one"):
        optimizer.step()


def test_resized_classes_keep_their_states() -> None:
    head = head_of()
    optimizer = SampledRows(head, OPTIMIZERS["AdamW"])
    trained(head, optimizer, range(2))
    head.resize_classes(CLASSES + 5, optimizer)
    before = head.weight.detach().clone()
    trained(head, optimizer, range(2))
    assert optimizer.state[head.weight]["exp_avg"].shape == head.weight.shape
    assert (head.weight != before).any(dim=1).sum() < len(before)
    head.resize_classes(CLASSES)
    with pytest.raises(RuntimeError, match=r"^Head: bias was another tensor than the optimizer of SampledRows has"):
        head(*batch(0))


def test_a_copy_is_trained_by_another_optimizer() -> None:
    head = head_of()
    optimizer = SampledRows(head, OPTIMIZERS["AdamW"])
    for other in (copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        other(*batch(0)).backward()
        assert other.weight.grad.count_nonzero() > 0
    optimizer.step()
    assert torch.equal(head.weight, other.weight)
    with pytest.raises(RuntimeError, match=r"^Head: weight was another tensor than the optimizer of SampledRows has"):
        torch.func.functional_call(head, {"weight": head.weight.detach().clone().requires_grad_()}, batch(0))


class Odd(torch.optim.SGD):  # type: ignore[misc]
    def step(self, closure: Any = None) -> None:
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter]["odd"] = [parameter]


@pytest.mark.parametrize(("change", "error", "message"), [
    (lambda: head_of(sample_rate=0.0), ValueError,
     "Head: sample_rate was 0; wanted a part of the classes above 0 to 1: a number"),
    (lambda: head_of(sample_rate="a"), TypeError,
     "Head: sample_rate was 'a'; wanted a part of the classes above 0 to 1: a number"),
    (lambda: head_of(anglos.center, correct_sampling=True), TypeError,
     "correct_sampling: loss was center; wanted a loss against class prototypes, such as anglos.arcface"),
    (lambda: head_of(anglos.sphereface2, correct_sampling=True)(*batch(0)), TypeError,
     "sphereface2: log_probability was given to a loss that is a Binary, no log-sum-exp; wanted a loss such as "
     "arcface, or no correction"),
    (lambda: head_of()(batch(0)[0], batch(0)[1] + 90), ValueError,
     "Head(linear_cross_entropy): labels held 134 at position 0; wanted 0 to 59, or ignore_index = -100"),
    (lambda: SampledRows(torch.nn.Linear(2, 2), OPTIMIZERS["SGD"]), TypeError,
     "SampledRows: head was a torch.nn.modules.linear.Linear; wanted a Head"),
    (lambda: SampledRows(head_of(anglos.angular_triplet), OPTIMIZERS["SGD"]), TypeError,
     "SampledRows: head was of angular_triplet, to which its weight is a constant; wanted one that is learnt"),
    (lambda: SampledRows(head_of(), lambda rows: torch.optim.LBFGS(rows)), TypeError,
     "SampledRows: make_optimizer returned a torch.optim.lbfgs.LBFGS; wanted a torch.optim.Optimizer that keeps "
     "something of every row"),
    (lambda: SampledRows(head_of(), lambda rows: torch.optim.SGD(rows[:1])), TypeError,
     "SampledRows: make_optimizer returned a torch.optim.sgd.SGD without bias; wanted one of all that it was "
     "given"),
    (lambda: trained(head := head_of(), SampledRows(head, Odd), range(1)), TypeError,
     "SampledRows: odd of weight in the optimizer was a list; wanted numbers, and tensors with something of every row "
     "or of none"),
])
def test_what_cannot_be_is_refused(change: Any, error: type[Exception], message: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        change()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dynamo's own
@pytest.mark.parametrize("rows_alone", [False, True])
def test_it_runs_compiled(rows_alone: bool) -> None:
    """As one graph; with a break in it where SampledRows has its rows."""
    import_module("torch._dynamo").reset()
    head = head_of(anglos.arcface, correct_sampling=True)
    if rows_alone:
        optimizer = SampledRows(head, OPTIMIZERS["AdamW"])
    (embeddings, labels), found = batch(0), []
    for call in (head, torch.compile(head, backend="aot_eager", fullgraph=not rows_alone)):
        torch.manual_seed(0)
        value = call(embeddings, labels)
        value.backward()
        if rows_alone:
            ((group,),) = (group["params"] for group in optimizer.param_groups)
            found.append((value.detach(), group.grad.clone()))
            optimizer.zero_grad()
        else:
            found.append((value.detach(), head.weight.grad.clone()))
            head.zero_grad()
    torch.testing.assert_close(*found)
