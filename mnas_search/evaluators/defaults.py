"""Names of the evaluators and data that a run falls back on."""

TRAINING = "proxy_training"
EVIDENCE = "accel_nasbench"
DEFAULT_DATA = "digits"
