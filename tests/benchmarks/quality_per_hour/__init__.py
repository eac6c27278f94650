"""Quality per core-hour: which network, masks and plan make the most of the same processor time. See README.md."""
