"""The people of an evaluation: their inputs and evidence at test time, and the truth."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.body.model import Body, pose_skeleton, skin
from dualhmr.body.point_regressors import PointRegressor, keypoint_regressor, skeleton_regressor
from dualhmr.body.points import BodyPoints
from dualhmr.keypoints import BODY_23, COCO_17, KeypointSet
from dualhmr.networks.landmark_trunk import LANDMARK_KEYPOINTS
from dualhmr.objective.objective import Evidence
from dualhmr_training.batches import in_parts
from dualhmr_training.data.synthetic.categories import (
    STANDING,
    pose_categories,
    with_categories,
)
from dualhmr_training.data.synthetic.degradations import Appearance
from dualhmr_training.data.synthetic.detector import movenet_errors, noise_only
from dualhmr_training.data.synthetic.landmarks import LandmarkErrors, simulated_landmarks
from dualhmr_training.data.synthetic.people import People, PeopleSampler, Population
from dualhmr_training.data.synthetic.pose_prior import TEST_SEED, TRAINING_SEED, prior_poses
from dualhmr_training.data.synthetic.poses import (
    NO_VARIATION,
    PoseFile,
    SeededRandom,
    read_poses,
)
from dualhmr_training.data.synthetic.rendering import render_people
from dualhmr_training.validation import held_out_clips

BATCH_SIZE = 32
"""People in a batch of a group: as many as are adapted together."""


@dataclass(frozen=True, eq=False)
class ComparedJoints:
    """Which joints are compared: a data set's protocol."""

    points: PointRegressor
    """The joints as points of the body that is recovered."""
    root: int
    """The one that is put at the origin for MPJPE and PVE; it need not be one that counts."""
    counted: tuple[int, ...]
    """Those that errors are averaged over, and aligned by for PA-MPJPE."""

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the joints that count."""
        return tuple(self.points.names[joint] for joint in self.counted)


def skeleton_joints(body: Body) -> ComparedJoints:
    """All 24 joints of the body's own skeleton; the root is the pelvis."""
    points = skeleton_regressor(body)
    return ComparedJoints(points, root=0, counted=tuple(range(len(points.names))))


class GroundTruth(NamedTuple):
    """The truth about N people; None where a data set lacks it."""

    joints: Tensor
    """(N, J, 3) metres, turned as the camera sees them: all of `ComparedJoints.points`."""
    vertices: Tensor | None
    """(N, V, 3) metres, in the frame of `joints`."""
    keypoints: Tensor | None
    """(N, K, 2) normalised crop coordinates: the true positions of the evidence's keypoints."""
    up: Tensor | None = None
    """(N, 3) the world's up, as the camera sees it."""
    standing: Tensor | None = None
    """(N,) who stands upright with straight legs."""
    rotations: Tensor | None = None
    """(N, 24, 3, 3) as the camera sees them, where the truth is the body that is recovered."""
    betas: Tensor | None = None
    """(N, 10) of that body."""


class ObservedKeypoints(NamedTuple):
    """What keypoint-reading networks see of N people instead of an image."""

    keypoints: Tensor
    """(N, 23, 2) normalised crop coordinates, `BODY_23`."""
    confidence: Tensor
    """(N, 23)."""


class EvaluationBatch(NamedTuple):
    """N people. Every tensor has the person axis first."""

    image: Tensor | None
    """(N, 256, 192, 3) uint8 RGB crops, where networks read them."""
    evidence: Evidence
    """The keypoints, without a target."""
    truth: GroundTruth
    observed: ObservedKeypoints | None = None
    """None where keypoint-reading networks read the keypoints of `evidence`."""
    landmarks: Tensor | None = None
    """(N, 21, 6) simulated, as `LandmarkEye` returns them, for a `SimulatedEyeRegressor`."""


@dataclass(frozen=True, eq=False)
class EvaluationGroup:
    """People who have a row of their own in the report."""

    keypoints: str
    """Where the keypoints of the evidence come from, for the report."""
    keypoint_set: KeypointSet
    joints: ComparedJoints
    count: int
    batches: Iterable[EvaluationBatch]
    """All of them, `BATCH_SIZE` at a time."""
    clips: tuple[str, ...] = ()
    """(count,) the clips that poses are from: those of one clip are alike. Empty where unknown."""
    categories: tuple[str, ...] = ()
    """(count,) what people do. Empty where unknown."""

    def clip(self, person: int) -> str:
        """That of one person, or an empty text."""
        return self.clips[person] if self.clips else ""

    def category(self, person: int) -> str:
        """That of one person, or an empty text."""
        return self.categories[person] if self.categories else ""


_COCO = slice(0, len(COCO_17))


