"""Reading and writing videos, with clips that PyAV makes here."""

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from dualhmr.video.frames import VideoReader, VideoWriter

TIMES = [0.0, 0.1, 0.15, 0.4, 0.7, 0.8, 0.9, 1.0, 1.2, 2.0]


def picture(number: int) -> NDArray[np.uint8]:
    """(120, 160, 3), the top left corner bright, as bright below it as the number says."""
    pixels = np.full((120, 160, 3), 20, np.uint8)
    pixels[:40, :40] = 240
    pixels[60:] = 25 * number
    return pixels


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with VideoWriter(path, fps=10) as video:
        for number, time_s in enumerate(TIMES):
            video.write(picture(number), time_s)
    return path


def test_what_was_written_is_read(clip: Path) -> None:
    with VideoReader(clip) as video:
        frames = list(video)
        assert video.frame_count == len(TIMES)
        assert not video.warnings
        assert not video.is_live
    assert [frame.number for frame in frames] == list(range(10))
    assert [frame.time_s for frame in frames] == pytest.approx(TIMES, abs=1e-4)
    for frame in frames:
        assert frame.pixels.shape == (120, 160, 3)
        assert abs(frame.pixels.astype(int) - picture(frame.number)).mean() < 4


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [
        ((0, 1, 0, -1, 0, 0), (slice(0, 30), slice(-30, None))),  # shown a quarter turn clockwise
        ((0, -1, 0, 1, 0, 0), (slice(-30, None), slice(0, 30))),
        ((-1, 0, 0, 0, -1, 0), (slice(-30, None), slice(-30, None))),
    ],
)
def test_rotation_in_the_header_is_undone(
    clip: Path, tmp_path: Path, matrix: tuple[int, ...], corner: tuple[slice, slice]
) -> None:
    data = bytearray(clip.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    values = [value * 65536 for value in matrix]
    data[at : at + 24] = struct.pack(">6i", *values)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(data)
    with VideoReader(turned) as video:
        pixels = next(iter(video)).pixels
    assert pixels.shape == ((160, 120, 3) if matrix[0] == 0 else (120, 160, 3))
    assert pixels[corner].mean() > 200
    assert pixels[:30, :30].mean() < 60


def test_a_truncated_file_gives_its_frames_and_a_warning(tmp_path: Path) -> None:
    whole = tmp_path / "whole.avi"
    rng = np.random.default_rng(0)
    with av.open(str(whole), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(5))
        stream.width, stream.height = 160, 120
        for _ in range(20):
            noise = rng.integers(0, 255, (120, 160, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise)))
        container.mux(stream.encode())
    cut = tmp_path / "cut.avi"
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    with VideoReader(cut) as video:
        count = len(list(video))
        assert 4 <= count < 16
        assert any("the rest is missing or damaged" in each for each in video.warnings)


def sound(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        samples.rate = 8000
        container.mux(stream.encode(samples))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda _: None, FileNotFoundError, "no video at"),
        (lambda path: path.mkdir(), IsADirectoryError, "is a folder, expected a video file"),
        (lambda path: path.touch(), ValueError, "is empty, expected a video"),
        (lambda path: path.write_bytes(b"no video" * 99), ValueError, "cannot be opened as a vid"),
        (sound, ValueError, "has no video in it, only sound"),
        (
            lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n"),
            ValueError,
            "cannot be opened as a video",
        ),
    ],
)
def test_what_is_no_video(
    tmp_path: Path, make: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    path = tmp_path / "clip.mp4"
    make(path)
    with pytest.raises(error, match=message):
        VideoReader(path)


def test_webcams_that_are_not_there() -> None:
    with pytest.raises((FileNotFoundError, RuntimeError), match=r"no webcam 97|on Linux only"):
        VideoReader(97)
    with pytest.raises(ValueError, match="0 or more, got -1"):
        VideoReader(-1)
    with pytest.raises(TypeError, match="expected a path, or a webcam's index"):
        VideoReader(1.5)  # type: ignore[arg-type]


def test_half_a_video_never_appears(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, fps=5) as video:  # noqa: PT012
        video.write(picture(0), 0.0)
        raise KeyboardInterrupt
    with (  # noqa: PT012
        pytest.raises(ValueError, match="160x120 pixels came after ones of 80x60"),
        VideoWriter(path, fps=5) as video,
    ):
        video.write(picture(0)[:60, :80], 0.0)
        video.write(picture(1), 0.2)
    assert not list(tmp_path.iterdir())


def test_without_h264_it_is_mpeg4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    with VideoWriter(tmp_path / "odd.mp4", fps=29.97) as video:
        for number in range(5):
            video.write(picture(number)[:119, :159], number / 29.97)
    with VideoReader(tmp_path / "odd.mp4") as video:
        frames = list(video)
    assert [frame.time_s for frame in frames] == pytest.approx(np.arange(5) / 29.97, abs=1e-3)
    assert frames[3].pixels.shape == (118, 158, 3)
