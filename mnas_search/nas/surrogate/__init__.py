"""Models that predict accuracies from codes.

features              codes as points for regression
gaussian_process      kernel, fit, posterior
expected_improvement  of normal and log-normal variables
predictor             a fit to readings of some networks, as a function of codes
"""
