"""Chat-completion services: the codec, the transport below it, the provider above both."""
