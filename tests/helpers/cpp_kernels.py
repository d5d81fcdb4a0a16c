"""`fused_adam.cu` compiled as C++: blocks one after the other, their threads at the same time."""

import ctypes
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch

from dualhmr.adaptation.fast_head.cuda_arithmetic import (
    CudaArithmetic,
    Kernel,
    KernelVariant,
    Launch,
    kernel_source,
)

THREADS = 3
"""A block's; fewer than on a GPU, which must not matter. One is the same without threads."""

SHIM = """
#include <barrier>
#include <cmath>
#include <thread>
#include <vector>

using std::sqrt;
struct Three { unsigned x, y, z; };
static thread_local Three threadIdx;
static Three blockIdx, blockDim;
static std::barrier<>* together;
#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(threads)
#define __shared__ static
#define __syncthreads() together->arrive_and_wait()
"""

RUN = """
extern "C" void run(
    Index x, Index y, Index z, unsigned threads, REAL* matrix, REAL* first, REAL* second,
    REAL* left, REAL* right, REAL* rate, REAL* epsilon, Index rows, Index columns,
    Index left_pitch, Index right_pitch, double beta1, double beta2) {
    std::barrier<> barrier(threads);
    together = &barrier;
    blockDim = {threads, 1, 1};
    std::vector<std::thread> workers;
    for (Index block = 0; block < x * y * z; ++block) {
        blockIdx = {unsigned(block % x), unsigned(block / x % y), unsigned(block / x / y)};
        workers.clear();
        for (unsigned thread = 0; thread < threads; ++thread) workers.emplace_back([=] {
            threadIdx = {thread, 0, 0};
            fused_adam(matrix, first, second, left, right, rate, epsilon,
                       rows, columns, left_pitch, right_pitch, beta1, beta2);
        });
        for (auto& worker : workers) worker.join();
    }
}
"""


def cpp_arithmetic(*, threads: int = 1) -> CudaArithmetic:
    """As on a GPU, but for the compiler."""
    return CudaArithmetic(lambda variant: cpp_kernel(variant, threads=threads))


@cache
def cpp_kernel(variant: KernelVariant, *, threads: int = THREADS) -> Kernel:
    if shutil.which("g++") is None:
        pytest.skip("no g++ to compile the kernel with")
    run = ctypes.CDLL(str(_library(variant))).run
    types = [*[ctypes.c_longlong] * 3, ctypes.c_uint, *[ctypes.c_void_p] * 7]
    run.argtypes = [*types, *[ctypes.c_longlong] * 4, *[ctypes.c_double] * 2]

    def launched(launch: Launch, device: torch.device) -> None:
        assert device.type == "cpu"
        run(*launch.grid, threads, *launch.arguments)

    return launched


@cache
def _library(variant: KernelVariant) -> Path:
    folder = Path(mkdtemp(prefix="dualhmr-kernel-"))
    source, library = folder / "kernel.cpp", folder / "kernel.so"
    source.write_text(SHIM + kernel_source() + RUN)
    command = ["g++", "-std=c++20", "-O2", "-shared", "-fPIC", "-pthread"]
    flags = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
    files = [str(source), "-o", str(library)]
    subprocess.run([*command, *flags, *variant.options, *files], check=True)
    return library
