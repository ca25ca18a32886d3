"""A policy over HTTP, spoken to as OpenAI's API is. Needs the extra `serve`."""
