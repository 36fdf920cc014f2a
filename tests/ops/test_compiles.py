"""The kernels compile for real GPUs, down to machine code, on a machine that has none.

In a process of its own: this one interprets them. Whether they are right is for the other tests, and how fast, for
`benchmarks/kernels.py` on a GPU.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
import triton
from audiosae_steer.ops import triton_delta, triton_rank, triton_select

DTYPES = {"bf16": "*bf16", "fp16": "*fp16", "fp32": "*fp32"}
POINTERS = {"live_ptr": "*i1", "choice_ptr": "*i64", "index_ptr": "*i64", "rank_ptr": "*i32"}
WHOLE = {"frames", "d", "E", "S", "F", "k", "pre_row", "pre_column", "rows", "x_stride", "share"} | {
    f"{name}_{axis}" for name in ("x", "out") for axis in ("clip", "frame", "d")
}


def compiled(kernel, dtype, capability, **constants):
    def kind(name):
        if name in constants:
            return "constexpr"
        if name == "out_ptr" and "BLOCK_F" in constants:
            return "*i32" if "BLOCK_D" in constants else "*fp32"
        if name in ("x_ptr", "out_ptr") or name.endswith("enc_ptr") and "BLOCK_F" in constants:
            return DTYPES[dtype]
        if name.endswith("_ptr"):
            return POINTERS.get(name, "*fp32")
        return "i32" if name in WHOLE else "fp32"

    names = kernel.arg_names
    source = ASTSource(
        fn=kernel,
        signature={name: kind(name) for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
    )
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 8})


everything = dict(WINDOWS=True, TIMES=True, OFFSET=2, LIVE=2, CHOICE=True, STRENGTHS=True)
nothing = dict(WINDOWS=False, TIMES=False, OFFSET=0, LIVE=0, CHOICE=False, STRENGTHS=False)
cases = [(80, dtype, everything) for dtype in DTYPES] + [(90, dtype, nothing) for dtype in DTYPES]
for capability, dtype, where in [*cases, (90, "bf16", everything)]:
    full = where is everything
    made = [
        compiled(triton_delta._add_kernel, dtype, capability, **where, BLOCK_M=16, BLOCK_D=256),
        compiled(
            triton_delta._delta_kernel, dtype, capability, **where, SILENT=full, PUSHES=full, UNIT=full, RANKED=full,
            ONE_BLOCK=not full, PRECISION="tf32" if full else "ieee", WIDE=False, BLOCK_M=64, BLOCK_E=128, BLOCK_D=64,
        ),
    ]
    assert all(one.asm["cubin"] for one in made)
for capability, dtype, tile in ((80, "bf16", (16, 64)), (90, "fp16", (128, 128))):
    assert compiled(
        triton_rank._rank_kernel, dtype, capability, PRECISION="ieee", WIDE=False, BLOCK_M=tile[0], BLOCK_E=16,
        BLOCK_F=tile[1], BLOCK_D=64,
    ).asm["cubin"]
for capability in (80, 90):
    assert compiled(
        triton_select._select_kernel, "fp32", capability, BLOCK_F=8192, BLOCK_E=128, PLACES=14
    ).asm["cubin"]
print("compiled")
"""


def test_for_a100_and_h100(tmp_path) -> None:
    pytest.importorskip("triton", reason="the kernels need Triton")
    own = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    script = tmp_path / "compile_kernels.py"  # Triton reads its functions' sources from files
    script.write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], env={**own, "TRITON_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "compiled\n", done.stderr[-3000:]
