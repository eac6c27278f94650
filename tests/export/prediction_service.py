"""A stand-in for TensorFlow Serving: its gRPC service and its batching, in a process without kvdiff and Keras.

`python -m tests.export.prediction_service VERSION BATCHES` prints the port and answers `Predict` on the loopback device
until it is killed. Rows of requests that arrive together share a batch, by TensorFlow's batching operation, which is
the server's; the sizes of the batches are appended to the file BATCHES.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent import futures
from typing import Any

sys.modules |= dict.fromkeys(("kvdiff", "keras", "tf_keras"))  # Importing them fails from here on.

import grpc  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc  # noqa: E402

tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})  # Costs more than the few calls here.


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers with the signatures of one version."""

    def __init__(self, version: str, batches: str) -> None:
        self._model = tf.saved_model.load(version)
        self._signatures = {name: batched(function, batches) for name, function in self._model.signatures.items()}

    def Predict(self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext) -> Any:
        """Run the signature that the request names."""
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        try:
            outputs = self._signatures[request.model_spec.signature_name or "serving_default"](inputs)
        except (KeyError, ValueError, tf.errors.OpError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response


def batched(signature: Any, batches: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """`signature` for a dictionary of inputs whose rows share batches with those of other calls."""
    specs = signature.structured_input_signature[1]
    inputs, outputs = sorted(specs), sorted(signature.structured_outputs)

    @tf.nondifferentiable_batch_function(
        num_batch_threads=1, max_batch_size=4, batch_timeout_micros=500_000, allowed_batch_sizes=[2, 4]
    )
    def run(*rows: Any) -> list[Any]:
        tf.print(tf.shape(rows[0])[0], output_stream=f"file://{batches}")
        made = signature(**dict(zip(inputs, rows, strict=True)))
        return [made[name] for name in outputs]

    @tf.function(input_signature=[specs], autograph=False)  # Open on the batch axis, so one batcher for all.
    def call(given: dict[str, Any]) -> dict[str, Any]:
        return dict(zip(outputs, run(*(given[name] for name in inputs)), strict=True))

    return call


if __name__ == "__main__":
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(*sys.argv[1:]), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()
