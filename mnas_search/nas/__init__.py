"""The search itself, without torch.

space/        search spaces, their codes and exact costs
objective     rewards and constraints
problem       what a controller is told
controller    the contract of controllers
evaluator     the contract of evaluators
trial         evaluations and trials as values
events        trials as events of a journal, and back
journal       the append-only record of a run
job           evaluations and the queues that hand them out
core          the passive search: `next()` and `record()`
asha          early stopping
surrogate/    Gaussian processes over codes
"""
