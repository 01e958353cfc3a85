"""Tensors of the Open Inference Protocol: read from requests, made into rows, written from answers."""
