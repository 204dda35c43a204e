"""``mfpde theory TOPIC``: one module per topic, with its arguments, its measurement, its table and its figure.

A topic module has ``add_arguments(parser)``, ``run(args)``, ``measure(args) -> dict`` (numbers ready for JSON),
``table(result) -> str`` and ``figure(result) -> Figure | None``; ``run`` prints, and with -o writes TOPIC.json and
TOPIC.png.
"""