def read_pool(path: str | os.PathLike[str] | None, *, held_out: bool) -> PoseFile:
    """The poses of a file or folder; raises as `read_poses`.

    None is the package's pose prior: always the same samples, and other ones than training has.
    With `held_out` only those of the clips that training the default networks leaves out, and
    without a file those samples that training on the prior leaves out.
    """
    if path is None:
        poses = prior_poses(TRAINING_SEED if held_out else TEST_SEED)
    else:
        poses = read_poses(path)
    if not held_out:
        return poses
    clips = held_out_clips(poses)
    return poses.select([clip in clips for clip in poses.clips])


def synthetic_group(
    body: Body,
    pool: PoseFile | Tensor,
    *,
    noise: float,
    count: int,
    seed: int,
    pictures: bool,
) -> EvaluationGroup:
    """`count` people in poses drawn from `pool`, without augmentation.

    A tensor are rotation vectors (M, 24, 3), of clips that nobody knows.
    They show COCO's 17 keypoints, wherever these fall into the image, with Gaussian noise in
    fractions of the person's size, and with `pictures` crops that are drawn of them. Their camera's
    focal length is known. The same seed and count give the same people at every level of noise.
    Raises ValueError for an empty pool.
    """
    population = Population(poses=NO_VARIATION, detector=noise_only(noise))
    return population_group(
        body,
        pool,
        population,
        keypoints=f"noise {noise:g}",
        count=count,
        seed=seed,
        appearance=Appearance() if pictures else None,
    )


def detected_group(
    body: Body, pool: PoseFile | Tensor, *, count: int, seed: int, pictures: bool
) -> EvaluationGroup:
    """The people of `synthetic_group`, with keypoints as the default detector reports them."""
    errors = replace(movenet_errors(), without_feet=1.0, cut_legs=0.0)
    return population_group(
        body,
        pool,
        Population(poses=NO_VARIATION, detector=errors),
        keypoints="as detected",
        count=count,
        seed=seed,
        appearance=Appearance() if pictures else None,
    )


def population_group(
    body: Body,
    pool: PoseFile | Tensor,
    population: Population,
    *,
    keypoints: str,
    count: int,
    seed: int,
    appearance: Appearance | None = None,
    landmarks: LandmarkErrors | None = None,
) -> EvaluationGroup:
    """`count` people of a population, whose COCO keypoints are given as its detector reports them.

    `keypoints` says for the report where these come from; with `appearance` there are pictures,
    with `landmarks` simulated landmarks.
    People differ only as far as their keypoints do where nothing but the detector does. Raises as
    `synthetic_group` does.
    """
    rotvecs = pool.rotvecs if isinstance(pool, PoseFile) else pool
    people = PeopleSampler(body, rotvecs, population, seed=seed).sample(count)
    drawn = PoseFile(rotvecs[people.pose], ("",) * count)
    if isinstance(pool, PoseFile):
        rows = people.pose.tolist()
        drawn = with_categories(PoseFile(drawn.rotvecs, *pool.names_of(rows)))
    standing = torch.tensor([name == STANDING for name in pose_categories(drawn.rotvecs)])
    return EvaluationGroup(
        keypoints=keypoints,
        keypoint_set=COCO_17,
        joints=skeleton_joints(body),
        count=count,
        batches=_batches(
            body,
            people,
            standing,
            appearance,
            SeededRandom(seed),
            None if landmarks is None else _landmarks(body, people, landmarks, SeededRandom(seed)),
            observed=population.look is not None,
        ),
        clips=drawn.clips if isinstance(pool, PoseFile) else (),
        categories=drawn.categories if isinstance(pool, PoseFile) else (),
    )


@torch.no_grad()
def _landmarks(body: Body, people: People, errors: LandmarkErrors, rng: SeededRandom) -> Tensor:
    rows = list(LANDMARK_KEYPOINTS)
    pose = pose_skeleton(body, people.rotations, people.betas)
    points = BodyPoints(body, keypoint_regressor(body, BODY_23))(pose)
    return simulated_landmarks(points[:, rows], people.keypoints[:, rows], errors, rng)


@torch.no_grad()
def _batches(
    body: Body,
    people: People,
    standing: Tensor,
    appearance: Appearance | None,
    rng: SeededRandom,
    landmarks: Tensor | None,
    *,
    observed: bool,
) -> Iterator[EvaluationBatch]:
    for part, stands, seen in in_parts((people, standing, landmarks), BATCH_SIZE):
        image = None if appearance is None else render_people(body, part, appearance, rng).images
        vertices, skeleton = skin(body, part.rotations, part.betas)
        yield EvaluationBatch(
            image=image,
            evidence=Evidence(part.detected[:, _COCO], part.confidence[:, _COCO], part.view, None),
            truth=GroundTruth(
                skeleton,
                vertices,
                part.keypoints[:, _COCO],
                up=part.up,
                standing=stands,
                rotations=part.rotations,
                betas=part.betas,
            ),
            observed=ObservedKeypoints(part.observed, part.observed_confidence)
            if observed
            else None,
            landmarks=seen,
        )
