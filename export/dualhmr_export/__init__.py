"""Export: networks to bundles of ONNX files."""
