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
#define GRAM (TERMS * (TERMS + 1) / 2)
#define GRAM_SPLIT 16

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

static __device__ __forceinline__ REAL smallest() {
    return sizeof(REAL) == 4 ? REAL(1.17549435e-38) : REAL(2.2250738585072014e-308);
}

// Adam's moments m and v of a gradient g: updated, and the root of v. Rate and epsilon are read from
// memory instead, so that a captured launch serves every step.
struct Adam {
    REAL new1, keep2, new2;

    __device__ __forceinline__ Adam(double beta1, double beta2)
        : new1(REAL(1 - beta1)), keep2(REAL(beta2)), new2(REAL(1 - beta2)) {}

    __device__ __forceinline__ REAL update(REAL g, REAL& m, REAL& v) const {
        m += new1 * (g - m);
        v = keep2 * v + new2 * g * g;
        return sqrt(v > smallest() ? v : smallest());
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

static __device__ __forceinline__ REAL part_of_dot(const REAL* a, const REAL* b, Index count, int part) {
    REAL sum = 0;
    for (Index k = part; k < count; k += GRAM_SPLIT) sum += a[k] * b[k];
    return sum;
}

// Each person's rate of gradient descent, so that all gradients together are at most `most` long:
// rate min(1, most / |g|), where |g|^2 is the sum over matrices and terms i, j of
// (left_i . left_j) (right_i . right_j). TERMS vectors of a person each: `estimates` and `gradient`
// (ESTIMATE), the other four (`hidden`); `inputs` (N,) are squared norms of the head's inputs. A bias
// reads a 1. Gram matrices are symmetric, so one triangle of them is computed.
extern "C" __global__ void __launch_bounds__(1024) clipped_rate(
    const REAL* __restrict__ estimates, const REAL* __restrict__ gradient1,
    const REAL* __restrict__ hidden1, const REAL* __restrict__ gradient2,
    const REAL* __restrict__ hidden2, const REAL* __restrict__ gradient,
    const REAL* __restrict__ inputs, REAL* __restrict__ rates,
    Index hidden, Index estimates_pitch, double rate, double most) {
    __shared__ REAL left_parts[GRAM * GRAM_SPLIT], right_parts[GRAM * GRAM_SPLIT], totals[GRAM];
    const Index person = blockIdx.x, wide = person * TERMS * hidden;
    for (int matrix = 0; matrix < 3; ++matrix) {
        const REAL* left = matrix == 0 ? gradient1 + wide : gradient2 + wide;
        const REAL* right = matrix == 1 ? hidden1 + wide : hidden2 + wide;
        if (matrix == 0) right = estimates + person * estimates_pitch;
        if (matrix == 2) left = gradient + person * TERMS * ESTIMATE;
        const Index width = matrix == 2 ? ESTIMATE : hidden, across = matrix == 0 ? ESTIMATE : hidden;
        EACH(k, GRAM * GRAM_SPLIT) {
            int i = 0, j = k / GRAM_SPLIT;
            for (; j >= TERMS - i; ++i) j -= TERMS - i;
            j += i;
            const int part = k % GRAM_SPLIT;
            left_parts[k] = part_of_dot(left + i * width, left + j * width, width, part);
            right_parts[k] = part_of_dot(right + i * across, right + j * across, across, part);
        }
        __syncthreads();
        EACH(k, GRAM) {
            REAL by_left = 0, by_right = matrix == 0 ? inputs[person] : REAL(1);
            for (int part = 0; part < GRAM_SPLIT; ++part) {
                by_left += left_parts[k * GRAM_SPLIT + part];
                by_right += right_parts[k * GRAM_SPLIT + part];
            }
            totals[k] = (matrix == 0 ? REAL(0) : totals[k]) + by_left * by_right;
        }
        __syncthreads();
    }
    EACH(k, 1) {
        REAL squared = 0;
        for (int i = 0, pair = 0; i < TERMS; ++i) {
            for (int j = i; j < TERMS; ++j, ++pair) squared += (i == j ? 1 : 2) * totals[pair];
        }
        // Not a number stays one, as the loss then is none.
        const REAL clipped = REAL(most) / sqrt(squared < smallest() ? smallest() : squared);
        rates[person] = REAL(rate) * (clipped > 1 ? REAL(1) : clipped);
    }
}
