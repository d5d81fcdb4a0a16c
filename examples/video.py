"""Follow people through a video; write their motions and a video with the bodies drawn over it.

Run: python examples/video.py clip.mp4 --out results

Needs PyAV and SciPy: pip install "dualhmr[fast,video]".
"""

import argparse
from pathlib import Path

import dualhmr
from dualhmr.video import FrameRecovery, VideoReader

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("video", type=Path)
parser.add_argument("--out", type=Path, default=Path("dualhmr-out"), help="folder of the results")
options = parser.parse_args()


def show(found: FrameRecovery) -> None:
    """Called with each frame as soon as it is recovered."""
    print(f"{found.frame.time_s:6.2f} s: tracks {found.tracks}, starts {found.starts}")


options.out.mkdir(parents=True, exist_ok=True)
result = dualhmr.recover_video(options.video, on_frame=show)
for track in result.tracks:
    pelvis = track.motion.joints[:, 0]
    print(f"person {track.number}: {len(pelvis)} frames, {pelvis[-1, 2]:.1f} m away at the end")
    track.motion.save(options.out / f"person_{track.number}.glb")
with VideoReader(options.video) as video:
    result.save_overlay(options.out / "overlay.mp4", iter(video))
