"""Train networks: a preset, and any of its fields.

Every field of the configuration can be given as `--field value`, nested ones with dots:
`--steps 2000 --inner.learning_rate 1e-3`. Training that was interrupted is resumed by the same
command. Under torchrun it runs in several processes.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from dualhmr_training.configuration import PRESETS
from dualhmr_training.overrides import with_overrides
from dualhmr_training.synthetic.poses import read_poses

NAME = "train"
TAKES_FIELDS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("preset", choices=PRESETS)
    parser.add_argument("--poses", type=Path, help="pose file (.npz) for synthetic people")
    parser.add_argument("--out", type=Path, help="folder for weights, checkpoints and history")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--show", action="store_true", help="print the configuration and stop")


def run(options: argparse.Namespace) -> int:
    """Trains."""
    config = with_overrides(PRESETS[options.preset](), options.fields)
    if options.show:
        print(json.dumps(asdict(config), indent=2))
        return 0
    if options.poses is None or options.out is None:
        raise ValueError("training needs --poses FILE and --out DIR")
    poses = read_poses(options.poses)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        from dualhmr_training.synthetic_training import train_on_synthetic_people
    except ImportError as error:
        raise ImportError(f'{error}; training needs pip install "dualhmr[training]"') from error
    train_on_synthetic_people(config, poses, options.out)
    print(f"the weights are in {options.out}", file=sys.stderr)
    return 0
