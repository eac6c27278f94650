"""KServe's REST server over exported versions, in a process without kvdiff and Keras.

`python -m tests.export.serving.kserve_server PORT NAME=VERSION …` answers `/v1/models/NAME:predict` in the form of
TensorFlow Serving: a list of rows in, one value a row out, files in base64.
"""

from __future__ import annotations

import base64
import sys
from typing import Any

sys.modules |= dict.fromkeys(("kvdiff", "keras", "tf_keras"))  # Importing them fails from here on.

import kserve  # noqa: E402
import tensorflow as tf  # noqa: E402


class Served(kserve.Model):
    """The signatures of one version."""

    def __init__(self, name: str, version: str) -> None:
        super().__init__(name)
        self._model = tf.saved_model.load(version)
        self.ready = True

    def predict(self, payload: dict[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Rows as a batch through the signature that the request names."""
        function = self._model.signatures[payload.get("signature_name", "serving_default")]
        specs, rows = function.structured_input_signature[1], payload["instances"]
        inputs = {name: tf.constant([row[name] for row in rows], spec.dtype) for name, spec in specs.items()}
        (value,) = function(**inputs).values()
        return {"predictions": encoded(value.numpy().tolist())}


def encoded(value: Any) -> Any:
    """What JSON can hold."""
    if isinstance(value, list):
        return [encoded(entry) for entry in value]
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


if __name__ == "__main__":
    models = [Served(*argument.split("=", 1)) for argument in sys.argv[2:]]
    kserve.ModelServer(http_port=int(sys.argv[1]), enable_grpc=False).start(models)
