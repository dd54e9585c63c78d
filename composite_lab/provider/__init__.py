"""composite_lab as a LiteLLM provider: `litellm.completion(model="composite/moa/<model>")`."""

from composite_lab.provider.answer import trace_of
from composite_lab.provider.hooks import CompositeLLM, handler, register
from composite_lab.provider.proxy_gate import gate

__all__ = ["CompositeLLM", "gate", "handler", "register", "trace_of"]
