"""Export a checkpoint (Meta-HMR, CLIFF, SPIN, or a folder of `dualhmr train`) to a bundle.

Run: python examples/export_checkpoint.py checkpoint.pt my_bundle
Needs: pip install "dualhmr[export]"
The same on the command line: dualhmr export checkpoint.pt --out my_bundle
"""

import argparse
from pathlib import Path

import dualhmr
from dualhmr_export.checkpoints import import_checkpoint
from dualhmr_export.export import export, manifest_for, provenance_of

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("checkpoint", type=Path)
parser.add_argument("bundle", type=Path, help="folder to write, a new one")
parser.add_argument("--precision", choices=("fp32", "fp16", "bf16"), default="fp32")
options = parser.parse_args()

networks = import_checkpoint(options.checkpoint)
print(f"{options.checkpoint} is a checkpoint of {networks.kind}")
manifest = manifest_for(
    networks,
    name=options.bundle.name,
    description=networks.kind,
    provenance=provenance_of([options.checkpoint]),
    precision=options.precision,
    max_batch=8,
)
print(export(networks, manifest, options.bundle))  # compares each graph with PyTorch
print(dualhmr.open_bundle(options.bundle).manifest.main)
