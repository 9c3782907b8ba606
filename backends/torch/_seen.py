"""What a tensor is, and who sees what is done with it."""

import torch

from anglos.arrays.library import Library, Spec
from anglos.call.kinds import describe

_PLAIN = (torch.Tensor, torch.nn.Parameter)
# Class among the bases -> what is wanted in its place.
_UNFIT = {
    "DTensor": "a tensor that is whole on every rank: full_tensor(); after fully_shard the parameters of a module are "
               "such inside its forward",
    "ShardedTensor": "a tensor that is whole on every rank: gather() it",
    "NestedTensor": "a dense tensor: to_padded_tensor(), or values() of a jagged one",
    "MaskedTensor": "a tensor without a mask: to_tensor()",
    "UninitializedTensorMixin": "it with a shape: materialize() it, as the first call of a lazy module does",
}
_COMPUTED = frozenset((torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int32,
                       torch.bool))
_PRE_DISPATCH = torch._C.DispatchKey.PreDispatch


def graph_is_made() -> bool:
    """Whether a graph for other numbers comes of the arithmetic: a compiler's, or torch.jit's, whose sizes are tensors.

    The older ONNX exporter makes one of the second kind.
    """
    return torch.compiler.is_compiling() or torch._C._is_tracing()


def seen_by_dynamo_alone() -> bool:
    """Whether Dynamo makes a graph to be run here, of what is differentiated by a Function of ours or not at all."""
    return (torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting() and not torch.is_grad_enabled()
            and not torch._C._are_functorch_transforms_active())


def seen_by_a_mode() -> bool:
    """Whether each operation goes through one, as make_fx's; before the dispatch there is a stack of others."""
    return bool(torch._C._len_torch_dispatch_stack()
                or torch._C._dispatch_tls_is_dispatch_key_included(_PRE_DISPATCH))


def transformed() -> bool:
    """Whether tensors may stand for others, of a graph or a batch."""
    return graph_is_made() or torch._C._are_functorch_transforms_active() or seen_by_a_mode()


def recorded() -> bool:
    """Whether the arithmetic may be differentiated, mapped or traced, so that no tensor is changed in place."""
    return torch.is_grad_enabled() or torch.autograd.forward_ad._current_level >= 0 or transformed()


def spec_in(library: Library, array: torch.Tensor) -> Spec:
    """As `Library.spec`. What a compiler or a transformation sees does not last: a compiler guards what is kept."""
    if (type(array) in _PLAIN and array.dtype in _COMPUTED and array.layout is torch.strided and not array.is_nested
            and not graph_is_made() and not torch._C._are_functorch_transforms_active()):
        return Spec(torch.Tensor, library, array.dtype, array.shape, array.device, None, True)
    unfit = _unfit(array)
    shape = array.shape if unfit is None else ()  # a nested one has none
    return Spec(type(array), library, array.dtype, shape, array.device, unfit)


def _unfit(array: torch.Tensor) -> tuple[str, str] | None:
    """As `Spec.unfit`."""
    if type(array) not in _PLAIN:
        for base in type(array).__mro__:
            if base.__name__ in _UNFIT:
                return describe(array), _UNFIT[base.__name__]
    if array.is_nested:
        return "a nested tensor", _UNFIT["NestedTensor"]
    if array.layout is not torch.strided:
        return f"a tensor of {array.layout}", "a dense one: to_dense()"
    if array.dtype.itemsize == 1 and array.is_floating_point():
        return f"a tensor of {array.dtype}", "one of a type that PyTorch computes with: float()"
    return None


def traced(array: torch.Tensor) -> bool:
    """Whether a tensor has no numbers, or something is made of all that is done with them."""
    if graph_is_made():
        return True
    # A FakeTensor or DTensor has a type of its own; what vmap and grad have wrapped has not.
    return type(array) not in _PLAIN or torch._C._functorch.is_functorch_wrapped_tensor(array) or seen_by_a_mode()
