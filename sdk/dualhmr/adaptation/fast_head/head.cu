// The kernels of a captured step, beside matrix products: the head's iterations, and the updates of
// what is adapted, in place. Included after kernels.cuh; see cuda_arithmetic.py for their use.

#ifndef ESTIMATE
#define ESTIMATE 157
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
#ifndef ADAM
#define ADAM 1
#endif
#define ITERATION_SPLIT 4

// x_{i+1} = x_i + x_i M + b, `count` times, for the person blockIdx.x. The iterates, rows of `out`,
// go up from the first row (step 1), or down from the last (step -1). A pitch is how many numbers
// lie between persons; 0 where all have the same. Without b, `bias` is null.
extern "C" __global__ void __launch_bounds__(1024) iterate(
    const REAL* __restrict__ start, const REAL* __restrict__ matrix,
    const REAL* __restrict__ bias, REAL* __restrict__ out,
    Index start_pitch, Index count, Index step) {
    __shared__ REAL x[ESTIMATE], change[ESTIMATE], partial[ITERATION_SPLIT * ESTIMATE];
    const Index person = blockIdx.x;
    start += person * start_pitch;
    matrix += person * ESTIMATE * ESTIMATE;
    out += person * (count + 1) * ESTIMATE + (step > 0 ? 0 : count * ESTIMATE);
    EACH(k, ESTIMATE) out[k] = x[k] = start[k];
    for (Index i = 0; i < count; ++i) {
        __syncthreads();
        multiply<1, ITERATION_SPLIT>(x, matrix, ESTIMATE, ESTIMATE, partial, change);
        out += step * ESTIMATE;
        EACH(k, ESTIMATE) {
            x[k] += change[k] + (bias ? bias[person * ESTIMATE + k] : REAL(0));
            out[k] = x[k];
        }
    }
}

struct alignas(sizeof(REAL) * WIDTH) Pack {
    REAL at[WIDTH];
};

static __device__ __forceinline__ Pack load(const REAL* address) {
    return *reinterpret_cast<const Pack*>(address);
}

static __device__ __forceinline__ void store(REAL* address, const Pack& pack) {
    *reinterpret_cast<Pack*>(address) = pack;
}

// Adam's moments m and v of a gradient g: updated, and the root of v. Rate and epsilon are read from
// memory instead, so that a captured launch serves every step.
struct Adam {
    REAL new1, keep2, new2;

    __device__ __forceinline__ Adam(double beta1, double beta2)
        : new1(REAL(1 - beta1)), keep2(REAL(beta2)), new2(REAL(1 - beta2)) {}

    __device__ __forceinline__ REAL update(REAL g, REAL& m, REAL& v) const {
        const REAL tiny = sizeof(REAL) == 4 ? REAL(1.17549435e-38) : REAL(2.2250738585072014e-308);
        m += new1 * (g - m);
        v = keep2 * v + new2 * g * g;
        return sqrt(v > tiny ? v : tiny);
    }
};

// An update of matrices (N, R, C) whose gradient is a sum of TERMS outer products, in one pass over
// memory: the gradient is computed where it is used and never stored. ADAM 0 is gradient descent, at
// a rate for each person.
//
// A block does ROWS rows of THREADS * WIDTH columns of one person. What all of its threads need, the
// left vectors of its rows, is staged in shared memory; the right vectors of a thread's own columns
// stay in its registers from row to row. WIDTH numbers are moved at a time, and C, the pitches and
// the addresses must be divisible accordingly. Gradients of a person: left (TERMS, R) and right
// (TERMS, C), `pitch` numbers after the last one's.
extern "C" __global__ void __launch_bounds__(THREADS) update_matrix(
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
    EACH(k, TERMS * ROWS) {
        const int term = k / ROWS, row = k % ROWS;
        left_tile[term][row] = row < count ? left[term * rows + row] : REAL(0);
    }
    __syncthreads();

    const Adam adam(beta1, beta2);
    const REAL step = rate[ADAM ? 0 : person], offset = ADAM ? *epsilon : REAL(0);
    EACH(thread, THREADS) {
        const Index column = (static_cast<Index>(blockIdx.x) * THREADS + thread) * WIDTH;
        if (column >= columns) break;
        Pack rights[TERMS];
#pragma unroll
        for (int term = 0; term < TERMS; ++term) rights[term] = load(right + term * columns + column);
#pragma unroll
        for (int row = 0; row < ROWS; ++row) {
            if (row >= count) break;
            const Index at = (person * rows + first_row + row) * columns + column;
            Pack w = load(matrix + at), m, v;
            if (ADAM) m = load(first + at), v = load(second + at);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                REAL g = 0;
#pragma unroll
                for (int term = 0; term < TERMS; ++term) {
                    g += left_tile[term][row] * rights[term].at[j];
                }
                if (ADAM) {
                    const REAL scale = adam.update(g, m.at[j], v.at[j]);
                    w.at[j] -= step * m.at[j] / (scale + offset);
                } else {
                    w.at[j] -= step * g;
                }
            }
            store(matrix + at, w);
            if (ADAM) store(first + at, m), store(second + at, v);
        }
    }
}

// The output (N, C) of the matrix that reads the head's input, updated as if the matrix were: see
// rank_one_output.py; `gradients` (N, C). For Adam, the response is a sum over `nodes` points (N,
// nodes) with masses; for gradient descent, the points are the squared norms (N, 1) of the inputs.
extern "C" __global__ void __launch_bounds__(THREADS) update_output(
    REAL* __restrict__ value, REAL* __restrict__ first, REAL* __restrict__ second,
    const REAL* __restrict__ gradients, const REAL* __restrict__ points,
    const REAL* __restrict__ masses, const REAL* __restrict__ rate,
    const REAL* __restrict__ epsilon, Index columns, Index nodes, double beta1, double beta2) {
    const Index person = blockIdx.y;
    const Adam adam(beta1, beta2);
    points += person * nodes;
    masses += person * nodes;
    EACH(thread, THREADS) {
        const Index column = static_cast<Index>(blockIdx.x) * THREADS + thread;
        if (column >= columns) break;
        const Index at = person * columns + column;
        const REAL g = gradients[at];
        if (ADAM) {
            const REAL scale = adam.update(g, first[at], second[at]);
            REAL response = 0;
            for (Index k = 0; k < nodes; ++k) response += masses[k] / (points[k] * scale + *epsilon);
            value[at] -= *rate * first[at] * response;
        } else {
            value[at] -= rate[person] * g * *points;
        }
    }
}
