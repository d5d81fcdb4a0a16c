"""Recover without PyTorch: ONNX Runtime runs the networks and the adaptation.

Run: python examples/without_pytorch.py
Needs: pip install dualhmr, which does not install PyTorch.
"""

import sys

import dualhmr
from dualhmr.example import example

# "auto", the default, takes "torch" where PyTorch is installed and "onnx" otherwise.
recoverer = dualhmr.Recoverer(backend="onnxruntime", adaptation="onnx")
image, keypoints = example()
recovery = recoverer.recover(image, keypoints)

print(f"networks: {recovery.engine}")
print(f"adaptation: {recovery.adaptation}")
print(f"PyTorch loaded: {'torch' in sys.modules}")
for stage, milliseconds in recovery.timings_ms.items():
    print(f"{stage:10} {milliseconds:8.1f} ms")
