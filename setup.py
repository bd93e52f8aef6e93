"""Package metadata and dependencies; tool settings live in pyproject.toml."""

import pathlib

from setuptools import find_packages, setup

# A checkout has these folders side by side. The wheel holds them in one package, because every machine-learning
# repository has a `models` of its own.
NAME = "constrained_training"
FOLDERS = ("constraints", "models", "trainer")
ROOT = "trainer._installed"
# What `--formats=onnx` writes and checks its files with.
ONNX = ["onnx>=1.23,<2", "onnxruntime>=1.32,<2", "tf2onnx>=1.17,<2"]
# The tests build the pages too.
DOCS = ["furo>=2025.12,<2027", "myst-parser>=5.2,<6", "sphinx>=9,<10"]

setup(
    name="constrained-training",
    version="0.1.0",
    description="Train Keras 3 networks whose weights obey exact constraints.",
    long_description=pathlib.Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=[
        *(NAME, f"{NAME}.presets"),
        *(f"{NAME}.{found}" for found in find_packages(include=[f"{name}*" for name in FOLDERS], exclude=[ROOT])),
    ],
    package_dir={
        NAME: ROOT.replace(".", "/"),
        f"{NAME}.presets": "scripts/presets",
        **{f"{NAME}.{name}": name for name in FOLDERS},
    },
    package_data={f"{NAME}.presets": ["*.flags", "*.toml"]},
    # Ranges that were tried. TensorFlow 2.21 no longer brings tensorboard; TFDS imports importlib_resources undeclared.
    install_requires=[
        "absl-py>=2.5,<3",
        # Reloads TFLite files with what runs them elsewhere; the interpreter in TensorFlow is an older one.
        "ai-edge-litert>=2.3,<3",
        "importlib_resources>=7.1,<8",
        "keras>=3.15,<3.16",
        "numpy>=2.4,<3",
        "pyarrow>=26,<27",
        "requests>=2.34,<3",
        "safetensors>=0.8,<0.9",
        "scikit-learn>=1.9,<2",
        "tensorboard>=2.21,<2.22",
        "tensorflow>=2.21,<2.22",
        "tensorflow-datasets>=4.9.10,<4.10",
    ],
    extras_require={
        "test": [
            *DOCS,
            *ONNX,
            "cvxpy>=1.9,<2",
            "hypothesis>=6.170,<7",
            # A notebook of the documentation is executed.
            "ipykernel>=7.4,<8",
            "mypy>=2.4,<3",
            "nbclient>=0.11,<0.12",
            "pytest>=9.2,<10",
            "pytest-xdist>=3.8,<4",
            "ruff>=0.17,<0.18",
        ],
        # What builds the pages below docs/.
        "docs": DOCS,
        # What the laws are held against for comparison; see scripts/baseline.py.
        "baseline": ["jax>=0.10,<0.11", "optax>=0.2.8,<0.3"],
        "onnx": ONNX,
        # What draws the benchmark's figures.
        "plots": ["matplotlib>=3.10,<4"],
    },
    entry_points={"console_scripts": [f"constrained-train={NAME}.trainer.main:run"]},
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
    ],
)
