// What all kernels share. REAL is float or double, chosen at compile time as all sizes are.
//
// Every loop over threads strides by blockDim.x, and what threads add up is divided in a fixed way,
// so a result does not depend on how many threads there are: with one, a C++ compiler runs the same
// code, see the tests. Indices are 64 bits wide where many persons' matrices are indexed.

typedef long long Index;

#define EACH(k, count) for (int k = threadIdx.x; k < (count); k += blockDim.x)

// out[j][c] = sum_i x[i][c] matrix[i][j] for `columns` columns j and X numbers c, by the whole
// block. The sum is divided into SPLIT parts, so that threads wait less for memory; `partial` holds
// SPLIT * columns * X numbers. Neighbouring threads read neighbouring columns.
template <int X, int SPLIT>
static __device__ void multiply(const REAL* x, const REAL* matrix, int rows, int columns,
                                REAL* partial, REAL* out) {
    const int share = (rows + SPLIT - 1) / SPLIT;
    EACH(k, SPLIT * columns) {
        const int first = k / columns * share, j = k % columns;
        const int last = first + share < rows ? first + share : rows;
        REAL sum[X] = {};
        for (int i = first; i < last; ++i) {
            const REAL weight = matrix[static_cast<Index>(i) * columns + j];
            for (int c = 0; c < X; ++c) sum[c] += x[i * X + c] * weight;
        }
        for (int c = 0; c < X; ++c) partial[k * X + c] = sum[c];
    }
    __syncthreads();
    EACH(k, columns * X) {
        REAL sum = 0;
        for (int part = 0; part < SPLIT; ++part) sum += partial[part * columns * X + k];
        out[k] = sum;
    }
    __syncthreads();
}
