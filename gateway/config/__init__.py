"""From the operator's YAML file to typed values, or to every problem at its line."""
