"""Hugging Face transformers, opened from the verified files and nothing else.

No network is asked, no code that lies in the model runs, and weights come from safetensors only: a
model that has none is refused rather than unpickled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.errors import LoadError, MissingExtraError, TableError
from assay.frameworks.answers import from_scores
from assay.frameworks.base import ModelFiles, Prediction
from assay.frameworks.columns import select

if TYPE_CHECKING:
    import pyarrow as pa

_CONFIG = "config.json"
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")
# Last part of the architecture's name, and the class that chooses among all architectures of this kind.
_KINDS = {
    "ForSequenceClassification": "AutoModelForSequenceClassification",
    "ForTokenClassification": "AutoModelForTokenClassification",
    "ForQuestionAnswering": "AutoModelForQuestionAnswering",
    "ForCausalLM": "AutoModelForCausalLM",
    "LMHeadModel": "AutoModelForCausalLM",
    "ForMaskedLM": "AutoModelForMaskedLM",
    "ForConditionalGeneration": "AutoModelForSeq2SeqLM",
    "ForImageClassification": "AutoModelForImageClassification",
}
_TEXT = "text"


class Transformers:
    """Opens a folder that ``save_pretrained`` wrote, with its tokenizer where there is one."""

    name = "transformers"

    def open(self, files: ModelFiles) -> TransformersModel:
        """Open verified bytes.

        Raises:
            LoadError: There is no ``config.json``, no safetensors file, it is damaged, or it needs
                code that lies in the model.
            MissingExtraError: transformers or PyTorch is not installed.
        """
        kind = _kind(files)
        if not any(name.endswith(".safetensors") for name in files.names()):
            raise LoadError("no *.safetensors file in the model: weights in a pickle are not opened; convert them")
        try:
            import torch  # noqa: F401  without it transformers has no classes of models at all
            import transformers
        except ImportError as err:
            raise MissingExtraError(f"opening a model with {_CONFIG}", "transformers") from err
        safe = {"local_files_only": True, "trust_remote_code": False}
        folder = files.folder()
        try:
            model = getattr(transformers, kind).from_pretrained(folder, use_safetensors=True, **safe)
            has_tokenizer = any(name in _TOKENIZERS for name in files.names())
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **safe) if has_tokenizer else None
        except Exception as err:  # transformers raises whatever the files make it raise
            raise LoadError(f"the model cannot be opened by the installed transformers ({type(err).__name__})") from err
        return TransformersModel(model.eval(), tokenizer)


@dataclass(frozen=True, slots=True)
class TransformersModel:
    """A loaded transformers model.

    Only one that classifies texts, with its tokenizer, predicts. What else there is, takes
    :attr:`model` and :attr:`tokenizer`, or names a function (``framework =
    "package.module:function"``).

    Attributes:
        model: The ``PreTrainedModel`` itself, in evaluation mode, on the processor.
        tokenizer: Its tokenizer; None when the model has none.
    """

    model: Any
    tokenizer: Any

    def predict(self, table: pa.Table) -> Prediction:
        """Predict the label of every row's text.

        Args:
            table: Has a column ``text``, or is one column.

        Raises:
            TableError: The model does not classify texts, has no tokenizer, or the column is no text.
        """
        import torch

        if self.tokenizer is None or not type(self.model).__name__.endswith("ForSequenceClassification"):
            raise TableError(
                f"a {type(self.model).__name__} does not classify rows of a table: name a function that asks it "
                "(framework = 'package.module:function')"
            )
        texts = (table if table.num_columns == 1 else select(table, [_TEXT])).column(0).to_pylist()
        if not all(isinstance(text, str) for text in texts):
            raise TableError("the column of texts holds something else, or a null")
        labels = self.model.config.id2label
        classes = [labels[number] for number in sorted(labels)]
        if not texts:
            return from_scores(torch.empty(0, len(classes)).numpy(), classes)
        try:
            rows = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
            with torch.inference_mode():
                scores = torch.softmax(self.model(**rows).logits.double(), dim=-1).numpy()
        except (RuntimeError, ValueError, TypeError, IndexError) as err:
            raise TableError(f"the model cannot take these rows ({type(err).__name__})") from err
        return from_scores(scores, classes)


def _kind(files: ModelFiles) -> str:
    if _CONFIG not in files.names():
        raise LoadError(f"no {_CONFIG} among {', '.join(files.names())}")
    try:
        config = json.loads(bytes(files.view(_CONFIG)))
        names = config.get("architectures") or [""]
        architecture = names[0]
    except (ValueError, AttributeError, TypeError, LookupError, RecursionError) as err:
        raise LoadError(f"{_CONFIG} is not the JSON object it must be") from err
    if "auto_map" in config:
        raise LoadError(f"{_CONFIG} names code that lies in the model, which is not run: name a function of your own")
    if not isinstance(architecture, str):
        raise LoadError(f"{_CONFIG} names no architecture")
    return next((kind for end, kind in _KINDS.items() if architecture.endswith(end)), "AutoModel")
