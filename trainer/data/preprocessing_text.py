"""Texts as token ids: the vocabulary and the length that the training texts teach."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from .examples import TEXT, FileOptions, Raw
from .preprocessing import Preprocessing

VOCABULARY_SIZE = 20_000
# The longest text that is kept whole unless the user says otherwise.
LONGEST = 256
# Texts that become tokens at a time.
_BATCH = 4096


def learn(raw: Raw, options: FileOptions) -> Preprocessing:
    """Learns the vocabulary of the training texts, and how long a text is.

    Words are what white space separates, without punctuation, ASCII letters in lower case: `TextVectorization`'s own
    rule. The most frequent words are kept. By default a text is as long as the longest of the training texts, so that
    no word is lost, and at most 256 words, because a single long text would make every batch as wide as itself.

    Args:
      raw: data of kind TEXT; only its training part is looked at.
      options: `vocabulary_size` counts padding and the unknown word too; `text_length` is in words.

    Returns:
      From strings [n] to ids [n, length]: 0 for padding, 1 for a word that is not in the vocabulary, and the words. A
      longer text loses its end. The vocabulary is in the configuration of the model's layer.

    Raises:
      ValueError: the training texts have no word, or an option is out of range.
    """
    most = VOCABULARY_SIZE if options.vocabulary_size is None else options.vocabulary_size
    if most < 3:
        raise ValueError(
            f"--vocabulary_size={most} leaves no word; expected at least 3, because padding and the unknown word count."
        )
    if options.text_length is not None and options.text_length < 1:
        raise ValueError(f"--text_length={options.text_length} is out of range; expected at least 1 word.")
    texts = raw.parts["train"].features
    assert isinstance(texts, np.ndarray)
    batches = [texts[start : start + _BATCH] for start in range(0, len(texts), _BATCH)]
    counter = keras.layers.TextVectorization(max_tokens=most, ragged=True)
    for batch in batches:
        counter.update_state(_texts(batch))
    counter.finalize_state()
    words = counter.get_vocabulary(include_special_tokens=False)
    if not words:
        raise ValueError(f"The training texts of `{raw.name}` have no word; give texts.")
    length = options.text_length
    warnings: tuple[str, ...] = ()
    if length is None:
        lengths = np.concatenate([counter(_texts(batch)).row_lengths() for batch in batches])
        length = min(int(lengths.max()), LONGEST)
        if cut := int(np.count_nonzero(lengths > LONGEST)):
            warnings = (
                f"{cut:,} of {len(lengths):,} training texts are longer than {LONGEST} words and lose their end; "
                f"--text_length={int(lengths.max())} keeps all of them whole.",
            )
    layer = keras.layers.TextVectorization(max_tokens=most, output_sequence_length=length, vocabulary=words)
    model = keras.Sequential([keras.Input((), dtype="string"), layer], name="preprocessing")
    return Preprocessing(TEXT, (length,), model, layer.vocabulary_size(), warnings)


def _texts(values: np.ndarray) -> tf.Tensor:
    return tf.constant(values.tolist(), tf.string)
