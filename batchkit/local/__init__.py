"""A small real model on this machine, without a key, behind llama.cpp's own server."""
