"""Predict the frames that follow, over gRPC: `python call_grpc.py past.npy clip.npy --num-frames 8`."""

from __future__ import annotations

import argparse

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("past", help="a .npy file: uint8 [batch, known frames, height, width, channels]")
parser.add_argument("clip", help="the .npy file to write: uint8 [batch, frames, …], the known frames first")
parser.add_argument("--num-frames", type=int, required=True, help="of the clips that the model was exported for")
parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same clips")
parser.add_argument("--server", default="127.0.0.1:8500")
args = parser.parse_args()

past = np.load(args.past)
batch, known = past.shape[:2]
inputs = {
    "clip": np.pad(past, [(0, 0), (0, args.num_frames - known), (0, 0), (0, 0), (0, 0)]),
    "num_past": np.full(batch, known, np.int32),
    "seed": np.full(batch, args.seed, np.int64),
    "sample": np.arange(batch, dtype=np.int64),
}
request = predict_pb2.PredictRequest()
request.model_spec.name, request.model_spec.signature_name = "clips", "predict"
for name, value in inputs.items():
    request.inputs[name].CopyFrom(tf.make_tensor_proto(value))

# Clients refuse answers above 4 MiB unless told otherwise.
with grpc.insecure_channel(args.server, options=[("grpc.max_receive_message_length", -1)]) as channel:
    answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=600)
clip = tf.make_ndarray(answer.outputs["frames"])
np.save(args.clip, clip)
print(f"{batch} clips of {clip.shape[1]} frames in {args.clip}")
