"""The stages of a run, in sequence.

trainings            the networks and seeds of a stage, with their journalled results
sequence             all stages, made from the configuration and the journals
replicates           further trainings of some networks: the noise between seeds
finalist_check       after a search by predictions: a second opinion on the finalists
baseline_comparison  after a search on data: the best candidates beside baselines
held_out        the test split, for the recommended network and the best baseline
"""
