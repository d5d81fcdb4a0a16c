"""Frames of video files and webcams, upright, with their times; and writing a video. Needs PyAV."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.arguments import whole_number
from dualhmr.files import atomic_path
from dualhmr.untrusted import brief

Pixels = npt.NDArray[np.uint8]

_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,h264,hevc,ivf,obu,flv,ogg,"
    "asf,gif,mxf,dv,yuv4mpegpipe"
)
"""Containers that are read. Playlists are not among them: they make a reader open other files."""
_MOST_PIXELS = 8192 * 8192
_MISSING_S = 1.0
"""A clip that ends this long before its header says is truncated."""
_DEFAULT_FPS = 30.0
_TICKS = 90_000
"""Of a second, in written videos."""


class VideoFrame(NamedTuple):
    """One frame of a video."""

    number: int
    """Counted from 0."""
    time_s: float
    """Seconds after the first frame."""
    pixels: Pixels
    """(H, W, 3) RGB, upright."""


class VideoReader:
    """The frames of a video file, or of a webcam by its index; read them once.

    `with VideoReader("clip.mp4") as video: for frame in video: ...`
    """

    def __init__(self, source: str | os.PathLike[str] | int) -> None:
        """Opens `source` and finds its video stream.

        Raises FileNotFoundError for a missing file or webcam; ValueError for an empty file, one
        that is no video or is damaged at its beginning, and one with sound alone; ImportError
        without PyAV; RuntimeError for a webcam on a system where PyAV has no input for it.
        """
        self.name, self._container = _open(source)
        self.is_live = not isinstance(source, str | os.PathLike)
        try:
            self._stream = _video_stream(self._container, self.name)
        except BaseException:
            self._container.close()
            raise
        self.fps = float(self._stream.average_rate or self._stream.guessed_rate or _DEFAULT_FPS)
        """Frames a second, on average over the clip."""
        self.warnings: list[str] = []
        """Filled while frames are read: damaged frames, a truncated file."""

    def __repr__(self) -> str:
        return f"VideoReader({self.name}, {self.fps:.4g} frames a second)"

    def __enter__(self) -> VideoReader:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file or the webcam."""
        self._container.close()

    @property
    def frame_count(self) -> int | None:
        """What the header says, or what its duration and rate make; None where it says neither."""
        if self.is_live:
            return None
        seconds = self._promised_s
        return self._stream.frames or (None if seconds is None else round(seconds * self.fps))

    @property
    def _promised_s(self) -> float | None:
        stream, container = self._stream, self._container
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        return float(container.duration) / 1e6 if container.duration else None

    def __iter__(self) -> Iterator[VideoFrame]:
        """The frames in order of their times, which increase even where the file's do not.

        Damaged frames are left out, and a truncated file ends early; `warnings` say so. Raises
        ValueError if there is no frame at all.
        """
        first: float | None = None
        size: tuple[int, int] | None = None
        number, time_s = -1, -1.0
        for number, frame in enumerate(self._decoded()):
            stamp = frame.time if frame.time is not None else number / self.fps
            first = stamp if first is None else first
            # Some files repeat a time, or go back.
            time_s = max(stamp - first, time_s + 1e-4)
            if size is None:
                size = _checked_size(frame, self.name)
            rgb = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
            turns = round(getattr(frame, "rotation", 0) / 90) % 4
            yield VideoFrame(number, time_s, np.ascontiguousarray(np.rot90(rgb, turns)))
        if number < 0:
            raise ValueError(f"{self.name} has no frame that can be decoded; is it damaged?")
        self._check_length(number + 1, time_s + 1 / self.fps)

    def _decoded(self) -> Iterator[Any]:
        av = _pyav()
        damaged = 0
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
                frames = packet.decode()
            except StopIteration:
                break
            except av.error.EOFError:
                break
            except av.error.InvalidDataError:
                damaged += 1
                if damaged > 1000:
                    break
                continue
            except av.error.FFmpegError as error:
                self.warnings.append(f"{self.name} cannot be read to its end: {brief(error)}")
                break
            yield from frames
        if damaged:
            self.warnings.append(f"{self.name}: {damaged} damaged parts were left out")

    def _check_length(self, frames: int, read_s: float) -> None:
        missing_s = max(
            (self._promised_s or 0.0) - read_s, (self._stream.frames - frames) / self.fps
        )
        if not self.is_live and missing_s > _MISSING_S:
            self.warnings.append(
                f"{self.name} ends after {read_s:.1f} s, {missing_s:.1f} s before its header says; "
                "the rest is missing or damaged"
            )


def _open(source: str | os.PathLike[str] | int) -> tuple[str, Any]:
    """A name for messages, and the opened container."""
    av = _pyav()
    if not isinstance(source, str | os.PathLike):
        return _open_webcam(av, whole_number("source", source, "a path, or a webcam's index"))
    path = Path(source)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, expected a video file")
    if not path.is_file():
        raise FileNotFoundError(f"no video at {path}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty, expected a video")
    # A video never makes us open other files or the network.
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    try:
        return path.name, av.open(f"file:{path.resolve()}", options=options)
    except PermissionError as error:
        raise PermissionError(f"no permission to read {path}") from error
    except av.error.FFmpegError as error:
        raise ValueError(
            f"{path} cannot be opened as a video ({brief(error)}); is it damaged, or another kind "
            "of file?"
        ) from error


