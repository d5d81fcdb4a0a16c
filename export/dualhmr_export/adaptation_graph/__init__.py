"""The test-time adaptation of a bundle's main network as one ONNX graph, `adaptation.onnx`.

The same as `dualhmr.adaptation.adapt`, to which tests and the parity report hold it; written with
the structured step and the closed-form gradient, and exported piece by piece.
"""

from dualhmr_export.adaptation_graph.build import MAX_STEPS as MAX_STEPS
from dualhmr_export.adaptation_graph.build import adaptation_graph as adaptation_graph
from dualhmr_export.adaptation_graph.build import write_adaptation_graph as write_adaptation_graph
from dualhmr_export.adaptation_graph.problem import GraphProblem as GraphProblem
