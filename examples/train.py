"""Train a small pair of networks, with test-time optimisation inside the training.

Run: python examples/train.py --steps 200 --out runs/small
Needs: pip install "dualhmr[training]"
The poses are random, so the networks are of no practical value. With captured poses:
dualhmr train demo --poses poses.npz --out runs/demo
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from dualhmr_training.data.synthetic.poses import PoseFile
from dualhmr_training.presets import PRESETS
from dualhmr_training.run import open_accelerator
from dualhmr_training.synthetic_training import train_on_synthetic_people

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/small"), help="resumed if it exists")
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--batch", type=int, default=32)
options = parser.parse_args()

torch.manual_seed(0)
poses = PoseFile(
    rotvecs=0.2 * torch.randn(400, 24, 3),  # SMPL's joints, rotation vectors in radians
    clips=tuple(f"clip_{i % 20:02}" for i in range(400)),  # a few clips are kept for validation
)
config = replace(
    PRESETS["demo"](), steps=options.steps, batch=options.batch, validate_every=options.steps
)
accelerator = open_accelerator("cpu")
train_on_synthetic_people(config, poses, options.out, accelerator=accelerator)
last = json.loads((options.out / "history.jsonl").read_text().splitlines()[-1])
for network in ("main", "adapted", "auxiliary"):
    print(f"{network:9} PA-MPJPE {last[f'{network}/pa_mpjpe']:.1f} mm on held-out people")
