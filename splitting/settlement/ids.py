"""The numbers by which banks know the lines of batches."""

import re

# Of before: with 23 digits of the payee's id instead of 16.
INSTRUCTION_ID = re.compile(r"\b[0-9a-z]{1,7}-\d{6}-(?:[0-9a-f]{7})?[0-9a-f]{15}[0-9a-fx]\b", re.ASCII)
