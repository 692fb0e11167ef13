"""What follows a search: replicates, the finalist check, the comparison with baselines."""
