"""The `.tflite` format: its tables as data, a reader that checks everything, a writer."""
