"""Accel-NASBench's recorded ImageNet trainings, and predictors fitted on them.

evidence    the recorded networks: 16-epoch ImageNet top-1, throughputs, latencies
models      two model classes that predict such values
evaluator   the evaluator `accel_nasbench`
build       makes the data files of this package from the benchmark's archive
"""
