"""What ranks networks, against trainings: `mnas-search bench fidelity`.

Counts, zero-cost scores, short trainings and supernets, each alone and as the prior of `bayesian`,
judged by Kendall's tau with recorded accuracies (NAS-Bench-Macro), or with those of longer
trainings of the benchmark itself (any search space).

    macro        NAS-Bench-Macro: its search space and 1,200 recorded networks
    settings     what decides readings and rows; confirm.json
    subject      the networks
    place        what tasks work with
    tasks        zero-cost scores, trainings
    supernets    tasks of supernets
    phases       which tasks there are
    store        the kept results
    predictors   what they predict
    agreement    tau, regret, intervals
    rows         every predictor alone and as a prior
    report       what is written
    running      all of it
"""
