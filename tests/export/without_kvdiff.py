"""Uses of an exported version that come with TensorFlow itself, in a process without kvdiff and Keras.

`python -m tests.export.without_kvdiff VERSION FOLDER ROWS` runs the signature `generate` for ROWS, inputs as JSON, by
`saved_model_cli` and by the loader and Session of TensorFlow 1, and answers the warm-up records; what comes out is
written to FOLDER as .npy.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

sys.modules |= dict.fromkeys(("kvdiff", "keras", "tf_keras"))  # Importing them fails from here on.

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.python.tools import saved_model_cli  # noqa: E402
from tensorflow_serving.apis import prediction_log_pb2  # noqa: E402

Rows = Mapping[str, list[int]]


def by_saved_model_cli(version: str, folder: Path, rows: Rows) -> None:
    given = ";".join(f"{name}={values}" for name, values in rows.items())
    sys.argv = ["saved_model_cli", "run", "--dir", version, "--tag_set", "serve", "--signature_def", "generate"]
    sys.argv += ["--input_exprs", given, "--outdir", str(folder)]
    saved_model_cli.main()


def by_session(version: str, folder: Path, rows: Rows) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        model = tf.compat.v1.saved_model.loader.load(session, ["serve"], version)
        signature = model.signature_def["generate"]
        feed = {signature.inputs[name].name: values for name, values in rows.items()}
        np.save(folder / "session.npy", session.run(signature.outputs["frames"].name, feed))


def answer_warmup(version: str, folder: Path) -> None:
    signatures = tf.saved_model.load(version).signatures
    for record in tf.data.TFRecordDataset(f"{version}/assets.extra/tf_serving_warmup_requests"):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        name = request.model_spec.signature_name
        (made,) = signatures[name](**{key: tf.make_ndarray(value) for key, value in request.inputs.items()}).values()
        np.save(folder / f"warmup_{name}.npy", made)


if __name__ == "__main__":
    version, folder, rows = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    by_session(version, folder, rows)
    answer_warmup(version, folder)
    by_saved_model_cli(version, folder, rows)  # Which exits.
