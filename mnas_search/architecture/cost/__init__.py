"""What networks cost.

base     the value `Cost` and the conventions
count    params, multiply-adds and memory from the plans
memory   bytes in inference and of a training step
traced   networks that are no chain of stages, counted by torch
metrics  what can be a target or a limit
latency/ seconds, predicted from a table of parts
"""
