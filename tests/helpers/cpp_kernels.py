"""CUDA kernels compiled as C++: blocks one after the other, their threads at the same time."""

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch

from dualhmr.adaptation.fast_head.cuda_kernels import Kernel, KernelVariant, Launch

THREADS = 3
"""A block's; fewer than on a GPU, which must not matter. One is the same without threads."""

SHIM = """
// Not <cmath>, which takes as long to compile as a kernel.
static inline float root(float x) { return __builtin_sqrtf(x); }
static inline double root(double x) { return __builtin_sqrt(x); }
static inline float power_of_e(float x) { return __builtin_expf(x); }
static inline double power_of_e(double x) { return __builtin_exp(x); }
#define sqrt root
#define exp power_of_e
static Three blockIdx, blockDim;
#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(threads)
#define __shared__ static
"""
ALONE = """
struct Three { unsigned x, y, z; };
static Three threadIdx;
#define __syncthreads()
"""
TOGETHER = """
#include <barrier>
#include <thread>
#include <vector>
struct Three { unsigned x, y, z; };
static thread_local Three threadIdx;
static std::barrier<>* together;
#define __syncthreads() together->arrive_and_wait()
"""
RUN_ALONE = """
struct Three { unsigned x, y, z; };
        threadIdx = {0, 0, 0};
        NAME(ARGUMENTS);
"""
RUN_TOGETHER = """
        std::barrier<> barrier(threads);
        together = &barrier;
        std::vector<std::thread> workers;
        for (unsigned thread = 0; thread < threads; ++thread) workers.emplace_back([=] {
            threadIdx = {thread, 0, 0};
            NAME(ARGUMENTS);
        });
        for (auto& worker : workers) worker.join();
"""
RUN = """
extern "C" void run(Index x, Index y, Index z, unsigned threads, PARAMETERS) {
    blockDim = {threads, 1, 1};
    for (Index block = 0; block < x * y * z; ++block) {
        blockIdx = {unsigned(block % x), unsigned(block / x % y), unsigned(block / x / y)};
        ONE_BLOCK
    }
}
"""
Run = Callable[[Sequence[int], Sequence[Any]], None]
"""A kernel by its grid and arguments."""


@cache
def cpp_function(source: str, name: str, options: tuple[str, ...], *, threads: int = 1) -> Run:
    """The kernel `name` of `source`, with the compiler's `options`."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ to compile the kernel with")
    found = re.search(rf"\b{name}\(([^)]*)\) {{", source)
    assert found is not None, name
    parameters = [part.strip() for part in found[1].split(",")]
    names = ", ".join(re.split(r"[ *]", part)[-1] for part in parameters)
    block = (RUN_ALONE if threads == 1 else RUN_TOGETHER).replace("ARGUMENTS", names)
    run = RUN.replace("PARAMETERS", found[1]).replace("ONE_BLOCK", block).replace("NAME", name)
    folder = Path(mkdtemp(prefix="dualhmr-kernel-"))
    code, library = folder / "kernel.cpp", folder / "kernel.so"
    code.write_text((ALONE if threads == 1 else TOGETHER) + SHIM + source + run)
    command = ["g++", "-std=c++20", "-O1", "-shared", "-fPIC", "-pthread"]
    flags = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function"]
    defines = [option for option in options if option.startswith("-D")]
    subprocess.run([*command, *flags, *defines, str(code), "-o", str(library)], check=True)
    function = ctypes.CDLL(str(library)).run
    kinds = {"*": ctypes.c_void_p, "Index": ctypes.c_longlong, "double": ctypes.c_double}
    types = [next(kinds[k] for k in kinds if k in part) for part in parameters]
    function.argtypes = [*[ctypes.c_longlong] * 3, ctypes.c_uint, *types]

    def launched(grid: Sequence[int], arguments: Sequence[Any]) -> None:
        function(*grid, threads, *arguments)

    return launched


def cpp_kernel(variant: KernelVariant, *, threads: int = 1) -> Kernel:
    """As `cupy_kernels` compiles, but in C++ and on the CPU."""
    run = cpp_function(variant.source, variant.name, variant.options, threads=threads)

    def launched(launch: Launch, device: torch.device) -> None:
        assert device.type == "cpu"
        run(launch.grid, launch.arguments)

    return launched
