"""`insane`: what no result of `recover` may be without a warning that says so."""

import numpy as np
from numpy.typing import NDArray

from dualhmr import Recovery
from dualhmr.body.arrays import KEYPOINT_MIDPOINTS, BodyArrays, body_keypoints
from dualhmr.recoverer.collecting import BODY_HEIGHT_M

WARNED = {
    "in front of the camera": {"behind_camera"},
    "not nearer than 10 cm": {"behind_camera", "too_near"},
    "of human size": {"body_size"},
    "near its keypoints": {"poor_fit"},
    "not farther from its keypoints than at the start": {"poor_fit", "worse_than_start"},
}
"""What a body may lack, and the kinds of warnings that say so."""


def insane(recovery: Recovery) -> list[str]:
    """Everything that is wrong with a recovery by the free body; empty for a sane one."""
    problems = [*_whole(recovery)]
    for row in range(len(recovery)):
        person = int(recovery.persons[row])
        kinds = {warning.kind for warning in recovery.warnings if warning.person == person}
        holds = _of_body(recovery, row)
        problems += [
            f"person {person} is not {what}"
            for what, true in holds.items()
            if not true and not kinds & WARNED.get(what, set())
        ]
    return problems


def _whole(recovery: Recovery) -> list[str]:
    """Shapes, numbers of persons, and finiteness of everything."""
    problems = []
    count = len(recovery)
    for name, value in vars(recovery).items():
        counts_persons = name not in ("faces", "skipped", "warnings")
        if isinstance(value, np.ndarray | tuple) and counts_persons and len(value) != count:
            problems.append(f"{name} is of {len(value)} persons, not {count}")
        # Keypoints are NaN where the body has no such point.
        numbers = isinstance(value, np.ndarray) and name != "keypoints_2d"
        if numbers and not np.isfinite(value).all():
            problems.append(f"{name} is not finite")
    mentioned = [*recovery.persons.tolist(), *(skipped.person for skipped in recovery.skipped)]
    if sorted(mentioned) != list(range(len(mentioned))):
        problems.append(f"persons {mentioned} are not each recovered or skipped once")
    if not {warning.person for warning in recovery.warnings} <= set(recovery.persons.tolist()):
        problems.append("a warning is of nobody")
    texts = [*recovery.warnings, *recovery.skipped]
    if not all(0 < len(text[-1]) < 2000 for text in texts):
        problems.append("a warning or a reason is empty or endless")
    return problems


def _of_body(recovery: Recovery, row: int) -> dict[str, bool]:
    """What must hold for one person, or be warned of."""
    assert recovery.body is not None
    vertices, joints = recovery.vertices[row], recovery.joints[row]
    keypoints_2d, trace = recovery.keypoints_2d[row], recovery.traces[row]
    has = np.isfinite(keypoints_2d).all(-1)
    known = np.isin(recovery.keypoints.set.names, list(body_keypoints(recovery.body)))
    counted = has & (recovery.keypoints.confidence[row] > 0)
    labelled = recovery.keypoints.xy[row, counted]
    distance = np.linalg.norm(keypoints_2d[counted] - labelled, axis=-1).mean()
    before, after = recovery.reprojection_px[row]
    rotations = np.concatenate([recovery.global_orient[row : row + 1], recovery.body_pose[row]])
    losses, best = recovery.loss_history[row], int(recovery.best_step[row])
    low, high = BODY_HEIGHT_M
    body, betas = recovery.body, recovery.betas[row]
    height = np.ptp(body.v_template[:, 1] + body.shapedirs[:, 1] @ betas)
    size = max(np.ptp(labelled, axis=0).max(), 1)
    return {
        "in front of the camera": bool((vertices[:, 2] > 0).all()),
        "not nearer than 10 cm": bool((vertices[:, 2] > 0.0999).all()),
        "of human size": bool(low <= height <= high),
        # A box is at most 1.6 times as high as its keypoints are wide or high.
        "near its keypoints": bool(after <= 0.16 * size),
        "not farther from its keypoints than at the start": bool(
            after <= before or after <= 0.08 * size
        ),
        "of finite losses": bool(np.isfinite(losses).all()),
        "its best step": losses[best] == min(losses) <= losses[0],
        "of as many steps as losses": recovery.steps[row]
        == len(losses) - 1
        == len(trace.betas) - 1,
        "of finite steps": all(np.isfinite(part).all() for part in trace),
        "the step that it says": bool(
            np.allclose(trace.betas[best], recovery.betas[row])
            and np.allclose(trace.rotations[best], rotations)
        ),
        "of rotations": bool(
            np.allclose(rotations @ rotations.swapaxes(-1, -2), np.eye(3), atol=1e-4)
            and np.allclose(np.linalg.det(rotations), 1, atol=1e-4)
        ),
        "joined to its vertices": bool(
            (np.abs(joints - vertices.mean(0)) <= 1.5 * np.ptp(vertices, axis=0).max()).all()
        ),
        "with the keypoints that the body has": bool((has == known).all()),
        "as far from its keypoints as it says": bool(
            np.isclose(distance, after, rtol=1e-3, atol=1e-2)
        ),
        "where its keypoints are": _projects_to(recovery, row, has),
    }


def _projects_to(recovery: Recovery, row: int, has: NDArray[np.bool_]) -> bool:
    """Vertices, camera and keypoints agree, where the projection is well conditioned."""
    assert recovery.body is not None
    names = [name for name, one in zip(recovery.keypoints.set.names, has, strict=True) if one]
    points = _rows(recovery.body, names) @ recovery.vertices[row].astype(np.float64)
    focal, centre = float(recovery.focal_length[row]), recovery.principal_point[row]
    projected = points[:, :2] / points[:, 2:] * focal + centre
    # A tenth of a millimetre, as seen from the camera.
    tolerance = 0.02 + 1e-4 * focal / np.maximum(np.abs(points[:, 2]), 1e-6)
    tolerance = tolerance * (1 + np.abs(points[:, :2] / points[:, 2:]).max(-1))
    off = np.abs(recovery.keypoints_2d[row, has] - projected).max(-1)
    return bool((off <= tolerance).all())


def _rows(body: BodyArrays, names: list[str]) -> NDArray[np.float64]:
    """(K, V) of the free body's keypoints, midpoints included."""
    assert body.keypoint_regressor is not None
    own = dict(zip(body.keypoint_names, body.keypoint_regressor.astype(np.float64), strict=True))
    parts = [(name,) if name in own else KEYPOINT_MIDPOINTS[name] for name in names]
    return np.array([np.mean([own[part] for part in each], axis=0) for each in parts])
