"""The handwritten digits that ship inside scikit-learn, as a TFDS data set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from . import stratified


class Digits(tfds.core.GeneratorBasedBuilder):
    """1 797 scans of 8x8 pixels, ten classes, split 80/20 with every class in proportion."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        "1.0.0": "The 1 797 images of scikit-learn; every fifth image of each digit is in the test split."
    }

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Handwritten digits, scanned from preprinted forms and reduced to 8x8 pixels: the test part of the UCI "
                "data set, as it ships inside scikit-learn. The 17 grey levels 0..16 are stored as "
                "round(level * 255 / 16), which loses nothing."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
            citation="""@misc{alpaydin1998optical,
  author = {Alpaydin, Ethem and Kaynak, Cenk},
  title = {Optical Recognition of Handwritten Digits},
  year = {1998},
  howpublished = {UCI Machine Learning Repository},
  doi = {10.24432/C50P49}
}""",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[tuple[int, Any]]]:
        del dl_manager  # Nothing is downloaded.
        from sklearn import datasets

        levels, labels = datasets.load_digits(return_X_y=True)
        images = np.rint(levels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
        test = stratified.is_test(labels)
        return {
            "train": self._generate_examples(images, labels, ~test),
            "test": self._generate_examples(images, labels, test),
        }

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray, chosen: np.ndarray
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for i in np.flatnonzero(chosen):
            yield int(i), {"image": images[i], "label": int(labels[i])}
