"""The layers of the network, in `keras.ops` alone."""
