"""Whole videos with the default networks: tracks, motions, overlays, files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.walking_people import SIZE, crossing, detector, frame, people_at

from dualhmr import Motion, Recoverer, recover_video
from dualhmr.video import VideoFrame, VideoReader, VideoRecoverer, VideoWriter
from dualhmr.video.video_recoverer import FrameRecovery

FRAMES = [frame(number) for number in range(10)]


@pytest.fixture(scope="module")
def recoverer() -> Recoverer:
    return Recoverer(detector=detector())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with VideoWriter(path, fps=12.5) as video:
        for number, pixels in enumerate(FRAMES):
            video.write(pixels, number / 12.5)
    return path


def test_crossing_people_are_two_tracks(recoverer: Recoverer) -> None:
    seen: list[FrameRecovery] = []
    found = recover_video(FRAMES, recoverer=recoverer, fps=10, on_frame=seen.append)
    assert [track.number for track in found.tracks] == [1, 2], "the third was there only once"
    assert (len(found), found.fps, found.size, found.is_complete) == (10, 10, SIZE, True)
    assert found.times_s == pytest.approx(np.arange(10) / 10)
    for track, direction in zip(found.tracks, (1, -1), strict=True):
        assert track.motion.frames.tolist() == list(range(10))
        assert track.starts[0] == "cold"
        assert set(track.starts[1:]) <= {"warm", "reset"}
        x = track.motion.joints[:, 0, 0]
        assert direction * (x[-1] - x[0]) > 0.1
    assert [each.frame.number for each in seen] == list(range(10))
    assert seen[4].tracks == (1, 2, 3)
    assert seen[4].confirmed == (True, True, False)


def test_cold_and_unsmoothed_it_is_what_each_frame_gives(recoverer: Recoverer) -> None:
    found = recover_video(FRAMES, recoverer=recoverer, warm_start=False, smooth=False, max_frames=5)
    assert len(found) == 5
    for track, person in zip(found.tracks, (0, 1), strict=True):
        assert set(track.starts) == {"cold"}
        alone = recoverer.recover(FRAMES[2], crossing(2).to_keypoints())
        np.testing.assert_allclose(
            track.motion.rotations[2, 1:], alone.body_pose[person], atol=1e-5
        )
        np.testing.assert_allclose(
            track.motion.translation[2], alone.translation[person], atol=1e-4
        )


def test_the_camera_is_one_for_the_clip(recoverer: Recoverer) -> None:
    found = recover_video(FRAMES[:4], recoverer=recoverer, focal_length=321.0, smooth=False)
    for track in found.tracks:
        assert set(track.motion.focal_length) == {321.0}


def test_a_file_its_overlay_and_its_tracks(
    recoverer: Recoverer, clip: Path, tmp_path: Path
) -> None:
    found = recover_video(clip, recoverer=recoverer)
    assert (found.name, len(found.tracks)) == ("clip.mp4", 2)
    found.save_motions(tmp_path, formats=("npz", "bvh"))
    found.save_tracks(tmp_path / "tracks.json", formats=("npz", "bvh"))
    with VideoReader(clip) as video:
        found.save_overlay(tmp_path / "overlay.mp4", iter(video))
    again = Motion.load(tmp_path / "track_02.npz", body=recoverer.body)
    np.testing.assert_allclose(again.joints, found.tracks[1].motion.joints, atol=1e-4)
    document = json.loads((tmp_path / "tracks.json").read_text())
    assert (document["format"], document["complete"]) == ("dualhmr-tracks", True)
    (first, second) = document["tracks"]
    assert first["files"] == ["track_01.npz", "track_01.bvh"]
    assert len(second["frames"]) == len(second["start"]) == len(second["reprojection_px"]) == 10
    with VideoReader(tmp_path / "overlay.mp4") as video:
        drawn = list(video)
    assert len(drawn) == 10
    assert abs(drawn[3].pixels.astype(int) - FRAMES[3]).max() > 60
    assert abs(drawn[3].pixels[:20, 130:].astype(int) - 90).max() < 20


def test_nobody_is_there(recoverer: Recoverer, tmp_path: Path) -> None:
    found = recover_video(FRAMES[:3], recoverer=recoverer, detector=detector(lambda _: people_at()))
    assert (found.tracks, len(found)) == ((), 3)
    frames = [VideoFrame(number, number / 30, FRAMES[number]) for number in range(3)]
    found.save_overlay(tmp_path / "overlay.mp4", iter(frames))
    assert (tmp_path / "overlay.mp4").stat().st_size > 0


def test_heads_are_dropped_when_their_tracks_end(recoverer: Recoverer) -> None:
    """Everybody leaves after three frames, and others come far away."""

    def people(number: int) -> Any:
        return people_at((30 if number < 3 else 130, 60), height=80 if number < 3 else 40)

    recovering = VideoRecoverer(recoverer, detector=detector(people))
    starts = [each.starts for each in recovering.frames(FRAMES[:6], fps=0.9)]
    # At 0.9 frames a second each frame is longer than the tolerated gap.
    assert starts == [("cold",)] * 6


def test_without_heads_to_keep_it_warns(caplog: pytest.LogCaptureFixture) -> None:
    recoverer = Recoverer(adaptation="onnx", detector=detector())
    found = recover_video(FRAMES[:4], recoverer=recoverer)
    assert "adaptation 'onnx' keeps no heads" in caplog.text
    assert {start for track in found.tracks for start in track.starts} == {"cold"}
