"""Methods of others, each used as its authors publish it.

No peer but Optuna's samplers has a notion of a constraint. Those that have none are told
`Told.penalised`: over the target the smaller of the reward and accuracy * target / cost, MnasNet's
hard reward. A network over the target cannot win here, and the soft reward alone, which falls by
0.7 % where the cost grows by 10 %, would never lead them back under it; a reward of 0 would hide
which way is back. On the hard problems this is the reward itself.
"""
