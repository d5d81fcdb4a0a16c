"""The objective of one person and its gradient as compiled loops: `ObjectiveGradient`, faster.

The stages, their formulas and their derivations are those of `dualhmr.objective.gradient`; here a
stage is a loop over joints or points, not a chain of small tensor operations, each of which takes
longer to start than to compute. `dualhmr.objective.compiled_objective` makes the arrays:
`constants`, `person` and `s` are its `BodyConstants`, `PersonConstants` and `Scratch`.

How long the code takes to compile depends on how much of it there is, so: arrays are flat, one
index is cheaper than three; the root's parent is an identity in row 24; points that are joints of
the skeleton are (point, joint) pairs like those on the skin; and the root has a pose feature as all
joints have, with a basis of zeros.
"""

import math
from typing import Any

from dualhmr.camera import SCALE_FLOOR
from dualhmr.compiling import compiled_loop, compiled_part

LOSSES = ("keypoints_2d", "joints_3d", "vertices", "rotations", "betas", "camera")
"""In the order of all arrays of losses."""
_POSE = 144
_SMALLEST_NORM = 1e-12
"""As in `torch.nn.functional.normalize`."""


@compiled_part
def _orthonormalise(estimate: Any, s: Any) -> None:
    """Fill the rotations and norms of `s` from an estimate (144 + B + 3,)."""
    norms = s.norms
    e, r = estimate, s.rotations
    for j in range(24):
        i, o = 6 * j, 9 * j
        x1, y1, z1, x2, y2, z2 = e[i], e[i + 2], e[i + 4], e[i + 1], e[i + 3], e[i + 5]
        n1 = max(math.sqrt(x1 * x1 + y1 * y1 + z1 * z1), _SMALLEST_NORM)
        x1, y1, z1 = x1 / n1, y1 / n1, z1 / n1
        d = x1 * x2 + y1 * y2 + z1 * z2
        x2, y2, z2 = x2 - d * x1, y2 - d * y1, z2 - d * z1
        n2 = max(math.sqrt(x2 * x2 + y2 * y2 + z2 * z2), _SMALLEST_NORM)
        x2, y2, z2 = x2 / n2, y2 / n2, z2 / n2
        r[o], r[o + 1], r[o + 2] = x1, x2, y1 * z2 - z1 * y2
        r[o + 3], r[o + 4], r[o + 5] = y1, y2, z1 * x2 - x1 * z2
        r[o + 6], r[o + 7], r[o + 8] = z1, z2, x1 * y2 - y1 * x2
        norms[3 * j], norms[3 * j + 1], norms[3 * j + 2] = n1, n2, d


@compiled_part
def _place(constants: Any, betas: Any, s: Any) -> None:
    """Fill what is posed in `s` from its rotations and betas (B,)."""
    joints, points = s.joints, s.points
    parents, pair_points, pair_joints = (
        constants.parents,
        constants.pair_points,
        constants.pair_joints,
    )
    basis, rest_basis = constants.basis, constants.rest
    t, r, rest, blend, places = s.transforms, s.rotations, s.rest, s.blend, s.places
    count = betas.size
    blend[0] = 1
    for b in range(count):
        blend[1 + b] = betas[b]
    for i in range(216):
        blend[1 + count + i] = r[i] - (1 if i % 9 % 4 == 0 else 0)
    for i in range(rest.size):
        rest[i] = 0
    for b in range(1 + count):
        for i in range(72):
            rest[i] += blend[b] * rest_basis[b, i]
    for j in range(24):
        m, n = 9 * j, 3 * j
        for a in range(3):
            p, o = 12 * parents[j] + 4 * a, 12 * j + 4 * a
            x, y, z = t[p], t[p + 1], t[p + 2]
            # Both see the joint at the same place: W_p r + s_p.
            q = x * rest[n] + y * rest[n + 1] + z * rest[n + 2] + t[p + 3]
            for b in range(3):
                t[o + b] = x * r[m + b] + y * r[m + 3 + b] + z * r[m + 6 + b]
            t[o + 3] = q - (t[o] * rest[n] + t[o + 1] * rest[n + 1] + t[o + 2] * rest[n + 2])
            joints[n + a] = q
    for i in range(places.size):
        places[i] = 0
    for b in range(blend.size):
        weight, row = blend[b], basis[b]
        for i in range(places.size):
            places[i] += weight * row[i]
    for i in range(points.size):
        points[i] = 0
    for k in range(pair_joints.size):
        u, o, i = pair_points[k], pair_joints[k], 4 * k
        for a in range(3):
            for c in range(4):
                points[u + a] += t[o + 4 * a + c] * places[i + c]


