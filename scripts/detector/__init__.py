"""How the asset `movenet_multipose.onnx` is made; not installed."""
