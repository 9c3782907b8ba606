"""CuPy where there is no GPU: NumPy's arrays under CuPy's rules, and kernels in their own CUDA C, compiled as C++.

As CuPy's, an array becomes neither NumPy's nor a number unless it is asked to, and then it is noted that the GPU would
have been waited for. What only CUDA does, streams and memory and the order of threads, is not here.
"""

import ctypes
import functools
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from types import ModuleType, SimpleNamespace
from typing import Any

import array_api_compat
import numpy as np
import pytest

WAITS: list[str] = []
"""What would have waited for the GPU."""

_C_TYPES = {"float16": "float16", "float32": "float", "float64": "double", "int64": "long long"}
_READ = frozenset(("nonzero", "argwhere", "unique", "flatnonzero", "asnumpy", "array_equal", "allclose"))
_MADE_OF_ANYTHING = frozenset(("array", "asarray", "ascontiguousarray"))

_PRELUDE = """
#include <cmath>
#include <utility>
using namespace std;
#define __global__
struct float16 {
    unsigned short bits;
    operator float() const {
        const int power = bits >> 10 & 31, part = bits & 1023;
        const float finite = power ? ldexp(1024 + part, power - 25) : ldexp(part, -24);
        const float size = power < 31 ? finite : part ? NAN : INFINITY;
        return bits >> 15 ? -size : size;
    }
};
static struct Place { unsigned x, y, z; } blockIdx, blockDim, threadIdx, gridDim;
"""

_LAUNCH = """
template <class... P, size_t... I>
void call(void (*kernel)(P...), void** arguments, index_sequence<I...>) { kernel(*(P*)arguments[I]...); }
template <class... P>
void thread(void (*kernel)(P...), void** arguments) { call(kernel, arguments, index_sequence_for<P...>()); }
extern "C" void launch(unsigned width, unsigned height, unsigned threads, void** arguments) {
    gridDim = {width, height, 1}; blockDim = {threads, 1, 1};
    for (blockIdx.y = 0; blockIdx.y < height; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < width; ++blockIdx.x)
            for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) thread(NAME, arguments);
}
"""


def host(value: Any) -> Any:
    """What NumPy computes with; as CuPy, none of its arrays."""
    if isinstance(value, ndarray):
        return value.host
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, (tuple, list)):
        return type(value)(map(host, value))
    return value


def device(value: Any) -> Any:
    """Arrays, and NumPy's numbers, as arrays."""
    if isinstance(value, (np.ndarray, np.generic)):
        return ndarray(np.asarray(value))
    return type(value)(map(device, value)) if type(value) in (tuple, list) else value


def read(array: "ndarray", what: str) -> np.ndarray:
    WAITS.append(what)
    return array.host


class Function:
    """A function of NumPy's, of such arrays."""

    def __init__(self, name: str, function: Any) -> None:
        self.name, self.function = name, function

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        name, out = self.name, options.get("out")
        if name in _READ:
            WAITS.append(name)
        if name in _MADE_OF_ANYTHING and isinstance(arguments[0], np.ndarray):
            arguments = ndarray(arguments[0].copy()), *arguments[1:]
        if name == "take":
            options["mode"] = "wrap"  # CuPy asks nobody whether a place is there
        made = self.function(*map(host, arguments), **{key: host(value) for key, value in options.items()})
        return made if name == "asnumpy" else device(made) if out is None else out

    def at(self, array: "ndarray", places: Any, values: Any) -> None:
        self.function.at(array.host, host(places), host(values))


class ndarray:
    """As `cupy.ndarray`."""

    __array_ufunc__ = None
    device = SimpleNamespace(id=0)

    def __init__(self, array: np.ndarray) -> None:
        self.host = array

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # and not NumPy's protocols
            raise AttributeError(name)
        found = getattr(object.__getattribute__(self, "host"), name)
        return Function(name, found) if callable(found) else device(found)

    @property
    def dtype(self) -> Any:
        return self.host.dtype

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.host.ctypes.data)

    def get(self) -> np.ndarray:
        return read(self, "get").copy()

    def item(self) -> Any:
        return read(self, "item").item()

    def __len__(self) -> int:
        return len(self.host)

    def __iter__(self) -> Iterator[Any]:
        return map(device, self.host)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, ndarray) and place.dtype.kind == "b":
            WAITS.append("a mask")
        return device(self.host[host(place)])

    def __setitem__(self, place: Any, value: Any) -> None:
        self.host[host(place)] = host(value)

    def __bool__(self) -> bool:
        return bool(read(self, "bool"))

    def __float__(self) -> float:
        return float(read(self, "float"))

    def __int__(self) -> int:
        return int(read(self, "int"))

    def __index__(self) -> int:
        return int(read(self, "index"))