@compiled_part
def _compare(
    constants: Any, person: Any, estimate: Any, s: Any, minimised: Any, losses: Any, gradient: Any
) -> None:
    """Fill `losses` (6,), except that on vertices, and begin the gradient.

    Losses that are `minimised` (6,) add to the gradient of what is posed in `s`, and to `gradient`
    (144 + B + 3,), which begins at zero here.
    """
    pushed, rotations, grad_rotations = s.grad_points, s.rotations, s.grad_rotations
    keypoints, joint_weights, weights = (
        constants.keypoints,
        constants.joint_weights,
        constants.weights,
    )
    observed, keypoint_weights, target = person.keypoints, person.keypoint_weights, person.joints
    target_rotations, target_betas = person.rotations, person.betas
    points, joints = s.points, constants.joints
    for part in (pushed, s.grad_transforms, s.grad_rest, s.grad_blend, gradient):
        for i in range(part.size):
            part[i] = 0
    scale, shift_x, shift_y = estimate[-3], estimate[-2], estimate[-1]
    per_scale, ox, oy, oz, fx, fy, cx, cy = person.camera
    inverse = 1 / (per_scale * scale + SCALE_FLOOR)
    on = minimised[0]
    loss = gx = gy = gz = 0.0
    for k in range(keypoints.size):
        weight, u = keypoint_weights[k], keypoints[k]
        if weight == 0:  # it may be anywhere
            continue
        depth = 1 / (points[u + 2] + oz * inverse)
        x = (points[u] + ox * inverse + shift_x) * depth
        y = (points[u + 1] + oy * inverse + shift_y) * depth
        away_x = x * fx + cx - observed[2 * k]
        away_y = y * fy + cy - observed[2 * k + 1]
        loss += weight * (away_x * away_x + away_y * away_y)
        if not on:
            continue
        hx, hy = 2 * weight * away_x * fx * depth, 2 * weight * away_y * fy * depth
        hz = -(hx * x + hy * y)
        pushed[u] += hx
        pushed[u + 1] += hy
        pushed[u + 2] += hz
        gx, gy, gz = gx + hx, gy + hy, gz + hz
    losses[0] = loss
    gradient[-3] = -per_scale * inverse * inverse * (ox * gx + oy * gy + oz * gz)
    gradient[-2], gradient[-1] = gx, gy
    first, second, on, loss = constants.root[0], constants.root[1], minimised[1], 0.0
    for a in range(3):
        center, total = 0.5 * (points[first + a] + points[second + a]), 0.0
        for k in range(joints.size):
            error = points[joints[k] + a] - center - target[3 * k + a]
            weighted = joint_weights[k] * error
            loss += weighted * error
            pushed[joints[k] + a] += on * 2 * weighted
            total += on * weighted
        pushed[first + a] -= total
        pushed[second + a] -= total
    losses[1] = loss
    weight, on, loss = weights[0], minimised[3], 0.0
    for i in range(216):
        error = rotations[i] - target_rotations[i]
        loss += weight * error * error
        grad_rotations[i] = on * 2 * weight * error
    losses[3] = loss
    weight, on, loss = weights[1], minimised[4], 0.0
    for b in range(target_betas.size):
        error = estimate[_POSE + b] - target_betas[b]
        loss += weight * error * error
        gradient[_POSE + b] = on * 2 * weight * error
    losses[4] = loss
    losses[5] = weights[2] * math.exp(-20 * scale)
    if minimised[5]:
        gradient[-3] -= 20 * losses[5]


