"""Messages and stubs generated from `proto/didymium/v1` by `python/generate.py`; nothing here is written by hand."""
