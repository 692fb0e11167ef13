"""TODO: mnas_search.evaluators.defaults."""

TRAINING = "proxy_training"


EVIDENCE = "accel_nasbench"


DEFAULT_DATA = "digits"
