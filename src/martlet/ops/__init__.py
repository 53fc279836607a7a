"""What operators mean: one file a family. See `operator.py` for how a family is written."""
