"""The tables of a model's metadata (the buffer named `TFLITE_METADATA`), as data.

The notation is that of `tflite.py`. Source: the public TensorFlow Lite metadata schema, 1.5.
"""

from __future__ import annotations

from martlet.schema.layout import Schema

IDENTIFIER = b"M001"

_ENUMS = {
    "AssociatedFileType": (
        "byte",
        "UNKNOWN DESCRIPTIONS TENSOR_AXIS_LABELS TENSOR_VALUE_LABELS "
        "TENSOR_AXIS_SCORE_CALIBRATION VOCABULARY SCANN_INDEX_FILE",
    ),
    "ColorSpaceType": ("byte", "UNKNOWN RGB GRAYSCALE"),
    "BoundingBoxType": ("byte", "UNKNOWN BOUNDARIES UPPER_LEFT CENTER"),
    "CoordinateType": ("byte", "RATIO PIXEL"),
    "ScoreTransformationType": ("byte", "IDENTITY LOG INVERSE_LOGISTIC"),
}

_UNIONS = {
    "ContentProperties": "FeatureProperties ImageProperties BoundingBoxProperties AudioProperties",
    "ProcessUnitOptions": (
        "NormalizationOptions ScoreCalibrationOptions ScoreThresholdingOptions "
        "BertTokenizerOptions SentencePieceTokenizerOptions RegexTokenizerOptions"
    ),
}

_TABLES = {
    "AssociatedFile": (
        "name:string description:string type:AssociatedFileType locale:string version:string"
    ),
    "FeatureProperties": "",
    "ImageSize": "width:uint height:uint",
    "ImageProperties": "color_space:ColorSpaceType default_size:ImageSize",
    "AudioProperties": "sample_rate:uint channels:uint",
    "BoundingBoxProperties": "index:[uint] type:BoundingBoxType coordinate_type:CoordinateType",
    "ValueRange": "min:int max:int",
    "Content": "content_properties:ContentProperties range:ValueRange",
    "NormalizationOptions": "mean:[float] std:[float]",
    "ScoreCalibrationOptions": "score_transformation:ScoreTransformationType default_score:float",
    "ScoreThresholdingOptions": "global_score_threshold:float",
    "BertTokenizerOptions": "vocab_file:[AssociatedFile]",
    "SentencePieceTokenizerOptions": (
        "sentencePiece_model:[AssociatedFile] vocab_file:[AssociatedFile]"
    ),
    "RegexTokenizerOptions": "delim_regex_pattern:string vocab_file:[AssociatedFile]",
    "ProcessUnit": "options:ProcessUnitOptions",
    "Stats": "max:[float] min:[float]",
    "TensorGroup": "name:string tensor_names:[string]",
    "TensorMetadata": (
        "name:string description:string dimension_names:[string] content:Content "
        "process_units:[ProcessUnit] stats:Stats associated_files:[AssociatedFile]"
    ),
    "CustomMetadata": "name:string data:[ubyte]",
    "SubGraphMetadata": (
        "name:string description:string input_tensor_metadata:[TensorMetadata] "
        "output_tensor_metadata:[TensorMetadata] associated_files:[AssociatedFile] "
        "input_process_units:[ProcessUnit] output_process_units:[ProcessUnit] "
        "input_tensor_groups:[TensorGroup] output_tensor_groups:[TensorGroup] "
        "custom_metadata:[CustomMetadata]"
    ),
    "ModelMetadata": (
        "name:string description:string version:string subgraph_metadata:[SubGraphMetadata] "
        "author:string license:string associated_files:[AssociatedFile] "
        "min_parser_version:string"
    ),
}

SCHEMA = Schema(_ENUMS, _UNIONS, _TABLES)
