"""The objective and its gradient in closed form: what autograd would give, several times faster.

Every stage from the head's estimate to the losses has a forward, which returns what its backward
reads, and a backward, which maps the gradient of the stage's output to that of its input. All of it
is plain out-of-place tensor code without data-dependent branches, so it can be captured, traced and
exported.

`grad_x` is the gradient of the minimised losses with respect to `x` and has its shape. N counts
persons, J joints, K points, V vertices, B betas.
"""

from dualhmr.objective.gradient.gradient import ObjectiveGradient as ObjectiveGradient
