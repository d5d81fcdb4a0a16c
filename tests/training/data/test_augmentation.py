import math

import numpy as np
import pytest

from dualhmr_training.data.augmentation import UNCHANGED, Augmentation, Change

COUNT = 20_000


@pytest.fixture(scope="module")
def changes() -> list[Change]:
    rng = np.random.default_rng(0)
    augmentation = Augmentation()
    return [augmentation.draw(rng) for _ in range(COUNT)]


def test_half_are_mirrored(changes: list[Change]) -> None:
    assert np.mean([change.mirror for change in changes]) == pytest.approx(0.5, abs=0.015)


def test_angles_are_normal_clipped_and_mostly_none(changes: list[Change]) -> None:
    angles = np.degrees([change.angle for change in changes])
    assert (angles == 0).mean() == pytest.approx(0.6, abs=0.015)
    turned = angles[angles != 0]
    assert np.abs(turned).max() == pytest.approx(60)
    assert turned.mean() == pytest.approx(0, abs=1.5)
    # Of a normal distribution 68.3% lie within its sigma, and 4.6% beyond twice of it.
    assert (np.abs(turned) < 30).mean() == pytest.approx(0.683, abs=0.025)
    assert (np.abs(turned) > 59.999).mean() == pytest.approx(0.0455, abs=0.01)


def test_scales_are_normal_and_clipped(changes: list[Change]) -> None:
    scales = np.array([change.scale for change in changes])
    assert (scales.min(), scales.max()) == (0.75, 1.25)
    assert scales.mean() == pytest.approx(1, abs=0.01)
    assert ((scales > 0.75) & (scales < 1.25)).mean() == pytest.approx(0.683, abs=0.015)


def test_channels_are_tinted_independently_and_evenly(changes: list[Change]) -> None:
    colours = np.array([change.colour for change in changes])
    assert colours.min() == pytest.approx(0.6, abs=0.001)
    assert colours.max() == pytest.approx(1.4, abs=0.001)
    histogram = np.histogram(colours, bins=8, range=(0.6, 1.4))[0] / colours.size
    np.testing.assert_allclose(histogram, 1 / 8, atol=0.01)
    np.testing.assert_allclose(np.corrcoef(colours.T), np.eye(3), atol=0.03)


def test_the_same_seed_give_the_same_change() -> None:
    first, second = (Augmentation().draw(np.random.default_rng(3)) for _ in range(2))
    assert first == second
    assert first != Augmentation().draw(np.random.default_rng(4))


def test_settings_do_not_shift_what_else_is_drawn() -> None:
    plain = Augmentation().draw(np.random.default_rng(5))
    turned = Augmentation(upright=0, mirror=0).draw(np.random.default_rng(5))
    assert (plain.scale, plain.colour) == (turned.scale, turned.colour)


def test_augmentation_that_is_off_changes_nothing() -> None:
    off = Augmentation(mirror=0, colour=0, upright=1, scale_sigma=0)
    assert off.draw(np.random.default_rng(0)) == UNCHANGED


def test_in_plane_turns_x_towards_y_after_mirroring() -> None:
    np.testing.assert_array_equal(UNCHANGED.in_plane, np.eye(2))
    quarter = Change(angle=math.pi / 2).in_plane
    np.testing.assert_allclose(quarter @ [1, 0], [0, 1], atol=1e-15)
    np.testing.assert_allclose(Change(mirror=True).in_plane @ [2, 3], [-2, 3])
    both = Change(mirror=True, angle=math.pi / 2).in_plane
    np.testing.assert_allclose(both @ [1, 0], [0, -1], atol=1e-15)


def test_a_misspelt_option_is_an_error() -> None:
    with pytest.raises(TypeError, match="rotation"):
        Augmentation(rotation=30)  # type: ignore[call-arg]
