"""What a network is and what it costs, without torch.

stage           one stage and the stem
value           `Architecture`, the frozen value that everything else is a function of
block_string    stages as text, timm's grammar
kind            block kinds and what a plan holds
blocks/         every integer of a network, resolved once
cost/           params, multiply-adds, memory, predicted latency
scaling/        compound scaling
published       published architectures by name
traced_network  networks that are no chain of stages
"""
