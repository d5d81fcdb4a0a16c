"""Configurations by name: the default networks', the paper's, and what lies between."""

from collections.abc import Callable
from dataclasses import replace

from dualhmr.bundle import NetworkSpec
from dualhmr.keypoints import BODY_23
from dualhmr.objective.weights import LossWeights
from dualhmr_training.configuration import (
    LANDMARK_TRUNK,
    InnerLoop,
    OptimiserConfig,
    TrainingConfig,
)
from dualhmr_training.data.synthetic.landmarks import LandmarkErrors
from dualhmr_training.data.synthetic.people import wide_population


def keypoint_network(*, feature_count: int = 512, blocks: int, hidden: int = 512) -> NetworkSpec:
    """A network that reads the 23 keypoints rather than the image."""
    return NetworkSpec(
        backbone="keypoint_trunk",
        backbone_options={
            "keypoint_count": len(BODY_23),
            "feature_count": feature_count,
            "blocks": blocks,
        },
        reads=("keypoints", "box_info"),
        hidden=hidden,
        iterations=3,
        head_reads_box_info=False,
    )


def landmark_network(*, feature_count: int = 512, blocks: int, hidden: int) -> NetworkSpec:
    """A network that reads the 23 keypoints and looks at the image with the landmark network."""
    return NetworkSpec(
        backbone=LANDMARK_TRUNK,
        backbone_options={"feature_count": feature_count, "blocks": blocks},
        reads=("image", "keypoints", "box_info"),
        hidden=hidden,
        iterations=3,
        head_reads_box_info=False,
    )


def demo_keypoints() -> TrainingConfig:
    """Both networks read keypoints, on plain synthetic people: quick to train, for comparisons.

    Weights and rates were chosen on held-out clips. Fitting keypoints is what test time is for;
    training that weighs them as much learns depth several times slower.
    """
    return TrainingConfig(
        main=keypoint_network(blocks=2, hidden=256),
        auxiliary=keypoint_network(blocks=3, hidden=256),
        inner=InnerLoop(learning_rate=1e-2, max_norm=1.0),
        weights=LossWeights(joints_3d=1.0, vertices=0.0),
        outer_weights=LossWeights(keypoints_2d=0.3, joints_3d=10.0, rotations=20.0, vertices=0.0),
        steps=10_000,
        seed=1,
    )


def demo() -> TrainingConfig:
    """The default bundle: trained on a CPU, without images, on wide synthetic people.

    The main network reads keypoints, the auxiliary network also looks at the image.
    """
    return replace(
        demo_keypoints(),
        auxiliary=landmark_network(blocks=3, hidden=256),
        landmarks=LandmarkErrors(),
        population=wide_population(),
    )


def image_network(backbone: str, *, iterations: int, reads_box_info: bool) -> NetworkSpec:
    """A network of the paper: CLIFF where the head reads box info, HMR otherwise."""
    return NetworkSpec(
        backbone=backbone,
        backbone_options={},
        reads=("image", "box_info") if reads_box_info else ("image",),
        hidden=1024,
        iterations=iterations,
        head_reads_box_info=reads_box_info,
    )


def paper(main: str, auxiliary: str, *, cliff: bool, batch: int, epochs: int) -> TrainingConfig:
    """The paper's training (section 3.5 and the release): Adam at 1e-4, inner steps at 1e-5.

    The main network's head runs ten iterations, the auxiliary network's three.
    """
    return TrainingConfig(
        main=image_network(main, iterations=10, reads_box_info=cliff),
        auxiliary=image_network(auxiliary, iterations=3, reads_box_info=cliff),
        camera="cliff" if cliff else "hmr",
        data="datasets",
        inner=InnerLoop(learning_rate=1e-5),
        loss_scale=60.0,
        optimiser=OptimiserConfig(
            learning_rate=1e-4, final_rate=1e-4, warm_up_steps=0, max_norm=None
        ),
        batch=batch,
        epochs=epochs,
        dropout=0.5,
    )


def synthetic_resnet() -> TrainingConfig:
    """The paper's CLIFF networks with ResNet-50 on rendered people; meant for a GPU, tried on none.

    Backbones start from random weights: hence the warm-up, and the bound on gradients.
    """
    return TrainingConfig(
        main=image_network("resnet50", iterations=10, reads_box_info=True),
        auxiliary=image_network("resnet50", iterations=3, reads_box_info=True),
        inner=InnerLoop(learning_rate=1e-5),
        optimiser=OptimiserConfig(learning_rate=1e-4, final_rate=1e-6, warm_up_steps=1000),
        batch=64,
        steps=200_000,
        validate_every=2000,
        checkpoint_every=2000,
    )


PRESETS: dict[str, Callable[[], TrainingConfig]] = {
    "demo": demo,
    "demo-keypoints": demo_keypoints,
    "synthetic-resnet": synthetic_resnet,
    "paper-cliff-hrnet": lambda: paper(
        "hrnet_w48_concatenated", "hrnet_w48_classification", cliff=True, batch=30, epochs=25
    ),
    "paper-cliff-resnet": lambda: paper("resnet50", "resnet50", cliff=True, batch=40, epochs=65),
    "paper-hmr-resnet": lambda: paper("resnet50", "resnet50", cliff=False, batch=40, epochs=65),
}
# Before they evaluate on 3DPW, the paper's authors fine-tune for five epochs on the mix with it:
# `--with_3dpw true --epochs 5 --initial RUN`.
