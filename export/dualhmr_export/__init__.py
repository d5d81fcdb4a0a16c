"""Export checkpoints to bundles of ONNX graphs and TensorRT engines."""
