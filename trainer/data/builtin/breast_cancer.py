"""The Wisconsin breast cancer cases that ship inside scikit-learn, as a TFDS data set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from . import stratified


class BreastCancer(tfds.core.GeneratorBasedBuilder):
    """569 cases with 30 measurements each, two classes, split 80/20 with both classes in proportion."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        "1.0.0": "The 569 cases of scikit-learn; every fifth case of each class is in the test split."
    }

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Measurements of cell nuclei in fine needle aspirates of breast masses: mean, standard error and worst "
                "value of ten properties of the nuclei, in the raw units, with the diagnosis."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "features": tfds.features.Tensor(shape=(30,), dtype=np.float32),
                    "label": tfds.features.ClassLabel(names=["malignant", "benign"]),
                }
            ),
            supervised_keys=("features", "label"),
            homepage="https://archive.ics.uci.edu/dataset/17/breast+cancer+wisconsin+diagnostic",
            citation="""@misc{wolberg1995breast,
  author = {Wolberg, William and Mangasarian, Olvi and Street, Nick and Street, W.},
  title = {Breast Cancer Wisconsin (Diagnostic)},
  year = {1995},
  howpublished = {UCI Machine Learning Repository},
  doi = {10.24432/C5DW2B}
}""",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[tuple[int, Any]]]:
        del dl_manager  # Nothing is downloaded.
        from sklearn import datasets

        features, labels = datasets.load_breast_cancer(return_X_y=True)
        test = stratified.is_test(labels)
        return {
            "train": self._generate_examples(features, labels, ~test),
            "test": self._generate_examples(features, labels, test),
        }

    def _generate_examples(
        self, features: np.ndarray, labels: np.ndarray, chosen: np.ndarray
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for i in np.flatnonzero(chosen):
            yield int(i), {"features": features[i].astype(np.float32), "label": int(labels[i])}
