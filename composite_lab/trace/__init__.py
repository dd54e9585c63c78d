"""Traces: what a run leaves behind, as typed records, frames and totals."""
