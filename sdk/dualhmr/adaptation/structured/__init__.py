"""`adapt` for an affine iterative head, with its structure used: the same, many times faster.

The readable step, `dualhmr.adaptation.adapt`, is the definition; this is held to it by tests.
"""

from dualhmr.adaptation.structured.adapt_head import HeadAdaptation as HeadAdaptation
from dualhmr.adaptation.structured.adapt_head import adapt_head as adapt_head
from dualhmr.adaptation.structured.adapt_head import adapt_heads as adapt_heads
from dualhmr.adaptation.structured.affine_head import AffineHead as AffineHead
from dualhmr.adaptation.structured.arithmetic import Arithmetic as Arithmetic
from dualhmr.adaptation.structured.arithmetic import TorchArithmetic as TorchArithmetic
from dualhmr.adaptation.structured.arithmetic_for import arithmetic_for as arithmetic_for
from dualhmr.adaptation.structured.captured import CapturedHeads as CapturedHeads
