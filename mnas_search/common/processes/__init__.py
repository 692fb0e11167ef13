"""How processes end: signals, time limits of code, folders of processes that were killed."""
