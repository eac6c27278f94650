"""What the documentation's blocks are run with: what is not run and why, what is made smaller, and what stands in."""

from __future__ import annotations

NOT_RUN = {
    "pip ": "installs packages",
    ".venv/bin/pip ": "installs packages",
    ".venv/bin/pre-commit ": "changes the checkout",
    "make": "sets up an environment and takes minutes; run in continuous integration",
    "docker ": "needs Docker",
    "serve ": "starts a server; tests/export/serving does it with the same file",
    "curl ": "needs a server",
    "hf ": "uploads to a hub",
    "KERAS_BACKEND=jax ": "needs JAX; tests/backends trains on it",
    "npm ": "installs packages",
    "kvdiff play ": "starts a server; tests/web does it",
    "python -m http.server": "starts a server; tests/web does it",
    "kvdiff export saved_models/my_clips --to web": "needs npm's onnxruntime-web; tests/web has it",
    "kvdiff export saved_models/mine --to web": "needs npm's onnxruntime-web; tests/web has it",
    "export ": "sets up a cluster; tests/training/test_workers.py starts one",
    "kvdiff train /shared/clips ": "needs a cluster; tests/training/test_workers.py starts one",
    "kvdiff train my_videos --size 64 ": "trains two networks; tests/cli/test_autoencoder.py runs it on small clips",
    "kvdiff train my_clips/ --from ": "trains the shipped network; tests/cli/test_base.py runs it on small clips",
    "kvdiff autoencoder ": "trains for minutes; tests/cli/test_autoencoder.py runs it on small clips",
    "kvdiff data prepare ": "needs a trained autoencoder; tests/cli/test_autoencoder.py runs it",
    "kvdiff export saved_models/moving_digits ": "ten formats take minutes; tests/export exports each",
    "kvdiff tune ": "samples in fifteen ways; tests/test_cli.py tunes with three",
    "kvdiff evaluate run --data ": "needs fields; tests/cli/test_forecasts.py runs it",
    "python -m tests.benchmarks": "measures for minutes to hours",
    ".venv/bin/python -m tests.benchmarks": "measures for minutes to hours",
    "python examples/": "takes minutes; tests/test_examples.py runs every example",
    "python numpy_loop.py": "tests/export runs the kits in processes without TensorFlow and Keras",
    "python sample.py": "tests/export runs the kits in processes without TensorFlow and Keras",
    "python benchmark.py": "tests/export runs the kits in processes without TensorFlow and Keras",
    "python produce.py": "tests/export runs the kits in processes without TensorFlow and Keras",
    "python call": "needs a server; tests/export starts one",
}
"""Why a command is not run, by its beginning."""

NOT_RUN_BLOCKS = {
    ("docs/training.md", "import torch"): "needs PyTorch",
    (
        "docs/presets.md",
        'address = "hf://me/digits-on@0123456789abcdef0123456789abcdef01234567"',
    ): "needs a hub; tests/models/test_preset_hub.py has one",
    (
        "docs/play.md",
        'kvdiff.export.export_web(model, "site/digits", examples=clips[:3])  # With node_modules here',
    ): "needs npm's onnxruntime-web; tests/web has it",
    (
        "docs/latent.md",
        'autoencoder = kvdiff.load_diffusers_autoencoder("vae/diffusion_pytorch_model.safetensors")',
    ): "needs a file of diffusers'; tests/peers/test_diffusers_autoencoders.py opens some",
    ("docs/deployment.md", "from kvdiff.runtime import CPU, OrtSampler, cuda, tensorrt"): "needs a GPU",
    (
        "docs/deployment.md",
        "x = np.where(known, clip, init_std * noise)",
    ): "the loop of a manifest, run by tests/export",
}
"""Why a Python block is not run, by its page and its first line."""

OPTIONS = {
    "train": "--minutes 0.1 --size 8 --frames 4 --batch-size 8 --preview-every 0",
    "estimate": "--size 8 --frames 4 --batch-size 1 --recipe tiny --width 24",
    "train radar.zarr": "--minutes 0.1 --preview-every 0",
    "evaluate": "--num-steps 1 --no-frechet --training-data training.npy",
    **dict.fromkeys(("generate", "predict", "interpolate", "infill", "rollout"), "--num-steps 2"),
}
"""What is said to a command besides, or to one of a file, so that it is quick; the last word on an option counts."""

