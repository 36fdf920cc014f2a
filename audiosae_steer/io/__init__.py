"""Disk and network, safely: atomic files, strict JSON, tensors of untrusted files, and the Hub."""
