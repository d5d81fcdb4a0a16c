import numpy as np
from helpers.spin_files import photograph

from dualhmr_training.data.augmentation import occlude

CROP = photograph(0, 192, 256)


def hidden(seed: int) -> float:
    """The share of pixels that are not the crop's any more."""
    occluded = occlude(CROP, np.random.default_rng(seed))
    return float((occluded != CROP).any(axis=-1).mean())


def test_a_part_of_the_crop_is_hidden() -> None:
    shares = [hidden(seed) for seed in range(200)]
    assert max(shares) < 0.5
    assert 0.03 < np.mean(shares) < 0.2
    assert np.mean([share > 0 for share in shares]) > 0.95


def test_occluders_can_be_anywhere() -> None:
    counts = np.zeros(CROP.shape[:2])
    for seed in range(200):
        counts += (occlude(CROP, np.random.default_rng(seed)) != CROP).any(axis=-1)
    quarters = counts.reshape(4, 64, 4, 48).mean(axis=(1, 3))
    assert quarters.min() > 4


def test_the_same_seed_hide_the_same() -> None:
    first, second = (occlude(CROP, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first != occlude(CROP, np.random.default_rng(8))).any()


def test_the_crop_itself_is_left_alone() -> None:
    before = CROP.copy()
    occluded = occlude(CROP, np.random.default_rng(0))
    np.testing.assert_array_equal(CROP, before)
    assert occluded.dtype == np.uint8
    assert occluded.flags.writeable
