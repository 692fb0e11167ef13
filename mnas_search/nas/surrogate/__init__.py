"""Models that predict accuracies from codes.

features          codes as points for regression
gaussian_process  kernel, fit, posterior
"""
