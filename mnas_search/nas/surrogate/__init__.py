"""Models that predict accuracies from codes.

features          codes as points for regression
gaussian_process  kernel, fit, posterior
predictor         a fit to readings of some networks, as a function of codes
"""
