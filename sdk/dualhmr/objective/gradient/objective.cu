// The objective and its gradient for one person a block: from the head's estimate through 6D
// rotations, skeleton, points and camera to the losses, and all the way back. The mathematics, with
// the names used here, stands in skeleton.py, points.py and targets.py. Included after kernels.cuh.
//
// Vertices are PyTorch's: with `worlds` and `blends` a launch ends when it has written what they
// depend on, the joints' transforms and the blend weights; `more_world` and `more_blend`, where they
// are not null, are the gradients that vertices add to those of a later launch.
//
// Pairs of point and joint are sorted by joint; the first of every joint is the joint itself, with
// the place (rest, 1). So the rest joints need no arrays of their own, forward or backward.

#ifndef BETAS
#define BETAS 10
#endif
#ifndef PAIRS
#define PAIRS 80
#endif
#ifndef KEYPOINTS
#define KEYPOINTS 17
#endif
#ifndef POINTS
#define POINTS 64
#endif
#ifndef IN_SHARED
#define IN_SHARED 1
#endif
#define THREADS 512
#define JOINTS 24
#define ESTIMATE (JOINTS * 6 + BETAS + 3)
#define BLEND (1 + BETAS + (JOINTS - 1) * 9)
#define LOSSES 5

// A person's constants, in this order.
struct Evidence {
    REAL per_scale, offset[3], magnification[2], center[2];
    REAL keypoints[KEYPOINTS][2], keypoint_weights[KEYPOINTS];
    REAL joints[POINTS - KEYPOINTS][3], joint_weights[POINTS - KEYPOINTS];
    REAL rotations[JOINTS][9], rotations_weight;
    REAL betas[BETAS], betas_weight;
};

struct Tree {
    int parents[JOINTS];
    int ancestors[JOINTS];  // bit a: a is the joint or above it
    int starts[JOINTS + 1];  // where each joint's pairs begin
    int joints[PAIRS];  // the joint of each pair
};

#define LARGEST(a, b) ((a) > (b) ? (a) : (b))
struct Scratch {
    REAL blend[BLEND], grad_blend[BLEND];
    REAL places[PAIRS][4], grad_places[PAIRS][4];
    REAL moved[PAIRS][3];  // then its gradient
    REAL points[POINTS][3], grad_points[POINTS][3];
    REAL errors[POINTS + JOINTS];
    REAL partial[LARGEST(LARGEST(4 * PAIRS * 4, 8 * BLEND), 8 * POINTS * 3)];
};

