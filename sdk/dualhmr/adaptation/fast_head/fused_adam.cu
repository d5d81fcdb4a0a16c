// Adam on matrices (N, R, C) whose gradient is a sum of TERMS outer products, in one pass over
// memory: the gradient is computed where it is used and never stored.
//
// A block does ROWS rows of THREADS * WIDTH columns of one person. What all of its threads need, the
// left vectors of its rows, is staged in shared memory; the right vectors of a thread's own columns
// stay in its registers from row to row. Every loop over threads strides by blockDim.x, so that the
// result does not depend on how many there are: one is how a C++ compiler runs this, see the tests.
//
// REAL is float or double. WIDTH numbers are moved at a time, and C, the pitches and the addresses
// must be divisible accordingly. Indices are 64 bits wide: many persons' matrices are large.

#ifndef REAL
#define REAL float
#endif
#ifndef TERMS
#define TERMS 10
#endif
#ifndef WIDTH
#define WIDTH 4
#endif
#ifndef ROWS
#define ROWS 4
#endif
#ifndef THREADS
#define THREADS 128
#endif

typedef long long Index;

struct alignas(sizeof(REAL) * WIDTH) Pack {
    REAL at[WIDTH];
};

static __device__ __forceinline__ Pack load(const REAL* address) {
    return *reinterpret_cast<const Pack*>(address);
}

static __device__ __forceinline__ void store(REAL* address, const Pack& pack) {
    *reinterpret_cast<Pack*>(address) = pack;
}

// Gradients of a person: left (TERMS, R) and right (TERMS, C), `pitch` numbers after the last one's.
// rate and epsilon are read from memory, so that a captured launch serves every step.
extern "C" __global__ void __launch_bounds__(THREADS) fused_adam(
    REAL* __restrict__ matrix, REAL* __restrict__ first, REAL* __restrict__ second,
    const REAL* __restrict__ left, const REAL* __restrict__ right,
    const REAL* __restrict__ rate, const REAL* __restrict__ epsilon,
    Index rows, Index columns, Index left_pitch, Index right_pitch, double beta1, double beta2) {
    __shared__ REAL left_tile[TERMS][ROWS];
    const Index person = blockIdx.z;
    const Index first_row = static_cast<Index>(blockIdx.y) * ROWS;
    const int count = rows - first_row < ROWS ? static_cast<int>(rows - first_row) : ROWS;
    left += person * left_pitch + first_row;
    right += person * right_pitch;
    for (int k = threadIdx.x; k < TERMS * ROWS; k += blockDim.x) {
        const int term = k / ROWS, row = k % ROWS;
        left_tile[term][row] = row < count ? left[term * rows + row] : REAL(0);
    }
    __syncthreads();

    const REAL new1 = REAL(1 - beta1), keep2 = REAL(beta2), new2 = REAL(1 - beta2);
    const REAL tiny = sizeof(REAL) == 4 ? REAL(1.17549435e-38) : REAL(2.2250738585072014e-308);
    const REAL step = *rate, offset = *epsilon;
    for (int thread = threadIdx.x; thread < THREADS; thread += blockDim.x) {
        const Index column = (static_cast<Index>(blockIdx.x) * THREADS + thread) * WIDTH;
        if (column >= columns) break;
        Pack rights[TERMS];
#pragma unroll
        for (int term = 0; term < TERMS; ++term) rights[term] = load(right + term * columns + column);
#pragma unroll
        for (int row = 0; row < ROWS; ++row) {
            if (row >= count) break;
            const Index at = (person * rows + first_row + row) * columns + column;
            Pack w = load(matrix + at), m = load(first + at), v = load(second + at);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                REAL g = 0;
#pragma unroll
                for (int term = 0; term < TERMS; ++term) {
                    g += left_tile[term][row] * rights[term].at[j];
                }
                m.at[j] += new1 * (g - m.at[j]);
                v.at[j] = keep2 * v.at[j] + new2 * g * g;
                const REAL square = v.at[j] > tiny ? v.at[j] : tiny;
                w.at[j] -= step * m.at[j] / (sqrt(square) + offset);
            }
            store(matrix + at, w);
            store(first + at, m);
            store(second + at, v);
        }
    }
}
