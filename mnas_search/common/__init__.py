"""What knows nothing of networks: errors, files, plug-ins, units, statistics, rendering."""