static __device__ __forceinline__ REAL dot(const REAL* a, const REAL* b) {
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static __device__ __forceinline__ REAL norm(const REAL* a) {
    const REAL length = sqrt(dot(a, a));
    return length > REAL(1e-12) ? length : REAL(1e-12);
}

static __device__ __forceinline__ void cross(const REAL* a, const REAL* b, REAL* out) {
    for (int r = 0; r < 3; ++r) out[r] = a[(r + 1) % 3] * b[(r + 2) % 3] - a[(r + 2) % 3] * b[(r + 1) % 3];
}

static __device__ REAL sum(const REAL* numbers, int count, int stride) {
    REAL total = 0;
    for (int k = 0; k < count; ++k) total += numbers[k * stride];
    return total;
}

// An entry of the parent's W, which above the root is the identity.
static __device__ __forceinline__ REAL parent_entry(const REAL* world, int parent, int r, int c) {
    return parent < 0 ? REAL(r == c) : world[parent * 12 + r * 4 + c];
}

extern "C" __global__ void __launch_bounds__(THREADS) objective(
    const REAL* __restrict__ estimates, const REAL* __restrict__ evidences,
    const REAL* __restrict__ basis, const REAL* __restrict__ basis_transposed,
    const REAL* __restrict__ rows, const REAL* __restrict__ rows_transposed,
    const int* __restrict__ trees, REAL* scratches,
    REAL* __restrict__ losses, REAL* __restrict__ gradients, REAL* __restrict__ worlds,
    REAL* __restrict__ blends, const REAL* __restrict__ more_world,
    const REAL* __restrict__ more_blend, Index minimised, double camera_weight) {
    const Index person = blockIdx.x;
    const REAL* estimate = estimates + person * ESTIMATE;
    const Evidence& evidence = reinterpret_cast<const Evidence*>(evidences)[person];
    const Tree& tree = *reinterpret_cast<const Tree*>(trees);
    REAL* gradient = gradients + person * ESTIMATE;
    REAL* loss = losses + person * LOSSES;
#if IN_SHARED
    __shared__ Scratch scratch_memory;
    Scratch& s = scratch_memory;
    (void)scratches;
#else
    Scratch& s = reinterpret_cast<Scratch*>(scratches)[person];
#endif
    __shared__ REAL rotations[JOINTS][9], norms[JOINTS][3];
    // T = [W | s], (3, 4) by rows, and its gradient; then the sums below each joint: moment, force.
    __shared__ REAL world[JOINTS][12], grad_world[JOINTS][12], below[JOINTS][12];
    __shared__ REAL grad_translation[3];
    const REAL* betas = estimate + JOINTS * 6;
    const REAL* camera = betas + BETAS;
    const REAL inverse_scale = 1 / (evidence.per_scale * camera[0] + REAL(1e-9));
    const bool fits_keypoints = minimised & 1, fits_joints = minimised & 2;
    const bool fits_rotations = minimised & 4, fits_betas = minimised & 8;

    EACH(j, JOINTS) {
        REAL axes[3][3];
        for (int r = 0; r < 3; ++r) {
            axes[0][r] = estimate[j * 6 + r * 2];
            axes[1][r] = estimate[j * 6 + r * 2 + 1];
        }
        norms[j][0] = norm(axes[0]);
        for (int r = 0; r < 3; ++r) axes[0][r] /= norms[j][0];
        norms[j][2] = dot(axes[0], axes[1]);
        for (int r = 0; r < 3; ++r) axes[1][r] -= norms[j][2] * axes[0][r];
        norms[j][1] = norm(axes[1]);
        for (int r = 0; r < 3; ++r) axes[1][r] /= norms[j][1];
        cross(axes[0], axes[1], axes[2]);
        REAL squares = 0;
        for (int k = 0; k < 9; ++k) {
            rotations[j][k] = axes[k % 3][k / 3];
            if (j > 0) s.blend[1 + BETAS + (j - 1) * 9 + k] = rotations[j][k] - REAL(k % 4 == 0);
            const REAL error = rotations[j][k] - evidence.rotations[j][k];
            squares += evidence.rotations_weight * error * error;
        }
        s.errors[POINTS + j] = squares;
    }
    EACH(k, 1 + BETAS) s.blend[k] = k == 0 ? REAL(1) : betas[k - 1];
    __syncthreads();
    multiply<1, 4>(s.blend, basis, BLEND, PAIRS * 4, s.partial, &s.places[0][0]);

    // A column of W: that of the joint's own rotation, turned by every joint above it.
    EACH(k, JOINTS * 3) {
        const int j = k / 3, c = k % 3;
        REAL column[3] = {rotations[j][c], rotations[j][3 + c], rotations[j][6 + c]};
        for (int above = tree.parents[j]; above >= 0; above = tree.parents[above]) {
            REAL turned[3];
            for (int r = 0; r < 3; ++r) turned[r] = dot(rotations[above] + r * 3, column);
            for (int r = 0; r < 3; ++r) column[r] = turned[r];
        }
        for (int r = 0; r < 3; ++r) world[j][r * 4 + c] = column[r];
    }
    __syncthreads();
    EACH(k, JOINTS * 3) {
        const int j = k / 3, r = k % 3;
        REAL shift = 0;
        for (int above = j; above >= 0; above = tree.parents[above]) {
            const REAL* rest = s.places[tree.starts[above]];
            for (int c = 0; c < 3; ++c) {
                const REAL parent = parent_entry(world[0], tree.parents[above], r, c);
                shift += (parent - world[above][r * 4 + c]) * rest[c];
            }
        }
        world[j][r * 4 + 3] = shift;
    }
    __syncthreads();
    if (worlds) {
        EACH(k, JOINTS * 12) worlds[person * JOINTS * 12 + k] = world[0][k];
        EACH(k, BLEND) blends[person * BLEND + k] = s.blend[k];
        return;
    }
    EACH(k, PAIRS * 3) {
        const REAL *row = world[tree.joints[k / 3]] + k % 3 * 4, *place = s.places[k / 3];
        s.moved[k / 3][k % 3] = dot(row, place) + row[3] * place[3];
    }
    __syncthreads();
    multiply<3, 8>(&s.moved[0][0], rows_transposed, PAIRS, POINTS, s.partial, &s.points[0][0]);

    EACH(k, POINTS) {
        REAL* grad = s.grad_points[k];
        if (k < KEYPOINTS) {
            REAL placed[3];
            for (int r = 0; r < 3; ++r) {
                const REAL moved = r < 2 ? camera[1 + r] : REAL(0);
                placed[r] = s.points[k][r] + evidence.offset[r] * inverse_scale + moved;
            }
            const REAL weight = evidence.keypoint_weights[k], inverse_depth = 1 / placed[2];
            REAL squares = 0;
            grad[2] = 0;
            for (int r = 0; r < 2; ++r) {
                const REAL in_plane = placed[r] * inverse_depth, f = evidence.magnification[r];
                const REAL error = in_plane * f + evidence.center[r] - evidence.keypoints[k][r];
                squares += weight * error * error;
                grad[r] = fits_keypoints ? 2 * weight * error * f * inverse_depth : REAL(0);
                grad[2] -= grad[r] * in_plane;
            }
            s.errors[k] = squares;
        } else {
            const REAL weight = evidence.joint_weights[k - KEYPOINTS];
            REAL squares = 0;
            for (int r = 0; r < 3; ++r) {
                const REAL error = s.points[k][r] - evidence.joints[k - KEYPOINTS][r];
                squares += weight * error * error;
                grad[r] = fits_joints ? 2 * weight * error : REAL(0);
            }
            s.errors[k] = squares;
        }
    }
    __syncthreads();
    // Eight sums, each by one thread; the next product does not wait for them.
    EACH(k, LOSSES + 3) {
        if (k == 0) loss[0] = sum(s.errors, KEYPOINTS, 1);
        if (k == 1) loss[1] = sum(s.errors + KEYPOINTS, POINTS - KEYPOINTS, 1);
        if (k == 2) loss[2] = sum(s.errors + POINTS, JOINTS, 1);
        if (k == 3) {
            REAL squares = 0;
            for (int b = 0; b < BETAS; ++b) {
                const REAL error = betas[b] - evidence.betas[b];
                squares += evidence.betas_weight * error * error;
            }
            loss[3] = squares;
        }
        if (k == 4) loss[4] = REAL(camera_weight) * exp(-20 * camera[0]);
        if (k >= LOSSES) {
            grad_translation[k - LOSSES] = sum(s.grad_points[0] + k - LOSSES, KEYPOINTS, 3);
        }
    }
    multiply<3, 2>(&s.grad_points[0][0], rows, POINTS, PAIRS, s.partial, &s.moved[0][0]);

    EACH(k, PAIRS * 4) {
        const REAL *transform = world[tree.joints[k / 4]] + k % 4, *grad = s.moved[k / 4];
        s.grad_places[k / 4][k % 4] =
            transform[0] * grad[0] + transform[4] * grad[1] + transform[8] * grad[2];
    }
    EACH(k, JOINTS * 12) {
        const int j = k / 12, r = k % 12 / 4, c = k % 4;
        REAL total = more_world ? more_world[person * JOINTS * 12 + k] : REAL(0);
        for (int p = tree.starts[j]; p < tree.starts[j + 1]; ++p) total += s.moved[p][r] * s.places[p][c];
        grad_world[j][r * 4 + c] = total;
    }
    __syncthreads();
    EACH(k, JOINTS * 12) {
        const int j = k / 12, r = k % 12 / 4, c = k % 4;
        REAL total = 0;
        for (int d = 0; d < JOINTS; ++d) {
            if (!(tree.ancestors[d] >> j & 1)) continue;
            const REAL *force = grad_world[d] + r * 4, *row = world[d] + c * 4;
            total += c == 3 ? force[3] : dot(force, row) + force[3] * row[3];
        }
        below[j][r * 4 + c] = total;
    }
    __syncthreads();
    EACH(j, JOINTS) {
        const int parent = tree.parents[j];
        REAL* rest = s.places[tree.starts[j]];
        REAL turned[3][3];  // M W
        for (int r = 0; r < 3; ++r) {
            for (int c = 0; c < 3; ++c) turned[r][c] = 0;
            for (int i = 0; i < 3; ++i) {
                const REAL joint = dot(world[j] + i * 4, rest) + world[j][i * 4 + 3];
                const REAL moment = below[j][r * 4 + i] - below[j][r * 4 + 3] * joint;
                for (int c = 0; c < 3; ++c) turned[r][c] += moment * world[j][i * 4 + c];
            }
        }
        for (int r = 0; r < 3; ++r) {
            REAL grad_rest = 0;
            for (int c = 0; c < 3; ++c) {
                REAL total = 0;
                for (int i = 0; i < 3; ++i) total += parent_entry(world[0], parent, i, r) * turned[i][c];
                grad_world[j][r * 3 + c] = total;  // of R now, (3, 3)
                const REAL away = parent_entry(world[0], parent, c, r) - world[j][c * 4 + r];
                grad_rest += away * below[j][c * 4 + 3];
            }
            s.grad_places[tree.starts[j]][r] += grad_rest;
        }
    }
    __syncthreads();
    multiply<1, 8>(&s.grad_places[0][0], basis_transposed, PAIRS * 4, BLEND, s.partial, s.grad_blend);
    if (more_blend) {
        EACH(k, BLEND) s.grad_blend[k] += more_blend[person * BLEND + k];
        __syncthreads();
    }

    EACH(j, JOINTS) {
        REAL axes[3][3], against[3][3] = {};
        for (int k = 0; k < 9; ++k) axes[k % 3][k / 3] = rotations[j][k];
        for (int k = 0; k < 9; ++k) {
            REAL grad = grad_world[j][k];
            if (j > 0) grad += s.grad_blend[1 + BETAS + (j - 1) * 9 + k];
            if (fits_rotations) {
                const REAL error = rotations[j][k] - evidence.rotations[j][k];
                grad += 2 * evidence.rotations_weight * error;
            }
            for (int i = 0; i < 3; ++i) against[i][k % 3] += axes[i][k / 3] * grad;
        }
        const REAL second_to_third = (against[2][1] - against[1][2]) / norms[j][1];
        const REAL first_to_third = against[2][0] - against[0][2] - second_to_third * norms[j][2];
        const REAL first_to_second = against[1][0] - against[0][1];
        for (int r = 0; r < 3; ++r) {
            gradient[j * 6 + r * 2] =
                (first_to_second * axes[1][r] + first_to_third * axes[2][r]) / norms[j][0];
            gradient[j * 6 + r * 2 + 1] = second_to_third * axes[2][r];
        }
    }
    EACH(b, BETAS) {
        const REAL error = fits_betas ? betas[b] - evidence.betas[b] : REAL(0);
        gradient[JOINTS * 6 + b] = s.grad_blend[1 + b] + 2 * evidence.betas_weight * error;
    }
    EACH(k, 3) {
        const REAL along = dot(evidence.offset, grad_translation);
        const REAL by_scale = -evidence.per_scale * inverse_scale * inverse_scale * along;
        const REAL kept = minimised & 16 ? -20 * REAL(camera_weight) * exp(-20 * camera[0]) : REAL(0);
        gradient[JOINTS * 6 + BETAS + k] = k == 0 ? by_scale + kept : grad_translation[k - 1];
    }
}
