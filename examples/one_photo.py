"""Recover the body in one photograph: the example that comes with dualhmr.

Run: python examples/one_photo.py
Needs: pip install dualhmr
"""

import argparse
from pathlib import Path

from PIL import Image

import dualhmr
from dualhmr.example import example

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("dualhmr-out"), help="folder of the results")
options = parser.parse_args()

image, _ = example()  # a path serves as well
recovery = dualhmr.recover(image)  # finds the people; dualhmr.recover(image, keypoints) takes yours

print(f"{len(recovery)} person: vertices {recovery.vertices.shape}, metres, camera frame")
before, after = recovery.reprojection_px[0]
print(f"keypoints {before:.1f} px off before adaptation, {after:.1f} px after")
print(f"{recovery.steps[0]} steps, stopped because: {recovery.stop_reason[0]}")

options.out.mkdir(parents=True, exist_ok=True)
recovery.save(options.out / "body.glb")
Image.fromarray(recovery.overlay(image, keypoints=True)).save(options.out / "overlay.png")
Image.fromarray(recovery.step_strip(image)).save(options.out / "steps.png")
