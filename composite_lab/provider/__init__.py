"""composite_lab as a LiteLLM provider: `litellm.completion(model="composite/moa/<model>")`."""

from composite_lab.provider.answer import trace_of
from composite_lab.provider.hooks import CompositeLLM, handler, register

__all__ = ["CompositeLLM", "handler", "register", "trace_of"]
