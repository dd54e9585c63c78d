"""The strategies: Mixture-of-Agents and Council, and the pure functions under them."""
