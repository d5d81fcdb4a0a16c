"""The populations that claims are tested on, and what detectors report of them.

The paper's networks see a photograph. Networks that read keypoints see an *appearance* in place of
it: keypoints of their own, noisy and incomplete, whose errors are independent of those of the
keypoints that a detector reports at test time. Networks that read images get rendered pictures;
the appearance then only decides their crops, as a person detector's box does.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from dualhmr_training.data.synthetic.detector import DetectorErrors, noise_only
from dualhmr_training.data.synthetic.people import Population, Viewpoints
from dualhmr_training.data.synthetic.poses import NO_VARIATION, PoseFile, PoseVariation

APPEARANCE = DetectorErrors(
    fixed_noise=0.03, outlier=0.02, swap=0.02, dropout=0.35, without_feet=0, cut_legs=0
)
ANNOTATED = noise_only(0.005)
"""Keypoints by annotators: what inner steps in training fit."""

QUALITIES: Mapping[str, DetectorErrors] = {
    "openpose": DetectorErrors(
        fixed_noise=0.025, outlier=0.03, swap=0.03, dropout=0.25, without_feet=1, cut_legs=0
    ),
    "rsn": DetectorErrors(
        fixed_noise=0.015, outlier=0.01, swap=0.01, dropout=0.1, without_feet=1, cut_legs=0
    ),
    "truth": noise_only(0),
}
"""In place of the paper's three sources of 2D joints: two detectors and the ground truth."""
NOISES: Mapping[str, DetectorErrors] = {
    f"noise {level:.0%}": noise_only(level) for level in (0, 0.02, 0.05)
}
"""All of COCO's keypoints, with Gaussian noise alone, in shares of the person's size."""
_DETECTORS = {**QUALITIES, **NOISES}
VARIED, NARROW, WILD, GIVEN = "varied", "narrow", "wild", "given"


def describe_quality(quality: str) -> str:
    """The error rates of a quality, in words."""
    errors = _DETECTORS[quality]
    return (
        f"noise {errors.fixed_noise:.1%} of the person's size, outliers {errors.outlier:.0%} "
        f"(by {errors.outlier_noise:.0%}), limbs swapped {errors.swap:.0%} (arms, legs each), "
        f"up to {errors.dropout:.0%} missing in 7 of 10 people"
    )


def training_population(style: str) -> Population:
    """The people of training: `VARIED`, or `NARROW`: unvaried poses from a level camera.

    `GIVEN` are those of the default networks, which read the keypoints that test time fits.
    """
    if style == GIVEN:
        return Population()
    population = Population(detector=ANNOTATED, look=APPEARANCE)
    if style == NARROW:
        level = Viewpoints(pitch=0, roll=0, tilted=0)
        mirrored = replace(NO_VARIATION, mirrored=0.5)
        return replace(population, poses=mirrored, viewpoints=level, beta_scale=0.5)
    return population


def training_poses(poses: PoseFile, style: str) -> PoseFile:
    """The poses of training; of the `NARROW` style those of the commonest kind of clip alone.

    The kind is the clip's name up to the last underscore. Raises ValueError if all clips are of
    one kind.
    """
    if style != NARROW:
        return poses
    kinds = Counter(_kind(clip) for clip in poses.clips)
    if len(kinds) < 2:
        raise ValueError(
            f"all clips are of one kind ({', '.join(kinds)}); training on one style needs clips "
            "with names like dance_01, climb_02"
        )
    commonest = kinds.most_common(1)[0][0]
    clips = {clip for clip in poses.clips if _kind(clip) == commonest}
    return PoseFile(poses.of_clips(clips), tuple(clip for clip in poses.clips if clip in clips))


def evaluated_population(style: str, quality: str) -> Population:
    """The people of a test: poses as captured (`VARIED`), or tilted, bent, twisted (`WILD`).

    Networks read an appearance; of `GIVEN` people, the keypoints that test time fits.
    """
    look = None if style == GIVEN else APPEARANCE
    population = Population(poses=NO_VARIATION, detector=_DETECTORS[quality], look=look)
    if style == WILD:
        bent = PoseVariation(sitting=0.5, noisy=1.0, joint_noise=0.25)
        return replace(population, poses=bent, viewpoints=Viewpoints(tilted=0.5), beta_scale=1.5)
    return population


def _kind(clip: str) -> str:
    return clip.rpartition("_")[0] or clip