def _operator(name: str) -> Callable[..., Any]:
    def operator(self: ndarray, *other: Any) -> Any:
        made = getattr(self.host, name)(*map(host, other))
        return self if made is self.host else made if made is NotImplemented else device(made)

    return operator


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
    for _kind in ("", "r", "i"):
        setattr(ndarray, f"__{_kind}{_name}__", _operator(f"__{_kind}{_name}__"))
for _name in ("lt", "le", "eq", "ne", "gt", "ge", "neg", "pos", "abs", "invert"):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
ndarray.__hash__ = object.__hash__  # type: ignore[method-assign]
ndarray.__module__ = "cupy"


@functools.cache
def _folder() -> Path:
    return Path(mkdtemp(prefix="anglos-host-cupy-"))


@functools.cache
def built(source: str) -> ctypes.CDLL:
    """The library that the machine's own compiler makes of it."""
    place = _folder() / hashlib.sha1(source.encode()).hexdigest()
    place.with_suffix(".cpp").write_text(_PRELUDE + source)
    # As CUDA's own arithmetic, and unlike g++'s for this machine, no product is rounded less than others here.
    done = subprocess.run(["g++", "-std=c++17", "-O1", "-shared", "-fPIC", "-ffp-contract=off", "-o",
                           f"{place}.so", f"{place}.cpp"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(f"{place}.so")


def _parameters(text: str) -> list[tuple[bool, str, str]]:
    """Whether it is raw, its type and its name."""
    words = [parameter.split() for parameter in text.split(", ")]
    return [(word[0] == "raw", word[-2], word[-1]) for word in words]


def _typed(parameters: list[tuple[bool, str, str]], arguments: tuple[Any, ...]) -> dict[str, str]:
    """What type letters stand for, as CuPy finds it: by arrays, which must agree with each other and the parameters."""
    types = {name: name for name in _C_TYPES}
    for (_, kind, name), argument in zip(parameters, arguments, strict=True):
        if isinstance(argument, ndarray):
            found = types.setdefault(kind, str(argument.dtype))
            if found != argument.dtype:
                raise TypeError(f"Type is mismatched. {name} {argument.dtype} {found}")
        elif isinstance(argument, np.ndarray):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return types


class ElementwiseKernel:
    def __init__(self, inputs: str, outputs: str, operation: str, name: str) -> None:
        self.inputs, self.outputs, self.operation = _parameters(inputs), _parameters(outputs), operation

    def __call__(self, *arguments: Any, size: int | None = None) -> ndarray:
        """The last argument is the output."""
        parameters, out = [*self.inputs, *self.outputs], arguments[-1]
        types, shape = _typed(parameters, arguments), out.shape if size is None else (size,)
        given = []
        for (raw, kind, _), argument in zip(parameters, arguments, strict=True):
            array = np.asarray(host(argument), types[kind])
            assert not raw or array.flags.c_contiguous
            given.append(array if raw else np.ascontiguousarray(np.broadcast_to(array, shape)))
        names = "".join(f"T{place}* {name}_, " for place, (_, _, name) in enumerate(parameters))
        elements = "".join(f"T{place}* {name} = {name}_;" if raw else f"T{place}& {name} = {name}_[i];"
                           for place, (raw, _, name) in enumerate(parameters))
        typedefs = "".join(f"typedef {_C_TYPES[types[kind]]} T{place};\n"
                           for place, (_, kind, _) in enumerate(parameters))
        typedefs += "".join(f"typedef {_C_TYPES[types[kind]]} {kind};\n" for kind in {"T", "U"} & types.keys())
        source = f"""{typedefs}extern "C" void run({names}long long count) {{
            for (long long i = 0; i < count; ++i) {{ {elements} {self.operation}; }} }}"""
        built(source).run(*(ctypes.c_void_p(array.ctypes.data) for array in given),
                          ctypes.c_longlong(int(np.prod(shape))))
        result: ndarray = out
        if given[-1] is not result.host:
            result.host[...] = given[-1].reshape(result.shape)
        return result


class RawKernel:
    def __init__(self, code: str, name: str, options: tuple[str, ...] = ()) -> None:
        self.source = code + _LAUNCH.replace("NAME", name)

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        """As `cuLaunchKernel` is given them: the addresses of numbers, and of pointers."""
        held = [np.asarray(argument.host.ctypes.data if isinstance(argument, ndarray) else argument)
                for argument in arguments]
        addresses = (ctypes.c_void_p * len(held))(*(each.ctypes.data for each in held))
        width, height = (*grid, 1)[:2]
        built(self.source).launch(max(width, 1), max(height, 1), max(block[0], 1), addresses)


class ReductionKernel:
    def __init__(self, inputs: str, output: str, each: str, both: str, last: str, identity: str, name: str,
                 reduce_type: str) -> None:
        self.inputs, self.outputs = _parameters(inputs), _parameters(output)
        self.each, self.both, self.last, self.identity, self.kind = each, both, last, identity, reduce_type

    def __call__(self, *arrays: ndarray, axis: int, keepdims: bool = False) -> ndarray:
        """Along the last axis."""
        assert axis == -1
        types, (_, made, name) = _typed(self.inputs, arrays), self.outputs[0]
        given = [np.ascontiguousarray(array) for array in np.broadcast_arrays(*(array.host for array in arrays))]
        out = np.empty(given[0].shape[:-1], types[made])
        typedefs = "".join(f"typedef {_C_TYPES[types[kind]]} {kind};\n" for kind in {"T", "U"} & types.keys())
        names = "".join(f"{_C_TYPES[types[kind]]}* {x}_, " for _, kind, x in self.inputs)
        elements = "".join(f"{_C_TYPES[types[kind]]}& {x} = {x}_[row * columns + i];" for _, kind, x in self.inputs)
        source = f"""{typedefs}
        extern "C" void run({names}{_C_TYPES[types[made]]}* {name}_, long long rows, long long columns) {{
            for (long long row = 0; row < rows; ++row) {{
                {self.kind} a = {self.identity};
                for (long long i = 0; i < columns; ++i) {{
                    {elements} {self.kind} b = ({self.each}); a = ({self.both});
                }}
                {_C_TYPES[types[made]]}& {name} = {name}_[row]; ({self.last});
            }} }}"""
        built(source).run(*(ctypes.c_void_p(each.ctypes.data) for each in (*given, out)),
                          ctypes.c_longlong(out.size), ctypes.c_longlong(given[0].shape[-1]))
        return ndarray(out[..., None] if keepdims else out)


def in_a_tree(x: np.ndarray, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """Σ as CuPy's, in which no number meets thousands one by one; NumPy has that along what is contiguous."""
    if not isinstance(axis, int):
        return np.sum(x, axis, dtype, keepdims=keepdims)
    sums = np.sum(np.ascontiguousarray(np.moveaxis(x, axis, -1)), axis=-1, dtype=dtype)
    return np.expand_dims(sums, axis) if keepdims else sums


COMPUTE = {"CUBLAS_COMPUTE_32F": 68, "CUBLAS_COMPUTE_32F_FAST_TF32": 77}
CUDA_R = {"CUDA_R_32F": (0, "float32"), "CUDA_R_16F": (2, "float16"), "CUDA_R_64F": (1, "float64")}


def gemm_ex(handle: int, trans_a: int, trans_b: int, m: int, n: int, k: int,
            alpha: int, a: int, a_type: int, lda: int, b: int, b_type: int, ldb: int,
            beta: int, c: int, c_type: int, ldc: int, compute: int, algorithm: int) -> None:
    """As `cublasGemmEx`: C = α op(A) op(B) + β C of matrices in columns, the sums in float32; TF32 cuts digits off."""
    assert compute in COMPUTE.values()
    types, kept = dict(CUDA_R.values()), -1 << 13 if compute == COMPUTE["CUBLAS_COMPUTE_32F_FAST_TF32"] else -1

    def columns(address: int, kind: int, rows: int, count: int, leading: int) -> np.ndarray:
        assert leading >= rows
        dtype = np.dtype(types[kind])
        size = (leading * (count - 1) + rows) * dtype.itemsize
        buffer: Any = (ctypes.c_char * size).from_address(address)
        memory: np.ndarray = np.frombuffer(buffer, dtype)
        return np.lib.stride_tricks.as_strided(memory, (rows, count), (memory.itemsize, leading * memory.itemsize))

    one, nothing = (ctypes.c_float.from_address(address).value for address in (alpha, beta))
    assert (one, nothing) == (1.0, 0.0)
    left = columns(a, a_type, k, m, lda).T if trans_a else columns(a, a_type, m, k, lda)
    right = columns(b, b_type, n, k, ldb).T if trans_b else columns(b, b_type, k, n, ldb)
    left, right = ((np.ascontiguousarray(one, np.float32).view(np.int32) & kept).view(np.float32)
                   for one in (left, right))
    columns(c, c_type, m, n, ldc)[...] = left @ right


@contextmanager
def _device(_: Any = None) -> Iterator[None]:
    yield


def _module(name: str, numpy: Any) -> ModuleType:
    """Of what NumPy has by the same name."""
    module, real = ModuleType(name), import_module(name)
    for each in dir(real):
        known = getattr(numpy, each, None)
        if each.startswith("_") or known is None:
            continue
        is_function = callable(known) and not isinstance(known, type)
        setattr(module, each, Function(each, known) if is_function else known)
    return module


def _stand_ins() -> dict[str, ModuleType]:
    """The modules that stand in for CuPy's."""
    made = {name: _module(name, numpy) for name, numpy in (
        ("cupy", np), ("cupy.linalg", np.linalg), ("cupy.fft", np.fft))}
    made |= {name: ModuleType(name) for name in ("cupy.cuda", "cupy.cuda.device")}
    cupy: Any = made["cupy"]
    cupy.linalg, cupy.fft, cupy.cuda, cupy.ndarray = made["cupy.linalg"], made["cupy.fft"], made["cupy.cuda"], ndarray
    cupy.asnumpy, cupy.sum = Function("asnumpy", np.array), Function("sum", in_a_tree)
    cupy.ElementwiseKernel, cupy.ReductionKernel, cupy.RawKernel = ElementwiseKernel, ReductionKernel, RawKernel
    cupy.cuda.Device = made["cupy.cuda.device"].__dict__["Device"] = _device
    cupy.cuda.get_cublas_handle, cupy.cuda.is_available = (lambda: 1), (lambda: True)
    cupy.cuda.cublas = SimpleNamespace(gemmEx=gemm_ex, **COMPUTE, CUBLAS_OP_N=0, CUBLAS_OP_T=1, CUBLAS_GEMM_DEFAULT=-1)
    cupy.cuda.runtime = SimpleNamespace(**{name: number for name, (number, _) in CUDA_R.items()})
    return made


_MODULES = "cupy", "cupyx", "array_api_compat.cupy", "anglos.backends.cupy"
_kept: dict[str, ModuleType] = {}


def _taken_out() -> dict[str, ModuleType]:
    """CuPy's modules and those made of them, out of what is imported."""
    names = [name for name in sys.modules if name in _MODULES or name.startswith(tuple(f"{one}." for one in _MODULES))]
    for owner in (array_api_compat, import_module("anglos.backends")):
        owner.__dict__.pop("cupy", None)
    return {name: sys.modules.pop(name) for name in names}


def _put_back(modules: dict[str, ModuleType]) -> None:
    sys.modules.update(modules)
    for name in _MODULES:
        if "." in name and name in modules:
            owner, _, attribute = name.rpartition(".")
            setattr(sys.modules[owner], attribute, modules[name])


@contextmanager
def in_place_of_cupy() -> Iterator[Any]:
    """`import cupy` gives what is here, also to anglos's backend, of which there is another one then."""
    if shutil.which("g++") is None:
        pytest.skip("there is no g++ to compile CuPy's kernels for this machine")
    stand_ins = _kept or _stand_ins()
    before = _taken_out()
    _put_back(stand_ins)
    try:
        yield stand_ins["cupy"]
    finally:
        _kept.update(_taken_out())  # dispatch remembers the backend of a type of arrays
        _put_back(before)


def rehearse(config: pytest.Config) -> None:
    """For all tests of a run, if it can be: those of the suite that want CuPy take what is here."""
    if find_spec("cupy") is not None and shutil.which("g++") is not None:
        stack = ExitStack()
        stack.enter_context(in_place_of_cupy())
        config.add_cleanup(stack.close)
