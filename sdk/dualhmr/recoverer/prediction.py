"""`Prediction`: what the networks say of one person before any step."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dualhmr.arrays import to_numpy
from dualhmr.body.parameters import SMPLParameters
from dualhmr.boxes import Box
from dualhmr.person import FirstGuess, FloatArray, ObservedPerson, PersonEvidence


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """One person, as the frozen networks and the head that is not adapted yet see them."""

    person: int
    """Index among the user's persons."""
    box: Box
    """Which part of the image the networks saw."""
    crop: npt.NDArray[np.uint8]
    """(256, 192, 3) RGB: that part as image networks see it; others do not read it."""
    features: FloatArray
    """(F,) of the main network's backbone, which the head reads."""
    pseudo_mesh: SMPLParameters
    """What the auxiliary network says, in the camera frame."""
    first_guess: SMPLParameters
    """What the main network says, in the camera frame."""
    camera: FloatArray
    """(3,) scale, x, y of the crop: the main network's, as its head regresses them."""
    translation: FloatArray
    """(3,) metres, of the first guess: that camera as one of the whole image."""
    focal_length: float
    """Image pixels, of the camera that sees the person."""
    principal_point: FloatArray
    """(2,) image pixels."""

    def __repr__(self) -> str:
        """In one line, without the numbers."""
        return f"Prediction(person {self.person}, {len(self.features)} features)"


def describe_prediction(
    person: int,
    observed: ObservedPerson,
    crop: npt.NDArray[np.uint8],
    evidence: PersonEvidence,
    guess: FirstGuess,
) -> Prediction:
    """One person's prediction, in NumPy."""
    view = observed.view
    center_x, center_y = map(float, view.box_center[0])
    return Prediction(
        person=person,
        box=Box((center_x, center_y), float(view.box_height[0])),
        crop=crop,
        features=np.array(to_numpy(evidence.features)[0], np.float32),
        pseudo_mesh=SMPLParameters(
            to_numpy(evidence.rotations)[0],
            to_numpy(evidence.betas)[0],
        ),
        first_guess=SMPLParameters(guess.rotations, guess.betas),
        camera=guess.camera,
        translation=guess.translation,
        focal_length=guess.focal_length,
        principal_point=guess.principal_point,
    )
