"""The test-time adaptation of a bundle's main network as one ONNX graph, `adaptation.onnx`.

It computes the same as `dualhmr.adaptation.adapt`, as tests and the parity report check. It is made
of the fast step and the closed-form gradient, exported piece by piece. Of the same pieces are the
graphs of single steps, which TensorRT runs.
"""

from dualhmr_export.adaptation_graph.build import TracedProblem as TracedProblem
from dualhmr_export.adaptation_graph.build import adaptation_graph as adaptation_graph
from dualhmr_export.adaptation_graph.problem import GraphProblem as GraphProblem