def _open_webcam(av: Any, index: int) -> tuple[str, Any]:
    if index < 0:
        raise ValueError(f"a webcam's index is 0 or more, got {index}")
    if not sys.platform.startswith("linux"):
        raise RuntimeError(
            "webcams are opened by index on Linux only (v4l2); elsewhere pass frames of your own "
            "to VideoRecoverer.frames"
        )
    device = Path(f"/dev/video{index}")
    if not device.exists():
        raise FileNotFoundError(f"no webcam {index}: {device} does not exist")
    try:
        return f"webcam {index}", av.open(str(device), format="v4l2")
    except (av.error.FFmpegError, OSError) as error:
        raise RuntimeError(f"webcam {index} cannot be opened: {brief(error)}") from error


def _video_stream(container: Any, name: str) -> Any:
    # A cover picture in a sound file is a video stream of one frame.
    found = [
        stream
        for stream in container.streams.video
        if not int(getattr(stream, "disposition", 0)) & _ATTACHED_PICTURE
    ]
    if not found:
        sound = ", only sound" if container.streams.audio else ""
        raise ValueError(f"{name} has no video in it{sound}")
    stream = found[0]
    if stream.codec_context is None:
        raise ValueError(f"{name}: this PyAV has no decoder for its video")
    stream.thread_type = "AUTO"
    return stream


_ATTACHED_PICTURE = 0x400
"""FFmpeg's AV_DISPOSITION_ATTACHED_PIC."""


def _checked_size(frame: Any, name: str) -> tuple[int, int]:
    width, height = int(frame.width), int(frame.height)
    if width * height > _MOST_PIXELS:
        raise ValueError(f"{name} has frames of {width}x{height} pixels, more than {_MOST_PIXELS}")
    return width, height


class VideoWriter:
    """Writes an `.mp4` whose file appears when all of it is written; H.264, else MPEG-4.

    Use it in a `with`; where the block raises, no file appears.
    """

    def __init__(self, path: str | os.PathLike[str], *, fps: float) -> None:
        """`fps` is the nominal rate in the file; each frame has its own time stamp."""
        self._rate = Fraction(fps).limit_denominator(1001)
        self._stack = contextlib.ExitStack()
        self._path = Path(path)
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> VideoWriter:
        """Itself. Raises what `atomic_path` does, and ImportError without PyAV."""
        av = _pyav()
        temporary = self._stack.enter_context(atomic_path(self._path))
        self._container = av.open(str(temporary), "w", format="mp4")
        return self

    def __exit__(self, *error: Any) -> None:
        """Ends the file and gives it its name."""
        try:
            if error[0] is None and self._stream is not None:
                for packet in self._stream.encode():
                    self._container.mux(packet)
        except BaseException:
            error = sys.exc_info()
            raise
        finally:
            self._container.close()
            self._stack.__exit__(*error)

    def write(self, pixels: Pixels, time_s: float) -> None:
        """One more frame (H, W, 3) RGB, of the size of the first, later than the one before.

        A side of an odd length loses its last row or column, as the codecs need even ones.
        """
        av = _pyav()
        height, width = (side - side % 2 for side in pixels.shape[:2])
        if self._stream is None:
            self._stream = _added_stream(self._container, self._rate, width, height)
        elif (self._stream.height, self._stream.width) != (height, width):
            raise ValueError(
                f"a frame of {width}x{height} pixels came after ones of "
                f"{self._stream.width}x{self._stream.height}"
            )
        cut = np.ascontiguousarray(pixels[:height, :width])
        frame = av.VideoFrame.from_ndarray(cut, format="rgb24")
        frame.pts, frame.time_base = round(time_s * _TICKS), Fraction(1, _TICKS)
        for packet in self._stream.encode(frame):
            self._container.mux(packet)


def _added_stream(container: Any, rate: Fraction, width: int, height: int) -> Any:
    av = _pyav()
    if width < 2 or height < 2:
        raise ValueError(f"frames of {width}x{height} pixels are too small for a video")
    h264 = "libx264" in av.codecs_available
    # With mbtree, what x264 writes depends on bytes of memory that it has not written.
    x264 = {"crf": "20", "preset": "veryfast", "x264-params": "mbtree=0"}
    options = x264 if h264 else {"qscale": "3"}
    stream = container.add_stream("libx264" if h264 else "mpeg4", rate=rate, options=options)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    if not h264:
        stream.bit_rate = 8 * width * height
    stream.codec_context.time_base = Fraction(1, _TICKS if h264 else 60_000)
    # The same bytes whatever the number of cores. Drawing the bodies takes longer anyway.
    stream.codec_context.thread_count = 1
    return stream


def _pyav() -> Any:
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise ImportError(f'videos need PyAV ({error}): pip install "dualhmr[video]"') from error
