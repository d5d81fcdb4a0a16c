"""Use a body file of your own: SMPL, for networks that were trained on it.

Run: python examples/own_smpl.py photo.jpg keypoints.json my_bundle SMPL_NEUTRAL.pkl
`export_checkpoint.py` makes the bundle. SMPL is licensed: download it from its authors. A .pkl
file is read as data; no code in it runs.
"""

import argparse
from pathlib import Path

import dualhmr

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("photo", type=Path)
parser.add_argument("keypoints", type=Path, help="COCO or OpenPose JSON, or .npy")
parser.add_argument("bundle", type=Path, help="folder that `dualhmr export` wrote")
parser.add_argument("body", type=Path, help="SMPL as .pkl or .npz")
parser.add_argument("--out", type=Path, default=Path("smpl_parameters.npz"))
options = parser.parse_args()

keypoints = dualhmr.read_keypoints(options.keypoints, image_name=options.photo.name)
recoverer = dualhmr.Recoverer(options.bundle, body=options.body)
recovery = recoverer.recover(options.photo, keypoints)
recovery.save(options.out)  # global_orient, body_pose, betas, translation, vertices, ...

for person in recovery:
    print(f"betas {person.betas[0].round(2).tolist()}, {person.translation[0, 2]:.2f} m away")
