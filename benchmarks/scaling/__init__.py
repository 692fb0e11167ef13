"""Depth, width and resolution alone, and all three, trained: `mnas-search bench scaling`.

The second claim of the EfficientNet paper (arXiv 1905.11946, Table 3 and Figure 8) at a small
scale: base networks at 16 pixels are scaled to the same recounted FLOPs and trained alike, on
photographs that have more pixels than that.

    networks    base networks, and what they are scaled to
    settings    what decides the trainings, and their recipe
    hours       how long everything takes
    report      accuracies and differences, with intervals
    running     all of it, and the grid for alpha, beta and gamma
"""
