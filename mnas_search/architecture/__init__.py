"""Networks as values and their cost, without torch.

stage           one stage and the stem
value           `Architecture`, the frozen value of a network
block_string    stages as text, timm's grammar
kind            block kinds, and the plans of blocks
blocks/         every integer of a network, resolved once
cost/           params, multiply-adds, memory, predicted latency
scaling/        compound scaling
adaptation      the strides that a network keeps on small images
published       published architectures by name
traced_network  networks that are not a chain of stages
"""
