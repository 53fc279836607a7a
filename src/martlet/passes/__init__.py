"""Graph -> Graph: one file a pass, with the rule it applies in its docstring."""
