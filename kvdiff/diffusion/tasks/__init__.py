"""Tasks: which frames are known, in training and in sampling, and the windows of a long video."""
