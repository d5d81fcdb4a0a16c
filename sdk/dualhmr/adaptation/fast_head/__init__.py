"""`adapt` for an affine iterative head: the same results, many times faster.

The reference is `dualhmr.adaptation.adapt`; tests compare the two. Start with `head_step`.
"""

from dualhmr.adaptation.fast_head.adapt_head import HeadAdaptation as HeadAdaptation
from dualhmr.adaptation.fast_head.adapt_head import adapt_head as adapt_head
from dualhmr.adaptation.fast_head.adapt_head import adapt_heads as adapt_heads
from dualhmr.adaptation.fast_head.affine_head import AffineHead as AffineHead
from dualhmr.adaptation.fast_head.arithmetic import Arithmetic as Arithmetic
from dualhmr.adaptation.fast_head.arithmetic import TorchArithmetic as TorchArithmetic
from dualhmr.adaptation.fast_head.arithmetic import arithmetic_for as arithmetic_for
from dualhmr.adaptation.fast_head.captured_heads import CapturedHeads as CapturedHeads
