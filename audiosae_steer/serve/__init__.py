"""Server with OpenAI's speech-to-text interface, whose windows of all requests are decoded in batches."""
