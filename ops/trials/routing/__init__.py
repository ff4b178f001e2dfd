"""Routing from the operator's side: policies, explanations, what another policy would have done, and the bench."""
