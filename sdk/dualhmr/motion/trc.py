"""Marker files of OpenSim (`.trc`): text, millimetres, y-up."""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def trc_text(
    file_name: str,
    names: Sequence[str],
    points: npt.ArrayLike,
    *,
    fps: float,
    first_frame: int = 1,
) -> str:
    """The file of N named markers (T, N, 3), in metres and y-up."""
    metres = np.asarray(points, np.float64)
    frames, markers, _ = metres.shape
    text = io.StringIO()
    text.write(f"PathFileType\t4\t(X/Y/Z)\t{file_name}\n")
    text.write("DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\t")
    text.write("OrigDataRate\tOrigDataStartFrame\tOrigNumFrames\n")
    rate = f"{fps:.6g}"
    text.write(f"{rate}\t{rate}\t{frames}\t{markers}\tmm\t{rate}\t{first_frame}\t{frames}\n")
    text.write("Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t\n")
    axes = (f"{axis}{marker}" for marker in range(1, markers + 1) for axis in "XYZ")
    text.write("\t\t" + "\t".join(axes) + "\n\n")
    for frame, row in enumerate(1000 * metres.reshape(frames, -1)):
        numbers = "\t".join(f"{value:.4f}" for value in row)
        text.write(f"{first_frame + frame}\t{frame / fps:.6f}\t{numbers}\n")
    return text.getvalue()
