"""What `model.fit` needs beyond Keras: replicas, resume, previews."""
