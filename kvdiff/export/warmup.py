"""Warm-up records: requests that TensorFlow Serving sends to itself before a version is said to be ready."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np

WARMUP = pathlib.PurePosixPath("assets.extra/tf_serving_warmup_requests")
"""Where the server looks for them, inside the version."""


def write_warmup(version: pathlib.Path, requests: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Write one request for each signature: `requests[signature][input]`, an array with the batch on axis 0."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    path = version / WARMUP
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = signature
            for name, value in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