@compiled_part
def _go_back(constants: Any, s: Any, gradient: Any) -> None:
    """Finish `gradient` (144 + B + 3,) from the gradients of what is posed in `s`."""
    grad_points, places, grad_places = s.grad_points, s.places, s.grad_places
    blend, grad_blend, grad_rest = s.blend, s.grad_blend, s.grad_rest
    norms = s.norms
    pair_points, pair_joints, basis = constants.pair_points, constants.pair_joints, constants.basis
    parents, rest = constants.parents, constants.rest
    t, gt, r, g, q = s.transforms, s.grad_transforms, s.rotations, s.grad_rotations, s.joints
    force, moment, count = s.force, s.moment, gradient.size - _POSE - 3
    for k in range(pair_joints.size):
        u, o = pair_points[k], pair_joints[k]
        x, y, z = grad_points[u], grad_points[u + 1], grad_points[u + 2]
        for c in range(4):
            own = places[4 * k + c]
            grad_places[4 * k + c] = t[o + c] * x + t[o + 4 + c] * y + t[o + 8 + c] * z
            gt[o + c] += x * own
            gt[o + 4 + c] += y * own
            gt[o + 8 + c] += z * own
    for b in range(1, blend.size):
        row, total = basis[b], grad_blend[b]
        for i in range(grad_places.size):
            total += row[i] * grad_places[i]
        grad_blend[b] = total
    for i in range(force.size):
        force[i] = 0
    for i in range(moment.size):
        moment[i] = 0
    for j in range(23, -1, -1):
        o, m, n, p = 12 * j, 9 * j, 3 * j, parents[j]
        for a in range(3):
            force[n + a] += gt[o + 4 * a + 3]
            force[3 * p + a] += force[n + a]
            for b in range(3):
                i = 3 * a + b
                for c in range(4):
                    moment[m + i] += gt[o + 4 * a + c] * t[o + 4 * b + c]
                moment[9 * p + i] += moment[m + i]
        for c in range(3):
            i, above, pushed = m + 3 * c, 12 * p + 4 * c, force[n + c]
            x, y, z = (
                moment[i] - pushed * q[n],
                moment[i + 1] - pushed * q[n + 1],
                moment[i + 2] - pushed * q[n + 2],
            )
            for b in range(3):
                turned = x * t[o + b] + y * t[o + 4 + b] + z * t[o + 8 + b]
                grad_rest[n + b] += (t[above + b] - t[o + 4 * c + b]) * pushed
                for a in range(3):
                    g[m + 3 * a + b] += t[above + a] * turned
    for b in range(count):
        total = grad_blend[1 + b]
        for i in range(72):
            total += grad_rest[i] * rest[1 + b, i]
        gradient[_POSE + b] += total
    for i in range(216):
        g[i] += grad_blend[1 + count + i]
    for j in range(24):
        m, t10, t20, t21 = 9 * j, 0.0, 0.0, 0.0
        for i in range(m, m + 9, 3):
            t10 += r[i + 1] * g[i] - r[i] * g[i + 1]
            t20 += r[i + 2] * g[i] - r[i] * g[i + 2]
            t21 += r[i + 2] * g[i + 1] - r[i + 1] * g[i + 2]
        second_to_third = t21 / norms[3 * j + 1]
        first_to_third = t20 - second_to_third * norms[3 * j + 2]
        for i in range(3):
            first = t10 * r[m + 3 * i + 1] + first_to_third * r[m + 3 * i + 2]
            gradient[6 * j + 2 * i] = first / norms[3 * j]
            gradient[6 * j + 2 * i + 1] = second_to_third * r[m + 3 * i + 2]


@compiled_loop
def evaluate(
    constants: Any,
    person: Any,
    estimate: Any,
    s: Any,
    minimised: Any,
    losses: Any,
    gradient: Any,
    begins: bool,
    ends: bool,
) -> None:
    """Fill `losses` (6,) of an estimate (144 + B + 3,), except that on vertices, and `gradient`.

    What is posed is in `s` where it `begins`; the gradient is finished where it `ends`. Between the
    two the loss on vertices adds to the gradients in `s`.
    """
    if begins:
        _orthonormalise(estimate, s)
        _place(constants, estimate[_POSE:-3], s)
        _compare(constants, person, estimate, s, minimised, losses, gradient)
    if ends:
        _go_back(constants, s, gradient)
