"""The network and the Keras model that trains it and samples with it."""
