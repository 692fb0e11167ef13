"""Runners drive a `Source` of work: in this process, or over Ray workers."""
