"""The kernels compiled for devices that are not here: no register is spilled, and the matrix units multiply.

For a Hopper in every block that is shipped, with the forms and types that ask for most registers; all forms and types
in one block. For other devices a sample of these.
"""

import importlib
import os
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.slow

DIMENSION = 512


class Compiled(NamedTuple):
    """What ptxas made of a kernel."""

    ptx: str
    stack: int
    spills: int
    """Stores of registers to memory."""
    registers: int
    memory: int
    """Of that near a processor, in bytes."""


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Not where it interprets: that is decided when it is imported."""
    module = pytest.importorskip("triton", reason="Triton is not installed: the extra `triton`, on Linux x86-64")
    if module.knobs.runtime.interpret:
        pytest.skip("TRITON_INTERPRET is set")
    tools = Path(module.__file__).parent / "backends/nvidia/bin"
    if missing := [name for name in ("ptxas", "cuobjdump") if not (tools / name).exists()]:
        pytest.skip(f"this Triton comes without {' and '.join(missing)}")
    os.environ.setdefault("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
    return module


def compiled(triton: Any, kernel: Any, arch: int, block: Any, types: dict[str, str], constants: dict[str, Any],
             tmp_path: Path) -> Compiled:
    """With addresses, and all numbers whose names say how far rows are apart, that are multiples of 16."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature, given, attributes = {}, {}, {}
    for place, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name], given[(place,)] = "constexpr", constants[name]
            continue
        signature[name] = types.get(name, "i32")
        if name.endswith(("_ptr", "stride")) or name == "samples":
            attributes[(place,)] = [["tt.divisibility", 16]]
    made = triton.compile(
        ASTSource(kernel, signature, given, attributes), target=GPUTarget("cuda", arch, 32),
        options={"num_warps": block.warps, "num_stages": block.stages, "enable_fp_fusion": True})
    (binary := tmp_path / "kernel.cubin").write_bytes(made.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"

    def told(option: str) -> str:
        return subprocess.run([tool, option, binary], capture_output=True, text=True, check=True).stdout

    registers, stack, local = map(int, re.findall(r"REG:(\d+) STACK:(\d+) .*\bLOCAL:(\d+)", told("-res-usage"))[0])
    spills = len(re.findall(r"\bSTL", told("-sass"))) if stack or local else 0  # there is nowhere else to spill to
    return Compiled(made.asm["ptx"], stack + local, spills, registers, made.metadata.shared)


ARCHS = {80: 163 << 10, 90: 227 << 10, 100: 227 << 10}
"""Bytes of memory near a processor that a block may have."""


def assert_fits(made: Compiled, arch: int) -> None:
    """On a Hopper, and after it, nothing is spilled. An older device may, a little."""
    assert made.memory <= ARCHS[arch]
    assert made.stack <= (0 if arch >= 90 else 64), f"{made.spills} spills"
    assert arch < 90 or made.spills == 0


def assert_multiplies(made: Compiled, arch: int, of: str) -> None:
    kind = "tf32" if of == "tf32" else "f16"
    instruction = {80: rf"mma\.sync\S*\.f32\.{of}\.{of}", 90: rf"wgmma\.mma_async\S*\.f32\.{of}\.{of}",
                   100: rf"tcgen05\.mma\S*\.kind::{kind}"}[arch]
    assert re.search(instruction, made.ptx), f"no {instruction}"


WEIGHTS = [("half", "bf16", "bf16", "bf16"), ("half", "bf16", "bf16", "fp32"), ("half", "bf16", "bf16", "fp16"),
           ("half", "fp32", "bf16", "fp32"), ("tf32", "fp32", "fp32", "fp32")]
"""The way, and the types of slopes, samples and prototypes: the last two are the widest."""


@pytest.mark.parametrize(("arch", "dimension", "way", "slopes", "samples", "prototypes"), [
    *((90, DIMENSION, *one) for one in WEIGHTS), *((80, DIMENSION, *one) for one in WEIGHTS[3:]),
    *((90, dimension, *one) for dimension in (128, 256) for one in WEIGHTS[3:])])
def test_products_past_their_directions(triton: Any, arch: int, dimension: int, way: str, slopes: str, samples: str,
                                        prototypes: str, tmp_path: Path) -> None:
    weights: Any = importlib.import_module("anglos.backends.torch.triton.weights")
    pullback: Any = importlib.import_module("anglos.backends.torch.triton.weights_pullback")
    precisions = importlib.import_module("anglos.backends.torch.triton.blocks").PRECISIONS
    block, width = pullback.block_of(way, dimension)
    types = {"terms_ptr": f"*{slopes}", "x_ptr": f"*{samples}", "w_ptr": f"*{prototypes}", "u_ptr": "*fp32",
             "after_ptr": "*fp32", "out_ptr": "*fp32"}
    constants = {"D": dimension, "CLASSES": block.classes, "WIDTH": width, "STRIP": min(pullback.STRIP, width),
                 "DEPTH": block.depth, "PRECISION": precisions[way],
                 "x_stride" if way == "tf32" else "x_column_stride": 1}
    made = compiled(triton, weights.weights_of_product, arch, block, types, constants, tmp_path)
    assert_fits(made, arch)
    assert_multiplies(made, arch, "tf32" if way == "tf32" else "bf16")


@pytest.mark.parametrize(("arch", "prototypes"), [(90, "fp32"), (90, "bf16"), (80, "bf16")])
def test_passes_over_the_prototypes(triton: Any, arch: int, prototypes: str, tmp_path: Path) -> None:
    """16 bytes a thread and load; and lengths of few digits are not taken for 0."""
    weights: Any = importlib.import_module("anglos.backends.torch.triton.weights")
    lengths: Any = importlib.import_module("anglos.backends.torch.triton.lengths")
    pullback: Any = importlib.import_module("anglos.backends.torch.triton.weights_pullback")
    blocks: Any = importlib.import_module("anglos.backends.torch.triton.blocks")
    number, strip = pullback.rows_of_pass(DIMENSION)
    block = blocks.Block(1, number, strip, 4, 3)
    types = {"v_ptr": "*fp32", "w_ptr": f"*{prototypes}", "u_ptr": "*fp32", "after_ptr": "*fp32",
             "out_ptr": "*fp32"}
    constants = {"D": DIMENSION, "CLASSES": number, "STRIP": strip}
    across = compiled(triton, weights.projected_in_place, arch, block, types, constants, tmp_path)
    types, constants = {"w_ptr": f"*{prototypes}", "out_ptr": "*fp32", "least": "fp32"}, {
        "D": DIMENSION, "ROWS": number, "STRIP": strip}
    length, unit = (compiled(triton, lengths.inverse_lengths, arch, block, types | more, constants | less, tmp_path)
                    for more, less in (({}, {"unit_ptr": None}), ({"unit_ptr": "*fp32"}, {})))
    for made in (across, length, unit):
        assert made.stack == made.spills == 0
        assert "ld.global.v4.b32" in made.ptx
        assert ".ftz" not in made.ptx
        assert made.registers <= 64  # so that there are enough threads to wait for the memory


def test_passes_over_rows_and_numbers_of_the_batch(triton: Any, tmp_path: Path) -> None:
    """Nothing is spilled."""
    blocks, labels, lengths, pullback, turned = (
        importlib.import_module(f"anglos.backends.torch.triton.{name}")
        for name in ("blocks", "labels", "lengths", "weights_pullback", "turned"))
    number, strip = pullback.rows_of_pass(DIMENSION)
    of_rows, numbers = {"D": DIMENSION, "ROWS": number, "STRIP": strip}, dict.fromkeys(
        ("cos_shift", "sin_shift", "least_sin", "start", "constant", "by_cos", "by_turned"), "fp32")
    floats = dict.fromkeys(("inverse_ptr", "x_ptr", "out_ptr", "out_inverse_ptr", "cos_ptr", "value_ptr", "slope_ptr"),
                           "*fp32")
    for kernel, types, constants in (
            (lengths.scaled_rows, {"x_ptr": "*bf16", "out_ptr": "*bf16"}, of_rows),
            (labels.directions_of_labels, {"w_ptr": "*bf16", "labels_ptr": "*i64"}, of_rows | {"IS_UNIT": False}),
            (labels.directions_of_labels, {"w_ptr": "*fp32", "labels_ptr": "*i64"}, of_rows | {"IS_UNIT": True}),
            (turned.turned_cosine, numbers, {"AT_START": False, "BLOCK": 256})):
        types = {name: kind for name, kind in (floats | types).items() if name in kernel.arg_names}
        made = compiled(triton, kernel, 90, blocks.Block(1, number, strip, 4, 3), types, constants, tmp_path)
        assert made.stack == made.spills == 0


CLASSES = ("class_shift_ptr", "class_factor_ptr", "class_top_ptr", "class_total_ptr")
NONE = {"scale_ptr": None, "b_ptr": None, "a_ptr": None, "u_ptr": None, "shift_ptr": None, "top_ptr": None,
        "total_ptr": None, "out_ptr": None, "factor_ptr": None, "numbers_ptr": None, "p_ptr": None, "q_ptr": None,
        **dict.fromkeys(CLASSES)}
MAPS = ("power", "above a threshold")
FORMS: dict[str, tuple[str, ...]] = {
    "sums": ("u_ptr", "a_ptr", "shift_ptr", "total_ptr"), "running": ("u_ptr", "a_ptr", "top_ptr", "total_ptr"),
    "kept": ("u_ptr", "a_ptr", "shift_ptr", "total_ptr", "out_ptr"),
    "shares": ("u_ptr", "a_ptr", "shift_ptr", "out_ptr"),
    "with a bias": ("scale_ptr", "b_ptr", "numbers_ptr", "shift_ptr", "total_ptr", "out_ptr"),
    "softplus": ("u_ptr", "a_ptr", "total_ptr", "out_ptr"),
    "softplus, slopes": ("u_ptr", "a_ptr", "scale_ptr", "b_ptr", "factor_ptr", "out_ptr"),
    "half square": ("u_ptr", "a_ptr", "total_ptr", "out_ptr"),
    "half square, slopes": ("u_ptr", "a_ptr", "factor_ptr", "out_ptr"),
    "softplus, power": ("u_ptr", "a_ptr", "total_ptr", "out_ptr"),
    "softplus, power, slopes": ("u_ptr", "a_ptr", "factor_ptr", "out_ptr"),
    "both ways": ("u_ptr", "a_ptr", "scale_ptr", "shift_ptr", "total_ptr", "class_shift_ptr", "class_total_ptr"),
    "both ways, running": ("u_ptr", "a_ptr", "scale_ptr", "top_ptr", "total_ptr", "class_top_ptr", "class_total_ptr"),
    "both ways, shares": ("u_ptr", "a_ptr", "scale_ptr", "shift_ptr", "factor_ptr", "class_shift_ptr",
                          "class_factor_ptr", "out_ptr"),
    "running, above a threshold": ("u_ptr", "a_ptr", "p_ptr", "q_ptr", "top_ptr", "total_ptr"),
    "kept, above a threshold": ("u_ptr", "a_ptr", "p_ptr", "q_ptr", "shift_ptr", "total_ptr", "out_ptr"),
    "shares, above a threshold": ("u_ptr", "a_ptr", "p_ptr", "q_ptr", "shift_ptr", "out_ptr")}
"""The arrays that a launch has, of those that it may have; of exponentials where no other term is named."""


def of_form(form: str, dtype: str, out: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The types of what is there, and what is not."""
    term = form.partition(",")[0]
    of = term if term in ("softplus", "half square", "both ways") else "exponential"
    types = dict.fromkeys(FORMS[form], "*fp32") | {"w_ptr": f"*{dtype}", "x_ptr": f"*{dtype}",
                                                   "products_ptr": "*fp32", "labels_ptr": "*i64"}
    if "numbers_ptr" in FORMS[form]:
        types["numbers_ptr"] = "*i64"
    if "out_ptr" in FORMS[form]:
        types["out_ptr"] = f"*{out}"
    missing: dict[str, Any] = {name: value for name, value in NONE.items() if name not in types}
    missing |= {"CLIP": "total_ptr" not in FORMS[form], "OF": of,
                "MAP": next((of for of in MAPS if of in form), None)}
    return types | dict.fromkeys(("scale", "b", "p", "q", "most"), "fp32"), missing


WAYS = {"half": ("bf16", "bf16"), "tf32": ("fp32", "fp32"), "tf32x3": ("fp32", "fp32")}
"""With the types of what is multiplied, and of what is stored."""

LARGEST = ("running", "kept", "with a bias", "softplus", "softplus, slopes", "both ways, running", "both ways, shares",
           "kept, above a threshold", "softplus, power")
"""Of the forms that share a block those with most in registers at a time."""

OF_TERMS = [
    *((90, DIMENSION, 1024, "half", *WAYS["half"], form) for form in FORMS),
    (90, DIMENSION, 1024, "half", "fp16", "bf16", "kept"),
    *((90, DIMENSION, samples, way, *types, form) for samples in (64, 1024) for way, types in WAYS.items()
      for form in LARGEST if (samples, way) != (1024, "half")),
    *((80, DIMENSION, samples, way, *types, "kept") for samples in (64, 1024) for way, types in WAYS.items()),
    *((100, DIMENSION, 1024, way, *types, "kept") for way, types in WAYS.items()),
    *((100, DIMENSION, 1024, way, *WAYS[way], form) for way in ("half", "tf32")
      for form in ("kept, above a threshold", "both ways, running", "both ways, shares")),
    *((90, 100, 1024, way, *WAYS[way], form) for way in ("half", "tf32") for form in ("kept", "shares"))]
"""The last, of which a block has columns beyond a row, still read 8 bytes at a time: by `arguments.aligned`."""


@pytest.mark.parametrize(("arch", "dimension", "samples", "way", "dtype", "out", "form"), OF_TERMS)
def test_products_with_their_terms(triton: Any, arch: int, dimension: int, samples: int, way: str, dtype: str, out: str,
                                   form: str, tmp_path: Path) -> None:
    blocks: Any = importlib.import_module("anglos.backends.torch.triton.blocks")
    terms: Any = importlib.import_module("anglos.backends.torch.triton.terms")
    types, constants = of_form(form, dtype, out)
    of = form.partition(",")[0] if constants["MAP"] is None else "mapped"
    block = blocks.of_terms((arch // 10, 0), way, dimension, samples, of)
    constants |= {"D": dimension, "SAMPLES": block.samples, "CLASSES": block.classes, "DEPTH": block.depth,
                  "PRECISION": blocks.PRECISIONS[way]}
    made = compiled(triton, terms.terms_of_product, arch, block, types, constants, tmp_path)
    assert_fits(made, arch)
    assert_multiplies(made, arch, {"bf16": "bf16", "fp16": "f16", "fp32": "tf32"}[dtype])
    read = {int(count, 0) for count in re.findall(r"cp\.async\.c[ag]\S* \[.*?\], \[.*?\], (\w+)", made.ptx)}
    assert read in ({8}, {16})


@pytest.mark.parametrize(("arch", "form"), [*((90, form) for form in FORMS), (80, "kept")])
def test_terms_of_products_that_are_there(triton: Any, arch: int, form: str, tmp_path: Path) -> None:
    blocks: Any = importlib.import_module("anglos.backends.torch.triton.blocks")
    in_place: Any = importlib.import_module("anglos.backends.torch.triton.in_place")
    types, constants = of_form(form, "fp32", "fp32")
    block = blocks.IN_PLACE if constants["MAP"] is None else blocks.IN_PLACE_MAPPED
    constants |= {"SAMPLES": block.samples, "CLASSES": block.classes}
    made = compiled(triton, in_place.terms_in_place, arch, block, types, constants, tmp_path)
    assert made.stack == made.spills == 0


@pytest.mark.parametrize(("arch", "dtype"), [(90, "fp32"), (90, "bf16"), (80, "bf16")])
def test_what_short_rows_add(triton: Any, arch: int, dtype: str, tmp_path: Path) -> None:
    blocks: Any = importlib.import_module("anglos.backends.torch.triton.blocks")
    short_rows: Any = importlib.import_module("anglos.backends.torch.triton.short_rows")
    types = {"out_ptr": "*fp32", "terms_ptr": f"*{dtype}", "w_ptr": f"*{dtype}", "factor_ptr": "*fp32",
             "largest_ptr": "*fp32"}
    constants = {"D": DIMENSION, "SAMPLES": 64, "WIDTH": 64, "CLASSES": 1024}
    block = blocks.Block(64, 1024, 64, 4, 3)
    made = compiled(triton, short_rows.add_short_rows, arch, block, types, constants, tmp_path)
    assert made.stack == made.spills == 0


@pytest.mark.parametrize(("arch", "dimension"), [*((arch, DIMENSION) for arch in ARCHS), (90, 100), (90, 8192)])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_passes_over_partners(triton: Any, arch: int, dimension: int, dtype: str, tmp_path: Path) -> None:
    """What is asked of their logits, and the way back from rows and from others: nothing is spilled."""
    blocks, partners = (importlib.import_module(f"anglos.backends.torch.triton.{name}")
                        for name in ("blocks", "partners"))
    width, count, warps = partners.block_of(dimension)
    sizes = {"HAS_OWN": True, "D": dimension, "ROWS": count, "WIDTH": width}
    places = dict.fromkeys(("order_ptr", "first_ptr", "number_ptr"), "*i64")
    for kernel, *missing in (("sums", "above_ptr"), ("sums",), ("pull", "weight_ptr", "less_ptr"), ("pull",)):
        of, form = getattr(partners, f"{kernel}_of_partners"), dict.fromkeys(missing)
        types = {name: "*fp32" for name in of.arg_names if name.endswith("_ptr")} | places | {
            "x_ptr": f"*{dtype}", "v_ptr": f"*{dtype}", "scale": "fp32"}
        constants = sizes | form | ({"OF": "softplus"} if kernel == "pull" else {})
        made = compiled(triton, of, arch, blocks.Block(1, count, width, warps, 3), types, constants, tmp_path)
        assert made.stack == made.spills == 0
        assert ".v4.b32" in made.ptx or dimension % 8
