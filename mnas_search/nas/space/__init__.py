"""Search spaces: decisions, codes, and exact costs of whole batches.

contract    what a search space is
choices     decisions and codes, sampling, mutation
mapped      spaces whose networks are changed alike
encoding    architecture -> choices
adapted     spaces whose networks are adapted to small images
cost        costs of batches of codes from tables, and the feasible ranges
cost_model  costs of single networks, by metric
"""
