"""The made video: people stand on the floor, cross, and are in the picture."""

import numpy as np

from dualhmr.body.files import read_body
from dualhmr_benchmarks.made_video import SIZE, make_video


def test_what_the_made_video_shows() -> None:
    video = make_video(read_body(), frames=60)
    assert len(video) == 60
    inside = (video.pixels > 0) & (video.pixels < np.array(SIZE))
    assert inside.all()
    first, second = video.joints[:, 0, 0, 0], video.joints[:, 1, 0, 0]
    assert (np.diff(np.sign(first - second)) != 0).sum() == 2, "they cross twice"
    assert np.ptp(video.joints[..., 1].max(-1), axis=0).max() < 0.12, "the lower foot is down"
    rotations = video.rotations.astype(np.float64)
    np.testing.assert_allclose(
        rotations @ rotations.swapaxes(-1, -2),
        np.broadcast_to(np.eye(3), rotations.shape),
        atol=1e-5,
    )
    again = make_video(read_body(), frames=60)
    np.testing.assert_array_equal(video.joints, again.joints)


def test_a_frame_shows_the_people_where_they_are() -> None:
    video = make_video(read_body(), frames=60)
    pixels = video.frame(0)
    assert pixels.shape == (SIZE[1], SIZE[0], 3)
    for person, channel in ((0, 0), (1, 2)):  # in red, in blue
        x, y = np.rint(video.pixels[0, person, 0]).astype(int)
        assert pixels[y, x].argmax() == channel