SMALLER = {
    "README.md": {"moving_digits(512)": "moving_digits(16)", "num_steps=20": "num_steps=2"},
    "export/litert/README.md": {"num_steps=10": "num_steps=2", "num_steps=50": "num_steps=2"},
    "export/onnxruntime_gpu/README.md": {"num_steps=20": "num_steps=2", "num_steps=100": "num_steps=2"},
    "docs/index.md": {"moving_digits(512)": "moving_digits(16)"},
    "docs/getting-started.md": {"(32, 32)": "(8, 8)", "32, 32, 3": "8, 8, 3", "epochs=20": "epochs=1"},
    "docs/presets.md": {"moving_digits(64, ": "moving_digits(16, "},
    "docs/tasks.md": {
        "steps_per_epoch=100": "steps_per_epoch=2",
        "num_frames=96, ": "num_frames=6, num_steps=1, ",
        "keys(), at_a_time=1)": "keys(), at_a_time=1, num_steps=1)",
        "islice(played, 50)": "islice(played, 2)",
    },
    "docs/text.md": {
        "NUM_CLIPS = 2048": "NUM_CLIPS = 16",
        "guidance=3.0": "guidance=3.0, num_steps=1",
    },
    "docs/data.md": {
        "validation_split=0.1": "validation_split=0.5",
        "batch_size=16": "batch_size=2",
        "(64, 64)": "(8, 8)",
        "64, 64, 3": "8, 8, 3",
        "image_size=64": "image_size=8",
        "epochs=50": "epochs=1",
    },
    "docs/fields.md": {
        "(12, 48, 64, 1": "(12, 8, 8, 1",
        "patch=(48, 64)": "patch=(8, 8)",
        'FieldRecipe(variable="rate")': 'FieldRecipe(variable="rate", region={"y": (0, 8), "x": (0, 8)})',
        '"radar.zarr", num_steps=20)': '"radar.zarr", recipe=fields[0].recipe, num_steps=1)',
        "num_steps=20)  # mm/h": "num_steps=1)  # mm/h",
        "epochs=10": "epochs=1",
        "(12, 50, 70, 1)": "(12, 6, 10, 1)",
    },
    "docs/training.md": {
        "moving_digits(2048)": "moving_digits(32)",
        "moving_digits(512)": "moving_digits(32)",
        'moving_digits(16, split="validation")': 'moving_digits(4, split="validation"), num_steps=1',
        "moving_digits(500, ": "moving_digits(16, ",
        "epochs=50": "epochs=1",
        "every=100": "every=1",
        "every=1000": "every=1",
        "every=10,": "every=1,",
        "clips[:500]": "clips",
        "(0.03, 0.05, 0.08, 0.12)": "(0.12,)",
        "num_clips=64": "num_clips=4",
        "num_steps=50": "num_steps=2",
        "(3, width=64, multipliers=(1, 2, 4, 8))": "(2, width=24, multipliers=(1, 3), heads=2)",
        "(10, 64, 64, 3)": "(10, 8, 12, 2)",
    },
    "docs/deployment.md": {"size=(32, 32)": "size=(8, 8)"},
    "docs/scaling.md": {"moving_digits(512)": "moving_digits(64)", "epochs=10": "epochs=1"},
    "docs/latent.md": {
        "moving_digits(512, size=32)": "moving_digits(16, size=32)",
        "moving_digits(64, ": "moving_digits(4, ",
        "latent_channels=4)": "latent_channels=4, widths=(8,), blocks=1)",
        "kvdiff.UNet3D(4)": "kvdiff.UNet3D(4, widths=(24,), blocks=1)",
        "epochs=20": "epochs=1",
    },
    "docs/fewer-calls.md": {"moving_digits(2048, ": "moving_digits(16, ", "epochs=10": "epochs=1"},
    "docs/evaluation.md": {
        "num_clips=64": "num_clips=9",
        "real_clips(mine)": "real_clips(mine, training=pathlib.Path('training.npy'))",
        "import dataclasses\n": "import dataclasses, pathlib\n",
        "num_steps=20": "num_steps=1",
        "moving_digits(64, ": "moving_digits(4, ",
        "(64, 8, 2)": "(4, 8, 2)",
    },
}
"""What is replaced in a page's Python, so that it is quick."""

SLOW = (
    "docs/deployment.md",
    "docs/evaluation.md",
    "docs/fewer-calls.md",
    "docs/fields.md",
    "docs/forecasts.md",
    "docs/getting-started.md",
    "docs/latent.md",
    "docs/presets.md",
    "docs/scaling.md",
    "docs/text.md",
    "docs/training.md",
    "export/litert/README.md",
    "export/onnxruntime_gpu/README.md",
    "export/ray_serve/README.md",
)
"""Pages whose blocks are run with the slow tests. Those left are the first a reader meets, and the mathematics."""
