"""Train networks: a preset, and any of its fields.

Every field of the configuration can be given after the preset as --field value, nested ones with
dots: --steps 2000 --inner.learning_rate 1e-3. --show prints them all. The same command resumes a
training that was interrupted. Several processes or GPUs train together under torchrun:
torchrun --nproc-per-node 4 -m dualhmr.cli train ...
"""

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch

from dualhmr.body.model import Body, load_body
from dualhmr_training.configuration import with_overrides
from dualhmr_training.data.synthetic.people import Population, wide_population
from dualhmr_training.data.synthetic.pose_prior import TRAINING_SEED, prior_poses
from dualhmr_training.data.synthetic.poses import read_poses
from dualhmr_training.presets import PRESETS

NAME = "train"
TAKES_FIELDS = True

_WIDE = "wide"

_UNUSED = {
    "synthetic": ("datasets", "gendered_bodies", "extra_joints"),
    "datasets": ("poses",),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("preset", choices=PRESETS)
    parser.add_argument("--show", action="store_true", help="print the configuration and stop")
    parser.add_argument("--out", type=Path, help="folder for weights, checkpoints and history")
    parser.add_argument(
        "--poses", type=Path,
        help="of synthetic people: file or folder (ours, AMASS, SMPL; default: the pose prior)",
    )  # fmt: skip
    parser.add_argument(
        "--people", choices=("plain", _WIDE),
        help="synthetic people (default: the preset's): plain, or wide: balanced, all ages, "
        "cut-off people, cameras as in photographs, errors of the default detector",
    )  # fmt: skip
    parser.add_argument("--datasets", type=Path, help="folder with a folder for each data set")
    parser.add_argument("--body", type=Path, help="body file, such as SMPL's (default: the free)")
    parser.add_argument(
        "--gendered-bodies", nargs=2, type=Path, metavar=("MALE", "FEMALE"),
        help="body files for 3DPW's betas, which otherwise count as the neutral body's",
    )  # fmt: skip
    parser.add_argument("--extra-joints", type=Path, help="SPIN's J_regressor_extra.npy")
    parser.add_argument("--mean-params", type=Path, help="SPIN's smpl_mean_params.npz")
    parser.add_argument(
        "--initial", type=Path, metavar="NETWORKS",
        help="begin from the weights of a bundle, or of a finished training's folder",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    parser.add_argument("--threads", type=int, help="CPU threads of each process")
    parser.add_argument(
        "--workers",
        type=int,
        default=4,
        help="processes that load or render images (%(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Trains."""
    config = PRESETS[options.preset]()
    if options.people is not None:
        people = wide_population() if options.people == _WIDE else Population()
        config = replace(config, population=people)
    config = with_overrides(config, options.fields)
    if options.show:
        print(json.dumps(asdict(config), indent=2))
        return 0
    needed = ("datasets", "out") if config.data == "datasets" else ("out",)
    if any(getattr(options, name) is None for name in needed):
        names = " and ".join(f"--{name}" for name in needed)
        raise ValueError(f"training {options.preset} needs {names}")
    _refuse_unused(options, config.data)
    try:
        # Here, since every subcommand of `dualhmr` would wait for them, and some have no need.
        from dualhmr.networks import read_mean_params
        from dualhmr_training.dataset_training import train_on_datasets
        from dualhmr_training.run import close_accelerator, open_accelerator
        from dualhmr_training.synthetic_training import train_on_synthetic_people
        from dualhmr_training.training_folder import open_networks
    except ImportError as error:
        raise ImportError(f'{error}; training needs pip install "dualhmr[training]"') from error
    body = load_body(options.body, extra_joints=options.extra_joints)
    mean_params = None if options.mean_params is None else read_mean_params(options.mean_params)
    initial = None if options.initial is None else open_networks(options.initial)
    accelerator = open_accelerator(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    if config.data == "synthetic":
        train_on_synthetic_people(
            config,
            prior_poses(TRAINING_SEED) if options.poses is None else read_poses(options.poses),
            options.out,
            accelerator=accelerator,
            body=body,
            mean_params=mean_params,
            initial=initial,
            workers=options.workers,
        )
    else:
        gendered: tuple[Body, Body] | tuple[()] = ()
        if options.gendered_bodies:
            male, female = (
                load_body(each, extra_joints=options.extra_joints)
                for each in options.gendered_bodies
            )
            gendered = (male, female)
        train_on_datasets(
            config,
            options.datasets,
            options.out,
            accelerator=accelerator,
            body=body,
            gendered_bodies=gendered,
            mean_params=mean_params,
            initial=initial,
            workers=options.workers,
        )
    if accelerator.is_main_process:
        print(f"the weights are in {options.out}", file=sys.stderr)
    close_accelerator(accelerator)
    return 0


def _refuse_unused(options: argparse.Namespace, data: str) -> None:
    unused = [name for name in _UNUSED[data] if getattr(options, name) is not None]
    if unused:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
        raise ValueError(f"{names} would change nothing with --data {data}; leave it out")
